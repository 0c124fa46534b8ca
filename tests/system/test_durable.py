"""Results that survive a power cut: what the command forces to the disk, in which order."""

import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from restframe.cli.main import main

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")


@pytest.fixture
def events(monkeypatch):
    """(what, file or folder) of each fsync and rename, files by their final names."""
    logged, final_names = [], {}
    fsync, replace_file = os.fsync, os.replace

    def log_fsync(descriptor):
        logged.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def log_replace(source, target):
        final_names[str(source)] = str(target)
        logged.append(("rename", str(target)))
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    return lambda: [(what, final_names.get(path, path)) for what, path in logged]


def correct(folder, *words):
    frames = np.random.default_rng(0).poisson(5, (3, 48, 64)).astype(np.int16)
    with mrcfile.new(folder / "m.mrc", frames) as mrc:
        mrc.set_image_stack()
    (folder / "logs").mkdir()
    names = ["-InMrc", folder / "m.mrc", "-OutMrc", folder / "o.mrc", "-LogDir", folder / "logs", "-OutStack", 1]
    assert main([str(word) for word in (*names, "--record", "-Gpu", -1, *words)]) == 0


def test_results_are_on_the_disk_before_their_record(tmp_path, events):
    correct(tmp_path)
    log = events()
    results = [tmp_path / name for name in ("o.mrc", "o_Stk.mrc", "logs/m-Full.log")]
    for result in map(str, results):
        renamed = max(index for index, event in enumerate(log) if event == ("rename", result))
        assert ("fsync", result) in log[:renamed]
        assert ("fsync", str(Path(result).parent)) in log[renamed : log.index(("rename", str(tmp_path / "o.json")))]
    record = log.index(("rename", str(tmp_path / "o.json")))
    assert ("fsync", str(tmp_path / "o.json")) in log[:record]
    assert ("fsync", str(tmp_path)) in log[record:]


def test_it_can_be_left_to_the_system(tmp_path, events):
    correct(tmp_path, "--fsync", 0)
    assert not [path for what, path in events() if what == "fsync"]
