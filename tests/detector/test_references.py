import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.detector.references import References, load_references, orient, read_reference
from restframe.errors import DetectorError, InputError, SettingsError
from restframe.settings import Detector


def image(h=4, w=6):
    return np.random.default_rng(0).uniform(0.5, 2, (h, w)).astype(np.float32)


def test_a_quarter_turn_brings_x_to_y():
    """motioncor.md's rule by hand: the +x axis moves to the +y (row) axis."""
    a = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    np.testing.assert_array_equal(orient(a, 1, 0), [[4, 1], [5, 2], [6, 3]])
    np.testing.assert_array_equal(orient(a, 3, 0), [[3, 6], [2, 5], [1, 4]])
    np.testing.assert_array_equal(orient(a, 2, 0), [[6, 5, 4], [3, 2, 1]])
    np.testing.assert_array_equal(orient(a, 0, 1), [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(orient(a, 0, 2), [[3, 2, 1], [6, 5, 4]])
    np.testing.assert_array_equal(orient(a, 1, 1), [[6, 3], [5, 2], [4, 1]])  # rotated first


@pytest.mark.parametrize("flip", range(3))
@pytest.mark.parametrize("rot", range(4))
def test_every_orientation(rot, flip):
    a = image()
    rotated = np.rot90(a, -rot)
    expected = {0: rotated, 1: np.flipud(rotated), 2: np.fliplr(rotated)}[flip]
    out = orient(a, rot, flip)
    np.testing.assert_array_equal(out, expected)
    assert out.flags.c_contiguous
    used = load_references(Detector(gain=a, dark=a, rot_gain=rot, flip_gain=flip), expected.shape)
    np.testing.assert_array_equal(used.gain, expected)
    np.testing.assert_array_equal(used.dark, expected)


def test_inverted_last_zero_stays():
    a = image()
    a[1, 2] = 0
    a[0, 0] = 1e-45  # its inverse is too large
    out = orient(a, 1, 2, invert=True)
    expected = np.zeros_like(a)
    expected[a > 1e-3] = 1 / a[a > 1e-3]
    np.testing.assert_array_equal(out, np.rot90(expected, -1)[:, ::-1])
    used = load_references(Detector(gain=a, dark=a, inv_gain=True), a.shape)
    np.testing.assert_array_equal(used.gain, expected)
    np.testing.assert_array_equal(used.dark, a)


@pytest.mark.parametrize(("rot", "flip"), [(4, 0), (-1, 0), (0, 3), (0, -1)])
def test_unknown_orientation(rot, flip):
    with pytest.raises(SettingsError, match="expected 0"):
        orient(image(), rot, flip)


def test_mrc_lies_as_it_is_and_tiff_is_turned_round(tmp_path):
    a = image()
    mrcfile.write(tmp_path / "g.mrc", np.stack([a, a + 1]))
    for name in ("g.tif", "g.gain"):
        tifffile.imwrite(tmp_path / name, a, compression="lzw")
        np.testing.assert_array_equal(read_reference(tmp_path / name), a[::-1])
    np.testing.assert_array_equal(read_reference(str(tmp_path / "g.mrc")), a)


@pytest.mark.parametrize("dtype", ["float64", "uint32", "int16", "uint8"])
def test_types_become_float32(tmp_path, dtype):
    a = (image() * 10).astype(dtype)
    tifffile.imwrite(tmp_path / "g.tif", a)
    for read in (read_reference(tmp_path / "g.tif")[::-1], read_reference(a), read_reference(a[None])):
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, a.astype("f4"))


def test_values_that_are_not_finite_mark_bad_pixels():
    a = image()
    a[0, 1], a[1, 1], a[2, 2] = np.nan, np.inf, -np.inf
    used = load_references(Detector(gain=a), a.shape)
    np.testing.assert_array_equal(used.gain, np.where(np.isfinite(a), a, 0))
    assert np.isnan(a[0, 1])  # the caller's array is left alone


def test_none_given():
    used = load_references(Detector(), (4, 6))
    assert used.gain is None and used.dark is None and used.notes == ()


@pytest.mark.parametrize("factor", [2, 4])
def test_super_resolution(factor):
    a = image()
    used = load_references(Detector(gain=a, rot_gain=1), (6 * factor, 4 * factor))
    np.testing.assert_array_equal(used.gain, np.kron(np.rot90(a, -1), np.ones((factor, factor))))
    assert f"4 x 6 pixels enlarged {factor} times to the frames' {4 * factor} x {6 * factor}" in used.notes[0]


@pytest.mark.parametrize("shape", [(4, 7), (8, 6), (12, 18), (2, 3)])
def test_gain_of_another_size(tmp_path, shape):
    mrcfile.write(tmp_path / "g.mrc", image())
    with pytest.raises(DetectorError, match=rf"g\.mrc is 6 x 4 pixels.*frames are {shape[1]} x {shape[0]}") as error:
        load_references(Detector(gain=tmp_path / "g.mrc"), shape)
    assert error.value.exit_code == 6 and "rot_gain" not in str(error.value)


@pytest.mark.parametrize(("rot", "advice"), [(0, "1 or 3"), (1, "0 or 2"), (2, "1 or 3"), (3, "0 or 2")])
@pytest.mark.parametrize("factor", [1, 2])
def test_gain_that_needs_a_turn(rot, advice, factor):
    a = image()
    h, w = (4, 6) if rot % 2 else (6, 4)
    with pytest.raises(DetectorError, match=f"try rot_gain={advice}"):
        load_references(Detector(gain=a, rot_gain=rot), (h * factor, w * factor))
    fits = load_references(Detector(gain=a, rot_gain=int(advice[0])), (h * factor, w * factor))
    assert fits.gain is not None


def test_dark_of_another_size_is_left_out():
    alone = load_references(Detector(dark=image()), (8, 12))
    assert alone.dark is None
    assert alone.notes[0] == "Warning: The dark reference is 6 x 4 pixels, the movie's frames are 12 x 8 (x, y)."
    used = load_references(Detector(gain=image(8, 12), dark=image()), (8, 12))
    assert used.dark is None and used.gain is not None
    words = ("Warning: The sizes of Dark and gain references do not match.", "   Dark reference has been removed.")
    assert used.notes == words and alone.notes[1] == words[1]


def test_the_header_s_gain_is_turned_too():
    own = image(6, 4)
    used = load_references(Detector(rot_gain=1, flip_gain=2), (4, 6), own)
    np.testing.assert_array_equal(used.gain, orient(own, 1, 2))
    assert used.notes == ("Gain reference: that in the movie's header.",)
    np.testing.assert_array_equal(load_references(Detector(gain=image()), (4, 6), own).gain, image())


XML = b"""<defects>
  <point>2,0</point> <area>5,1,7,3</area> <col>10-11</col> <row>9</row> <row> 12 - 13 </row> <other>1</other>
</defects>"""


def saved_gain(path, xml, shape=(16, 20)):
    gain = image(*shape)
    tifffile.imwrite(path, gain, extratags=[(65100, 7, len(xml), xml, True)])
    return gain


def test_defects_that_a_gain_file_lists(tmp_path):
    """Their rows count from the top of the picture, as its own do; zero also in the reciprocal."""
    gain = saved_gain(tmp_path / "c.gain", XML)
    bad = np.zeros(gain.shape, bool)
    bad[0, 2] = True
    bad[1:4, 5:8] = True
    bad[:, 10:12] = True
    bad[9] = True
    bad[12:14] = True
    for rot, flip in ((0, 0), (0, 1), (3, 2)):
        detector = Detector(gain=tmp_path / "c.gain", rot_gain=rot, flip_gain=flip)
        expected = orient(np.where(bad, 0, gain)[::-1], rot, flip)
        used = load_references(detector, expected.shape)
        np.testing.assert_array_equal(used.gain, expected)
        assert used.notes == (f"Defects listed in the gain reference: {bad.sum()} pixels.",)
    used = load_references(Detector(gain=tmp_path / "c.gain", inv_gain=True), (64, 80))
    np.testing.assert_array_equal(used.gain == 0, np.kron(bad[::-1], np.ones((4, 4))))


@pytest.mark.parametrize("xml", [b"<defects><point>1</point></defects>", b"<defects>", b"\xff\xfe"])
def test_a_list_that_makes_no_sense(tmp_path, xml):
    saved_gain(tmp_path / "c.gain", xml)
    with pytest.raises(DetectorError, match=r"c\.gain: its list of defects, tag 65100"):
        load_references(Detector(gain=tmp_path / "c.gain"), (16, 20))


@pytest.mark.parametrize("turn", [(1, 0), (3, 0), (1, 1), (3, 1)])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_turn_that_would_make_it_fit_is_found_in_the_movie(turn, factor):
    rng = np.random.default_rng(3)
    gain = rng.normal(1, 0.05, (150, 200)).astype(np.float32)
    total = rng.poisson(50 / np.kron(orient(gain, *turn), np.ones((factor, factor)))).astype(np.float32)
    with pytest.raises(DetectorError, match=f"as rot_gain={turn[0]} flip_gain={turn[1]} would turn it"):
        load_references(Detector(gain=gain), total.shape, None, lambda: total)
    with pytest.raises(DetectorError, match="try rot_gain=1 or 3"):
        load_references(Detector(gain=gain), total.shape, None, lambda: np.ones_like(total))


def test_gain_that_cannot_be_read(tmp_path):
    (tmp_path / "g.mrc").write_bytes(b"nonsense" * 500)
    for name in ("g.mrc", "missing.mrc"):
        with pytest.raises(InputError, match=rf"Gain reference: .*{name}") as error:
            load_references(Detector(gain=tmp_path / name), (4, 6))
        assert error.value.exit_code == 3
    with pytest.raises(InputError, match="Dark reference"):
        load_references(Detector(dark=tmp_path / "missing.mrc"), (4, 6))


def test_empty_gain_and_arrays_that_are_no_image():
    with pytest.raises(DetectorError, match="zero everywhere"):
        load_references(Detector(gain=np.zeros((4, 6))), (4, 6))
    for bad in (np.zeros(4), np.zeros((2, 4, 6)), np.zeros((4, 6), complex)):
        with pytest.raises(DetectorError, match="expected numbers"):
            read_reference(bad)


def test_an_empty_dark_is_none_whatever_its_size():
    used = load_references(Detector(dark=np.zeros((2, 3))), (4, 6))
    assert used.dark is None and used.notes == ("The dark reference is zero everywhere: nothing is subtracted.",)


class Device:
    """Kernels of a device that has room for ``room`` bytes; what lies there is a view."""

    def __init__(self, room):
        self.room, self.brought = room, 0

    def to_device(self, array):
        if array.nbytes > self.room:
            raise MemoryError("too little")
        self.brought += 1
        return array.view()

    def to_host(self, array):
        return array

    def is_out_of_memory(self, error):
        return isinstance(error, MemoryError)


def test_the_gain_goes_to_the_device_if_there_is_room():
    refs, device = References(gain=np.ones((3, 4), np.float32), notes=("one",)), Device(48)
    there = refs.on_device(device)
    assert device.brought == 1 and there.gain.base is refs.gain and there.notes == refs.notes
    assert there.on_host(device).gain.base is refs.gain  # NumPy's own arrays stay what they are
    assert refs.on_device(Device(47)) is refs
    none = References()
    assert none.on_device(device).on_host(device) is none
    with pytest.raises(AttributeError):
        refs.on_device(None)  # what is wrong for another reason is not hidden


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("wrong", [1e15, 1e30, 3e38, 1e-15, 1e-30, 101.0, 0.0099, -1.0])
def test_a_gain_that_no_camera_has_is_a_bad_pixel(wrong, inverted):
    gain = np.random.default_rng(2).uniform(0.5, 2, (40, 60)).astype(np.float32)
    gain /= np.median(gain)
    gain[3, 5], gain[7, 9] = wrong, 0
    found = load_references(Detector(gain=gain, inv_gain=inverted), (40, 60))
    assert found.gain[3, 5] == 0 and found.gain[7, 9] == 0
    good = np.ones((40, 60), bool)
    good[3, 5] = good[7, 9] = False
    np.testing.assert_allclose(found.gain[good], 1 / gain[good] if inverted else gain[good], rtol=1e-6)
    assert "1 pixels of the gain reference are more than 100 times" in " ".join(found.notes)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30000.0])
def test_any_scale_of_a_gain_is_usual(scale):
    gain = (scale * np.random.default_rng(2).uniform(0.03, 3, (40, 60))).astype(np.float32)
    found = load_references(Detector(gain=gain), (40, 60))
    assert found.notes == () and np.array_equal(found.gain, gain)
