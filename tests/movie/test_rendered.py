import numpy as np
import pytest
import tifffile

from restframe.errors import InputError
from restframe.movie import Movie, open_movie, read_frames
from restframe.movie.rendered import RenderedMovie, all_values_finite


def test_sums_as_a_movie():
    movie = np.random.default_rng(0).integers(0, 200, (9, 4, 5)).astype("u1")
    rendered = RenderedMovie(open_movie(movie), (range(1, 3), range(3, 4), range(4, 9)))
    assert isinstance(rendered, Movie) and rendered.shape == (3, 4, 5) and rendered.format == "array"
    sums = [movie[1:3].sum(0), movie[3], movie[4:].sum(0)]
    np.testing.assert_array_equal(read_frames(rendered, None, 2), sums)
    np.testing.assert_array_equal(rendered.read(2), sums[2])
    assert rendered.damage_report() == []


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "n", "expected"),
    [
        ("u1", 1, "u1"), ("u1", 2, "u2"), ("u1", 257, "u2"), ("u1", 258, "f4"), ("i1", 2, "i2"), ("i1", 256, "f4"),
        ("u2", 1, "u2"), ("u2", 2, "f4"), ("i2", 1, "i2"), ("i2", 3, "f4"), (">i2", 3, "f4"), ("f4", 3, "f4"),
        ("f8", 3, "f4"), ("?", 3, "f4"),
    ],
)  # fmt: skip
def test_sums_cannot_overflow(dtype, n, expected, threads):
    """The largest and smallest counts there are, added up."""
    kind = np.dtype(dtype)
    top = 1 if kind.kind == "b" else 1000 if kind.kind == "f" else np.iinfo(kind).max
    low = -top - 1 if kind.kind == "i" else 0
    movie = np.zeros((n + 1, 2, 3), kind)
    movie[:, 0] = top
    movie[:, 1, 1] = low
    sums = read_frames(RenderedMovie(open_movie(movie), (range(n), range(n, n + 1))), None, threads)
    assert sums.dtype == np.dtype(expected)
    np.testing.assert_array_equal(sums[:, 0, 0], np.float32([n * top, top]))
    np.testing.assert_array_equal(sums[:, 1], [[0, n * low, 0], [0, low, 0]])


def test_a_dark_is_taken_off_every_raw_frame():
    rng = np.random.default_rng(1)
    movie, dark = rng.integers(0, 200, (7, 4, 5)).astype("u1"), rng.uniform(0, 9, (4, 5)).astype("f4")
    sums = read_frames(RenderedMovie(open_movie(movie), (range(0, 2), range(2, 7)), dark))
    assert sums.dtype == np.float32
    by_hand = [movie[:2].sum(0) - 2 * dark.astype(float), movie[2:].sum(0) - 5 * dark.astype(float)]
    np.testing.assert_allclose(sums, by_hand, atol=1e-4)


def test_damage_ends_the_reading_of_other_formats(tmp_path):
    movie = np.zeros((4, 50, 60), "u1")
    tifffile.imwrite(tmp_path / "m.tif", movie, compression="lzw", photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        strip = file.pages[2].dataoffsets[0]
    raw = bytearray((tmp_path / "m.tif").read_bytes())
    raw[strip : strip + 4] = b"\xff" * 4
    (tmp_path / "m.tif").write_bytes(raw)
    with pytest.raises(InputError, match="frame 3 is damaged"):
        RenderedMovie(open_movie(tmp_path / "m.tif"), (range(4),)).read(0)


def test_values_that_are_not_finite_are_replaced_by_the_mean():
    movie = np.random.default_rng(1).normal(10, 1, (9, 6, 5)).astype(np.float32)
    wrong = movie.copy()
    wrong[2, 1, 1], wrong[2, 3, 3], wrong[4, 0, 0] = np.nan, np.inf, -np.inf
    rendered = RenderedMovie(open_movie(wrong), tuple(range(t, t + 1) for t in range(1, 9)))
    assert rendered.damage_report() == []
    found = read_frames(rendered, None, 2)
    expected = movie[1:].copy()
    for t, y, x in ((1, 1, 1), (1, 3, 3), (3, 0, 0)):
        good = np.isfinite(wrong[t + 1])
        expected[t, y, x] = wrong[t + 1][good].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [line[:37] for line in rendered.damage_report()] == [
        "Warning: frame 3: 2 values are NaN, i", "Warning: frame 5: 1 values are NaN, i",
    ]  # fmt: skip
    wrong[7, :4] = np.nan
    with pytest.raises(InputError, match=r"Frame 8 is NaN, infinite or beyond 1e\+12 at 20 of 30 pixels"):
        rendered.read(6)


def test_where_numbers_are_known():
    counts, numbers = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4))
    assert all_values_finite(open_movie(counts)) and all_values_finite(open_movie(numbers))
    numbers[1, 2, 3] = np.inf
    assert not all_values_finite(open_movie(numbers))
