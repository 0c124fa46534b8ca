"""The fast kernels against the readable ones, on odd shapes and random data."""

import numpy as np
import pytest
from calibrations import close, random_calibration
from random_courses import random_courses
from random_lost import random_lost

from restframe.detector.calibration import Calibration, compressed_rows
from restframe.kernels.cpu import Cpu
from restframe.kernels.cpu.spectra import STEP
from restframe.kernels.reference import Reference, decimate
from restframe.restore import kernel

cpu = Cpu(2)
reference = Reference()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("dark", [False, True])
def test_corrected_frames_and_sums(dtype, dark):
    rng = np.random.default_rng(1)
    frames = rng.poisson(2, (3, 37, 51)).astype(dtype)
    c = random_calibration(rng, *frames.shape, dark)
    start = rng.integers(0, 9, frames.shape[1:])
    kind = np.float64 if dtype == np.float32 else np.int64 if dtype == np.int16 else np.uint32
    totals = start.astype(kind), start.astype(kind)
    sums = [k.add_frames(frames, c.gain, c.dark, total) for k, total in zip((cpu, reference), totals, strict=True)]
    for total in totals:
        np.testing.assert_array_equal(total, start + frames.astype(np.int64).sum(0))
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-5)
    np.testing.assert_allclose(sums[0], ((frames.astype(float) - c.dark) * c.gain).sum((1, 2)), rtol=1e-5)
    for i in range(3):
        close(cpu.corrected_frame(frames, c, i), reference.corrected_frame(frames, c, i), 1e-6)


def test_corrected_by_hand():
    frames = np.array([[[1, 2, 90], [0, 1, 3]]], np.uint8)
    bad = np.array([[False, True, False], [False, False, False]])
    local = np.full((2, 3), 0.5, np.float32)
    c = Calibration(
        np.full((2, 3), 2, np.float32),
        np.zeros((1, 1), np.float32),
        np.array([4], np.float32),
        np.array([50], np.float32),
        *compressed_rows(*bad.nonzero(), local[bad], 2), local, np.full((2, 2), 0.5, np.float32),
    )  # fmt: skip
    assert reference.corrected_frame(frames, c, 0).tolist() == [[-2, 2, 0], [-4, -2, 2]]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(41, 53), (64, 48), (12, 7)])
def test_decimate(factor, shape):
    rng = np.random.default_rng(factor)
    frame = rng.normal(size=shape).astype(np.float32)
    taps = rng.normal(size=4 * factor + factor % 2).astype(np.float32) if factor > 1 else np.ones(1, np.float32)
    out = decimate(frame, taps, factor)
    # one pixel by hand: symmetric about the middle of its factor x factor block
    j, i = shape[0] // factor // 2, shape[1] // factor // 2
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    exact = 0.0
    for a, ta in enumerate(taps):
        for b, tb in enumerate(taps):
            y, x = j * factor + first + a, i * factor + first + b
            if 0 <= y < shape[0] and 0 <= x < shape[1]:
                exact += float(ta) * float(tb) * float(frame[y, x])
    assert out[j, i] == pytest.approx(exact, rel=1e-4, abs=1e-5)


def in_band(spectra):
    """Without what lies beyond the last ring, (p, 2m+1, m+1)."""
    m = spectra.shape[-1] - 1
    return spectra * (np.round(np.hypot(np.arange(-m, m + 1)[:, None], np.arange(m + 1))) <= m)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 30.0])
def test_phases_far_from_zero(spread):
    """The longest rows, and so little left that 32 bits hold none of it."""
    rng = np.random.default_rng(3)
    p, t, m = 1, 2, 128
    re, im = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    steps, spread = rng.uniform(-3, 3, (p, t, 2)).astype(np.float32), np.full((p, t), spread, np.float32)
    for a, b in zip(
        cpu.align_spectra(re, im, steps, spread), reference.align_spectra(re, im, steps, spread), strict=True
    ):
        close(a, in_band(b))


def test_align_and_gradient():
    rng = np.random.default_rng(3)
    p, t, m = 3, 5, 7
    re, im = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    steps = rng.normal(0, 0.3, (p, t, 2)).astype(np.float32), rng.uniform(0, 0.1, (p, t)).astype(np.float32)
    fast, slow = cpu.align_spectra(re, im, *steps), reference.align_spectra(re, im, *steps)
    for a, b in zip(fast, slow, strict=True):
        close(a, in_band(b))
    filt = rng.random((p, 2 * m + 1, m + 1)).astype(np.float32)
    weighted = filt * fast[0], filt * fast[1]
    close(cpu.shift_gradient(re, im, *steps, *weighted), reference.shift_gradient(re, im, *steps, *weighted))


@pytest.mark.parametrize(("size", "cells"), [(8, 4), (10, 5), (10, 1)])
def test_cut_spectra(size, cells):
    rng = np.random.default_rng(8)
    frame = rng.normal(size=(23, 31)).astype(np.float32)
    taper = rng.random(size).astype(np.float32)
    lattice = rng.random((6, cells + 1, cells + 1)).astype(np.float32)
    corners = np.array([(-3, 4), (5, 9), (15, 28), (23, -size), (40, 2), (2, -4)])
    band = 3
    parts = np.full((2, 2, len(corners), 1, 2 * band + 1, band + 1), np.nan, np.float32)
    for kernels, (re, im) in zip((cpu, reference), parts, strict=True):
        kernels.tile_spectra(frame[None], corners[None], taper, lattice, re, im)
    close(parts[0], parts[1], 1e-6)
    # one coefficient by its definition
    whole = np.exp(-2j * np.pi * (-2 * np.arange(size)[:, None] + 3 * np.arange(size)) / size)
    piece = frame[5 : 5 + size, 9 : 9 + size]
    at = (np.arange(size) + 0.5) / size * cells
    across = np.stack([np.interp(at, np.arange(cells + 1), row) for row in lattice[1]])
    window = np.stack([np.interp(at, np.arange(cells + 1), column) for column in across.T], 1) * np.outer(taper, taper)
    exact = np.sum(whole * window * (piece - np.average(piece, weights=window)))
    assert parts[1, :, 1, 0, band - 2, 3] == pytest.approx([exact.real, exact.imag], rel=1e-4)


def test_spectra_in_16_bits():
    """What is stored is right to half a step, and what is made of it is what the readable kernels make of it."""
    rng = np.random.default_rng(11)
    size, band, t = 16, 6, 3
    frames = rng.normal(size=(t, 40, 50)).astype(np.float32)
    taper = (rng.random(size) / size**0.5).astype(np.float32)
    lattice = rng.random((20, 5, 5)).astype(np.float32)
    corners = rng.integers(-5, 40, (20, 2))
    table = rng.uniform(0.2, 1, (t, 2 * band + 1, band + 1)).astype(np.float32)
    shape = (len(corners), t, 2 * band + 1, band + 1)
    stored, exact = [cpu.empty_spectra(shape) for _ in "12"], np.empty((2, *shape), np.float32)
    for kernels, (re, im) in ((cpu, stored), (reference, exact)):
        kernels.tile_spectra(frames, np.tile(corners, (t, 1, 1)), taper, lattice, re, im)
        kernels.scale_spectra(re, im, table)
    step = float(STEP)
    for a, b in zip(stored, exact, strict=True):
        assert a.dtype == np.int16
        np.testing.assert_allclose(a * step, b, atol=1.01 * step)
    same = [a * STEP for a in stored]
    steps = rng.normal(0, 0.3, (len(corners), t, 2)), rng.uniform(0, 0.1, (len(corners), t))
    steps = tuple(s.astype(np.float32) for s in steps)
    fast, slow = cpu.align_spectra(*stored, *steps), reference.align_spectra(*same, *steps)
    for a, b in zip(fast, slow, strict=True):
        close(a, in_band(b))
    close(cpu.shift_gradient(*stored, *steps, *fast[:2]), reference.shift_gradient(*same, *steps, *fast[:2]))


def test_spectra_do_not_overflow():
    loud = np.tile(1e4 * np.cos(2 * np.pi * np.arange(8) / 8), (8, 1)).astype(np.float32)
    re, im = (cpu.empty_spectra((1, 1, 5, 3)) for _ in "12")
    flat = np.ones(8, np.float32), np.ones((1, 2, 2), np.float32)
    cpu.tile_spectra(loud[None], np.zeros((1, 1, 2), int), *flat, re, im)
    assert re[0, 0, 2, 1] == 32767


def test_sums_over_rings():
    rng = np.random.default_rng(9)
    p, m = 3, 6
    re, im = rng.normal(size=(2, p, 2 * m + 1, m + 1)).astype(np.float32)
    ring = rng.integers(-1, m + 1, re.shape[1:])
    weight, w = rng.random(re.shape[1:]), rng.random((p, m + 1))
    fast, slow = cpu.ring_sums(re, ring, weight), reference.ring_sums(re, ring, weight)
    assert np.allclose(fast, slow, rtol=1e-12)
    assert slow[1, 2] == pytest.approx(np.sum((re[1] * weight)[ring == 2]))
    for a, b in zip(
        cpu.filter_spectra(re, im, w, ring, weight), reference.filter_spectra(re, im, w, ring, weight), strict=True
    ):
        assert np.array_equal(a, b)
        assert not b[:, ring < 0].any()


def test_gradient_is_the_derivative():
    """d/du of sum_k W |R|², by central differences in float64 through the reference."""
    rng = np.random.default_rng(4)
    p, t, m = 2, 4, 5
    re, im = rng.normal(size=(2, p, t, 2 * m + 1, m + 1))
    steps, spread = rng.normal(0, 0.3, (p, t, 2)), rng.uniform(0, 0.1, (p, t))
    filt = rng.random((p, 2 * m + 1, m + 1))

    def value(s):
        m_ = np.arange(-m, m + 1)[:, None], np.arange(m + 1)[None]
        phase = np.exp(1j * (s[:, :, 1, None, None] * m_[0] + s[:, :, 0, None, None] * m_[1]))
        phase *= np.exp(-spread[:, :, None, None] / 2 * (m_[0] ** 2 + m_[1] ** 2))
        return float(np.sum(filt * np.abs(np.sum((re + 1j * im) * phase, axis=1)) ** 2))

    total = reference.align_spectra(re, im, steps, spread)
    g = 2 * reference.shift_gradient(re, im, steps, spread, filt * total[0], filt * total[1])
    for index in [(0, 0, 0), (1, 2, 1), (0, 3, 1)]:
        e = np.zeros_like(steps)
        e[index] = 1e-4
        assert g[index] == pytest.approx((value(steps + e) - value(steps - e)) / 2e-4, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("shape", "size"), [((45, 61), (70, 96)), ((64, 40), (96, 72))])
def test_gather(dtype, shape, size):
    rng = np.random.default_rng(5)
    t = 7
    frames = rng.poisson(2, (t, *shape)).astype(dtype)
    c = random_calibration(rng, t, *shape, False)
    spacing, origin = 8, -10
    lattice = rng.normal(0, 3, (t, 1, 1, 2)) + rng.normal(
        0, 0.4, (t, size[0] // spacing + 2, size[1] // spacing + 2, 2)
    )
    lattice = lattice.astype(np.float32)
    coefficients = rng.normal(size=(2, t)).astype(np.float32)
    start = rng.normal(size=(2, *size)).astype(np.float32)
    fast, slow = start.copy(), start.copy()
    for kernels, out in ((cpu, fast), (reference, slow)):
        kernels.gather(frames, c, lattice, spacing, origin, kernel.table(), coefficients, out)
    close(fast - start, slow - start, 3e-6)


def small_gather(frames, calibration, lattice, parts):
    """The sum of frames, gathered in parts."""
    out = np.zeros((2, 86, 66), np.float32)
    coefficients = np.random.default_rng(8).normal(size=(2, len(frames)))
    for p in parts:
        where = lattice[p], 8, -8, kernel.table(), coefficients[:, p]
        cpu.gather(frames[p], calibration.of_frames(p), *where, out)
    return out.tobytes()


def test_gather_does_not_depend_on_threads_or_blocks():
    import numba

    rng = np.random.default_rng(6)
    frames = rng.poisson(2, (5, 70, 50)).astype(np.uint8)
    c = random_calibration(rng, 5, 70, 50, False)
    lattice = rng.normal(0, 2, (5, 14, 12, 2)).astype(np.float32)
    before = numba.get_num_threads()
    results = []
    for n in {1, numba.config.NUMBA_NUM_THREADS}:
        numba.set_num_threads(n)
        for size in (1, 2, 5):
            parts = [slice(i, min(i + size, 5)) for i in range(0, 5, size)]
            results.append(small_gather(frames, c, lattice, parts))
    numba.set_num_threads(before)
    assert len(results) >= 3 and len(set(results)) == 1


@pytest.mark.parametrize(("shape", "factor"), [((41, 53), 1), ((64, 50), 2), ((35, 47), 3), ((70, 66), 4)])
def test_small_frames(shape, factor):
    rng = np.random.default_rng(9)
    frames = rng.poisson(2, (6, *shape)).astype(np.uint8)
    c = random_calibration(rng, 6, *shape, False)
    taps = rng.random(6 * factor + factor % 2).astype(np.float32) if factor > 1 else np.ones(1, np.float32)
    outs = [np.zeros((6, shape[0] // factor, shape[1] // factor), np.int8) for _ in "12"]
    for kernels, out in zip((cpu, reference), outs, strict=True):
        kernels.make_binned_frames(frames, c, taps, factor, 12, out)
    fast, slow = (out.astype(int) for out in outs)
    assert np.abs(fast - slow).max() <= 1  # the last bit may round either way
    assert (fast != slow).mean() < 0.01
    exact = decimate(reference.corrected_frame(frames, c, 1), taps, factor)
    np.testing.assert_allclose(slow[1], np.clip(12 * exact / exact.std(), -127, 127), atol=0.51)


@pytest.mark.parametrize(("shape", "size"), [((41, 53), 15), ((150, 31), 31), ((9, 7), 15), ((70, 33), 5)])
def test_local_means_and_crowds(shape, size):
    rng = np.random.default_rng(10)
    image = rng.normal(5, 1, shape).astype(np.float32)
    bad = rng.random(shape) < 0.05
    bad[: min(size, 8), :9] = True
    image[bad] = np.nan
    fast, slow = (k.local_mean(image, bad, size, 7.0) for k in (cpu, reference))
    np.testing.assert_allclose(fast, slow, rtol=1e-6)
    assert fast.dtype == np.float32 and (size > 5 or (fast == 7).any())
    assert cpu.mean_of_good_pixels(image, bad) == pytest.approx(reference.mean_of_good_pixels(image, bad), rel=1e-9)
    assert cpu.mean_of_good_pixels(image, bad | True) == reference.mean_of_good_pixels(image, bad | True) == 0
    assert reference.defect_cluster_mask(bad).any()
    np.testing.assert_array_equal(cpu.defect_cluster_mask(bad), reference.defect_cluster_mask(bad))


@pytest.mark.parametrize(("padded", "cropped"), [((36, 42), (36, 42)), ((36, 42), (24, 28)), ((30, 40), (18, 24))])
def test_weighted_and_smooth_spectra(padded, cropped):
    rng = np.random.default_rng(7)
    spectrum = np.fft.rfft2(rng.normal(size=padded)).astype(np.complex64)
    samples = rng.normal(size=33).astype(np.float32)
    grid = (rng.normal(size=(9, 5)) + 1j * rng.normal(size=(9, 5))).astype(np.complex64)
    steps = 32 / np.sqrt(0.5) / np.array(padded)
    start = rng.normal(size=(cropped[0], cropped[1] // 2 + 1)).astype(np.complex64)
    totals = start.copy(), start.copy()
    for kernels, total in zip((cpu, reference), totals, strict=True):
        kernels.add_weighted_spectrum(total, spectrum, samples, steps)
        kernels.multiply_interpolated(total, grid)
    assert np.abs(totals[0] - totals[1]).max() < 1e-4 * np.abs(totals[1]).max()


def test_compiled_loops_are_looked_for(tmp_path, monkeypatch):
    from restframe.kernels.cpu.gathering import _gather

    cpu.gather(*_little_gather())
    assert cpu.is_compiled()
    monkeypatch.setattr(type(_gather._cache), "cache_path", property(lambda self: str(tmp_path)))
    assert not cpu.is_compiled()


def _little_gather():
    c = random_calibration(np.random.default_rng(12), 1, 20, 20, False)
    lattice, ones = np.zeros((1, 4, 4, 2), np.float32), np.ones((1, 1), np.float32)
    out = np.zeros((1, 20, 20), np.float32)
    return np.ones((1, 20, 20), np.uint8), c, lattice, 16, 0, kernel.table(), ones, out


def test_what_stands_still_is_taken_off():
    rng = np.random.default_rng(14)
    p, t, m = 3, 6, 7
    re, im = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    turns = np.exp(1j * rng.uniform(0, 6, (t, 2 * m + 1, m + 1))).astype(np.complex64)
    exact = re + 1j * im
    exact = exact - 0.1 * turns.conj() * (exact * turns).sum(1, keepdims=True)
    stored = [np.rint(a * 256).astype(np.int16) for a in (re, im)]
    for kernels in (reference, cpu):
        a, b = re.copy(), im.copy()
        kernels.subtract_fixed_pattern(a, b, turns, np.float32(0.1))
        close(a, exact.real)
        close(b, exact.imag)
    cpu.subtract_fixed_pattern(*stored, turns, np.float32(0.1))
    for a, b in zip(stored, (exact.real, exact.imag), strict=True):
        np.testing.assert_allclose(a / 256, b, atol=1.5 / 256)


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 17, 40)])
def test_what_went_with_the_pattern(shape):
    arguments = random_lost(np.random.default_rng(2), *shape)
    value, slopes = cpu.pattern_bias(*arguments)
    exact = reference.pattern_bias(*arguments)
    assert value == pytest.approx(exact[0], rel=1e-5)
    close(slopes, exact[1])
    alone, none = cpu.pattern_bias(*arguments, slopes=False)
    assert alone == value
    assert none.shape == slopes.shape
    assert not none.any()


@pytest.mark.parametrize(("t", "n", "bins"), [(1, 7, 4), (5, 1000, 32)])
def test_offset_counts(t, n, bins):
    positions = np.random.default_rng(n).normal(0, 8, (t, n, 2)).astype(np.float32)
    positions[0, :3] = [[-1e-9, 2], [0.999999, -3], [5, -1e-9]]
    fast = cpu.subpixel_histogram(positions, bins)
    np.testing.assert_allclose(fast, reference.subpixel_histogram(positions, bins), atol=1e-12)
    assert fast.sum() == pytest.approx(t)


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 51, 72)])
def test_peaks(shape):
    surfaces = np.random.default_rng(6).normal(3, 2, shape).astype(np.float32)
    surfaces[0, 3:, 2] = 50  # several equal ones: the first counts
    for fast, slow in zip(cpu.correlation_peaks(surfaces), reference.correlation_peaks(surfaces), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 51, 73)])
def test_corners(shape):
    stack = np.random.default_rng(8).integers(-127, 128, shape, dtype=np.int8)
    np.testing.assert_allclose(cpu.nyquist_power(stack), reference.nyquist_power(stack), rtol=1e-6)


@pytest.mark.parametrize(("shape", "columns"), [((300, 26), 9), ((2, 129, 31), 16), ((5, 8), 1)])
def test_some_columns_of_spectra(shape, columns):
    images = np.random.default_rng(9).integers(-127, 128, shape, dtype=np.int8)
    fast = cpu.rfft2(images, columns)
    assert fast.dtype == np.complex64
    exact = reference.rfft2(images, columns)
    close(fast.real, exact.real)
    close(fast.imag, exact.imag)


@pytest.mark.parametrize("size", [(30, 26), (3, 12, 31)])
def test_images_of_spectra(size):
    spectra = np.fft.rfft2(np.random.default_rng(9).normal(size=size)).astype(np.complex64)
    exact = reference.irfft2(spectra, size[-2:])
    close(cpu.irfft2(spectra.copy(), size[-2:]), exact)


@pytest.mark.parametrize(("n", "quick"), [(5, 0), (39, 12), (50, 50)])
def test_evidence_of_courses(n, quick):
    courses = random_courses(np.random.default_rng(n), n, quick)
    for fast, slow in zip(cpu.log_evidence(*courses, 1e-3), reference.log_evidence(*courses, 1e-3), strict=True):
        np.testing.assert_allclose(fast, slow, rtol=1e-8, atol=1e-8 * np.abs(slow).max())
    with pytest.raises(np.linalg.LinAlgError):
        cpu.log_evidence(courses[0] - 1e4 * np.eye(n), *courses[1:], -1.0)
