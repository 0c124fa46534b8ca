"""Detection of a file's format from its content, because flags and file names are often wrong."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from restframe.errors import InputError
from restframe.files import check_regular
from restframe.movie.decompress import compression_name
from restframe.movie.mrc import HEADER_BYTES, parse_header

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DM_MAGIC = (b"\0\0\0\x03", b"\0\0\0\x04")  # Gatan DigitalMicrograph, versions 3 and 4
EER_COMPRESSIONS = (65000, 65001, 65002)
UNREADABLE_FORMATS = {  # by their first bytes, so that the message can name what was found
    b"PK\x03\x04": "a .zip archive; unzip it first",
    b"PK\x05\x06": "an empty .zip archive",
    b"7z\xbc\xaf\x27\x1c": "a .7z archive; unpack it first",
    b"\x89HDF": "HDF5",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}


def detect_format(path: Path, expected_format: str | None = None) -> str:
    """'tiff', 'mrc', 'eer' or 'dm'. Compressed files are MRC. ``expected_format`` is named in the message.

    Raises `InputError` if the file is missing, a folder, empty, not readable or of another format.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            head, file_bytes = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
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
    if head[:4] in DM_MAGIC and head[208:211] != b"MAP":
        return "dm"
    if compression_name(head) is not None or parse_header(head, file_bytes) is not None:
        return "mrc"
    other_formats = (name for magic, name in UNREADABLE_FORMATS.items() if head.startswith(magic))
    content = next(other_formats, "an unknown format")
    expectation = f"{expected_format.upper()} was expected, " if expected_format else ""
    raise InputError(f"{path}: {expectation}TIFF, MRC (also compressed), EER and DM can be read; found {content}.")


def _is_eer(path: Path) -> bool:
    """From the compression of the first two pages: the first page may be the sum of all frames."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            for index in (0, 1):
                with suppress(Exception):  # tifffile raises errors of many kinds for damaged directories
                    if int(file.pages[index].compression) in EER_COMPRESSIONS:
                        return True
    except Exception:
        pass
    return False  # if it is damaged, opening it as TIFF explains how
