"""Programs that call this one, where their arguments have to be taken in a way of their own."""

from __future__ import annotations

import re

from restframe.cli.parse import Options

RELION_EER_SUFFIXES = (".eer", ".ecc")
RELION_EER_GROUPING = 40  # raw frames, RELION's default


def is_called_by_relion(options: Options) -> bool:
    """Whether RELION's motion correction sends these arguments: it always names the log like the sum, and asks for the
    first frame as reference.
    """
    output = re.sub(r"\.mrc$", "", options.text("-OutMrc"))
    has_its_flags = {"-LogFile", "-FmRef", "-Bft", "-PixSize", "-Patch"} <= options.given
    return has_its_flags and options.text("-LogFile") == output and options.integer("-FmRef") == 0


def is_relions_eer(options: Options, name: str) -> bool:
    """Whether RELION counts the frames of this movie in sums of its own and did not say of how many."""
    return (
        is_called_by_relion(options) and name.lower().endswith(RELION_EER_SUFFIXES) and not options.text("-FmIntFile")
    )
