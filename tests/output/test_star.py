"""STAR files for RELION, read by another program."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restframe.movie.integration import divide_frames
from restframe.output.star import StarGain, polynomial, star_path, star_text, unequal
from restframe.result import Result
from restframe.settings import Detector, Exposure, Settings, Sums
from restframe.track.field import MotionField, modes_up_to
from restframe.track.patches import patch_shifts_from_field

SHAPE = (300, 400)
H, W = SHAPE


def relions_local(c, x, y, z):
    """clients.md A.3, written out: one axis, ``c`` (18,), x and y in pixels, z frames after the first used one."""
    x, y = x / W - 0.5, y / H - 0.5
    return (
        (c[0] + c[3] * x + c[6] * x**2 + c[9] * y + c[12] * y**2 + c[15] * x * y) * z
        + (c[1] + c[4] * x + c[7] * x**2 + c[10] * y + c[13] * y**2 + c[16] * x * y) * z**2
        + (c[2] + c[5] * x + c[8] * x**2 + c[11] * y + c[14] * y**2 + c[17] * x * y) * z**3
    )


def cubic_field(frames=12, seed=0):
    """A field that the polynomial can hold: second degree in space, third in time."""
    modes = modes_up_to(2, 2, 2)
    rng = np.random.default_rng(seed)
    z = np.arange(frames) / frames
    amplitudes = rng.normal(0, 2, (len(modes), 3, 2)).transpose(0, 2, 1) @ np.stack([z, z**2, z**3])
    return MotionField(modes, amplitudes.transpose(0, 2, 1), SHAPE).relative_to(frames // 2)


def result_of(field, patches=(3, 2), throw=2, size=1, dose=1.2, movie_format="tiff"):
    shifts = -(field.global_displacement() - field.global_displacement()[0])
    bad = np.array([[3, 0], [399, 299]])
    return Result(
        np.zeros((2, 2), np.float32),
        1.0,
        field,
        patches=patch_shifts_from_field(field, patches) if min(patches) > 1 else None,
        global_shifts=shifts,
        movie_shape=(field.n_frames, *SHAPE),
        movie_format=movie_format,
        frames=tuple(range(throw + i * size, throw + (i + 1) * size) for i in range(field.n_frames)),
        dose=np.full(field.n_frames, dose * size),
        bad_pixels=bad,
    )


def table(document, name, *labels):
    block = document.find_block(name)
    return np.array([[float(v) for v in row] for row in block.find([f"_{label}" for label in labels])])


SETTINGS = Settings(Detector(gain="my gain.mrc"), Exposure(1.5, 200.0, 1.2, 3.0, throw=2, trunc=1), sums=Sums(bin=2.0))


@pytest.fixture(scope="module")
def document():
    """As gemmi reads it: (document, field)."""
    field = cubic_field()
    return gemmi.cif.read_string(
        star_text(result_of(field), "data/my movie.tif", SETTINGS, StarGain("my gain.mrc"))
    ), field


def test_the_name():
    assert str(star_path("sums/one.mrc", "data/a.b.tif")) == "sums/a.b.star"


def test_general(document):
    block = document[0].find_block("general")
    found = {item.pair[0].removeprefix("_"): gemmi.cif.as_string(item.pair[1]) for item in block if item.pair}
    assert found == {
        "rlnImageSizeX": "400",
        "rlnImageSizeY": "300",
        "rlnImageSizeZ": "15",
        "rlnMicrographMovieName": "data/my movie.tif",
        "rlnMicrographGainName": "my gain.mrc",
        "rlnMicrographBinning": "2",
        "rlnMicrographOriginalPixelSize": "1.5",
        "rlnMicrographDoseRate": "1.2",
        "rlnMicrographPreExposure": "3",
        "rlnVoltage": "200",
        "rlnMicrographStartFrame": "3",
        "rlnMotionModelVersion": "1",
    }


def test_sums_of_raw_frames():
    """An EER movie of 60 raw frames, 5 to a fraction, 10 left out at the start and 5 at the end."""
    result = result_of(cubic_field(9), throw=10, size=5, movie_format="eer")
    exposure = Exposure(0.5, frame_dose=1.2, throw=10, trunc=5, eer_sampling=2)
    block = gemmi.cif.read_string(star_text(result, "m.eer", Settings(exposure=exposure)))
    general = block.find_block("general")
    expected = {"ImageSizeZ": "12", "EERGrouping": "5", "EERUpsampling": "2", "MicrographStartFrame": "3"}
    assert {k: general.find_value(f"_rln{k}") for k in expected} == expected
    assert float(general.find_value("_rlnMicrographDoseRate")) == 6
    rows = table(block, "global_shift", "rlnMicrographFrameNumber", "rlnMicrographShiftX")
    assert len(rows) == 12 and np.flatnonzero(rows[:, 1] == -9999).tolist() == [0, 1, 11]
    assert not unequal(result)
    assert unequal(replace(result, frames=(*result.frames[:-1], range(50, 59))))


@pytest.mark.parametrize("grouping", [4, 5, 7])
@pytest.mark.parametrize("throw", [0, 3, 10, 11])
@pytest.mark.parametrize("trunc", [0, 2, 9])
def test_relion_counts_fractions_from_raw_frame_0(grouping, throw, trunc):
    """The motion of a sum of raw frames is that of its middle, wherever the used fractions begin and end."""
    frames = tuple(divide_frames(range(throw, 80 - trunc), grouping))
    middle = np.array([(raw.start + raw.stop) / 2 for raw in frames])
    field = MotionField(((0, 0), (1, 0)), np.stack([np.stack([middle, -2 * middle], 1)] * 2) / 40, SHAPE)
    result = replace(result_of(field, movie_format="eer"), frames=frames, dose=np.array([0.5 * len(f) for f in frames]))
    settings = Settings(exposure=Exposure(1.0, frame_dose=0.5, throw=throw, trunc=trunc))
    document = gemmi.cif.read_string(star_text(result, "m.eer", settings))
    general = document.find_block("general")
    start = int(general.find_value("_rlnMicrographStartFrame"))
    assert general.find_value("_rlnEERGrouping") == str(grouping)
    assert int(general.find_value("_rlnImageSizeZ")) == 80 // grouping
    assert float(general.find_value("_rlnMicrographDoseRate")) == 0.5 * grouping
    assert start == -(-throw // grouping) + 1
    rows = table(document, "global_shift", "rlnMicrographFrameNumber", "rlnMicrographShiftX", "rlnMicrographShiftY")
    used = rows[rows[:, 1] != -9999]
    assert used[0, 0] == start and used[-1, 0] == (80 - trunc) // grouping
    expected = -grouping * (used[:, 0] - start) / 40
    np.testing.assert_allclose(used[:, 1:], np.stack([expected, -2 * expected], 1), atol=1e-4)
    coefficients = table(document, "local_motion_model", "rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff")[:, 1]
    slope = field.mode_values(np.array([W - 1.0]), np.array([0.0]))[1, 0]
    local = [relions_local(coefficients[:18], W - 1, 0, z) for z in range(len(used))]
    np.testing.assert_allclose(local, slope * expected, atol=1e-5)


def test_raw_frames_of_other_movies_are_not_summed_by_relion():
    result = result_of(cubic_field(6), throw=4, size=2)
    document = gemmi.cif.read_string(star_text(result, "m.tif", Settings(exposure=Exposure(1.0, throw=4, trunc=1))))
    assert document.find_block("general").find_value("_rlnImageSizeZ") == "17"
    rows = table(document, "global_shift", "rlnMicrographFrameNumber", "rlnMicrographShiftX")
    assert np.flatnonzero(rows[:, 1] != -9999).tolist() == list(range(4, 16))


def test_another_programs_file_is_not_replaced(tmp_path):
    text = star_text(result_of(cubic_field(3)), "m.mrc", Settings())
    path = tmp_path / "m.star"
    assert star_path(tmp_path / "o.mrc", "x/m.mrc") == path
    path.write_text(text)
    assert star_path(tmp_path / "o.mrc", "x/m.mrc") == path
    path.write_text("# version 30001\n\ndata_general\n")
    assert star_path(tmp_path / "o.mrc", "x/m.mrc") == tmp_path / "m_restframe.star"
    path.unlink()
    assert star_path(tmp_path / "o.mrc", "x/m.mrc", called_by_relion=True) == tmp_path / "m_restframe.star"


def test_global_shifts_of_all_frames(document):
    document, field = document
    rows = table(document, "global_shift", "rlnMicrographFrameNumber", "rlnMicrographShiftX", "rlnMicrographShiftY")
    np.testing.assert_array_equal(rows[:, 0], np.arange(1, 16))
    np.testing.assert_array_equal(rows[[0, 1, 14], 1:], -9999)
    shifts = -(field.global_displacement() - field.global_displacement()[0])
    np.testing.assert_allclose(rows[2:14, 1:], shifts, atol=1e-4)
    np.testing.assert_array_equal(rows[2, 1:], 0)


def test_the_polynomial_gives_the_field(document):
    document, field = document
    rows = table(document, "local_motion_model", "rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff")
    np.testing.assert_array_equal(rows[:, 0], np.arange(36))
    cx, cy = rows[:18, 1], rows[18:, 1]
    x, y = np.meshgrid(np.linspace(0, W - 1, 5), np.linspace(0, H - 1, 7))
    local = field(x, y) - field.global_displacement()[:, None, None]
    local = -(local - local[:1])
    for z in range(12):
        np.testing.assert_allclose(relions_local(cx, x, y, z), local[z, ..., 0], atol=1e-5)
        np.testing.assert_allclose(relions_local(cy, x, y, z), local[z, ..., 1], atol=1e-5)


def test_local_shifts(document):
    document, field = document
    labels = (
        "rlnMicrographFrameNumber",
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnMicrographShiftX",
        "rlnMicrographShiftY",
    )
    rows = table(document, "local_shift", *labels)
    assert len(rows) == 12 * 6 and set(rows[:, 0]) == set(range(3, 15))
    local = field(rows[:, 1], rows[:, 2]) - field.global_displacement()[:, None]
    local = -(local - local[:1])
    t = rows[:, 0].astype(int) - 3
    np.testing.assert_allclose(rows[:, 3:], local[t, np.arange(len(t))], atol=1e-3)  # places have two digits


def test_hot_pixels(document):
    rows = table(document[0], "hot_pixels", "rlnCoordinateX", "rlnCoordinateY")
    np.testing.assert_array_equal(rows, [[3, 0], [399, 299]])


def test_whole_frames_only():
    field = MotionField(((0, 0),), np.ones((1, 4, 2)), SHAPE)
    document = gemmi.cif.read_string(star_text(result_of(field, (0, 0)), "m.mrc", Settings()))
    assert document.find_block("general").find_value("_rlnMotionModelVersion") == "0"
    assert [b.name for b in document] == ["general", "global_shift", "hot_pixels"]


def test_the_gain_is_named_only_where_there_is_one_that_fits():
    result = result_of(cubic_field())
    assert "rlnMicrographGainName" not in star_text(result, "m.mrc", Settings(Detector(gain="g.mrc")))
    text = star_text(result, "m.mrc", Settings(), StarGain("sums/g.mrc", "A copy."))
    assert "\n# A copy.\n" in text
    block = gemmi.cif.read_string(text).find_block("general")
    assert block.find_value("_rlnMicrographGainName") == "sums/g.mrc"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12).map(str.strip).filter(bool))
@example("""it's "quoted" here""")
@example("""a' b" c""")
@example("movie's.tif")
@example("мой фильм'.tif")
@example("_x;")
def test_names_stay_one_word(name):
    document = gemmi.cif.read_string(star_text(result_of(cubic_field(2)), name, Settings()))
    value = document.find_block("general").find_value("_rlnMicrographMovieName")
    assert gemmi.cif.as_string(value) == name


@pytest.mark.parametrize("frames", [1, 2, 3, 40])
def test_what_the_polynomial_leaves(frames):
    """Few frames are met exactly; what it can't hold is said: half of a wave in time, seen as a residue."""
    coefficients, left = polynomial(cubic_field(frames))
    assert coefficients.shape == (2, 18) and np.isfinite(coefficients).all() and left < 1e-9
    wave = np.zeros((2, frames, 2))
    wave[1, :, 0] = np.cos(np.pi * np.arange(frames))
    _, left = polynomial(MotionField(((0, 0), (1, 0)), wave, SHAPE))
    expected = 0 if frames < 5 else np.sqrt(1 / 3)  # rms of P1 over the frame
    assert left == pytest.approx(expected, abs=0.08 if frames > 4 else 1e-9)
