"""Whole movies on a GPU with little memory: the same bytes, or the CPU is used."""

import numpy as np
import pytest
from with_gpu import require_gpu

import restframe

cupy = require_gpu()

CHOICES = {"patches": (3, 3), "pixel_size": 1.0, "frame_dose": 1.2}


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(1)
    image = 1 + 0.3 * rng.normal(size=(75, 90)).repeat(8, 0).repeat(8, 1)
    frames = [np.roll(image, (t // 2, -t // 3), (0, 1)) for t in range(12)]
    return rng.poisson(np.maximum(frames, 0.1)).astype(np.uint8)


def corrected(movie, said=None, **choices):
    return restframe.correct(movie, gpus=(0,), report=said and said.append, **CHOICES, **choices)


@pytest.fixture
def limit():
    pool = cupy.get_default_memory_pool()

    def to(size):
        pool.free_all_blocks()
        cupy.fft.config.get_plan_cache().clear()
        pool.set_limit(size=pool.used_bytes() + size if size else 0)

    yield to
    to(0)


def test_streamed_frames_give_the_same_bytes(movie):
    whole, said = corrected(movie), [""]
    streamed = corrected(movie, said, gpu_memory=1e-9)
    assert any("1 at a time" in line and "gpu_memory" in line for line in said)
    for name in ("sum", "dose_weighted"):
        assert getattr(whole, name).tobytes() == getattr(streamed, name).tobytes()


@pytest.mark.parametrize("megabytes", [60, 30, 8])
def test_little_memory(movie, limit, megabytes):
    whole, said = corrected(movie), [""]
    limit(megabytes << 20)
    small = corrected(movie, said)
    if megabytes == 8:
        assert any("the CPU is used" in line for line in said)
    difference = small.dose_weighted - whole.dose_weighted
    assert np.sqrt(np.mean(difference**2)) <= 1e-3 * whole.dose_weighted.std()
    assert sum(line.count("Full-frame") for line in said) <= 1


def test_gpu_and_cpu_agree(movie):
    on_gpu, on_cpu = corrected(movie), restframe.correct(movie, **CHOICES)
    for name in ("sum", "dose_weighted"):
        a, b = getattr(on_gpu, name), getattr(on_cpu, name)
        assert np.sqrt(np.mean((a - b) ** 2)) <= 3e-4 * b.std()
        assert corrected(movie).sum.tobytes() == on_gpu.sum.tobytes()


@pytest.mark.parametrize("megabytes", [0, 8])
def test_a_gain_that_lies_on_the_gpu(movie, limit, megabytes):
    gain = np.random.default_rng(3).uniform(0.8, 1.2, movie.shape[1:]).astype(np.float32)
    gain[17, 40] = 0
    said = []
    with restframe.Session(gpus=(0,), gain=gain, **CHOICES) as session:
        references = session.prepare(movie).references
        assert isinstance(references.gain, cupy.ndarray)
        expected = corrected(movie, gain=gain)
        limit(megabytes << 20)
        found = session.correct(movie, report=said.append)
    assert any("the CPU is used" in line for line in said) == (megabytes > 0)
    difference = np.sqrt(np.mean((found.sum - expected.sum) ** 2))
    assert difference <= (1e-3 * expected.sum.std() if megabytes else 0)
