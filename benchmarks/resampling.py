"""What resampling loses: the SSNR kept by frequency, and how flat the noise is, for motion that is known exactly.

The specimen is a set of plane waves, so that each frame is exact for any motion. Noise is corrected separately.
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


def smooth_motion(frame_count: int, shape: tuple[int, int], seed: int, slope: float = 1e-3) -> MotionField:
    """Random walks: 5 px for the whole frame, local modes up to degree 2 that stretch the frame by about ``slope``."""
    modes = modes_up_to(2, 2, 2)
    scale = np.array([5.0, *(slope * min(shape) / 2 for _ in modes[1:])])[:, None, None] / np.sqrt(frame_count)
    amplitudes = np.cumsum(np.random.default_rng(seed).normal(size=(len(modes), frame_count, 2)), 1) * scale
    return MotionField(modes, amplitudes, shape).relative_to(frame_count // 2)


def correct_sum(frames: np.ndarray, field: MotionField) -> np.ndarray:
    return restframe.correct(frames, field=field, find_defects=False).sum


def resample(
    waves: np.ndarray,
    frame_count: int,
    shape: tuple[int, int],
    seed: int,
    correct: Callable[[np.ndarray, MotionField], np.ndarray] = correct_sum,
) -> Resampled:
    """``waves``: (n, 2) kx, ky in cycles per pixel; each is corrected alone and measured away from the edges."""
    field = smooth_motion(frame_count, shape, seed)
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(float)
    margin = 24
    window = np.zeros(shape)
    window[margin:-margin, margin:-margin] = np.outer(np.hanning(height - 2 * margin), np.hanning(width - 2 * margin))
    # position in the reference frame of the specimen point seen at a detector pixel: x = r + u(r), by iteration
    rest_positions = []
    for frame in range(frame_count):
        rest_x, rest_y = x.copy(), y.copy()
        for _ in range(20):
            displacement = field(rest_x, rest_y, frame)
            rest_x, rest_y = x - displacement[..., 0], y - displacement[..., 1]
        rest_positions.append((rest_x, rest_y))
    generator = np.random.default_rng([seed, 1])
    phases = generator.uniform(0, 2 * np.pi, len(waves))
    amplitudes = []
    for (wave_x, wave_y), phase in zip(waves, phases, strict=True):
        frames = np.stack(
            [
                LEVEL + np.cos(2 * np.pi * (wave_x * rest_x + wave_y * rest_y) + phase)
                for rest_x, rest_y in rest_positions
            ]
        )
        image = correct(frames.astype(np.float32), field) - LEVEL * frame_count
        wave = np.exp(-1j * (2 * np.pi * (wave_x * x + wave_y * y) + phase))
        amplitudes.append(2 * (image * window * wave).sum() / window.sum() / frame_count)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) / 0.5
    ring = np.minimum((radius * 10).astype(int), 9)
    used = (radius > 0.03) & (radius < 1)
    power = np.zeros(10)
    for _ in range(NOISES):
        noise = (LEVEL + generator.standard_normal((frame_count, height, width))).astype(np.float32)
        image = correct(noise, field) - LEVEL * frame_count
        spectrum = np.abs(np.fft.rfft2(image * window)) ** 2 / (window**2).sum() / frame_count / NOISES
        power += np.bincount(ring[used], spectrum[used], 10) / np.bincount(ring[used], minlength=10)
    middle = np.minimum((np.hypot(*waves.T) / 0.05).astype(int), 9)
    return Resampled(np.real(amplitudes) ** 2 / power[middle], power)


def axis_and_random(fraction: float, random_count: int, seed: int) -> np.ndarray:
    """Waves at ``fraction`` of Nyquist: along x, along y, and in ``random_count`` random directions."""
    angle = np.concatenate([[0, np.pi / 2], np.random.default_rng(seed).uniform(0, np.pi, random_count)])
    return 0.5 * fraction * np.stack([np.cos(angle), np.sin(angle)], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=[24, 720, 760], metavar=("T", "H", "W"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    frame_count, height, width = args.shape
    print("of Nyquist   SSNR kept along x, along y, mean of random directions")
    for fraction in (0.25, 0.5, 0.75, 0.9):
        resampled = resample(axis_and_random(fraction, 4, args.seed), frame_count, (height, width), args.seed)
        print(
            f"{fraction:10.2f}   {resampled.kept[0]:.4f} {resampled.kept[1]:.4f} {resampled.kept[2:].mean():.4f}",
            flush=True,
        )
    print("noise power by tenth of Nyquist: " + " ".join(f"{power:.3f}" for power in resampled.flatness))


if __name__ == "__main__":
    main()
