"""The motion of the specimen as one smooth field."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from restframe.errors import InputError

FORMAT = "restframe motion field 1"
HIGHEST_DEGREE = 4  # total degree of the modes in space, in measuring and in fitting shifts of patches


def modes_up_to(degree_x: int, degree_y: int, total: int) -> tuple[tuple[int, int], ...]:
    """The products P_i(x) P_j(y), i <= degree_x, j <= degree_y, i + j <= total, ordered by i + j."""
    pairs = [(i, j) for i in range(degree_x + 1) for j in range(degree_y + 1) if i + j <= total]
    return tuple(sorted(pairs, key=lambda ij: (sum(ij), ij[1])))


def mode_values(modes, x, y, width: int, height: int) -> np.ndarray:
    """Legendre products at pixel positions x, y (any equal shape): (modes, *shape), float64.

    The detector spans [-1, 1] in both directions, so every mode but the first has mean zero over it.
    """
    x = (2 * np.asarray(x, float) + 1) / width - 1
    y = (2 * np.asarray(y, float) + 1) / height - 1
    highest = max((max(m) for m in modes), default=0)
    px, py = legendre_values(x, highest), legendre_values(y, highest)
    return np.stack([px[i] * py[j] for i, j in modes])


def legendre_values(x: np.ndarray, highest: int) -> list[np.ndarray]:
    """P_0 ... P_highest at ``x``, by Bonnet's recursion."""
    out = [np.ones_like(x), x]
    for n in range(1, highest):
        out.append(((2 * n + 1) * x * out[n] - n * out[n - 1]) / (n + 1))
    return out[: highest + 1]


@dataclass(frozen=True)
class MotionField:
    """Displacement of the specimen: what stands at (x, y) of the output is found at (x, y) + field in frame t.

    u(x, y, t) = sum_m amplitudes[m, t] P_i(x) P_j(y), in unbinned pixels; zero at the reference frame everywhere.
    Legendre products on the detector's area; mode (0, 0), always the first, is the motion of the whole frame (its
    mean over the area). Shifts in logs are minus the field.
    """

    modes: tuple[tuple[int, int], ...]
    amplitudes: np.ndarray  # (modes, t, 2): x, y in unbinned pixels
    shape: tuple[int, int]  # (h, w) of an unbinned frame
    reference: int = 0  # the frame at rest, from 0 among the used ones

    @property
    def n_frames(self) -> int:
        return self.amplitudes.shape[1]

    def __call__(self, x, y, t=None) -> np.ndarray:
        """Displacement in unbinned pixels at positions x, y (equal shapes).

        t None: all frames, (t, *shape, 2); a slice: those; a frame number: (*shape, 2).
        """
        values = self.mode_values(x, y)
        amplitudes = self.amplitudes if t is None else self.amplitudes[:, t]
        out = np.tensordot(amplitudes, values, axes=(0, 0))  # ([t,] 2, *shape)
        return np.moveaxis(out, -values.ndim, -1)

    def mode_values(self, x, y) -> np.ndarray:
        """Each mode at positions x, y (equal shapes): (modes, *shape)."""
        return mode_values(self.modes, x, y, self.shape[1], self.shape[0])

    def relative_to(self, frame: int) -> MotionField:
        """The same motion, at rest in ``frame``."""
        frame = min(max(frame, 0), self.n_frames - 1)
        return replace(self, amplitudes=self.amplitudes - self.amplitudes[:, frame : frame + 1], reference=frame)

    def global_displacement(self) -> np.ndarray:
        """Displacement of the whole frame, (t, 2), unbinned pixels."""
        return self.amplitudes[0]

    def global_only(self) -> MotionField:
        """The motion of the whole frame, everywhere."""
        return replace(self, modes=self.modes[:1], amplitudes=self.amplitudes[:1])

    @staticmethod
    def at_rest(n_frames: int, shape: tuple[int, int]) -> MotionField:
        return MotionField(((0, 0),), np.zeros((1, n_frames, 2)), shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON; nothing is rounded."""
        return {
            "format": FORMAT,
            "shape": list(self.shape),
            "reference": self.reference,
            "modes": [list(m) for m in self.modes],
            "amplitudes": self.amplitudes.tolist(),
        }

    @staticmethod
    def from_dict(content: dict[str, Any]) -> MotionField:
        """The inverse of `to_dict`. Raises ValueError, KeyError or TypeError for anything else."""
        if content["format"] != FORMAT:
            raise ValueError(f"format is {content['format']!r}, expected {FORMAT!r}")
        modes = tuple((int(i), int(j)) for i, j in content["modes"])
        amplitudes = np.array(content["amplitudes"], float)
        if modes[:1] != ((0, 0),) or amplitudes.shape[::2] != (len(modes), 2) or not np.isfinite(amplitudes).all():
            raise ValueError(f"amplitudes of shape {amplitudes.shape} for {len(modes)} modes")
        h, w = content["shape"]
        return MotionField(modes, amplitudes, (int(h), int(w)), int(content["reference"]))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a JSON file that `load` reads back exactly."""
        Path(path).write_text(json.dumps(self.to_dict()) + "\n", encoding="ascii")

    @staticmethod
    def load(path: str | PathLike[str]) -> MotionField:
        """Read what `save` wrote. Raises `InputError` if that can't be done."""
        try:
            return MotionField.from_dict(json.loads(Path(path).read_text(encoding="ascii")))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{path} holds no motion field ({error}). Expected a file of MotionField.save.") from error
