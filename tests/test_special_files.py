"""Only regular files are read; everything else is named, at once."""

import os
import socket

import mrcfile
import numpy as np
import pytest

from restframe.batch.folder import list_movies
from restframe.cli.main import main
from restframe.errors import InputError
from restframe.files import check_regular, why_unreadable


@pytest.fixture
def folder(tmp_path):
    """A file and all that may stand in a file's place."""
    with mrcfile.new(tmp_path / "movie.mrc", data=np.ones((3, 64, 64), np.int16)) as mrc:
        mrc.set_image_stack()
    (tmp_path / "link.mrc").symlink_to("movie.mrc")
    os.mkfifo(tmp_path / "pipe.mrc")
    (tmp_path / "self.mrc").symlink_to("self.mrc")
    (tmp_path / "ring1.mrc").symlink_to("ring2.mrc")
    (tmp_path / "ring2.mrc").symlink_to("ring1.mrc")
    (tmp_path / "gone.mrc").symlink_to("nowhere.mrc")
    (tmp_path / "zero.mrc").symlink_to("/dev/zero")
    (tmp_path / "pipelink.mrc").symlink_to("pipe.mrc")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.mrc"))
    return tmp_path


SPECIAL = {
    "pipe.mrc": "a named pipe",
    "pipelink.mrc": "a named pipe",
    "self.mrc": "a link that leads to itself",
    "ring1.mrc": "a link that leads to itself",
    "ring2.mrc": "a link that leads to itself",
    "gone.mrc": "a link to a file that does not exist",
    "zero.mrc": "a device",
    "socket.mrc": "a socket",
}


def test_what_is_no_regular_file_is_named(folder):
    assert {name: why_unreadable(folder / name) for name in SPECIAL} == SPECIAL
    for name in ("movie.mrc", "link.mrc", "missing.mrc", "."):
        check_regular(folder / name)
    with pytest.raises(InputError, match=r"pipe\.mrc is a named pipe\. Only regular files are read"):
        check_regular(folder / "pipe.mrc")


def test_a_batch_names_them_and_goes_on(folder, capfd):
    listing = list_movies(f"{folder}/", "mrc")
    assert [name for name, _ in listing.movies] == ["link.mrc", "movie.mrc"] and listing.passed_over == 0
    assert sorted(listing.left_out) == sorted(f"{name}, {kind}" for name, kind in SPECIAL.items())
    code = main(["-Serial", "1", "-InMrc", f"{folder}/", "-OutMrc", f"{folder}/o/", "-Align", "0", "-Gpu", "-1"])
    assert code == 4  # the folder of the outputs is missing: said before any work
    (folder / "o").mkdir()
    capfd.readouterr()
    code = main(["-Serial", "1", "-InMrc", f"{folder}/", "-OutMrc", f"{folder}/o/", "-Align", "0", "-Gpu", "-1"])
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    assert f"left out: {folder}/pipe.mrc, a named pipe" in out.splitlines()
    assert sum(line.startswith("left out: ") for line in out.splitlines()) == len(SPECIAL)
    assert {"link.mrc", "movie.mrc"} <= {path.name for path in (folder / "o").iterdir()}


@pytest.mark.parametrize("flag", ["-InMrc", "-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile", "-InAln"])
@pytest.mark.parametrize("name", ["pipe.mrc", "zero.mrc", "socket.mrc", "self.mrc"])
def test_every_flag_that_names_an_input(folder, capfd, flag, name):
    words = {"-InMrc": str(folder / "movie.mrc"), "-OutMrc": str(folder / "out.mrc"), "-Gpu": "-1"}
    words[flag] = str(folder / name)
    assert main([word for pair in words.items() for word in pair]) == 3
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and SPECIAL[name] in err and name in err
    assert not (folder / "out.mrc").exists()


@pytest.mark.parametrize("flag", ["-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile", "-InAln"])
@pytest.mark.parametrize("name", ["pipe.mrc", "zero.mrc"])
def test_every_flag_that_names_an_input_in_a_batch(folder, capfd, flag, name):
    """Contents of inputs are read before the first movie, for the records."""
    (folder / "movies").mkdir()
    (folder / "movie.mrc").rename(folder / "movies/movie.mrc")
    (folder / "o").mkdir()
    words = ["-Serial", "1", "-InMrc", f"{folder}/movies/", "-OutMrc", f"{folder}/o/", "-Gpu", "-1"]
    assert main([*words, flag, str(folder / name)]) in (3, 6)
    out, err = capfd.readouterr()
    assert err.count("\n") == 1 and SPECIAL[name] in out + err
    assert not list((folder / "o").glob("*.mrc"))
