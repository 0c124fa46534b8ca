"""STAR files of a set of movies, as RELION's later jobs read them: corrected_micrographs.star and, with CTF,
micrographs_ctf.star. Made from records only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restframe.output.names import RECORD_FOLDER
from restframe.output.place import Writer, place_all
from restframe.output.star import star_word
from restframe.report.records import Record

CORRECTED_NAME, CTF_NAME = "corrected_micrographs.star", "micrographs_ctf.star"
DEFAULT_CS, DEFAULT_CONTRAST = 2.7, 0.1  # mm; RELION needs a value where no CTF was estimated
OPTICS_LABELS = (
    "rlnOpticsGroupName",
    "rlnOpticsGroup",
    "rlnMicrographOriginalPixelSize",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnMicrographPixelSize",
)
MICROGRAPH_LABELS = (
    "rlnMicrographName",
    "rlnOpticsGroup",
    "rlnAccumMotionTotal",
    "rlnAccumMotionEarly",
    "rlnAccumMotionLate",
)
OPTIONAL_LABELS = {  # kind of output: label, only there where every movie has it
    "star": "rlnMicrographMetadata",
    "unweighted": "rlnMicrographNameNoDW",
    "even": "rlnMicrographNameEven",
    "odd": "rlnMicrographNameOdd",
    "power_spectrum": "rlnCtfPowerSpectrum",
}
CTF_LABELS = (
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnCtfAstigmatism",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "rlnCtfFigureOfMerit",
    "rlnCtfMaxResolution",
)

OpticsKey = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Optics:
    """Optics groups of a set: movies with equal pixel sizes and voltage share one."""

    groups: tuple[OpticsKey, ...]
    optional_kinds: tuple[str, ...]  # of `OPTIONAL_LABELS`
    with_ctf: bool
    root: Path  # names in the file are relative to this folder
    microscope: tuple[float, float]  # spherical aberration (mm) and amplitude contrast where a record says none

    @property
    def labels(self) -> tuple[str, ...]:
        optional = tuple(OPTIONAL_LABELS[kind] for kind in self.optional_kinds)
        return MICROGRAPH_LABELS + optional + (CTF_LABELS if self.with_ctf else ())

    def group_of(self, record: Record) -> int:
        """The number of a movie's group, from 1."""
        return self.groups.index(_optics_key(record, self.microscope)) + 1

    @property
    def labels_text(self) -> str:
        """The head of the table of micrographs."""
        return _head("micrographs", self.labels)

    @property
    def text(self) -> str:
        """The table of optics groups."""
        rows = []
        for number, (original_pixel, voltage, aberration, contrast, pixel_size) in enumerate(self.groups, 1):
            values = f"opticsGroup{number}", number, original_pixel, voltage, aberration, contrast, pixel_size
            rows.append(_row(values))
        return _head("optics", OPTICS_LABELS) + "".join(rows)


def optics_of(records: Sequence[Record], *, with_ctf: bool = False, root: Path | None = None) -> Optics:
    """The optics groups of corrected movies, and what else all of them have."""
    microscope = next((_microscope(record) for record in records if has_ctf(record)), (DEFAULT_CS, DEFAULT_CONTRAST))
    groups = tuple(dict.fromkeys(_optics_key(record, microscope) for record in records))
    kinds = [kind for kind in OPTIONAL_LABELS if records and all(_file_of(record, kind) for record in records)]
    return Optics(groups, tuple(kinds), with_ctf, Path.cwd() if root is None else root, microscope)


def micrograph_row(record: Record, optics: Optics) -> str:
    """The line of a movie in the table of micrographs."""
    values: list[object] = [
        _name(record.file("dose_weighted") or record.file("sum"), optics),
        optics.group_of(record),
        *(record.number(f"motion.{part}") or 0.0 for part in ("total", "early", "late")),
        *(_name(_file_of(record, kind), optics) for kind in optics.optional_kinds),
    ]
    if optics.with_ctf:
        defocus_u, defocus_v = record.number("ctf.defocus_u_a") or 0.0, record.number("ctf.defocus_v_a") or 0.0
        others = ("astigmatism_angle_deg", "phase_shift_deg", "score", "fit_resolution_a")
        values += [defocus_u, defocus_v, abs(defocus_u - defocus_v)]
        values += [record.number(f"ctf.{key}") or 0.0 for key in others]
    return _row(values)


def star_texts(records: Sequence[Record], root: Path) -> dict[str, str]:
    """Name and content of the STAR files of the movies that are done; those with a CTF are in both files."""
    done = sorted((record for record in records if record.done), key=lambda record: record.name)
    with_ctf = [record for record in done if has_ctf(record)]
    texts = {CORRECTED_NAME: _text(done, optics_of(done, root=root))}
    if with_ctf:
        texts[CTF_NAME] = _text(with_ctf, optics_of(with_ctf, with_ctf=True, root=root))
    return texts


def write_star_set(records: Sequence[Record], folder: Path, root: Path) -> list[Path]:
    """Write the STAR files to ``folder``; names of micrographs are relative to ``root``. Raises `OutputError`."""
    drafts = [(folder / name, _text_writer(text)) for name, text in star_texts(records, root).items()]
    return place_all(drafts)


def _text_writer(text: str) -> Writer:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def sums_folder(records: Path) -> Path:
    """The folder of the sums whose records are in ``records``."""
    return records.parent if records.name == RECORD_FOLDER else records


def has_ctf(record: Record) -> bool:
    """Whether the record holds a CTF that can be used."""
    return record.number("ctf.defocus_u_a") is not None and record.value("ctf.found") is not False


def _text(records: Sequence[Record], optics: Optics) -> str:
    rows = "".join(micrograph_row(record, optics) for record in records)
    return f"{optics.text}\n{optics.labels_text}{rows}\n"


def _microscope(record: Record) -> tuple[float, float]:
    aberration, contrast = record.number("ctf.spherical_aberration_mm"), record.number("ctf.amplitude_contrast")
    return (
        DEFAULT_CS if aberration is None else aberration,
        DEFAULT_CONTRAST if contrast is None else contrast,
    )


def _optics_key(record: Record, microscope: tuple[float, float]) -> OpticsKey:
    pixel_size = record.number("motion.pixel_size") or 1.0  # RELION takes no file without one
    binning = record.number("settings.sums.bin") or 1.0
    output_pixel = record.number("spectrum.pixel_size") or pixel_size * binning
    voltage = record.number("settings.exposure.voltage") or 300.0
    aberration, contrast = _microscope(record) if has_ctf(record) else microscope
    return pixel_size, voltage, aberration, contrast, output_pixel


def _file_of(record: Record, kind: str) -> Path | None:
    """An output by kind; ``unweighted`` is the plain sum beside a dose-weighted one."""
    if kind == "unweighted":
        return record.file("sum") if record.file("dose_weighted") else None
    return record.file(kind)


def _name(path: Path | None, optics: Optics) -> str:
    """A file as RELION finds it: relative to the folder of its project where it is inside, else absolute."""
    if path is None:
        return "None"
    absolute, root = os.path.abspath(path), os.path.abspath(optics.root)
    return os.path.relpath(absolute, root) if absolute.startswith(f"{root}{os.sep}") else absolute


def _head(name: str, labels: Sequence[str]) -> str:
    lines = "".join(f"_{label} #{number}\n" for number, label in enumerate(labels, 1))
    return f"\n# version 30001\n\ndata_{name}\n\nloop_\n{lines}"


def _row(values: Sequence[object]) -> str:
    return " ".join(map(star_word, values)) + "\n"
