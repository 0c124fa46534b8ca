"""What resampling costs: the SSNR kept by frequency, and how flat the noise is, for motion that is known exactly.

The specimen is a set of plane waves, so that every frame of it is exact whatever the motion; noise is corrected apart.
SSNR kept = (amplitude of a wave in the sum / frames)² / (power of white noise in the sum / frames).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import restframe
from restframe.track.field import MotionField, modes_up_to

LEVEL = 1000.0  # mean count, so that nothing is negative
NOISES = 4  # independent ones whose power is averaged


@dataclass(frozen=True)
class Resampled:
    kept: np.ndarray  # (waves,) fraction of the SSNR
    flatness: np.ndarray  # (rings,) noise power over that of the frames' sum


def smooth_motion(t: int, shape: tuple[int, int], seed: int, slope: float = 1e-3) -> MotionField:
    """Random walks: 5 px for the whole frame, local modes up to degree 2 that stretch the frame by about ``slope``."""
    modes = modes_up_to(2, 2, 2)
    size = np.array([5.0, *(slope * min(shape) / 2 for _ in modes[1:])])[:, None, None] / np.sqrt(t)
    amplitudes = np.cumsum(np.random.default_rng(seed).normal(size=(len(modes), t, 2)), 1) * size
    return MotionField(modes, amplitudes, shape).relative_to(t // 2)


def correct_sum(frames: np.ndarray, field: MotionField) -> np.ndarray:
    return restframe.correct(frames, field=field, find_defects=False).sum


def resample(
    waves: np.ndarray,
    t: int,
    shape: tuple[int, int],
    seed: int,
    correct: Callable[[np.ndarray, MotionField], np.ndarray] = correct_sum,
) -> Resampled:
    """``waves``: (n, 2) kx, ky in cycles a pixel, each seen alone, away from the edges."""
    field = smooth_motion(t, shape, seed)
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(float)
    inside = 24
    window = np.zeros(shape)
    window[inside:-inside, inside:-inside] = np.outer(np.hanning(h - 2 * inside), np.hanning(w - 2 * inside))
    # where the specimen point seen at a detector pixel rests: x = r + u(r), by iteration
    rest = []
    for i in range(t):
        rx, ry = x.copy(), y.copy()
        for _ in range(20):
            u = field(rx, ry, i)
            rx, ry = x - u[..., 0], y - u[..., 1]
        rest.append((rx, ry))
    rng = np.random.default_rng([seed, 1])
    phases = rng.uniform(0, 2 * np.pi, len(waves))
    kept = []
    for (kx, ky), phase in zip(waves, phases, strict=True):
        frames = np.stack([LEVEL + np.cos(2 * np.pi * (kx * rx + ky * ry) + phase) for rx, ry in rest])
        image = correct(frames.astype(np.float32), field) - LEVEL * t
        wave = np.exp(-1j * (2 * np.pi * (kx * x + ky * y) + phase))
        kept.append(2 * (image * window * wave).sum() / window.sum() / t)
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]) / 0.5
    ring = np.minimum((radius * 10).astype(int), 9)
    used = (radius > 0.03) & (radius < 1)
    power = np.zeros(10)
    for _ in range(NOISES):
        noise = (LEVEL + rng.standard_normal((t, h, w))).astype(np.float32)
        image = correct(noise, field) - LEVEL * t
        spectrum = np.abs(np.fft.rfft2(image * window)) ** 2 / (window**2).sum() / t / NOISES
        power += np.bincount(ring[used], spectrum[used], 10) / np.bincount(ring[used], minlength=10)
    middle = np.minimum((np.hypot(*waves.T) / 0.05).astype(int), 9)
    return Resampled(np.real(kept) ** 2 / power[middle], power)


def axis_and_random(fraction: float, n: int, seed: int) -> np.ndarray:
    """Waves at ``fraction`` of Nyquist: along x, along y, and in ``n`` random directions."""
    angle = np.concatenate([[0, np.pi / 2], np.random.default_rng(seed).uniform(0, np.pi, n)])
    return 0.5 * fraction * np.stack([np.cos(angle), np.sin(angle)], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[24, 720, 760], metavar=("T", "H", "W"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    t, h, w = args.shape
    print("of Nyquist   SSNR kept along x, along y, mean of random directions")
    for fraction in (0.25, 0.5, 0.75, 0.9):
        found = resample(axis_and_random(fraction, 4, args.seed), t, (h, w), args.seed)
        print(f"{fraction:10.2f}   {found.kept[0]:.4f} {found.kept[1]:.4f} {found.kept[2:].mean():.4f}", flush=True)
    print("noise power by tenth of Nyquist: " + " ".join(f"{v:.3f}" for v in found.flatness))


if __name__ == "__main__":
    main()
