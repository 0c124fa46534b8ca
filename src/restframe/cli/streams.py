"""What the command prints: everything on stdout, and on stderr one message when it fails.

Callers take any byte on stderr for a failure, so Python's warnings and log messages are sent to stdout too.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from restframe.cli.wording import with_flags
from restframe.errors import OutputError, StdoutError, error_message
from restframe.messages import Lines, one_line
from restframe.termination import Ended, ending_in_time


def say(text: str) -> None:
    """Print at once, in one piece: callers follow a log as it grows. Settings are named by their flags.

    A text is one line, unless it is `Lines`. Raises BrokenPipeError when the reader has gone, `StdoutError` when
    stdout cannot be written.
    """
    try:
        sys.stdout.write(f"{printed(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: it was closed
        reason = getattr(error, "strerror", None) or "it is closed"
        raise StdoutError(f"stdout cannot be written: {reason}. Make room there, or send it elsewhere.") from error


def printed(text: str) -> str:
    """What `say` prints."""
    return str(text) if isinstance(text, Lines) else one_line(with_flags(text))


def errors_as_messages(run: Callable[[], int]) -> int:
    """The exit code of ``run``, or of the error that it raised, which is explained on stderr.

    RESTFRAME_DEBUG=1 in the environment shows the whole traceback.
    """
    try:
        with _all_on_stdout(), ending_in_time(_write_error):
            return run()
    except BrokenPipeError:
        _discard_stdout()
        return _fail("stdout was closed by its reader.", StdoutError.exit_code)
    except StdoutError as error:
        _discard_stdout()
        return _fail(with_flags(error.message), error.exit_code)
    except Ended as ended:
        return _fail(f"ended by {ended.name}.", ended.code)
    except (Exception, KeyboardInterrupt) as error:
        with suppress(OSError, OutputError):
            for note in getattr(error, "__notes__", ()):  # on stderr callers look for one sentence
                say(note)
        message, code = error_message(error)
        return _fail(with_flags(message), code)


def _fail(message: str, code: int) -> int:
    """Write the message on stderr, in one line, if it can be written there. Returns ``code``."""
    with suppress(OSError, ValueError):  # the exit code is left to say that something failed
        if os.environ.get("RESTFRAME_DEBUG") == "1":
            traceback.print_exc()
        _write_error(message)
    return code


def _write_error(message: str) -> None:
    sys.stderr.write(f"Error: {one_line(message)}\n")
    sys.stderr.flush()


def _discard_stdout() -> None:
    """Let what is still written to stdout go nowhere: Python would complain when it flushes at the end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal, and only there, that work goes on."""
    if not sys.stdout.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console().status(escape(one_line(text))):
        yield


@contextmanager
def _all_on_stdout() -> Iterator[None]:
    """Warnings and log messages of libraries go to stdout; names that its encoding lacks are escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        say(f"Warning: {message}")

    def ignore_unraisable(unraisable: object) -> None:
        """Errors of destructors: a signal that arrives inside a library leaves half-made objects of it."""
        if os.environ.get("RESTFRAME_DEBUG") == "1":
            sys.__unraisablehook__(unraisable)  # type: ignore[arg-type]

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("Warning: %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    before = sys.unraisablehook
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            sys.unraisablehook = ignore_unraisable
            yield
    finally:
        sys.unraisablehook = before
        logging.getLogger().removeHandler(handler)
