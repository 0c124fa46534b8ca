"""The page of a session: one HTML file, and beside it data that is loaded when it is needed."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from restframe.output.place import Writer, explaining, place_all
from restframe.report.records import Record, RecordReader
from restframe.report.session_data import COLUMNS, details, movie_row
from restframe.report.star_set import Optics, optics_of

PAGE_NAME = "report.html"
FILES_FOLDER = "report_files"
MOVIES_PER_FILE = 64  # whose details are loaded together


class PageBuilder:
    """Writes the page of a folder of records, as often as it is asked to. Only what has changed is made again.

    The HTML file holds everything but pictures and details of single movies; it can be sent alone.
    """

    def __init__(self, reader: RecordReader, title: str) -> None:
        self.reader = reader
        self.title = title
        self._version = ""
        self._optics: Optics | None = None
        self._rows: dict[Record, dict[str, Any]] = {}
        self._chunks: dict[tuple[Record, ...], tuple[str, str]] = {}  # text of details, and its hash
        self._written_hashes: set[tuple[int, str]] = set()

    @property
    def page(self) -> Path:
        return self.reader.folder / PAGE_NAME

    def write(self) -> Path:
        """Write what has changed. Returns the path of the page. Raises `OutputError`."""
        records, running = self.reader.records(), self.reader.running()
        chunks = self._chunks_of(records)
        content = self._summary(records, [digest for _, digest in chunks])
        version = hashlib.sha256(as_script(content).encode()).hexdigest()[:16]
        folder = self.reader.folder / FILES_FOLDER
        with explaining(folder):
            folder.mkdir(exist_ok=True)
        drafts: list[tuple[Path, Writer]] = []
        if version != self._version:
            content |= {"version": version, "made": round(time.time()), "run": running}
            for number, (text, digest) in enumerate(chunks):
                if (number, digest) not in self._written_hashes:
                    script = f"restframePage.details({number},{digest!r},{text})\n"
                    drafts.append((folder / f"details_{number}.js", _text_writer(script)))
            drafts.append((folder / "summary.js", _text_writer(f"restframePage.summary({as_script(content)})\n")))
            drafts.append((self.page, _text_writer(page_text(content, self.title))))
        state = f"restframePage.version({version!r},{as_script(running)})\n"
        drafts.append((folder / "version.js", _text_writer(state)))
        place_all(drafts)
        self._version = version
        self._written_hashes = {(number, digest) for number, (_, digest) in enumerate(chunks)}
        return self.page

    def _summary(self, records: list[Record], chunk_hashes: list[str]) -> dict[str, Any]:
        """All that the page needs at once: columns, and a row for each movie."""
        optics = optics_of([record for record in records if record.done])
        known_rows = self._rows if optics == self._optics else {}
        self._optics = optics
        self._rows = {record: known_rows.get(record) or movie_row(record, optics) for record in records}
        movies = [row | {"chunk": index // MOVIES_PER_FILE} for index, row in enumerate(self._rows.values())]
        return {
            "title": self.title,
            "columns": [vars(column) for column in COLUMNS],
            "movies": movies,
            "chunks": chunk_hashes,
            "star_optics": optics.text,
            "star_labels": optics.labels_text,
        }

    def _chunks_of(self, records: list[Record]) -> list[tuple[str, str]]:
        """The details of all movies, in pieces that are loaded together."""
        chunks = {}
        for start in range(0, len(records), MOVIES_PER_FILE):
            members = tuple(records[start : start + MOVIES_PER_FILE])
            chunks[members] = self._chunks.get(members) or _chunk_text(members)
        self._chunks = chunks
        return list(chunks.values())


def _chunk_text(records: tuple[Record, ...]) -> tuple[str, str]:
    text = as_script({record.name: details(record) for record in records})
    return text, hashlib.sha256(text.encode()).hexdigest()[:12]


def page_text(content: Mapping[str, Any], title: str) -> str:
    """The HTML file."""
    parts = files(__name__)
    script = (parts / "page.js").read_text(encoding="utf-8")
    replacements = {
        "policy": html.escape(policy(script)),
        "title": html.escape(title),
        "style": (parts / "page.css").read_text(encoding="utf-8"),
        "data": as_script(content),
        "script": script,
    }
    pieces = (parts / "page.html").read_text(encoding="utf-8").split("{{")
    text = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        text += [replacements[name], rest]
    return "".join(text)


def policy(script: str) -> str:
    """What a browser may load and run: this script, and files beside the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}' 'self' file:; style-src 'unsafe-inline'; "
        "img-src 'self' file: data:; base-uri 'none'; form-action 'none'"
    )


def as_script(content: Any) -> str:
    """JSON that can stand in a script and in HTML: no character of it ends either."""
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text_writer(text: str) -> Writer:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
