"""Where compiled loops are kept when Numba finds no place by itself."""

import os
import stat

import pytest

from restframe import loops

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no users here")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "gettempdir", lambda: str(tmp_path))
    return tmp_path / f"restframe-{os.getuid()}"


def test_a_folder_of_our_own(folder):
    assert loops._private_folder() == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert loops._private_folder() == str(folder)  # the next process finds it


def test_a_folder_that_others_may_write_to_is_not_used(folder):
    folder.mkdir()
    folder.chmod(0o777)
    assert loops._private_folder() != str(folder)


def test_neither_is_a_link(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert loops._private_folder() != str(folder)
