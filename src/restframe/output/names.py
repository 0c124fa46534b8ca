"""Names of the files that one movie gives."""

from __future__ import annotations

import re
from pathlib import Path

STACK_SUFFIX = "_Stk"
LOG_ENDINGS = ("-Full.log", "-Patch-Full.log", "-Patch-Patch.log", "-Patch-Frame.log")
RECORD_FOLDER = "restframe"  # of the records of a batch, beside the sums
PICTURE_FOLDER = "pictures"  # beside the records
PICTURE_KINDS = ("thumbnail", "spectrum")
SUFFIXES = {  # Result's images, in the order in which they are put in place: the unweighted sum comes last
    "dose_weighted": "_DW",
    "dose_weighted_range": "_DWS",
    "odd": "_ODD",
    "even": "_EVN",
    "sum": "",
}


def image_paths(out_mrc: str, serial: str = "") -> dict[str, Path]:
    """Where each image of a Result goes: -OutMrc without its extension, the movie's own part of the name (-Serial),
    the suffix, ``.mrc``.

    Extensions that are cut off, in any case: .mrc, .mrcs, .st; other dots belong to the name.
    """
    return {name: Path(f"{_root(out_mrc)}{serial}{suffix}.mrc") for name, suffix in SUFFIXES.items()}


def stack_path(out_mrc: str, serial: str = "") -> Path:
    """Where the stack of corrected frames goes, named like `image_paths`."""
    return Path(f"{_root(out_mrc)}{serial}{STACK_SUFFIX}.mrc")


def whole_frame_path(full_sum: str, serial: str | None = None) -> Path:
    """Where the sum after -FullSum goes: as it says, and with -Serial with the movie's own part of the name."""
    return Path(full_sum if serial is None else f"{_root(full_sum)}{serial}.mrc")


def record_path(sum_path: Path, in_batch: bool) -> Path:
    """Where the record goes: beside the sum; in a batch to a folder there. Its name is the sum's with .json."""
    folder = sum_path.parent / RECORD_FOLDER if in_batch else sum_path.parent
    return folder / f"{sum_path.stem}.json"


def picture_paths(record: Path) -> dict[str, Path]:
    """Where the pictures of a movie go, by kind: a folder beside the record, which can be deleted."""
    return {kind: record.parent / PICTURE_FOLDER / f"{record.stem}_{kind}.jpg" for kind in PICTURE_KINDS}


def plot_path(record: Path) -> Path:
    """Where the figure of a movie goes: beside its record."""
    return record.with_name(f"{record.stem}_plot.png")


def ctf_paths(sum_path: Path) -> tuple[Path, Path]:
    """Where MotionCor3 puts the CTF of a sum: ROOT_Ctf.txt, and the spectrum beside the fit, ROOT_Ctf.mrc."""
    return sum_path.with_name(f"{sum_path.stem}_Ctf.txt"), sum_path.with_name(f"{sum_path.stem}_Ctf.mrc")


def power_spectrum_path(sum_path: Path) -> Path:
    """Where RELION puts the power spectrum of a corrected movie: ROOT_PS.mrc."""
    return sum_path.with_name(f"{sum_path.stem}_PS.mrc")


def _root(output: str) -> str:
    return re.sub(r"\.(mrcs?|st)$", "", output, flags=re.IGNORECASE)


def log_dir_base(log_dir: str, movie: str | Path) -> str:
    """Start of the log names for -LogDir: the movie's own name cut at its first .mrc, .tif or .eer."""
    stem = re.split(r"\.(?:mrc|tif|eer)", Path(movie).name, maxsplit=1, flags=re.IGNORECASE)[0]
    return str(Path(log_dir) / (stem or Path(movie).name))


def log_paths(base: str) -> list[Path]:
    """All logs that a movie can have, whatever the settings; ``base`` as from `log_dir_base` or `log_file_base`."""
    return [Path(f"{base}{ending}") for ending in LOG_ENDINGS]


def log_file_base(log_file: str, number: int = 0) -> str:
    """Start of the log names for -LogFile (MotionCor2 <= 1.4.5): the text as it is, and the number of the movie in
    the batch, from 0.
    """
    return f"{log_file}{number}"
