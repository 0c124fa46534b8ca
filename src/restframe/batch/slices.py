"""Shares of the movies of a folder, for jobs of a cluster that know nothing of one another."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from restframe.errors import SettingsError

_SLICE = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Slice:
    """The movies whose names have ``index``, from 1, as one more than their hash modulo ``count``."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Slice:
        """From a text such as 3/8; an empty one means all movies. Raises `SettingsError`."""
        if not text:
            return cls()
        match = _SLICE.fullmatch(text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingsError("expected two integers such as 1/8, 2/8, ... 8/8.")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """For names of files; empty for all movies."""
        return f"{self.index}-of-{self.count}" if self.count > 1 else ""

    def holds(self, movie_name: str) -> bool:
        """Whether a movie is in it. The name alone decides, on every computer in the same way."""
        name_hash = hashlib.sha256(movie_name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(name_hash[:8], "big") % self.count == self.index - 1
