"""restframe brings a cryo-EM movie to rest.

    result = restframe.correct("movie.tif", gain="gain.mrc", pixel_size=0.85, frame_dose=1.2, patches=(5, 5))

The names here are the public ones; they are loaded when first used.
"""

from importlib import import_module

from restframe.version import VERSION as __version__

_HOMES = {
    "correct": "restframe.pipeline",
    "open_movie": "restframe.movie",
    "MotionField": "restframe.track.field",
    "Result": "restframe.result",
    "Settings": "restframe.settings",
}

__all__ = ["MotionField", "Result", "Settings", "__version__", "correct", "errors", "open_movie"]


def __getattr__(name: str):
    if name == "errors":
        return import_module("restframe.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'restframe' has no attribute {name!r}")


def __dir__():
    return __all__
