"""What a correction depends on, as one short text: equal texts mean equal outputs.

It covers settings that affect outputs, the contents of references, the names of the outputs, and the movie's name, size
and time. It does not cover the machine, nor the version of restframe. Settings at their defaults are left out, so that
a new setting in a later version changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np

from restframe.files import why_unreadable
from restframe.output.record import as_json
from restframe.output.sink import Outputs
from restframe.settings import SETTINGS, Settings

TOPICS_WITHOUT_EFFECT = ("machine", "given")  # on the outputs
READ_BYTES = 1 << 20


def settings_digest(settings: Settings) -> str:
    """Of all settings that affect outputs, with the contents of the files that they name. Missing files are noted."""
    values: dict[str, object] = {}
    for topic in (one.name for one in fields(settings) if one.name not in TOPICS_WITHOUT_EFFECT):
        topic_settings = getattr(settings, topic)
        for one in fields(topic_settings):
            value = getattr(topic_settings, one.name)
            if isinstance(value, np.ndarray | str | os.PathLike) and SETTINGS[one.name].value_type is object:
                values[one.name] = content_digest(value)
            elif value != one.default:
                values[one.name] = value
            if topic == "exposure" and one.name in settings.given:  # metadata of a movie then do not replace it
                values[f"{one.name} is given"] = True
    return digest(values)


def movie_fingerprint(settings_text: str, movie: Path, outputs: Outputs, known_motion: Path | None) -> str:
    """Of one movie. ``settings_text``: from `settings_digest`. A movie that is not there has no size and time."""
    size = modified = None
    with suppress(OSError):
        status = os.stat(movie)
        size, modified = status.st_size, status.st_mtime_ns
    folder = outputs.record.parent if outputs.record else outputs.images["sum"].parent
    kinds = ("sum", "stack", "global_sum")
    named: dict[str, Path | None] = {kind: outputs.images[kind] for kind in kinds if kind in outputs.images}
    named |= {
        "alignment": outputs.alignment,
        "star": outputs.star,
        "archive": outputs.archive,
        "defects": outputs.defects,
        "ctf": outputs.ctf[0] if outputs.ctf else None,
        "power_spectrum": outputs.power_spectrum,
    }
    return digest(
        {
            "settings": settings_text,
            "movie": [movie.name, size, modified],
            "known_motion": content_digest(known_motion) if known_motion else None,
            "outputs": {kind: _relative(path, folder) for kind, path in named.items() if path},
            "logs": [[_relative(Path(base), folder), columns] for base, columns in outputs.log_bases],
        }
    )


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive of a Windows computer
        return path.as_posix()


def digest(value: object) -> str:
    """Of a value that JSON can hold."""
    text = json.dumps(as_json(value), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def content_digest(source: object) -> str:
    """Of an array, or of the content of a file; "missing" for what cannot be read, such as pipes and devices."""
    if isinstance(source, np.ndarray):
        array = np.ascontiguousarray(source)
        return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()
    content = hashlib.sha256()
    if why_unreadable(str(source)):
        return "missing"
    try:
        with open(str(source), "rb") as file:
            while block := file.read(READ_BYTES):
                content.update(block)
    except OSError:
        return "missing"
    return content.hexdigest()
