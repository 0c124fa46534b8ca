"""Places that stand still while the rest of the frame moves are told from those that move, and left out."""

import numpy as np
import pytest
from scipy import ndimage

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.track.low_band import low_frequency_band
from restframe.track.pattern import FixedPattern
from restframe.track.standing import (
    FrameSums,
    cells_to_pixels,
    overlap,
    resized,
    standing_cells,
    weighted_band,
    weights_without,
)
from restframe.track.tiles import TileLayout, make_tiles_and_release_frames

cpu = Cpu(2)
SHAPE = 320, 384
TRACK = np.stack([np.linspace(-3, 3, 10), np.linspace(2, -2, 10)], 1)
STANDING = slice(40, 120), slice(200, 290)


def frames(track, standing: bool, seed: int = 3) -> BinnedFrames:
    """A specimen that follows ``track`` (t, 2) whole pixels, noise, and a place with the same texture that does not."""
    generator = np.random.default_rng(seed)
    specimen, texture = (ndimage.gaussian_filter(generator.normal(size=SHAPE), 1.0) for _ in range(2))
    stack = np.empty((len(track), *SHAPE), np.int8)
    for frame, (x, y) in enumerate(np.rint(track).astype(int)):
        image = np.roll(specimen, (y, x), (0, 1))
        if standing:
            image[STANDING] = texture[STANDING]
        values = 0.6 * image / specimen.std() + generator.normal(size=SHAPE)
        stack[frame] = np.clip(np.rint(values * LEVELS_PER_DEVIATION), -127, 127)
    return BinnedFrames(stack, 1)


def found(kernels, binned: BinnedFrames, track) -> np.ndarray:
    sums = FrameSums(kernels, binned, FixedPattern(0.0, np.ones(len(track))))
    return cells_to_pixels(standing_cells(sums.evidence(track), False), SHAPE)


@pytest.mark.parametrize("kernels", [Reference(), cpu])
def test_a_place_that_stands_still_is_found(kernels):
    mask = found(kernels, frames(TRACK, standing=True), TRACK)
    inside = np.zeros(SHAPE, bool)
    inside[STANDING] = True
    assert mask[inside].mean() > 0.9
    assert mask[~ndimage.binary_dilation(inside, iterations=25)].mean() < 0.01


def test_nothing_is_found_where_all_moves_or_all_rests():
    assert not found(cpu, frames(TRACK, standing=False), TRACK).any()
    assert not found(cpu, frames(0 * TRACK, standing=True), 0 * TRACK).any()


@pytest.mark.parametrize("step", [-30, -2, 0, 3, 30])
def test_overlap(step):
    values = np.arange(20)
    places, source = overlap(20, step)
    assert len(values[places]) == len(values[source]) == max(20 - abs(step), 0)
    assert np.array_equal(values[source], values[places] + step)


def test_weights_of_frames():
    binned = frames(TRACK, standing=False)
    band = low_frequency_band(cpu, binned, 512)
    weights = np.ones((8, 8))
    assert np.allclose(weighted_band(cpu, band, weights).spectra, band.spectra, atol=1e-2)
    weights[:4] = 0
    image = cpu.irfft2(weighted_band(cpu, band, weights).spectra[0].copy(), band.image_shape)
    assert np.abs(image[:100]).max() < 1e-2 < np.abs(image[220:]).max()


def test_resized_maps_keep_their_values():
    assert np.allclose(resized(np.full((2, 2), 3.0), (50, 77)), 3.0)


def test_tiles_see_nothing_of_what_is_excluded():
    """The windows follow the specimen; what is excluded stands still."""
    excluded = np.zeros(SHAPE, bool)
    excluded[STANDING] = True
    stack = np.zeros((len(TRACK), *SHAPE), np.int8)
    stack[:, excluded] = 100
    offsets = np.rint(TRACK).astype(int)
    weight_map = weights_without(np.ones((2, 2)), excluded, TRACK, 10)
    assert weight_map.min() == 0
    assert weight_map.mean() > 0.7
    layout = TileLayout(64, 1 / 8, 20)
    tiles = make_tiles_and_release_frames(cpu, BinnedFrames(stack.copy(), 1), layout, offsets, weight_map)
    all_tiles = make_tiles_and_release_frames(cpu, BinnedFrames(stack, 1), layout, offsets, np.ones((2, 2)))
    assert len(tiles.centres) < len(all_tiles.centres)
    assert np.abs(tiles.real).max() < 1e-3 * np.abs(all_tiles.real).max()
