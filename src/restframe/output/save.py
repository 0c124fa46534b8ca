"""All files of a result that a library user keeps."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from time import perf_counter

from restframe.errors import SettingsError
from restframe.output.alignment import alignment_text
from restframe.output.names import SUFFIXES
from restframe.output.place import explaining
from restframe.output.record import OutputFile, StepSeconds, write_record
from restframe.output.write import write_result
from restframe.result import Result

GLOBAL_SUM_SUFFIX = "_global"


def save_result(result: Result, folder: str | PathLike[str], name: str | None = None) -> list[Path]:
    """Write images, motion and record; see `Result.save`."""
    start = perf_counter()
    root = name or (result.movie.path.stem if result.movie.path else "")
    if not root or Path(root).name != root:
        raise SettingsError(f"name={name!r}: a movie in memory needs a name for its files, without a folder.")
    target = Path(folder)
    with explaining(target):
        target.mkdir(parents=True, exist_ok=True)
    images = {image: target / f"{root}{suffix}.mrc" for image, suffix in SUFFIXES.items()}
    images["global_sum"] = target / f"{root}{GLOBAL_SUM_SUFFIX}.mrc"
    exposure, alignment = result.settings.exposure, target / f"{root}.aln"
    text = alignment_text(result, exposure.throw, exposure.trunc, result.settings.motion.patches)
    written = write_result(result, images, {alignment: text})
    kinds = {path: image for image, path in images.items()}
    files = [OutputFile("alignment", alignment), *(OutputFile(kinds[path], path) for path in written)]
    record = target / f"{root}.json"
    write_record(record, result, files, StepSeconds(0.0, perf_counter() - start))
    return [alignment, *written, record]
