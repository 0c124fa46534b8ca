"""Arguments of subcommands."""

from __future__ import annotations

import argparse
from typing import NoReturn

from restframe.errors import SettingsError


class Parser(argparse.ArgumentParser):
    """Wrong arguments end with restframe's exit code, not with argparse's."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{self.prog}: {message}; see {self.prog} --help")
