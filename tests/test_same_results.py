"""benchmarks/same_results.py finds a changed byte, and only that."""

import importlib
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def same_results(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("same_results")
    for name in ("same_results", "result_cases"):
        sys.modules.pop(name, None)


def _outputs(folder, label="restframe 0.1.0"):
    (folder / "case").mkdir(parents=True)
    with mrcfile.new(folder / "case" / "sum.mrc") as file:
        file.set_data(np.arange(20, dtype=np.float32).reshape(4, 5))
        file.header.label[1] = label.encode()
        file.header.nlabl = 2
    (folder / "case" / "movie.log").write_text("1  0.0\n2  0.5\n")
    (folder / "case" / "stdout.txt").write_text("Loading\n")
    return folder


def test_the_version_does_not_count(same_results, tmp_path):
    base, head = _outputs(tmp_path / "base"), _outputs(tmp_path / "head", "restframe 0.2.0")
    found = same_results.compare(base, head)
    assert (found.same, found.differences, found.notes) == (3, (), ())
    assert same_results.report(found, None, None) == 0


def test_changes_are_described(same_results, tmp_path, capsys):
    base, head = _outputs(tmp_path / "base"), _outputs(tmp_path / "head")
    with mrcfile.open(head / "case" / "sum.mrc", "r+") as file:
        file.data[0, 0] = 0.5
    (head / "case" / "movie.log").write_text("1  0.0\n2  0.6\n")
    (head / "case" / "stdout.txt").write_text("Reading\n")
    (head / "case" / "extra.txt").write_text("more\n")
    found = same_results.compare(base, head)
    assert [difference.file for difference in found.differences] == [
        "case/extra.txt", "case/movie.log", "case/sum.mrc"
    ]  # fmt: skip
    assert found.differences[1].text == "-2  0.5\n+2  0.6"
    assert "1 of 20 values" in found.differences[2].text
    assert [note.file for note in found.notes] == ["case/stdout.txt"]
    assert same_results.report(found, None, None) == 1
    assert "3 differ without a reason" in capsys.readouterr().out


def test_expected_differences_are_no_failure(same_results, tmp_path, monkeypatch):
    base, head = _outputs(tmp_path / "base"), _outputs(tmp_path / "head")
    (head / "case" / "movie.log").unlink()
    monkeypatch.setattr(same_results, "EXPECTED", (same_results.Expected("", "*/movie.log", "logs are gone"),))
    assert same_results.report(same_results.compare(base, head), None, None) == 0


def test_digests_tell_the_same(same_results, tmp_path):
    base, head, movies = _outputs(tmp_path / "base"), _outputs(tmp_path / "head"), tmp_path / "movies"
    movies.mkdir()
    (head / "case" / "movie.log").write_text("1  0.0\n2  0.6\n")
    found = same_results.compare_digests(*(same_results.digests(folder, movies, "cpu") for folder in (base, head)))
    assert [difference.text for difference in found.differences] == ["-2  0.5\n+2  0.6"]
    assert found.same == 2


def test_times_are_removed(same_results):
    text = "Frames read: 0.31 s\nTotal time: 1.523\nBad pixels: 22 of 100\n"
    assert same_results.without_times(text) == "Frames read: TIME s\nTotal time: TIME\nBad pixels: 22 of 100\n"
