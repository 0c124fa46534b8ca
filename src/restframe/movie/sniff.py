"""Which format a file has, by its content: callers name the wrong flag and the wrong extension."""

from __future__ import annotations

import os
from pathlib import Path

from restframe.errors import InputError
from restframe.movie.mrc import HEADER_BYTES, parse_header

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EER_COMPRESSIONS = (65000, 65001, 65002)
OTHERS = {  # so that the message can say what was found
    b"\x1f\x8b": "gzip-compressed data; gunzip it first",
    b"BZh": "bzip2-compressed data; bunzip2 it first",
    b"\x28\xb5\x2f\xfd": "Zstd-compressed data; unzstd it first",
    b"\x89HDF": "HDF5",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x03\0": "Gatan DM3",
    b"\0\0\0\x04\0": "Gatan DM4",
}


def sniff(path: Path, expected: str | None = None) -> str:
    """'tiff', 'mrc' or 'eer'. ``expected`` is what the caller believes, for the message.

    Raises `InputError` if the file is missing, a folder, empty, not readable or of another format.
    """
    try:
        with open(path, "rb") as file:
            head, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Check the name.") from None
    except (IsADirectoryError, PermissionError):  # Windows reports a folder as not permitted
        if path.is_dir():
            raise InputError(f"{path} is a folder. Give the name of a file in it.") from None
        raise InputError(f"{path} cannot be read: permission denied.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise InputError(f"{path} is empty. Copy or write it again.")
    if head[:4] in TIFF_MAGIC:
        return "eer" if _is_eer(path) else "tiff"
    if parse_header(head, size) is not None:
        return "mrc"
    found = next((name for magic, name in OTHERS.items() if head.startswith(magic)), "an unknown format")
    wanted = f"{expected.upper()} was expected, " if expected else ""
    raise InputError(f"{path}: {wanted}TIFF, MRC and EER can be read; found {found}.")


def _is_eer(path: Path) -> bool:
    """By the compression of the first frame, before which the sum of all may stand."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return any(int(page.compression) in EER_COMPRESSIONS for page in file.pages[:2])
    except Exception:
        return False  # damaged: whoever opens it as TIFF says how
