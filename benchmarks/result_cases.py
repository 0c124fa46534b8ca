"""The fixed set of movies and commands that same_results.py runs with two versions of restframe.

All paths in commands are relative, because some outputs hold the names of movies. Every case writes into the folder
that has its name; movies lie in `movies`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIBRARY_SCRIPT = """
import json, numpy, restframe
result = restframe.correct("movies/tiff/movie.tif", gain="movies/tiff/gain.mrc", patches=(3, 3), pixel_size=1.0,
                           voltage=300, frame_dose=3.0, gpus=({gpu}))
numpy.save("library/sum.npy", result.sum)
numpy.save("library/dose_weighted.npy", result.dose_weighted)
y, x = numpy.mgrid[0:512:64, 0:576:64].astype(float)
numpy.save("library/field.npy", result.field(x, y))
""".strip()


@dataclass(frozen=True)
class SimulatedMovie:
    """One movie that `restframe simulate` makes in `movies/NAME`."""

    name: str
    kind: str
    shape: tuple[int, int, int]  # (t, h, w)
    format: str = "tiff"
    frame_dose: float | None = None  # e/A² per frame; None: that of the kind
    seed: int = 1

    def words(self) -> list[str]:
        """The arguments of `python -m restframe`."""
        arguments = ["simulate", f"movies/{self.name}", "--kind", self.kind, "--format", self.format]
        arguments += ["--shape", *map(str, self.shape), "--seed", str(self.seed)]
        return arguments + (["--frame-dose", str(self.frame_dose)] if self.frame_dose else [])


MOVIES = (
    SimulatedMovie("tiff", "demo", (10, 512, 576), frame_dose=3.0),
    SimulatedMovie("odd", "demo", (8, 515, 577), frame_dose=4.0, seed=2),
    SimulatedMovie("mrc", "demo", (9, 512, 576), "mrc", frame_dose=3.0, seed=3),
    SimulatedMovie("eer", "demo", (8, 512, 576), "eer", frame_dose=3.0, seed=4),
    SimulatedMovie("early", "early", (8, 512, 576), frame_dose=4.0),
    SimulatedMovie("wronggain", "wronggain", (12, 512, 576), frame_dose=3.0),
    SimulatedMovie("few", "few", (12, 512, 576)),
    SimulatedMovie("long", "lowdose", (40, 320, 352)),
    SimulatedMovie("three", "frames3", (3, 512, 576)),
    SimulatedMovie("grid/a", "demo", (6, 384, 416), frame_dose=3.0, seed=5),
    SimulatedMovie("grid/b", "demo", (6, 384, 416), frame_dose=3.0, seed=6),
)


@dataclass(frozen=True)
class Case:
    """One command: its name, which is also the folder of its outputs, and the arguments of `python -m restframe`."""

    name: str
    arguments: str
    folders: tuple[str, ...] = ()  # folders that the command expects, besides that of the case


def tiff_input(movie: str, case: str) -> str:
    """The flags that name a TIFF movie, its gain and the main output."""
    return f"-InTiff movies/{movie}/movie.tif -Gain movies/{movie}/gain.mrc -OutMrc {case}/sum.mrc"


DOSE = "-PixSize 1 -kV 300 -FmDose 3"
ALL_OUTPUTS = "-SplitSum 1 -OutStack 1 2 -FullSum {0}/global.mrc -OutStar 1 -LogDir {0} -OutAln {0} -ArcDir {0}/archive"

CASES = (
    Case("tiff", f"{tiff_input('tiff', 'tiff')} -Patch 3 3 {DOSE} -SumRange 3 15 {ALL_OUTPUTS.format('tiff')}"),
    Case("global", f"{tiff_input('tiff', 'global')} -LogDir global -OutAln global"),
    Case("logfile", f"{tiff_input('tiff', 'logfile')} -Patch 3 2 -LogFile logfile/log -FmRef 0 -PixSize 1"),
    Case("odd", f"{tiff_input('odd', 'odd')} -Patch 4 3 {DOSE} -FtBin 1.7 {ALL_OUTPUTS.format('odd')}"),
    Case("bin2", f"{tiff_input('odd', 'bin2')} -Patch 3 3 {DOSE} -FtBin 2 -SplitSum 1 -SumRange 0 0"),
    Case("crop", f"{tiff_input('tiff', 'crop')} -Patch 3 3 {DOSE} -Crop 301 260 -OutStack 1 3 -LogDir crop"),
    Case(
        "magnified",
        f"{tiff_input('tiff', 'magnified')} -Patch 3 3 {DOSE} -Mag 1.012 0.99 31 -FtBin 1.5 -OutAln magnified",
    ),
    Case("read_back", f"{tiff_input('tiff', 'read_back')} -InAln tiff {DOSE} -FtBin 2 -SplitSum 1 -LogDir read_back"),
    Case(
        "blur", f"{tiff_input('early', 'blur')} -Patch 3 3 {DOSE} -InFmMotion 1 -SplitSum 1 -LogDir blur -OutAln blur"
    ),
    Case(
        "turned",
        "-InMrc movies/mrc/movie.mrc -Gain movies/extra/turned_gain.mrc -Dark movies/extra/turned_dark.mrc "
        "-RotGain 1 -FlipGain 2 -OutMrc turned/sum.mrc -Patch 3 3 -PixSize 1 -kV 200 -FmDose 3 -InitDose 2 "
        + ALL_OUTPUTS.format("turned"),
    ),
    Case(
        "inverted",
        "-InMrc movies/mrc/movie.mrc -Gain movies/extra/inverse_gain.mrc -InvGain 1 -OutMrc inverted/sum.mrc "
        f"-Patch 3 3 {DOSE} -OutAln inverted",
    ),
    Case(
        "defects",
        f"{tiff_input('tiff', 'defects')} -DefectFile movies/extra/defects.txt -DefectMap movies/extra/defect_map.mrc "
        f"-Patch 3 3 {DOSE} -OutStar 1 -OutAln defects",
    ),
    Case("float", f"-InMrc movies/extra/float.mrc -OutMrc float/sum.mrc -Patch 3 3 {DOSE} -LogDir float -OutAln float"),
    Case(
        "groups",
        f"{tiff_input('long', 'groups')} -Patch 3 3 -Group 3 5 -FmRef 2 -Throw 2 -Trunc 1 -PixSize 1 -FmDose 0.4 "
        "-LogDir groups -OutAln groups -SumRange 2 10",
    ),
    Case("long", f"{tiff_input('long', 'long')} -Patch 3 3 -PixSize 1 -FmDose 0.4 -LogDir long -OutAln long"),
    Case(
        "integration",
        f"{tiff_input('tiff', 'integration')} -FmIntFile movies/extra/tiff_rows.txt -PixSize 1 -kV 120 -Patch 3 3 "
        "-LogDir integration -OutStar 1 -OutAln integration",
    ),
    Case(
        "eer",
        "-InEer movies/eer/movie.eer -Gain movies/eer/gain.mrc -FmIntFile movies/extra/eer_rows.txt "
        f"-OutMrc eer/sum.mrc -PixSize 1 -Patch 3 3 {ALL_OUTPUTS.format('eer').replace(' -ArcDir eer/archive', '')}",
    ),
    Case(
        "eer_sampled",
        "-InEer movies/eer/movie.eer -Gain movies/eer/gain.mrc -EerSampling 2 -OutMrc eer_sampled/sum.mrc -PixSize 0.5 "
        "-FmDose 0.3 -FtBin 2 -Patch 3 3 -LogDir eer_sampled -OutAln eer_sampled",
    ),
    Case("wronggain", f"{tiff_input('wronggain', 'wronggain')} -Patch 3 3 {DOSE} -LogDir wronggain -OutAln wronggain"),
    Case("few", f"{tiff_input('few', 'few')} -Patch 3 3 -PixSize 1 -FmDose 1.2 -LogDir few -OutAln few"),
    Case("three", f"{tiff_input('three', 'three')} -Patch 3 3 -PixSize 1 -FmDose 16 -InFmMotion 1 -OutAln three"),
    Case(
        "bfactor",
        f"{tiff_input('tiff', 'bfactor')} -Patch 3 3 {DOSE} --weights bfactor -Bft 300 80 -PhaseOnly 1 "
        "-Iter 8 -Tol 0.2 -OutAln bfactor",
    ),
    Case("unaligned", f"{tiff_input('tiff', 'unaligned')} -Align 0 -SplitSum 1 -PixSize 1 -FtBin 2"),
    Case(
        "read_again",  # the frames do not fit into the memory that is allowed
        "-InEer movies/eer/movie.eer -Gain movies/eer/gain.mrc -EerSampling 2 -OutMrc read_again/sum.mrc -Patch 3 3 "
        "-SplitSum 1 --max-memory 430MB --threads 1",
    ),
    Case(
        "batch",
        "-Serial 1 -InTiff movies/grid/ -InSuffix movie.tif -Gain movies/grid/a/gain.mrc -OutMrc batch/ "
        f"-Patch 2 2 {DOSE} -LogDir batch/logs -OutAln batch/motion",
    ),
)


def write_extra_inputs(movies: Path) -> None:
    """Inputs that `restframe simulate` does not make: references that need turning, defects, a movie of floats.

    Only NumPy and mrcfile are used, so they do not depend on the version of restframe.
    """
    import mrcfile

    folder = movies / "extra"
    folder.mkdir(exist_ok=True)

    def save(name: str, image: np.ndarray) -> None:
        mrcfile.write(folder / name, image, overwrite=True)

    generator = np.random.default_rng(7)
    gain = mrcfile.read(movies / "mrc/gain.mrc")
    dark = generator.normal(0.0, 0.02, gain.shape).astype(np.float32)
    save("turned_gain.mrc", turned_back(gain))
    save("turned_dark.mrc", turned_back(dark))
    save("inverse_gain.mrc", np.divide(1, gain, out=np.zeros_like(gain), where=gain > 0))
    frames = mrcfile.read(movies / "mrc/movie.mrc").astype(np.float32) * gain
    frames[3, 100, 200:203] = np.nan
    frames[5, 17, 40] = np.inf
    with warnings.catch_warnings(action="ignore"):  # mrcfile warns of NaN
        save("float.mrc", frames)
    defect_map = np.zeros(gain.shape, np.int8)
    defect_map[generator.integers(0, gain.shape[0], 40), generator.integers(0, gain.shape[1], 40)] = 1
    save("defect_map.mrc", defect_map)
    (folder / "defects.txt").write_text("# x y w h\n100 50 3 20\n0 300 576 1\n570 500 20 20\n")
    (folder / "tiff_rows.txt").write_text("4 1 3.0\n6 2 3.0\n")
    (folder / "eer_rows.txt").write_text("20 5 0.3\n60 8 0.3\n")
    for name in "ab":  # a batch looks for movies in one folder
        source = movies / "grid" / name / "movie.tif"
        (movies / "grid" / f"{name}_movie.tif").write_bytes(source.read_bytes())


def turned_back(image: np.ndarray) -> np.ndarray:
    """What gives ``image`` after -RotGain 1 -FlipGain 2."""
    return np.ascontiguousarray(np.rot90(image[:, ::-1], 1))
