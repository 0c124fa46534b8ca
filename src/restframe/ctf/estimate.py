"""The public estimate of the contrast transfer function of one image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.ctf.fit import SpectrumFit, fit_spectrum
from restframe.ctf.model import CtfShape, Microscope, phase
from restframe.ctf.quality import Quality, no_quality, quality_of
from restframe.ctf.refine import Fit
from restframe.ctf.search import SearchRange
from restframe.ctf.spectrum import PolarSpectrum, polar_spectrum, spectrum_of_amplitudes
from restframe.ctf.tilt import fit_plane
from restframe.errors import SettingsError
from restframe.optics import CtfParameters, ctf

HIGHEST_FREQUENCY = 1 / 3.0  # 1/A
FRACTION_OF_NYQUIST = 0.98
MIN_SIDE_PX = 128
MIN_SPECTRUM_PX = 64  # of a spectrum that is given
MAX_PIXEL_SIZE = 10.0  # A
MAX_VOLTAGE = 3000.0  # kV: a higher one is in V
MAX_SPHERICAL_ABERRATION = 20.0  # mm
MAX_DEFOCUS = 500_000.0  # A


@runtime_checkable
class CorrectedMovie(Protocol):
    """What `restframe.correct` gives, as far as it is needed here."""

    @property
    def sum(self) -> AnyArray: ...

    @property
    def dose_weighted(self) -> AnyArray | None: ...

    @property
    def pixel_size(self) -> float: ...


@dataclass(frozen=True)
class CtfErrors:
    """Standard deviations of a `Ctf`'s values. NaN: not fitted."""

    defocus: float  # A, of the mean defocus
    astigmatism: float  # A, of one component of (U - V) (cos 2a, sin 2a)
    defocus_u: float  # A
    defocus_v: float  # A
    astigmatism_angle: float  # degrees
    phase_shift: float  # degrees
    tilt_angle: float  # degrees
    tilt_axis: float  # degrees


@dataclass(frozen=True, eq=False)
class Ctf:
    """The contrast transfer function of one image.

    ``found`` is false when the image holds no evidence for oscillations; all values are the best guess then, and should
    not be used.
    """

    found: bool
    defocus_u: float  # A, underfocus positive, the larger one
    defocus_v: float  # A
    astigmatism_angle: float  # degrees from x towards y, direction of the larger defocus, -90 to 90
    phase_shift: float  # degrees, of a phase plate
    tilt_angle: float  # degrees, 0: not fitted, or no evidence for a tilt
    tilt_axis: float  # degrees from x towards y, 0 to 360; the defocus grows to the left of this direction
    errors: CtfErrors
    quality: Quality
    microscope: Microscope
    pixel_size: float  # A
    shape: tuple[int, int]  # (h, w) of the image
    fit: Fit  # parameters, covariance and log likelihood
    spectrum: PolarSpectrum  # that was fitted, without ice rings and lattices

    @property
    def defocus(self) -> float:
        """Mean of both principal values in the middle of the image, A."""
        return 0.5 * (self.defocus_u + self.defocus_v)

    @property
    def astigmatism(self) -> float:
        """U - V in A."""
        return self.defocus_u - self.defocus_v

    def defocus_at(self, x: AnyArray | float, y: AnyArray | float) -> FloatArray:
        """Mean defocus in A at pixels ``x``, ``y`` (from 0 at the centre of the first pixel), shaped like these."""
        height, width = self.shape
        along_x = self.fit.shape.slope_x * (np.asarray(x, float) - (width - 1) / 2)
        along_y = self.fit.shape.slope_y * (np.asarray(y, float) - (height - 1) / 2)
        return np.asarray(self.defocus + self.pixel_size * (along_x + along_y))

    def parameters(self) -> CtfParameters:
        """The same for `restframe.optics.ctf`, without the phase shift."""
        microscope = self.microscope
        return CtfParameters(
            microscope.voltage,
            self.defocus,
            self.astigmatism,
            self.astigmatism_angle,
            microscope.spherical_aberration,
            microscope.amplitude_contrast,
        )

    def model(self, shape: tuple[int, int]) -> FloatArray:
        """The CTF, -sin(chi), for the transform (h, w // 2 + 1) that ``numpy.fft.rfft2`` makes of an image (h, w)."""
        frequency_y = np.fft.fftfreq(shape[0], self.pixel_size)[:, None]
        frequency_x = np.fft.rfftfreq(shape[1], self.pixel_size)[None, :]
        if not self.phase_shift:
            return np.asarray(ctf(frequency_x, frequency_y, self.parameters()))
        squared = frequency_x**2 + frequency_y**2
        middle = self.fit.shape
        flat = CtfShape(middle.defocus, middle.astigmatism_x, middle.astigmatism_y, middle.phase_shift)
        return np.asarray(-np.sin(phase(self.microscope, flat, squared, np.arctan2(frequency_y, frequency_x))))


def highest_frequency(pixel_size: float) -> float:
    """The end of the band that is fitted, in 1/A."""
    return min(HIGHEST_FREQUENCY, FRACTION_OF_NYQUIST * 0.5 / pixel_size)


@dataclass(frozen=True)
class CtfRequest:
    """What is to be estimated, and what is known."""

    pixel_size: float  # A
    microscope: Microscope = field(default_factory=Microscope)
    where: SearchRange = field(default_factory=SearchRange)
    tilt: bool = False  # whether a plane of defocus is fitted

    def __post_init__(self) -> None:
        where, microscope = self.where, self.microscope
        if not 0 < self.pixel_size <= MAX_PIXEL_SIZE:
            raise SettingsError(f"pixel size {self.pixel_size:g} A: expected a value above 0 up to {MAX_PIXEL_SIZE:g}.")
        if not 0 < microscope.voltage <= MAX_VOLTAGE:
            raise SettingsError(f"voltage {microscope.voltage:g} kV: expected a value above 0 up to {MAX_VOLTAGE:g}.")
        if not 0 <= microscope.spherical_aberration <= MAX_SPHERICAL_ABERRATION:
            limits = f"from 0 to {MAX_SPHERICAL_ABERRATION:g}"
            raise SettingsError(
                f"spherical aberration {microscope.spherical_aberration:g} mm: expected a value {limits}."
            )
        if not 0 <= microscope.amplitude_contrast < 1:
            raise SettingsError(f"amplitude contrast {microscope.amplitude_contrast:g}: expected 0 or more, below 1.")
        if not 0 <= where.min_defocus < where.max_defocus <= MAX_DEFOCUS:
            limits = f"from {where.min_defocus:g} to {where.max_defocus:g} A"
            raise SettingsError(f"defocus {limits}: expected values from 0 to {MAX_DEFOCUS:g}, the smaller one first.")
        if where.phase_shift is not None and not where.phase_shift[0] <= where.phase_shift[1]:
            low, high = np.rad2deg(where.phase_shift)
            raise SettingsError(f"phase shift from {low:g} to {high:g} degrees: expected the smaller one first.")


def estimate_ctf(
    image: AnyArray | CorrectedMovie,
    *,
    pixel_size: float = 0.0,
    voltage: float = 300.0,
    spherical_aberration: float = 2.7,
    amplitude_contrast: float = 0.07,
    phase_shift: tuple[float, float] | None = None,
    tilt: bool = False,
) -> Ctf:
    """The contrast transfer function of an image (h, w), or of a result of `restframe.correct`, by maximum likelihood.

    ``pixel_size``: A, 0: as the result says. ``voltage``: kV. ``spherical_aberration``: mm. ``phase_shift``: degrees,
    minimum and maximum, where there is a phase plate. ``tilt``: whether a plane of defocus is fitted. The defocus is
    looked for from 0.2 to 5 um (`restframe.ctf.estimate.estimate` takes other limits).

    Raises `SettingsError` for values that cannot be used.

    Example::

        ctf = restframe.estimate_ctf(image, pixel_size=0.85, voltage=300)
        if ctf.found:
            print(ctf.defocus, "+-", ctf.errors.defocus, ctf.defocus_at(100, 200))
    """
    if isinstance(image, CorrectedMovie):
        pixel_size = pixel_size or image.pixel_size
        image = image.sum if image.dose_weighted is None else image.dose_weighted
    allowed = None if phase_shift is None else (float(np.deg2rad(phase_shift[0])), float(np.deg2rad(phase_shift[1])))
    microscope = Microscope(voltage, spherical_aberration, amplitude_contrast)
    return estimate(np.asarray(image), CtfRequest(pixel_size, microscope, SearchRange(phase_shift=allowed), tilt))


def estimate(image: AnyArray, request: CtfRequest) -> Ctf:
    """The contrast transfer function of ``image`` (h, w). Raises `SettingsError` for one that is too small."""
    if image.ndim != 2 or min(image.shape) < MIN_SIDE_PX:
        raise SettingsError(f"image of shape {image.shape}: expected {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels or more.")
    spectrum = polar_spectrum(image, request.pixel_size, highest_frequency(request.pixel_size))
    return _estimate(image, spectrum, request)


def estimate_from_amplitudes(amplitudes: AnyArray, request: CtfRequest) -> Ctf:
    """The same for an amplitude spectrum (n, n) whose zero frequency is at n // 2. A tilt cannot be seen in it."""
    if amplitudes.ndim != 2 or min(amplitudes.shape) < MIN_SPECTRUM_PX:
        raise SettingsError(f"spectrum of shape {amplitudes.shape}: expected {MIN_SPECTRUM_PX} pixels a side or more.")
    spectrum = spectrum_of_amplitudes(amplitudes, request.pixel_size, highest_frequency(request.pixel_size))
    return _estimate(amplitudes, spectrum, replace(request, tilt=False))


def _estimate(image: AnyArray, spectrum: PolarSpectrum, request: CtfRequest) -> Ctf:
    if not spectrum.power.any():  # an even image: there is nothing to fit, as in even noise
        spectrum = replace(spectrum, power=(spectrum.count > 0).astype(float))
    result = fit_spectrum(spectrum, request.microscope, request.where)
    if request.tilt:
        result = fit_plane(image, request.pixel_size, result, request.microscope, request.where)
    quality = quality_of(spectrum, request.microscope, result.fit) if result.found else no_quality(spectrum)
    return _ctf(result, quality, request, (image.shape[0], image.shape[1]))


def _ctf(result: SpectrumFit, quality: Quality, request: CtfRequest, image_shape: tuple[int, int]) -> Ctf:
    shape = result.fit.shape
    tangent = float(np.hypot(shape.slope_x, shape.slope_y))
    axis = float(np.rad2deg(np.arctan2(-shape.slope_x, shape.slope_y))) % 360 if tangent else 0.0
    return Ctf(
        found=result.found,
        defocus_u=shape.defocus + shape.astigmatism / 2,
        defocus_v=shape.defocus - shape.astigmatism / 2,
        astigmatism_angle=float(np.rad2deg(0.5 * np.arctan2(shape.astigmatism_y, shape.astigmatism_x))),
        phase_shift=float(np.rad2deg(shape.phase_shift)),
        tilt_angle=float(np.rad2deg(np.arctan(tangent))),
        tilt_axis=axis,
        errors=_errors(result.fit),
        quality=quality,
        microscope=request.microscope,
        pixel_size=request.pixel_size,
        shape=image_shape,
        fit=result.fit,
        spectrum=result.spectrum,
    )


def _errors(fit: Fit) -> CtfErrors:
    """Errors of derived values by their derivatives."""
    shape, covariance = fit.shape, fit.covariance
    astigmatism = max(shape.astigmatism, 1e-6)
    cosine, sine = shape.astigmatism_x / astigmatism, shape.astigmatism_y / astigmatism

    def deviation(block: FloatArray, direction: list[float]) -> float:
        return float(np.sqrt(max(np.array(direction) @ block @ np.array(direction), 0.0)))

    three = covariance[:3, :3]
    plane = covariance[5:7, 5:7]
    tangent = float(np.hypot(shape.slope_x, shape.slope_y))
    tilt_angle = tilt_axis = float("nan")
    if plane.any():
        direction = [shape.slope_x / tangent, shape.slope_y / tangent] if tangent else [1.0, 0.0]
        tilt_angle = float(np.rad2deg(deviation(plane, direction) / (1 + tangent**2)))
        tilt_axis = min(180.0, float(np.rad2deg(deviation(plane, [-direction[1], direction[0]]) / max(tangent, 1e-9))))
    angle = 0.5 * deviation(three, [0.0, -sine, cosine]) / astigmatism
    return CtfErrors(
        defocus=fit.error("defocus"),
        astigmatism=float(np.sqrt(0.5 * (three[1, 1] + three[2, 2]))),
        defocus_u=deviation(three, [1.0, 0.5 * cosine, 0.5 * sine]),
        defocus_v=deviation(three, [1.0, -0.5 * cosine, -0.5 * sine]),
        astigmatism_angle=min(90.0, float(np.rad2deg(angle))),
        phase_shift=float(np.rad2deg(fit.error("phase_shift"))) if covariance[3, 3] else float("nan"),
        tilt_angle=tilt_angle,
        tilt_axis=tilt_axis,
    )
