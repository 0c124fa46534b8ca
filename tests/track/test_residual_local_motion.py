"""Motion of tiles beyond the field, as it is stated."""

import numpy as np
import pytest

from restframe.kernels.cpu import Cpu
from restframe.track.prior import TIME_AXES
from restframe.track.residual_local_motion import residual_local_motion
from restframe.track.time_basis import make_time_basis

cpu = Cpu(2)

PIXEL = 2.0  # A


def random_tiles(generator, speed, roughness, tile_count=90, frame_count=15, strength=30.0, grouped=False):
    """Functions of time; information and slopes of tiles at a field that they follow but for motion of their own with
    those variances; and that motion (p, t, 2).
    """
    dose = np.cumsum(generator.uniform(0.5, 1.5, frame_count))
    basis = make_time_basis(dose, TIME_AXES[5], frame_count // 2, tuple(range(0, frame_count, 3 if grouped else 1)))
    root_information = (
        strength
        * generator.uniform(0.3, 2, (tile_count, 1))
        * generator.uniform(0.5, 1, (1, frame_count))
        / np.sqrt(frame_count)
    )
    information = (
        root_information.sum(1)[:, None, None] * root_information[:, :, None] * np.eye(frame_count)
        - root_information[:, :, None] * root_information[:, None]
    )
    standard_deviation = 1 / np.sqrt(1 / speed + basis.roughness / roughness)
    residual = np.einsum(
        "tn,pnc->ptc", basis.values * standard_deviation, generator.normal(size=(tile_count, basis.values.shape[1], 2))
    )
    eigenvalues, eigenvectors = np.linalg.eigh(information)
    noise = (eigenvectors * np.sqrt(np.maximum(eigenvalues, 0))[:, None]) @ generator.normal(
        size=(tile_count, frame_count, 2)
    )
    return basis, information, information @ residual + noise, residual


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("size", [0.02, 0.1])
def test_motion_of_tiles_is_stated_as_large_as_it_is(size, grouped):
    basis, information, gradient, residual = random_tiles(
        np.random.default_rng(1), size**2, size**2 / 30, grouped=grouped
    )
    true = np.sqrt(((residual - residual.mean(1, keepdims=True)) ** 2).sum(2).mean())
    assert residual_local_motion(cpu, basis, information, gradient, PIXEL).deviation == pytest.approx(true, rel=0.15)


def stated_deviation(pixel_size, basis, information, gradient, *_):
    return residual_local_motion(cpu, basis, information, gradient, pixel_size).deviation


def test_tiles_that_follow_the_field_have_little_residual_motion():
    stated = [
        stated_deviation(PIXEL, *random_tiles(np.random.default_rng(2), 1e-12, 1e-12, strength=strength))
        for strength in (10.0, 100.0)
    ]
    assert 0 < stated[1] < stated[0] < 0.1


def test_data_without_information_leave_the_prior():
    basis, information, gradient, _ = random_tiles(np.random.default_rng(3), 1e-2, 1e-3)
    half, whole = (
        stated_deviation(pixel_size, basis, 0 * information, 0 * gradient) for pixel_size in (PIXEL / 2, PIXEL)
    )
    assert half == pytest.approx(2 * whole, rel=1e-6) and whole > 0


def test_the_covariance_of_residual_motion_has_its_deviation():
    basis, information, gradient, _ = random_tiles(np.random.default_rng(4), 1e-2, 1e-3)
    motion = residual_local_motion(cpu, basis, information, gradient, PIXEL)
    frame_count = len(basis.values)
    centring = np.eye(frame_count) - 1 / frame_count
    variance = 2 * np.trace(centring @ motion.covariance @ centring) / frame_count
    assert np.sqrt(variance) == pytest.approx(motion.deviation, rel=1e-9)
