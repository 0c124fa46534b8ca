"""Batches that go on where an earlier one stopped, through the command."""

import importlib.util
import json
import os
import re
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("batch_kills", ROOT / "benchmarks" / "batch_kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(kills, folder, words):
    process = kills.start(folder, words)
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def without_times(text):
    return re.sub(r"\d+\.\d+ sec(onds)?", "T", text)


def test_killed_batches_go_on(kills, tmp_path):
    counts = kills.run_kills(tmp_path, 5, movie_count=6)
    assert set(counts) == {"kills", "batches"}, counts


def test_a_second_run_prints_the_same_text_and_writes_nothing(kills, tmp_path):
    kills.make_movies(tmp_path, 3)
    (tmp_path / "movies/m001.mrc").write_bytes(b"no movie")
    words = kills.WORDS
    code, first = run(kills, tmp_path, words)
    assert code == 6
    before, records = kills.outputs(tmp_path), kills.records(tmp_path)
    assert len(records) == 3
    code, second = run(kills, tmp_path, words)
    assert code == 6
    assert kills.records(tmp_path) == records
    added = (
        "Done in an earlier run:",
        "Failed in an earlier run:",
        "By earlier runs: 2 (--redo 1 corrects them again)",
    )
    lines = [line for line in second.splitlines() if line not in added]
    assert [without_times(line) for line in lines] == [without_times(line) for line in first.splitlines()]
    assert second.count("Full-frame alignment shift") == 2
    kills.make_movies(tmp_path, 3, seed=9)  # the bad one is copied again; the others have the same bytes, a new time
    code, third = run(kills, tmp_path, words)
    assert code == 0 and "By earlier runs" not in third
    assert before.items() <= kills.outputs(tmp_path).items()
    code, fourth = run(kills, tmp_path, f"{words} --redo")
    assert code == 0 and "earlier run" not in fourth
    code, fifth = run(kills, tmp_path, words.replace("-Iter 3", "-Iter 4"))
    assert code == 0 and "earlier run" not in fifth
    code, _ = run(kills, tmp_path, f"{words} -InSkips x --threads 1")
    status = json.loads(run(kills, tmp_path, "status out --json")[1])
    assert (status["done"], status["failed"], status["running"], status["runs"]) == (3, 0, 0, [])


def test_failed_movies_are_named_by_status_and_tried_again(kills, tmp_path):
    kills.make_movies(tmp_path, 2)
    (tmp_path / "movies/m001.mrc").write_bytes(b"no movie")
    assert run(kills, tmp_path, kills.WORDS)[0] == 6
    code, text = run(kills, tmp_path, "status out")
    assert code == 0 and "Done:     1" in text and "Failed:   1" in text and "movies/m001.mrc: " in text
    code, text = run(kills, tmp_path, f"{kills.WORDS} --retry-failed")
    assert code == 6 and "Failed in an earlier run" not in text and text.count("Done in an earlier run") == 1
    code, text = run(kills, tmp_path, "status nowhere")
    assert code == 3


def test_one_run_at_a_time(kills, tmp_path):
    kills.make_movies(tmp_path, 12)
    first = kills.start(tmp_path)
    while not (tmp_path / "out/restframe/state/lock.json").exists():
        assert first.poll() is None
    os.kill(first.pid, signal.SIGSTOP)
    code, text = run(kills, tmp_path, kills.WORDS)
    assert code == 6 and f"process {first.pid}, since" in text
    status = json.loads(run(kills, tmp_path, "status out --json")[1])
    assert [one["pid"] for one in status["runs"]] in ([first.pid], [])
    os.kill(first.pid, signal.SIGCONT)
    text, _ = first.communicate(timeout=300)
    assert first.returncode == 0 and "Movies corrected: 12 of 12" in text
