"""The report of a measurement on a small simulated movie."""

from dataclasses import replace

import numpy as np
import pytest

from restframe.session import measure_motion
from restframe.simulate import PRESETS, simulate
from restframe.track.motion_report import MotionReport
from restframe.trajectory import intraframe_motion

RECIPE = replace(PRESETS["demo"], shape=(8, 512, 576), frame_dose=5.0, local_rms=3.0, large=150.0, small=0.0)


@pytest.fixture(scope="module")
def movie():
    return simulate(RECIPE)


def measured(movie, **choices):
    return measure_motion(movie.counts, gain=movie.gain, pixel_size=1.0, frame_dose=RECIPE.frame_dose, **choices)


def test_local_motion(movie):
    result = measured(movie, patches=(3, 3))
    report = result.report
    # the three parts of the stated error are variances that add up
    parts = report.residual_local_motion, report.blur_position_error
    assert all(0 < part < report.stated_error for part in parts)
    assert report.local_degree == max(sum(mode) for mode in result.field.modes)
    assert (report.held_out_gain > 0) == (report.local_degree > 0)
    motion = intraframe_motion(result.field.global_displacement(), [1.0] * 8)
    # frames of nearly equal counts
    assert report.largest_intraframe_motion == pytest.approx(np.hypot(*motion.T).max(), rel=0.05)
    assert result.numbers == {
        "error_px": report.stated_error,
        "own_motion_px": report.residual_local_motion,
        "local_degree": report.local_degree,
        "held_out_gain": report.held_out_gain,
    }
    assert len(result.notes) == 1 and len(result.patches.centres) == 9


def test_global_motion_only(movie):
    result = measured(movie)
    assert result.field.modes == ((0, 0),) and result.patches is None and result.notes == ()
    assert list(result.numbers) == ["error_px"]
    assert result.report.local_degree is None and result.report.stated_error > 0


def test_a_single_frame_has_no_report(movie):
    result = measured(movie, throw=7)
    assert result.report is None and result.numbers == {} and len(result.notes) == 1


def test_numbers_leave_out_what_was_not_measured():
    assert MotionReport(0.3, 1.0).numbers() == {"error_px": 0.3}
