"""Everything that a Result leaves on disk, put in place together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from restframe.output.images import mrc_writer
from restframe.output.names import SUFFIXES
from restframe.output.place import Writer, place_all
from restframe.result import Result


def write_result(
    result: Result, images: Mapping[str, Path], texts: Mapping[Path, str], more: Mapping[Path, Writer] | None = None
) -> list[Path]:
    """Write texts (path: text), ``more`` files, and those images that the result has (Result's name: path).

    Returns the paths of the images. All appear at the end, the unweighted sum last: callers take it for success.
    Raises OutputError; nothing new is left then.
    """
    arrays = {name: getattr(result, name) for name in ("global_sum", *SUFFIXES)}
    drafts = [*(more or {}).items(), *((path, _text_writer(text)) for path, text in texts.items())]
    others = len(drafts)
    drafts += [(images[n], mrc_writer(array, result.pixel_size)) for n, array in arrays.items() if array is not None]
    return place_all(drafts)[others:]


def _text_writer(text: str) -> Writer:
    def write(path: Path) -> None:
        path.write_text(text, encoding="ascii")

    return write
