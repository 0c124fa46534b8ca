"""A simulated movie on disk, as a microscope would leave it, with the truth beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from restframe.errors import OutputError, SettingsError
from restframe.movie.events import CODINGS
from restframe.simulate.eer import electrons, write_eer
from restframe.simulate.movie import Simulated

RAW = 10  # raw frames of an EER movie in one frame of the recipe
EER_COMPRESSION = 65001


def write(
    movie: Simulated, folder: str | Path, kind: str = "tiff", progress: Callable[[int], None] | None = None
) -> list[str]:
    """Write movie.tif (LZW), movie.mrc or movie.eer (with fractions.txt), gain.mrc, defects.txt, truth.npz and
    recipe.json.

    Returns the command that corrects the movie. ``progress(t)`` is called after each frame. TIFF rows are stored
    bottom-up, because readers turn them round; gain, defects and truth are in memory order, that is as they apply
    after reading. Raises `OutputError` if the folder can't be written, `SettingsError` for another kind.
    """
    folder = Path(folder)
    if kind not in FORMATS:
        raise SettingsError(f"--format {kind}: not a format that can be simulated; use {', '.join(FORMATS)}")
    recipe = movie.recipe
    flag, suffix, write_movie = FORMATS[kind]
    name = folder / f"movie{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_movie(movie, name, progress or (lambda t: None))
        _write_gain(movie.gain, folder / "gain.mrc", recipe.pixel_size)
        np.savetxt(folder / "defects.txt", movie.defects, fmt="%d")
        _write_truth(movie, folder / "truth.npz")
        command = [
            "restframe", flag, str(name), "-OutMrc", str(folder / "sum.mrc"),
            "-Gain", str(folder / "gain.mrc"), "-Patch", "5", "5", "-PixSize", f"{recipe.pixel_size:g}",
            "-kV", f"{recipe.voltage:g}", "-FmDose", f"{recipe.frame_dose:g}", "-LogDir", str(folder),
        ]  # fmt: skip
        if kind == "eer":
            rows = folder / "fractions.txt"
            rows.write_text(f"{recipe.shape[0] * RAW}  {RAW}  {recipe.frame_dose / RAW:g}\n")
            command += ["-FmIntFile", str(rows)]
        about = {"recipe": asdict(recipe), "reference_frame": movie.truth.reference, "command": command}
        (folder / "recipe.json").write_text(json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{folder}: the movie could not be written ({error}); choose another folder") from error
    return command


def _write_tiff(movie: Simulated, name: Path, progress) -> None:
    import tifffile

    with tifffile.TiffWriter(name, bigtiff=True) as file:
        for t in range(movie.recipe.shape[0]):
            frame = movie.frame(t)[::-1]
            file.write(frame, compression="lzw", photometric="minisblack", rowsperstrip=16, metadata=None)
            progress(t)


def _write_mrc(movie: Simulated, name: Path, progress) -> None:
    import mrcfile

    t, h, w = movie.recipe.shape
    # mode 6 (uint16): 8-bit values above 127 would be read as negative by some programs
    with mrcfile.new_mmap(name, shape=(t, h, w), mrc_mode=6, overwrite=True) as file:
        for i in range(t):
            file.data[i] = movie.frame(i)
            progress(i)
        file.voxel_size = movie.recipe.pixel_size
        file.update_header_stats()


def _write_eer(movie: Simulated, name: Path, progress) -> None:
    """Each frame as `RAW` raw ones."""
    coding = CODINGS[EER_COMPRESSION]

    def raw_frames():
        for t in range(movie.recipe.shape[0]):
            yield from electrons(movie.frame(t), RAW, coding, np.random.default_rng([movie.recipe.seed, 7, t]))
            progress(t)

    write_eer(name, movie.recipe.shape[1:], raw_frames(), EER_COMPRESSION)


FORMATS = {
    "tiff": ("-InTiff", ".tif", _write_tiff),
    "mrc": ("-InMrc", ".mrc", _write_mrc),
    "eer": ("-InEer", ".eer", _write_eer),
}


def _write_gain(gain: np.ndarray, name: Path, pixel_size: float) -> None:
    import mrcfile

    with mrcfile.new(name, overwrite=True) as file:
        file.set_data(gain)
        file.voxel_size = pixel_size


def _write_truth(movie: Simulated, name: Path) -> None:
    """grid_px[t, gy, gx] = (dx, dy) at grid_x[gx], grid_y[gy]; terms and amplitudes give it anywhere (`Truth`)."""
    truth = movie.truth
    x, y = truth.positions()
    np.savez(
        name,
        grid_px=truth(x, y),
        grid_x=x[0],
        grid_y=y[:, 0],
        terms=np.array(truth.terms, float),
        amplitudes=truth.amplitudes,
        travel=truth.travel,
        shape=truth.shape,
        reference=truth.reference,
    )
