"""Folders that are watched, through the command."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = "-OutMrc out/ -PixSize 1.5 -FmDose 4 -LogDir logs -Gain gain.mrc -Iter 3 -Gpu -1 --settle 0.5"


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("batch_kills", ROOT / "benchmarks" / "batch_kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def finished(kills, tmp_path_factory):
    """A folder with movies and the outputs of an ordinary batch."""
    folder = tmp_path_factory.mktemp("finished")
    kills.make_movies(folder, 4)
    process = kills.start(folder)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return folder


def prepare(folder, finished):
    (folder / "movies/grid/data").mkdir(parents=True)
    shutil.copy(finished / "gain.mrc", folder)
    shutil.copy(finished / "gain.mrc", folder / "movies/gain_reference.mrc")
    return [(path.name, path.read_bytes()) for path in sorted((finished / "movies").iterdir())]


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_movies_that_arrive_are_corrected_and_idle_seconds_end_it(kills, finished, tmp_path):
    """In pieces, in folders within the folder, and with more data after the movie was read."""
    movies = prepare(tmp_path, finished)
    (tmp_path / "movies" / movies[0][0]).write_bytes(movies[0][1])
    process = kills.start(tmp_path, f"-InMrc movies/ -Serial 4 {FLAGS} --recursive 1")
    wait_for(tmp_path / "out/m000.mrc", process)
    with open(tmp_path / "movies/grid/data" / movies[1][0], "wb") as file:
        for start in range(0, len(movies[1][1]), 50000):
            file.write(movies[1][1][start : start + 50000])
            file.flush()
            time.sleep(0.1)
    half = len(movies[2][1]) // 2
    late = tmp_path / "movies" / movies[2][0]
    late.write_bytes(movies[2][1][:half])
    wait_for(tmp_path / "out/restframe/m002.json", process)
    with open(late, "ab") as file:
        file.write(movies[2][1][half:])
    (tmp_path / "movies" / movies[3][0]).symlink_to(tmp_path / "storage.mrc")  # the link comes before the movie
    time.sleep(1)
    (tmp_path / "storage.mrc").write_bytes(movies[3][1])
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    assert text.count(f"left out: movies/{movies[3][0]}, a link to a file that does not exist") == 1
    assert "Movies corrected: 4 of 4" in text and "left out: movies/gain_reference.mrc, a reference" in text
    assert kills.outputs(tmp_path) == kills.outputs(finished)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_movies_in_hand_and_it_goes_on(kills, finished, tmp_path, number):
    movies = prepare(tmp_path, finished)
    for name, data in movies:
        (tmp_path / "movies" / name).write_bytes(data)
    process = kills.start(tmp_path, f"watch movies {FLAGS}")
    wait_for(tmp_path / "out/m000.mrc", process)
    os.kill(process.pid, number)
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 0, text
    assert "ends after the movies in hand" in text and "Total time: " in text
    records = kills.records(tmp_path)
    assert {f"{name[:-5]}.mrc" for name in records} == {path.name for path in (tmp_path / "out").glob("m???.mrc")}
    process = kills.start(tmp_path, f"watch movies {FLAGS} -Serial 2")
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 0 and text.count("Done in an earlier run:") == len(records)
    assert kills.outputs(tmp_path) == kills.outputs(finished)
    assert records.items() <= kills.records(tmp_path).items()


def test_slices_share_the_movies(kills, finished, tmp_path):
    movies = prepare(tmp_path, finished)
    for name, data in movies:
        (tmp_path / "movies" / name).write_bytes(data)
    words = kills.WORDS + " -InSkips gain"
    processes = [kills.start(tmp_path, f"{words} --slice {number}/3") for number in (1, 2, 3)]
    for process in processes:
        text, _ = process.communicate(timeout=200)
        assert process.returncode == 0, text
        assert "earlier run" not in text
    assert kills.outputs(tmp_path) == kills.outputs(finished)


def test_what_is_wrong_is_said(kills, finished, tmp_path):
    prepare(tmp_path, finished)
    for words, code, message in (
        ("watch", 3, "restframe watch DIR"),
        (f"watch nowhere/x {FLAGS}", 3, "nowhere cannot be read"),
        ("watch movies -OutMrc none/", 4, "The folder none for the results does not exist"),
        (f"watch mvies {FLAGS}", 3, "mvies is no folder"),
        (f"watch movies {FLAGS} -Dark none.mrc", 3, "-Dark none.mrc does not exist"),
        (f"watch movies {FLAGS} --slice 4/3", 6, "--slice 4/3"),
    ):
        process = kills.start(tmp_path, words)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == code and message in text, text


def movies_in_hand(folder):
    """How many movies the run is correcting now, as it says every two seconds."""
    try:
        return len(json.loads((folder / "out/restframe/state/running.json").read_text())["running"])
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_ends_it_after_the_movies_in_hand(kills, finished, tmp_path, number):
    """As Ctrl-C, batch systems and systemd send it. Movies are corrected in several processes, as on GPUs."""
    prepare(tmp_path, finished)
    movie_count = 600
    for index in range(movie_count):
        os.link(finished / f"movies/m{index % 4:03d}.mrc", tmp_path / f"movies/n{index:03d}.mrc")
    (tmp_path / "out").mkdir()
    words = f"watch movies {FLAGS} --threads 3 --fsync 0 --thumbnails 0".split()
    command = [sys.executable, str(ROOT / "benchmarks/with_processes.py"), *words]
    with open(tmp_path / "log.txt", "w+") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 200
            while movies_in_hand(tmp_path) < 2:  # one of them in another process
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(process.pid, number)
            code = process.wait(100)
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "log.txt").read_text()
    assert code == 0 and "ends after the movies in hand" in text, text
    assert "Error" not in text and "once more" not in text
    saved = list((tmp_path / "out").glob("n???.mrc"))
    assert len(kills.records(tmp_path)) == len(saved) == text.count("images saved.") < movie_count
