"""What only the kernels for the CPU do: spectra in 16-bit integers, threads, loops that are compiled ahead."""

import subprocess
import sys

import numpy as np
import pytest
from random_data import close, in_band, random_calibration

from restframe import compile_ahead
from restframe.kernels.cpu import Cpu
from restframe.kernels.cpu.storage import STORAGE_STEP
from restframe.kernels.cpu.threads import active_threads, divide
from restframe.kernels.interface import Resampling
from restframe.restore import kernel

cpu = Cpu(2)


@pytest.mark.parametrize("variance", [1e-3, 0.1, 30.0])
def test_phases_far_from_zero(reference, variance):
    """The longest rows, and amplitudes that 32 bits cannot hold."""
    rng = np.random.default_rng(3)
    p, t, m = 1, 2, 128
    real, imaginary = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    phases = rng.uniform(-3, 3, (p, t, 2)).astype(np.float32), np.full((p, t), variance, np.float32)
    fast, slow = cpu.align_spectra(real, imaginary, *phases), reference.align_spectra(real, imaginary, *phases)
    for total, expected in zip(fast, slow, strict=True):
        close(total, in_band(expected))


@pytest.mark.parametrize(("size", "cells"), [(8, 4), (10, 5), (10, 1)])
def test_tile_spectra_of_real_numbers(reference, size, cells):
    rng = np.random.default_rng(8)
    frame = rng.normal(size=(23, 31)).astype(np.float32)
    taper = rng.random(size).astype(np.float32)
    weights = rng.random((6, cells + 1, cells + 1)).astype(np.float32)
    origins = np.array([(-3, 4), (5, 9), (15, 28), (23, -size), (40, 2), (2, -4)])
    band = 3
    parts = np.full((2, 2, len(origins), 1, 2 * band + 1, band + 1), np.nan, np.float32)
    for kernels, (real, imaginary) in zip((cpu, reference), parts, strict=True):
        kernels.tile_spectra(frame[None], origins[None], taper, weights, real, imaginary)
    close(parts[0], parts[1], 1e-6)
    # one coefficient by its definition
    wave = np.exp(-2j * np.pi * (-2 * np.arange(size)[:, None] + 3 * np.arange(size)) / size)
    tile = frame[5 : 5 + size, 9 : 9 + size]
    position = (np.arange(size) + 0.5) / size * cells
    across = np.stack([np.interp(position, np.arange(cells + 1), row) for row in weights[1]])
    window = np.stack([np.interp(position, np.arange(cells + 1), column) for column in across.T], 1)
    window = window * np.outer(taper, taper)
    exact = np.sum(wave * window * (tile - np.average(tile, weights=window)))
    assert parts[1, :, 1, 0, band - 2, 3] == pytest.approx([exact.real, exact.imag], rel=1e-4)


def test_spectra_in_16_bits(reference):
    """What is stored is right to half a step, and sums of it are those of the readable kernels."""
    rng = np.random.default_rng(11)
    size, band, t = 16, 6, 3
    frames = rng.normal(size=(t, 40, 50)).astype(np.float32)
    taper = (rng.random(size) / size**0.5).astype(np.float32)
    weights = rng.random((20, 5, 5)).astype(np.float32)
    origins = rng.integers(-5, 40, (20, 2))
    scale = rng.uniform(0.2, 1, (t, 2 * band + 1, band + 1)).astype(np.float32)
    shape = (len(origins), t, 2 * band + 1, band + 1)
    stored, exact = [cpu.empty_spectra(shape) for _ in "12"], np.empty((2, *shape), np.float32)
    for kernels, (real, imaginary) in ((cpu, stored), (reference, exact)):
        kernels.tile_spectra(frames, np.tile(origins, (t, 1, 1)), taper, weights, real, imaginary)
        kernels.scale_spectra(real, imaginary, scale)
    step = float(STORAGE_STEP)
    for part, expected in zip(stored, exact, strict=True):
        assert part.dtype == np.int16
        np.testing.assert_allclose(part * step, expected, atol=1.01 * step)
    same = [part * STORAGE_STEP for part in stored]
    phases = rng.normal(0, 0.3, (len(origins), t, 2)), rng.uniform(0, 0.1, (len(origins), t))
    phases = tuple(part.astype(np.float32) for part in phases)
    fast, slow = cpu.align_spectra(*stored, *phases), reference.align_spectra(*same, *phases)
    for total, expected in zip(fast, slow, strict=True):
        close(total, in_band(expected))
    gradient = reference.shift_gradient(*same, *phases, *fast[:2])
    close(cpu.shift_gradient(*stored, *phases, *fast[:2]), gradient)


def test_spectra_do_not_overflow():
    loud = np.tile(1e4 * np.cos(2 * np.pi * np.arange(8) / 8), (8, 1)).astype(np.float32)
    real, imaginary = (cpu.empty_spectra((1, 1, 5, 3)) for _ in "12")
    flat = np.ones(8, np.float32), np.ones((1, 2, 2), np.float32)
    cpu.tile_spectra(loud[None], np.zeros((1, 1, 2), int), *flat, real, imaginary)
    assert real[0, 0, 2, 1] == 32767


def test_a_pattern_is_subtracted_from_16_bits():
    rng = np.random.default_rng(14)
    p, t, m = 3, 6, 7
    real, imaginary = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    factors = np.exp(1j * rng.uniform(0, 6, (t, 2 * m + 1, m + 1))).astype(np.complex64)
    exact = real + 1j * imaginary
    exact = exact - 0.1 * factors.conj() * (exact * factors).sum(1, keepdims=True)
    stored = [np.rint(part * 256).astype(np.int16) for part in (real, imaginary)]
    cpu.subtract_fixed_pattern(*stored, factors, np.float32(0.1))
    for part, expected in zip(stored, (exact.real, exact.imag), strict=True):
        np.testing.assert_allclose(part / 256, expected, atol=1.5 / 256)


def gathered(frames, calibration, grid, blocks):
    """The bytes of the sum of frames, gathered in blocks."""
    images = np.zeros((2, 86, 66), np.float32)
    coefficients = np.random.default_rng(8).normal(size=(2, len(frames)))
    for block in blocks:
        resampling = Resampling(grid[block], 8, -8, kernel.table())
        cpu.gather(frames[block], calibration.of_frames(block), resampling, coefficients[:, block], images)
    return images.tobytes()


def test_gather_does_not_depend_on_threads_or_blocks():
    rng = np.random.default_rng(6)
    frames = rng.poisson(2, (5, 70, 50)).astype(np.uint8)
    calibration = random_calibration(rng, 5, 70, 50, False)
    grid = rng.normal(0, 2, (5, 14, 12, 2)).astype(np.float32)
    results = []
    for threads in (1, 3):
        with Cpu(threads).active():
            assert active_threads() == threads
            for size in (1, 2, 5):
                blocks = [slice(first, min(first + size, 5)) for first in range(0, 5, size)]
                results.append(gathered(frames, calibration, grid, blocks))
    assert len(results) >= 3 and len(set(results)) == 1


def test_the_number_of_threads_is_put_back():
    before = active_threads()
    with pytest.raises(KeyError), Cpu(1).active():
        raise KeyError
    assert active_threads() == before


def test_ranges_are_complete_and_errors_are_raised():
    done = np.zeros(1000, int)

    def loop(first, end, step):
        done[first:end] += step

    def fail(first, end):
        if first > 500:
            raise ValueError("in a thread")

    with Cpu(4).active():
        for length in (0, 1, 3, 999):
            done[:] = 0
            divide(loop, length, 2)
            assert (done[:length] == 2).all() and not done[length:].any()
        with pytest.raises(ValueError, match="in a thread"):
            divide(fail, 1000)


def test_the_first_run_starts_helpers_once(monkeypatch):
    started = []
    monkeypatch.setattr(compile_ahead, "start_helpers_once", started.append)
    monkeypatch.setattr(compile_ahead, "missing_loops", lambda: [("loop", "types")] * 30)
    monkeypatch.setattr(compile_ahead, "available_cores", lambda: 64)
    first = Cpu(3)
    assert not first.is_compiled() and not first.is_compiled()
    assert started == [3]
    monkeypatch.setattr(compile_ahead, "missing_loops", lambda: [])
    assert Cpu(3).is_compiled() and started == [3]


MOVIES_OF_ALL_TYPES = """
import numpy as np, restframe
from restframe.compile_ahead import loops

random = np.random.default_rng(0)
frames = random.poisson(3, (4, 192, 160))
gain = random.normal(1, 0.2, frames.shape[1:]).astype(np.float32)
for name in ("uint8", "int8", "uint16", "int16", "float32", "float64"):
    restframe.correct(frames.astype(name), gain=gain, pixel_size=1.0, frame_dose=1.0, patches=(2, 2))
for loop in {id(loop): loop for loop, _ in loops()}.values():
    declared = {loop._cache.argument_types(signature) for signature in loop._cache.signatures}
    print(loop.__name__, len(loop.overloads), *(set(loop.overloads) - declared))
"""


def test_movies_of_all_types_need_no_loops_but_those_that_are_compiled_ahead():
    ended = subprocess.run(
        [sys.executable, "-c", MOVIES_OF_ALL_TYPES], capture_output=True, text=True, timeout=300, check=True
    )
    lines = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    assert lines["_gather"] == lines["_add_frames"] == lines["_decimated"] == "1"
    assert set(lines.values()) <= {"0", "1"}, ended.stdout
