"""What happens with damaged and hostile input? At least 1,000 broken files, each corrected by the command in-process.

    python benchmarks/bad_inputs.py                 1,200 inputs, about 5 minutes
    python benchmarks/bad_inputs.py --count 150     a sample
    python benchmarks/bad_inputs.py --seed 7        other random places
    python benchmarks/bad_inputs.py --only tiff     inputs whose name contains this

Inputs are small valid ones, each broken in one way: cut at each structure and at random places, flipped bits, headers
with impossible numbers, other content, other kinds of files, odd names. Movies (TIFF, MRC, compressed MRC, EER, DM),
gain, dark, defects, integration file and known motion are broken in turn.

Each run ends in one class:

    right      exit code 0; the sum is that of the unbroken input, or a warning names what was left out
    as stated  exit code 0; another reader finds the same frames in the broken file: its pixels are other valid ones
    refused    one clear message on stderr, an exit code above 0, no file left
    bad        anything else: a traceback, a hang, a crash, a file left after an error, a sum that nobody can explain,
               memory beyond what the file can hold

The runs happen in another process, which is replaced when it crashes or hangs. Exit code 1 if any run is bad.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import lzma
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

SHAPE = (5, 48, 64)
SECONDS_PER_RUN = 30
SECONDS_TO_COMPILE = 600
MEMORY_BYTES_PER_RUN = 400_000_000  # above that of the process before; a movie of this size takes 20 MB
RIGHT, AS_STATED, REFUSED, BAD = "right", "as stated", "refused", "bad"


@dataclass(frozen=True)
class Broken:
    """One broken input."""

    name: str
    role: str  # which argument it stands for
    base: str  # the valid file that it was made of
    make: Callable[[Path, bytes], Path | None]  # writes it into a folder; another path than the usual one, or None


# ---- valid inputs


def make_valid(folder: Path) -> dict[str, str]:
    """Writes all valid inputs. Returns the role of each file."""
    import imagecodecs
    import mrcfile
    import numpy as np
    import tifffile

    from restframe.movie.events import CODINGS, Coding
    from restframe.simulate.eer import electrons, write_eer

    rng = np.random.default_rng(0)
    frames = rng.poisson(6, SHAPE).astype(np.uint8)
    roles: dict[str, str] = {}

    def tiff(name: str, movie: np.ndarray, bigtiff: bool = False, byteorder: str = "<", **options: object) -> None:
        with tifffile.TiffWriter(folder / name, bigtiff=bigtiff, byteorder=byteorder) as file:
            for frame in movie:
                file.write(frame, photometric="minisblack", metadata=None, **options)
        roles[name] = "movie"

    tiff("lzw.tif", frames, compression="lzw", rowsperstrip=16)
    tiff("plain.tif", frames, rowsperstrip=13)
    tiff("zip.tif", frames, compression="deflate", rowsperstrip=48)
    tiff("zstd.tif", frames, compression="zstd", rowsperstrip=16)
    tiff("tiles.tif", frames.astype("u2"), compression="lzw", tile=(16, 32), predictor=2)
    tiff("big.tif", frames.astype("i2"), bigtiff=True, byteorder=">", compression="lzw", rowsperstrip=48)
    tiff("float.tif", frames.astype("f4"), compression="deflate", predictor=3)
    tifffile.imwrite(folder / "imagej.tif", frames, imagej=True, truncate=True)
    roles["imagej.tif"] = "movie"

    for mode, dtype in (("byte", "i1"), ("short", "i2"), ("float", "f4"), ("unsigned", "u2"), ("half", "f2")):
        with mrcfile.new(folder / f"{mode}.mrc", frames.astype(dtype), overwrite=True) as file:
            file.set_image_stack()
        roles[f"{mode}.mrc"] = "movie"
    mrc = (folder / "short.mrc").read_bytes()
    packed = bytearray(mrc[:1024] + (frames[..., 0::2] & 7 | frames[..., 1::2] << 4).tobytes())
    struct.pack_into("<4i", packed, 0, SHAPE[2], SHAPE[1], SHAPE[0], 101)
    (folder / "packed.mrc").write_bytes(packed)
    fei = bytearray(mrc)
    struct.pack_into("<i", fei, 92, 768)
    fei[104:108] = b"FEI1"
    (folder / "fei.mrc").write_bytes(bytes(fei[:1024]) + bytes(768) + mrc[1024:])
    (folder / "m.mrc.gz").write_bytes(gzip.compress(mrc, mtime=0))
    (folder / "m.mrc.bz2").write_bytes(bz2.compress(mrc))
    (folder / "m.mrc.xz").write_bytes(lzma.compress(mrc))
    (folder / "m.mrc.zst").write_bytes(bytes(imagecodecs.zstd_encode(mrc)))
    roles |= dict.fromkeys(("packed.mrc", "fei.mrc", "m.mrc.gz", "m.mrc.bz2", "m.mrc.xz", "m.mrc.zst"), "movie")

    xml = (
        b'<metadata><item name="sensorPixelSize.width">1e-10</item><item name="sensorPixelSize.height">1e-10</item>'
        b'<item name="totalDose">30</item><item name="numberOfFrames">24</item></metadata>\0'
    )
    for name, compression, coding in (
        ("falcon.eer", 65001, CODINGS[65001]), ("old.eer", 65000, CODINGS[65000]), ("tags.eer", 65002, Coding(7, 1, 1)),
    ):  # fmt: skip
        raw = electrons(rng.poisson(3, SHAPE[1:]), 24, coding, rng)
        write_eer(folder / name, SHAPE[1:], raw, compression, coding if compression == 65002 else None, xml)
        roles[name] = "movie"

    gain = rng.uniform(0.9, 1.1, SHAPE[1:]).astype("f4")
    mrcfile.write(folder / "gain.mrc", gain, overwrite=True)
    tifffile.imwrite(folder / "gain.tif", gain, compression="lzw", metadata=None)
    defects = b"<defects><point>3,4</point><col>7-8</col><area>1,1,4,5</area></defects>"
    tag = (65100, 2, len(defects) + 1, defects, True)
    tifffile.imwrite(folder / "gain.gain", gain, compression=None, metadata=None, extratags=[tag])
    (folder / "gain.dm4").write_bytes(dm4(gain))
    roles |= dict.fromkeys(("gain.mrc", "gain.tif", "gain.gain", "gain.dm4"), "gain")
    mrcfile.write(folder / "dark.mrc", rng.uniform(0, 0.1, SHAPE[1:]).astype("f4"), overwrite=True)
    roles["dark.mrc"] = "dark"
    (folder / "defects.txt").write_text("# x y w h\n3 4 2 2\n10,0,1,48\n")
    (folder / "serialem.txt").write_text(
        "CameraSizeX 64\nCameraSizeY 48\nWasScaled 0\nBadColumns 3 4\nBadPixels 9 9 20 21\nPartialBadColumn 30 2 5 9\n"
    )
    roles |= {"defects.txt": "defects", "serialem.txt": "defects"}
    mrcfile.write(folder / "map.mrc", (rng.random(SHAPE[1:]) < 0.01).astype("i1"), overwrite=True)
    roles["map.mrc"] = "defect map"
    (folder / "rows.txt").write_text("2 1 0.5\n3 1 0.7\n")
    roles["rows.txt"] = "integration"
    lines = ["setting", "   stackSize: 64 48 5 1", "   patches: 0 0 0", "   throw: 0 0", "globalShift", "   stackID 0"]
    lines += [f"{number:6d}  {0.3 * number:+8.3f}  {-0.1 * number:+8.3f}" for number in range(5)]
    field = {"format": "restframe motion field 1", "shape": [48, 64], "reference": 0, "modes": [[0, 0]]}
    field["amplitudes"] = [[[-0.3 * number, 0.1 * number] for number in range(5)]]
    (folder / "shifts.aln").write_text("\n".join([*lines, ""]))
    (folder / "exact.aln").write_text("\n".join([*lines, "#restframe-field " + json.dumps(field), ""]))
    roles |= {"shifts.aln": "motion", "exact.aln": "motion"}
    return roles


def dm4(image: object) -> bytes:
    """A DM4 file with one image of float32."""

    def entry(kind: int, name: str, body: bytes) -> bytes:
        return struct.pack(">BH", kind, len(name)) + name.encode() + struct.pack(">q", len(body)) + body

    def folder(*entries: bytes) -> bytes:
        return b"\1\0" + struct.pack(">q", len(entries)) + b"".join(entries)

    def value(*numbers: int, data: bytes) -> bytes:
        return b"%%%%" + struct.pack(f">q{len(numbers)}q", len(numbers), *numbers) + data

    height, width = image.shape  # type: ignore[attr-defined]
    data = entry(21, "Data", value(20, 6, height * width, data=image.tobytes()))  # type: ignore[attr-defined]
    sides = [entry(21, "", value(5, data=struct.pack("<I", side))) for side in (width, height)]
    kind = entry(21, "DataType", value(3, data=struct.pack("<i", 2)))
    image_data = entry(20, "ImageData", folder(data, kind, entry(20, "Dimensions", folder(*sides))))
    root = folder(entry(20, "ImageList", folder(entry(20, "", folder(image_data)))))
    return struct.pack(">iqi", 4, len(root), 1) + root + bytes(8)


# ---- ways to break them


def broken_inputs(valid: Path, roles: dict[str, str], count: int, seed: int) -> list[Broken]:
    """At least ``count`` broken inputs of all kinds, in a random order that depends on ``seed`` only."""
    rng = random.Random(seed)
    inputs: list[Broken] = []
    for base, role in roles.items():
        content = (valid / base).read_bytes()
        inputs += other_contents(base, role)
        inputs += odd_names(base, role) if role != "motion" else []
        if content[:1] in b"#CS 2s" and role in ("defects", "integration", "motion"):
            inputs += broken_texts(base, role, content, rng)
        else:
            inputs += truncations(base, role, content, rng)
            inputs += lying_numbers(base, role, content, rng)
            inputs += flipped_bits(base, role, content, rng, 12)
    rng.shuffle(inputs)
    bases = list(roles)
    while len(inputs) < count:
        base = rng.choice(bases)
        inputs += flipped_bits(base, roles[base], (valid / base).read_bytes(), rng, 5)
    return inputs[:count]


def written(change: Callable[[bytes], bytes]) -> Callable[[Path, bytes], None]:
    def make(path: Path, content: bytes) -> None:
        path.write_bytes(change(content))

    return make


def structures(content: bytes) -> list[int]:
    """Bytes at which a structure of the file begins."""
    places = {1, 4, 8, 16, 100, 208, 512, 1023, 1024, 1025, len(content) // 2, len(content) - 1}
    if content[:2] in (b"II", b"MM"):
        import io

        import tifffile

        with tifffile.TiffFile(io.BytesIO(content)) as file:
            for page in file.pages:
                places |= {page.offset, page.offset + 2, *page.dataoffsets}
                places |= {tag.offset for tag in page.tags} | {tag.valueoffset for tag in page.tags}
    return sorted(place for place in places if 0 < place < len(content))


def truncations(base: str, role: str, content: bytes, rng: random.Random) -> Iterator[Broken]:
    places = structures(content)
    for place in rng.sample(places, min(len(places), 10)):
        cut = place + rng.choice((0, 0, 1, 3))
        yield Broken(f"{base}: cut at {cut}", role, base, written(lambda data, cut=cut: data[:cut]))
    yield Broken(f"{base}: longer", role, base, written(lambda data: data + bytes(1000)))


def lying_numbers(base: str, role: str, content: bytes, rng: random.Random) -> Iterator[Broken]:
    """Numbers of the header, or of tags, that are impossible."""
    numbers = (0, 1, 2, 7, 64, 1000, 65535, 65536, 1 << 20, 2**31 - 1, -1, -(2**31), 2**32 - 1)
    if content[:2] in (b"II", b"MM"):
        places = [place + step for place in structures(content) for step in (0, 2, 4, 8, 12)]
    elif base.endswith(".mrc"):
        places = [0, 4, 8, 12, 28, 40, 92, 104, 128, 130, 152, 156, 208, 212]
    else:
        places = list(range(0, min(len(content), 400), 4))
    byte_order = "little" if content[:2] != b"MM" else "big"
    for place in rng.sample(places, min(len(places), 10)):
        number, size = rng.choice(numbers), rng.choice((2, 4, 4, 8))
        piece = (number % 256**size).to_bytes(size, byte_order)
        yield Broken(
            f"{base}: {number} at {place}",
            role,
            base,
            written(lambda data, place=place, piece=piece: data[:place] + piece + data[place + len(piece) :]),
        )


def flipped_bits(base: str, role: str, content: bytes, rng: random.Random, count: int) -> Iterator[Broken]:
    for _ in range(count):
        near_structure = rng.random() < 0.4
        start = rng.choice(structures(content)) if near_structure else rng.randrange(len(content))
        places = [min(start + rng.randrange(16), len(content) - 1) for _ in range(rng.choice((1, 1, 1, 2, 16)))]
        bits = [rng.randrange(8) for _ in places]

        def flip(data: bytes, places: list[int] = places, bits: list[int] = bits) -> bytes:
            damaged = bytearray(data)
            for place, bit in zip(places, bits, strict=True):
                damaged[min(place, len(damaged) - 1)] ^= 1 << bit
            return bytes(damaged)

        yield Broken(f"{base}: {len(places)} bits flipped at {start}", role, base, written(flip))


def broken_texts(base: str, role: str, content: bytes, rng: random.Random) -> Iterator[Broken]:
    words = re.findall(rb"[^\s,]+", content)
    replacements = (
        b"nan", b"inf", b"-1", b"0", b"1e300", b"-1e9", b"9" * 400, b"9" * 5000, b"x", b"\xff\xfe", b"1,25", b"",
        b"0x10", b"\x00", "٣".encode(), b"1" * 100_000,
    )  # fmt: skip
    for replacement in replacements:
        for word in rng.sample(words, min(len(words), 2)):
            yield Broken(
                f"{base}: {word[:20]!r} becomes {replacement[:12]!r}",
                role,
                base,
                written(lambda data, word=word, replacement=replacement: data.replace(word, replacement, 1)),
            )
    changes: dict[str, Callable[[bytes], bytes]] = {
        "Windows lines": lambda data: data.replace(b"\n", b"\r\n"),
        "Macintosh lines": lambda data: data.replace(b"\n", b"\r"),
        "a mark of byte order": lambda data: b"\xef\xbb\xbf" + data,
        "UTF-16": lambda data: data.decode().encode("utf-16"),
        "one line": lambda data: data.replace(b"\n", b" "),
        "lines in reverse": lambda data: b"\n".join(data.split(b"\n")[::-1]),
        "twice": lambda data: data + data,
        "10,000 times": lambda data: data * 10_000 if len(data) < 200 else data * 50,
        "half": lambda data: data[: len(data) // 2],
        "nested": lambda data: re.sub(rb"#restframe-field .*", b"#restframe-field " + b"[" * 100_000, data) + b"[" * 10,
        "other modes": lambda data: data.replace(b"[[0, 0]]", b"[[1000000, 0]]"),
        "large numbers": lambda data: data.replace(b"0.1", b"1e6"),
    }
    for name, change in changes.items():
        yield Broken(f"{base}: {name}", role, base, written(change))


def other_contents(base: str, role: str) -> Iterator[Broken]:
    contents = {
        "nothing": b"", "one byte": b"I", "zeros": bytes(5000), "text": b"hello world\n" * 200, "ones": b"\xff" * 3000,
        "HDF5": b"\x89HDF\r\n\x1a\n" * 99, "gzip of text": gzip.compress(b"text" * 999, mtime=0),
        "zip": b"PK\x03\x04" + bytes(500),
    }  # fmt: skip
    for name, content in contents.items():
        yield Broken(f"{base}: {name} instead", role, base, written(lambda data, content=content: content))

    def folder(path: Path, content: bytes) -> None:
        path.mkdir()

    def to_nowhere(path: Path, content: bytes) -> None:
        path.symlink_to("does-not-exist")

    def to_itself(path: Path, content: bytes) -> None:
        path.symlink_to(path.name)

    def missing(path: Path, content: bytes) -> None:
        return None

    kinds = {"a folder": folder, "a link to nowhere": to_nowhere, "a link to itself": to_itself, "missing": missing}
    for name, make in kinds.items():
        yield Broken(f"{base}: {name}", role, base, make)


def odd_names(base: str, role: str) -> Iterator[Broken]:
    suffix = Path(base).suffix
    for name in (
        f"a\nb{suffix}",
        f'it\'s "quoted"{suffix}',
        f"ä λ 電{suffix}",
        f"{'n' * 200}{suffix}",
        f"\x1b[31m{suffix}",
    ):

        def make(path: Path, content: bytes, name: str = name) -> Path:
            renamed = path.with_name(name)
            renamed.write_bytes(content)
            return renamed

        yield Broken(f"{base}: called {name[:12]!r}", role, base, make)


# ---- runs, in a process of their own


class Hang(BaseException):
    """A run takes too long."""


def run_all(valid: Path, roles: dict[str, str], inputs: list[Broken], first: int, results: Path) -> None:
    """Run inputs from number ``first`` on; a line of JSON is appended to ``results`` before and after each."""
    from restframe.cli.main import main

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    work = Path(tempfile.mkdtemp(prefix="restframe-bad-"))
    references: dict[str, object] = {}
    try:
        with open(results, "a") as file:
            for base, role in roles.items():  # compiles all loops, so that no run has to
                references[base] = reference_image(valid, base, role, work, main)
                print(json.dumps({"ready": base}), file=file, flush=True)
            for number, broken in enumerate(inputs[first:], first):
                print(json.dumps({"start": number}), file=file, flush=True)
                outcome, why = run_one(valid, broken, work, main, references[broken.base])
                print(json.dumps({"end": number, "class": outcome, "why": why}), file=file, flush=True)
    finally:
        shutil.rmtree(work)


def reference_image(valid: Path, base: str, role: str, work: Path, main: Callable[[list[str]], int]) -> object:
    """The result of an unbroken input."""
    argv = arguments(valid, role, valid / base, work / "reference.mrc")
    code, _, text = captured(main, argv, work, SECONDS_TO_COMPILE)
    if code:
        raise RuntimeError(f"{base}, which is not broken, fails: {text}")
    image = saved_image(work / "reference.mrc")
    for path in work.glob("reference*"):
        path.unlink()
    return image


def arguments(valid: Path, role: str, path: Path, output: Path) -> list[str]:
    movie = path if role == "movie" else valid / "plain.tif"
    flags = {
        "movie": [], "gain": ["-Gain"], "dark": ["-Dark"], "defects": ["-DefectFile"], "defect map": ["-DefectMap"],
        "integration": ["-FmIntFile"], "motion": ["-InAln"],
    }[role]  # fmt: skip
    return ["-InTiff", str(movie), "-OutMrc", str(output), *[part for flag in flags for part in (flag, str(path))]]


def run_one(
    valid: Path, broken: Broken, work: Path, main: Callable[[list[str]], int], unbroken: object
) -> tuple[str, str]:
    """The class of one run, and why."""
    import numpy as np

    place = work / "in"
    place.mkdir()
    output = work / "out"
    output.mkdir()
    try:
        path = place / broken.base
        path = broken.make(path, (valid / broken.base).read_bytes()) or path
        memory_before = reset_peak_memory()
        try:
            code, text, errors = captured(main, arguments(valid, broken.role, path, output / "o.mrc"), work)
        except Hang:
            return BAD, f"hangs: more than {SECONDS_PER_RUN} s"
        except BaseException as error:
            return BAD, f"{type(error).__name__}: {error}"
        growth = peak_memory() - memory_before
        left = sorted(file.name for file in output.iterdir())
        if growth > MEMORY_BYTES_PER_RUN:
            return BAD, f"{growth / 1e6:.0f} MB of memory"
        if code:
            return refusal(code, text, errors, left)
        if errors:
            return BAD, f"exit 0 with text on stderr: {errors[:200]}"
        image = saved_image(output / "o.mrc")
        if image is None or not np.isfinite(image).all():
            return BAD, "exit 0 with an image that is missing or not finite"
        if image.shape == unbroken.shape and np.allclose(image, unbroken, rtol=1e-5, atol=1e-4):
            return RIGHT, "the same image"
        if re.search(r"^Warning: .*(damaged|NaN|frames)", text, re.MULTILINE):
            return RIGHT, "a warning names it"
        return compared(path, broken.role)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(output, ignore_errors=True)


def refusal(code: int, text: str, errors: str, left: list[str]) -> tuple[str, str]:
    """Whether an error is explained well and leaves nothing behind."""
    lines = errors.splitlines()
    if left:
        return BAD, f"exit {code}, but files are left: {left}"
    if len(lines) != 1 or not lines[0].startswith("Error: ") or "restframe failed" in errors or "Traceback" in text:
        return BAD, f"exit {code} without one clear line: {errors[:300]!r} {text[-300:]!r}"
    return REFUSED, lines[0][:200]


def compared(path: Path, role: str) -> tuple[str, str]:
    """Whether another reader finds in a broken file what restframe finds."""
    import numpy as np

    from restframe.movie import open_movie, read_frames

    if role in ("defects", "integration", "motion"):
        return AS_STATED, "a text with other values"
    ours = read_frames(open_movie(path)).astype(np.float64)
    try:
        other = other_reader(path)
    except Exception as error:
        return BAD, f"exit 0 with another image; no other reader reads the file ({type(error).__name__}: {error})"
    if other.shape == ours.shape and np.allclose(other, ours, equal_nan=True):
        return AS_STATED, "other valid pixels"
    return BAD, f"exit 0 with another image; another reader finds {other.shape}, not {ours.shape} or other values"


def other_reader(path: Path):  # type: ignore[no-untyped-def]
    """The frames (t, h, w) of a movie or image, read without restframe."""
    import mrcfile
    import numpy as np

    content = path.read_bytes()
    openers = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress, b"\x28\xb5": unzstd}
    if content[:2] in openers:
        content = openers[content[:2]](content)
        path = path.with_name("decompressed.mrc")
        path.write_bytes(content)
    if content[:2] in (b"II", b"MM"):
        return other_tiff(path, content)
    if content[:3] == b"\0\0\0":
        data = content.index(b"\0\x04Data") + 6 + 8 + 4 + 8 + 24
        return np.frombuffer(content, "<f4", SHAPE[1] * SHAPE[2], data).reshape(1, *SHAPE[1:])[:, ::-1]
    with mrcfile.open(path, permissive=True) as file:
        header, extended = file.header, file.extended_header.nbytes
        width, height, count, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
    dtype = {0: "u1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1", 5: "u1"}[mode]
    flags = struct.unpack("<2i", content[152:160])
    is_imod = flags[0] == 1146047817 and mode == 0
    stored = (width + 1) // 2 if mode == 101 else width
    values = np.frombuffer(
        content,
        "i1" if is_imod and flags[1] & 1 and not flags[1] & 16 else "<" + dtype,
        count * height * stored,
        1024 + extended,
    )
    values = values.reshape(count, height, stored)
    if mode == 101 or (is_imod and flags[1] & 16):
        values = np.stack([values & 15, values >> 4], -1).reshape(count, height, -1)[
            ..., : width if mode == 101 else 2 * width
        ]
    return values.astype(np.float64)


def unzstd(content: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(content))


def other_tiff(path: Path, content: bytes):  # type: ignore[no-untyped-def]
    """tifffile with a decoder of LZW that cannot crash; EER by a decoder of its own."""
    import numpy as np
    import tifffile

    images = []
    with tifffile.TiffFile(path) as file:
        series_length = file.series[0].size // max(file.pages[0].size, 1) if len(file.pages) == 1 else 1
        if series_length > 1:
            return np.asarray(file.asarray(), np.float64)[:, ::-1]
        for page in file.pages:
            if int(page.compression) in (65000, 65001, 65002):
                images.append(plain_eer(page, content))
                continue
            image = np.zeros(page.shape, page.dtype if page.bitspersample != 8 else np.uint8)
            rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.shape[1])
            across = -(-page.shape[1] // columns)
            for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                encoded = content[offset : offset + count]
                top, left = index // across * rows, index % across * columns
                if int(page.compression) != 5:
                    segment = page.decode(encoded, index)[0].reshape(-1, columns)
                else:
                    decoded = plain_lzw(encoded)
                    used_rows = rows if page.is_tiled else min(rows, page.shape[0] - top)
                    stored = np.dtype(image.dtype).newbyteorder(file.byteorder)
                    segment = np.frombuffer(decoded, stored, used_rows * columns).reshape(used_rows, columns)
                    segment = segment.astype(image.dtype)
                    if page.predictor == 2:
                        segment = np.cumsum(segment, 1, dtype=segment.dtype)
                image[top : top + rows, left : left + columns] = segment[: page.shape[0] - top, : page.shape[1] - left]
            images.append(image[::-1])
    return np.array(images, np.float64)


def plain_lzw(data: bytes) -> bytes:
    """LZW by the text of TIFF 6.0, section 13."""
    bits, position, width = int.from_bytes(data, "big"), 8 * len(data), 9
    table: list[bytes] = []
    result, previous = bytearray(), b""
    while position >= width:
        position -= width
        code = bits >> position & (1 << width) - 1
        if code == 257:
            break
        if code == 256:
            table, width, previous = [bytes([byte]) for byte in range(256)] + [b"", b""], 9, b""
            continue
        entry = table[code] if code < len(table) else previous + previous[:1]
        if previous:
            table.append(previous + entry[:1])
        result += entry
        previous = entry
        width = max(9, min(12, (len(table) + 1).bit_length()))
    return bytes(result)


def plain_eer(page, content: bytes):  # type: ignore[no-untyped-def]
    """One frame by the description of the format, symbol by symbol, at the camera's own pixels."""
    import numpy as np

    compression = int(page.compression)
    tags = page.tags
    run_bits, position_bits = {65000: (8, 4), 65001: (7, 4)}.get(
        compression, (int(tags.valueof(65007, 0)), int(tags.valueof(65008, 0)) + int(tags.valueof(65009, 0)))
    )
    data = b"".join(content[o : o + n] for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
    bits = int.from_bytes(data, "little")
    image, pixel, position = np.zeros(page.shape[0] * page.shape[1]), 0, 0
    longest = (1 << run_bits) - 1
    while pixel < image.size:
        run = bits >> position & longest
        pixel += run
        has_electron = run != longest
        position += run_bits + (position_bits if has_electron or compression == 65000 else 0)
        if has_electron and pixel < image.size:
            image[pixel] += 1
            pixel += 1
    return image.reshape(page.shape)


def saved_image(path: Path):  # type: ignore[no-untyped-def]
    import mrcfile

    return mrcfile.read(path).copy() if path.exists() else None


def captured(
    main: Callable[[list[str]], int], argv: list[str], work: Path, seconds: int = SECONDS_PER_RUN
) -> tuple[int, str, str]:
    """Exit code of the command, and what it writes to stdout and stderr, also past Python. Raises `Hang`."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    files = [open(work / name, "w+b") for name in ("stdout", "stderr")]  # noqa: SIM115 - closed below
    signal.alarm(seconds)
    try:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        code = main(argv)
    finally:
        signal.alarm(0)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
    return code, texts[0], texts[1]


def reset_peak_memory() -> int:
    """The memory of this process, whose peak is counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0


# ---- the process that watches


def run_watched(count: int, seed: int = 0, only: str = "") -> list[tuple[str, str, str]]:
    """Name, class and reason of each run."""
    outcomes: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        valid, results = Path(folder, "valid"), Path(folder, "results")
        valid.mkdir()
        results.touch()
        roles = make_valid(valid)
        inputs = chosen(valid, roles, count, seed, only)
        while len(outcomes) < len(inputs):
            command = [sys.executable, __file__, "--worker", str(valid), str(results), "--first", str(len(outcomes))]
            command += ["--count", str(count), "--seed", str(seed), "--only", only]
            with open(Path(folder, "worker"), "w+") as output:
                process = subprocess.Popen(command, stdout=output, stderr=output)
                how = watch(process, results)
                output.seek(0)
                last_words = output.read()[-500:]
            lines = [json.loads(line) for line in results.read_text().splitlines()]
            ended = {line["end"]: (line["class"], line["why"]) for line in lines if "end" in line}
            started = max((line["start"] for line in lines if "start" in line), default=-1)
            if started < len(outcomes):
                raise RuntimeError(f"the process of the runs does not start: {last_words}")
            for number in range(len(outcomes), started + 1):
                outcomes.append((inputs[number].name, *ended.get(number, (BAD, f"{how}: {last_words}"))))
    return outcomes


def chosen(valid: Path, roles: dict[str, str], count: int, seed: int, only: str) -> list[Broken]:
    return [broken for broken in broken_inputs(valid, roles, count, seed) if only in broken.name]


def watch(process: subprocess.Popen[bytes], results: Path) -> str:
    """Wait for a process; end it where nothing is added to its results for too long. How it ended."""
    size, since, allowed = -1, time.monotonic(), SECONDS_TO_COMPILE
    while process.poll() is None:
        time.sleep(0.05)
        if results.stat().st_size != size:
            size, since = results.stat().st_size, time.monotonic()
            allowed = 3 * SECONDS_PER_RUN if b'"start"' in results.read_bytes() else SECONDS_TO_COMPILE
        elif time.monotonic() - since > allowed:
            process.kill()
            process.wait()
            return "hangs, also after an alarm"
    return f"crash with code {process.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true", help="print every run")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        valid, results = map(Path, options.worker)
        roles = make_valid(valid)
        run_all(valid, roles, chosen(valid, roles, options.count, options.seed, options.only), options.first, results)
        return 0
    start = time.perf_counter()
    outcomes = run_watched(options.count, options.seed, options.only)
    for name, outcome, why in outcomes:
        if outcome == BAD or options.verbose:
            print(f"{outcome:10} {name!r}: {why}")
    counts = Counter(outcome for _, outcome, _ in outcomes)
    print(", ".join(f"{counts[name]} {name}" for name in (RIGHT, AS_STATED, REFUSED, BAD)), end="; ")
    print(f"{len(outcomes)} inputs, {time.perf_counter() - start:.0f} s")
    return int(counts[BAD] > 0)


if __name__ == "__main__":
    sys.exit(main())
