"""Motion in .aln files: exact for ours, fitted for MotionCor's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from restframe.errors import InputError, SettingsError
from restframe.output.alignment import (
    Alignment,
    alignment_path,
    alignment_text,
    fit_patches,
    read_alignment,
    settings_with,
)
from restframe.result import Result
from restframe.settings import Exposure, Motion, Settings
from restframe.track.field import MotionField, modes_up_to
from restframe.track.patches import patch_centres, patch_shifts_from_field

SHAPE = (300, 400)


def random_field(frames=5, degree=3, reference=2, seed=0):
    modes = modes_up_to(degree, degree, degree)
    amplitudes = np.random.default_rng(seed).normal(0, 3, (len(modes), frames, 2))
    return MotionField(modes, amplitudes, SHAPE).relative_to(reference)


def result_of(field, patches=(5, 4)):
    shown = patch_shifts_from_field(field, patches) if min(patches) > 1 else None
    return Result(np.zeros((2, 2), np.float32), 1.0, field, patches=shown, movie_shape=(field.n_frames, *field.shape))


def saved(tmp_path, field, throw=1, trunc=2, patches=(5, 4)):
    path = tmp_path / "m.aln"
    path.write_text(alignment_text(result_of(field, patches), throw, trunc, patches))
    return path


def test_the_name():
    assert str(alignment_path("aln", "data/a.b.mrc.tif")) == "aln/a.b.mrc.aln"


@given(st.integers(0, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_what_is_read_back_is_the_same_to_the_last_bit(tmp_path_factory, degree, frames, seed):
    field = random_field(frames, degree, frames // 2, seed)
    assume(field.impossibility() is None)  # a few of these fields fold the image
    back = read_alignment(saved(tmp_path_factory.mktemp("a"), field))
    assert back.exact and (back.throw, back.trunc, back.patches) == (1, 2, (5, 4))
    assert back.field.modes == field.modes and back.field.shape == SHAPE and back.field.reference == frames // 2
    assert back.field.amplitudes.tobytes() == field.amplitudes.tobytes()


@pytest.mark.parametrize(("throw", "trunc", "size"), [(0, 0, 9), (3, 4, 11), (0, 5, 7)])
def test_a_row_for_each_raw_frame_of_an_eer_movie(tmp_path, throw, trunc, size):
    """Programs that read as many rows as the file has raw frames find the motion of each."""
    field = random_field(frames=6)
    frames = tuple(range(throw + size * i, throw + size * (i + 1)) for i in range(6))
    result = replace(result_of(field), frames=frames, movie_format="eer")
    path = tmp_path / "m.aln"
    path.write_text(alignment_text(result, throw, trunc, (5, 4)))
    raw_count = frames[-1].stop + trunc
    rows = [line.split() for line in path.read_text().splitlines()[8 : 8 + raw_count]]
    assert [int(row[0]) for row in rows] == list(range(raw_count)) and {len(row) for row in rows} == {3}
    shifts = np.array([row[1:] for row in rows], float)
    middle = [(raw.start + raw.stop) / 2 - 0.5 for raw in frames]
    for axis in range(2):
        at_middle = np.interp(middle, np.arange(raw_count), shifts[:, axis])
        np.testing.assert_allclose(at_middle, -field.global_displacement()[:, axis], atol=2e-3)
    back = read_alignment(path)
    assert back.exact and back.field.amplitudes.tobytes() == field.amplitudes.tobytes()
    asked = replace(result, settings=Settings(exposure=Exposure(integration=((raw_count, size),))))
    assert f"stackSize: 400 300 {field.n_frames} 1" in alignment_text(asked, throw, trunc, (5, 4))


def test_the_part_that_motioncor_knows(tmp_path):
    field = random_field()
    lines = saved(tmp_path, field).read_text().splitlines()
    assert lines[:8] == [
        "setting",
        "   stackSize: 400 300 5 1",
        "   patches: 5 4 0",
        "   throw: 1 2",
        "#    Global Shift",
        "#---------------------",
        "globalShift",
        "   stackID 0",
    ]
    whole = field.global_displacement()
    assert lines[8:13] == [f"{t:6d}  {-whole[t, 0]:+8.3f}  {-whole[t, 1]:+8.3f}" for t in (0, 1)] + [
        "     2    +0.000    +0.000"
    ] + [f"{t:6d}  {-whole[t, 0]:+8.3f}  {-whole[t, 1]:+8.3f}" for t in (3, 4)]
    assert lines[13:18] == [
        "#    Local Shift",
        "#---------------------",
        "localShift",
        "   patchID: 0",
        "   Converge: 1",
    ]
    x, y = patch_centres(SHAPE, (5, 4))[0]
    local = -(field(x, y) - whole)
    assert lines[18] == f"{0:6d}  {x:8.2f}  {y:8.2f}  {local[0, 0]:+8.3f}  {local[0, 1]:+8.3f}"
    assert lines[23] == "" and lines[24] == "   patchID: 1"
    assert lines[-1].startswith("#restframe-field {") and len(lines) == 16 + 20 * 8 + 1


def motioncors(path):
    """The same file as MotionCor writes it."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#restframe")]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_motioncors_shifts_at_patches_are_fitted(tmp_path):
    field = random_field(degree=3)
    back = read_alignment(motioncors(saved(tmp_path, field)))
    assert not back.exact
    x, y = np.meshgrid(np.linspace(0, 399, 9), np.linspace(0, 299, 9))
    np.testing.assert_allclose(back.field(x, y), field(x, y), atol=0.02)  # three digits, and beyond the patches


def test_few_patches_are_not_followed_beyond_their_noise():
    centres = patch_centres(SHAPE, (3, 3))
    noise = np.random.default_rng(0).normal(0, 1, (9, 4, 2))
    field = fit_patches(np.zeros((4, 2)), centres, noise, (3, 3), SHAPE)
    assert len(field.modes) == 6
    corners = field(np.array([0, 399]), np.array([0, 299]))
    assert np.abs(corners).max() < 6


def test_whole_frames_only(tmp_path):
    field = random_field(degree=0)
    path = saved(tmp_path, field, patches=(0, 0))
    assert "localShift" not in path.read_text()
    assert read_alignment(path).patches == (0, 0)
    back = read_alignment(motioncors(path))
    np.testing.assert_allclose(back.field.amplitudes, field.amplitudes, atol=0.0005)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("ours", [True, False])
def test_files_that_are_cut_short(tmp_path, cut, ours):
    path = saved(tmp_path, random_field())
    if not ours:
        motioncors(path)
    text = path.read_text()
    path.write_text(text[: int(len(text) * cut)])
    with pytest.raises(InputError, match=r"m\.aln is no complete \.aln file"):
        read_alignment(path)


@pytest.mark.parametrize("content", [None, b"\xff\x00", b"", b"nonsense\n" * 9])
def test_files_of_another_kind(tmp_path, content):
    if content is not None:
        (tmp_path / "m.aln").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.aln"):
        read_alignment(tmp_path / "m.aln")


def test_settings_of_then_where_nothing_is_said():
    saved = Alignment(random_field(reference=3), 1, 2, (5, 4), True)
    got = settings_with(saved, Settings())
    assert (got.exposure.throw, got.exposure.trunc) == (1, 2)
    assert got.motion.patches == (5, 4) and got.motion.reference == 3
    said = Settings(exposure=Exposure(throw=1, trunc=2), motion=Motion(patches=(7, 5), reference=0))
    assert settings_with(saved, said) == said
    assert settings_with(replace(saved, exact=False), Settings()).motion.reference == -1
    with pytest.raises(SettingsError, match="was measured with throw=1 trunc=2"):
        settings_with(saved, Settings(exposure=Exposure(throw=2)))


def test_a_field_by_itself(tmp_path):
    field = random_field()
    field.save(tmp_path / "f.json")
    back = MotionField.load(tmp_path / "f.json")
    assert back.modes == field.modes and back.amplitudes.tobytes() == field.amplitudes.tobytes()
    (tmp_path / "g.json").write_text((tmp_path / "f.json").read_text().replace('"shape"', '"sharp"'))
    for name in ("g.json", "none.json"):
        with pytest.raises(InputError, match=name):
            MotionField.load(tmp_path / name)
