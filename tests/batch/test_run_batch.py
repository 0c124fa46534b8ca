"""The stages of a batch: their order, what fails, how much is in memory."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from restframe.batch import serial
from restframe.batch.serial import SharedReferences, Task, run_batch
from restframe.errors import DetectorError, InputError
from restframe.movie import ArrayMovie
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


@pytest.fixture
def stages(monkeypatch):
    """The stages replaced: movies named bad-STAGE fail there. Returns what was done, in order."""
    done = []
    Raw.alive = Raw.most = 0

    def prepare(movie, settings, refs):
        return Prepared(movie, Raw(movie.name, done), ahead=settings.machine.max_memory == 0)

    def correct(prepared, settings, field, stack, report):
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

    def open_movie(path, kind, eer_sampling):
        movie = Movie(np.zeros((2, 4, 4), np.uint8))
        object.__setattr__(movie, "name", path.name)
        return movie

    monkeypatch.setattr(serial, "prepare", prepare)
    monkeypatch.setattr(serial, "correct_prepared", correct)
    monkeypatch.setattr(serial, "open_movie", open_movie)
    return done


def batch(names, done, settings=None):
    out = []

    def save(result, settings, say):
        if "bad-save" in result:
            raise OSError(28, "No space left on device", result)
        say(f"saved {result}")
        done.append(f"save {result}")

    settings = settings or Settings()
    failures = run_batch([Task(Path(n), "array", settings, save) for n in names], settings.detector, out.append)
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
    correct = serial.correct_prepared

    def slow(*arguments, **more):
        time.sleep(0.02)  # enough to read everything, if nothing held the reader back
        return correct(*arguments, **more)

    monkeypatch.setattr(serial, "correct_prepared", slow)
    batch([*"abcdefgh", "bad-read", "bad-correct", *"ij"], stages)
    assert Raw.most == 2 and Raw.alive == 0


def test_the_next_movie_is_read_meanwhile(stages, monkeypatch):
    read = threading.Event()
    fill, correct = Raw.load, serial.correct_prepared

    def signalling(raw):
        fill(raw)
        if raw.name == "b":
            read.set()

    def waiting(prepared, *arguments, **more):
        if prepared.movie.name == "a":
            assert read.wait(20)
        return correct(prepared, *arguments, **more)

    monkeypatch.setattr(Raw, "load", signalling)
    monkeypatch.setattr(serial, "correct_prepared", waiting)
    assert batch(["a", "b"], stages)[0] == []


def test_without_memory_for_two_nothing_is_read_ahead(stages):
    failures, _ = batch(["a", "b", "bad-read", "c"], stages, Settings(machine=Machine(max_memory=1)))
    assert len(failures) == 1 and Raw.most == 1
    assert [d for d in stages if not d.startswith("save")] == [f"{s} {n}" for n in "abc" for s in ("read", "correct")]


CPU = Machine()


def still(h, w):
    return ArrayMovie(np.zeros((2, h, w), np.uint8))


def test_references_are_read_once(monkeypatch):
    calls = []
    original = serial.own_references
    monkeypatch.setattr(serial, "own_references", lambda m, d: calls.append(m.shape[1:]) or original(m, d))
    shared = SharedReferences(Detector(gain=np.ones((4, 6), np.float32)))
    assert shared.of(still(4, 6), CPU) is shared.of(still(4, 6), CPU)
    assert shared.of(still(8, 12), CPU).gain.shape == (8, 12)
    assert calls == [(4, 6), (8, 12)]
    with pytest.raises(DetectorError):
        shared.of(still(5, 6), CPU)
    assert shared.of(still(8, 12), CPU).gain.shape == (8, 12)


def test_a_gain_in_the_movie_is_that_movies_own(monkeypatch):
    monkeypatch.setattr(ArrayMovie, "header_gain", lambda movie: np.full((4, 6), movie.frames[0, 0, 0], np.float32))
    shared = SharedReferences(Detector())
    for value in (2, 3):
        assert shared.of(ArrayMovie(np.full((2, 4, 6), value, np.uint8)), CPU).gain[0, 0] == value
    assert SharedReferences(Detector(gain=np.full((4, 6), 7.0))).of(still(4, 6), CPU).gain[0, 0] == 7


def test_a_gain_that_does_not_fit_fails_the_movie_and_one_that_cannot_be_read_all(stages, tmp_path):
    failures, _ = batch(["a", "b"], stages, Settings(detector=Detector(gain=np.ones((9, 9)))))
    assert len(failures) == 2 and "9 x 9" in failures[0].reason
    with pytest.raises(InputError, match="none"):
        batch(["a", "b"], stages, Settings(detector=Detector(gain=tmp_path / "none.mrc")))
    assert not [d for d in stages if d.startswith("correct")]


def test_a_reader_of_stdout_that_left_ends_the_batch(stages):
    def leave(line):
        raise BrokenPipeError

    tasks = [Task(Path(n), "array", Settings(), lambda result, settings, say: None) for n in "abc"]
    with pytest.raises(BrokenPipeError):
        run_batch(tasks, Detector(), leave)
