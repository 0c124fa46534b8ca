"""A longer fuzz of the readers with hypothesis: any bytes must give a result or an error with a message of one line.

    python benchmarks/fuzz_readers.py --examples 20000    about 5 minutes

Movies of every format, references, defect lists, integration files and known motion begin as the small valid ones of
bad_inputs.py. hypothesis replaces pieces, cuts and repeats, and makes what fails smaller.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from broken_files import make_valid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restframe.detector.references import listed_defects, read_reference
from restframe.errors import RestframeError
from restframe.movie import open_movie, read_frames
from restframe.movie.integration import read_rows
from restframe.output.alignment import read_alignment
from restframe.settings import Detector

SHAPE = (48, 64)
READERS: dict[str, Callable[[Path], object]] = {
    "movie": lambda path: read_frames(open_movie(path), threads=1),
    "gain": read_reference,
    "dark": read_reference,
    "defects": lambda path: listed_defects(Detector(defect_file=path), SHAPE),
    "defect map": lambda path: listed_defects(Detector(defect_map=path), SHAPE),
    "integration": read_rows,
    "motion": read_alignment,
}

pieces = st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8))
lengths = st.one_of(st.none(), st.floats(0.02, 1))


def fuzz(folder: Path, examples: int) -> None:
    """Raises what a reader should not have raised."""
    roles = make_valid(folder)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(sorted(roles)), st.booleans(), st.lists(pieces, max_size=4), lengths)
    def run(base: str, in_head: bool, changes: list[tuple[float, bytes]], length: float | None) -> None:
        content = bytearray((folder / base).read_bytes())
        for place, piece in changes:
            start = int(place * len(content) * (0.1 if in_head else 1))
            content[start : start + len(piece)] = piece
        path = folder / f"broken{Path(base).suffix}"
        path.write_bytes(content[: int(length * len(content)) if length else None])
        try:
            READERS[roles[base]](path)
        except RestframeError as error:
            assert str(error) and "\n" not in str(error)

    run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=20_000)
    with tempfile.TemporaryDirectory() as folder:
        examples = parser.parse_args().examples
        fuzz(Path(folder), examples)
        print(f"{examples} examples, none bad")


if __name__ == "__main__":
    main()
