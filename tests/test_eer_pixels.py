"""Whether a pixel size is that of the physical or of the rendered pixel of an EER movie."""

from types import SimpleNamespace

import pytest

from restframe.eer_pixels import with_rendered_pixel_size
from restframe.settings import Exposure, Settings


@pytest.mark.parametrize(
    ("given", "sampling", "in_file", "expected", "words"),
    [
        (1.2, 2, 0.6, 0.6, "this is the physical pixel"),  # Scipion, nextPYP
        (1.25, 2, 0.6, 0.625, "this is the physical pixel"),
        (0.6, 2, 0.6, 0.6, "is taken for the rendered"),  # TOMOMAN, TomoBEAR
        (1.2, 3, 0.3, 0.3, "this is the physical pixel"),
        (0.3, 3, 0.3, 0.3, "is taken for the rendered"),
        (1.2, 2, 0.0, 1.2, "is taken for the rendered"),  # no metadata
        (0.9, 2, 0.6, 0.9, "Warning"),
        (1.2, 1, 1.2, 1.2, None),
        (0.0, 2, 0.6, 0.0, None),
    ],
)
def test_the_pixel_that_is_meant(given, sampling, in_file, expected, words):
    settings = Settings(exposure=Exposure(pixel_size=given, eer_sampling=sampling))
    movie = SimpleNamespace(format="eer", pixel_size=in_file)
    changed, notes = with_rendered_pixel_size(settings, movie)
    assert changed.exposure.pixel_size == pytest.approx(expected)
    assert (notes == ()) if words is None else words in notes[0]
    tiff = SimpleNamespace(format="tiff", pixel_size=in_file)
    assert with_rendered_pixel_size(settings, tiff) == (settings, ())
