"""What a CTF estimate looks like in files: CTFFIND's text, MotionCor3's text, the diagnostic image, RELION's STAR file.

CTFFIND's and MotionCor3's lines are read by other programs word by word; docs/ctf.md names the readers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import FloatArray
from restframe.ctf.model import transfer
from restframe.version import VERSION

if TYPE_CHECKING:
    from restframe.ctf.estimate import Ctf

DIAGNOSTIC_SIDE = 512  # pixels
MAX_RESOLUTION_IN_STAR = 25.0  # A: RELION writes no larger value
NO_RESOLUTION = "inf"
MOTIONCOR_COLUMNS = "DfMax (A)  DfMin (A)  Azimuth (deg)  Phase (deg)  Score  Resolution (A)"
STAR_VERSION = "# version 30001"


@dataclass(frozen=True)
class CtffindHeader:
    """What the comment lines of CTFFIND's files repeat of the input."""

    input_name: str
    count: int  # micrographs in the input
    box: int  # pixels
    resolution: tuple[float, float]  # A, minimum and maximum
    defocus: tuple[float, float]  # A, minimum and maximum


@dataclass(frozen=True, eq=False)
class MicrographCtf:
    """One row of RELION's table."""

    name: str  # of the micrograph
    image: str  # the diagnostic image, empty: none
    ctf: Ctf


def _head(header: CtffindHeader, ctf: Ctf) -> list[str]:
    microscope = ctf.microscope
    return [
        f"# Output from CTFFind version 5.0.2, run on {time.strftime('%Y-%m-%d %H:%M:%S')} (restframe {VERSION})",
        f"# Input file: {header.input_name} ; Number of micrographs: {header.count}",
        f"# Pixel size: {ctf.pixel_size:.3f} Angstroms ; acceleration voltage: {microscope.voltage:.1f} keV ; "
        f"spherical aberration: {microscope.spherical_aberration:.2f} mm ; "
        f"amplitude contrast: {microscope.amplitude_contrast:.2f}",
        f"# Box size: {header.box} pixels ; min. res.: {header.resolution[0]:.1f} Angstroms ; "
        f"max. res.: {header.resolution[1]:.1f} Angstroms ; min. def.: {header.defocus[0]:.1f} um; "
        f"max. def. {header.defocus[1]:.1f} um",
    ]


def resolution_word(resolution: float) -> str:
    """A resolution in A as a word that RELION reads: ``inf`` where there is none."""
    return f"{resolution:.6f}" if np.isfinite(resolution) else NO_RESOLUTION


def ctffind_text(ctfs: Sequence[Ctf], header: CtffindHeader) -> str:
    """CTFFIND 5's summary: five comment lines and ten columns for each micrograph. Angles in degrees, phase in rad.

    The thickness, the last column, is not reported: it is zero.
    """
    columns = (
        "# Columns: #1 - micrograph number; #2 - defocus 1 [Angstroms]; #3 - defocus 2; #4 - azimuth of astigmatism; "
        "#5 - additional phase shift [radians]; #6 - cross correlation; #7 - spacing (in Angstroms) up to which CTF "
        "rings were fit successfully; #8 - Estimated tilt axis angle; #9 - Estimated tilt angle ; "
        "#10 Estimated sample thickness (in Angstroms)"
    )
    lines = [*_head(header, ctfs[0]), columns]
    for number, ctf in enumerate(ctfs, 1):
        lines.append(
            f"{number:.6f} {ctf.defocus_u:.6f} {ctf.defocus_v:.6f} {ctf.astigmatism_angle:.6f} "
            f"{np.deg2rad(ctf.phase_shift):.6f} {ctf.quality.score:.6f} {resolution_word(ctf.quality.fit_resolution)} "
            f"{ctf.tilt_axis:.6f} {ctf.tilt_angle:.6f} {0:.6f}"
        )
    return "\n".join(lines) + "\n"


def ctffind_profile_text(ctfs: Sequence[Ctf], header: CtffindHeader) -> str:
    """CTFFIND's ``_avrot.txt``: five comment lines and six lines for each micrograph."""
    rows = (
        "# 6 lines per micrograph: #1 - spatial frequency (1/Angstroms); #2 - 1D rotational average of spectrum "
        "(assuming no astigmatism); #3 - 1D rotational average of spectrum; #4 - CTF fit; #5 - cross-correlation "
        "between spectrum and CTF fit; #6 - 2sigma of expected cross correlation of noise"
    )
    lines = [*_head(header, ctfs[0]), rows]
    for ctf in ctfs:
        profile = ctf.quality.profile
        averages = (
            profile.frequency,
            profile.rotational,
            profile.equal_phase,
            profile.fit,
            profile.correlation,
            profile.noise_correlation,
        )
        lines += [" ".join(f"{value:.6f}" for value in values) for values in averages]
    return "\n".join(lines) + "\n"


def summary_lines(ctf: Ctf) -> list[str]:
    """What CTFFIND prints on stdout about one micrograph."""
    lines = [
        f"Estimated defocus values        : {ctf.defocus_u:.2f} , {ctf.defocus_v:.2f} Angstroms",
        f"Estimated azimuth of astigmatism: {ctf.astigmatism_angle:.2f} degrees",
    ]
    if ctf.fit.covariance[3, 3] > 0:
        radians = np.deg2rad(ctf.phase_shift)
        lines.append(
            f"Additional phase shift          : {ctf.phase_shift:.3f} degrees ({radians:.3f} radians) "
            f"({radians / np.pi:.3f} pi)"
        )
    if ctf.tilt_angle:
        lines.append(f"Tilt_axis, tilt angle           : {ctf.tilt_axis:.2f} , {ctf.tilt_angle:.2f} degrees")
    resolution = ctf.quality.fit_resolution
    lines += [
        f"Score                           : {ctf.quality.score:.5f}",
        f"Pixel size for fitting          : {0.5 / ctf.spectrum.frequency[-1]:.3f} Angstroms",
        f"Thon rings with good fit up to  : {f'{resolution:.1f}' if np.isfinite(resolution) else 'inf'} Angstroms",
    ]
    if not ctf.found:
        lines.append("No fit: this image holds no evidence for Thon rings. The values above are a guess.")
    return lines


def diagnostic_image(ctf: Ctf, side: int = DIAGNOSTIC_SIDE) -> FloatArray:
    """(side, side) float32, zero frequency at side // 2: the measured amplitude above the background, and in the left
    half the fitted |CTF|. The edge is the highest frequency that was fitted.
    """
    spectrum = ctf.spectrum
    highest = float(spectrum.frequency[-1])
    axis = (np.arange(side) - side // 2) / (side / 2) * highest
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    angle = np.arctan2(axis[:, None], np.broadcast_to(axis[None, :], squared.shape))
    ring = np.rint(np.sqrt(squared) / highest * (len(spectrum.frequency) - 1)).astype(np.int64)
    sector_count = spectrum.power.shape[1]
    sector = np.floor(angle / np.pi * sector_count).astype(np.int64) % sector_count
    inside = ring < len(spectrum.frequency)
    power = _filled(spectrum.power, spectrum.count)
    background = np.array([np.median(row) for row in power])
    smooth = _smoothed(background, max(3, len(background) // 40))
    amplitude = np.sqrt(power / np.maximum(smooth, 1e-30)[:, None])
    image = np.where(inside, amplitude[np.minimum(ring, len(power) - 1), sector], 1.0)
    low = np.sqrt(squared) < ctf.quality.profile.frequency[0]
    image[low] = 1.0
    if ctf.found:
        modulus = np.sqrt(transfer(ctf.microscope, ctf.fit.shape, squared, angle))
        spread = float(np.std(image[inside & ~low]))
        left = np.zeros(image.shape, bool)
        left[:, : side // 2] = True
        image = np.where(left & inside & ~low, 1 + 2 * spread * (modulus - 0.5), image)
    return image.astype(np.float32)


def _filled(power: FloatArray, count: FloatArray) -> FloatArray:
    """``power`` with the mean of its ring, or of the rings around, where there are no coefficients."""
    total = count.sum(1)
    known = np.flatnonzero(total > 0)
    mean = (power * count).sum(1)[known] / total[known]
    return np.where(count > 0, power, np.interp(np.arange(len(power)), known, mean)[:, None])


def _smoothed(values: FloatArray, half_width: int) -> FloatArray:
    """Running mean of the logarithm."""
    padded = np.pad(np.log(np.maximum(values, 1e-30)), half_width, mode="edge")
    kernel = np.ones(2 * half_width + 1) / (2 * half_width + 1)
    return np.asarray(np.exp(np.convolve(padded, kernel, mode="valid")))


def motioncor_text(ctf: Ctf) -> str:
    """MotionCor3's ROOT_Ctf.txt: a header and one row of six columns, the phase in degrees."""
    return f"# Columns: {MOTIONCOR_COLUMNS}\n{motioncor_row(ctf)}\n"


def motioncor_lines(ctf: Ctf) -> list[str]:
    """The block that MotionCor3 prints on stdout, and the errors."""
    lines = ["CTF estimate", MOTIONCOR_COLUMNS, motioncor_row(ctf)]
    if not ctf.found:
        return [*lines, "No CTF fit: the sum holds no evidence for Thon rings. The values above are a guess."]
    errors = ctf.errors
    return [
        *lines,
        f"Errors: mean defocus {errors.defocus:.1f} A, a component of the astigmatism {errors.astigmatism:.1f} A",
    ]


def motioncor_row(ctf: Ctf) -> str:
    """The six values of MotionCor3's row."""
    resolution = min(ctf.quality.fit_resolution, 999.0)
    return (
        f"{ctf.defocus_u:9.2f}  {ctf.defocus_v:9.2f}  {ctf.astigmatism_angle:7.2f}  {ctf.phase_shift:7.2f}  "
        f"{ctf.quality.score:9.5f}  {resolution:8.4f}"
    )


def ctf_record(ctf: Ctf) -> dict[str, object]:
    """The values for programs, in A and degrees; None where there is no value."""
    quality, errors, microscope = ctf.quality, ctf.errors, ctf.microscope
    values: dict[str, object] = {
        "found": ctf.found,
        "defocus_u_a": ctf.defocus_u,
        "defocus_v_a": ctf.defocus_v,
        "astigmatism_angle_deg": ctf.astigmatism_angle,
        "phase_shift_deg": ctf.phase_shift,
        "tilt_angle_deg": ctf.tilt_angle,
        "tilt_axis_deg": ctf.tilt_axis,
        "defocus_error_a": errors.defocus,
        "astigmatism_error_a": errors.astigmatism,
        "astigmatism_angle_error_deg": errors.astigmatism_angle,
        "phase_shift_error_deg": errors.phase_shift,
        "tilt_angle_error_deg": errors.tilt_angle,
        "tilt_axis_error_deg": errors.tilt_axis,
        "score": quality.score,
        "fit_resolution_a": quality.fit_resolution,
        "signal_resolution_a": quality.signal_resolution,
        "ice_ring_density": quality.ice_ring_density,
        "pixel_size_a": ctf.pixel_size,
        "voltage_kv": microscope.voltage,
        "spherical_aberration_mm": microscope.spherical_aberration,
        "amplitude_contrast": microscope.amplitude_contrast,
    }
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value


def relion_star(rows: Sequence[MicrographCtf]) -> str:
    """``micrographs_ctf.star`` for RELION 3.1 and later: optics groups by microscope and pixel size, and micrographs.

    Images without a fit are left out: RELION would take their guess for a value.
    """
    found = [row for row in rows if row.ctf.found]
    keys = [(row.ctf.pixel_size, row.ctf.microscope) for row in found]
    groups = list(dict.fromkeys(keys))
    optics = [
        f"opticsGroup{number} {number} {pixel:.6f} {pixel:.6f} {microscope.voltage:.6f} "
        f"{microscope.spherical_aberration:.6f} {microscope.amplitude_contrast:.6f}"
        for number, (pixel, microscope) in enumerate(groups, 1)
    ]
    optics_labels = (
        "rlnOpticsGroupName",
        "rlnOpticsGroup",
        "rlnMicrographPixelSize",
        "rlnMicrographOriginalPixelSize",
        "rlnVoltage",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
    )
    labels = (
        "rlnMicrographName",
        "rlnOpticsGroup",
        "rlnCtfImage",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnCtfAstigmatism",
        "rlnDefocusAngle",
        "rlnCtfFigureOfMerit",
        "rlnCtfMaxResolution",
        "rlnPhaseShift",
        "rlnCtfIceRingDensity",
    )
    micrographs = []
    for row, key in zip(found, keys, strict=True):
        ctf, quality = row.ctf, row.ctf.quality
        micrographs.append(
            f"{_star_word(row.name)} {groups.index(key) + 1} {_star_word(f'{row.image}:mrc' if row.image else 'None')} "
            f"{ctf.defocus_u:.6f} {ctf.defocus_v:.6f} {ctf.astigmatism:.6f} {ctf.astigmatism_angle:.6f} "
            f"{quality.score:.6f} {min(quality.fit_resolution, MAX_RESOLUTION_IN_STAR):.6f} {ctf.phase_shift:.6f} "
            f"{quality.ice_ring_density:.6f}"
        )
    return _star_table("optics", optics_labels, optics) + _star_table("micrographs", labels, micrographs)


def _star_word(text: str) -> str:
    return f'"{text}"' if any(letter.isspace() for letter in text) else text


def _star_table(name: str, labels: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f"_{label} #{number}\n" for number, label in enumerate(labels, 1))
    return f"\n{STAR_VERSION}\n\ndata_{name}\n\nloop_\n{head}" + "".join(f"{line}\n" for line in lines) + "\n"


def side_file(image: str | Path, ending: str) -> Path:
    """The text file beside a diagnostic image: its name with the last suffix replaced by ``ending``."""
    path = Path(image)
    return path.with_name(path.stem + ending)
