"""The movies of a batch. On the CPU one after the other: while one is corrected, the next is read and the one before is
saved. On GPUs several at once, each in a process of its own.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from restframe.batch.blocks import Blocks
from restframe.batch.worker import Worker
from restframe.detector.references import References
from restframe.errors import ReferenceInputError, error_message
from restframe.kernels import make_kernels, thread_count
from restframe.messages import Message
from restframe.movie import Movie, open_movie
from restframe.output.alignment import Alignment, settings_with
from restframe.output.text import movie_lines
from restframe.pipeline import Prepared, TakeStack, correct_prepared, own_references, prepare, single_blas_thread
from restframe.result import Result
from restframe.settings import Detector, Machine, Settings
from restframe.track.field import MotionField

Say = Callable[[str], None]

WORTH_A_PROCESS = 4  # movies that are corrected while it starts


@dataclass(frozen=True)
class Task:
    """One movie of a batch. Other processes may work on it: it can be pickled."""

    movie: Path
    kind: str  # what the user says that it is: mrc, tiff, eer
    settings: Settings
    save: Callable[[Result, Settings, Say], None]  # puts the results in place and says where
    known_motion: Callable[[], Alignment] | None = None  # to be applied instead of measured
    stack: TakeStack | None = None  # takes corrected frames


@dataclass(frozen=True)
class Failure:
    movie: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Ready:
    """A movie that has been read, and how it is to be corrected."""

    task: Task
    movie: Movie
    prepared: Prepared
    settings: Settings
    field: MotionField | None
    seconds: float  # that reading took


def run_batch(tasks: Sequence[Task], detector: Detector, say: Say) -> list[Failure]:
    """Correct all movies in order, or several at once where the device has room. Returns those that failed and why; a
    failure does not stop the others.

    Each result is that of the movie alone. On the CPU at most two raw movies are in memory, the one that is corrected
    and the next, and one result that waits to be saved; with a limit on memory that has no room for two movies, each is
    read when its turn comes. Raises `ReferenceInputError`: no movie can be corrected then.
    """
    blocks = Blocks(say)
    shared = SharedReferences(detector)
    failures: dict[int, Failure] = {}

    def attempt(number: int, stage: Callable[..., Any], *arguments) -> Any:
        """What a stage of a movie gives; None when it fails, which is said and noted."""
        try:
            return stage(*arguments)
        except (ReferenceInputError, BrokenPipeError):
            raise
        except Exception as error:
            failures[number] = Failure(tasks[number].movie, error_message(error)[0])
            blocks.writer_for(number)(Message("Error: ", failures[number].reason))
            if os.environ.get("RESTFRAME_DEBUG") == "1":
                blocks.writer_for(number)("".join(traceback.format_exception(error)))
            blocks.close(number)

    with single_blas_thread():
        first: list[tuple[int, Ready]] = []  # that can be read; whoever corrects it takes it out
        for number, task in enumerate(tasks):
            blocks.writer_for(number)(title(number, tasks))
            if ready := attempt(number, _read, task, shared):
                first.append((number, ready))
                break
        ready = None  # or its frames would stay in memory
        if first and (first[0][1].prepared.raw.concurrent_movies > 1 or len(tasks[0].settings.machine.gpus) > 1):
            _side_by_side(tasks, first, detector, shared, blocks, attempt)
        elif first:
            _in_stages(tasks, first, shared, blocks, attempt)
    return [failures[number] for number in sorted(failures)]


def _in_stages(
    tasks: Sequence[Task], first: list[tuple[int, Ready]], shared: SharedReferences, blocks: Blocks, attempt
) -> None:
    """One movie is corrected at a time, from the ``first`` on, which has been read."""
    ready: Ready | None
    begin, ready = first.pop()
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "save") as saver:
        later = tasks[begin + 1 :]
        readings = (reader.submit(_read, task, shared) for task in later)  # each starts when it is asked for
        reading: Future | None = None
        saving: tuple[int, Future] | None = None
        for number, task in enumerate(tasks[begin:], begin):
            line = blocks.writer_for(number)
            if reading:
                line(title(number, tasks))
                ready = attempt(number, reading.result)
            reading = next(readings, None)
            work = None
            if ready:
                for text in ready_lines(ready):
                    line(text)
                result = attempt(number, _correct, ready, line)
                work = result and partial(task.save, result, ready.settings, line)
            ready = None  # the reader may be filling the next but one soon
            if saving:
                attempt(saving[0], saving[1].result)
            saving = (number, saver.submit(_save, work, blocks, number)) if work else None
        if saving:
            attempt(saving[0], saving[1].result)


def _side_by_side(
    tasks: Sequence[Task],
    first: list[tuple[int, Ready]],
    detector: Detector,
    shared: SharedReferences,
    blocks: Blocks,
    attempt,
) -> None:
    """As many movies at once as each GPU has room for, so that it waits for none of them: this process corrects one
    after the other, and so do more processes as soon as they have started. One that can't (a GPU may be reserved for
    one process) is replaced by a thread.
    """
    begin, ready = first.pop()
    at_once = ready.prepared.raw.concurrent_movies
    given = tasks[0].settings.machine
    machines = [replace(given, gpus=(gpu,)) for gpu in given.gpus] or [given]
    waiting, lock = deque(range(begin + 1, len(tasks))), Lock()

    def correct_waiting(whole: Callable[[Task, Say], None], alive: Callable[[], bool] = lambda: True) -> None:
        while alive() and (number := taken()) is not None:
            blocks.writer_for(number)(title(number, tasks))
            correct(number, partial(whole, tasks[number]))

    def taken() -> int | None:
        with lock:
            return waiting.popleft() if waiting else None

    def correct(number: int, whole: Callable[[Say], None]) -> None:
        def to_the_end() -> None:
            whole(blocks.writer_for(number))
            blocks.close(number)

        attempt(number, to_the_end)

    def another(machine: Machine) -> None:
        worker = Worker(partial(_get_ready, detector, machine), _whole)

        def elsewhere(task: Task, line: Say) -> None:
            worker.do(replace(task, settings=replace(task.settings, machine=machine)), line)

        try:
            if worker.ready(lambda: bool(waiting)):
                correct_waiting(elsewhere, lambda: worker.alive)
            else:
                correct_waiting(partial(_in_its_place, shared))
        finally:
            worker.stop()

    def others(machine: Machine) -> None:
        try:
            while waiting:  # after one that came to a bad end another one
                another(machine)
        except BaseException:
            waiting.clear()
            raise

    more = min(at_once * len(machines), thread_count(machines[0]), 1 + len(tasks) // WORTH_A_PROCESS) - 1
    with ThreadPoolExecutor(max(more, 1), "movie") as pool:
        running = [pool.submit(others, machines[k % len(machines)]) for k in range(1, 1 + more)]
        try:
            correct(begin, partial(_finish, ready))
            correct_waiting(partial(_whole, shared))
            for other in running:
                other.result()
        finally:
            waiting.clear()


def _get_ready(detector: Detector, machine: Machine) -> SharedReferences:
    """All that takes time before the first movie of a process. Raises where its GPU can't be used."""
    kernels = make_kernels(machine)
    with kernels.active():
        kernels.empty((1,), np.float32)
    return SharedReferences(detector)


def _whole(shared: SharedReferences, task: Task, line: Say) -> None:
    """One movie from its file to its results."""
    _finish(_read(task, shared), line)


def _in_its_place(shared: SharedReferences, task: Task, line: Say) -> None:
    """`_whole` of a movie that another process was meant for."""
    line("No other process could be started for this movie: the first one corrects it beside its own, more slowly.")
    _whole(shared, task, line)


def _finish(ready: Ready, line: Say) -> None:
    for text in ready_lines(ready):
        line(text)
    result = _correct(ready, line)
    ready.task.save(result, ready.settings, line)


def title(number: int, tasks: Sequence[Task]) -> str:
    return f"\nMovie {number + 1} of {len(tasks)}: {tasks[number].movie}"


class SharedReferences:
    """The references of a batch, read once for each size of frames that follows another."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = Lock()
        self._shape: tuple[int, ...] = ()
        self._references = References()

    def of(self, movie: Movie, machine: Machine) -> References:
        """Those that fit ``movie``, with the gain in its own header where no other is given, where ``machine`` works.
        Raises as `references`.
        """
        if self._detector.gain is None and movie.header_gain() is not None:
            return own_references(movie, self._detector)
        shape = movie.shape[1:]
        with self._lock:
            if shape != self._shape:
                kernels = make_kernels(machine)
                with kernels.active():
                    self._references = own_references(movie, self._detector).on_device(kernels)
                self._shape = shape
            return self._references


def _read(task: Task, shared: SharedReferences) -> Ready:
    started = perf_counter()
    settings, field = task.settings, None
    if task.known_motion is not None:
        alignment = task.known_motion()
        settings, field = settings_with(alignment, settings), alignment.field
    movie = open_movie(task.movie, task.kind, settings.exposure.eer_sampling)
    prepared = prepare(movie, settings, shared.of(movie, settings.machine))
    if prepared.ahead:
        with make_kernels(settings.machine).active():
            prepared.raw.load()
    return Ready(task, movie, prepared, settings, field, perf_counter() - started)


def ready_lines(ready: Ready) -> list[str]:
    """How long reading took, as MotionCor3 says it (programs that split the text look for it), and what was read."""
    movie, seconds = ready.movie, f"{ready.seconds:.2f} seconds"
    first = f"Load Tiff movie: {seconds}" if movie.format == "tiff" else f"*** {movie.path}: loaded in {seconds}."
    return [first, *movie_lines(movie, ready.task.kind, ready.settings.exposure.eer_sampling)]


def _correct(ready: Ready, line: Say) -> Result:
    return correct_prepared(ready.prepared, ready.settings, field=ready.field, stack=ready.task.stack, report=line)


def _save(work: Callable[[], None], blocks: Blocks, number: int) -> None:
    work()
    blocks.close(number)
