"""The CUDA kernels against the readable ones, on odd shapes and random data. They need a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import with_gpu  # noqa: F401
from calibrations import close, random_calibration
from random_courses import random_courses
from random_lost import random_lost

from restframe.detector.calibration import Calibration
from restframe.kernels import cuda
from restframe.kernels.cuda.source import RAW_TYPES
from restframe.kernels.cuda.spectra import padded
from restframe.kernels.reference import Reference
from restframe.restore import kernel
from restframe.simulate import PRESETS
from restframe.simulate.motion import make_truth

reference = Reference()

SHAPES = [(3, 37, 51), (9, 64, 40), (2, 7, 300)]


def on_device(c: Calibration) -> Calibration:
    rows = np.repeat(np.arange(len(c.row_start) - 1), np.diff(c.row_start))
    return c._replace(gain=cuda.mark_bad_pixels(c.gain, rows, c.bad_columns), dark=cuda.to_device(c.dark))


def counts(rng, shape, dtype):
    frames = rng.poisson(2, shape).astype(dtype)
    return frames - np.int8(1) if np.dtype(dtype).kind in "if" else frames


@pytest.mark.parametrize("dtype", list(RAW_TYPES))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dark", [False, True])
def test_add_and_correct_frames(dtype, shape, dark):
    rng = np.random.default_rng(1)
    frames = counts(rng, shape, dtype)
    c = random_calibration(rng, *shape, dark)
    kind = {"u": np.uint32, "i": np.int64, "f": np.float64}[frames.dtype.kind]
    slow, fast = np.ones(shape[1:], kind), cuda.to_device(np.ones(shape[1:], kind))
    sums = reference.add_frames(frames, c.gain, c.dark, slow)
    device = cuda.to_device(frames)
    found = cuda.add_frames(device, cuda.to_device(c.gain), cuda.to_device(c.dark), fast)
    np.testing.assert_array_equal(fast.get(), slow)
    np.testing.assert_allclose(found, sums, rtol=1e-5, atol=1e-3)
    d = on_device(c)
    for i in range(len(frames)):
        close(cuda.corrected_frame(device, d, i).get(), reference.corrected_frame(frames, c, i), 1e-6)
    rows, columns = np.array([1, 5, 6]), np.array([0, 39, 2])
    np.testing.assert_array_equal(cuda.pixel_counts(device, rows, columns), frames[:, rows, columns])


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_small_frames(factor, dtype):
    rng = np.random.default_rng(factor)
    shape = (11, 117, 150)
    frames = counts(rng, shape, dtype)
    c = random_calibration(rng, *shape, False)
    taps = rng.normal(size=6 * factor + factor % 2).astype(np.float32) if factor > 1 else np.ones(1, np.float32)
    out = np.zeros((11, 117 // factor, 150 // factor), np.int8)
    reference.make_binned_frames(frames, c, taps, factor, 12, out)
    fast = cuda.to_device(np.full_like(out, 99))
    cuda.make_binned_frames(cuda.to_device(frames), on_device(c), taps, factor, 12, fast)
    difference = np.abs(fast.get().astype(int) - out)
    assert difference.max() <= 1  # rounding of what differs by 1e-6
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize(
    ("size", "cells", "band"),
    [
        (8, 4, 3),
        (30, 6, 9),
        (30, 3, 9),
        (62, 31, 20),
        (96, 12, 38),
        (256, 16, 102),
        (192, 16, 76),
        (160, 16, 64),
        (128, 16, 51),
        (64, 8, 25),
    ],
)
def test_cut_spectra(size, cells, band):
    rng = np.random.default_rng(8)
    frames = rng.integers(-127, 128, (3, 123, 131)).astype(np.int8)
    taper = rng.random(size).astype(np.float32)
    lattice = rng.random((6, cells + 1, cells + 1)).astype(np.float32)
    corners = np.array([(-3, 4), (5, 9), (115, 98), (123, -size), (140, 2), (2, -4)]) + rng.integers(-9, 9, (3, 1, 2))
    shape = 6, 3, 2 * band + 1, band + 1
    slow = np.full((2, *shape), np.nan, np.float32)
    reference.tile_spectra(frames, corners, taper, lattice, *slow)
    fast = [cuda.empty_spectra((6, 4, *shape[2:])) for _ in "ab"]
    for part in fast:
        part[:] = 7
    for first in (0, 2):
        some = slice(first, min(first + 2, 3))
        parts = (part[:, some] for part in fast)
        cuda.tile_spectra(cuda.to_device(frames[some]), corners[some], taper, lattice, *parts)
    for a, b in zip(fast, slow, strict=True):
        close(a[:, :3].get(), b, 5e-4)  # kept in 16 bits
        rounded = b.astype(np.float16).astype(np.float32)
        assert np.abs(a[:, :3].get() - rounded).mean() < 0.02 * np.abs(b - rounded).mean()  # rarely to the other side
        assert (a.get()[:, 3] == 7).all()
        assert (padded(a)[0].base[..., band + 1 :].get()[:, :3] == 0).all()


@pytest.mark.parametrize(("p", "t", "m"), [(3, 5, 7), (1, 37, 20), (2, 3, 102)])
def test_sums_over_tiles(p, t, m):
    rng = np.random.default_rng(3)
    halves = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float16)
    re, im = halves.astype(np.float32)
    steps = rng.normal(0, 0.3, (p, t, 2)).astype(np.float32), rng.uniform(0, 0.01, (p, t)).astype(np.float32)
    d = tuple(map(cuda.to_device, halves))
    fast, slow = cuda.align_spectra(*d, *steps), reference.align_spectra(re, im, *steps)
    inside = np.hypot(np.arange(-m, m + 1)[:, None], np.arange(m + 1)) < m + 0.5
    for a, b in zip(fast, slow, strict=True):
        close(a.get() * inside, b * inside)
    assert np.isfinite([a.get() for a in fast]).all()
    ring = np.where(inside, rng.integers(-1, m + 1, re.shape[2:]), -1)
    weight, w = rng.random(ring.shape), rng.random((p, m + 1))
    close(cuda.ring_sums(fast[2], ring, weight), reference.ring_sums(slow[2], ring, weight), 1e-6)
    close(cuda.ring_power_sums(*fast[:2], ring, weight), reference.ring_power_sums(*slow[:2], ring, weight), 1e-6)
    weighted = reference.filter_spectra(*slow[:2], w, ring, weight)
    filtered = cuda.filter_spectra(*fast[:2], w, ring, weight)
    for a, b in zip(filtered, weighted, strict=True):
        close(a.get(), b)
    close(cuda.shift_gradient(*d, *steps, *filtered), reference.shift_gradient(re, im, *steps, *weighted))
    table = rng.random((t, 2 * m + 1, m + 1)).astype(np.float32)
    own = [cuda.empty_spectra(re.shape) for _ in "12"]
    for a, b in zip(own, d, strict=True):
        a[:] = b
    cuda.scale_spectra(*own, cuda.to_device(table))
    reference.scale_spectra(re, im, table)
    for a, b in zip(own, (re, im), strict=True):
        close(a.get(), b, 5e-4)  # kept in 16 bits


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 301, 517)])
def test_corners(shape):
    images = np.random.default_rng(6).integers(-127, 128, shape).astype(np.int8)
    np.testing.assert_allclose(cuda.nyquist_power(cuda.to_device(images)), reference.nyquist_power(images), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 40, 66), (2, 62, 51)])
def test_transforms(shape):
    images = np.random.default_rng(6).integers(-127, 128, shape).astype(np.int8)
    device = cuda.to_device(images)
    for columns in (None, 7):
        slow = reference.rfft2(images, columns)
        for part in (np.real, np.imag):
            close(part(cuda.rfft2(device, columns).get()), part(slow), 1e-6)


@pytest.mark.parametrize("dtype", list(RAW_TYPES))
@pytest.mark.parametrize(("shape", "size"), [((45, 61), (70, 96)), ((64, 140), (96, 172)), ((300, 9), (310, 30))])
@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("slope", [0.02, 3.0])  # 3 px between lattice points: no tile of the frame fits the block
def test_gather(dtype, shape, size, images, slope):
    rng = np.random.default_rng(5)
    t = 3
    frames = counts(rng, (t, *shape), dtype)
    c = random_calibration(rng, t, *shape, images == 2)
    spacing, origin = 8, -10
    lattice = rng.normal(0, 3, (t, 1, 1, 2)) + rng.normal(
        0, slope, (t, size[0] // spacing + 2, size[1] // spacing + 2, 2)
    )
    lattice = lattice.astype(np.float32)
    coefficients = rng.normal(size=(images, t)).astype(np.float32)
    start = rng.normal(size=(images, *size)).astype(np.float32)
    slow, fast = start.copy(), cuda.to_device(start)
    rest = lattice, spacing, origin, kernel.table(), coefficients
    reference.gather(frames, c, *rest, slow)
    cuda.gather(cuda.to_device(frames), on_device(c), *rest, fast)
    close(fast.get(), slow, 1e-5)
    again = cuda.to_device(start)
    cuda.gather(cuda.to_device(frames), on_device(c), *rest, again)
    assert again.get().tobytes() == fast.get().tobytes()


@pytest.mark.parametrize(("padded", "cropped"), [((36, 42), (36, 42)), ((36, 42), (24, 28)), ((30, 640), (18, 600))])
def test_weighted_and_smooth_spectra(padded, cropped):
    rng = np.random.default_rng(7)
    spectrum = np.fft.rfft2(rng.normal(size=padded)).astype(np.complex64)
    samples = rng.normal(size=33).astype(np.float32)
    grid = (rng.normal(size=(9, 5)) + 1j * rng.normal(size=(9, 5))).astype(np.complex64)
    steps = 32 / np.sqrt(0.5) / np.array(padded)
    start = rng.normal(size=(cropped[0], cropped[1] // 2 + 1)).astype(np.complex64)
    slow, fast = start.copy(), cuda.to_device(start)
    reference.add_weighted_spectrum(slow, spectrum, samples, steps)
    reference.multiply_interpolated(slow, grid)
    cuda.add_weighted_spectrum(fast, cuda.to_device(spectrum), samples, steps)
    cuda.multiply_interpolated(fast, grid)
    assert np.abs(fast.get() - slow).max() < 1e-4 * np.abs(slow).max()


def test_spectra_too_large_for_16_bits():
    frames = cuda.to_device(np.tile(100 * np.cos(2 * np.pi * np.arange(8) / 8), (1, 8, 1)).astype(np.int8))
    re, im = cuda.empty_spectra((1, 1, 3, 2)), cuda.empty_spectra((1, 1, 3, 2))
    cuda.tile_spectra(frames, np.zeros((1, 1, 2)), np.ones(8), np.full((1, 3, 3), 1e3), re, im)
    assert re.get()[0, 0, 1, 1] == 65504


@pytest.mark.parametrize("degree", [0, 1, 4, 15, 17])
def test_lattice(degree):
    from restframe.track.field import MotionField, modes_up_to

    rng = np.random.default_rng(degree)
    modes = modes_up_to(degree, degree, degree)
    field = MotionField(modes, rng.normal(0, 9, (len(modes), 7, 2)), (310, 477))
    x, y = rng.uniform(0, 477, (9, 41)), rng.uniform(0, 310, (9, 41))
    moved = rng.normal(size=(9, 41, 2))
    fast, slow = cuda.displacement_grid(field, x, y, moved), reference.displacement_grid(field, x, y, moved)
    assert fast.dtype == np.float32
    close(fast.get(), slow, 1e-6)


def test_lattice_of_motion_that_is_no_polynomial():
    truth = make_truth(replace(PRESETS["bubble"], shape=(37, 300, 400)))
    x, y = np.meshgrid(np.arange(0, 400, 16), np.arange(0, 300, 16))
    moved = np.random.default_rng(2).normal(size=(*x.shape, 2))
    slow = np.stack([truth(x, y, t) for t in range(37)]) + moved
    close(cuda.displacement_grid(truth, x, y, moved).get(), slow, 1e-6)


@pytest.mark.parametrize(("t", "n", "bins"), [(3, 17, 32), (2, 40_001, 32), (1, 1000, 5)])
def test_offset_counts(t, n, bins):
    positions = np.random.default_rng(n).normal(0, 8, (t, n, 2)).astype(np.float32)
    positions[0, :3] = [[-1e-9, 2], [0.999999, -3], [5, -1e-9]]
    fast, slow = cuda.subpixel_histogram(cuda.to_device(positions), bins), reference.subpixel_histogram(positions, bins)
    assert fast.dtype == np.float64 and abs(fast.sum() - t) < 1e-4
    np.testing.assert_allclose(fast, slow, atol=1e-5 * slow.max())


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 512, 720)])
def test_peaks(shape):
    rng = np.random.default_rng(6)
    surfaces = rng.normal(3, 2, shape).astype(np.float32)
    surfaces[0, 3:, 2] = 50  # several equal ones: the first counts
    for fast, slow in zip(
        cuda.correlation_peaks(cuda.to_device(surfaces)), reference.correlation_peaks(surfaces), strict=True
    ):
        np.testing.assert_allclose(fast, slow, rtol=1e-4)


@pytest.mark.parametrize("size", [4, 15, 31])
@pytest.mark.parametrize("shape", [(70, 91), (9, 300), (130, 5)])
def test_local_mean_and_crowds(size, shape):
    rng = np.random.default_rng(size)
    image = rng.normal(40, 5, shape).astype(np.float32)
    bad = rng.random(shape) < 0.1
    bad[:, : shape[1] // 2] = True
    found = cuda.local_mean(cuda.to_device(image), cuda.to_device(bad), size, 7.0).get()
    np.testing.assert_allclose(found, reference.local_mean(image, bad, size, 7.0), rtol=1e-4)
    sparse = rng.random(shape) < 0.05
    np.testing.assert_array_equal(
        cuda.defect_cluster_mask(cuda.to_device(sparse)).get(), reference.defect_cluster_mask(sparse)
    )


def test_defects_are_those_of_the_cpu():
    from restframe.detector.defects import find_defects

    rng = np.random.default_rng(4)
    total = rng.poisson(40, (200, 311)).astype(np.float32)
    total[rng.integers(0, 200, 30), rng.integers(0, 311, 30)] = 900
    total[50:53, 60:63] = 95
    total[0, :40] = 0
    known = rng.random(total.shape) < 1e-3
    slow = find_defects(reference, total, known)
    assert 30 < slow.sum() < 2000
    np.testing.assert_array_equal(find_defects(cuda, cuda.to_device(total), cuda.to_device(known)).get(), slow)


@pytest.mark.parametrize(("n", "quick"), [(5, 0), (39, 12), (50, 50), (72, 3), (73, 0), (210, 20)])
def test_evidence_of_courses(n, quick):
    courses = random_courses(np.random.default_rng(n), n, quick)
    found = cuda.log_evidence(*cuda.trajectories_to_device(*courses[:2]), courses[2], 1e-3)
    for fast, slow in zip(found, reference.log_evidence(*courses, 1e-3), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-8, atol=1e-8 * np.abs(slow).max())
    with pytest.raises(np.linalg.LinAlgError):
        cuda.log_evidence(*cuda.trajectories_to_device(courses[0] - 1e4 * np.eye(n), courses[1]), courses[2], -1.0)


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 17, 40), (5, 300, 103)])
def test_what_went_with_the_pattern(shape):
    arguments = random_lost(np.random.default_rng(2), *shape)
    value, slopes = cuda.pattern_bias(*arguments)
    exact = reference.pattern_bias(*arguments)
    assert value == pytest.approx(exact[0], rel=1e-5)
    close(slopes, exact[1])
    alone, none = cuda.pattern_bias(*arguments, slopes=False)
    assert alone == value
    assert none.shape == slopes.shape
    assert not none.any()


@pytest.mark.parametrize("t", [1, 6])
def test_take_off(t):
    rng = np.random.default_rng(t)
    re, im = rng.normal(size=(2, 3, t, 15, 8)).astype(np.float32)
    turns = np.exp(1j * rng.uniform(0, 7, (t, 15, 8))).astype(np.complex64)
    stored = [cuda.empty_spectra(re.shape) for _ in range(2)]
    for a, b in zip(stored, (re, im), strict=True):
        a[...] = cuda.to_device(b)
    cuda.subtract_fixed_pattern(*stored, cuda.to_device(turns), np.float32(0.1))
    reference.subtract_fixed_pattern(re, im, turns, np.float32(0.1))
    for a, b in zip(stored, (re, im), strict=True):
        np.testing.assert_allclose(a.get(), b, atol=6e-3)
