"""Signals end the program within two seconds, whatever it is doing, with the right exit code and without leftovers."""

import os
import signal
import subprocess
import sys
import time

import pytest

STATES = {
    "busy in Python": "while True: pass",
    "asleep": "time.sleep(60)",
    "waiting for a thread": """
with ThreadPoolExecutor(1) as pool:
    pool.submit(time.sleep, 60).result()
""",
    "reading from a pipe that nobody writes": "os.read(os.pipe()[0], 1)",
    "a thread reads from a pipe that nobody writes": """
with ThreadPoolExecutor(1) as pool:
    pool.submit(os.read, os.pipe()[0], 1).result()
""",
    "in a library that catches everything": """
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
""",
    "in a finalizer": """
class Slow:
    def __del__(self):
        time.sleep(60)
Slow()
""",
    "in a function of C": "ctypes.CDLL(None).sleep(60)",
    "the exception is caught and the work goes on to its end": """
try:
    time.sleep(60)
except BaseException:
    pass
place_all([(Path("o.mrc"), lambda path: path.write_bytes(b"x"))])
""",
}
STATES["in a library that makes another error of it"] = """
try:
    time.sleep(60)
except BaseException as error:
    raise ValueError("the compiler failed") from error
"""
PROGRAM = """
import ctypes, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from restframe.cli.streams import errors_as_messages
from restframe.output.drafts import draft_of
from restframe.output.place import place_all
def run():
    draft_of(Path("x.mrc")).write_bytes(b"half")
    print("ready", flush=True)
{body}
    return 0
os._exit(errors_as_messages(run))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("state", STATES)
def test_every_state_ends_in_time(tmp_path, state, number):
    body = "\n".join(f"    {line}" for line in STATES[state].strip().splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.1)
    begin = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begin < 2.0 + 1.0 * (os.getloadavg()[0] > os.cpu_count())
    text = {signal.SIGTERM: "ended by SIGTERM", signal.SIGHUP: "ended by SIGHUP", signal.SIGINT: "interrupted"}[number]
    assert (process.returncode, err.decode()) == (128 + number, f"Error: {text}.\n")
    assert "o.mrc" not in [path.name for path in tmp_path.iterdir()]


def test_files_are_removed_where_it_does_not_end_in_order(tmp_path):
    body = "    while True:\n        try: time.sleep(60)\n        except BaseException: pass"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []
