"""What measuring found, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from restframe.arrays import BoolArray
from restframe.kernels.interface import Kernels
from restframe.result import PatchShifts
from restframe.settings import Motion
from restframe.track.blurred import blur_position_error, blur_position_variance, uncertain_ways
from restframe.track.coarse import CoarseMotion
from restframe.track.disagreement import disagreement_error
from restframe.track.field import MotionField
from restframe.track.fit import Fit
from restframe.track.likelihood import likelihood_gradient
from restframe.track.local_motion import LocalMotion
from restframe.track.motion_report import MotionReport
from restframe.track.patches import patch_shifts
from restframe.track.residual_local_motion import residual_local_motion
from restframe.track.series import FrameSeries
from restframe.track.suspects import SuspectDecision
from restframe.track.uncertainty import FieldUncertainty
from restframe.trajectory import intraframe_motion

UNCERTAIN_TRACK = 0.5  # binned pixels; from a coarse track with a larger error a fit may end at a wrong maximum


@dataclass(frozen=True, eq=False)
class Measured:
    """The motion of a movie."""

    field: MotionField
    patches: PatchShifts | None = None  # None: no local motion was measured
    notes: tuple[str, ...] = ()  # decisions, as sentences for people
    report: MotionReport | None = None  # None: nothing was measured
    decision: SuspectDecision | None = None  # which suspects are the camera's; None: nothing was looked for

    @property
    def numbers(self) -> dict[str, float]:
        """What is known about the motion, by the names of `Result.numbers`."""
        return self.report.numbers() if self.report else {}


def report_global_motion(kernels: Kernels, series: FrameSeries, fit: Fit, coarse: CoarseMotion) -> Measured:
    """The result where only global motion is asked for.

    The stated error is the larger one of that of the posterior and of what the disagreement of tiles shows, with the
    uncertainty of the coarse track (`with_coarse_error`).
    """
    factor = series.binned.factor
    gradient = likelihood_gradient(kernels, fit.likelihood, fit.aligned)
    error = with_coarse_error(max(fit.stated_error, disagreement_error(fit, gradient)), coarse.error)
    no_variance = np.zeros(series.frame_count)
    uncertainty = FieldUncertainty(
        fit.problem.model, fit.posterior, factor * error / fit.stated_error, np.diag(no_variance), no_variance
    )
    field = motion_field(series, fit, uncertainty)
    return Measured(field, report=MotionReport(factor * error, largest_intraframe_motion(series, field)))


def report_local_motion(
    kernels: Kernels, series: FrameSeries, local: LocalMotion, motion: Motion, coarse: CoarseMotion
) -> Measured:
    """The result with local motion.

    The stated error is the root of the sum of three variances: of the posterior, of the motion of tiles beyond the
    field, and of positions in blurred frames. Without local motion, and where it is larger, the posterior's part is
    that of the global motion (`report_global_motion`).
    """
    fit, selection, factor = local.fit, local.selection, series.binned.factor
    information = kernels.to_host(fit.likelihood.information)
    basis = fit.problem.model.local_basis
    residual = residual_local_motion(kernels, basis, information, local.gradient, coarse.pixel_size)
    squared_ways = uncertain_ways(fit, local.unblurred_amplitude, series.relative_exposures())
    blur_error = blur_position_error(squared_ways)
    posterior_error = fit.stated_error
    if selection.degree == 0:
        posterior_error = max(posterior_error, disagreement_error(fit, local.gradient))
    posterior_error = with_coarse_error(posterior_error, coarse.error)
    stated_error = float(np.sqrt(posterior_error**2 + residual.deviation**2 + blur_error**2))
    uncertainty = FieldUncertainty(
        fit.problem.model,
        fit.posterior,
        scale=factor * posterior_error / fit.stated_error,
        residual=factor**2 * residual.covariance,
        blur_variance=factor**2 * blur_position_variance(squared_ways),
    )
    field = motion_field(series, fit, uncertainty)
    report = MotionReport(
        stated_error=factor * stated_error,
        largest_intraframe_motion=largest_intraframe_motion(series, field),
        residual_local_motion=factor * residual.deviation,
        blur_position_error=factor * blur_error,
        local_degree=selection.degree,
        held_out_gain=selection.held_out_gain,
    )
    patches = patch_shifts(fit.problem.data.tiles, information, local.gradient, field, motion.patches)
    return Measured(field, patches, (selection.sentence,), report)


def with_standing_places(measured: Measured, standing: BoolArray | None, factor: int) -> Measured:
    """``measured`` with what is said about places, (h, w) of binned pixels, that stand still while the rest moves."""
    if standing is None or measured.report is None:
        return measured
    label, count = ndimage.label(standing)
    sizes = np.bincount(label.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(label)
    places = []
    for number in np.argsort(-sizes, kind="stable"):
        rows, columns = boxes[number]
        width, height = columns.stop - columns.start, rows.stop - rows.start
        places.append((factor * columns.start, factor * rows.start, factor * width, factor * height))
    share = float(standing.mean())
    report = replace(measured.report, standing_places=tuple(places), standing_share=share)
    largest = " ".join(map(str, places[0]))
    sentence = (
        f"Places that stand still while the rest moves: {count}, {share:.1%} of the area. They are not used to measure "
        f"motion. The largest (x y w h): {largest}"
    )
    return replace(measured, report=report, notes=(sentence, *measured.notes))


def with_coarse_error(error: float, coarse_error: float) -> float:
    """The error of a fit that began at a coarse track of ``coarse_error``.

    The fit uses higher frequencies than the coarse track and is more certain, but only about the maximum of the
    likelihood where it began. Where the coarse track is less certain, the geometric mean is stated. From a track that
    is known to a fraction of a pixel the fit finds the right maximum.
    """
    if coarse_error < UNCERTAIN_TRACK:
        return error
    return float(np.sqrt(error * max(error, coarse_error)))


def motion_field(series: FrameSeries, fit: Fit, uncertainty: FieldUncertainty) -> MotionField:
    """The fitted field in unbinned pixels."""
    model = fit.problem.model
    amplitudes = fit.amplitudes * series.binned.factor
    return MotionField(model.modes, amplitudes, series.shape, model.reference, uncertainty)


def largest_intraframe_motion(series: FrameSeries, field: MotionField) -> float:
    """Length of the longest global motion during one frame, unbinned pixels."""
    motion = intraframe_motion(field.global_displacement(), series.relative_exposures().tolist())
    return float(np.hypot(*motion.T).max())
