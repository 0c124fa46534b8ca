"""One movie after the other: while one is corrected, the next is read and the one before is saved."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any

from restframe.batch.blocks import Blocks
from restframe.detector.references import References
from restframe.errors import ReferenceInputError, explained
from restframe.movie import Movie, open_movie
from restframe.output.alignment import Alignment, settings_with
from restframe.output.text import movie_lines
from restframe.pipeline import Prepared, TakeStack, correct_prepared, one_blas_thread, own_references, prepare
from restframe.result import Result
from restframe.settings import Detector, Settings
from restframe.track.field import MotionField

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One movie of a batch."""

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

    Each result is that of the movie alone. At most two raw movies are in memory, the one that is corrected and the
    next, and one result that waits to be saved. Raises `ReferenceInputError`: no movie can be corrected
    then. With a limit on memory that has no room for two movies, each is read when its turn comes.
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
            failures[number] = Failure(tasks[number].movie, explained(error)[0])
            blocks.sayer(number)(f"Error: {failures[number].reason}")
            if os.environ.get("RESTFRAME_DEBUG") == "1":
                blocks.sayer(number)("".join(traceback.format_exception(error)))
            blocks.close(number)

    with one_blas_thread():
        if tasks:
            blocks.sayer(0)(title(0, tasks))
        first = [attempt(0, _read, tasks[0], shared)] if tasks else []  # whoever corrects it takes it out
        at_once = first[0].prepared.raw.at_once if first and first[0] else 1
        run = partial(_side_by_side, at_once) if at_once > 1 else _in_stages
        run(tasks, first, shared, blocks, attempt)
    return [failures[number] for number in sorted(failures)]


def _in_stages(
    tasks: Sequence[Task], first: list[Ready | None], shared: SharedReferences, blocks: Blocks, attempt
) -> None:
    """One movie is corrected at a time; ``first`` has been read, or has failed."""
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "save") as saver:
        readings = (reader.submit(_read, task, shared) for task in tasks[1:])  # each starts when it is asked for
        reading: Future | None = None
        saving: tuple[int, Future] | None = None
        for number, task in enumerate(tasks):
            line = blocks.sayer(number)
            if number:
                line(title(number, tasks))
            ready = attempt(number, reading.result) if number and reading else first.pop()
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
    at_once: int, tasks: Sequence[Task], first: list[Ready | None], shared: SharedReferences, blocks: Blocks, attempt
) -> None:
    """As many movies ``at_once``, each with a thread of its own: a GPU waits for none of them then."""

    def one(number: int) -> None:
        task, line = tasks[number], blocks.sayer(number)
        if number:
            line(title(number, tasks))
        ready = attempt(number, _read, task, shared) if number else first.pop()
        if not ready:
            return
        for text in ready_lines(ready):
            line(text)
        result = attempt(number, _correct, ready, line)
        if result:
            attempt(number, _save, partial(task.save, result, ready.settings, line), blocks, number)

    pool = ThreadPoolExecutor(at_once, "movie")
    try:
        for movie in [pool.submit(one, number) for number in range(len(tasks))]:
            movie.result()
    finally:
        pool.shutdown(cancel_futures=True)


def title(number: int, tasks: Sequence[Task]) -> str:
    return f"\nMovie {number + 1} of {len(tasks)}: {tasks[number].movie}"


class SharedReferences:
    """The references of a batch, read once for each size of frames that follows another."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._lock = Lock()
        self._shape: tuple[int, ...] = ()
        self._references = References()

    def of(self, movie: Movie) -> References:
        """Those that fit ``movie``, with the gain in its own header where no other is given. Raises as `references`."""
        if self._detector.gain is None and movie.header_gain() is not None:
            return own_references(movie, self._detector)
        shape = movie.shape[1:]
        with self._lock:
            if shape != self._shape:
                self._references = own_references(movie, self._detector)
                self._shape = shape
            return self._references


def _read(task: Task, shared: SharedReferences) -> Ready:
    started = perf_counter()
    settings, field = task.settings, None
    if task.known_motion is not None:
        alignment = task.known_motion()
        settings, field = settings_with(alignment, settings), alignment.field
    movie = open_movie(task.movie, task.kind, settings.exposure.eer_sampling)
    prepared = prepare(movie, settings, shared.of(movie))
    if prepared.ahead:
        prepared.raw.fill()
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
