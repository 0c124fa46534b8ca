"""Simulated movies made on the GPU against those of the CPU. They need a GPU."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from with_gpu import require_gpu

from restframe.simulate import PRESETS, cuda, simulate

cupy = require_gpu()

KINDS = ["falcon", "k3super", "tilted", "noise"]  # the last has no specimen


def recipe(kind):
    return replace(PRESETS[kind], shape=(5, 400, 330), large=60.0 * (kind != "noise"), hot=9000.0, dead=9000.0)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_those_of_the_cpu(kind):
    slow, fast = simulate(recipe(kind)), simulate(recipe(kind), cupy)
    assert_allclose(fast.gain, slow.gain, rtol=1e-6)
    for t in (0, 3):
        assert_allclose(fast.electrons(t), slow.electrons(t), rtol=1e-5)
        on_camera = fast._camera_on_device.expected_counts(fast._electrons(t)).get()
        assert_allclose(on_camera, slow.camera.expected_counts(slow.electrons(t)), rtol=1e-5)
    assert_allclose(fast.still(), slow.still(), rtol=1e-5)
    assert_allclose(fast.still(0), slow.still(0), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_recipe_gives_the_same_bytes(kind):
    first, again = simulate(recipe(kind), cupy), simulate(recipe(kind), cupy)
    for t in (2, 0):
        assert_array_equal(first.electrons(t), again.electrons(t))
        assert_array_equal(first.frame(t), again.frame(t))
    assert_array_equal(first.still_counts(), again.still_counts())
    assert (first.frame(1) != first.frame(2)).mean() > 0.1


@pytest.mark.parametrize("mean", [0.0, 0.7, 48.0, 501.0])
def test_counts_are_those_of_poisson(mean):
    counts = cuda.draw_counts(cupy.full((900, 1000), mean, np.float32), (1, 2), np.uint16).astype(float)
    n, sd = counts.size, np.sqrt(mean)
    assert abs(counts.mean() - mean) <= 5 * sd / np.sqrt(n)
    assert abs(counts.var() - mean) <= 5 * np.sqrt((2 * mean**2 + mean) / n)
    third = ((counts - mean) ** 3).mean()
    assert abs(third - mean) <= 5 * np.sqrt((15 * mean**3 + 25 * mean**2 + mean) / n)


def test_counts_end_where_their_type_does():
    counts = cuda.draw_counts(cupy.full((3, 5), 1000.0, np.float32), (1,), np.uint8)
    assert counts.dtype == np.uint8 and (counts == 255).all()
