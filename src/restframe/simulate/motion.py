"""How a simulated specimen moves, known at every place and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from restframe.simulate.recipe import Recipe


class Term(NamedTuple):
    """A pattern in space: ξ^i η^j exp(-(ξ² + η²) / 2 σ²).

    ξ, η: distance from (x, y) in widths and heights of the frame, which spans [-0.5, 0.5] in both.
    σ infinite: a polynomial.
    """

    i: int
    j: int
    x: float = 0.0
    y: float = 0.0
    sigma: float = np.inf


@dataclass(frozen=True)
class Truth:
    """The motion of the specimen: what is at rest at (x, y) is found at (x, y) + truth in frame t.

    Same sign, units (unbinned pixels) and methods as `restframe.MotionField`. The displacement of a frame is the mean
    over its exposure. At rest means in frame ``reference``; the simulator places its specimen in the middle frame.
    """

    terms: tuple[Term, ...]
    amplitudes: np.ndarray  # (terms, t, 2): x, y in pixels, mean over each frame
    travel: np.ndarray  # (terms, t, 2): from the beginning to the end of each frame
    shape: tuple[int, int]  # (h, w)
    reference: int

    @property
    def n_frames(self) -> int:
        return self.amplitudes.shape[1]

    def patterns(self, x, y) -> np.ndarray:
        """The terms at pixel positions x, y (equal shapes): (terms, *shape)."""
        u = (np.asarray(x, float) + 0.5) / self.shape[1] - 0.5
        v = (np.asarray(y, float) + 0.5) / self.shape[0] - 0.5
        out = []
        for term in self.terms:
            xi, eta = u - term.x, v - term.y
            out.append(xi**term.i * eta**term.j * np.exp(-(xi**2 + eta**2) / (2 * term.sigma**2)))
        return np.stack(out)

    def __call__(self, x, y, t: int | None = None) -> np.ndarray:
        """Displacement in pixels; t None: all frames, (t, *shape, 2); a frame number: (*shape, 2)."""
        return self._combine(self.amplitudes, x, y, t)

    def during(self, x, y, t: int | None = None) -> np.ndarray:
        """Displacement from the beginning to the end of a frame's exposure, shaped as in ``__call__``."""
        return self._combine(self.travel, x, y, t)

    def _combine(self, amplitudes, x, y, t):
        patterns = self.patterns(x, y)
        out = np.tensordot(amplitudes if t is None else amplitudes[:, t], patterns, axes=(0, 0))
        return np.moveaxis(out, -patterns.ndim, -1)

    def relative_to(self, frame: int) -> Truth:
        """The same motion seen from another frame (to first order: positions are still those of the rest)."""
        frame = min(max(frame, 0), self.n_frames - 1)
        return replace(self, amplitudes=self.amplitudes - self.amplitudes[:, frame : frame + 1], reference=frame)

    def positions(self, across: int = 24) -> tuple[np.ndarray, np.ndarray]:
        """x, y of the centres of across x across equal cells of the frame, each (across, across)."""
        cells = (np.arange(across) + 0.5) / across
        y, x = np.meshgrid(cells * self.shape[0] - 0.5, cells * self.shape[1] - 0.5, indexing="ij")
        return x, y

    def whole_frame(self) -> np.ndarray:
        """Mean displacement over the area, (t, 2), pixels."""
        means = self.patterns(*self.positions(96)).mean(axis=(1, 2))
        return np.tensordot(means, self.amplitudes, axes=1)


class _Law(NamedTuple):
    """A course in time: mean over each frame, and change from its beginning to its end; both (t,)."""

    mean: np.ndarray
    change: np.ndarray


def _settling(n: int, frame_dose: float, scale: float) -> _Law:
    """1 - exp(-D / scale)."""
    left = np.exp(-np.arange(n + 1) * frame_dose / scale)
    change = left[:-1] - left[1:]
    return _Law(1 - change * scale / frame_dose, change)


def _steady(n: int) -> _Law:
    """D / D_total."""
    return _Law((np.arange(n) + 0.5) / n, np.full(n, 1 / n))


def _step(n: int) -> _Law:
    """0 before the middle, 1 after, between two exposures."""
    return _Law((np.arange(n) >= (n + 1) // 2).astype(float), np.zeros(n))


def _vector(length, angle) -> np.ndarray:
    return length * np.array([np.cos(angle), np.sin(angle)])


def make_truth(recipe: Recipe) -> Truth:
    """Draw the motion of a recipe; at rest in frame N//2.

    Common: settle (1 - exp(-D / settle_dose)) in one direction, drift D / D_total in another, a random walk.
    Local: products x^i y^j up to total degree 3 with normal coefficients, more for higher degrees, and two Gaussian
    bumps with sigma of 8 to 15 % of the field, each with its own course in time; scaled to ``local_rms``.
    """
    rng = np.random.default_rng([recipe.seed, 1])
    n = recipe.shape[0]
    laws = (_settling(n, recipe.frame_dose, recipe.settle_dose), _settling(n, recipe.frame_dose, 12.0), _steady(n))
    parts: list[tuple[Term, np.ndarray, _Law]] = []  # pattern, x and y amplitude in A, course

    angle = rng.uniform(0, 2 * np.pi)
    parts.append((Term(0, 0), _vector(recipe.settle, angle), laws[0]))
    parts.append((Term(0, 0), _vector(recipe.drift, angle + rng.uniform(np.pi / 3, 2 * np.pi / 3)), laws[2]))
    for axis in np.eye(2):
        edges = np.cumsum(rng.normal(size=n + 1))
        parts.append((Term(0, 0), axis * recipe.walk, _Law((edges[1:] + edges[:-1]) / 2, np.diff(edges))))

    local: list[tuple[Term, np.ndarray, _Law]] = []
    for degree, sd in ((1, 3.0), (2, 6.0), (3, 12.0)):
        for i in range(degree + 1):
            local += [(Term(i, degree - i), rng.normal(size=2) * sd, law) for law in laws]
    for law in laws[:2]:
        at, sigma = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.08, 0.15)
        local.append((Term(0, 0, at[0], at[1], sigma), _vector(2.0, rng.uniform(0, 2 * np.pi)), law))
    drawn = _local_rms(_assemble(local, recipe)) * recipe.pixel_size
    scale = recipe.local_rms / drawn if drawn else 0.0  # a single frame does not move
    parts += [(term, amplitude * scale, law) for term, amplitude, law in local]

    if recipe.jump:
        parts.append((Term(0, 0), _vector(recipe.jump, rng.uniform(0, 2 * np.pi)), _step(n)))
        parts.append((Term(1, 0), _vector(recipe.jump / 2, rng.uniform(0, 2 * np.pi)), _step(n)))
    if recipe.bubble:
        at, sigma = rng.uniform(-0.25, 0.25, 2), 0.06
        peak = recipe.bubble * np.exp(0.5) / sigma  # ξ exp(-ξ²/2σ²) is largest, σ exp(-1/2), at σ
        parts.append((Term(1, 0, at[0], at[1], sigma), np.array([peak, 0.0]), laws[1]))
        parts.append((Term(0, 1, at[0], at[1], sigma), np.array([0.0, peak]), laws[1]))
    return _assemble(parts, recipe).relative_to(n // 2)


def make_swing(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Displacement in pixels for each A of height as the ice turns by ``recipe.swing`` while it settles.

    Mean over each frame, less that of the middle frame, and change during it; both (t, 2).
    """
    law = _settling(recipe.shape[0], recipe.frame_dose, recipe.settle_dose)
    angle = np.random.default_rng([recipe.seed, 7]).uniform(0, 2 * np.pi)
    vector = _vector(np.deg2rad(recipe.swing) / recipe.pixel_size, angle)
    return np.outer(law.mean - law.mean[recipe.shape[0] // 2], vector), np.outer(law.change, vector)


def _assemble(parts, recipe: Recipe) -> Truth:
    terms = tuple(dict.fromkeys(term for term, _, _ in parts))
    amplitudes = np.zeros((len(terms), recipe.shape[0], 2))
    travel = np.zeros_like(amplitudes)
    for term, vector, law in parts:
        row = terms.index(term)
        amplitudes[row] += np.outer(law.mean, vector / recipe.pixel_size)
        travel[row] += np.outer(law.change, vector / recipe.pixel_size)
    return Truth(terms, amplitudes, travel, recipe.shape[1:], 0)


def _local_rms(truth: Truth) -> float:
    """Rms over positions and frames of the motion less its mean over time and that of the whole frame, in pixels."""
    u = truth(*truth.positions())
    u = u - u.mean(axis=0)
    u = u - u.mean(axis=(1, 2), keepdims=True)
    return float(np.sqrt((u**2).sum(axis=-1).mean()))
