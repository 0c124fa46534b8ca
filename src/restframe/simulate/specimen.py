"""Particles in thin ice: random clouds of atoms in the shape of proteins, in random orientations, projected."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from restframe.arrays import Array, ComplexArray, FloatArray, IntArray
from restframe.cores import available_cores
from restframe.simulate import cuda
from restframe.simulate.recipe import Recipe

ATOM_POTENTIAL = 110.0  # V A³ of a heavy atom with its hydrogens
SOLVENT_POTENTIAL = 83.0  # V A³ of the water displaced by it
SOLVENT_SPREAD = 3.0  # A, standard deviation of the displaced water around the atom

LARGE_ATOMS, SMALL_ATOMS = 45_000, 2_300
LARGE_LENGTH, LARGE_INNER, LARGE_OUTER = 150.0, 22.0, 57.0  # A
SMALL_RADIUS = LARGE_OUTER * 0.44  # A; the same density of atoms
LARGE_STREAM, SMALL_STREAM = 2, 3  # of random numbers

BOX_MARGIN = 48  # pixels around a particle, for what a sub-pixel shift spreads
BOXES_PER_TASK = 32  # boxes that a thread shifts at a time

Displacements = tuple[FloatArray, FloatArray]
"""Displacement of particles, and their travel during the exposure, each (n, 2: x, y) in pixels."""
Motion = Callable[[FloatArray, FloatArray, FloatArray], Displacements]
"""`Displacements` of particles that rest at x, y (pixels) and z (A), each (n,)."""


@dataclass(frozen=True, eq=False)
class Species:
    """Particles of one size: where they rest, and the spectra of their projections (V A), each in its own box."""

    x: FloatArray  # (n,) pixels
    y: FloatArray  # (n,) pixels
    z: FloatArray  # (n,) height in A above the middle of the ice
    spectra: Array  # (n, b, b//2 + 1) complex64, the particle's centre at pixel (b//2, b//2)

    @property
    def box_size(self) -> int:
        """Pixels along each side of a box."""
        return int(self.spectra.shape[1])

    def select(self, mask: Any) -> Species:
        """The particles of a mask (n,)."""
        if mask.all():
            return self
        return Species(self.x[mask], self.y[mask], self.z[mask], self.spectra[np.flatnonzero(mask)])


def large_atoms(random: np.random.Generator) -> FloatArray:
    """Atoms of a hollow cylinder, (atoms, 3) in A."""
    radius = np.sqrt(random.uniform(LARGE_INNER**2, LARGE_OUTER**2, LARGE_ATOMS))
    angle = random.uniform(0, 2 * np.pi, LARGE_ATOMS)
    z = random.uniform(-LARGE_LENGTH / 2, LARGE_LENGTH / 2, LARGE_ATOMS)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def small_atoms(random: np.random.Generator) -> FloatArray:
    """Atoms of a ball, (atoms, 3) in A."""
    direction = random.normal(size=(SMALL_ATOMS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction * SMALL_RADIUS * np.cbrt(random.uniform(size=(SMALL_ATOMS, 1)))


def random_rotations(random: np.random.Generator, count: int) -> FloatArray:
    """Uniformly random rotation matrices from unit quaternions, (count, 3, 3)."""
    quaternions = random.normal(size=(4, count))
    w, x, y, z = quaternions / np.linalg.norm(quaternions, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def project_atoms(
    atoms: FloatArray, rotations: FloatArray, pixel_size: float, bfactor: float, array_module: Any = np
) -> Array:
    """Spectra of projected potentials (V A), (n, b, b//2 + 1) complex64, with the B-factor of the signal.

    Atoms are placed on the pixel grid: that only gives another random cloud, and makes the box a band-limited image,
    which a phase shift moves exactly. Its Nyquist lines are empty.
    """
    diameter = 2 * np.linalg.norm(atoms, axis=1).max()
    box_size = scipy.fft.next_fast_len(int(np.ceil(diameter / pixel_size)) + BOX_MARGIN, real=True)
    box_size += box_size % 2
    form_factor = _form_factor(box_size, pixel_size, bfactor)
    if array_module is not np:
        images = cuda.atom_images(atoms, rotations, pixel_size, box_size)
        spectra = array_module.fft.rfft2(images) * array_module.asarray(form_factor)
        return array_module.ascontiguousarray(spectra)

    def project(rotation: FloatArray) -> ComplexArray:
        pixels = np.rint(atoms @ rotation[:2].T / pixel_size).astype(np.intp) + box_size // 2
        image = np.bincount(pixels[:, 1] * box_size + pixels[:, 0], minlength=box_size * box_size).astype(np.float32)
        return np.asarray(scipy.fft.rfft2(image.reshape(box_size, box_size)) * form_factor)

    with ThreadPoolExecutor(available_cores()) as pool:
        all_spectra = list(pool.map(project, rotations))
    return np.array(all_spectra, np.complex64).reshape(len(rotations), box_size, box_size // 2 + 1)


def _form_factor(box_size: int, pixel_size: float, bfactor: float) -> FloatArray:
    """The spectrum of one atom's potential in a box, (b, b//2 + 1) float32."""
    frequency_y = scipy.fft.fftfreq(box_size)[:, None] / pixel_size
    frequency_x = scipy.fft.rfftfreq(box_size)[None] / pixel_size
    squared_frequency = frequency_x**2 + frequency_y**2
    solvent = SOLVENT_POTENTIAL * np.exp(-2 * np.pi**2 * SOLVENT_SPREAD**2 * squared_frequency)
    form_factor = ATOM_POTENTIAL - solvent
    form_factor *= np.exp(-bfactor * squared_frequency / 4) / pixel_size**2
    form_factor[box_size // 2] = form_factor[:, -1] = 0
    float_factor: FloatArray = form_factor.astype(np.float32)
    return float_factor


def make_specimen(
    recipe: Recipe, canvas: tuple[int, int], margin: tuple[int, int], array_module: Any = np
) -> tuple[Species, ...]:
    """Particles all over a canvas (h, w) that begins ``margin`` (y, x) pixels before the frame does."""
    area = canvas[0] * canvas[1] * recipe.pixel_size**2 / 1e6
    kinds: tuple[tuple[int, float, Callable[[np.random.Generator], FloatArray]], ...] = (
        (LARGE_STREAM, recipe.large, large_atoms),
        (SMALL_STREAM, recipe.small, small_atoms),
    )
    specimen = []
    for stream, density, draw_atoms in kinds:
        random = np.random.default_rng([recipe.seed, stream])
        if count := round(density * area):
            x = random.uniform(0, canvas[1], count) - margin[1]
            y = random.uniform(0, canvas[0], count) - margin[0]
            atoms = draw_atoms(random)
            rotations = random_rotations(random, count)
            spectra = project_atoms(atoms, rotations, recipe.pixel_size, recipe.bfactor, array_module)
            relative_height = np.random.default_rng([recipe.seed, stream, 1]).uniform(-0.5, 0.5, count)
            specimen.append(Species(x, y, recipe.thickness * relative_height, spectra))
    return tuple(specimen)


def shifted_images(spectra: ComplexArray, shift: FloatArray, travel: FloatArray) -> FloatArray:
    """Images (n, b, b) of boxes, shifted by ``shift`` (n, 2: x, y pixels) and blurred along ``travel`` (n, 2).

    Exact for a band-limited image: exp(-2πi k·shift) sinc(k·travel), k in cycles per pixel.
    """
    box_size = spectra.shape[1]
    frequency_y = scipy.fft.fftfreq(box_size).astype(np.float32)
    frequency_x = scipy.fft.rfftfreq(box_size).astype(np.float32)
    phase_x = np.exp(-2j * np.pi * frequency_x * shift[:, :1]).astype(np.complex64)
    phase_y = np.exp(-2j * np.pi * frequency_y * shift[:, 1:]).astype(np.complex64)
    shifted = spectra * phase_x[:, None, :]
    shifted *= phase_y[:, :, None]
    if np.any(travel):
        travel = travel.astype(np.float32)
        cycles_x, cycles_y = frequency_x * travel[:, :1], frequency_y * travel[:, 1:]
        shifted *= np.sinc(cycles_y[:, :, None] + cycles_x[:, None, :])
    return np.asarray(scipy.fft.irfft2(shifted, s=(box_size, box_size)))


def project_specimen(
    specimen: tuple[Species, ...], canvas_shape: tuple[int, int], margin: tuple[int, int], motion: Motion
) -> Array:
    """Projected potential (V A) on the canvas, (h, w) float32, periodic."""
    if not isinstance(specimen[0].spectra, np.ndarray):
        canvas = cuda.empty_canvas(canvas_shape)
        for species in specimen:
            origins, shift, travel = _place_boxes(species, canvas_shape, margin, motion)
            cuda.add_shifted(canvas, species.spectra, origins, shift, travel)
        return cuda.canvas_image(canvas)
    height, width = canvas_shape
    overhang = max(species.box_size for species in specimen)
    page = np.zeros((height + overhang, width + overhang), np.float32)
    for species in specimen:
        origins, shift, travel = _place_boxes(species, canvas_shape, margin, motion)
        _add_shifted(page, species.spectra, origins, shift, travel)
    # what lies beyond the canvas is added on its other side
    page[:overhang] += page[height:]
    page[:height, :overhang] += page[:height, width:]
    return page[:height, :width]


def _place_boxes(
    species: Species, canvas_shape: tuple[int, int], margin: tuple[int, int], motion: Motion
) -> tuple[IntArray, FloatArray, FloatArray]:
    """First pixels (x, y) of the boxes, their sub-pixel shifts, and their travel; each (n, 2)."""
    height, width = canvas_shape
    displacement, travel = motion(species.x, species.y, species.z)
    centres = np.stack([species.x + margin[1], species.y + margin[0]], axis=1) + displacement
    centre_pixels: IntArray = np.rint(centres).astype(int)
    origins: IntArray = (centre_pixels - species.box_size // 2) % (width, height)
    return origins, centres - centre_pixels, travel


def _add_shifted(
    page: FloatArray, spectra: ComplexArray, origins: IntArray, shift: FloatArray, travel: FloatArray
) -> None:
    """Add boxes, shifted and blurred (n, 2), to a page that holds all of them; ``origins`` (n, 2): first pixels."""
    box_size = spectra.shape[1]
    tasks = [slice(start, start + BOXES_PER_TASK) for start in range(0, len(spectra), BOXES_PER_TASK)]

    def shifted(task: slice) -> FloatArray:
        return shifted_images(spectra[task], shift[task], travel[task])

    with ThreadPoolExecutor(available_cores()) as pool:
        for task, images in zip(tasks, pool.map(shifted, tasks), strict=True):
            for (left, top), image in zip(origins[task], images, strict=True):
                page[top : top + box_size, left : left + box_size] += image
