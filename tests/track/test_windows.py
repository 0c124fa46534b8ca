"""Sums over windows, compared with all of their pixels."""

import numpy as np
import pytest

from restframe.kernels.cpu import Cpu
from restframe.track.field import mode_values, modes_up_to
from restframe.track.problem import mean_modes_over_tiles
from restframe.track.tiles import Tiles, taper
from restframe.track.windows import bilinear_samples, cells_per_side, make_windows

cpu = Cpu(2)

CORNERS = np.array([(0, 0), (10, 37), (52, 60)])
SHAPE = 100, 120


def weight_of(generator) -> np.ndarray:
    return generator.uniform(0.1, 3, (10, 12))


def written_out(windows) -> np.ndarray:
    """All pixels of the windows, (p, size, size)."""
    size, tile_count = len(windows.taper), len(windows.window_weights)
    cell_count = windows.window_weights.shape[1] - 1
    positions = (np.arange(size) + 0.5) * cell_count / size
    rows = np.stack(
        [[np.interp(positions, np.arange(cell_count + 1), line) for line in one] for one in windows.window_weights]
    )
    both = np.stack(
        [[np.interp(positions, np.arange(cell_count + 1), line) for line in rows[i].T] for i in range(tile_count)]
    )
    return both.swapaxes(1, 2) * np.outer(windows.taper, windows.taper)


@pytest.mark.parametrize("size", [24, 26, 48])
def test_power_and_share(size):
    windows = make_windows(taper(size, 0.25), CORNERS, weight_of(np.random.default_rng(1)), SHAPE)
    pixels = written_out(windows)
    np.testing.assert_allclose((pixels**2).sum((1, 2)), 1, rtol=1e-6)
    # between corners w² is taken to be linear where the share is worked out, w where pixels are looked at
    share = (pixels**2).sum((1, 2)) ** 2 / (pixels**4 / np.outer(windows.taper, windows.taper) ** 2).sum((1, 2))
    np.testing.assert_allclose(windows.independent_share, share / size**2, rtol=0.05)


def test_the_same_everywhere():
    window = taper(32, 0.25)
    windows = make_windows(window, CORNERS, np.full((2, 2), 7.0), SHAPE)
    np.testing.assert_allclose(windows.independent_share, np.mean(window**2) ** 2, rtol=1e-6)
    np.testing.assert_allclose(written_out(windows)[1], np.outer(window, window) / np.sum(window**2), rtol=1e-6)


def test_windows_are_at_the_places_of_the_tiles():
    """A weight that grows across the frame, compared at each pixel."""
    row_positions, column_positions = ((np.arange(cell_count) + 0.5) * 4 for cell_count in (25, 30))
    windows = make_windows(
        np.ones(24), np.array([(8, 40)]), (5 + row_positions[:, None] + 2 * column_positions) ** 2, SHAPE
    )
    seen = written_out(windows)[0]
    exact = 5 + (8.5 + np.arange(24))[:, None] + 2 * (40.5 + np.arange(24))
    np.testing.assert_allclose(seen, exact / np.sqrt(np.sum(exact**2)), rtol=5e-3)


def test_images_continue_with_their_edge_values():
    image = np.random.default_rng(2).normal(size=(5, 4))
    computed = bilinear_samples(image, np.array([[-3.0, 1.5, 9.0]]), np.array([[-1.0, 2.25, 3.0, 4.0]]))[0]
    np.testing.assert_allclose(computed[[0, 2]][:, [0, 2, 3]], image[[0, 4]][:, [0, 3, 3]])
    left, right = image[1:3].mean(0)[2:]
    assert computed[1, 1] == pytest.approx(0.75 * left + 0.25 * right)


@pytest.mark.parametrize("size", [48, 62])
def test_means_of_modes(size):
    """With a window that shows one corner of its tile, and a uniform one."""
    modes, factor, shape = modes_up_to(3, 3, 4), 3, (300, 360)
    weight = np.full((100, 120), 1e-6)
    weight[10 : 10 + size // 4, 20 : 20 + size // 4] = 1
    corners = np.array([(10, 20), (30, 50)])
    for where in (weight, np.ones((2, 2))):
        windows = make_windows(taper(size, 0.25), corners, where, SHAPE)
        empty = np.zeros((2, 1, 1, 1))
        centres = factor * (corners[:, ::-1] + (size - 1) / 2) + (factor - 1) / 2
        tiles = Tiles(empty, empty, size, centres, np.zeros((1, 2)), factor, windows)
        positions = (np.arange(size) + 0.5) * factor - 0.5
        row_positions, column_positions = (factor * c[:, None] + positions for c in corners.T)
        values = mode_values(
            modes, *np.broadcast_arrays(column_positions[:, None, :], row_positions[:, :, None]), 360, 300
        )
        pixels = written_out(windows)
        counts = pixels**4 / np.outer(windows.taper, windows.taper) ** 2
        exact = (values * counts).sum((2, 3)) / counts.sum((1, 2))
        computed = mean_modes_over_tiles(modes, tiles, shape)
        np.testing.assert_allclose(computed[:, 0], exact[:, 0], atol=0.03)
    assert cells_per_side(62) == 31 and cells_per_side(256) == 16 and cells_per_side(96) == 12


def test_the_kernel_multiplies_by_the_window():
    """The spectrum of a tile is that of the piece times the pixels of its window."""
    size, generator = 24, np.random.default_rng(3)
    windows = make_windows(taper(size, 0.25), CORNERS, weight_of(generator), SHAPE)
    frame = generator.integers(-100, 100, (1, *SHAPE)).astype(np.int8)
    re, im = np.zeros((2, 3, 1, 17, 9), np.float32)
    cpu.tile_spectra(frame, CORNERS[None], windows.taper, windows.window_weights.astype(np.float32), re, im)
    for i, (window, (row_positions, column_positions)) in enumerate(zip(written_out(windows), CORNERS, strict=True)):
        piece = frame[0, row_positions : row_positions + size, column_positions : column_positions + size]
        exact = np.fft.rfft2(window * (piece - np.average(piece, weights=window)))
        np.testing.assert_allclose(re[i, 0, 8:, 4], exact.real[:9, 4], atol=1e-3)
