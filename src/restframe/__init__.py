"""restframe corrects beam-induced motion in cryo-EM movies.

    result = restframe.correct("movie.tif", gain="gain.mrc", pixel_size=0.85, frame_dose=1.2, patches=(5, 5))

The names in ``__all__`` are the public ones. They are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from restframe.version import VERSION as __version__

if TYPE_CHECKING:
    from restframe import errors
    from restframe.ctf.estimate import Ctf, estimate_ctf
    from restframe.motion_files import read_motion
    from restframe.movie import open_movie
    from restframe.result import Result
    from restframe.session import Session, correct, measure_motion
    from restframe.settings import Settings
    from restframe.track.field import MotionField

_MODULES = {
    "correct": "restframe.session",
    "estimate_ctf": "restframe.ctf.estimate",
    "measure_motion": "restframe.session",
    "read_motion": "restframe.motion_files",
    "open_movie": "restframe.movie",
    "Ctf": "restframe.ctf.estimate",
    "MotionField": "restframe.track.field",
    "Result": "restframe.result",
    "Session": "restframe.session",
    "Settings": "restframe.settings",
}

__all__ = [
    "Ctf",
    "MotionField",
    "Result",
    "Session",
    "Settings",
    "__version__",
    "correct",
    "errors",
    "estimate_ctf",
    "measure_motion",
    "open_movie",
    "read_motion",
]


if not TYPE_CHECKING:  # a type checker would take any name for an attribute otherwise

    def __getattr__(name: str) -> Any:
        if name == "errors":
            return import_module("restframe.errors")
        if name in _MODULES:
            return getattr(import_module(_MODULES[name]), name)
        raise AttributeError(f"module 'restframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
