"""Files appear complete or not at all."""

import errno
import os
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from restframe.errors import OutputError
from restframe.output.place import check_folder, check_place, place_all


def writer(data):
    return lambda path: path.write_bytes(data)


def failing(error):
    def write(path):
        path.write_bytes(b"half")
        raise error

    return write


def test_all_are_placed_in_order(tmp_path):
    targets = [tmp_path / "b", tmp_path / "a"]
    assert place_all([(t, writer(t.name.encode())) for t in targets]) == targets
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"a", "b": b"b"}


def test_nothing_is_in_place_until_all_are_written(tmp_path):
    seen, written = [], threading.Event()

    def write_first(path):
        path.write_bytes(b"")
        written.set()

    def look(path):
        assert written.wait(20)  # both are written at the same time
        seen.extend(p.name for p in tmp_path.iterdir())
        path.write_bytes(b"")

    place_all([(tmp_path / "a.mrc", write_first), (tmp_path / "b.mrc", look)])
    assert len(seen) == 1
    assert seen[0].startswith(".") and not seen[0].endswith(".mrc")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_failure_leaves_old_files_and_nothing_new(tmp_path, error):
    (tmp_path / "a").write_bytes(b"old")
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        place_all([(tmp_path / "a", writer(b"new")), (tmp_path / "b", failing(error))])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"old"}
    if expected is OutputError:
        assert f"{tmp_path / 'b'} cannot be written: No space left" in str(caught.value)
        assert "Make room" in str(caught.value)


def test_new_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    place_all([(tmp_path / "placed", writer(b""))])
    assert (tmp_path / "placed").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_checks_leave_nothing(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    check_place(tmp_path / "old")
    check_place(tmp_path / "new")
    check_folder(tmp_path / "x" / "y")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"old": b"old"}


def test_a_folder_that_takes_no_files():
    with pytest.raises(OutputError, match="cannot be written"):
        check_place(Path("/proc/x.mrc"))


@pytest.fixture
def disk_log(monkeypatch):
    """What is forced to the disk and renamed, in this order: (what, name of the file or folder)."""
    events, names = [], {}
    fsync, replace_file = os.fsync, os.replace

    def log_fsync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(("fsync", path.name))
        fsync(descriptor)

    def log_replace(source, target):
        names[Path(source).name] = Path(target).name
        events.append(("rename", Path(target).name))
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    return lambda: [(what, names.get(name, name)) for what, name in events]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc")
def test_durable_files_are_on_the_disk_before_they_have_their_names(tmp_path, disk_log):
    (tmp_path / "logs").mkdir()
    targets = [tmp_path / "logs/b", tmp_path / "a"]
    place_all([(target, writer(b"data")) for target in targets], durable=True)
    events = disk_log()
    assert sorted(events[:2]) == [("fsync", "a"), ("fsync", "b")]
    assert events[2:4] == [("rename", "b"), ("rename", "a")]
    assert events[4:] == [("fsync", "logs"), ("fsync", tmp_path.name)]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc")
def test_files_are_not_forced_to_the_disk_unless_asked(tmp_path, disk_log):
    place_all([(tmp_path / "a", writer(b"data"))])
    assert disk_log() == [("rename", "a")]


@pytest.mark.parametrize(("number", "is_placed"), [(errno.EIO, False), (errno.EDQUOT, False), (errno.EINVAL, True)])
def test_errors_of_forcing_a_file_to_the_disk(tmp_path, monkeypatch, number, is_placed):
    """A full disk may tell only now; a disk that has no such operation does no harm."""

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with nullcontext() if is_placed else pytest.raises(OutputError, match="a cannot be written"):
        place_all([(tmp_path / "a", writer(b"data"))], durable=True)
    assert [path.name for path in tmp_path.iterdir()] == (["a"] if is_placed else [])
