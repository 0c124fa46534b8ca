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

FlagValue = int | float | str

FLAG_WORDS: dict[str, str] = {setting_info.name: setting_info.rule.flag for setting_info in SETTINGS.values()}
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
    default: tuple[FlagValue, ...]
    description: str
    group: str = ""
    field: str = ""  # of the settings, when the values are used as they are
    unit: str = ""
    manual: str = ""  # section of MotionCor2's manual
    since: str = "0.1"  # version in which the flag began to work
    status: Status = Status.WORKS
    many: bool = False  # any number of values
    low: float | None = None
    high: float | None = None
    usual: tuple[float, float] | None = None  # shown in the help; values outside it are used, with a warning
    possible: tuple[float, float] | None = None  # what can be computed, beside 0
    choices: tuple[str, ...] = ()
    doubled: bool = False  # one value stands for the first two
    switch: bool = False  # the flag without a value means 1

    @property
    def arity(self) -> int:
        """How many values count; 0: any number."""
        return 0 if self.many else len(self.default)


def _text_flag(name: str, description: str, manual: str = "") -> Flag:
    """A flag whose value is a name or another text."""
    return Flag(name, str, ("",), description, manual=manual)


def _integer_flag(name: str, description: str, manual: str = "", **properties: Any) -> Flag:
    """A flag with one integer, 0 unless ``properties`` say otherwise."""
    return replace(Flag(name, int, (0,), description, manual=manual), **properties)


def _switch_flag(name: str, description: str) -> Flag:
    """A flag that is off unless it is given; alone it means 1."""
    return _integer_flag(name, f"{description} The flag alone means 1.", low=0, high=1, switch=True)


def _inert_flag(name: str, description: str) -> Flag:
    """A flag of MotionCor2 or MotionCor3 that is accepted with any value and has no effect."""
    return Flag(name, str, (), description, status=Status.INERT, many=True)


def _setting_flag(field_name: str, manual: str = "", note: str = "", **properties: Any) -> Flag:
    """The flag that sets a field. ``note``: an addition to the field's description."""
    setting_info = SETTINGS[field_name]
    description = f"{setting_info.rule.description.format_map(FLAG_WORDS)} {note}".strip()
    value_type, default = _type_and_default(setting_info)
    is_bool = setting_info.value_type is bool
    flag = Flag(
        setting_info.rule.flag,
        value_type,
        default,
        description,
        field=setting_info.name,
        unit=setting_info.rule.unit,
        manual=manual,
        low=0 if is_bool else setting_info.rule.low,
        high=1 if is_bool else setting_info.rule.high,
        usual=setting_info.rule.usual,
        possible=setting_info.rule.possible,
        choices=setting_info.choices,
        switch=is_bool and setting_info.rule.flag.startswith("--"),
    )
    return replace(flag, **properties)


def _type_and_default(setting_info: SettingInfo) -> tuple[type[int] | type[float] | type[str], tuple[FlagValue, ...]]:
    """How the command line writes a field: True as 1, a file that is not given as an empty text."""
    if setting_info.value_type is bool:
        return int, (int(setting_info.default),)
    if setting_info.value_type is object:
        return str, ("",)
    value_type = {int: int, float: float, str: str}[setting_info.value_type]
    return value_type, setting_info.default if setting_info.count != 1 else (setting_info.default,)


_TABLE: Mapping[str, tuple[Flag, ...]] = {
    "Movie": (
        _text_flag("-InMrc", "Movie in an MRC file.", "2"),
        _text_flag("-InTiff", "Movie in a TIFF file; its rows are flipped on reading.", "13"),
        _text_flag("-InEer", "Movie in an EER file.", "14"),
        _integer_flag(
            "-Serial",
            "1: correct all movies of a folder. The text after -InTiff, -InMrc or -InEer is the folder, a / and the "
            "start of the movies' names. More than 1: also wait for new movies, until there were none for so many "
            "seconds.",
            "12",
            low=0,
        ),
        _text_flag(
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
    "Batch": (
        _text_flag(
            "--slice",
            "With -Serial: correct only a share of the movies, such as 3/8: for jobs that share the movies of a "
            "folder. The names of the movies decide who corrects which.",
        ),
        _text_flag(
            "--cluster",
            "With -Serial: workers of a Dask cluster correct the movies. The address of its scheduler "
            "(tcp://host:8786), its file (NAME.json), or slurm, to start workers as jobs. Needs restframe[cluster].",
        ),
        _switch_flag("--recursive", "With -Serial: also correct movies in folders within the folder."),
        Flag(
            "--settle",
            float,
            (5.0,),
            "When new movies are awaited: a movie is complete when its size and time have not changed for so long.",
            unit="s",
            low=0,
        ),
        _switch_flag("--newest-first", "When new movies are awaited: correct the newest one first, not the oldest."),
        _switch_flag("--redo", "With -Serial: also correct movies again that an earlier run has corrected."),
        _switch_flag("--retry-failed", "With -Serial: also correct movies again that failed in an earlier run."),
    ),
    "Output": (
        _text_flag(
            "-OutMrc",
            "The corrected sum. Its name without .mrc is the root of the others: _DW dose-weighted, _DWS the same over "
            "-SumRange, _ODD and _EVN with -SplitSum.",
            "2",
        ),
        _text_flag("-LogDir", "Folder for logs of the motion, named after the movie. It is made if missing.", "21"),
        _text_flag("-LogFile", "The same logs with older names: they begin with this text and a 0.", "21"),
        _setting_flag("sum_range", "9.1"),
        _setting_flag("split", "20", low=None, high=None),  # MotionCor2 takes any number other than 0 for 1
        Flag(
            "-OutStack",
            int,
            (0, 1),
            "1 z: write the corrected frames (_Stk); z consecutive ones are summed to one image.",
            manual="15",
            low=0,
        ),
        _integer_flag(
            "-OutStar",
            "1: write the motion to a STAR file for RELION, MOVIE.star beside the sums; with -Serial also "
            "corrected_micrographs.star, the list of all movies.",
            low=0,
            high=1,
        ),
        _setting_flag("float16"),
        _text_flag("-FullSum", "File for the plain sum after correction of global motion only."),
        _text_flag(
            "-ArcDir",
            "Folder for copies of the raw movies, MOVIE.mrc with 4 bits per pixel (more where counts need them) and "
            "the gain in the header. It is made if missing.",
            "18",
        ),
        _integer_flag(
            "--record",
            "Write a JSON record of the correction beside the corrected sum. The flag alone means 1.",
            low=0,
            high=1,
            switch=True,
        ),
        _integer_flag(
            "--thumbnails",
            "With -Serial: write a small picture of each sum and of its power spectrum, which the record names and "
            "the session page shows. For one movie they are written where this flag and --record are given.",
            default=(1,),
            low=0,
            high=1,
            switch=True,
        ),
        _integer_flag(
            "--report",
            "With -Serial: keep a page of all movies up to date, restframe/report.html beside the sums. It opens in "
            "any browser.",
            default=(1,),
            low=0,
            high=1,
            switch=True,
        ),
        _integer_flag(
            "--plot",
            "Draw each movie's motion, image, spectrum, doses and bad pixels: ROOT_plot.png beside the record, which "
            "is written too. About a second per movie. Needs matplotlib.",
            low=0,
            high=1,
            switch=True,
        ),
        _integer_flag(
            "--fsync",
            "Force each file to the disk before it gets its final name, and the record after the others, so that what "
            "is there after a power cut is complete. 0: leave that to the system.",
            default=(1,),
            low=0,
            high=1,
            switch=True,
        ),
    ),
    "Camera": (
        _setting_flag("gain", "4"),
        _setting_flag("dark", "5"),
        _setting_flag("rot_gain", "4"),
        _setting_flag("flip_gain", "4"),
        _setting_flag("inv_gain", "4"),
        _setting_flag("defect_file", "17"),
        _setting_flag("defect_map", "17"),
        _setting_flag("find_defects"),
        _text_flag(
            "--write-defects",
            "File for the bad pixels, as -DefectFile reads it. In a batch: a folder, with MOVIE.txt for each movie.",
        ),
    ),
    "Exposure": (
        _setting_flag("pixel_size", "9"),
        _setting_flag("voltage", "9"),
        _setting_flag("frame_dose", "9"),
        _setting_flag("initial_dose", "9"),
        _setting_flag("throw", "7"),
        _setting_flag("trunc", "7"),
        _setting_flag("integration", "9.2"),
        _setting_flag("eer_grouping"),
        _setting_flag("eer_sampling", "14", "4 is taken for 3.", high=4),
    ),
    "Motion": (
        _setting_flag(
            "patches",
            "2",
            "One number is used for both. The third, overlap in percent, has no effect: patches always overlap.",
            default=(0, 0, 0),
            doubled=True,
        ),
        _setting_flag("iterations", "6"),
        _setting_flag("tolerance", "6"),
        _setting_flag("bfactor", "16", "One number is the first."),
        _setting_flag("weights"),
        _setting_flag("phase_only"),
        _setting_flag(
            "group",
            "16.1",
            "One number is used for both; 0 counts as 1. For an EER movie without -FmIntFile the first, if above 1, is "
            "the number of raw frames summed to one fraction, as in MotionCor.",
            low=0,
            doubled=True,
        ),
        _setting_flag("reference", "8"),
        _setting_flag("align"),
        _text_flag(
            "-InAln",
            "Folder with motion that -OutAln saved, or RELION's MOVIE.star. It is applied, nothing is measured. -Throw,"
            " -Trunc, -Patch and -FmRef are taken from the saved motion where they are not given.",
        ),
        _text_flag("-OutAln", "Folder for the motion, MOVIE.aln. It is made if missing."),
    ),
    "Correction": (
        _setting_flag("bin", "11"),
        _setting_flag("magnification", "10"),
        _setting_flag("intraframe_motion", "19"),
        _setting_flag("crop"),
    ),
    "CTF": (
        _setting_flag("spherical_aberration"),
        _setting_flag("amplitude_contrast"),
        _setting_flag("expected_phase"),
        _setting_flag("power_spectrum"),
    ),
    "Machine": (
        Flag(
            "-Gpu", int, (0,), "GPUs to use; -1: the CPU. Without CUDA the CPU is used.", manual="3", many=True, low=-1
        ),
        _integer_flag(
            "-UseGpus",
            "Use only this number of them, free ones, noted in MotionCor2's file of free GPUs. 0, or as many as are "
            "listed: all, whoever else uses them.",
            "3.1",
            low=0,
        ),
        _setting_flag("threads"),
        _text_flag(
            "--max-memory",
            "Maximum memory to use, with its unit: 6GB, 800MB. Frames that do not fit are read again in every pass "
            "instead of being kept. Without this flag all frames are kept.",
        ),
        _setting_flag("gpu_memory"),
    ),
    "Accepted, no effect": (
        _inert_flag("-CorrInterp", "Correction of interpolation: restframe always does it."),
        _inert_flag("-MaskCent", "Centre of the area used for alignment: restframe uses the whole frame."),
        _inert_flag("-MaskSize", "Size of that area."),
        _inert_flag("-StackZ", "Number of frames: read from the movie."),
        _inert_flag("-Tilt", "Start and step of a tilt series: one movie is one image."),
        _inert_flag("-TmpFile", "Temporary files: restframe only makes those of the outputs."),
        _inert_flag("-TiffOrder", "Order in which the frames of a file are read."),
    ),
}

FLAGS: tuple[Flag, ...] = tuple(replace(flag, group=group) for group, flags in _TABLE.items() for flag in flags)


def values_text(values: tuple[FlagValue, ...]) -> str:
    """Values as the parameter echo, the help and messages write them."""
    return " ".join(value if isinstance(value, str) else _number_text(value) for value in values)


def _number_text(value: float) -> str:
    try:
        return f"{value:.10g}"
    except OverflowError:  # an integer of hundreds of digits
        return f"{str(value)[:20]}..."
