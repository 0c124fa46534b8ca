"""Which files of a folder are movies, and what their results are called."""

import pytest

from restframe.batch.folder import Listing, list_movies, serial_part
from restframe.errors import InputError

MOVIES = ["Stack_1234Raw.mrc", "Stack_3456-Raw.mrc", "Stack_1-raw.MRC", "Stack_9.mrc", "other.mrc"]


@pytest.fixture
def folder(tmp_path):
    for name in (*MOVIES, ".Stack_0Raw.mrc", "Stack_note.txt", "Stack_5.tif", "Stack_6.TIFF", "Stack_7.eer", "b.mrcs"):
        (tmp_path / name).touch()
    (tmp_path / "Stack_folderRaw.mrc").mkdir()
    (tmp_path / "Stack_linkRaw.mrc").symlink_to(tmp_path / "other.mrc")
    return tmp_path


def test_a_prefix_and_a_suffix_in_any_case(folder):
    assert list_movies(f"{folder}/Stack_", "mrc", "Raw.mrc").movies == (
        ("Stack_1-raw.MRC", "1-"),
        ("Stack_1234Raw.mrc", "1234"),
        ("Stack_3456-Raw.mrc", "3456-"),
        ("Stack_linkRaw.mrc", "link"),
    )


def test_a_folder_alone_gives_the_movies_of_that_kind(folder):
    found = list_movies(f"{folder}/", "mrc")
    assert [n for n, _ in found.movies] == sorted([*MOVIES, "Stack_linkRaw.mrc", "b.mrcs"])
    assert found.movies[-1] == ("other.mrc", "other") and ("b.mrcs", "b") in found.movies
    assert found.folder == f"{folder}/" and found.prefix == "" and found.passed_over == 4
    assert list_movies(f"{folder}/", "tiff").movies == (("Stack_5.tif", "Stack_5"), ("Stack_6.TIFF", "Stack_6"))
    assert list_movies(f"{folder}/Stack_", "eer").movies == (("Stack_7.eer", "7"),)


def test_the_wrong_kind_of_flag(tmp_path):
    for name in ("a.eer", "b.eer", "note.txt"):
        (tmp_path / name).touch()
    assert list_movies(f"{tmp_path}/", "mrc").movies == (("a.eer", "a"), ("b.eer", "b"))
    (tmp_path / "gain.tif").touch()  # now nobody knows which are meant
    assert list_movies(f"{tmp_path}/", "mrc").movies == ()


def test_without_a_slash_at_its_end(folder):
    assert list_movies(str(folder), "eer") == list_movies(f"{folder}/", "eer")
    (folder / "sub").mkdir()
    (folder / "sub_1.eer").touch()  # then sub is a prefix
    assert list_movies(f"{folder}/sub", "eer").movies == (("sub_1.eer", "_1"),)


def test_the_working_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert list_movies("Stack_", "eer") == Listing("./", "Stack_", (("Stack_7.eer", "7"),), 8)
    assert list_movies("./", "eer").movies == (("Stack_7.eer", "Stack_7"),)


def test_what_is_skipped(folder):
    names = [n for n, _ in list_movies(f"{folder}/", "mrc", skips=["Raw", "b."]).movies]
    assert names == ["Stack_1-raw.MRC", "Stack_9.mrc", "other.mrc"]


@pytest.mark.parametrize(
    ("name", "prefix", "suffix", "expected"),
    [
        ("mov_1.tif", "", "", "mov_1"),
        ("movie-000001.tif", "movie", ".tif", "-000001"),
        ("a_Fractions.mrc.tif", "", "", "a_Fractions"),
        ("a.b.EER", "a", "", ".b"),
        ("x_fractions.tiff", "x", "_FRACTIONS", ""),
        ("x_fractions_fractions.tiff", "x", "_fractions", ""),
        ("strange", "", "", "strange"),
    ],
)
def test_the_serial_part(name, prefix, suffix, expected):
    assert serial_part(name, prefix, suffix) == expected


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="none cannot be read: No such file"):
        list_movies(f"{tmp_path}/none/x", "mrc")
