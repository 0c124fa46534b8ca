"""What the correction of one movie gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import BoolArray, FloatArray, IntArray
from restframe.detector.orientation import GainCheck
from restframe.settings import Settings
from restframe.track.field import MotionField
from restframe.track.motion_report import MotionReport

if TYPE_CHECKING:
    from restframe.ctf.estimate import Ctf


@dataclass(frozen=True, eq=False)
class PatchShifts:
    """Local motion as logs list it: unbinned pixels, relative to the global shift and to the first used frame.

    A shift is what is added to the positions of a frame's content to correct it: minus the motion field.
    """

    centres: FloatArray  # (p, 2): x, y of each patch's centre; x runs fastest
    raw: FloatArray  # (p, t, 2): peak of the patch's own correlation
    fitted: FloatArray  # (p, t, 2): the field there
    weak: BoolArray  # (p, t): the patch had almost no weight in the fit


@dataclass(frozen=True)
class MovieInfo:
    """The movie as it was stored."""

    path: Path | None = None  # None: an array
    format: str = "array"  # tiff, mrc, eer or array
    shape: tuple[int, int, int] = (0, 0, 0)  # (t, h, w) of all raw frames
    dtype: str = ""  # of a pixel, as NumPy names it
    size: int | None = None  # bytes of the file
    modified: float | None = None  # time of its last change, seconds since 1970


@dataclass(frozen=True)
class Timings:
    """Seconds from the start of the correction to the end of each step."""

    survey: float = 0.0  # frames read, bad pixels found, binned frames made
    motion: float = 0.0  # motion measured
    sums: float = 0.0  # sums made


@dataclass(frozen=True, eq=False)
class Result:
    """Images, motion, and what was decided and why.

    Images are (h, w) float32 of the output's size, None where they were not asked for. Two results are equal only if
    they are the same object; compare their arrays with NumPy.
    """

    sum: FloatArray
    pixel_size: float  # A of an output pixel; 0: unknown
    field: MotionField
    dose_weighted: FloatArray | None = None
    dose_weighted_range: FloatArray | None = None
    odd: FloatArray | None = None
    even: FloatArray | None = None
    global_sum: FloatArray | None = None  # the plain sum without local motion
    ctf: Ctf | None = None  # of the dose-weighted sum where there is one, otherwise of the plain sum
    power_spectrum: FloatArray | None = None  # (n, n) amplitude spectrum, zero frequency at n // 2
    power_spectrum_pixel_size: float = 0.0  # A: its edge is the Nyquist frequency of such pixels
    patches: PatchShifts | None = None  # None: global motion only
    # (t, 2) px, relative to the first used frame
    global_shifts: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    movie_shape: tuple[int, int, int] = (0, 0, 0)  # (t, h, w) of the used frames
    movie_format: str = "array"  # tiff, mrc, eer or array
    frames: tuple[range, ...] = ()  # numbers of the raw frames, from 0, that each used frame sums
    # (t,) e/A² that the specimen received during each used frame, and by the end of it
    dose: FloatArray = dataclasses.field(default_factory=lambda: np.zeros(0))
    accumulated_dose: FloatArray = dataclasses.field(default_factory=lambda: np.zeros(0))
    # (n, 2) x, y from 0 of the pixels that were filled with the local mean
    bad_pixels: IntArray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), int))
    gain_check: GainCheck | None = None  # None: no gain, or too few pixels to tell
    motion_report: MotionReport | None = None  # None: motion was not measured
    decisions: tuple[str, ...] = ()  # sentences
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)  # the same for programs, and the stated error
    warnings: tuple[str, ...] = ()  # sentences
    movie: MovieInfo = MovieInfo()
    # (n, side, side) parts of the sum of the frames before the correction, relative to their mean, less one
    uncorrected_tiles: FloatArray | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)  # those that were used
    timings: Timings = Timings()

    def save(self, folder: str | PathLike[str], name: str | None = None) -> list[Path]:
        """Write all images, the motion (NAME.aln) and the record (NAME.json) to ``folder``, which is made if missing.

        ``name``: begins all names; by default that of the movie. Returns the paths, the record last. Raises
        `OutputError`; then nothing new is left.

            restframe.correct("movie.tif", pixel_size=0.85, frame_dose=1.2).save("corrected")
        """
        from restframe.output.save import save_result

        return save_result(self, folder, name)

    @property
    def stated_error_px(self) -> float | None:
        """Expected error of the measured motion, rms, in unbinned pixels; None where motion was not measured."""
        return self.motion_report.stated_error if self.motion_report else None
