"""Processes that each correct one movie at a time: Python's lock lets one thread of a process compute, and a GPU is
faster than that.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from restframe.errors import WorkerError
from restframe.messages import Lines
from restframe.progress import Report
from restframe.termination import CHILD_END_SIGNAL, CHILD_GRACE_SECONDS, END_SIGNALS, INTERRUPTED, ending_in_time

State = TypeVar("State")
Item = TypeVar("Item")

READY = "ready"
DONE = None
POLL_SECONDS = 0.05
EXIT_SECONDS = 5  # given to a process that has closed its connection


class WorkerProcess(SpawnProcess):
    """A process that ignores the signals of its group; `terminate` ends it all the same."""

    def terminate(self) -> None:
        """Ask it to end; what it works on is given up, and its temporary files are removed."""
        if self.is_alive() and self.pid is not None:
            os.kill(self.pid, CHILD_END_SIGNAL)


class Worker(Generic[State, Item]):
    """A process with ``state = prepare()`` of its own, in which `do` runs ``work(state, item, say)``.

    ``prepare`` and ``work`` are functions of a module; items can be pickled.
    """

    def __init__(self, prepare: Callable[[], State], work: Callable[[State, Item, Report], None]) -> None:
        self._connection, process_connection = get_context("spawn").Pipe()
        self._process = WorkerProcess(target=_serve, args=(process_connection, prepare, work), daemon=True)
        self._process.start()
        process_connection.close()

    def ready(self, wanted: Callable[[], bool]) -> bool:
        """Wait until it can work, as long as it is ``wanted``. False if it is not, or could not start."""
        try:
            while wanted():
                if self._connection.poll(POLL_SECONDS):
                    return bool(self._connection.recv() == READY)
        except (EOFError, ConnectionResetError):
            pass
        return False

    def do(self, item: Item, report: Report) -> None:
        """``work(state, item, say)`` there. Raises what it raises, and `WorkerError` if the process ends."""
        try:
            self._connection.send(item)
            while (message := self._connection.recv()) is not DONE:
                if isinstance(message, BaseException):
                    raise message
                report(message)
        except (EOFError, ConnectionResetError, BrokenPipeError) as error:
            self._process.join(EXIT_SECONDS)
            exit_code = self._process.exitcode
            killed = exit_code is not None and exit_code < 0
            ending = f"was ended by signal {-(exit_code or 0)}" if killed else f"ended with code {exit_code}"
            raise WorkerError(f"The process that worked on it {ending}, perhaps for lack of memory.") from error

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        """End it; what it works on is given up, and its temporary files are removed."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _serve(connection: Connection, prepare: Callable[[], State], work: Callable[[State, Item, Report], None]) -> None:
    """The process: work on items until the other side closes the connection, or ends.

    The first process gets the signals of the whole group too. It may want the movies in hand to be finished.
    """
    for number in (*END_SIGNALS, INTERRUPTED):
        if number != CHILD_END_SIGNAL:
            signal.signal(number, signal.SIG_IGN)
    with ending_in_time(lambda text: None, CHILD_GRACE_SECONDS, (CHILD_END_SIGNAL,)):
        threading.Thread(target=_end_with_first_process, name="first process", daemon=True).start()
        _work_on_items(connection, prepare, work)


def _end_with_first_process() -> None:
    """End this process when the first one is gone: a later run would correct the same movies at the same time."""
    first = parent_process()
    if first is not None:
        wait([first.sentinel])
        os.kill(os.getpid(), CHILD_END_SIGNAL)


def _work_on_items(
    connection: Connection, prepare: Callable[[], State], work: Callable[[State, Item, Report], None]
) -> None:
    os.dup2(1, 2)  # programs that start restframe take any byte on stderr for a failure
    try:
        try:
            state = prepare()
        except Exception:  # the other side goes on without this process, and meets the error where it is explained
            return
        connection.send(READY)
        while True:
            item = connection.recv()
            answer: Exception | None = DONE
            try:
                work(state, item, connection.send)
            except Exception as error:
                if os.environ.get("RESTFRAME_DEBUG") == "1":
                    connection.send(Lines.verbatim(traceback.format_exc()))
                answer = as_sent(error)
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def as_sent(error: Exception) -> Exception:
    """The error, or one with the same message where it cannot be pickled and read again."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
        return copy
    except Exception:
        return RuntimeError(traceback.format_exception_only(error)[-1].strip())
