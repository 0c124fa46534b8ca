"""A simulated movie on disk, as a microscope would write it, with the truth beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import OutputError, SettingsError
from restframe.movie.events import CODINGS
from restframe.simulate.eer import electrons, write_eer
from restframe.simulate.movie import SimulatedMovie

RAW_FRAMES_PER_FRAME = 10  # raw frames of an EER movie for each frame of the recipe
EER_COMPRESSION = 65001
EER_STREAM = 7  # of random numbers
TIFF_ROWS_PER_STRIP = 16

Progress = Callable[[int], None]


def write(
    movie: SimulatedMovie, folder: str | Path, file_format: str = "tiff", progress: Progress | None = None
) -> list[str]:
    """Write a simulated movie and what belongs to it: movie.tif (LZW), movie.mrc or movie.eer (with fractions.txt),
    gain.mrc, defects.txt (and unlisted_defects.txt, for kinds with defects that a user does not know), truth.npz and
    recipe.json.

    Returns the command that corrects the movie. ``progress(frame)`` is called after each frame. The rows of TIFF files
    are written in reverse order, because readers reverse them; gain, defects and truth apply to the frames as read.
    Raises `OutputError` if the folder cannot be written, `SettingsError` for an unknown format.

    Example: ``write(simulate(PRESETS["demo"]), "demo")``
    """
    folder = Path(folder)
    if file_format not in FORMATS:
        raise SettingsError(f"--format {file_format}: not a format that can be simulated; use {', '.join(FORMATS)}")
    recipe = movie.recipe
    flag, suffix, write_frames = FORMATS[file_format]
    movie_path = folder / f"movie{suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_frames(movie, movie_path, progress or (lambda frame: None))
        _write_gain(movie.gain, folder / "gain.mrc", recipe.pixel_size)
        np.savetxt(folder / "defects.txt", movie.defects, fmt="%d")
        if len(movie.unlisted_defects):
            np.savetxt(folder / "unlisted_defects.txt", movie.unlisted_defects, fmt="%d")
        _write_truth(movie, folder / "truth.npz")
        command = [
            "restframe", flag, str(movie_path), "-OutMrc", str(folder / "sum.mrc"),
            "-Gain", str(folder / "gain.mrc"), "-Patch", "5", "5", "-PixSize", f"{recipe.pixel_size:g}",
            "-kV", f"{recipe.voltage:g}", "-FmDose", f"{recipe.frame_dose:g}", "-LogDir", str(folder),
        ]  # fmt: skip
        if file_format == "eer":
            fractions_path = folder / "fractions.txt"
            raw_count, raw_dose = recipe.shape[0] * RAW_FRAMES_PER_FRAME, recipe.frame_dose / RAW_FRAMES_PER_FRAME
            fractions_path.write_text(f"{raw_count}  {RAW_FRAMES_PER_FRAME}  {raw_dose:g}\n", encoding="utf-8")
            command += ["-FmIntFile", str(fractions_path)]
        description = {"recipe": asdict(recipe), "reference_frame": movie.truth.reference, "command": command}
        (folder / "recipe.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: the movie could not be written ({error}); choose another folder") from error
    return command


def _write_tiff(movie: SimulatedMovie, path: Path, progress: Progress) -> None:
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for frame in range(movie.recipe.shape[0]):
            file.write(
                movie.frame(frame)[::-1],
                compression="lzw",
                photometric="minisblack",
                rowsperstrip=TIFF_ROWS_PER_STRIP,
                metadata=None,
            )
            progress(frame)


def _write_mrc(movie: SimulatedMovie, path: Path, progress: Progress) -> None:
    import mrcfile

    # mode 6 (uint16): some programs would read 8-bit values above 127 as negative
    with mrcfile.new_mmap(path, shape=movie.recipe.shape, mrc_mode=6, overwrite=True) as file:
        for frame in range(movie.recipe.shape[0]):
            file.data[frame] = movie.frame(frame)
            progress(frame)
        file.voxel_size = movie.recipe.pixel_size
        file.update_header_stats()


def _write_eer(movie: SimulatedMovie, path: Path, progress: Progress) -> None:
    """Each frame as `RAW_FRAMES_PER_FRAME` raw frames."""
    coding = CODINGS[EER_COMPRESSION]

    def raw_frames() -> Iterator[bytes]:
        for frame in range(movie.recipe.shape[0]):
            random = np.random.default_rng([movie.recipe.seed, EER_STREAM, frame])
            yield from electrons(movie.frame(frame), RAW_FRAMES_PER_FRAME, coding, random)
            progress(frame)

    write_eer(path, movie.recipe.shape[1:], raw_frames(), EER_COMPRESSION)


FORMATS = {
    "tiff": ("-InTiff", ".tif", _write_tiff),
    "mrc": ("-InMrc", ".mrc", _write_mrc),
    "eer": ("-InEer", ".eer", _write_eer),
}


def _write_gain(gain: FloatArray, path: Path, pixel_size: float) -> None:
    import mrcfile

    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(gain)
        file.voxel_size = pixel_size


def _write_truth(movie: SimulatedMovie, path: Path) -> None:
    """grid_px[t, gy, gx] = (dx, dy) at grid_x[gx], grid_y[gy]; terms and amplitudes give it anywhere (`Truth`)."""
    truth = movie.truth
    x, y = truth.positions()
    np.savez(
        path,
        grid_px=truth(x, y),
        grid_x=x[0],
        grid_y=y[:, 0],
        terms=np.array(truth.terms, float),
        amplitudes=truth.amplitudes,
        travel=truth.travel,
        shape=truth.shape,
        reference=truth.reference,
    )
