"""All settings of a correction: one frozen dataclass per topic.

This is the only place for defaults, bounds, choices, units, descriptions and names of flags. Each field carries them in
its metadata (`setting`); `SETTINGS` is the same as a table. The classes check their values when they are made, and the
flags of the command, its help and docs/flags.md are derived from this table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from os import PathLike
from typing import Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np

from restframe.arrays import AnyArray
from restframe.errors import SettingsError
from restframe.fields import Checked, Ranges, SettingInfo, bounds_text, fields_of, setting
from restframe.messages import Setting
from restframe.optics import VOLTAGE_RANGE_KV

FilePath: TypeAlias = str | PathLike[str]
Reference: TypeAlias = FilePath | AnyArray | None
QuarterTurns: TypeAlias = Literal[0, 1, 2, 3]
FlipAxis: TypeAlias = Literal[0, 1, 2]
EerSampling: TypeAlias = Literal[1, 2, 3]
Weights: TypeAlias = Literal["data", "bfactor"]

USUAL_TOTAL_DOSE = 400.0  # e/A²; more leaves nothing of a specimen
USUAL_SCALES = 0.9, 1.1  # of anisotropic magnification
POSSIBLE_SCALES = 0.5, 2.0
LARGEST_ANGLE = 360.0  # degrees
MIN_SUM_RANGE_WIDTH = 1.0  # e/A²: MotionCor2 makes no sum over a narrower range of dose


class Row(NamedTuple):
    """One row of an integration file: consecutive raw frames of equal exposure."""

    frames: int  # number of raw frames
    size: int  # number of raw frames that are summed to one fraction
    dose: float = 0.0  # e/A² per raw frame; 0: as frame_dose says


@dataclass(frozen=True)
class Detector(Checked):
    """References and defects of the camera.

    References are paths or arrays (h, w). Both are rotated, then flipped; then the gain is inverted. The dark reference
    is subtracted before the gain multiplies.
    """

    gain: Reference = setting(None, "Gain reference, MRC or TIFF. Frames are multiplied by it.", "-Gain")
    dark: Reference = setting(None, "Dark reference, MRC or TIFF, subtracted before the gain is applied.", "-Dark")
    rot_gain: QuarterTurns = setting(
        0,
        "Rotate gain and dark reference by this number of quarter turns; counter-clockwise when row 0 is drawn at the "
        "bottom.",
        "-RotGain",
    )
    flip_gain: FlipAxis = setting(
        0, "After the rotation: 1 reverses the rows (upside down), 2 the columns (left and right).", "-FlipGain"
    )
    inv_gain: bool = setting(False, "After that, use the reciprocal of the gain (zeros stay zero).", "-InvGain")
    defect_file: FilePath | None = setting(
        None,
        "Text file of bad pixels, one rectangle x y w h per line; x, y from 0 at the lower left of a TIFF movie, "
        "at the first pixel of others.",
        "-DefectFile",
    )
    defect_map: Reference = setting(
        None,
        "Image of bad pixels, MRC or TIFF: 1 where a pixel is bad. It is not rotated or flipped with the gain.",
        "-DefectMap",
    )
    find_defects: bool = setting(
        True,
        "Find bad pixels in the movie itself, in addition to those of {defect_file}, {defect_map} and the gain "
        "reference.",
        "--find-defects",
    )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Detector):
            return NotImplemented
        return all(_same_value(getattr(self, one.name), getattr(other, one.name)) for one in fields(self))


@dataclass(frozen=True)
class Exposure(Checked):
    """What the specimen received, and which frames are used."""

    pixel_size: float = setting(
        0.0,
        "Pixel size of the movie, for EER of the pixels that {eer_sampling} makes. Needed for dose weighting, and "
        "written to the headers. 0: unknown.",
        "-PixSize",
        unit="A",
        low=0,
        ranges=Ranges((0.1, 20), (1e-3, 1e3)),
    )
    voltage: float = setting(
        300.0,
        f"Acceleration voltage. Dose weighting is defined for {bounds_text(*VOLTAGE_RANGE_KV)}.",
        "-kV",
        unit="kV",
        low=0,
        ranges=Ranges(VOLTAGE_RANGE_KV),
    )
    frame_dose: float = setting(
        0.0,
        "Dose of one raw frame, where {integration} gives none. 0: unknown, no dose weighting.",
        "-FmDose",
        unit="e/A²",
        low=0,
        ranges=Ranges((1e-4, 100), (1e-9, 1e5)),
    )
    initial_dose: float = setting(
        0.0,
        "Dose that the specimen received before the first raw frame.",
        "-InitDose",
        unit="e/A²",
        low=0,
        ranges=Ranges((0, USUAL_TOTAL_DOSE), (1e-9, 1e5)),
    )
    throw: int = setting(
        0, "Number of raw frames left out at the start. Their dose counts.", "-Throw", unit="frames", low=0
    )
    trunc: int = setting(0, "Number of raw frames left out at the end.", "-Trunc", unit="frames", low=0)
    integration: FilePath | tuple[Row, ...] | None = setting(
        None,
        "Text file that says which raw frames are summed. Each row holds the number of raw frames, how many of them "
        "are summed to one fraction, and the dose of a raw frame.",
        "-FmIntFile",
    )
    eer_grouping: int = setting(
        0,
        "Number of raw frames of an EER movie that are summed to one fraction, where {integration} does not say it. "
        "0: about 40 fractions, or, with {frame_dose}, fractions of about 1 e/A². Where {group} has the same first "
        "number, it has no further effect.",
        "--eer-grouping",
        unit="frames",
        low=0,
    )
    eer_sampling: EerSampling = setting(
        1, "Pixels of an EER movie: 1, 2 or 3 for 1, 2 or 4 per physical pixel along each axis.", "-EerSampling"
    )

    def __post_init__(self) -> None:
        if isinstance(self.integration, list):
            object.__setattr__(self, "integration", tuple(self.integration))
        super().__post_init__()
        rows: tuple[Row, ...] = ()
        if isinstance(self.integration, tuple):
            rows = _checked_rows(self.integration)
            object.__setattr__(self, "integration", rows)
        if self.frame_dose > 0 or any(row.dose > 0 for row in rows):
            check_voltage(self.voltage)


@dataclass(frozen=True)
class Motion(Checked):
    """How motion is measured."""

    align: bool = setting(True, "Measure and correct motion; otherwise the frames are summed as they are.", "-Align")
    patches: tuple[int, int] = setting(
        (0, 0), "Number of patches across x and y for local motion; below 2: global motion only.", "-Patch", low=0
    )
    iterations: int = setting(
        15, "Maximum number of iterations of the alignment.", "-Iter", low=1, ranges=Ranges((1, 1000))
    )
    tolerance: float = setting(
        0.1,
        "The alignment ends when shifts change by less than this.",
        "-Tol",
        unit="unbinned px",
        low=0,
        ranges=Ranges((0, 5)),
    )
    bfactor: tuple[float, float] = setting(
        (500.0, 100.0),
        "B-factors. The first is used in the coarse search for global motion, where larger ones suit weaker signals. "
        "With {weights} bfactor, the first is also used in the fit of global motion and the second in the fit of local "
        "motion; otherwise the second has no effect. In pixels of an image whose short side is 2048.",
        "-Bft",
        unit="px²",
        low=0,
        ranges=Ranges((0, 10000), (1e-9, 1e6)),
    )
    group: tuple[int, int] = setting(
        (1, 1), "Number of frames aligned together: for global and for local motion.", "-Group", unit="frames", low=1
    )
    phase_only: bool = setting(False, "Use phase correlation in the coarse search.", "-PhaseOnly")
    reference: int = setting(
        -1,
        "Frame whose positions the sum shows, counted from 0 among the used frames; below 0: the middle one.",
        "-FmRef",
    )
    weights: Weights = setting(
        "data",
        "Weights of the frequencies in the fit: data (from the correlation of half sums) or bfactor (from {bfactor}, "
        "as in MotionCor2).",
        "--weights",
    )


@dataclass(frozen=True)
class Sums(Checked):
    """Which sums are made, and their size."""

    bin: float = setting(
        1.0, "Bin the sums by this factor, by cropping in Fourier space.", "-FtBin", low=1, ranges=Ranges((1, 16))
    )
    crop: tuple[int, int] = setting(
        (0, 0),
        "Width and height of the central part of the frames that the sums show, made even; 0: all. Motion is measured "
        "on whole frames.",
        "-Crop",
        unit="unbinned px",
        low=0,
    )
    magnification: tuple[float, float, float] = setting(
        (1.0, 1.0, 0.0),
        "Correct anisotropic magnification: major scale, minor scale, angle of the major axis in degrees, as "
        "mag_distortion_estimate prints them. The image is stretched along the major axis by major / minor.",
        "-Mag",
    )
    sum_range: tuple[float, float] = setting(
        (3.0, 25.0),
        "Accumulated dose of the frames in the second dose-weighted sum (_DWS), from and to. No such sum is made when "
        f"the range is at most {MIN_SUM_RANGE_WIDTH:g} wide; 0, 0 turns it off.",
        "-SumRange",
        unit="e/A²",
    )
    split: bool = setting(
        False,
        "Also make the sums of odd (_ODD) and of even frames (_EVN), dose-weighted when the dose is known.",
        "-SplitSum",
    )
    global_sum: bool = setting(False, "Also make the plain sum after correction of global motion only.", "-FullSum")
    stack_group: int = setting(
        1, "Number of consecutive frames summed to one image of the stack of corrected frames.", "-OutStack 1", low=1
    )
    intraframe_motion: bool = setting(
        False,
        "Account for motion within each frame: the frequencies that it blurs get a lower weight in that frame.",
        "-InFmMotion",
    )
    float16: bool = setting(
        False,
        "Write the sums with 16 bits per pixel (floating point, MRC mode 12), which takes half the room. RELION and "
        "cryoSPARC read them. Values beyond 65504 cannot be written so. Stacks and spectra keep 32 bits.",
        "--float16",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.sum_range
        if low > high:
            raise SettingsError(
                Setting("sum_range", self.sum_range),
                ": expected two numbers, the smaller one first, or (0, 0) for none.",
            )
        check_magnification(self.magnification)

    @property
    def dose_range(self) -> tuple[float, float] | None:
        """Accumulated dose (e/A²) of the frames in the _DWS sum, from and to; None: no such sum."""
        return usable_dose_range(*self.sum_range)


@dataclass(frozen=True)
class Transfer(Checked):
    """Estimation of the contrast transfer function (CTF) from the corrected sum."""

    spherical_aberration: float = setting(
        0.0,
        "Spherical aberration. Above 0, and with {pixel_size}, the CTF is estimated from the corrected sum.",
        "-Cs",
        unit="mm",
        low=0,
    )
    amplitude_contrast: float = setting(
        0.07, "Amplitude contrast, for the estimation of the CTF.", "-AmpCont", low=0, high=0.99
    )
    expected_phase: float = setting(
        0.0,
        "Expected phase shift of a phase plate. Above 0, it is estimated, in a range of twice this value, at most 180, "
        "around it.",
        "-ExtPhase",
        unit="degrees",
        low=0,
    )
    power_spectrum: bool = setting(
        False,
        "Also write the amplitude spectrum of the corrected movie (_PS), as RELION does, for programs that estimate "
        "the CTF.",
        "--power-spectrum",
    )


@dataclass(frozen=True)
class Machine(Checked):
    """Where the work is done."""

    gpus: tuple[int, ...] = setting((), "GPUs to use; none: the CPU.", "-Gpu", low=0)
    threads: int = setting(
        0,
        "Number of CPU threads; 0: all cores that this process may use.",
        "--threads",
        low=0,
        ranges=Ranges((0, 1024), (1, 100000)),
    )
    gpu_memory: float = setting(
        0.75,
        "Fraction of the free GPU memory that raw frames may take. When they do not fit, every pass reads them again.",
        "-GpuMemUsage",
        low=0,
        high=1,
    )
    max_memory: int = setting(
        0,
        "Maximum memory to use. Frames that do not fit are read again in every pass instead of being kept. 0: all "
        "frames are kept.",
        "--max-memory",
        unit="bytes",
        low=0,
    )


@dataclass(frozen=True)
class Settings:
    """All settings. They are checked when they are made: `SettingsError` names the field that has a wrong value.

    ``given``: names of the fields that the user chose. What a movie's metadata state does not replace these.
    """

    detector: Detector = field(default_factory=Detector)
    exposure: Exposure = field(default_factory=Exposure)
    motion: Motion = field(default_factory=Motion)
    sums: Sums = field(default_factory=Sums)
    transfer: Transfer = field(default_factory=Transfer)
    machine: Machine = field(default_factory=Machine)
    given: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def unbinned_output_pixel_size(self) -> float:
        """A of an unbinned pixel of the sums. The correction of anisotropic magnification made it finer. 0: unknown."""
        return self.exposure.pixel_size / max(self.sums.magnification[:2])

    @property
    def output_pixel_size(self) -> float:
        """A of a pixel of the sums; 0: unknown."""
        return self.unbinned_output_pixel_size * self.sums.bin


class Choices(TypedDict, total=False):
    """Every field of the classes above, as keyword arguments of `restframe.correct`."""

    gain: Reference
    dark: Reference
    rot_gain: QuarterTurns
    flip_gain: FlipAxis
    inv_gain: bool
    defect_file: FilePath | None
    defect_map: Reference
    find_defects: bool
    pixel_size: float
    voltage: float
    frame_dose: float
    initial_dose: float
    throw: int
    trunc: int
    integration: FilePath | tuple[Row, ...] | None
    eer_grouping: int
    eer_sampling: EerSampling
    align: bool
    patches: tuple[int, int]
    iterations: int
    tolerance: float
    bfactor: tuple[float, float]
    group: tuple[int, int]
    phase_only: bool
    reference: int
    weights: Weights
    bin: float
    crop: tuple[int, int]
    magnification: tuple[float, float, float]
    sum_range: tuple[float, float]
    split: bool
    global_sum: bool
    stack_group: int
    intraframe_motion: bool
    float16: bool
    spherical_aberration: float
    amplitude_contrast: float
    expected_phase: float
    power_spectrum: bool
    gpus: tuple[int, ...]
    threads: int
    gpu_memory: float
    max_memory: int


def with_choices(settings: Settings, choices: Mapping[str, object]) -> Settings:
    """``settings`` with fields replaced by name, whatever class they are in.

    Raises TypeError for an unknown name, `SettingsError` for a value that the field does not take.
    """
    unknown = sorted(set(choices) - set(SETTINGS))
    if unknown:
        raise TypeError(f"unknown setting {', '.join(unknown)}; there are {', '.join(sorted(SETTINGS))}")
    for topic in fields(settings):
        if topic.name == "given":
            continue
        topic_settings = getattr(settings, topic.name)
        names = {one.name for one in fields(topic_settings)}
        if chosen := {name: value for name, value in choices.items() if name in names}:
            settings = replace(settings, **{topic.name: replace(topic_settings, **chosen)})
    return replace(settings, given=settings.given | frozenset(choices))


def usable_dose_range(low: float, high: float) -> tuple[float, float] | None:
    """The range of accumulated dose (e/A²) for the _DWS sum, as MotionCor2 reads -SumRange: it begins at 0 or above.
    None where it is too narrow for a sum.
    """
    low = max(low, 0.0)
    return (low, high) if high - low > MIN_SUM_RANGE_WIDTH else None


def check_voltage(voltage: float) -> None:
    """Raise SettingsError where no critical dose is known for ``voltage`` (kV)."""
    low, high = VOLTAGE_RANGE_KV
    if not low <= voltage <= high:
        raise SettingsError(
            Setting("voltage", voltage),
            f": dose weighting is defined for {bounds_text(low, high)} kV. Give such a voltage, or no ",
            Setting("frame_dose"),
            ".",
        )


def check_magnification(magnification: tuple[float, float, float]) -> None:
    """Raise SettingsError unless scales and angle are such that a stretch can be computed."""
    low, high = POSSIBLE_SCALES
    scales, angle = magnification[:2], magnification[2]
    if not (all(low <= scale <= high for scale in scales) and abs(angle) <= LARGEST_ANGLE):
        raise SettingsError(
            Setting("magnification", magnification),
            f": expected two scales near 1 and an angle in degrees; scales of {bounds_text(*USUAL_SCALES)} are usual, "
            f"{bounds_text(low, high)} possible.",
        )


def _checked_rows(rows: tuple[object, ...]) -> tuple[Row, ...]:
    """Rows of an integration file, also where they are plain tuples. Raises SettingsError."""
    checked = []
    for row in rows:
        numbers = Row(*row) if isinstance(row, tuple | list) and len(row) in (2, 3) else Row(0, 0)
        if not all(isinstance(number, Real) and 0 <= number < math.inf for number in numbers) or not (
            min(numbers[:2]) >= 1 and numbers.frames == int(numbers.frames) and numbers.size == int(numbers.size)
        ):
            raise SettingsError(
                Setting("integration", rows),
                f": expected rows of two integers, 1 or more, and a dose, 0 or more; found {row!r}.",
            )
        checked.append(Row(int(numbers.frames), int(numbers.size), float(numbers.dose)))
    return tuple(checked)


def _same_value(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)
    return one == other


SETTINGS: dict[str, SettingInfo] = {
    info.name: info
    for settings_class in (Detector, Exposure, Motion, Sums, Transfer, Machine)
    for info in fields_of(settings_class)
}
