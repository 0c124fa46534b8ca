"""The images and texts of a Result, put in place together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from restframe.output.images import mrc_writer
from restframe.output.names import SUFFIXES
from restframe.output.place import Writer, place_all
from restframe.result import Result


def write_result(
    result: Result,
    images: Mapping[str, Path],
    texts: Mapping[Path, str],
    others: Mapping[Path, Writer] | None = None,
    obsolete: Iterable[Path] = (),
    durable: bool = False,
) -> list[Path]:
    """Write ``others``, texts (path: text), and those images that the result has (Result's name: path).

    Returns the paths of the images. All files appear at the end, the unweighted sum last: programs take it for success.
    ``obsolete``: files of an earlier run that are removed. ``durable``: as for `place_all`. Raises `OutputError`;
    nothing new is left then.
    """
    image_by_name = {name: getattr(result, name) for name in ("global_sum", *SUFFIXES)}
    drafts = [*(others or {}).items(), *((path, text_writer(text)) for path, text in texts.items())]
    first_image = len(drafts)
    drafts += [
        (images[name], mrc_writer(image, result.pixel_size, result.settings.sums.float16))
        for name, image in image_by_name.items()
        if image is not None
    ]
    return place_all(drafts, obsolete, durable)[first_image:]


def text_writer(text: str) -> Writer:
    """A function that writes ``text`` in UTF-8. Names of files that are not UTF-8 are written as they are."""

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")

    return write
