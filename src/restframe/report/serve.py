"""The page of a session over HTTP, for browsers on this computer: the page, its data and its pictures, nothing else."""

from __future__ import annotations

import os
import posixpath
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from restframe.errors import SettingsError
from restframe.output.names import PICTURE_FOLDER
from restframe.report.page import FILES_FOLDER, PAGE_NAME

LOOPBACK = "127.0.0.1"
LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}


class PageHandler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD for the files of a page."""

    server_version = "restframe"
    sys_version = ""

    def __init__(self, *arguments: Any, folder: Path, loopback_only: bool, **options: Any) -> None:
        self._folder = folder
        self._loopback_only = loopback_only
        super().__init__(*arguments, directory=str(folder), **options)

    def send_head(self) -> Any:
        """Refuse what is not a file of the page."""
        if not self._asked_by_a_local_name():
            self.send_error(HTTPStatus.FORBIDDEN, "Use localhost")
            return None
        path = posixpath.normpath(unquote(urlsplit(self.path).path))
        if path == "/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", f"/{PAGE_NAME}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if not self._is_of_the_page(path):
            self.send_error(HTTPStatus.NOT_FOUND, "No such file")
            return None
        return super().send_head()

    def _is_of_the_page(self, path: str) -> bool:
        words = path.strip("/").split("/")
        known = words == [PAGE_NAME] or (len(words) == 2 and words[0] in (FILES_FOLDER, PICTURE_FOLDER))
        if not known or "\0" in path or "\\" in path:
            return False
        target = os.path.realpath(os.path.join(self._folder, *words))
        inside = target.startswith(f"{os.path.realpath(self._folder)}{os.sep}")
        return inside and os.path.isfile(target)

    def _asked_by_a_local_name(self) -> bool:
        """Whether the address bar names this computer: pages of other sites cannot reach this server by theirs."""
        if not self._loopback_only:
            return True
        return str(self.headers.get("Host", "")).rsplit(":", 1)[0].lower() in LOCAL_NAMES

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: requests come every few seconds."""


def make_server(folder: Path, port: int, address: str = LOOPBACK) -> ThreadingHTTPServer:
    """A server of the page in ``folder``; port 0: a free one. Raises `SettingsError` where the port cannot be used."""
    try:
        handler = partial(PageHandler, folder=folder, loopback_only=address == LOOPBACK)
        return ThreadingHTTPServer((address, port), handler)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"The port {port} of {address} cannot be used: {error}. Choose another one.") from error
