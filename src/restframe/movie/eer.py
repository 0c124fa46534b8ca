"""EER movies: hundreds of raw frames of single electrons.

tifffile reads the structure of the file, `restframe.movie.events` decodes the electrons. A directory that differs from
the others, because one of its tags is damaged, still counts as a frame, so that later frames keep their place and dose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tifffile

from restframe.arrays import AnyArray
from restframe.errors import InputError, SettingsError
from restframe.messages import Setting
from restframe.movie.eermetadata import METADATA_TAG, parse_metadata
from restframe.movie.events import CODINGS, MAX_RUN_BITS, MAX_SYMBOL_BITS, Coding, add_events, has_zero_padding
from restframe.movie.files import read_bytes
from restframe.movie.metadata import Metadata
from restframe.movie.tiffchain import count_directories

CODING_IN_TAGS = 65002
"""The TIFF compression whose numbers of bits are given in tags."""
EVENT_COMPRESSIONS = (*CODINGS, CODING_IN_TAGS)
BITS_PER_SAMPLE_TAG = 258
RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG = 65007, 65008, 65009
TOLERATED_DAMAGE = 0.1  # fraction of the frames
SAMPLED_FRAMES = 5  # of which the kind of padding is learnt
MAX_SIDE = 16383  # physical pixels, so that rendered ones are at most 65532


@dataclass(frozen=True)
class UnreadablePage:
    """Stands for a directory that tifffile cannot read."""

    shape: tuple[int, ...] = ()
    compression: int = 0
    dataoffsets: tuple[int, ...] = ()
    databytecounts: tuple[int, ...] = ()


Page: TypeAlias = "tifffile.TiffPage | tifffile.TiffFrame | UnreadablePage"


@dataclass(frozen=True, eq=False)
class EerMovie:
    """An EER file. Rows have the order of the file. A raw frame has 0 or 1 electron in each physical pixel."""

    path: Path
    shape: tuple[int, int, int]
    level: int  # each physical pixel is delivered as 2^level x 2^level pixels
    coding: Coding
    strips: tuple[tuple[tuple[int, int], ...], ...]  # of each frame: offset and length in bytes; none if it is damaged
    damage: dict[int, str]  # by frame: why its directory cannot be used
    file_size: int  # bytes
    metadata: Metadata

    format = "eer"
    dtype = np.dtype(np.uint8)
    largest_count = 1.0
    tolerated_damage = TOLERATED_DAMAGE

    @property
    def pixel_size(self) -> float:
        """See `restframe.movie.Movie.pixel_size`."""
        return self.metadata.pixel_size / (1 << self.level)

    @cached_property
    def has_zero_padding(self) -> bool:
        """Whether frames end with zeros, as far as most of some frames tell: others are damaged then."""
        step = max(1, self.shape[0] // SAMPLED_FRAMES)
        shape = self.shape[1] >> self.level, self.shape[2] >> self.level
        votes = []
        for frame_strips in self.strips[::step][:SAMPLED_FRAMES]:
            if any(not 0 < length <= self.file_size - offset or offset <= 0 for offset, length in frame_strips):
                continue
            try:
                encoded = b"".join(read_bytes(self.path, offset, length) for offset, length in frame_strips)
            except (OSError, ValueError):
                continue
            votes.append(has_zero_padding(encoded, self.coding, shape))
        return 2 * sum(votes) > len(votes)

    def header_gain(self) -> None:
        """None: EER files contain no gain reference."""

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `restframe.movie.Movie.read`."""
        image = np.empty(self.shape[1:], self.dtype) if destination is None else destination
        image[:] = 0
        self.add(frame_index, image)
        return image

    def add(self, frame_index: int, total: AnyArray) -> None:
        """See `restframe.movie.Movie.add`."""
        if total.dtype.kind != "u":
            total += self.read(frame_index)
            return
        if not 0 <= frame_index < self.shape[0]:
            raise IndexError(f"frame {frame_index} of {self.shape[0]}")
        damage = f"{self.path}: frame {frame_index + 1} is damaged"
        strips = self.strips[frame_index]
        if frame_index in self.damage:
            raise InputError(f"{damage}: {self.damage[frame_index]}.")
        if any(length <= 0 or offset <= 0 or offset + length > self.file_size for offset, length in strips):
            raise InputError(f"{damage}: its data are not in the file.")
        try:
            encoded = b"".join(read_bytes(self.path, offset, length) for offset, length in strips)
        except OSError as error:
            raise InputError(f"{damage} ({error}).") from error
        if not add_events(encoded, self.coding, self.level, total, 1, self.has_zero_padding):
            add_events(encoded, self.coding, self.level, total, -1)
            raise InputError(f"{damage}: its events don't end with its last pixel.")


def open_eer(path: Path, sampling: int = 1) -> EerMovie:
    """Open an EER file. ``sampling`` 1, 2 or 3: 1, 2 or 4 pixels along each side of a physical pixel.

    Raises `InputError` if the structure is broken or the frames differ in size or coding, `SettingsError` for finer
    sampling than the file has.
    """
    if sampling not in (1, 2, 3):
        raise SettingsError(Setting("eer_sampling", sampling), ": expected 1, 2 or 3.")
    directory_count = count_directories(path)
    try:
        with tifffile.TiffFile(path) as file:
            file_size = file.filehandle.size
            all_pages = [_page(file, index) for index in range(directory_count)]
            pages = _frame_pages(all_pages)
            kinds = Counter(_kind(page) for page in pages if page.compression in EVENT_COMPRESSIONS)
            kind = kinds.most_common(1)[0][0]
            model = next(page for page in pages if _kind(page) == kind)
            coding = _page_coding(path, model)
            metadata = _file_metadata(path, all_pages[0], model, len(pages))
            strips = tuple(
                tuple(_whole_numbers(*strip) for strip in zip(page.dataoffsets, page.databytecounts, strict=True))
                if _kind(page) == kind
                else ()
                for page in pages
            )
            damage = {
                number: "its directory cannot be read"
                if isinstance(page, UnreadablePage)
                else f"its directory says {_kind_text(_kind(page))}, the others say {_kind_text(kind)}"
                for number, page in enumerate(pages)
                if _kind(page) != kind
            }
    except InputError:
        raise
    except Exception as error:  # tifffile raises errors of many kinds for damaged files
        raise InputError(f"{path}: the EER structure is damaged ({error}). Copy the movie again.") from error
    if len(damage) > TOLERATED_DAMAGE * len(pages) or len(kind[0]) != 2:
        different = sorted({_kind_text(_kind(page)) for page in pages})
        raise InputError(f"{path}: frames of one size and compression are expected; found {' and '.join(different)}.")
    height, width = model.shape
    _check_claims(path, (height, width), coding, strips, file_size)
    level = sampling - 1
    finest_level = min(coding.x_bits, coding.y_bits)
    if level > finest_level:
        raise SettingsError(
            Setting("eer_sampling", sampling),
            f": {path} divides its pixels no further than ",
            Setting("eer_sampling", finest_level + 1),
            " shows.",
        )
    shape = len(pages), height << level, width << level
    return EerMovie(path, shape, level, coding, strips, damage, file_size, metadata)


def _page(file: tifffile.TiffFile, index: int) -> Page:
    """A directory of the file. tifffile's errors for damaged ones are of many kinds; its iterator ends at some."""
    try:
        return file.pages[index]
    except Exception:
        return UnreadablePage()


def _tag(page: Page, number: int, default: object = None) -> Any:
    """The value of a tag of a directory."""
    return default if isinstance(page, UnreadablePage) else page.aspage().tags.valueof(number, default)


def _whole_numbers(offset: object, length: object) -> tuple[int, int]:
    """Where a strip lies; (0, 0), which no strip has, where a damaged tag holds something else than numbers."""
    if isinstance(offset, int) and isinstance(length, int):
        return offset, length
    return 0, 0


def _frame_pages(pages: Sequence[Page]) -> list[Page]:
    """The pages of raw frames: all but images before and after them, such as the sum of all frames.

    A page with an unknown compression is a frame whose tag is damaged if it lies between frames, or has one bit per
    pixel as frames have.
    """
    are_frames = [
        page.compression in EVENT_COMPRESSIONS or _tag(page, BITS_PER_SAMPLE_TAG, 1) in (1, (1,)) for page in pages
    ]
    first = are_frames.index(True)
    last = len(pages) - are_frames[::-1].index(True)
    return list(pages[first:last])


def _kind(page: Page) -> tuple[tuple[int, ...], int]:
    """What the frames of a movie have in common: shape and compression."""
    return page.shape, int(page.compression)


def _kind_text(kind: tuple[tuple[int, ...], int]) -> str:
    return f"{' x '.join(map(str, kind[0][::-1]))} pixels, compression {kind[1]}"


def _check_claims(
    path: Path,
    shape: tuple[int, int],
    coding: Coding,
    strips: Sequence[Sequence[tuple[int, int]]],
    file_size: int,
) -> None:
    """Raise `InputError` for frames (h, w) that the file cannot hold."""
    frame_bytes = [
        sum(length for offset, length in frame_strips if offset > 0 and 0 < length <= file_size - offset)
        for frame_strips in strips
    ]
    longest_run = (1 << coding.run_bits) - 1
    most_pixels = 8 * max(frame_bytes) // coding.run_bits * longest_run
    damaged_count = int(TOLERATED_DAMAGE * len(strips))  # of frames whose number of bytes may be wrong
    claimed_bytes = sum(sorted(frame_bytes)[: len(strips) - damaged_count])
    if claimed_bytes > file_size:
        raise InputError(
            f"{path}: its frames claim {claimed_bytes} bytes of data, the file has {file_size}. Copy the movie again."
        )
    if max(shape) > MAX_SIDE or shape[0] * shape[1] > most_pixels:
        raise InputError(
            f"{path} claims frames of {shape[1]} x {shape[0]} pixels in at most {max(frame_bytes)} bytes, which cannot "
            "hold them. Copy the movie again."
        )


def _file_metadata(path: Path, first_page: Page, frame_page: Page, frame_count: int) -> Metadata:
    """What the XML of the file says: in the first directory or in that of a frame."""
    for page in (first_page, frame_page):
        text = _tag(page, METADATA_TAG)
        if text is not None:
            return parse_metadata(path, text, frame_count)
    return Metadata()


def _page_coding(path: Path, page: Page) -> Coding:
    if page.compression in CODINGS:
        return CODINGS[page.compression]
    run_bits, x_tag, y_tag = (int(_tag(page, tag, 0)) for tag in (RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG))
    x_bits, y_bits = x_tag or y_tag, y_tag or x_tag
    if min(run_bits, x_bits) < 1 or run_bits > MAX_RUN_BITS or run_bits + x_bits + y_bits > MAX_SYMBOL_BITS:
        raise InputError(
            f"{path}: compression {CODING_IN_TAGS} tells its bits in tags {RUN_BITS_TAG}, {X_BITS_TAG} and "
            f"{Y_BITS_TAG}; found {run_bits}, {x_bits} and {y_bits}."
        )
    return Coding(run_bits, x_bits, y_bits)
