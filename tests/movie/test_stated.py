"""Settings that the metadata of EER and MRC movies state."""

import numpy as np
import pytest

from restframe.movie import open_movie
from restframe.movie.metadata import Metadata
from restframe.movie.movie import ArrayMovie
from restframe.movie.stated import with_metadata
from restframe.settings import Row, Settings, with_choices

XML = (
    '<metadata><item name="commercialName">Falcon 4</item>'
    '<item name="sensorPixelSize.height" unit="m">{pixel}</item>'
    '<item name="sensorPixelSize.width" unit="m">{pixel}</item>'
    '<item name="totalDose" unit="e/pixel">{dose}</item><item name="numberOfFrames">{frames}</item>'
    '<item name="eerGainReference">gain.gain</item></metadata>\0'
)


def eer(tmp_path, xml, frame_count=20, sampling=1):
    from restframe.movie.events import CODINGS
    from restframe.simulate.eer import encode, write_eer

    nothing = np.array([], int)
    frame = encode(nothing, nothing, nothing, 64 * 64, CODINGS[65001])
    write_eer(tmp_path / "m.eer", (64, 64), [frame] * frame_count, 65001, metadata=xml.encode())
    return open_movie(tmp_path / "m.eer", eer_sampling=sampling)


@pytest.mark.parametrize(("pixel_size", "sampling"), [(0.642, 1), (1.5, 2), (0.9, 3)])
def test_pixel_size_and_dose_where_none_are_given(tmp_path, pixel_size, sampling):
    movie = eer(tmp_path, XML.format(pixel=pixel_size * 1e-10, dose=30, frames=20), sampling=sampling)
    assert movie.metadata.gain_name == "gain.gain"
    rendered = pixel_size / 2 ** (sampling - 1)
    assert movie.pixel_size == pytest.approx(rendered)
    settings, notes = with_metadata(with_choices(Settings(), {"eer_sampling": sampling}), movie)
    assert settings.exposure.pixel_size == pytest.approx(rendered)
    assert settings.exposure.frame_dose == pytest.approx(30 / pixel_size**2 / 20)
    assert [note.split(":")[0] for note in notes] == ["Pixel size", "Dose"]


def test_dose_from_rate_and_time(tmp_path):
    xml = XML.replace("totalDose", "meanDoseRate").replace("numberOfFrames", "exposureTime")
    movie = eer(tmp_path, xml.format(pixel=1e-10, dose=6, frames=4))
    assert movie.metadata.frame_dose == pytest.approx(6 * 4 / 20)


@pytest.mark.parametrize(
    ("given", "sampling", "used", "note"),
    [
        (1.04, 1, 1.04, None),
        (1.06, 1, 1.06, "Warning.*say 1 A for a pixel"),
        (1.0, 2, 0.5, "Note.*is the size of a physical pixel"),
        (1.04, 2, 0.52, "Note.*is the size of a physical pixel"),
        (0.5, 2, 0.5, "Note.*is the size of a rendered pixel: the movie's metadata say so"),
        (0.96, 3, 0.24, "Note.*is the size of a physical pixel"),
        (0.26, 3, 0.26, "Note.*is the size of a rendered pixel: the"),
        (0.5, 3, 0.5, "Warning.*say 0.25 A for a rendered pixel"),
        (0.7, 2, 0.7, "Warning.*say 0.5 A for a rendered pixel"),
    ],
)
def test_physical_or_rendered_pixel(tmp_path, given, sampling, used, note):
    movie = eer(tmp_path, XML.format(pixel=1e-10, dose=20, frames=20), sampling=sampling)
    choices = {"pixel_size": given, "eer_sampling": sampling, "frame_dose": 1.0}
    settings, notes = with_metadata(with_choices(Settings(), choices), movie)
    assert settings.exposure.pixel_size == pytest.approx(used)
    assert len(notes) == (note is not None)
    if note:
        import re

        assert re.match(note, notes[0])


@pytest.mark.parametrize("sampling", [1, 2])
def test_without_metadata_the_rendered_pixel(tmp_path, sampling):
    movie = eer(tmp_path, "<metadata/>", sampling=sampling)
    choices = {"pixel_size": 0.7, "eer_sampling": sampling}
    settings, notes = with_metadata(with_choices(Settings(), choices), movie)
    assert settings.exposure.pixel_size == 0.7
    assert len(notes) == (sampling > 1) and all("is taken for the rendered pixel" in note for note in notes)


@pytest.mark.parametrize(
    ("choices", "warns"),
    [
        ({"frame_dose": 1.04}, False),
        ({"frame_dose": 1.06}, True),
        ({"frame_dose": 0.5, "integration": (Row(20, 4, 1.0),)}, False),
        ({"integration": (Row(10, 5, 1.0), Row(10, 5, 1.3))}, True),
        ({"frame_dose": 1.0, "integration": (Row(20, 4),)}, False),
        ({"frame_dose": 1.3, "integration": (Row(20, 4),)}, True),
    ],
)
def test_doses_that_disagree(tmp_path, choices, warns):
    movie = eer(tmp_path, XML.format(pixel=1e-10, dose=20, frames=20))
    settings, notes = with_metadata(with_choices(Settings(), {"pixel_size": 1.0} | choices), movie)
    assert settings.exposure.frame_dose == choices.get("frame_dose", 0)
    assert len(notes) == warns and all("say 1, 20 in all" in note for note in notes)


def test_fewer_frames_than_the_metadata_say(tmp_path):
    movie = eer(tmp_path, XML.format(pixel=1e-10, dose=20, frames=25))
    assert "say 25 raw frames, the file has 20" in movie.metadata.notes[0]
    assert movie.metadata.frame_dose == pytest.approx(0.8)


@pytest.mark.parametrize(
    "xml",
    [
        "no xml",
        "<metadata>",
        '<?xml version="1.0" encoding="klingon"?><metadata/>',
        "<a>" * 50_000,
        XML.format(pixel="nan", dose="inf", frames="-3"),
        XML.format(pixel="1e-400", dose="9" * 400, frames="many"),
        XML.format(pixel="5e-3", dose=3, frames=20),
        "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_metadata_that_are_of_no_use(tmp_path, xml):
    metadata = eer(tmp_path, xml).metadata
    assert metadata.pixel_size == metadata.frame_dose == 0


@pytest.mark.parametrize(
    ("choices", "used", "note"),
    [
        ({}, 200, "Voltage: 200 kV"),
        ({"voltage": 300.0}, 300, "Warning: voltage=300"),
        ({"voltage": 200.0}, 200, None),
        ({"voltage": 100.0}, 100, "Warning: voltage=100"),
    ],
)
def test_voltage(choices, used, note):
    class Stated(ArrayMovie):
        metadata = Metadata(voltage=200.0)

    settings, notes = with_metadata(with_choices(Settings(), choices), Stated(np.zeros((2, 8, 8), np.uint8)))
    assert settings.exposure.voltage == used
    assert [note_.startswith(note or "-") for note_ in notes] == [True] * (note is not None)
