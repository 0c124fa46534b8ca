"""SimulatedMovie movies for the benchmarks, made once and kept in a cache outside the repository."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import restframe.simulate
from restframe.simulate import PRESETS, Recipe, SimulatedMovie, simulate

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "restframe"


@dataclass(frozen=True)
class Bench:
    """A simulated movie whose large arrays come from the cache."""

    simulated: SimulatedMovie
    counts: np.ndarray  # (t, h, w) of the recipe's count_type, mapped from disk
    truth_image: np.ndarray  # (h, w) noise-free sum at rest
    still_image: np.ndarray  # (h, w) the same with its own noise
    noise_free: Callable[[], np.ndarray]  # (t, h, w) uint16: the noise-free frames, scaled to a mean of `SCALE`


SCALE = 20_000  # rounding to integers is then far below a percent of the signal, and nothing overflows
BRIGHT_SCALE = 1_000  # the same for movies with spots that are 45 times as bright as the mean


def recipe_for(kind: str, seed: int, size: int | None = None) -> Recipe:
    """A named kind with a seed; ``size``: at most so many pixels along an edge, a cut-out of the same kind."""
    recipe = replace(PRESETS[kind], seed=seed)
    if size:
        frames, height, width = recipe.shape
        recipe = replace(recipe, shape=(frames, min(size, height), min(size, width)))
    return recipe


def noise_free_scale(recipe: Recipe) -> float:
    """What noise-free frames are multiplied by before they are rounded to uint16."""
    mean = BRIGHT_SCALE if recipe.specimen_objects.bright_beads else SCALE
    return mean / (recipe.frame_dose * recipe.pixel_size**2)


def make_on_gpu(recipe: Recipe) -> Bench:
    """Make a movie with CuPy and keep it in memory: faster than any cache, with random numbers of its own."""
    import cupy

    movie = simulate(recipe, cupy)
    scale = noise_free_scale(recipe)
    counts = np.empty(recipe.shape, recipe.count_type)
    for frame in range(len(counts)):
        counts[frame] = movie.frame(frame)

    def noise_free() -> np.ndarray:
        frames = np.empty(recipe.shape, np.uint16)
        for frame in range(len(frames)):
            frames[frame] = np.rint(movie.electrons(frame) * scale)
        return frames

    bench = Bench(movie, counts, movie.still(), movie.still_counts(), noise_free)
    cupy.fft.config.get_plan_cache().clear()
    cupy.get_default_memory_pool().free_all_blocks()  # who works on the movie finds the room free
    return bench


def load(recipe: Recipe, cache: Path = DEFAULT_CACHE) -> Bench:
    """Make a movie, or take it from the cache (keyed by recipe and the simulator's source)."""
    digest = hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode())
    for source in sorted(Path(restframe.simulate.__file__).parent.glob("*.py")):
        if source.name not in ("files.py", "recipe.py", "__init__.py"):  # the recipe itself is in
            digest.update(source.read_bytes())
    folder = cache / f"{recipe.kind}-{recipe.seed}-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    movie = simulate(recipe)
    scale = noise_free_scale(recipe)
    frames = range(recipe.shape[0])
    return Bench(
        movie,
        _kept(folder / "counts.npy", recipe.count_type, recipe.shape, map(movie.frame, frames)),
        _kept(folder / "truth.npy", np.float32, (1, *recipe.shape[1:]), (movie.still() for _ in "1"))[0],
        _kept(folder / "still.npy", np.uint16, (1, *recipe.shape[1:]), (movie.still_counts() for _ in "1"))[0],
        lambda: _kept(
            folder / "noise_free.npy",
            np.uint16,
            recipe.shape,
            (np.rint(movie.electrons(frame) * scale) for frame in frames),
        ),
    )


def _kept(path: Path, dtype, shape: tuple[int, ...], images: Iterable[np.ndarray]) -> np.ndarray:
    """The stack (n, h, w) at ``path``, made of ``images`` if it is not there yet; read-only, mapped."""
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        stack = np.lib.format.open_memmap(partial, "w+", dtype, shape)
        for page, image in zip(stack, images, strict=True):
            page[:] = image
        stack.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")
