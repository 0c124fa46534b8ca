"""The page of a session is written again while a batch runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType

from restframe.errors import RestframeError
from restframe.report.page import PageBuilder

REFRESH_SECONDS = 5.0
WORK_SHARE = 0.05  # of the time, at most, that is spent on writing pages


class Refreshing:
    """Keeps a page up to date as long as the context lasts. An error of writing ends no batch; the page stays old.

    The folder of records may appear later.
    """

    def __init__(self, builder: PageBuilder) -> None:
        self._builder = builder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def __enter__(self) -> Refreshing:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        pause = REFRESH_SECONDS
        while not self._ended.wait(pause):
            begin = time.thread_time()
            self._write()
            pause = max(REFRESH_SECONDS, (time.thread_time() - begin) / WORK_SHARE)

    def _write(self) -> None:
        with suppress(OSError, RestframeError):
            if self._builder.reader.folder.is_dir():
                self._builder.write()
