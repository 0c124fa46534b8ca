"""Settings that a movie's metadata state: taken where the user gives none, compared where he does."""

from __future__ import annotations

from dataclasses import replace

from restframe.messages import Message, Setting
from restframe.movie.integration import fit_rows_to_movie, read_rows
from restframe.movie.movie import Movie
from restframe.settings import Exposure, Settings

TOLERANCE = 0.05  # fraction by which two values may differ that mean the same


def with_metadata(settings: Settings, movie: Movie) -> tuple[Settings, tuple[str, ...]]:
    """``settings`` for ``movie``, with what its metadata state where the user says nothing, and sentences about it.

    The pixel size of an EER movie with ``eer_sampling`` 2 or 3 may be that of the physical pixel, as some programs give
    it, or that of the rendered one: the metadata decide. Without metadata it is that of the rendered one.
    """
    metadata, exposure = movie.metadata, settings.exposure
    exposure, notes = _with_pixel_size(exposure, movie)
    if metadata.frame_dose and exposure.pixel_size:
        exposure, dose_notes = _with_dose(exposure, metadata.frame_dose, movie.shape[0])
        notes += dose_notes
    if metadata.voltage:
        exposure, voltage_notes = _with_voltage(exposure, metadata.voltage, "voltage" in settings.given)
        notes += voltage_notes
    if movie.format == "eer" and exposure.frame_dose and not exposure.pixel_size:
        notes.append(Message("Warning: no dose weighting, which needs ", Setting("pixel_size"), "."))
    return replace(settings, exposure=exposure), (*metadata.notes, *notes)


def _with_pixel_size(exposure: Exposure, movie: Movie) -> tuple[Exposure, list[str]]:
    given, physical = exposure.pixel_size, movie.metadata.pixel_size
    division = 1 << exposure.eer_sampling - 1 if movie.format == "eer" else 1
    rendered = physical / division
    if not given:
        if not physical:
            return exposure, []
        return replace(exposure, pixel_size=rendered), [f"Pixel size: {rendered:.5g} A, from the movie's metadata."]
    setting = Setting("pixel_size", given)
    if not physical:
        if division == 1:
            return exposure, []
        return exposure, [Message("Note: ", setting, " is taken for the rendered pixel: the movie states none.")]
    if division > 1 and _agree(given, physical):
        rendered = given / division
        text = f" is the size of a physical pixel: the movie's metadata say so. A rendered one has {rendered:.5g} A."
        return replace(exposure, pixel_size=rendered), [Message("Note: ", setting, text)]
    if _agree(given, rendered):
        text = " is the size of a rendered pixel: the movie's metadata say so."
        return exposure, [Message("Note: ", setting, text)] if division > 1 else []
    kind = "a rendered pixel" if division > 1 else "a pixel"
    text = f": the movie's metadata say {rendered:.5g} A for {kind}. The given value is used. Is it right?"
    return exposure, [Message("Warning: ", setting, text)]


def _with_dose(exposure: Exposure, stated: float, raw_count: int) -> tuple[Exposure, list[str]]:
    """``stated``: e/A² during one of ``raw_count`` raw frames."""
    integration = exposure.integration
    rows = read_rows(integration) if integration is not None and not isinstance(integration, tuple) else integration
    fitted = fit_rows_to_movie(rows, raw_count) if rows else ()
    row_doses = [(row.dose or exposure.frame_dose) * row.frames for row in fitted]
    given = sum(row_doses) / raw_count if row_doses else exposure.frame_dose
    if not given:
        text = f"Dose: {stated:.5g} e/A² per raw frame, from the movie's metadata."
        return replace(exposure, frame_dose=stated), [text]
    if _agree(given, stated):
        return exposure, []
    is_in_file = any(row.dose for row in fitted)
    setting = Setting("integration") if is_in_file else Setting("frame_dose", exposure.frame_dose)
    text = (
        f": {given:.4g} e/A² per raw frame, {given * raw_count:.4g} in all; the movie's metadata say {stated:.4g}, "
        f"{stated * raw_count:.4g} in all. The given value is used. Is it right?"
    )
    return exposure, [Message("Warning: ", setting, text)]


def _with_voltage(exposure: Exposure, stated: float, is_given: bool) -> tuple[Exposure, list[str]]:
    if _agree(exposure.voltage, stated):
        return exposure, []
    if not is_given and exposure.voltage == Exposure().voltage:
        return replace(exposure, voltage=stated), [f"Voltage: {stated:g} kV, from the movie's metadata."]
    text = f": the movie's metadata say {stated:g} kV. The given value is used. Is it right?"
    return exposure, [Message("Warning: ", Setting("voltage", exposure.voltage), text)]


def _agree(value: float, other: float) -> bool:
    return abs(value / other - 1) <= TOLERANCE
