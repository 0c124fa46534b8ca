"""How a simulated specimen moves, known at each position and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from restframe.arrays import FloatArray
from restframe.simulate.recipe import Recipe

MOTION_STREAM, SWING_STREAM = 1, 7  # of random numbers
LOCAL_DECAY_DOSE = 12.0  # e/A², of the slow part of the local motion
COMMON_GRID = 96  # positions across the frame for the mean motion


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


@dataclass(frozen=True, eq=False)
class Truth:
    """The motion of the specimen: what rests at (x, y) is found at (x, y) + truth in frame t.

    Sign, units (unbinned pixels) and methods are those of `restframe.MotionField`. The displacement of a frame is the
    mean over its exposure. "Rests" means in frame ``reference``; the simulator places the specimen in the middle frame.

    Example: ``truth(100.0, 50.0)`` is the motion of one position in all frames, (t, 2).
    """

    terms: tuple[Term, ...]
    amplitudes: FloatArray  # (terms, t, 2): x, y in pixels, mean over each frame
    travel: FloatArray  # (terms, t, 2): from the beginning to the end of each frame
    shape: tuple[int, int]  # (h, w)
    reference: int

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self.amplitudes.shape[1])

    def patterns(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """The terms at pixel positions x, y (equal shapes): (terms, *shape)."""
        height, width = self.shape
        relative_x = (np.asarray(x, float) + 0.5) / width - 0.5
        relative_y = (np.asarray(y, float) + 0.5) / height - 0.5
        patterns = []
        for term in self.terms:
            xi, eta = relative_x - term.x, relative_y - term.y
            patterns.append(xi**term.i * eta**term.j * np.exp(-(xi**2 + eta**2) / (2 * term.sigma**2)))
        return np.stack(patterns)

    def __call__(self, x: ArrayLike, y: ArrayLike, frame: int | None = None) -> FloatArray:
        """Displacement in pixels in all frames, (t, *shape, 2), or in one ``frame``, (*shape, 2)."""
        return self._combine(self.amplitudes, x, y, frame)

    def intraframe_motion(self, x: ArrayLike, y: ArrayLike, frame: int | None = None) -> FloatArray:
        """Displacement from the beginning to the end of a frame's exposure, shaped as in ``__call__``."""
        return self._combine(self.travel, x, y, frame)

    def _combine(self, amplitudes: FloatArray, x: ArrayLike, y: ArrayLike, frame: int | None) -> FloatArray:
        patterns = self.patterns(x, y)
        displacements = np.tensordot(amplitudes if frame is None else amplitudes[:, frame], patterns, axes=(0, 0))
        return np.moveaxis(displacements, -patterns.ndim, -1)

    def relative_to(self, frame: int) -> Truth:
        """The same motion with another reference frame (to first order: positions are not changed)."""
        frame = min(max(frame, 0), self.n_frames - 1)
        return replace(self, amplitudes=self.amplitudes - self.amplitudes[:, frame : frame + 1], reference=frame)

    def positions(self, across: int = 24) -> tuple[FloatArray, FloatArray]:
        """x, y of the centres of across x across equal cells of the frame, each (across, across)."""
        height, width = self.shape
        centres = (np.arange(across) + 0.5) / across
        y, x = np.meshgrid(centres * height - 0.5, centres * width - 0.5, indexing="ij")
        return x, y

    def whole_frame(self) -> FloatArray:
        """Mean displacement over the area, (t, 2), pixels."""
        pattern_means = self.patterns(*self.positions(COMMON_GRID)).mean(axis=(1, 2))
        return np.tensordot(pattern_means, self.amplitudes, axes=1)


class _TimeCourse(NamedTuple):
    """A function of time: its mean over each frame, and its change from beginning to end of each frame; both (t,)."""

    mean: FloatArray
    change: FloatArray


_MotionPart = tuple[Term, FloatArray, _TimeCourse]
"""Pattern in space, amplitude (2,) along x and y in A, and course in time."""


def _exponential(frame_count: int, frame_dose: float, decay_dose: float) -> _TimeCourse:
    """1 - exp(-D / decay_dose)."""
    remaining = np.exp(-np.arange(frame_count + 1) * frame_dose / decay_dose)
    change = remaining[:-1] - remaining[1:]
    return _TimeCourse(1 - change * decay_dose / frame_dose, change)


def _linear(frame_count: int) -> _TimeCourse:
    """D / D_total."""
    return _TimeCourse((np.arange(frame_count) + 0.5) / frame_count, np.full(frame_count, 1 / frame_count))


def _jump(frame_count: int) -> _TimeCourse:
    """0 before the middle, 1 after it, between two exposures."""
    after = np.arange(frame_count) >= (frame_count + 1) // 2
    return _TimeCourse(after.astype(float), np.zeros(frame_count))


def _vector(length: float, angle: float) -> FloatArray:
    return length * np.array([np.cos(angle), np.sin(angle)])


def make_truth(recipe: Recipe) -> Truth:
    """Draw the motion of a recipe. The specimen rests in frame t//2.

    Common: settling, 1 - exp(-D / settle_dose), in one direction; drift, D / D_total, in another; a random walk.
    Local: products x^i y^j up to total degree 3 with normal coefficients, larger for higher degrees, and two Gaussian
    bumps with sigma of 8 to 15 % of the field, each with its own course in time; scaled to ``local_rms``.
    """
    random = np.random.default_rng([recipe.seed, MOTION_STREAM])
    frame_count = recipe.shape[0]
    courses = (
        _exponential(frame_count, recipe.frame_dose, recipe.settle_dose),
        _exponential(frame_count, recipe.frame_dose, LOCAL_DECAY_DOSE),
        _linear(frame_count),
    )
    parts = _draw_common_motion(recipe, random, courses)
    local_parts = _draw_local_motion(random, courses)
    drawn_rms = _local_rms(_assemble(local_parts, recipe)) * recipe.pixel_size
    scale = recipe.local_rms / drawn_rms if drawn_rms else 0.0  # a single frame does not move
    parts += [(term, amplitude * scale, course) for term, amplitude, course in local_parts]

    if recipe.jump:
        jump = _jump(frame_count)
        parts.append((Term(0, 0), _vector(recipe.jump, random.uniform(0, 2 * np.pi)), jump))
        parts.append((Term(1, 0), _vector(recipe.jump / 2, random.uniform(0, 2 * np.pi)), jump))
    if recipe.bubble:
        centre, sigma = random.uniform(-0.25, 0.25, 2), 0.06
        peak = recipe.bubble * np.exp(0.5) / sigma  # ξ exp(-ξ²/2σ²) has its maximum, σ exp(-1/2), at σ
        parts.append((Term(1, 0, centre[0], centre[1], sigma), np.array([peak, 0.0]), courses[1]))
        parts.append((Term(0, 1, centre[0], centre[1], sigma), np.array([0.0, peak]), courses[1]))
    return _assemble(parts, recipe).relative_to(frame_count // 2)


def _draw_common_motion(
    recipe: Recipe, random: np.random.Generator, courses: tuple[_TimeCourse, ...]
) -> list[_MotionPart]:
    """The motion of the whole frame, but for jumps."""
    settling, _, drift = courses
    everywhere = Term(0, 0)
    angle = random.uniform(0, 2 * np.pi)
    parts = [(everywhere, _vector(recipe.settle, angle), settling)]
    drift_angle = angle + random.uniform(np.pi / 3, 2 * np.pi / 3)
    parts.append((everywhere, _vector(recipe.drift, drift_angle), drift))
    for axis in np.eye(2):
        positions = np.cumsum(random.normal(size=recipe.shape[0] + 1))  # at the beginning and end of each frame
        walk = _TimeCourse((positions[1:] + positions[:-1]) / 2, np.diff(positions))
        parts.append((everywhere, axis * recipe.walk, walk))
    return parts


def _draw_local_motion(random: np.random.Generator, courses: tuple[_TimeCourse, ...]) -> list[_MotionPart]:
    """The motion that differs from place to place, before it is scaled."""
    parts: list[_MotionPart] = []
    for degree, standard_deviation in ((1, 3.0), (2, 6.0), (3, 12.0)):
        for x_degree in range(degree + 1):
            term = Term(x_degree, degree - x_degree)
            parts += [(term, random.normal(size=2) * standard_deviation, course) for course in courses]
    for course in courses[:2]:
        centre, sigma = random.uniform(-0.4, 0.4, 2), random.uniform(0.08, 0.15)
        amplitude = _vector(2.0, random.uniform(0, 2 * np.pi))
        parts.append((Term(0, 0, centre[0], centre[1], sigma), amplitude, course))
    return parts


def make_swing(recipe: Recipe) -> tuple[FloatArray, FloatArray]:
    """Displacement in pixels for each A of height as the ice turns by ``recipe.swing`` while it settles.

    Mean over each frame, less that of the middle frame, and change during it; both (t, 2).
    """
    frame_count = recipe.shape[0]
    course = _exponential(frame_count, recipe.frame_dose, recipe.settle_dose)
    angle = np.random.default_rng([recipe.seed, SWING_STREAM]).uniform(0, 2 * np.pi)
    direction = _vector(np.deg2rad(recipe.swing) / recipe.pixel_size, angle)
    return np.outer(course.mean - course.mean[frame_count // 2], direction), np.outer(course.change, direction)


def _assemble(parts: list[_MotionPart], recipe: Recipe) -> Truth:
    terms = tuple(dict.fromkeys(term for term, _, _ in parts))
    amplitudes = np.zeros((len(terms), recipe.shape[0], 2))
    travel = np.zeros_like(amplitudes)
    for term, vector, course in parts:
        index = terms.index(term)
        amplitudes[index] += np.outer(course.mean, vector / recipe.pixel_size)
        travel[index] += np.outer(course.change, vector / recipe.pixel_size)
    return Truth(terms, amplitudes, travel, recipe.shape[1:], 0)


def _local_rms(truth: Truth) -> float:
    """Rms over positions and frames of the motion less its mean over time and that of the whole frame, in pixels."""
    motion = truth(*truth.positions())
    motion = motion - motion.mean(axis=0)
    motion = motion - motion.mean(axis=(1, 2), keepdims=True)
    return float(np.sqrt((motion**2).sum(axis=-1).mean()))
