"""Anisotropic magnification: what users know of it, and that it is undone."""

import numpy as np
import pytest

import restframe
from restframe.restore.placement import make_placement, stretch_matrix
from restframe.track.field import MotionField

H, W = 300, 420


def test_along_the_major_axis_the_image_grows_and_across_it_stays():
    a = np.deg2rad(34)
    major, minor = np.array([np.cos(a), -np.sin(a)]), np.array([np.sin(a), np.cos(a)])
    s = stretch_matrix((1.003, 0.998, 34))
    assert np.allclose(s @ major, 1.003 / 0.998 * major, atol=1e-12)
    assert np.allclose(s @ minor, minor, atol=1e-12)


def test_a_hundred_thousandth_is_nothing():
    assert np.array_equal(stretch_matrix((1.000005, 1, 10)), np.eye(2))
    assert not make_placement((H, W), magnification=(1.000005, 1, 10)).stretched
    assert make_placement((H, W), magnification=(1.00002, 1, 10)).stretched


@pytest.mark.parametrize("scales", [(0, 1, 0), (1, -1, 0), (float("nan"), 1, 0), (1, 1, float("inf"))])
def test_scales_above_zero(scales):
    with pytest.raises(restframe.errors.SettingsError, match=r"^magnification="):
        stretch_matrix(scales)


def spots(places):
    """Gaussian spots of 2 px on an even ground, (h, w)."""
    y, x = np.mgrid[:H, :W]
    out = np.full((H, W), 20.0)
    for px, py in places:
        out += 20 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)
    return out.astype(np.float32)


def centroid(image, x, y, reach=8):
    """Of the light above the ground around a place."""
    x0, y0 = round(x), round(y)
    part = image[y0 - reach : y0 + reach + 1, x0 - reach : x0 + reach + 1].astype(float)
    part = part - np.median(np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]]))
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return x0 + (part * u).sum() / part.sum(), y0 + (part * v).sum() / part.sum()


@pytest.mark.parametrize("magnification", [(1.003, 0.998, 34), (1.02, 0.99, -70), (0.99, 1.0, 20)])
@pytest.mark.parametrize("crop", [(0, 0), (360, 260)])
def test_a_known_stretch_is_undone_in_the_corners(magnification, crop):
    """Spots at r in the true image lie at S⁻¹ (r - c) + c on the detector, and moved by the field there."""
    s = stretch_matrix(magnification)
    centre = np.array([W / 2, H / 2])
    left, top = ((W - 360) // 2, (H - 260) // 2) if crop[0] else (0, 0)
    edge = 20 + np.array([left, top])
    true = [
        (x, y) for x in np.linspace(edge[0], W - 1 - edge[0], 14) for y in np.linspace(edge[1], H - 1 - edge[1], 10)
    ]
    seen = [np.linalg.solve(s, np.array(r) - centre) + centre for r in true]
    amplitudes = np.array([[[0, 0], [3.3, -2.6], [1.5, 4.2]], [[0, 0], [0.4, 0.2], [0, -0.3]]], float)
    field = MotionField(((0, 0), (1, 0)), amplitudes, (H, W))
    frames = np.stack([spots([p + field(*p, t) for p in seen]) for t in range(3)])
    choices = {"reference": 0, "find_defects": False, "magnification": magnification, "crop": crop}
    image = restframe.correct(frames, field=field, **choices).sum
    found = np.array([centroid(image, x - left, y - top) for x, y in true]) + np.array([left, top])
    assert np.abs(found - true).max() < 0.02
