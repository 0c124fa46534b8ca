"""The errors that restframe raises on purpose, and the exit code of the command for each.

    RestframeError             6  base class of all
        SettingsError          6  a value that cannot be used
        SameFileError          2  the output would overwrite the input
        InputError             3  the input is missing or unreadable
            ReferenceInputError   a reference or a list of defects is
        OutputError            4  the output cannot be written
            StdoutError           stdout cannot
        DeviceError            5  the requested GPU cannot be used
        NoFreeGpuError         1  all GPUs that may be used are in use
        BatchError             6  some movies of a batch failed
        ClusterError           6  there is no such cluster
        LockedError            6  another run uses the folder of the results
        DetectorError          6  a reference does not fit the movie
        ResultError            6  the result is not finite
        WorkerError            6  the process of a movie ended too early

A message names the file or the setting, what was found, what was expected, and what the user can do. Settings are named
by their field; the command shows the flag instead (`restframe.messages`).
"""

from __future__ import annotations

import traceback

from restframe.messages import Message, Setting


class RestframeError(Exception):
    """Base of every error that restframe raises on purpose. The command exits with ``exit_code``."""

    exit_code = 6

    def __init__(self, *parts: str | Setting) -> None:
        super().__init__(*Message(*parts).parts)

    @property
    def message(self) -> Message:
        """The text, which names fields; its parts let the command name flags."""
        return Message(*self.args)

    def __str__(self) -> str:
        return str(self.message)


class SettingsError(RestframeError):
    """A value that cannot be used, or a feature that does not exist yet."""


class SameFileError(RestframeError):
    """The output would overwrite the input."""

    exit_code = 2


class InputError(RestframeError):
    """The input was not given, does not exist or cannot be read."""

    exit_code = 3


class ReferenceInputError(InputError):
    """A reference or a list of defects cannot be read, so no movie can be corrected with it."""


class OutputError(RestframeError):
    """The output cannot be written."""

    exit_code = 4


class StdoutError(OutputError):
    """stdout cannot be written. A batch ends with it: no movie's text would be seen."""


class DeviceError(RestframeError):
    """The requested GPU does not exist or cannot be used."""

    exit_code = 5


class NoFreeGpuError(RestframeError):
    """All GPUs that may be used are in use by other processes."""

    exit_code = 1


class BatchError(RestframeError):
    """Some movies of a batch failed. The others are corrected."""


class ClusterError(RestframeError):
    """The cluster that should correct movies cannot be used."""


class LockedError(RestframeError):
    """Another run uses the folder of the results."""


class DetectorError(RestframeError):
    """A gain, dark or defect file does not fit the movie or is not valid."""


class ResultError(RestframeError):
    """The result is not finite. It is not saved."""


class WorkerError(RestframeError):
    """The process that corrected a movie ended before the movie was finished."""


def error_message(error: BaseException) -> tuple[Message, int]:
    """The text of any error for the user, and the exit code for it."""
    if isinstance(error, RestframeError):
        return error.message, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return Message("interrupted."), 130
    if isinstance(error, MemoryError):
        details = str(error) or "no details"
        advice = "Use fewer ", Setting("threads"), ", or a machine with more memory."
        return Message(f"out of memory ({details}). ", *advice), 6
    if isinstance(error, OSError):
        return Message(f"{error.filename or 'a file'}: {error.strerror or error}."), 6
    summary = traceback.format_exception_only(error)[-1].strip()
    advice_to_report = "Please report it; RESTFRAME_DEBUG=1 shows where it happened."
    return Message(f"restframe failed: {summary} {advice_to_report}"), 6
