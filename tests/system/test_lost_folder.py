"""The folder of the results is there when the run begins, and is not when they are saved."""

import shutil

import mrcfile
import numpy as np
import pytest

from restframe.cli.main import main
from restframe.output.sink import FileSink


def becomes_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("another program's")


def is_removed(folder):
    shutil.rmtree(folder)


def becomes_a_link_to_itself(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


@pytest.fixture(params=[becomes_a_file, is_removed, becomes_a_link_to_itself])
def change(request):
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch, change):
    """With two movies and a folder for results, which changes before the first result is saved."""
    frames = np.random.default_rng(0).poisson(5, (3, 48, 64)).astype(np.int16)
    (tmp_path / "movies").mkdir()
    for name in ("a", "b"):
        with mrcfile.new(tmp_path / f"movies/{name}.mrc", frames) as mrc:
            mrc.set_image_stack()
    (tmp_path / "out").mkdir()
    save, changes = FileSink.save, [change]

    def save_after_change(sink, corrected, report):
        while changes:
            changes.pop()(tmp_path / "out")
        save(sink, corrected, report)

    monkeypatch.setattr(FileSink, "save", save_after_change)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", ["", "-OutStack 1", "--record", "-LogDir out", "-LogDir out/logs -OutAln out/aln"])
def test_one_movie(folder, capfd, change, words):
    """A folder that has to be made is made again; otherwise one line and the code for outputs."""
    code = main(f"-InMrc movies/a.mrc -OutMrc out/o.mrc -Gpu -1 {words}".split())
    errors = capfd.readouterr().err
    if change is is_removed and "-LogDir" in words:
        assert code == 0 and errors == "" and (folder / "out/o.mrc").is_file()
    else:
        assert code == 4 and len(errors.splitlines()) == 1
        assert errors.startswith("Error: out") and "cannot be written" in errors


def test_a_batch(folder, capfd, change):
    assert main(["-InMrc", "movies/", "-Serial", "1", "-OutMrc", "out/", "-Gpu", "-1"]) == 6
    text, errors = capfd.readouterr()
    assert len(errors.splitlines()) == 1 and "Traceback" not in text
    count = 1 if change is is_removed else 2  # the record of the first one makes the folder again
    assert f"{count} of 2 movies failed" in errors
