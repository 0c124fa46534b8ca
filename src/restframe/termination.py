"""The end of a process by a signal: in order where that is possible, and within two seconds in any case.

Python runs a signal's handler when its main thread is back from what it does, which may be a compiler, a loop over a
large image or a disk that does not answer; and an exception that a handler raises may be caught by a library. So a
thread is woken by the signal itself. It gives the program a second to end in order and then ends it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # no SIGHUP on Windows
GRACE_SECONDS = 1.3  # for the program to end in order
CHILD_GRACE_SECONDS = 0.8  # for a process that it has started
INTERRUPTED = signal.SIGINT  # Python raises KeyboardInterrupt for it
CHILD_END_SIGNAL = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""Ends a process that this program has started. Such a process ignores the signals that the whole group of processes
gets (Ctrl-C, a batch system, systemd): the first process decides what they mean."""


class Ended(SystemExit):
    """A signal ended the program."""

    code: int

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class TemporaryFiles:
    """Files of this process that are removed where it cannot end in order. Any thread may use it."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()
        self._lock = threading.Lock()

    def add(self, path: Path) -> None:
        with self._lock:
            self._paths.add(path)

    def forget(self, path: Path) -> None:
        with self._lock:
            self._paths.discard(path)

    def remove_all(self) -> None:
        """Remove them, as far as the disk answers."""
        if self._lock.acquire(timeout=0.2):
            for path in self._paths:
                with suppress(OSError):
                    path.unlink()
            self._lock.release()


class State:
    """What one process knows about its end."""

    def __init__(self) -> None:
        self.signal_number = 0  # of the signal that ends this process; 0: none
        self.on_first_signal: Callable[[str], None] | None = None  # called with its name, instead of an end
        self.files = TemporaryFiles()


STATE = State()


def raise_if_ended() -> None:
    """Raise `Ended`, or KeyboardInterrupt, if a signal has come whose exception a library has caught."""
    if STATE.signal_number == INTERRUPTED:
        raise KeyboardInterrupt
    if STATE.signal_number:
        raise Ended(STATE.signal_number)


@contextmanager
def ending_in_time(
    say: Callable[[str], None],
    grace: float = GRACE_SECONDS,
    end_signals: Sequence[int] = (*END_SIGNALS, INTERRUPTED),
) -> Iterator[None]:
    """``end_signals`` raise `Ended` (SIGINT: KeyboardInterrupt) in the main thread.

    ``say`` takes a line where the program does not end within ``grace`` seconds and is ended. Does nothing in other
    threads. What was set before is set again at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        STATE.signal_number = number
        raise_if_ended()

    earlier_handlers = {number: signal.getsignal(number) for number in end_signals}
    for number, handler in earlier_handlers.items():
        if handler is not signal.SIG_IGN:  # nohup asks for that
            signal.signal(number, stop)

    def ignore_ends(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, Ended | KeyboardInterrupt):  # raised while an object was removed
            earlier_hook(unraisable)

    earlier_hook, sys.unraisablehook = sys.unraisablehook, ignore_ends
    STATE.signal_number = 0
    watch = Watch(say, grace, end_signals)
    earlier_descriptor = signal.set_wakeup_fd(watch.write_end, warn_on_full_buffer=False)
    try:
        yield
        raise_if_ended()
    except Exception:
        raise_if_ended()  # a library has made another error of the exception
        raise
    finally:
        signal.set_wakeup_fd(earlier_descriptor)
        watch.stop()
        sys.unraisablehook = earlier_hook
        if STATE.signal_number:
            STATE.files.remove_all()
        for number, handler in earlier_handlers.items():
            signal.signal(number, handler)


@contextmanager
def ending_after_work(stop: Callable[[str], None]) -> Iterator[None]:
    """Within `ending_in_time`: the first signal calls ``stop`` with its name, in another thread, and ends nothing. The
    next one ends the program as usual.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier_handlers = {number: signal.getsignal(number) for number in (*END_SIGNALS, INTERRUPTED)}

    def ignore_once(number: int, frame: FrameType | None) -> None:
        for other, handler in earlier_handlers.items():
            signal.signal(other, handler)

    STATE.on_first_signal = stop
    for number, handler in earlier_handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ignore_once)
    try:
        yield
    finally:
        STATE.on_first_signal = None
        for number, handler in earlier_handlers.items():
            signal.signal(number, handler)


class Watch:
    """A thread that ends the process some time after a signal, unless it is stopped before."""

    def __init__(self, say: Callable[[str], None], grace: float, end_signals: Sequence[int]) -> None:
        self._say = say
        self._grace = grace
        self._end_signals = end_signals
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self.write_end, False)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError):
            os.write(self.write_end, b"\0")
        self._thread.join()
        for descriptor in (self._read_end, self.write_end):
            os.close(descriptor)

    def _run(self) -> None:
        while not self._stopped.is_set():
            for number in os.read(self._read_end, 16):
                if not self._ends_process(number):
                    continue
                on_first_signal, STATE.on_first_signal = STATE.on_first_signal, None
                if on_first_signal:
                    on_first_signal(signal.Signals(number).name)
                else:
                    self._end(number)

    def _end(self, number: int) -> None:
        STATE.signal_number = number
        for process in multiprocessing.active_children():
            with suppress(OSError, ValueError):
                process.terminate()
        if not self._stopped.wait(self._grace):
            end_now(number, self._say)

    def _ends_process(self, number: int) -> bool:
        if number == 0:
            return False
        return number in self._end_signals and signal.getsignal(number) is not signal.SIG_IGN


def end_now(number: int, say: Callable[[str], None]) -> None:
    """End this process and those that it has started, without waiting for anything."""
    for process in multiprocessing.active_children():
        with suppress(OSError, ValueError):
            process.kill()
    STATE.files.remove_all()
    with suppress(Exception):
        say("interrupted." if number == INTERRUPTED else f"ended by {signal.Signals(number).name}.")
    with suppress(Exception):
        sys.stderr.flush()
    os._exit(128 + number)
