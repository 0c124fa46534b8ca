"""Sizes of frames: a sample of benchmarks/sizes.py, and frames in which nothing can be measured."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import restframe
from restframe.errors import InputError

sizes = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "sizes.py"))

ONES = [((128, 103), (0, 0)), ((103, 128), (0, 0)), ((127, 131), (3, 2)), ((600, 31), (0, 0)), ((9, 8), (0, 0))]
ALL = list(dict.fromkeys(sizes["cases"]()))
SAMPLE = [ALL[index] for index in np.random.default_rng().permutation(len(ALL))[:6]]  # others in each run


@pytest.mark.parametrize(("shape", "patches"), ONES + [case for case in SAMPLE if case not in ONES])
def test_sizes(shape, patches):
    assert sizes["check"](shape, patches) == ""


@pytest.mark.parametrize("shape", [(3, 1, 64), (3, 64, 1), (1, 7, 300), (2, 300, 7), (4, 1, 1)])
def test_frames_that_are_too_small(shape):
    with pytest.raises(InputError, match="at least 8 along each side are needed"):
        restframe.correct(np.ones(shape, np.uint8))
