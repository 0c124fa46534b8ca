"""Files of compiled loops: places, damage, full disks, and processes that need the same loop."""

import logging
import multiprocessing
import os
import stat
import time

import pytest

from restframe import loop_files
from restframe.loop_files import LOCK_NAME, LoopFiles, Place, candidate_places


def files_in(*folders):
    return LoopFiles(lambda: [Place(folder) for folder in folders])


def test_the_first_place_that_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    files = files_in(tmp_path / "file" / "x", tmp_path / "new" / "folder", tmp_path / "third")
    files.write("loop", b"code")
    assert (tmp_path / "new" / "folder" / "loop").exists() and not (tmp_path / "third").exists()
    assert files.read("loop") == b"code" and files.has("loop")
    assert files.read("other") is None and not files.has("other")
    assert not list((tmp_path / "new" / "folder").glob("*.*")), "no partial files"


def test_loops_of_an_image_are_read_where_they_cannot_be_written(tmp_path):
    files_in(tmp_path / "image").write("loop", b"code")
    assert files_in(tmp_path / "mine", tmp_path / "image").read("loop") == b"code"


@pytest.mark.parametrize("content", [b"", b"cod", b"code" + bytes(48)])
def test_damage_is_removed_and_said_once(tmp_path, content, caplog):
    files = files_in(tmp_path)
    for name in ("one", "two"):
        files.write(name, b"code")
        (tmp_path / name).write_bytes(content)
        assert files.read(name) is None
        assert not (tmp_path / name).exists()
    assert [record.message for record in caplog.records] == [
        f"compiled loops in {tmp_path} are damaged; they are compiled again"
    ]


def test_no_place_is_said_once(tmp_path, caplog):
    (tmp_path / "file").touch()
    files = files_in(tmp_path / "file" / "x", tmp_path / "file" / "y")
    for name in ("one", "two"):
        files.lock(name)
        files.write(name, b"code")
        files.unlock()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "NUMBA_CACHE_DIR" in record.message and "file/y" in record.message
    assert files.writable_place() is None


def test_a_disk_that_becomes_full(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    files = files_in(first, second)
    files.write("one", b"code")
    write = type(tmp_path).write_bytes

    def full(path, data):
        if path.parent == first:
            write(path, data[:2])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    files.write("two", b"more code")
    assert sorted(path.name for path in first.iterdir()) == ["one"]
    assert files.read("one") == b"code" and files.read("two") == b"more code"


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "given"))
    assert [place.folder for place in candidate_places()] == [tmp_path / "given" / "restframe"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(loop_files, "gettempdir", lambda: str(tmp_path))
    given, installation, user, temporary = candidate_places()
    assert given.folder == tmp_path / "file" / "restframe"
    assert installation.folder.parent.parent.name == "restframe"
    assert user.folder == tmp_path / "caches" / "restframe" / "loops"
    assert temporary.is_shared and temporary.folder.parent == tmp_path


def test_places_of_a_user_without_home_and_temporary_files(monkeypatch):
    def fail():
        raise OSError("No usable temporary directory")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(loop_files, "gettempdir", fail)
    monkeypatch.setattr(loop_files.Path, "home", no_home)
    assert len(candidate_places()) == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users here")
class TestSharedPlace:
    """A folder for temporary files: code from it is executed, so that others may not write to it."""

    def test_it_is_made_for_one_user(self, tmp_path):
        place = Place(tmp_path / "restframe-1", is_shared=True)
        LoopFiles(lambda: [place]).write("loop", b"code")
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        assert LoopFiles(lambda: [place]).read("loop") == b"code"

    def test_others_may_not_write_to_it(self, tmp_path):
        place = Place(tmp_path / "restframe-1", is_shared=True)
        LoopFiles(lambda: [place]).write("loop", b"code")
        place.folder.chmod(0o777)
        files = LoopFiles(lambda: [place])
        assert files.read("loop") is None and files.writable_place() is None
        assert (place.folder / "loop").exists()

    def test_a_folder_of_another_user(self, tmp_path, monkeypatch):
        place = Place(tmp_path / "restframe-1", is_shared=True)
        LoopFiles(lambda: [place]).write("loop", b"code")
        user = os.getuid()
        monkeypatch.setattr(loop_files.os, "getuid", lambda: user + 1)
        files = LoopFiles(lambda: [place])
        assert files.read("loop") is None and not files.has("loop") and files.writable_place() is None

    def test_neither_is_a_link(self, tmp_path):
        LoopFiles(lambda: [Place(tmp_path / "elsewhere")]).write("loop", b"code")
        place = Place(tmp_path / "restframe-1", is_shared=True)
        place.folder.symlink_to(tmp_path / "elsewhere")
        assert LoopFiles(lambda: [place]).read("loop") is None


def compile_slowly(folder, log, barrier):
    files = files_in(folder)
    barrier.wait()
    if files.read("loop") is None:
        files.lock("loop")
        if files.read("loop") is None:
            with open(log, "a", encoding="ascii") as file:
                file.write("compiled\n")
            time.sleep(0.2)
            files.write("loop", b"code")
        files.unlock()
    assert files.read("loop") == b"code"


@pytest.mark.skipif(loop_files.fcntl is None, reason="no locks here")
def test_two_processes_compile_a_loop_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=compile_slowly, args=(tmp_path / "loops", tmp_path / "log", barrier)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "log").read_text() == "compiled\n"
    assert sorted(path.name for path in (tmp_path / "loops").iterdir()) == [LOCK_NAME, "loop"]


@pytest.mark.skipif(loop_files.fcntl is None, reason="no locks here")
def test_a_lock_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_files, "LOCK_SECONDS", 0.1)
    context = multiprocessing.get_context("fork")
    holds, ends = context.Event(), context.Event()

    def hold():
        files = files_in(tmp_path)
        files.lock("loop")
        holds.set()
        ends.wait(60)

    process = context.Process(target=hold)
    process.start()
    assert holds.wait(60)
    files_in(tmp_path).lock("other loop")
    files_in(tmp_path).lock("loop")
    ends.set()
    process.join(60)


@pytest.mark.skipif(loop_files.fcntl is None, reason="no locks here")
def test_the_lock_of_a_process_that_is_killed(tmp_path):
    context = multiprocessing.get_context("fork")
    holds = context.Event()

    def hold():
        files = files_in(tmp_path)
        files.lock("loop")
        holds.set()
        time.sleep(60)

    process = context.Process(target=hold)
    process.start()
    assert holds.wait(60)
    process.kill()
    process.join(60)
    start = time.monotonic()
    files_in(tmp_path).lock("loop")
    assert time.monotonic() - start < loop_files.LOCK_SECONDS / 2
