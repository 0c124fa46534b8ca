"""Movies that workers of a Dask cluster correct: a real scheduler and workers, through the command."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="Dask is not installed (restframe[cluster])")

ROOT = Path(__file__).parents[2]
OWN_KEYS = ("finished", "command", "machine", "seconds", "peak_memory_bytes")  # of a record: times, words, host, memory


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("batch_kills", ROOT / "benchmarks" / "batch_kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers on this computer: (file of the scheduler, processes of the workers)."""
    file = tmp_path / "scheduler.json"
    log = open(tmp_path / "dask.log", "w")  # noqa: SIM115

    def start(*words):
        command = [sys.executable, "-m", *map(str, words), "--scheduler-file", str(file), "--no-dashboard"]
        return subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)

    scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    deadline = time.monotonic() + 60
    while not file.exists():
        assert scheduler.poll() is None and time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.1)
    workers = [start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    yield file, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()
    log.close()


def comparable(folder):
    """Records without what may differ."""
    records = {path.name: json.loads(path.read_text()) for path in folder.glob("out/restframe/*.json")}
    for record in records.values():
        for key in OWN_KEYS:
            record.pop(key, None)
        record["input"].pop("path")  # the test has two folders
        record["text"] = [re.sub(r"\d+\.\d+ sec(onds)?", "T", line) for line in record["text"]]
    return records


def test_a_lost_workers_movies_are_redone_and_the_bytes_are_the_same(kills, cluster, tmp_path):
    file, workers = cluster
    reference, batch = tmp_path / "reference", tmp_path / "batch"
    for folder in (reference, batch):
        kills.make_movies(folder, 10)
    (reference / "movies/m004.mrc").write_bytes(b"no movie")
    (batch / "movies/m004.mrc").write_bytes(b"no movie")
    shutil.copy(reference / "gain.mrc", batch)  # mrcfile writes the time into it
    for path in (batch / "movies").iterdir():  # the time of a movie is in its fingerprint
        status = (reference / "movies" / path.name).stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    alone = kills.start(reference)
    alone_text, _ = alone.communicate(timeout=300)
    process = kills.start(batch, f"{kills.WORDS} --cluster {file}")
    deadline = time.monotonic() + 120
    while len(kills.records(batch)) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(workers[0].pid, signal.SIGKILL)
    text, _ = process.communicate(timeout=300)
    assert alone.returncode == process.returncode == 6, text
    assert "Movies corrected: 9 of 10" in text and "m004.mrc: " in text
    assert kills.outputs(batch) == kills.outputs(reference)
    assert comparable(batch) == comparable(reference)
    frames = [line for line in alone_text.splitlines() if line.startswith("...... Frame")]
    assert [line for line in text.splitlines() if line.startswith("...... Frame")] == frames


def test_there_is_no_such_cluster(kills, tmp_path):
    kills.make_movies(tmp_path, 1)
    (tmp_path / "none.json").write_text("no json")
    process = kills.start(tmp_path, f"{kills.WORDS} --cluster none.json")
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 6 and "Error: The cluster at none.json: " in text, text
