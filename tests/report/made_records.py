"""Records of a small batch, made without correcting movies."""

import json
from datetime import UTC, datetime, timedelta

import imagecodecs
import numpy as np

from restframe.track.field import MotionField

FRAMES, HEIGHT, WIDTH, PIXEL_SIZE = 20, 4092, 5760, 0.85
COMMAND = "restframe -Serial 1 -InTiff movies/ -OutMrc sums/ -Gain gain.mrc -PixSize 0.85 -FmDose 2"
START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def rings(strength, phase):
    """log10 of the power of rings with the oscillations of a CTF."""
    frequency = np.arange(257) / 256
    oscillation = np.sin(60 * frequency**2 + phase) ** 2 * np.exp(-5 * frequency**2)
    return np.log10(1e5 * (1 + strength * oscillation + 20 * np.exp(-40 * frequency))).round(3).tolist()


def done_record(number, name=None, pictures=True):
    """The content of a record as a batch writes it, with plausible numbers."""
    rng = np.random.default_rng(number)
    name = name or f"FoilHole_{29480000 + 7 * number}_Data_{number:05d}.tif"
    stem = name.rsplit(".", 1)[0]
    steps = rng.normal([0.5, -0.3], 0.15, (FRAMES, 2)) * np.exp(-np.arange(FRAMES) / 4)[:, None] + 0.02
    shifts = np.cumsum(steps, 0) - steps[0]
    amplitudes = np.zeros((3, FRAMES, 2))
    amplitudes[0] = -shifts
    amplitudes[1:] = rng.normal(0, 0.8, (2, 1, 2)) * (1 - np.exp(-np.arange(FRAMES) / 5))[:, None]
    field = MotionField(((0, 0), (1, 0), (0, 1)), amplitudes, (HEIGHT, WIDTH))
    lengths = np.hypot(*np.diff(shifts, axis=0).T) * PIXEL_SIZE
    error = float(rng.uniform(0.15, 0.4))
    finished = START + timedelta(seconds=12 * number)
    named = [
        {"kind": kind, "path": f"pictures/{stem}_{kind}.jpg", "size": 1, "image": image, "width": 480, "height": 341}
        for kind, image in (("thumbnail", "dose_weighted"), ("spectrum", "sum"))
    ]
    defocus = float(rng.uniform(8000, 22000))
    return {
        "format": "restframe record",
        "format_version": 1,
        "status": "done",
        "program": "restframe",
        "program_version": "0.2.0",
        "finished": finished.isoformat(timespec="seconds"),
        "command": {"words": COMMAND.split(), "folder": "/data/session 7"},
        "input": {
            "path": f"/data/movies/{name}",
            "name": name,
            "size": 412_345_678,
            "modified": finished.timestamp() - 40,
            "format": "tiff",
            "shape": [FRAMES, HEIGHT, WIDTH],
            "dtype": "uint8",
        },
        "settings": {
            "detector": {"gain": "gain.mrc"},
            "exposure": {"pixel_size": PIXEL_SIZE, "voltage": 300.0, "frame_dose": 2.0, "initial_dose": 0.0},
            "motion": {"patches": [5, 5]},
            "sums": {"bin": 1.0},
            "machine": {"gpus": [0], "threads": 0},
        },
        "frames": {
            "count": FRAMES,
            "height": HEIGHT,
            "width": WIDTH,
            "first_raw": list(range(FRAMES)),
            "raw_count": [1] * FRAMES,
            "dose_known": True,
            "dose": [2.0] * FRAMES,
            "accumulated_dose": [2.0 * (frame + 1) for frame in range(FRAMES)],
            "total_dose": 2.0 * FRAMES,
            "counts_per_pixel": 27.0 + float(rng.normal(0, 0.5)),
        },
        "motion": {
            "pixel_size": PIXEL_SIZE,
            "reference_frame": 10,
            "global_shifts_px": shifts.round(4).tolist(),
            "total": float(lengths.sum()),
            "early": float(lengths[:1].sum()),
            "late": float(lengths[1:].sum()),
            "average_per_frame": float(lengths.sum() / FRAMES),
            "local_rms": float(rng.uniform(0.4, 1.5)),
            "largest_intraframe": float(lengths.max()),
            "stated_error": error,
            "total_px": float(lengths.sum() / PIXEL_SIZE),
            "local_rms_px": 1.0,
            "largest_intraframe_px": float(lengths.max() / PIXEL_SIZE),
            "stated_error_px": error / PIXEL_SIZE,
            "field": {**field.to_dict(), "amplitudes": field.amplitudes.round(4).tolist()},
        },
        "gain_check": {
            "correlation": 0.3 + float(rng.normal(0, 0.01)),
            "chance": 0.003,
            "better_rot_gain": None,
            "better_flip_gain": None,
            "better_correlation": None,
        },
        "bad_pixels": {"count": 262 + number % 9, "fraction": 262 / HEIGHT / WIDTH, "positions": [[5, 7], [300, 44]]},
        "ctf": {
            "found": True,
            "defocus_u_a": defocus + float(rng.uniform(40, 250)),
            "defocus_v_a": defocus - 60,
            "astigmatism_angle_deg": 31.0,
            "phase_shift_deg": 0.0,
            "score": 0.2,
            "fit_resolution_a": float(rng.uniform(3.0, 4.5)),
            "spherical_aberration_mm": 2.7,
            "amplitude_contrast": 0.07,
            "defocus_error_a": 35.0,
            "astigmatism_error_a": 60.0,
        },
        "decisions": {
            "sentences": ["Local motion: degree 3 of 4, confirmed by tiles left out."],
            "values": {},
        },
        "warnings": ["-PixSize and the movie's own pixel size differ by 7 %."] if number % 10 == 3 else [],
        "outputs": [
            {"kind": "dose_weighted", "path": f"../{stem}_DW.mrc", "size": 1},
            {"kind": "sum", "path": f"../{stem}.mrc", "size": 1},
        ],
        "pictures": named if pictures else [],
        "spectrum": {
            "image": "sum",
            "pixel_size": PIXEL_SIZE,
            "log10_power": rings(1.0, finished.timestamp() % 7),
            "log10_power_before": rings(0.4, finished.timestamp() % 7),
            "pixel_size_before": PIXEL_SIZE,
        },
        "machine": {"host": "gpu3", "gpus": [0], "threads": 0},
        "seconds": {"reading": 0.1, "survey": 0.1, "motion": 0.2, "sums": 0.1, "saving": 0.1},
        "peak_memory_bytes": 3_000_000_000,
    }


def failed_record(number, name, reason):
    """The content of a record of a movie that could not be corrected."""
    record = done_record(number, name)
    kept = ("format", "format_version", "program", "program_version", "finished", "input", "command")
    return {
        **{key: record[key] for key in kept},
        "status": "failed",
        "reason": reason,
        "lasting": True,
        "outputs": [],
        "machine": {"host": "gpu3"},
    }


def write_records(folder, records, pictures=True):
    """Put records and small pictures to a folder as a batch does."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    files = [
        imagecodecs.jpeg8_encode(rng.normal(128, 40, shape).clip(0, 255).astype(np.uint8), level=70)
        for shape in ((341, 480), (256, 256))
    ]
    for record in records:
        name = record["input"]["name"].rsplit(".", 1)[0]
        (folder / f"{name}.json").write_text(json.dumps(record))
        for picture, data in zip(record.get("pictures", []) if pictures else [], files, strict=False):
            (folder / picture["path"]).write_bytes(data)
    return folder
