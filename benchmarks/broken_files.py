"""Small valid inputs of every kind, and ways to break them. `bad_inputs.py` runs the command on them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHAPE = (5, 48, 64)


@dataclass(frozen=True)
class Broken:
    """One broken input."""

    name: str
    role: str  # which argument it stands for
    base: str  # the valid file that it was made of
    make: Callable[[Path, bytes], Path | None]  # writes it into a folder; another path than the usual one, or None


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
            inputs += tags_of_other_kinds(base, role, content, rng)
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


def tags_of_other_kinds(base: str, role: str, content: bytes, rng: random.Random) -> Iterator[Broken]:
    """TIFF tags whose type or count of values is damaged: numbers become texts, fractions or many numbers."""
    if content[:2] not in (b"II", b"MM"):
        return

    import tifffile

    byte_order = "<" if content[:2] == b"II" else ">"
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        count_format = "Q" if file.is_bigtiff else "I"
        places = [tag.offset for page in file.pages for tag in page.aspage().tags]
    for place in rng.sample(places, 12):
        value_type = rng.choice((None, 0, 1, 2, 3, 4, 5, 7, 10, 11, 12, 16, 65535))
        count = rng.choice((None, 0, 1, 2, 3, 1000, 2**32 - 1))

        def change(
            data: bytes, place: int = place, value_type: int | None = value_type, count: int | None = count
        ) -> bytes:
            damaged = bytearray(data)
            if value_type is not None:
                struct.pack_into(f"{byte_order}H", damaged, place + 2, value_type)
            if count is not None:
                struct.pack_into(byte_order + count_format, damaged, place + 4, count)
            return bytes(damaged)

        yield Broken(f"{base}: tag at {place} of type {value_type}, {count} values", role, base, written(change))


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
