"""The one table of flags. Parsing, help, the parameter echo and docs/flags.md are made from it.

A flag that sets a field of the settings takes type, default, bounds, choices, unit and description from the table of
settings (`restframe.settings.SETTINGS`); its row here only adds what the command line has in addition. Other flags
stand here with all that is known about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from restframe.fields import SettingInfo
from restframe.settings import SETTINGS

Value = int | float | str

FLAG_WORDS: dict[str, str] = {info.name: info.rule.flag for info in SETTINGS.values()}
"""Each field's flag, with the value that stands before the field's own if there is one (-OutStack 1 z)."""


class Status(Enum):
    """What a flag does in this version."""

    WORKS = "works"
    INERT = "accepted, no effect"  # any value, one line on stdout


@dataclass(frozen=True)
class Flag:
    """One flag of the command line.

    ``default`` also says how many values the flag takes, unless ``many``. ``low`` and ``high`` bound every value.
    """

    name: str
    type: type[int] | type[float] | type[str]
    default: tuple[Value, ...]
    help: str
    group: str = ""
    field: str = ""  # of the settings, when the values are used as they are
    unit: str = ""
    manual: str = ""  # section of MotionCor2's manual
    since: str = "0.1"  # version in which the flag began to work
    status: Status = Status.WORKS
    many: bool = False  # any number of values
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    doubled: bool = False  # one value stands for the first two
    switch: bool = False  # the flag without a value means 1

    @property
    def arity(self) -> int:
        """How many values count; 0: any number."""
        return 0 if self.many else len(self.default)


def _text(name: str, help: str, manual: str = "") -> Flag:
    """A flag whose value is a name or another text."""
    return Flag(name, str, ("",), help, manual=manual)


def _integer(name: str, help: str, manual: str = "", **properties: Any) -> Flag:
    """A flag with one integer, 0 unless ``properties`` say otherwise."""
    return replace(Flag(name, int, (0,), help, manual=manual), **properties)


def _inert(name: str, help: str) -> Flag:
    """A flag of MotionCor2 or MotionCor3 that is accepted with any value and has no effect."""
    return Flag(name, str, (), help, status=Status.INERT, many=True)


def _field(field_name: str, manual: str = "", note: str = "", **properties: Any) -> Flag:
    """The flag that sets a field. ``note``: an addition to the field's description."""
    info = SETTINGS[field_name]
    description = f"{info.rule.help.format_map(FLAG_WORDS)} {note}".strip()
    value_type, default = _type_and_default(info)
    flag = Flag(info.rule.flag, value_type, default, description, "", info.name, info.rule.unit, manual)
    bounds = (0, 1) if info.value_type is bool else (info.rule.low, info.rule.high)
    switch = info.value_type is bool and flag.name.startswith("--")
    return replace(replace(flag, low=bounds[0], high=bounds[1], choices=info.choices, switch=switch), **properties)


def _type_and_default(info: SettingInfo) -> tuple[type[int] | type[float] | type[str], tuple[Value, ...]]:
    """How the command line writes a field: True as 1, a file that is not given as an empty text."""
    if info.value_type is bool:
        return int, (int(info.default),)
    if info.value_type is object:
        return str, ("",)
    value_type = {int: int, float: float, str: str}[info.value_type]
    return value_type, info.default if info.count != 1 else (info.default,)


_TABLE: Mapping[str, tuple[Flag, ...]] = {
    "Movie": (
        _text("-InMrc", "Movie in an MRC file.", "2"),
        _text("-InTiff", "Movie in a TIFF file; its rows are flipped on reading.", "13"),
        _text("-InEer", "Movie in an EER file.", "14"),
        _integer(
            "-Serial",
            "1: correct all movies of a folder. The text after -InTiff, -InMrc or -InEer is the folder, a / and the "
            "start of the movies' names. More than 1, to wait for new movies, does not work yet.",
            "12",
            low=0,
        ),
        _text(
            "-InSuffix",
            "With -Serial: text that the names of the movies contain, in any case; without it, the usual extensions.",
            "12",
        ),
        Flag(
            "-InSkips",
            str,
            (),
            "With -Serial: movies whose names contain one of these texts are left out.",
            manual="12",
            many=True,
        ),
    ),
    "Output": (
        _text(
            "-OutMrc",
            "The corrected sum. Its name without .mrc is the root of the others: _DW dose-weighted, _DWS the same over "
            "-SumRange, _ODD and _EVN with -SplitSum.",
            "2",
        ),
        _text("-LogDir", "Folder for logs of the motion, named after the movie. It is made if missing.", "21"),
        _text("-LogFile", "The same logs with older names: they begin with this text and a 0.", "21"),
        _field("sum_range", "9.1"),
        _field("split", "20", low=None, high=None),  # MotionCor2 takes any number other than 0 for 1
        Flag(
            "-OutStack",
            int,
            (0, 1),
            "1 z: write the corrected frames (_Stk); z consecutive ones are summed to one image.",
            manual="15",
            low=0,
        ),
        _integer(
            "-OutStar", "1: write the motion to a STAR file for RELION, MOVIE.star beside the sums.", low=0, high=1
        ),
        _text("-FullSum", "File for the plain sum after correction of global motion only."),
        _text(
            "-ArcDir",
            "Folder for copies of the raw movies, MOVIE.mrc with 4 bits per pixel (more where counts need them) and "
            "the gain in the header. It is made if missing.",
            "18",
        ),
        _integer(
            "--record",
            "Write a JSON record of the correction beside the corrected sum. The flag alone means 1.",
            low=0,
            high=1,
            switch=True,
        ),
    ),
    "Camera": (
        _field("gain", "4"),
        _field("dark", "5"),
        _field("rot_gain", "4"),
        _field("flip_gain", "4"),
        _field("inv_gain", "4"),
        _field("defect_file", "17"),
        _field("defect_map", "17"),
        _field("find_defects"),
    ),
    "Exposure": (
        _field("pixel_size", "9"),
        _field("voltage", "9"),
        _field("frame_dose", "9"),
        _field("initial_dose", "9"),
        _field("throw", "7"),
        _field("trunc", "7"),
        _field("integration", "9.2"),
        _field("eer_sampling", "14"),
    ),
    "Motion": (
        _field(
            "patches",
            "2",
            "One number is used for both. The third, overlap in percent, has no effect: patches always overlap.",
            default=(0, 0, 0),
            doubled=True,
        ),
        _field("iterations", "6"),
        _field("tolerance", "6"),
        _field("bfactor", "16", "One number is the first."),
        _field("weights"),
        _field("phase_only"),
        _field("group", "16.1", "One number is used for both; 0 counts as 1.", low=0, doubled=True),
        _field("reference", "8"),
        _field("align"),
        _text(
            "-InAln",
            "Folder with motion that -OutAln saved: it is applied, nothing is measured. -Throw, -Trunc, -Patch and "
            "-FmRef are taken from the saved motion where they are not given.",
        ),
        _text("-OutAln", "Folder for the motion, MOVIE.aln. It is made if missing."),
    ),
    "Correction": (
        _field("bin", "11"),
        _field("magnification", "10"),
        _field("intraframe_motion", "19"),
        _field("crop"),
    ),
    "Machine": (
        Flag(
            "-Gpu", int, (0,), "GPUs to use; -1: the CPU. Without CUDA the CPU is used.", manual="3", many=True, low=-1
        ),
        _integer("-UseGpus", "Use only this number of them, those with the most free memory. 0: all.", "3.1", low=0),
        _field("threads"),
        _text(
            "--max-memory",
            "Maximum memory to use, with its unit: 6GB, 800MB. Frames that do not fit are read again in every pass "
            "instead of being kept. Without this flag all frames are kept.",
        ),
        _field("gpu_memory"),
    ),
    "Accepted, no effect": (
        _inert("-CorrInterp", "Correction of interpolation: restframe always does it."),
        _inert("-MaskCent", "Centre of the area used for alignment: restframe uses the whole frame."),
        _inert("-MaskSize", "Size of that area."),
        _inert("-StackZ", "Number of frames: read from the movie."),
        _inert("-Tilt", "Start and step of a tilt series: one movie is one image."),
        _inert("-Cs", "For CTF estimation, which is not part of restframe."),
        _inert("-AmpCont", "For CTF estimation."),
        _inert("-ExtPhase", "For CTF estimation."),
        _inert("-TmpFile", "Temporary files: restframe only makes those of the outputs."),
        _inert("-TiffOrder", "Order in which the frames of a file are read."),
    ),
}

FLAGS: tuple[Flag, ...] = tuple(replace(flag, group=group) for group, flags in _TABLE.items() for flag in flags)


def values_text(values: tuple[Value, ...]) -> str:
    """Values as the parameter echo, the help and messages write them."""
    return " ".join(value if isinstance(value, str) else f"{value:.10g}" for value in values)
