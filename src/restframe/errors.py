"""What can go wrong because of the input, and the exit code that tells a pipeline.

Messages name the file or flag, what was found, what was expected and what to do.
"""


class RestframeError(Exception):
    """Base of every error that restframe raises on purpose; the command exits with ``exit_code``."""

    exit_code = 6


class SettingsError(RestframeError):
    """A value that cannot be used, or a feature that is not there yet."""


class SameFileError(RestframeError):
    """The output would overwrite the input."""

    exit_code = 2


class InputError(RestframeError):
    """The input was not given, does not exist or cannot be read."""

    exit_code = 3


class OutputError(RestframeError):
    """The output cannot be written."""

    exit_code = 4


class DeviceError(RestframeError):
    """CUDA is there, the GPU that was asked for is not."""

    exit_code = 5


class DetectorError(RestframeError):
    """A gain, dark or defect file does not fit the movie or cannot be read."""
