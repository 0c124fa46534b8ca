"""The one table of flags: parsing, help, the parameter echo and docs/flags.md are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Value = int | float | str


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
    group: str
    help: str
    unit: str = ""
    manual: str = ""  # section of MotionCor2's manual
    since: str = "0.1"
    status: Status = Status.WORKS
    many: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    doubled: bool = False  # one value stands for the first two

    @property
    def arity(self) -> int:
        """How many values count; 0: any number."""
        return 0 if self.many else len(self.default)


def _inert(name: str, help: str) -> Flag:
    return Flag(name, str, (), "Accepted, no effect", help, status=Status.INERT, many=True)


def _files() -> tuple[Flag, ...]:
    return (
        Flag("-InMrc", str, ("",), "Movie", "Movie in an MRC file.", manual="2"),
        Flag("-InTiff", str, ("",), "Movie", "Movie in a TIFF file; its rows are flipped on reading.", manual="13"),
        Flag("-InEer", str, ("",), "Movie", "Movie in an EER file.", manual="14"),
        Flag(
            "-Serial",
            int,
            (0,),
            "Movie",
            "1: all movies of the folder after -InTiff, -InMrc or -InEer whose names begin with what stands after the "
            "last /. More than 1, to wait for new ones, is not there yet.",
            manual="12",
            low=0,
        ),
        Flag(
            "-InSuffix",
            str,
            ("",),
            "Movie",
            "With -Serial: text that the names of the movies have, in any case; without it, the usual extensions.",
            manual="12",
        ),
        Flag(
            "-InSkips",
            str,
            (),
            "Movie",
            "With -Serial: movies whose name contains one of these are left out.",
            manual="12",
            many=True,
        ),
        Flag(
            "-OutMrc",
            str,
            ("",),
            "Output",
            "The corrected sum. Its name without .mrc is the root of the others: "
            "_DW dose-weighted, _DWS the same over -SumRange, _ODD and _EVN with -SplitSum.",
            manual="2",
        ),
        Flag(
            "-LogDir",
            str,
            ("",),
            "Output",
            "Folder for logs of the motion, named after the movie. Made if missing.",
            manual="21",
        ),
        Flag(
            "-LogFile",
            str,
            ("",),
            "Output",
            "The same logs, older naming: the names begin with this text and a 0.",
            manual="21",
        ),
        Flag(
            "-SumRange",
            float,
            (3.0, 25.0),
            "Output",
            "Accumulated dose of the frames in the _DWS sum. "
            "None is made when the range is at most 1 wide; 0 0 turns it off.",
            unit="e/A²",
            manual="9.1",
        ),
        Flag(
            "-SplitSum",
            int,
            (0,),
            "Output",
            "1: sums of odd (_ODD) and of even frames (_EVN) too, dose-weighted when the dose is known.",
            manual="20",
        ),
        Flag(
            "-OutStack",
            int,
            (0, 1),
            "Output",
            "1 z: the corrected frames (_Stk), z of them summed to one.",
            manual="15",
            low=0,
        ),
        Flag(
            "-OutStar",
            int,
            (0,),
            "Output",
            "1: motion in a STAR file for RELION, MOVIE.star beside the sums.",
            low=0,
            high=1,
        ),
        Flag("-FullSum", str, ("",), "Output", "File for the plain sum after whole-frame correction alone."),
        Flag(
            "-ArcDir",
            str,
            ("",),
            "Output",
            "Folder for copies of the raw movies, MOVIE.mrc with 4 bits a pixel (more where counts need them) and the "
            "gain in the header. Made if missing.",
            manual="18",
        ),
    )


def _exposure() -> tuple[Flag, ...]:
    return (
        Flag("-Gain", str, ("",), "Camera", "Gain reference, MRC or TIFF. Frames are multiplied by it.", manual="4"),
        Flag("-Dark", str, ("",), "Camera", "Dark reference, subtracted before the gain.", manual="5"),
        Flag(
            "-RotGain",
            int,
            (0,),
            "Camera",
            "Rotate gain and dark by this many quarter turns; counter-clockwise when row 0 is drawn at the bottom.",
            manual="4",
            low=0,
            high=3,
        ),
        Flag(
            "-FlipGain",
            int,
            (0,),
            "Camera",
            "After that: 1 reverses the rows (upside down), 2 the columns (left and right).",
            manual="4",
            low=0,
            high=2,
        ),
        Flag(
            "-InvGain",
            int,
            (0,),
            "Camera",
            "1: after that, use the reciprocal of the gain (zeros stay zero).",
            manual="4",
            low=0,
            high=1,
        ),
        Flag(
            "-DefectFile",
            str,
            ("",),
            "Camera",
            "Text file of bad pixels, one rectangle x y w h a line; x, y from 0 at the lower left of a TIFF movie, "
            "at the first pixel of others.",
            manual="17",
        ),
        Flag("-DefectMap", str, ("",), "Camera", "Image of bad pixels, MRC or TIFF: 1 where one is.", manual="17"),
        Flag(
            "-PixSize",
            float,
            (0.0,),
            "Exposure",
            "Pixel of the movie, for EER as -EerSampling makes it. Needed for dose weighting; headers show it.",
            unit="A",
            manual="9",
            low=0,
        ),
        Flag(
            "-kV",
            float,
            (300.0,),
            "Exposure",
            "Acceleration voltage; dose weighting knows 80 to 300.",
            unit="kV",
            manual="9",
            low=0,
        ),
        Flag(
            "-FmDose",
            float,
            (0.0,),
            "Exposure",
            "Dose of one raw frame of the movie, where -FmIntFile gives none. 0: no dose weighting.",
            unit="e/A²",
            manual="9",
            low=0,
        ),
        Flag(
            "-InitDose",
            float,
            (0.0,),
            "Exposure",
            "Dose that the specimen had before the first frame.",
            unit="e/A²",
            manual="9",
            low=0,
        ),
        Flag(
            "-Throw",
            int,
            (0,),
            "Exposure",
            "Frames left out at the start. Their dose counts.",
            unit="frames",
            manual="7",
            low=0,
        ),
        Flag("-Trunc", int, (0,), "Exposure", "Frames left out at the end.", unit="frames", manual="7", low=0),
        Flag(
            "-FmIntFile",
            str,
            ("",),
            "Exposure",
            "Text file of raw frames to be summed: how many frames, how many to one, dose of a raw frame.",
            manual="9.2",
        ),
        Flag(
            "-EerSampling",
            int,
            (1,),
            "Exposure",
            "Pixels of an EER movie: 1, 2 or 3 for 1, 2 or 4 to a side.",
            manual="14",
            low=1,
            high=3,
        ),
    )


def _alignment() -> tuple[Flag, ...]:
    return (
        Flag(
            "-Patch",
            int,
            (0, 0, 0),
            "Motion",
            "Patches across x and y for local motion; below 2: whole frames only. "
            "One number is used for both. The third, overlap in percent, has no effect: patches always overlap.",
            manual="2",
            low=0,
            doubled=True,
        ),
        Flag("-Iter", int, (15,), "Motion", "Most rounds of alignment.", manual="6", low=1),
        Flag(
            "-Tol", float, (0.1,), "Motion", "Alignment ends when shifts change by less.", unit="px", manual="6", low=0
        ),
        Flag(
            "-Bft",
            float,
            (500.0, 100.0),
            "Motion",
            "B-factors of the first, coarse search: whole frames, patches. "
            "Larger ones suit weaker signal. One number is the first.",
            unit="px²",
            manual="16",
            low=0,
        ),
        Flag(
            "--weights",
            str,
            ("data",),
            "Motion",
            "What weights the frequencies in the fit: data (the correlation of "
            "half sums), or bfactor (-Bft, as MotionCor2 does).",
            choices=("data", "bfactor"),
        ),
        Flag("-PhaseOnly", int, (0,), "Motion", "1: the coarse search by phase correlation.", low=0, high=1),
        Flag(
            "-Group",
            int,
            (1, 1),
            "Motion",
            "Frames aligned together: whole frames, patches. One number is used for both.",
            unit="frames",
            manual="16.1",
            low=0,
            doubled=True,
        ),
        Flag(
            "-FmRef",
            int,
            (-1,),
            "Motion",
            "Frame whose positions the sum shows, from 0 among the used ones; below 0: the middle one.",
            manual="8",
        ),
        Flag("-Align", int, (1,), "Motion", "0: the plain sum of the frames as they lie.", low=0, high=1),
        Flag(
            "-InAln",
            str,
            ("",),
            "Motion",
            "Folder with motion that -OutAln saved: it is applied, nothing is measured. -Throw, -Trunc, -Patch and "
            "-FmRef are those of then where they are not given.",
        ),
        Flag("-OutAln", str, ("",), "Motion", "Folder for the motion, MOVIE.aln. Made if missing."),
        Flag("-FtBin", float, (1.0,), "Correction", "Bin the sums by cropping in Fourier space.", manual="11", low=1),
        Flag(
            "-Mag",
            float,
            (1.0, 1.0, 0.0),
            "Correction",
            "Undo anisotropic magnification: major scale, minor scale, angle of the major axis in degrees, as "
            "mag_distortion_estimate prints them. The image is stretched along the major axis by major / minor.",
            manual="10",
        ),
        Flag(
            "-InFmMotion",
            int,
            (0,),
            "Correction",
            "1: allow for motion during a frame: the frequencies that it blurs count less in that frame.",
            manual="19",
            low=0,
            high=1,
        ),
        Flag(
            "-Crop",
            int,
            (0, 0),
            "Correction",
            "Width and height of the middle of the frames that the sums show, made even; 0: all. "
            "Motion is measured on whole frames.",
            unit="px",
            low=0,
        ),
    )


def _machine() -> tuple[Flag, ...]:
    return (
        Flag(
            "-Gpu",
            int,
            (0,),
            "Machine",
            "GPUs to use; -1: the CPU. Without CUDA the CPU is used.",
            manual="3",
            many=True,
            low=-1,
        ),
        Flag(
            "-UseGpus",
            int,
            (0,),
            "Machine",
            "Use only so many of them, those with the most free memory. 0: all.",
            manual="3.1",
            low=0,
        ),
        Flag("--threads", int, (0,), "Machine", "CPU threads; 0: all cores that this process may use.", low=0),
        Flag(
            "--max-memory",
            str,
            ("",),
            "Machine",
            "Memory to use at most, with its unit: 6GB, 800MB. Frames that don't fit are read again in every pass "
            "instead of kept. Without it they are kept.",
        ),
        Flag(
            "-GpuMemUsage",
            float,
            (0.75,),
            "Machine",
            "Share of the free GPU memory that raw frames may take. When they don't fit, every pass reads them again.",
            low=0,
            high=1,
        ),
        _inert("-CorrInterp", "Making up for what interpolation loses: that is always done."),
        _inert("-MaskCent", "Centre of the aligned area: all of the frame is aligned."),
        _inert("-MaskSize", "Size of the aligned area."),
        _inert("-StackZ", "Number of frames: read from the movie."),
        _inert("-Tilt", "Start and step of a tilt series: one movie is one image."),
        _inert("-Cs", "For CTF estimation, which is not part of restframe."),
        _inert("-AmpCont", "For CTF estimation."),
        _inert("-ExtPhase", "For CTF estimation."),
        _inert("-TmpFile", "Temporary files: none are made but the outputs' own."),
        _inert("-TiffOrder", "Order in which the frames of a file are read."),
    )


FLAGS: tuple[Flag, ...] = _files() + _exposure() + _alignment() + _machine()
