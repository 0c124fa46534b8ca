"""Where movies are corrected. On the CPU one after the other: while one is corrected, the next is read and the one
before is saved. On GPUs several at once, each in a process of its own.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TypeVar

import numpy as np

from restframe.batch.blocks import Blocks
from restframe.batch.source import Earlier, Task, TaskQueue
from restframe.batch.status import RunCounts
from restframe.batch.worker import Worker
from restframe.blas import single_blas_thread
from restframe.errors import (
    DetectorError,
    InputError,
    ReferenceInputError,
    SettingsError,
    StdoutError,
    WorkerError,
    error_message,
)
from restframe.kernels import thread_count
from restframe.messages import Lines, Message
from restframe.movie import Movie, open_movie
from restframe.output.alignment import read_alignment, settings_with
from restframe.output.sink import Corrected
from restframe.output.text import movie_lines
from restframe.prepare import Prepared
from restframe.progress import Report
from restframe.session import Session
from restframe.settings import Machine, Settings
from restframe.termination import raise_if_ended
from restframe.track.field import MotionField

Value = TypeVar("Value")

LASTING_ERRORS = (InputError, DetectorError, SettingsError)  # the same movie fails again with the same settings
MOVIES_PER_START = 4  # movies that are corrected while another process starts


@dataclass(frozen=True)
class Failure:
    """A movie that could not be corrected."""

    movie: Path
    reason: str


class Transcript:
    """Passes lines of text on and keeps them, for the record."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._report(line)


@dataclass(frozen=True, eq=False)
class Ready:
    """A movie that has been opened, and read where memory allows it, and how it is to be corrected."""

    task: Task
    movie: Movie
    prepared: Prepared
    settings: Settings
    field: MotionField | None
    reading_seconds: float
    transcript: Transcript


def run(source: Iterable[Task], settings: Settings, report: Report, counts: RunCounts | None = None) -> list[Failure]:
    """Correct and save all movies of ``source``. Returns those that failed; a failure does not stop the others.

    ``source``: any iterable of tasks, also one that waits for movies. Each movie is begun as soon as the source yields
    it and there is room, and saved without waiting for the next one. Results are those of the movie alone. On the CPU
    at most two raw movies are in memory, the one that is corrected and the next, and one result that waits to be saved.
    With a limit on memory that has no room for two movies, each is read when its turn comes. ``counts`` is kept up to
    date.

    Raises `ReferenceInputError`, as no movie can be corrected then, and any error of a task that is alone.
    """
    with single_blas_thread(), Session(settings) as session, RunState(source, report, counts) as state:
        first = [state.read_next(session)]  # whoever corrects it takes it out, so that its memory can be released
        if first[0] is None:
            pass
        elif first[0][1].prepared.raw.concurrent_movies > 1 or len(settings.machine.gpus) > 1:
            SideBySide(state, session, first[0][1].prepared.raw.concurrent_movies).work(first)
        else:
            run_in_stages(state, session, first)
    return state.failures


class RunState:
    """The movies of one run: which are waiting, in work, and failed, and their text. Used by several threads."""

    def __init__(self, source: Iterable[Task], report: Report, counts: RunCounts | None = None) -> None:
        self.queue = TaskQueue(source)
        self.counts = counts or RunCounts()
        self._blocks = Blocks(report)
        self._failures: dict[int, Failure] = {}
        self._unfinished: dict[int, Task] = {}

    def __enter__(self) -> RunState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._unfinished.values():
            task.sink.discard()

    @property
    def failures(self) -> list[Failure]:
        """In the order of the movies."""
        return [self._failures[number] for number in sorted(self._failures)]

    def writer_for(self, number: int) -> Report:
        """The function that takes the lines of text of a movie."""
        return self._blocks.writer_for(number)

    def take(self) -> tuple[int, Task] | None:
        """The next task to be done, whose title is printed; None after the last one. Others are printed again."""
        while taken := self.queue.take():
            number, task = taken
            for earlier_number, failure in list(self._failures.items()):  # of a movie that has changed since
                if failure.movie == task.movie:
                    del self._failures[earlier_number]
            if not task.alone:
                self.writer_for(number)(task.title)
            if task.earlier is None:
                self._unfinished[number] = task
                self.counts.begin(number, task)
                return taken
            self._repeat(number, task, task.earlier)
        return None

    def _repeat(self, number: int, task: Task, earlier: Earlier) -> None:
        """Print what an earlier run printed."""
        report = self.writer_for(number)
        report(earlier.heading or ("Failed in an earlier run:" if earlier.failure else "Done in an earlier run:"))
        for line in earlier.lines:
            report(Lines.verbatim(line))
        if earlier.failure:
            self._failures[number] = Failure(task.movie, earlier.failure)
        self.counts.skip(task, failed=bool(earlier.failure))
        self._blocks.close(number)
        self.queue.finished(task)

    def finish(self, number: int) -> None:
        """Nothing more is to be done for this movie."""
        task = self._unfinished.pop(number)
        task.sink.discard()
        self.counts.end(number, task, failed=number in self._failures)
        self._blocks.close(number)
        self.queue.finished(task)

    def attempt(self, number: int, stage: Callable[[], Value]) -> Value | None:
        """The value of a stage of a movie. None where it fails, which is noted and printed."""
        try:
            return stage()
        except (ReferenceInputError, BrokenPipeError, StdoutError):
            raise
        except Exception as error:
            task, report = self._unfinished[number], self.writer_for(number)
            if task.alone:
                raise
            reason = error_message(error)[0]  # not the error: it would keep the frames in memory
            raise_if_ended()  # a process of ours that a signal ends has not failed
            self._failures[number] = Failure(task.movie, reason)
            task.sink.fail(task.movie, reason, isinstance(error, LASTING_ERRORS))
            report(Message("Error: ", reason))
            if os.environ.get("RESTFRAME_DEBUG") == "1":
                report(Lines.verbatim("".join(traceback.format_exception(error))))
        self.finish(number)
        return None

    def read_next(self, session: Session) -> tuple[int, Ready] | None:
        """The next movie that can be read; None after the last one."""
        while taken := self.take():
            number, task = taken
            ready = self.attempt(number, partial(read, session, task, self.writer_for(number)))
            if ready:
                return number, ready
        return None

    def correct_and_save(self, number: int, stage: Callable[[Report], None]) -> None:
        """Do all that is left to do for a movie."""

        def to_the_end() -> bool:
            stage(self.writer_for(number))
            return True

        if self.attempt(number, to_the_end):
            self.finish(number)


def run_in_stages(state: RunState, session: Session, first: list[tuple[int, Ready] | None]) -> None:
    """One movie is corrected at a time, beginning with ``first``, which has been read and is taken out of the list."""
    upcoming = first.pop()
    saving: Future[None] | None = None
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "save") as saver, state.queue:
        while upcoming:
            number, ready = upcoming
            reading = reader.submit(state.read_next, session)
            corrected = state.attempt(number, partial(correct, session, ready))
            if saving:
                saving.result()
            saving = None
            if corrected:
                save = partial(ready.task.sink.save, corrected)
                saving = saver.submit(state.correct_and_save, number, save)
            del upcoming, ready, corrected  # the reader may fill the movie after the next soon
            upcoming = reading.result()
            del reading
        if saving:
            saving.result()


class SideBySide:
    """As many movies at once as each GPU has room for, so that it waits for none of them.

    This process corrects one after the other, and so do more processes as soon as they have started. One that cannot
    start (a GPU may be reserved for one process) is replaced by a thread.
    """

    def __init__(self, state: RunState, session: Session, movies_per_gpu: int) -> None:
        self._state = state
        self._session = session
        machine = session.settings.machine
        self._machines = [replace(machine, gpus=(gpu,)) for gpu in machine.gpus] or [machine]
        expected = 1 + state.queue.remaining
        movies_at_once = min(
            movies_per_gpu * len(self._machines),
            thread_count(machine),
            1 + expected // MOVIES_PER_START,
        )
        self._process_count = movies_at_once - 1

    def work(self, first: list[tuple[int, Ready] | None]) -> None:
        """Correct all movies, beginning with ``first``, which has been read and is taken out of the list."""
        with ThreadPoolExecutor(max(self._process_count, 1), "movie") as pool, self._state.queue:
            machines = [self._machines[index % len(self._machines)] for index in range(1, 1 + self._process_count)]
            running = [pool.submit(self._keep_process, machine) for machine in machines]
            begun = first.pop()
            if begun:
                number, ready = begun
                self._state.correct_and_save(number, partial(finish, self._session, ready))
                del begun, ready
            self._correct_tasks(partial(correct_task, self._session))
            for other in running:
                other.result()

    def _correct_tasks(
        self, correct_one: Callable[[Task, Report], None], is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        """Take one task after the other until there are no more."""
        while is_alive() and (taken := self._state.take()):
            number, task = taken
            self._state.correct_and_save(number, partial(correct_one, task))

    def _keep_process(self, machine: Machine) -> None:
        """Correct movies in another process; after one that was killed in another one."""
        try:
            while self._state.queue.remaining:
                self._use_process(machine)
        except BaseException:
            self._state.queue.stop()
            raise

    def _use_process(self, machine: Machine) -> None:
        with self._started(machine) as worker:
            if worker.ready(lambda: self._state.queue.remaining > 0):
                self._correct_tasks(partial(self._correct_there, worker, machine), lambda: worker.alive)
            else:
                self._correct_tasks(self._correct_here)

    @contextmanager
    def _started(self, machine: Machine) -> Iterator[Worker[Session, Task]]:
        """Another process, which is ended at the end of the context."""
        settings = replace(self._session.settings, machine=machine)
        worker: Worker[Session, Task] = Worker(partial(start_session, settings), correct_task)
        try:
            yield worker
        finally:
            worker.stop()

    def _correct_there(self, worker: Worker[Session, Task], machine: Machine, task: Task, report: Report) -> None:
        """Correct a movie in another process; once more in a new one if that process is killed."""
        try:
            worker.do(task, report)
        except WorkerError as error:
            raise_if_ended()
            report(f"Note: {error} The movie is corrected once more.")
            with self._started(machine) as second:
                if not second.ready(lambda: True):
                    raise
                second.do(task, report)

    def _correct_here(self, task: Task, report: Report) -> None:
        """Correct a movie that another process was meant for."""
        report(
            "No other process could be started for this movie: the first one corrects it beside its own, more slowly."
        )
        correct_task(self._session, task, report)


def start_session(settings: Settings) -> Session:
    """All that takes time before the first movie of a process. Raises where its GPU cannot be used."""
    session = Session(settings)
    with session.kernels.active():
        session.kernels.empty((1,), np.float32)
    return session


def correct_task(session: Session, task: Task, report: Report) -> None:
    """One movie from its file to its results."""
    finish(session, read(session, task, report), report)


def finish(session: Session, ready: Ready, report: Report) -> None:
    """Correct a movie that has been read, and save its results."""
    ready.task.sink.save(correct(session, ready), report)


def read(session: Session, task: Task, report: Report) -> Ready:
    """Open the movie, and read its frames where another movie may be corrected meanwhile. Raises `RestframeError`."""
    start = perf_counter()
    report = transcript = Transcript(report)
    settings, sampling = session.settings, session.settings.exposure.eer_sampling
    movie = open_movie(task.movie, task.kind, sampling, settings.machine.max_memory)
    lines = movie_lines(movie, task.kind, sampling)
    if task.alone:
        for line in lines:
            report(line)
    field = None
    if task.known_motion is not None:
        alignment = read_alignment(task.known_motion)
        settings, field = settings_with(alignment, settings), alignment.field
    prepared = session.prepare(movie, settings)
    if prepared.ahead and not task.alone:
        session.fill(prepared)
    seconds = perf_counter() - start
    if not task.alone:
        for line in (loaded_line(movie, seconds), *lines):
            report(line)
    return Ready(task, movie, prepared, settings, field, seconds, transcript)


def loaded_line(movie: Movie, seconds: float) -> str:
    """How long reading took, in the words of MotionCor3: programs that split the text look for them."""
    if movie.format == "tiff":
        return f"Load Tiff movie: {seconds:.2f} seconds"
    return f"*** {movie.path}: loaded in {seconds:.2f} seconds."


def correct(session: Session, ready: Ready) -> Corrected:
    """Measure and correct the motion of a movie that has been read."""
    stack = ready.task.sink.stack
    result = session.correct_prepared(
        ready.prepared, ready.settings, field=ready.field, stack=stack, report=ready.transcript
    )
    references = ready.prepared.references
    lines = tuple(ready.transcript.lines)
    return Corrected(result, ready.movie, references, session.kernels, ready.reading_seconds, lines)
