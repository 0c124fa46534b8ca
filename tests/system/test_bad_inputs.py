"""Damaged and hostile input: a sample of benchmarks/bad_inputs.py, and a short fuzz of the readers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restframe.detector.references import listed_defects, read_reference
from restframe.errors import RestframeError
from restframe.movie import open_movie, read_frames
from restframe.movie.integration import read_rows
from restframe.output.alignment import read_alignment
from restframe.settings import Detector

BENCHMARK = str(Path(__file__).parents[2] / "benchmarks" / "bad_inputs.py")
bad_inputs = runpy.run_path(BENCHMARK)


def test_a_sample_of_broken_inputs():
    """In a process of their own, which may crash."""
    outcomes = bad_inputs["run_watched"](150, seed=int(np.random.default_rng().integers(1 << 30)))
    assert len(outcomes) == 150
    assert [outcome for outcome in outcomes if outcome[1] == bad_inputs["BAD"]] == []


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    return folder, bad_inputs["make_valid"](folder)


READERS = {
    "movie": lambda path: read_frames(open_movie(path), threads=1),
    "gain": read_reference,
    "dark": read_reference,
    "defects": lambda path: listed_defects(Detector(defect_file=path), (48, 64)),
    "defect map": lambda path: listed_defects(Detector(defect_map=path), (48, 64)),
    "integration": read_rows,
    "motion": read_alignment,
}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    st.floats(0.02, 1),
)
def test_fuzz(valid, number, pieces, length):
    """Any bytes give a result or an error with a message."""
    folder, roles = valid
    base = sorted(roles)[number % len(roles)]
    content = bytearray((folder / base).read_bytes())
    for place, piece in pieces:
        start = int(place * len(content) * (1 if number % 2 else 0.1))
        content[start : start + len(piece)] = piece
    path = folder / f"broken{Path(base).suffix}"
    path.write_bytes(content[: int(length * len(content)) if number % 3 == 0 else None])
    try:
        READERS[roles[base]](path)
    except RestframeError as error:
        assert str(error) and "\n" not in str(error)
