"""Which pixel of an EER movie the pixel size means: some programs give the physical one, others the rendered one."""

from __future__ import annotations

from dataclasses import replace

from restframe.messages import Message, Setting
from restframe.movie import Movie
from restframe.settings import Settings

AGREEMENT = 0.05  # relative difference of two pixel sizes that are taken for the same


def with_rendered_pixel_size(settings: Settings, movie: Movie) -> tuple[Settings, tuple[Message, ...]]:
    """``settings`` with the pixel size of the movie's pixels as they are rendered, and a line that says it.

    With a sampling above 1 a pixel size is that of the physical pixel only where the file's own agrees. Scipion and
    nextPYP give the physical pixel, TOMOMAN and TomoBEAR the rendered one.
    """
    exposure = settings.exposure
    given, sampling = exposure.pixel_size, exposure.eer_sampling
    if movie.format != "eer" or sampling == 1 or given == 0:
        return settings, ()
    rendered_per_physical = 2 ** (sampling - 1)
    rendered = movie.pixel_size  # of the file, for the pixels that `movie` has
    flags = Setting("pixel_size", given), " with ", Setting("eer_sampling", sampling)
    if rendered > 0 and _agree(given, rendered * rendered_per_physical):
        pixel_size = given / rendered_per_physical
        text = f": this is the physical pixel of the movie's metadata, so the movie's pixels are {pixel_size:.6g} A."
        return replace(settings, exposure=replace(exposure, pixel_size=pixel_size)), (Message("Note: ", *flags, text),)
    if rendered > 0 and not _agree(given, rendered):
        text = (
            f": neither the physical pixel of the movie's metadata, {rendered * rendered_per_physical:.6g} A, nor the "
            f"rendered one, {rendered:.6g} A. It is taken for the rendered one."
        )
        return settings, (Message("Warning: ", *flags, text),)
    return settings, (Message("Note: ", *flags, f": {given:.6g} A is taken for the rendered, finer pixel."),)


def _agree(one: float, other: float) -> bool:
    return abs(one / other - 1) <= AGREEMENT
