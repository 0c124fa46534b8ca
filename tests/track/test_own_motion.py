"""Tiles that do not follow the field, and what of that is stated."""

from types import SimpleNamespace

import numpy as np
import pytest

from restframe.kernels.cpu import Cpu
from restframe.track import fit as ft
from restframe.track.prior import AXES
from restframe.track.residual_local_motion import residual_local_motion

cpu = Cpu(2)

PIXEL = 2.0  # A


def random_tiles(rng, speed, roughness, p=90, t=15, strength=30.0, grouped=False):
    """A problem's times; information and slopes of tiles at a field that they follow but for motion of their own with
    those variances; and that motion (p, t, 2).
    """
    dose = np.cumsum(rng.uniform(0.5, 1.5, t))
    time = ft.time_basis(dose, AXES[5], t // 2, tuple(range(0, t, 3 if grouped else 1)))
    problem = SimpleNamespace(local_time=time)
    b = strength * rng.uniform(0.3, 2, (p, 1)) * rng.uniform(0.5, 1, (1, t)) / np.sqrt(t)
    information = b.sum(1)[:, None, None] * b[:, :, None] * np.eye(t) - b[:, :, None] * b[:, None]
    sd = 1 / np.sqrt(1 / speed + time.rough / roughness)
    own = np.einsum("tn,pnc->ptc", time.values * sd, rng.normal(size=(p, time.values.shape[1], 2)))
    w, v = np.linalg.eigh(information)
    noise = (v * np.sqrt(np.maximum(w, 0))[:, None]) @ rng.normal(size=(p, t, 2))
    return problem, information, information @ own + noise, own


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("size", [0.02, 0.1])
def test_motion_of_tiles_is_stated_as_large_as_it_is(size, grouped):
    problem, information, slopes, own = random_tiles(np.random.default_rng(1), size**2, size**2 / 30, grouped=grouped)
    true = np.sqrt(((own - own.mean(1, keepdims=True)) ** 2).sum(2).mean())
    assert residual_local_motion(cpu, problem, information, slopes, PIXEL) == pytest.approx(true, rel=0.15)


def test_tiles_that_follow_the_field_have_little_of_their_own():
    found = [
        residual_local_motion(cpu, *random_tiles(np.random.default_rng(2), 1e-12, 1e-12, strength=s)[:3], PIXEL)
        for s in (10.0, 100.0)
    ]
    assert 0 < found[1] < found[0] < 0.1


def test_data_that_say_nothing_leave_the_prior():
    problem, information, slopes, _ = random_tiles(np.random.default_rng(3), 1e-2, 1e-3)
    half, whole = (
        residual_local_motion(cpu, problem, 0 * information, 0 * slopes, pixel) for pixel in (PIXEL / 2, PIXEL)
    )
    assert half == pytest.approx(2 * whole, rel=1e-6) and whole > 0
