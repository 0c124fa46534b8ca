"""Small movies of the kinds that benchmarks/goals.py measures: defects, beads, crystals, little dose.

The edge of the beam: tests/system/test_defects_and_specimen.py.
"""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restframe.settings import Machine
from restframe.simulate import PRESETS
from restframe.simulate.recipe import DetectorObjects, SpecimenObjects

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIDE, SEED = 512, 2
LIMITS = {  # of the error over that of the same movie without objects
    "clusters": 1.15,
    "bands": 1.15,
    "blocks": 1.15,
    "gaps": 1.3,
    "dust": 1.3,
    "quadrant": 1.15,
    "texturedice": 1.3,
    "carbonedge": 1.3,
}


@pytest.fixture(scope="module")
def goals():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("goals")
    for name in ("goals", "movies"):
        sys.modules.pop(name, None)


def small(kind, seed=SEED, frames=None, side=SIDE):
    recipe = PRESETS[kind]
    frame_count, height, width = recipe.shape
    return replace(recipe, seed=seed, shape=(frames or frame_count, min(height, side), min(width, side)))


def measured(goals, recipe, patches=(5, 5), summed=1):
    movie, counts = goals.make_movie(recipe, "cpu")
    return goals.measure_case(movie, counts, goals.settings_for(movie, Machine(), patches), summed)


@pytest.fixture(scope="module")
def plain_error(goals):
    nothing = {"detector_objects": DetectorObjects(), "specimen_objects": SpecimenObjects()}
    return measured(goals, replace(small("beads"), **nothing)).total


@pytest.mark.parametrize("kind", LIMITS)
def test_objects_do_not_hold_the_motion(goals, plain_error, kind):
    case = measured(goals, small(kind))
    assert case.total < LIMITS[kind] * plain_error < 0.5 * case.rest_total


@pytest.mark.parametrize("kind", ["lattice", "detail", "weakdetail"])
def test_specimen_without_particles_is_followed(goals, kind):
    case = measured(goals, small(kind, seed=1), patches=(0, 0))
    assert case.whole < 0.05  # A; pixels of 1 A
    assert case.scale == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["tilt", "tiltclusters", "tiltweak", "weak"])
def test_movies_of_little_dose_are_not_made_worse(goals, kind):
    case = measured(goals, small(kind, side=384), patches=(0, 0))
    assert case.whole < case.rest_whole + case.stated


def test_a_rigid_specimen_has_no_local_motion(goals):
    assert measured(goals, small("rigid")).degree == 0


def test_finer_frames_cost_no_accuracy(goals):
    """On average: errors of single movies differ by up to 20 % either way."""
    recipes = [replace(small("fine", frames=24, side=384, seed=seed), frame_dose=2.0) for seed in range(1, 9)]
    fine, coarse = (sum(measured(goals, recipe, summed=summed).total for recipe in recipes) for summed in (1, 3))
    assert fine < 1.05 * coarse


@pytest.mark.parametrize("kind", ["beads", "brightbeads"])
def test_beads_are_neither_defects_nor_cosmic_rays(goals, kind):
    movie, counts = goals.make_movie(small(kind), "cpu")
    numbers = goals.bead_numbers(movie, counts, goals.settings_for(movie, Machine(), (5, 5)))
    assert numbers["beads_bad"] <= 0.01 and numbers["frc_lost"] < 0.01


def test_the_table_has_a_row_for_each_goal(goals):
    case = {name: 1.0 for name in goals.Case.__dataclass_fields__} | {"track": np.zeros((2, 2)).tolist()}
    cases = dict.fromkeys(("user", "reference", "global", "sums of 5", "sums of 10"), case)
    movies = [{"kind": kind, "seed": 1, "cases": cases, "beads_bad": 0.5, "frc_lost": 0.0} for kind in goals.KINDS]
    lines = goals.table(movies).splitlines()
    assert len(lines) == len(goals.goals()) + 2
    assert "| beads | 1 | fraction of bead pixels called bad, worst movie | 0.01 | 0.500 |  | not met |" in lines
    assert len(goals.error_table(movies).splitlines()) > len(goals.KINDS)
