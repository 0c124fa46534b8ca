"""The command's ways to end, inside one process."""

import logging
import os
import signal
import sys
import time
import warnings

import pytest

from restframe.cli.main import main
from restframe.cli.streams import errors_as_messages, say, working
from restframe.errors import DeviceError


def raising(error):
    def run():
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DeviceError("no GPU 7"), 5, "Error: no GPU 7\n"),
        (KeyboardInterrupt(), 130, "Error: interrupted.\n"),
        (MemoryError("3 GB"), 6, "Error: out of memory (3 GB)"),
        (PermissionError(13, "Permission denied", "x.tif"), 6, "Error: x.tif: Permission denied.\n"),
        (ValueError("odd\nlines"), 6, "Error: restframe failed: ValueError: odd"),
    ],
)
def test_errors_are_messages(error, code, message, capsys):
    assert errors_as_messages(raising(error)) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(message) and "Traceback" not in err


def test_the_traceback_on_request(monkeypatch, capsys):
    monkeypatch.setenv("RESTFRAME_DEBUG", "1")
    assert errors_as_messages(raising(ValueError("odd"))) == 6
    assert "Traceback" in capsys.readouterr().err


def test_warnings_and_log_messages_go_to_stdout(capsys):
    def run():
        warnings.simplefilter("default")
        warnings.warn("one", UserWarning, stacklevel=1)
        logging.getLogger("tifffile").warning("two")
        say("three")
        return 0

    assert errors_as_messages(run) == 0
    assert capsys.readouterr() == ("Warning: one\nWarning: tifffile: two\nthree\n", "")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["-InTiff", "x", "--HELP"]])
def test_help(words, capsys):
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "-InTiff " in out and err == ""


@pytest.mark.parametrize("word", ["--version", "-v", "--Version"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert "MotionCor2 version 1.5.0" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_unwinds(tmp_path, capsys, number):
    def run():
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            (tmp_path / "cleaned").touch()

    before = signal.getsignal(number)
    assert errors_as_messages(run) == 128 + number and (tmp_path / "cleaned").exists()
    assert capsys.readouterr().err == f"Error: ended by {number.name}.\n"
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert errors_as_messages(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_progress_is_for_terminals_only(capsys, monkeypatch):
    with working("busy"):
        say("line")
    assert capsys.readouterr() == ("line\n", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with working("busy"):
        say("line")
    assert "line\n" in capsys.readouterr().out
