"""Processes that each correct one movie at a time: Python's lock lets one thread of a process compute, and a GPU is
faster than that.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from restframe.errors import WorkerError

READY = "ready"
DONE = None


class Worker:
    """A process with ``state = prepare()`` of its own, in which `do` runs ``work(state, item, say)``.

    ``prepare`` and ``work`` are functions of a module; items can be pickled.
    """

    def __init__(self, prepare: Callable[[], Any], work: Callable[[Any, Any, Callable[[str], None]], None]) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, prepare, work), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self, wanted: Callable[[], bool]) -> bool:
        """Wait until it can work, as long as it is ``wanted``. False if it is not, or could not start."""
        try:
            while wanted():
                if self._connection.poll(0.05):
                    return self._connection.recv() == READY
        except (EOFError, ConnectionResetError):
            pass
        return False

    def do(self, item: Any, say: Callable[[str], None]) -> None:
        """``work(state, item, say)`` there. Raises what it raises, and `WorkerError` if the process ends."""
        try:
            self._connection.send(item)
            while (message := self._connection.recv()) is not DONE:
                if isinstance(message, BaseException):
                    raise message
                say(message)
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            self._process.join(5)
            code = self._process.exitcode
            how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
            raise WorkerError(f"The process that worked on it {how}, perhaps for lack of memory.") from error

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        """End it; what it works on is given up, and its temporary files are removed."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, prepare: Callable[[], Any], work: Callable[..., None]) -> None:
    """Until the other side is closed, or ends."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # files are cleaned up on the way
    for name in ("SIGINT", "SIGHUP"):  # the first process gets them, too, and ends this one
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.dup2(1, 2)  # callers take any byte on stderr for a failure
    try:
        try:
            state = prepare()
        except Exception:  # whatever it is: the other side goes on without, and meets it where it is explained
            return
        connection.send(READY)
        while True:
            item = connection.recv()
            try:
                work(state, item, connection.send)
                answer: BaseException | None = DONE
            except Exception as error:
                if os.environ.get("RESTFRAME_DEBUG") == "1":
                    connection.send(traceback.format_exc())
                answer = _as_sent(error)
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _as_sent(error: Exception) -> Exception:
    """The error, or one that says the same where it would not survive the way."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(traceback.format_exception_only(error)[-1].strip())
