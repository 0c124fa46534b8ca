"""What makes a movie done, and what makes it to be corrected again."""

import dataclasses
import json
import os

import numpy as np
import pytest

from restframe.batch.fingerprint import movie_fingerprint, settings_digest
from restframe.batch.ledger import Ledger, LedgerSource
from restframe.batch.source import Task
from restframe.output.record import FORMAT
from restframe.output.sink import FileSink, Outputs
from restframe.settings import Settings, with_choices


@pytest.fixture
def task(tmp_path):
    movie = tmp_path / "m.tif"
    movie.write_bytes(b"movie")
    outputs = Outputs({"sum": tmp_path / "out/m.mrc"}, record=tmp_path / "out/restframe/m.json")
    outputs.record.parent.mkdir(parents=True)
    return Task(movie, "tiff", FileSink(outputs), title="Movie 1")


def write_record(task, ledger, **changes):
    outputs = task.sink.outputs
    outputs.images["sum"].write_bytes(b"image")
    record = {
        "format": FORMAT,
        "status": "done",
        "fingerprint": ledger.with_fingerprint(task).sink.fingerprint,
        "text": ["one", "two"],
        "outputs": [{"kind": "sum", "path": "../m.mrc", "size": 5}],
    }
    outputs.record.write_text(json.dumps(record | changes))


def test_a_movie_with_record_and_outputs_is_done(task):
    ledger = Ledger.of(Settings())
    assert ledger.checked(task).earlier is None
    write_record(task, ledger)
    assert ledger.checked(task).earlier.lines == ("one", "two")
    assert dataclasses.replace(ledger, redo=True).checked(task).earlier is None


def test_what_makes_it_undone(task):
    ledger = Ledger.of(Settings())

    def is_done():
        return ledger.checked(task).earlier is not None

    write_record(task, ledger)
    assert is_done()
    task.sink.outputs.images["sum"].write_bytes(b"imag")
    assert not is_done()
    task.sink.outputs.images["sum"].unlink()
    assert not is_done()
    write_record(task, ledger, outputs=[])
    assert not is_done()
    write_record(task, ledger, format="another program's")
    assert not is_done()
    task.sink.outputs.record.write_text("{")
    assert not is_done()
    write_record(task, ledger)
    assert is_done()
    status = task.movie.stat()
    os.utime(task.movie, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert not is_done()
    os.utime(task.movie, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_done()
    task.movie.write_bytes(b"a longer movie")
    os.utime(task.movie, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_done()


def test_failures_are_tried_again_if_that_may_help(task):
    ledger = Ledger.of(Settings())
    write_record(task, ledger, status="failed", reason="cut short", lasting=True, outputs=[])
    assert ledger.checked(task).earlier.failure == "cut short"
    assert dataclasses.replace(ledger, retry_failed=True).checked(task).earlier is None
    write_record(task, ledger, status="failed", reason="no room", lasting=False, outputs=[])
    assert ledger.checked(task).earlier is None


@pytest.mark.parametrize(
    "choices",
    [
        {"pixel_size": 1.1}, {"patches": (5, 5)}, {"bin": 2}, {"find_defects": False}, {"split": True}, {"rot_gain": 1},
        {"spherical_aberration": 2.7}, {"expected_phase": 90.0}, {"power_spectrum": True},
    ],
)  # fmt: skip
def test_settings_that_affect_outputs_count(choices):
    assert settings_digest(with_choices(Settings(), choices)) != settings_digest(Settings())


@pytest.mark.parametrize("choices", [{"threads": 3}, {"gpus": (0, 1)}, {"max_memory": 10**9}, {"gpu_memory": 0.5}])
def test_the_machine_does_not(choices):
    assert settings_digest(with_choices(Settings(), choices)) == settings_digest(Settings())


def test_the_content_of_references_counts(tmp_path):
    def text(gain):
        return settings_digest(with_choices(Settings(), {"gain": gain}))

    first, second = tmp_path / "a.mrc", tmp_path / "b.mrc"
    first.write_bytes(b"gain")
    second.write_bytes(b"gain")
    assert text(first) == text(str(second))
    second.write_bytes(b"Gain")
    assert text(first) != text(second)
    assert text(first) != text(tmp_path / "none.mrc") != text(None)
    assert text(np.ones((2, 3))) == text(np.ones((2, 3))) != text(np.ones((3, 2)))


def test_outputs_and_known_motion_count(task, tmp_path):
    outputs = task.sink.outputs
    text = movie_fingerprint("", task.movie, outputs, None)
    changes = (
        {"star": tmp_path / "m.star"},
        {"log_bases": ((str(tmp_path / "log"), 7),)},
        {"ctf": (tmp_path / "m_Ctf.txt", tmp_path / "m_Ctf.mrc")},
        {"power_spectrum": tmp_path / "m_Ps.mrc"},
    )
    for change in changes:
        assert movie_fingerprint("", task.movie, dataclasses.replace(outputs, **change), None) != text
    (tmp_path / "m.aln").write_text("motion")
    assert movie_fingerprint("", task.movie, outputs, tmp_path / "m.aln") != text


def test_only_what_is_left_counts_as_remaining(task, tmp_path):
    ledger = Ledger.of(Settings())
    write_record(task, ledger)
    other = dataclasses.replace(task, movie=tmp_path / "n.tif")
    source = LedgerSource([task, other, task], ledger)
    assert source.remaining == 1
    assert [one.earlier is None for one in source] == [False, True, False]
    assert source.remaining == 0
