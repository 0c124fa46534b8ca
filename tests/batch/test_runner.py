"""The stages of a batch: their order, what fails, how much is in memory."""

import dataclasses
import itertools
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from restframe import session
from restframe.batch import runner
from restframe.batch.runner import RunState, SideBySide, run
from restframe.batch.source import Task, TaskQueue, with_titles
from restframe.errors import DetectorError, InputError
from restframe.kernels import make_kernels, thread_count
from restframe.movie import ArrayMovie
from restframe.session import Session, SharedReferences
from restframe.settings import Detector, Machine, Settings


class Raw:
    """Stands for a movie's frames in memory; counts how many there are."""

    lock, alive, most = threading.Lock(), 0, 0
    shape = (2, 4, 4)
    concurrent_movies = 1

    def __init__(self, name, done):
        self.name, self.done, self.filled = name, done, False

    def load(self):
        if "bad-read" in self.name:
            raise InputError(f"{self.name} is cut short")
        self.done.append(f"read {self.name}")
        self.filled = True
        with Raw.lock:
            Raw.alive += 1
            Raw.most = max(Raw.most, Raw.alive)

    def __del__(self):
        with Raw.lock:
            Raw.alive -= self.filled


@dataclass
class Prepared:
    movie: ArrayMovie
    raw: Raw
    ahead: bool
    references = None


@dataclass
class Sink:
    """Keeps what was saved, and whether it was discarded."""

    done: list
    failures: list = dataclasses.field(default_factory=list)
    stack = None

    def save(self, corrected, say):
        if "bad-save" in corrected.result:
            raise OSError(28, "No space left on device", corrected.result)
        say(f"saved {corrected.result}")
        self.done.append(f"save {corrected.result}")

    def fail(self, movie, reason, lasting):
        self.failures.append((movie.name, reason, lasting))

    def discard(self):
        pass


@pytest.fixture
def stages(monkeypatch):
    """The stages replaced: movies named bad-STAGE fail there. Returns what was done, in order."""
    done = []
    Raw.alive = Raw.most = 0

    def prepare(kernels, movie, settings, references):
        return Prepared(movie, Raw(movie.name, done), ahead=settings.machine.max_memory == 0)

    def correct(self, prepared, settings, *, field, stack, report):
        name = prepared.movie.name
        if not prepared.raw.filled:
            prepared.raw.load()
        if "bad-correct" in name:
            raise ZeroDivisionError("odd")
        report(f"table of {name}")
        done.append(f"correct {name}")
        return name

    class Movie(ArrayMovie):
        name = ""

    def open_movie(path, kind, eer_sampling, max_memory=0):
        movie = Movie(np.zeros((2, 4, 4), np.uint8))
        object.__setattr__(movie, "name", path.name)
        return movie

    monkeypatch.setattr(session, "prepare", prepare)
    monkeypatch.setattr(Session, "correct_prepared", correct)
    monkeypatch.setattr(runner, "open_movie", open_movie)
    return done


def tasks(names, done):
    return [Task(Path(name), "array", Sink(done)) for name in names]


def batch(names, done, settings=None):
    out = []
    failures = run(with_titles(tasks(names, done)), settings or Settings(), out.append)
    return failures, out


def test_all_movies_in_order_and_each_ones_text_together(stages):
    failures, out = batch(["a", "b", "c"], stages)
    assert failures == []
    kept = [line.strip() for line in out if not line.startswith(("***", "Movie: "))]
    assert kept == [
        text
        for i, name in enumerate("abc", 1)
        for text in (f"Movie {i} of 3: {name}", f"table of {name}", f"saved {name}")
    ]
    for name in "abc":
        assert [d.split()[0] for d in stages if d.endswith(name)] == ["read", "correct", "save"]


@pytest.mark.parametrize("bad", ["bad-read", "bad-correct", "bad-save"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_bad_movie_does_not_stop_the_rest(stages, bad, place):
    names = ["a", "b", "c"]
    names.insert(place, bad)
    failures, out = batch(names, stages)
    assert [f.movie.name for f in failures] == [bad]
    assert [d.split()[1] for d in stages if d.startswith("save")] == ["a", "b", "c"]
    error = next(i for i, line in enumerate(out) if line.startswith("Error: "))
    assert out[error] == f"Error: {failures[0].reason}"
    assert [line for line in out[:error] if "Movie " in line][-1].endswith(f": {bad}")


def test_all_bad(stages):
    failures, _ = batch(["bad-read 1", "bad-save", "bad-correct", "bad-read 2"], stages)
    assert [f.movie.name for f in failures] == ["bad-read 1", "bad-save", "bad-correct", "bad-read 2"]
    assert "No space left" in failures[1].reason and "ZeroDivisionError" in failures[2].reason


def test_no_movies(stages):
    assert batch([], stages) == ([], [])


def test_two_raw_movies_at_most(stages, monkeypatch):
    correct = Session.correct_prepared

    def slow(*arguments, **more):
        time.sleep(0.02)  # enough to read everything, if nothing held the reader back
        return correct(*arguments, **more)

    monkeypatch.setattr(Session, "correct_prepared", slow)
    batch([*"abcdefgh", "bad-read", "bad-correct", *"ij"], stages)
    assert Raw.most == 2 and Raw.alive == 0


def test_the_next_movie_is_read_meanwhile(stages, monkeypatch):
    read = threading.Event()
    fill, correct = Raw.load, Session.correct_prepared

    def signalling(raw):
        fill(raw)
        if raw.name == "b":
            read.set()

    def waiting(self, prepared, *arguments, **more):
        if prepared.movie.name == "a":
            assert read.wait(20)
        return correct(self, prepared, *arguments, **more)

    monkeypatch.setattr(Raw, "load", signalling)
    monkeypatch.setattr(Session, "correct_prepared", waiting)
    assert batch(["a", "b"], stages)[0] == []


def test_without_memory_for_two_nothing_is_read_ahead(stages):
    failures, _ = batch(["a", "b", "bad-read", "c"], stages, Settings(machine=Machine(max_memory=1)))
    assert len(failures) == 1 and Raw.most == 1
    assert [d for d in stages if not d.startswith("save")] == [f"{s} {n}" for n in "abc" for s in ("read", "correct")]


CPU = make_kernels(Machine())


def still(h, w):
    return ArrayMovie(np.zeros((2, h, w), np.uint8))


def test_references_are_read_once(monkeypatch):
    calls = []
    original = session.own_references
    monkeypatch.setattr(session, "own_references", lambda m, d: calls.append(m.shape[1:]) or original(m, d))
    shared = SharedReferences(Detector(gain=np.ones((4, 6), np.float32)), CPU)
    assert shared.of(still(4, 6)) is shared.of(still(4, 6))
    assert shared.of(still(8, 12)).gain.shape == (8, 12)
    assert calls == [(4, 6), (8, 12)]
    with pytest.raises(DetectorError):
        shared.of(still(5, 6))
    assert shared.of(still(8, 12)).gain.shape == (8, 12)


def test_a_gain_in_the_movie_is_that_movies_own(monkeypatch):
    monkeypatch.setattr(ArrayMovie, "header_gain", lambda movie: np.full((4, 6), movie.frames[0, 0, 0], np.float32))
    shared = SharedReferences(Detector(), CPU)
    for value in (2, 3):
        assert shared.of(ArrayMovie(np.full((2, 4, 6), value, np.uint8))).gain[0, 0] == value
    assert SharedReferences(Detector(gain=np.full((4, 6), 7.0)), CPU).of(still(4, 6)).gain[0, 0] == 7


def test_a_gain_that_does_not_fit_fails_the_movie_and_one_that_cannot_be_read_all(stages, tmp_path):
    failures, _ = batch(["a", "b"], stages, Settings(detector=Detector(gain=np.ones((9, 9)))))
    assert len(failures) == 2 and "9 x 9" in failures[0].reason
    with pytest.raises(InputError, match="none"):
        batch(["a", "b"], stages, Settings(detector=Detector(gain=tmp_path / "none.mrc")))
    assert not [d for d in stages if d.startswith("correct")]


def test_a_reader_of_stdout_that_left_ends_the_batch(stages):
    def leave(line):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(with_titles(tasks("abc", stages)), Settings(), leave)


class Source:
    """Tasks that are there only when they are let through, as of a folder that is watched."""

    def __init__(self, names, done):
        self.gates = {name: threading.Event() for name in names}
        self.tasks = tasks(names, done)

    def __iter__(self):
        for task in self.tasks:
            assert self.gates[task.movie.name].wait(20)
            yield dataclasses.replace(task, title=f"\nMovie: {task.movie}")


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["bad-read", "a", "bad-correct", "bad-save", "b"]])
def test_a_source_that_waits(stages, names):
    """Each movie is saved, or has failed, before the source yields the next one."""
    source, out, failures = Source(names, stages), [], []
    thread = threading.Thread(target=lambda: failures.extend(run(source, Settings(), out.append)))
    thread.start()
    for number, name in enumerate(names, 1):
        source.gates[name].set()
        wait_for(lambda number=number: sum(line.startswith(("saved ", "Error: ")) for line in out) == number)
        assert f"\nMovie: {name}" in out
    thread.join(20)
    assert not thread.is_alive()
    assert [failure.movie.name for failure in failures] == [name for name in names if "bad" in name]


def test_a_source_that_waits_ends_when_the_run_ends_early(stages):
    class Waiting:
        def __init__(self):
            self.stopped = threading.Event()

        def __iter__(self):
            yield from with_titles(tasks("a", stages))
            assert self.stopped.wait(20)

        def stop(self):
            self.stopped.set()

    def leave(line):
        if line.startswith("table"):
            raise KeyboardInterrupt

    source = Waiting()
    with pytest.raises(KeyboardInterrupt):
        run(source, Settings(), leave)
    assert source.stopped.is_set()


def test_an_endless_source_that_the_reader_of_stdout_ends(stages):
    def endless():
        for number in itertools.count():
            yield dataclasses.replace(tasks([f"movie {number}"], stages)[0], title="\nMovie")

    lines = []

    def say(line):
        lines.append(line)
        if len(lines) > 100:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(endless(), Settings(), say)
    assert Raw.alive <= 2


def test_a_source_that_fails_ends_the_run(stages):
    def source():
        yield from with_titles(tasks("ab", stages))
        raise InputError("the folder is gone")

    with pytest.raises(InputError, match="the folder is gone"):
        run(source(), Settings(), lambda line: None)
    assert [entry for entry in stages if entry.startswith("save")] == ["save a", "save b"]


def test_a_movie_that_is_alone(stages):
    """No title, no time of reading, nothing on stdout about its error, which is raised."""
    out = []
    assert run(tasks(["a"], stages), Settings(), out.append) == []
    assert [line for line in out if not line.startswith("Movie: ")] == ["table of a", "saved a"]
    for name, error in (("bad-read", InputError), ("bad-correct", ZeroDivisionError), ("bad-save", OSError)):
        out.clear()
        with pytest.raises(error):
            run(tasks([name], stages), Settings(), out.append)
        assert not [line for line in out if "Error" in line]


def test_what_is_not_put_in_place_is_removed(stages):
    """For each movie once, whatever happened to it; also for those in hand when the run ends early."""
    discarded = []

    class Noting(Sink):
        def discard(self):
            discarded.append(self)

    names = ["a", "bad-read", "bad-correct", "bad-save", "b"]
    sinks = [Noting(stages) for _ in names]
    all_tasks = [Task(Path(name), "array", sink) for name, sink in zip(names, sinks, strict=True)]
    run(with_titles(all_tasks), Settings(), lambda line: None)
    assert sorted(map(id, discarded)) == sorted(map(id, sinks))
    discarded.clear()

    def leave(line):
        if line.startswith("saved"):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(with_titles(all_tasks), Settings(), leave)
    assert sinks[0] in discarded


def test_the_queue_hands_out_each_task_once():
    queue = TaskQueue(with_titles([Task(Path(str(number)), "array", Sink([])) for number in range(200)]))
    taken = []

    def work():
        while entry := queue.take():
            taken.append(entry)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number, _ in taken) == list(range(200))
    assert all(task.movie.name == str(number) for number, task in taken)
    assert queue.take() is None and queue.remaining == 0


def test_how_many_tasks_remain():
    queue = TaskQueue([Task(Path(str(number)), "array", Sink([])) for number in range(3)])
    queue.take()
    assert queue.remaining == 2
    queue.stop()
    assert queue.remaining == 0 and queue.take() is None
    assert TaskQueue(iter(())).remaining == 0
    assert TaskQueue(task for task in ()).remaining > 1000


def test_a_short_batch_starts_no_process(stages):
    state = RunState(with_titles(tasks("abc", stages)), print)
    with Session() as session:
        state.take()
        assert SideBySide(state, session, 5)._process_count == 0
        state = RunState(with_titles(tasks("a" * 40, stages)), print)
        assert SideBySide(state, session, 5)._process_count == min(5, thread_count(Machine())) - 1
