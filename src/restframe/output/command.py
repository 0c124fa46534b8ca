"""The command of a run, for its records: a page of the session shows how a movie that failed is corrected again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command line, and the folder in which it was given."""

    words: tuple[str, ...] = ()  # the program first
    folder: str = ""

    @staticmethod
    def given_here(arguments: Sequence[str]) -> Command:
        """restframe with these arguments, in the present folder."""
        try:
            folder = os.getcwd()
        except OSError:  # it was removed
            folder = ""
        return Command(("restframe", *arguments), folder)

    def entry(self) -> dict[str, Any] | None:
        """As a record holds it; None where there was no command."""
        return {"words": list(self.words), "folder": self.folder or None} if self.words else None


NO_COMMAND = Command()
