"""The contrast transfer function and the amplitude spectrum of a corrected movie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import scipy.fft

from restframe.arrays import AnyArray, FloatArray
from restframe.ctf.estimate import MAX_PIXEL_SIZE, MIN_SIDE_PX, Ctf, CtfRequest, estimate
from restframe.ctf.model import Microscope
from restframe.ctf.search import SearchRange
from restframe.ctf.spectrum import edge_window, finite_pixels
from restframe.messages import Message, Setting
from restframe.settings import Settings

MIN_SPHERICAL_ABERRATION = 1e-3  # mm: less means that no CTF is asked for, as in MotionCor3
MAX_PHASE_REACH = 90.0  # degrees on either side of the expected phase shift
SPECTRUM_SIDE_PX = 512
SPECTRUM_PIXEL_SIZE = 1.4  # A: the spectrum ends at the Nyquist frequency of such pixels, or of the movie's
SPECTRUM_DOSE = 4.0  # e/A² of the frames that are summed before their powers are added, as in RELION


def ctf_of_sums(images: Mapping[str, AnyArray], settings: Settings, say: Callable[[str], None]) -> Ctf | None:
    """The CTF of the dose-weighted sum, or of the plain one; None where it is not asked for or cannot be estimated."""
    choices, pixel_size = settings.transfer, settings.output_pixel_size
    if choices.spherical_aberration <= MIN_SPHERICAL_ABERRATION:
        return None
    dose_weighted = images.get("dose_weighted")
    image = images["sum"] if dose_weighted is None else dose_weighted
    if not 0 < pixel_size <= MAX_PIXEL_SIZE or min(image.shape) < MIN_SIDE_PX or not settings.exposure.voltage > 0:
        needs = Setting("pixel_size"), ", ", Setting("voltage"), f" and a sum of {MIN_SIDE_PX} pixels a side"
        say(Message("Warning: no CTF estimation, which needs ", *needs, "."))
        return None
    microscope = Microscope(settings.exposure.voltage, choices.spherical_aberration, choices.amplitude_contrast)
    where = SearchRange(phase_shift=phase_range(choices.expected_phase))
    return estimate(np.asarray(image), CtfRequest(pixel_size, microscope, where))


def phase_range(expected: float) -> tuple[float, float] | None:
    """Where a phase shift is looked for, in rad: in a range of twice ``expected`` degrees, at most 180, around it."""
    if expected <= 0:
        return None
    reach = min(expected, MAX_PHASE_REACH)
    return float(np.deg2rad(expected - reach)), float(np.deg2rad(expected + reach))


def frames_per_spectrum(dose: FloatArray) -> int:
    """How many frames, of ``dose`` (t,) e/A² each, are summed before their powers are added; all if it is unknown."""
    mean = float(np.mean(dose)) if len(dose) else 0.0
    return max(1, min(len(dose), round(SPECTRUM_DOSE / mean))) if mean > 0 else max(len(dose), 1)


def amplitude_spectrum(images: Iterable[FloatArray], pixel_size: float) -> tuple[FloatArray, float]:
    """The root of the mean power of ``images`` (h, w), averaged in `SPECTRUM_SIDE_PX` ² bins with the zero frequency in
    the middle, and the pixel size in A that belongs to its edge. Pixels of unknown size count as one A.
    """
    pixel_size = pixel_size or 1.0
    spectrum_pixel_size = max(pixel_size, SPECTRUM_PIXEL_SIZE)
    middle = SPECTRUM_SIDE_PX // 2
    total = np.zeros(SPECTRUM_SIDE_PX**2)
    count = np.zeros(SPECTRUM_SIDE_PX**2)
    for image in images:
        pixels = finite_pixels(np.asarray(image))
        height, width = pixels.shape
        half = scipy.fft.rfft2(pixels * edge_window(height)[:, None] * edge_window(width), workers=1)
        power = half.real**2 + half.imag**2
        # places in the spectrum: frequencies in cycles per spectrum pixel, times its side
        scale = SPECTRUM_SIDE_PX * spectrum_pixel_size / pixel_size
        row = np.rint(np.fft.fftfreq(height) * scale).astype(np.int64)
        column = np.rint(np.fft.rfftfreq(width) * scale).astype(np.int64)
        rows = np.flatnonzero(np.abs(row) < SPECTRUM_SIDE_PX // 2)
        columns = np.flatnonzero(column < SPECTRUM_SIDE_PX // 2)
        index = (row[rows] + middle)[:, None] * SPECTRUM_SIDE_PX + (column[columns] + middle)[None, :]
        size = SPECTRUM_SIDE_PX**2
        total += np.bincount(index.ravel(), power[np.ix_(rows, columns)].ravel() / pixels.size, size)
        count += np.bincount(index.ravel(), minlength=size)
    shape = SPECTRUM_SIDE_PX, SPECTRUM_SIDE_PX
    total, count = total.reshape(shape), count.reshape(shape)
    total[1:, 1:] += total[:0:-1, :0:-1]  # the other half of the plane, mirrored at the middle
    count[1:, 1:] += count[:0:-1, :0:-1]
    amplitude = np.sqrt(np.divide(total, count, out=np.zeros(shape), where=count > 0))
    return amplitude.astype(np.float32), spectrum_pixel_size
