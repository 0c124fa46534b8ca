"""What can go wrong because of the input, and the exit code that tells a pipeline.

Messages name the file or flag, what was found, what was expected and what to do.
"""

import traceback


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


class ReferenceInputError(InputError):
    """A reference or list of defects cannot be read: no movie can be corrected with it."""


class OutputError(RestframeError):
    """The output cannot be written."""

    exit_code = 4


class DeviceError(RestframeError):
    """CUDA is there, the GPU that was asked for is not."""

    exit_code = 5


class BatchError(RestframeError):
    """Some movies of a batch failed; the others are done."""


class DetectorError(RestframeError):
    """A gain, dark or defect file does not fit the movie or cannot be read."""


class WorkerError(RestframeError):
    """The process that corrected a movie ended before it was done."""


def explained(error: BaseException) -> tuple[str, int]:
    """Any error as a message for the user, and the exit code that goes with it."""
    if isinstance(error, RestframeError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", 130
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'no details'}). Use fewer --threads, or a machine with more memory.", 6
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}.", 6
    last = traceback.format_exception_only(error)[-1].strip()
    return f"restframe failed: {last}\nPlease report it; RESTFRAME_DEBUG=1 shows where it happened.", 6
