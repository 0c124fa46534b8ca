"""The XML in EER files: pixel size, dose, and the name of the gain reference."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from restframe.movie.metadata import PLAUSIBLE_FRAME_DOSE, PLAUSIBLE_PIXEL_SIZE_A, Metadata, plausible

METADATA_TAG = 65001
MAX_TEXT_BYTES = 1_000_000  # real ones have 2 kB


def parse_metadata(path: Path, text: object, frame_count: int) -> Metadata:
    """What the items of the XML ``text`` say about a movie of ``frame_count`` raw frames.

    Items: sensorPixelSize.width and .height (m, in the specimen), totalDose (e/pixel) or meanDoseRate (e/pixel/s) and
    exposureTime (s), numberOfFrames, eerGainReference. A text that is no XML gives a note.
    """
    encoded = text.encode() if isinstance(text, str) else text
    if not isinstance(encoded, bytes) or len(encoded) > MAX_TEXT_BYTES:
        return Metadata()
    try:
        root = ElementTree.fromstring(encoded.rstrip(b"\0 \r\n"))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        return Metadata(notes=(f"Warning: {path}: its metadata are no XML ({error}) and are not used.",))
    items = {str(item.get("name")): (item.text or "").strip() for item in root.iter("item")}
    sides = [number for name in ("width", "height") if (number := _number(items, f"sensorPixelSize.{name}")) > 0]
    pixel_size = plausible(1e10 * sum(sides) / len(sides), PLAUSIBLE_PIXEL_SIZE_A) if sides else 0.0
    total_per_pixel = _number(items, "totalDose") or _number(items, "meanDoseRate") * _number(items, "exposureTime")
    stated_frames = _number(items, "numberOfFrames")
    frame_dose = total_per_pixel / pixel_size**2 / (stated_frames or frame_count) if pixel_size else 0.0
    notes: tuple[str, ...] = ()
    if stated_frames and stated_frames != frame_count:
        notes = (
            f"Warning: {path}: its metadata say {stated_frames:.0f} raw frames, the file has {frame_count}. Was the "
            "movie cut short?",
        )
    return Metadata(
        pixel_size,
        plausible(frame_dose, PLAUSIBLE_FRAME_DOSE),
        gain_name=items.get("eerGainReference", ""),
        notes=notes,
    )


def _number(items: dict[str, str], name: str) -> float:
    """0 if the item is missing or no positive number."""
    try:
        number = float(items.get(name, ""))
    except ValueError:
        return 0.0
    return number if 0 < number < float("inf") else 0.0
