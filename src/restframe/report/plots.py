"""A figure of one movie, from its record and the pictures that it names. Needs matplotlib (the extra ``plot``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import InputError, SettingsError
from restframe.optics import critical_dose, wavelength
from restframe.output.place import place_all
from restframe.report.motion import LocalMotion, local_motion
from restframe.report.records import Record, read_record
from restframe.report.star_set import has_ctf

FIGURE_INCHES = 13.0, 8.0
DOTS_PER_INCH = 110
FORMATS = ("png", "svg", "pdf")
MAGNIFICATIONS = 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000
LONGEST_ARROW = 0.12  # of the width of a frame, in the figure
WEIGHT_RESOLUTIONS = 20.0, 10.0, 6.0, 4.0, 3.0  # A
TRACK_COLOUR, ACCENT_COLOUR, BAD_PIXEL_COLOUR = "#2563a8", "#d9480f", "#c2255c"
BEFORE_COLOUR = "#868e96"
FIRST_RING = 5  # of the curves; rings below it are illumination
RING_COLOUR = "#69db7c"
MAX_CTF_RINGS = 8
ANGSTROM_PER_MM = 1e7
OPTIMAL_FACTOR = 2.0  # in the exponent of dose weights: exp(-dose / (2 critical dose))


def plot_record(record_path: Path, figure_path: Path) -> None:
    """Draw a movie's motion, image, spectrum, doses and defects to ``figure_path`` (png, svg or pdf).

    Raises `InputError` where the file is no record of a corrected movie, `SettingsError` without matplotlib or for
    another format, `OutputError`.
    """
    check_format(figure_path)
    record = read_record(record_path)
    if not record.done:
        raise InputError(f"{record_path}: this movie failed, nothing can be drawn. {record.content.get('reason')}")
    figure = make_figure(record)
    options = {"format": figure_path.suffix[1:].lower(), "dpi": DOTS_PER_INCH, "metadata": {"Creator": None}}
    if figure_path.suffix.lower() != ".pdf":
        options["metadata"] = {"Date": None} if figure_path.suffix.lower() == ".svg" else {"Software": None}
    place_all([(figure_path, lambda draft: figure.savefig(draft, **options))])


def check_format(figure_path: Path) -> None:
    """Raise SettingsError unless a figure of this name can be drawn."""
    if figure_path.suffix[1:].lower() not in FORMATS:
        raise SettingsError(f"{figure_path}: a plot is .png, .svg or .pdf. Give a name that ends in one of these.")
    check_matplotlib()


def check_matplotlib() -> None:
    """Raise SettingsError where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as stated_error:
        raise SettingsError(
            "Plots need matplotlib, which is not installed: pip install 'restframe[plot]'."
        ) from stated_error


def make_figure(record: Record) -> Any:
    """The figure, without pyplot, so that any thread can make it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    panels = figure.subplots(2, 3)
    figure.suptitle(_title(record), fontsize=12, parse_math=False)
    local_field = local_motion(record)
    draw_track(panels[0, 0], record)
    draw_image(panels[0, 1], record, local_field)
    draw_spectrum_picture(panels[0, 2], record)
    draw_doses(panels[1, 0], record)
    draw_bad_pixels(panels[1, 1], record)
    draw_spectrum_curve(panels[1, 2], record)
    return figure


def _title(record: Record) -> str:
    name = record.value("input.name") or record.name
    motion, stated_error = record.number("motion.total"), record.number("motion.stated_error")
    if motion is None:
        return str(name)
    return f"{name}\ntotal motion {motion:.1f} A" + (
        "" if stated_error is None else f", stated error {stated_error:.2f} A"
    )


def draw_track(panel: Any, record: Record) -> None:
    """Global motion of the specimen, relative to the first used frame."""
    pixel_size = record.number("motion.pixel_size")
    scale, unit_name = (pixel_size, "A") if pixel_size else (1.0, "px")
    positions = -scale * np.array(record.value("motion.global_shifts_px") or np.zeros((0, 2)), float).reshape(-1, 2)
    frame_doses = record.numbers("frames.accumulated_dose")
    point_colours = frame_doses or list(range(1, len(positions) + 1))
    panel.plot(*positions.T, color=TRACK_COLOUR, lw=1, zorder=1)
    frame_points = panel.scatter(*positions.T, c=point_colours, cmap="viridis", s=22, zorder=2)
    panel.figure.colorbar(frame_points, ax=panel, label="e/A² received" if frame_doses else "frame", shrink=0.8)
    stated_error = record.number("motion.stated_error_px")
    if stated_error is not None and len(positions):
        corner = positions.min(0)
        panel.errorbar(
            *corner, xerr=scale * stated_error, yerr=scale * stated_error, color=ACCENT_COLOUR, capsize=3, lw=1
        )
        panel.annotate("stated error", corner, textcoords="offset points", xytext=(7, 7), fontsize=8)
    panel.set(title="Global motion of the specimen", xlabel=f"x ({unit_name})", ylabel=f"y ({unit_name})")
    panel.set_aspect("equal", "datalim")
    panel.grid(alpha=0.25)


def draw_image(panel: Any, record: Record, local_field: LocalMotion | None) -> None:
    """The corrected image with the local motion as magnified paths."""
    width, height = int(record.value("frames.width") or 1), int(record.value("frames.height") or 1)
    _show_picture(panel, record, "thumbnail", (-0.5, width - 0.5, -0.5, height - 0.5))
    if local_field is None:
        panel.set(title="Corrected image (global motion only)", xlabel="x (px)", ylabel="y (px)")
    else:
        factor = magnification(local_field, width)
        for x, y, local_path in zip(local_field.x, local_field.y, local_field.paths, strict=True):
            panel.plot(x + factor * local_path[:, 0], y + factor * local_path[:, 1], color="#ffd43b", lw=1.2)
            panel.plot(x + factor * local_path[-1, 0], y + factor * local_path[-1, 1], ".", color="#ff6b6b", ms=5)
        panel.set(title=f"Corrected image, local motion x {factor}", xlabel="x (px)", ylabel="y (px)")
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(-0.5, height - 0.5)
    panel.set_aspect("equal")


def magnification(local_field: LocalMotion, width: int) -> int:
    """The largest round factor with which no path is drawn longer than `LONGEST_ARROW`."""
    longest = float(np.hypot(*np.moveaxis(local_field.paths, -1, 0)).max(initial=0.0))
    fitting = [factor for factor in MAGNIFICATIONS if factor * longest <= LONGEST_ARROW * width]
    return max(fitting, default=1)


def draw_spectrum_picture(panel: Any, record: Record) -> None:
    """The power spectrum as an image."""
    pixel_size = record.number("spectrum.pixel_size")
    nyquist = 0.5 / pixel_size if pixel_size else 0.5
    _show_picture(panel, record, "spectrum", (-nyquist, nyquist, -nyquist, nyquist))
    unit_name = "1/A" if pixel_size else "cycles per pixel"
    title = "Power spectrum of the sum"
    if pixel_size and has_ctf(record):
        draw_ctf_rings(panel, record, nyquist)
        title += f"\n{ctf_sentence(record)}"
    panel.set(title=title, xlabel=f"x frequency ({unit_name})", ylabel=f"y frequency ({unit_name})")


def draw_ctf_rings(panel: Any, record: Record, nyquist: float) -> None:
    """Zeros of the fitted CTF, and a dashed circle at the resolution of the fit."""
    angle = np.linspace(0, 2 * np.pi, 181)
    for number in range(1, MAX_CTF_RINGS + 1):
        radius = ctf_zero(record, number, angle)
        if not (radius < nyquist).all():
            break
        panel.plot(radius * np.cos(angle), radius * np.sin(angle), color=RING_COLOUR, lw=0.7)
    resolution = record.number("ctf.fit_resolution_a")
    if resolution:
        panel.plot(np.cos(angle) / resolution, np.sin(angle) / resolution, "--", color=RING_COLOUR, lw=0.7)
    panel.set(xlim=(-nyquist, nyquist), ylim=(-nyquist, nyquist))


def ctf_zero(record: Record, number: int, angle: FloatArray) -> FloatArray:
    """The frequency in 1/A of a zero of the record's CTF in the directions ``angle`` (rad); NaN where there is none.

    There chi = pi lambda k² D - pi lambda³ Cs k⁴ / 2 + asin(A) + phase shift is ``number`` times pi.
    """

    def value(name: str, default: float) -> float:
        known = record.number(f"ctf.{name}")
        return default if known is None else known

    electron_wavelength = wavelength(value("voltage_kv", 300.0))
    larger, smaller = value("defocus_u_a", 0.0), value("defocus_v_a", 0.0)
    axis = np.deg2rad(value("astigmatism_angle_deg", 0.0))
    defocus = 0.5 * (larger + smaller + (larger - smaller) * np.cos(2 * (angle - axis)))
    constant = np.arcsin(value("amplitude_contrast", 0.07)) / np.pi + value("phase_shift_deg", 0.0) / 180
    quartic = 0.5 * value("spherical_aberration_mm", 2.7) * ANGSTROM_PER_MM * electron_wavelength**3
    linear = electron_wavelength * defocus
    with np.errstate(invalid="ignore", divide="ignore"):
        # stable without spherical aberration, too: the smaller root is 2 c / (b + sqrt(b² - 4 a c))
        root = np.sqrt(linear**2 - 4 * quartic * (number - constant))
        return np.asarray(np.sqrt(2 * (number - constant) / (linear + root)))


def ctf_sentence(record: Record) -> str:
    """Defocus, astigmatism and resolution of the record's CTF."""
    larger, smaller = record.number("ctf.defocus_u_a") or 0.0, record.number("ctf.defocus_v_a") or 0.0
    error, resolution = record.number("ctf.defocus_error_a"), record.number("ctf.fit_resolution_a")
    words = f"defocus {(larger + smaller) / 2e4:.3f}"
    words += f" ± {error / 1e4:.3f} µm" if error is not None else " µm"
    words += f", astigmatism {larger - smaller:.0f} A"
    return words + (f", fit to {resolution:.1f} A" if resolution else "")


def _show_picture(panel: Any, record: Record, kind: str, extent: tuple[float, float, float, float]) -> None:
    local_path = record.file(kind)
    if local_path is None or not local_path.is_file():
        panel.text(0.5, 0.5, "no picture", ha="center", va="center", transform=panel.transAxes)
        return
    pixels: AnyArray = imagecodecs.jpeg8_decode(local_path.read_bytes())
    panel.imshow(pixels, cmap="gray", extent=extent, vmin=0, vmax=255)


def draw_spectrum_curve(panel: Any, record: Record) -> None:
    """Mean power of rings, before and after the correction."""
    pixel_size = record.number("spectrum.pixel_size")
    curves = (
        ("_before", "before correction", BEFORE_COLOUR),
        ("", "after correction", TRACK_COLOUR),
    )
    for suffix, label, colour in curves:
        log_power = record.numbers(f"spectrum.log10_power{suffix}")
        if log_power:
            own_pixel_size = record.number(f"spectrum.pixel_size{suffix}") or 1
            frequency = np.linspace(0, 0.5 / own_pixel_size, len(log_power))
            panel.plot(frequency[FIRST_RING:], log_power[FIRST_RING:], color=colour, lw=1, label=label)
    if panel.lines:
        panel.legend(fontsize=8)
    unit_name = "1/A" if pixel_size else "cycles per pixel"
    panel.set(title="Power of rings", xlabel=f"frequency ({unit_name})", ylabel="log10 of the power")
    panel.grid(alpha=0.25)


def draw_doses(panel: Any, record: Record) -> None:
    """Dose of each frame, and the weights of frames at some resolutions."""
    frame_doses, accumulated = record.numbers("frames.dose"), record.numbers("frames.accumulated_dose")
    panel.set(title="Dose weights of frames", xlabel="frame, from 1", ylabel="weight, relative to the first frame")
    if not frame_doses:
        panel.text(0.5, 0.5, "no dose was given", ha="center", va="center", transform=panel.transAxes)
        return
    frames = np.arange(1, len(frame_doses) + 1)
    voltage = record.number("settings.exposure.voltage") or 300.0
    for resolution in WEIGHT_RESOLUTIONS:
        weights = dose_weights(np.array(accumulated), 1 / resolution, voltage)
        panel.plot(frames, weights, lw=1.3, label=f"{resolution:g} A")
    panel.set_ylim(0, 1.05)
    panel.legend(title="resolution", fontsize=8, loc="lower left")
    other = panel.twinx()
    other.step(frames, frame_doses, where="mid", color="0.6", lw=1)
    other.set_ylim(0, 1.6 * max(frame_doses))
    other.set_ylabel("dose of a frame (e/A², grey)", color="0.4")


def dose_weights(accumulated: FloatArray, frequency: float, voltage: float) -> FloatArray:
    """exp(-dose / (2 critical dose)) of each frame over that of the first; ``frequency`` in 1/A."""
    critical = float(critical_dose(np.array([frequency]), voltage)[0])
    return np.asarray(np.exp(-(accumulated - accumulated[0]) / (OPTIMAL_FACTOR * critical)))


def draw_bad_pixels(panel: Any, record: Record) -> None:
    """Where pixels were filled with the local mean."""
    width, height = int(record.value("frames.width") or 1), int(record.value("frames.height") or 1)
    positions = np.array(record.value("bad_pixels.positions") or np.zeros((0, 2)), float).reshape(-1, 2)
    pixel_count = int(record.value("bad_pixels.count") or 0)
    shown = "" if len(positions) == pixel_count else f", {len(positions)} shown"
    panel.scatter(*positions.T, s=6, color=BAD_PIXEL_COLOUR, marker="s")
    panel.set(title=f"Bad pixels: {pixel_count}{shown}", xlabel="x (px)", ylabel="y (px)")
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(-0.5, height - 0.5)
    panel.set_aspect("equal")
