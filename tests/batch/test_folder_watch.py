"""A watched folder: what is a task, and when."""

import os
import threading
import time
from pathlib import Path

import pytest

from restframe.batch.slices import Slice
from restframe.batch.source import Task
from restframe.batch.watch import FolderWatch, WatchRules
from restframe.errors import SettingsError


class Sink:
    stack = None


def task(path):
    return Task(path, "tiff", Sink(), title=str(path))


def watch(folder, idle=0.5, settle=0.2, make_task=task, **rules):
    return FolderWatch(lambda: sorted(folder.glob("*.tif")), make_task, WatchRules(idle, settle, **rules))


def names(source):
    """Of all tasks, each of which is finished at once."""
    found = []
    for one in source:
        found.append(one.movie.name)
        source.finished(one)
    return found


def write(path, content, age=0.0):
    path.write_bytes(content)
    moment = time.time() - age
    os.utime(path, (moment, moment))


def test_the_order_of_arrival_and_the_newest_first(tmp_path):
    for name, age in (("b", 30), ("a", 20), ("c", 10)):
        write(tmp_path / f"{name}.tif", b"movie", age)
    assert names(watch(tmp_path)) == ["b.tif", "a.tif", "c.tif"]
    assert names(watch(tmp_path, newest_first=True)) == ["c.tif", "a.tif", "b.tif"]


def test_a_movie_is_complete_when_it_no_longer_changes(tmp_path):
    path = tmp_path / "a.tif"
    write(path, b"")
    sizes = []

    def make_task(movie):
        sizes.append(movie.stat().st_size)
        return task(movie)

    def grow():
        for _ in range(10):
            time.sleep(0.05)
            with open(path, "ab") as file:
                file.write(b"frame")

    thread = threading.Thread(target=grow)
    thread.start()
    assert names(watch(tmp_path, make_task=make_task)) == ["a.tif"]
    thread.join()
    assert sizes == [50]


def test_a_movie_that_grows_after_it_was_read_is_a_task_again_when_the_first_one_is_finished(tmp_path):
    path = tmp_path / "a.tif"
    write(path, b"half")
    source = watch(tmp_path, idle=0.6)
    first = next(source)
    with open(path, "ab") as file:
        file.write(b"rest")
    threading.Timer(0.8, source.finished, [first]).start()
    started = time.monotonic()
    again = next(source)
    assert again.movie == path and time.monotonic() - started >= 0.75
    source.finished(again)
    assert names(source) == []


def test_movies_that_arrive_keep_it_going_and_stop_ends_it(tmp_path):
    source = watch(tmp_path, idle=60)
    timers = [threading.Timer(0.3, write, [tmp_path / "a.tif", b"movie"]), threading.Timer(1.2, source.stop)]
    for timer in timers:
        timer.start()
    assert names(source) == ["a.tif"]
    assert source.waiting().count == 0


def test_what_waits_is_counted(tmp_path):
    write(tmp_path / "a.tif", b"movie", age=600)
    write(tmp_path / "b.tif", b"movie", age=300)
    source = watch(tmp_path)
    assert next(source).movie.name == "a.tif"
    waiting = source.waiting()
    assert waiting.count == 1 and time.time() - waiting.oldest == pytest.approx(300, abs=20)


def test_files_that_are_no_movies_and_a_disk_that_does_not_answer(tmp_path):
    write(tmp_path / "a.tif", b"movie")
    write(tmp_path / "gain.tif", b"gain")
    calls = []

    def find():
        calls.append(1)
        if len(calls) in (2, 5):
            raise OSError("stale file handle")
        return sorted(tmp_path.glob("*.tif"))

    def make_task(movie):
        return None if "gain" in movie.name else task(movie)

    assert names(FolderWatch(find, make_task, WatchRules(0.5, 0.2))) == ["a.tif"]


def test_slices_are_disjoint_and_complete():
    movies = [f"movie_{number}.tif" for number in range(400)]
    shares = [{name for name in movies if Slice(index, 7).holds(name)} for index in range(1, 8)]
    assert sum(map(len, shares)) == 400 and set.union(*shares) == set(movies)
    assert min(map(len, shares)) > 30
    assert [name for name in movies[:12] if Slice(1, 3).holds(name)] == [
        name for name in movies[:12] if Slice.parse("1/3").holds(str(Path(name)))
    ]
    assert Slice.parse("") == Slice() and Slice().name == "" and Slice(3, 8).name == "3-of-8"
    for text in ("0/8", "9/8", "3", "3/", "a/b", "-1/8"):
        with pytest.raises(SettingsError, match="expected two integers"):
            Slice.parse(text)
