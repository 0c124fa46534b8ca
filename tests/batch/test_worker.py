"""Other processes that work on a batch: what they say, raise, and what happens when they end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from restframe.batch import runner
from restframe.batch.runner import run
from restframe.batch.source import Task, with_titles
from restframe.batch.worker import Worker
from restframe.errors import InputError, WorkerError
from restframe.kernels.cpu import COMPILING_NOTICE
from restframe.movie.raw import RawFrames
from restframe.settings import Motion, Settings

# pytest has already imported this module; the processes import it again by its name


class Odd(Exception):
    def __init__(self, one, two):  # pickle calls it with one argument
        super().__init__(one + two)


def prepare():
    return ["state"]


def refuse():
    raise MemoryError


def work(state, item, say):
    say(f"{state[0]} {item}")
    print("noise on stderr", file=sys.stderr)
    if item == "input":
        raise InputError("no such movie")
    if item == "odd":
        raise Odd("a", "b")
    if item == "end":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "slow":
        say("now")
        time.sleep(0.5)
    if item == "clean":
        try:
            say("now")
            time.sleep(60)
        finally:
            Path(state[0]).write_text("cleaned")
    state[0] += "+"


def place(path):
    return [path]


@pytest.fixture
def worker():
    worker = Worker(prepare, work)
    assert worker.ready(lambda: True)
    yield worker
    worker.stop()
    assert not worker.alive


def test_what_it_says_and_raises(worker, capfd):
    said = []
    worker.do("one", said.append)
    with pytest.raises(InputError, match="no such movie"):
        worker.do("input", said.append)
    with pytest.raises(RuntimeError, match="Odd: ab"):
        worker.do("odd", said.append)
    worker.do("two", said.append)
    assert said == ["state one", "state+ input", "state+ odd", "state+ two"]
    assert capfd.readouterr().err == ""


def test_one_that_ends(worker):
    with pytest.raises(WorkerError, match="signal 9"):
        worker.do("end", lambda line: None)
    assert not worker.alive


def test_one_that_cannot_start():
    worker = Worker(refuse, work)
    assert not worker.ready(lambda: True)
    worker.stop()


def test_one_that_is_not_wanted_any_more():
    worker = Worker(prepare, work)
    assert not worker.ready(lambda: False)
    worker.stop()


def test_what_it_works_on_is_cleaned_up(tmp_path):
    worker = Worker(partial(place, str(tmp_path / "left")), work)
    assert worker.ready(lambda: True)

    class Enough(Exception):
        pass

    def say(line):
        if line == "now":
            raise Enough

    with pytest.raises(Enough):
        worker.do("clean", say)
    worker.stop()
    assert (tmp_path / "left").read_text() == "cleaned"


def test_signals_of_the_whole_group_leave_it_at_work(worker):
    """The first process gets them too and decides whether the movies in hand are finished."""
    said = []

    def say(line):
        said.append(line)
        if line == "now":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(worker._process.pid, number)

    worker.do("slow", say)
    worker.do("next", say)
    assert said == ["state slow", "now", "state+ next"]


PROGRAM = """
import os, signal, sys
from functools import partial
from restframe.batch.worker import Worker
import test_worker
if __name__ == "__main__":
    worker = Worker(partial(test_worker.place, sys.argv[1]), test_worker.work)
    worker.ready(lambda: True)
    worker.do("clean", lambda line: line == "now" and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_it_ends_when_the_first_process_is_killed(tmp_path):
    """A later run would correct the same movies at the same time."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    left = tmp_path / "left"
    command = [sys.executable, str(tmp_path / "program.py"), str(left)]
    assert subprocess.run(command, env=environment, timeout=120).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while not left.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left.read_text() == "cleaned"


@dataclass
class Sink:
    """Keeps the sum; this process can ``wait`` until all other movies are done, by others."""

    folder: Path
    movie: Path
    wait: bool
    stack = None

    def save(self, corrected, say):
        folder, movie = self.folder, self.movie
        attempt = folder / f"{movie.stem}.attempt"
        if (
            "dies" in movie.name
            and multiprocessing.parent_process()
            and ("twice" in movie.name or not attempt.exists())
        ):
            if attempt.exists():
                (folder / f"{movie.stem}.npy").touch()
            attempt.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.wait and not multiprocessing.parent_process():
            others = len(list(folder.glob("*.tif"))) - 2  # this one, and one that can't be read
            deadline = time.monotonic() + 60
            while len(list(folder.glob("*.npy"))) < others and time.monotonic() < deadline:
                time.sleep(0.05)
        np.save(folder / f"{movie.stem}.npy", corrected.result.sum)
        say(f"saved {movie.name}")

    def fail(self, movie, reason, lasting):
        """Leaves nothing."""

    def discard(self):
        """Says that the first process was done with this movie."""
        (self.folder / f"{self.movie.stem}.discarded").touch()


def test_a_batch_in_several_processes(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    names = ["a", "b", "bad", "c", "dies_once", "dies_twice", "d"]
    for name in names:
        tifffile.imwrite(
            tmp_path / f"{name}.tif", rng.poisson(3, (3, 64, 80)).astype(np.uint8), photometric="minisblack"
        )
    whole = (tmp_path / "bad.tif").read_bytes()
    (tmp_path / "bad.tif").write_bytes(whole[: len(whole) // 2])
    settings = Settings(motion=Motion(align=False))
    movies = [tmp_path / f"{name}.tif" for name in names]

    def batch(wait):
        lines = []
        tasks = [Task(movie, "tiff", Sink(tmp_path, movie, wait)) for movie in movies]
        return run(with_titles(tasks), settings, lines.append), lines

    def saved():
        return {path.stem: path.read_bytes() for path in tmp_path.glob("*.npy")}

    def told(lines):
        """Without times, and without the movies whose process dies."""
        blocks = "\n".join(line for line in lines if " sec" not in line and line != COMPILING_NOTICE).split("\nMovie ")
        return [block for block in blocks[1:] if "dies" not in block]

    failures, alone = batch(wait=False)
    assert [f.movie.stem for f in failures] == ["bad"]
    expected = saved()
    for path in tmp_path.glob("*.npy"):
        path.unlink()

    monkeypatch.setattr(RawFrames, "concurrent_movies", 3)
    monkeypatch.setattr(runner, "MOVIES_PER_START", 1)
    failures, together = batch(wait=True)
    assert [f.movie.stem for f in failures] == ["bad", "dies_twice"]
    assert "signal 9" in failures[1].reason
    assert len(told(alone)) == 5 and told(alone) == told(together)
    assert (
        sum("signal 9, perhaps for lack of memory. The movie is corrected once more." in one for one in together) == 2
    )
    del expected["dies_twice"]
    assert len(expected) == 5 and expected.items() <= saved().items()
    assert len(list(tmp_path.glob("*.discarded"))) == len(names)


class Unable:
    """A process that can't start."""

    def __init__(self, prepare, work):
        pass

    def ready(self, wanted):
        return False

    def stop(self):
        pass


def test_where_no_process_can_start_threads_do_their_work_and_say_so(tmp_path, monkeypatch):
    names = ["a", "b", "c", "d"]
    for name in names:
        frames = np.random.default_rng(1).poisson(3, (3, 64, 80)).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", frames, photometric="minisblack")
    monkeypatch.setattr(RawFrames, "concurrent_movies", 3)
    monkeypatch.setattr(runner, "MOVIES_PER_START", 1)
    monkeypatch.setattr(runner, "Worker", Unable)
    lines, done, two = [], [], threading.Barrier(2)

    class Waiting(Sink):
        def save(self, corrected, say):
            two.wait(30)  # one thread alone would never come on
            done.append(self.movie.stem)

    movies = [tmp_path / f"{name}.tif" for name in names]
    tasks = [Task(movie, "tiff", Waiting(tmp_path, movie, False)) for movie in movies]
    assert run(with_titles(tasks), Settings(motion=Motion(align=False)), lines.append) == []
    assert sorted(done) == names
    assert any("No other process could be started" in line for line in lines)
