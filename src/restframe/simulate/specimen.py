"""Particles in thin ice: random clouds of atoms in the shape of proteins, in random orientations, projected."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft as sfft

from restframe.cores import available_cores
from restframe.simulate import cuda
from restframe.simulate.recipe import Recipe

ATOM = 110.0  # V A³ a heavy atom, its hydrogens with it
SOLVENT = 83.0  # V A³ of water displaced by it ...
SOLVENT_SPREAD = 3.0  # ... spread over, A

LARGE_ATOMS, SMALL_ATOMS = 45_000, 2_300
LARGE_LENGTH, LARGE_INNER, LARGE_OUTER = 150.0, 22.0, 57.0  # A
SMALL_RADIUS = LARGE_OUTER * 0.44  # the same density of atoms


@dataclass(frozen=True)
class Species:
    """Particles of one size: where they rest, and the spectra of their projections (V A), each in its own box."""

    x: np.ndarray  # (n,) pixels
    y: np.ndarray
    z: np.ndarray  # (n,) height in A above the middle of the ice
    spectra: np.ndarray  # (n, b, b//2 + 1) complex64, the particle's centre at pixel (b//2, b//2)

    @property
    def box(self) -> int:
        return self.spectra.shape[1]

    def some(self, chosen: np.ndarray) -> Species:
        """Those of a mask (n,)."""
        if chosen.all():
            return self
        return Species(self.x[chosen], self.y[chosen], self.z[chosen], self.spectra[np.flatnonzero(chosen)])


def large_atoms(rng: np.random.Generator) -> np.ndarray:
    """Atoms of a hollow cylinder, (atoms, 3) in A."""
    radius = np.sqrt(rng.uniform(LARGE_INNER**2, LARGE_OUTER**2, LARGE_ATOMS))
    turn = rng.uniform(0, 2 * np.pi, LARGE_ATOMS)
    z = rng.uniform(-LARGE_LENGTH / 2, LARGE_LENGTH / 2, LARGE_ATOMS)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


def small_atoms(rng: np.random.Generator) -> np.ndarray:
    """Atoms of a ball, (atoms, 3) in A."""
    direction = rng.normal(size=(SMALL_ATOMS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * SMALL_RADIUS * np.cbrt(rng.uniform(size=(SMALL_ATOMS, 1)))


def rotations(rng: np.random.Generator, n: int) -> np.ndarray:
    """Uniformly random rotation matrices from unit quaternions, (n, 3, 3)."""
    w, x, y, z = (q := rng.normal(size=(4, n))) / np.linalg.norm(q, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def projections(atoms: np.ndarray, turns: np.ndarray, pixel_size: float, bfactor: float, xp: Any = np) -> np.ndarray:
    """Spectra of projected potentials (V A), (n, b, b//2 + 1) complex64; the signal's B factor is in them.

    Atoms are put on the pixel grid: that is only another random cloud, and the box is then a band-limited image which a
    phase shift moves exactly. The box leaves room for what a sub-pixel shift spreads; its Nyquist lines are empty.
    """
    diameter = 2 * np.linalg.norm(atoms, axis=1).max()
    box = sfft.next_fast_len(int(np.ceil(diameter / pixel_size)) + 48, real=True)
    box += box % 2
    ky, kx = sfft.fftfreq(box)[:, None] / pixel_size, sfft.rfftfreq(box)[None] / pixel_size
    k2 = kx**2 + ky**2
    form = ATOM - SOLVENT * np.exp(-2 * np.pi**2 * SOLVENT_SPREAD**2 * k2)
    form *= np.exp(-bfactor * k2 / 4) / pixel_size**2
    form[box // 2] = form[:, -1] = 0
    form = form.astype(np.float32)
    if xp is not np:
        spectra = xp.fft.rfft2(cuda.atom_images(atoms, turns, pixel_size, box)) * xp.asarray(form)
        return xp.ascontiguousarray(spectra)

    def one(turn):
        at = np.rint(atoms @ turn[:2].T / pixel_size).astype(np.intp) + box // 2
        image = np.bincount(at[:, 1] * box + at[:, 0], minlength=box * box).astype(np.float32)
        return sfft.rfft2(image.reshape(box, box)) * form

    with ThreadPoolExecutor(available_cores()) as pool:
        spectra = list(pool.map(one, turns))
    return np.array(spectra, np.complex64).reshape(len(turns), box, box // 2 + 1)


def make_specimen(
    recipe: Recipe, canvas: tuple[int, int], margin: tuple[int, int], xp: Any = np
) -> tuple[Species, ...]:
    """Particles all over a canvas (h, w) that begins ``margin`` (y, x) pixels before the frame does."""
    area = canvas[0] * canvas[1] * recipe.pixel_size**2 / 1e6
    kinds: tuple[tuple[int, float, Callable[[np.random.Generator], np.ndarray]], ...] = (
        (2, recipe.large, large_atoms),
        (3, recipe.small, small_atoms),
    )
    species = []
    for stream, density, cloud in kinds:
        rng = np.random.default_rng([recipe.seed, stream])
        if n := round(density * area):
            x = rng.uniform(0, canvas[1], n) - margin[1]
            y = rng.uniform(0, canvas[0], n) - margin[0]
            spectra = projections(cloud(rng), rotations(rng, n), recipe.pixel_size, recipe.bfactor, xp)
            z = recipe.thickness * np.random.default_rng([recipe.seed, stream, 1]).uniform(-0.5, 0.5, n)
            species.append(Species(x, y, z, spectra))
    return tuple(species)


def moved(spectra: np.ndarray, shift: np.ndarray, travel: np.ndarray) -> np.ndarray:
    """Images (n, b, b) of boxes moved by ``shift`` (n, 2: x, y pixels) and blurred along ``travel`` (n, 2).

    Exact for a band-limited image: exp(-2πi k·shift) sinc(k·travel), k in cycles per pixel.
    """
    box = spectra.shape[1]
    ky, kx = sfft.fftfreq(box).astype(np.float32), sfft.rfftfreq(box).astype(np.float32)
    phase_x = np.exp(-2j * np.pi * kx * shift[:, :1]).astype(np.complex64)
    phase_y = np.exp(-2j * np.pi * ky * shift[:, 1:]).astype(np.complex64)
    out = spectra * phase_x[:, None, :]
    out *= phase_y[:, :, None]
    if np.any(travel):
        travel = travel.astype(np.float32)
        along_x, along_y = kx * travel[:, :1], ky * travel[:, 1:]
        out *= np.sinc(along_y[:, :, None] + along_x[:, None, :])
    return sfft.irfft2(out, s=(box, box))


def project(species: tuple[Species, ...], canvas: tuple[int, int], margin: tuple[int, int], move) -> np.ndarray:
    """Projected potential (V A) on the canvas, (h, w) float32, periodic.

    ``move(x, y, z)`` gives displacement and travel during the exposure, each (n, 2), of what rests at x, y, z.
    """
    on_host = isinstance(species[0].spectra, np.ndarray)
    reach = max(s.box for s in species) if on_host else 0
    height, width = canvas
    # what sticks out of the canvas is folded back below; the GPU's page is periodic by itself
    page = np.zeros((height + reach, width + reach), np.float32) if on_host else cuda.blank_page(canvas)
    for kind in species:
        shift, travel = move(kind.x, kind.y, kind.z)
        centre = np.stack([kind.x + margin[1], kind.y + margin[0]], axis=1) + shift
        whole = np.rint(centre).astype(int)
        corner = (whole - kind.box // 2) % (width, height)
        add = _add_moved if on_host else cuda.add_moved
        add(page, kind.spectra, corner, centre - whole, travel)
    if not on_host:
        return cuda.finished(page)
    page[:reach] += page[height:]
    page[:height, :reach] += page[:height, width:]
    return page[:height, :width]


def _add_moved(
    page: np.ndarray, spectra: np.ndarray, corner: np.ndarray, shift: np.ndarray, travel: np.ndarray
) -> None:
    """Add boxes, moved and blurred (n, 2), on a page that holds them all, their first pixels at ``corner`` (n, 2)."""
    box = spectra.shape[1]
    chunks = [slice(i, i + 32) for i in range(0, len(spectra), 32)]
    with ThreadPoolExecutor(available_cores()) as pool:
        images = pool.map(lambda part: moved(spectra[part], shift[part], travel[part]), chunks)
        for part, stamps in zip(chunks, images, strict=True):
            for (x, y), stamp in zip(corner[part], stamps, strict=True):
                page[y : y + box, x : x + box] += stamp
