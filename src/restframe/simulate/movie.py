"""A simulated movie: its frames as a camera would write them, and everything that is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.optics import CtfParameters, ctf, interaction_parameter, mean_remaining_amplitude
from restframe.simulate import cuda
from restframe.simulate.camera import Camera, detector_amplitude, draw_counts, make_camera
from restframe.simulate.detector_objects import StandingObjects, make_standing_objects
from restframe.simulate.motion import Truth, make_swing, make_truth
from restframe.simulate.recipe import Recipe
from restframe.simulate.specimen import Displacements, Motion, Species, make_specimen, project_specimen
from restframe.simulate.specimen_objects import MovingObjects, make_moving_objects

FRAME_STREAM, STILL_STREAM = 5, 6  # of random numbers
DEFOCUS_STEP = 250.0  # A: smaller differences have no effect at 3 A resolution
PARTICLE_REACH = 96  # A, half a particle
MOTION_REACH = 24  # pixels, for what the CTF spreads and for motion
FREQUENCY_SAMPLES = 20_000

Exposure = tuple[float, float]
"""Accumulated dose, e/A², at the beginning and at the end."""


@dataclass(frozen=True, eq=False)
class SimulatedMovie:
    """A movie with known motion. Frames are made when they are requested; the same request gives the same bytes."""

    recipe: Recipe
    truth: Truth
    camera: Camera
    species: tuple[Species, ...]
    margin: tuple[int, int]  # y, x: pixels by which the specimen extends beyond the frame
    canvas: tuple[int, int]  # (h, w) of frame and margins
    standing: StandingObjects | None = None  # unlisted objects of the detector
    moving: MovingObjects | None = None  # objects of the specimen besides particles
    array_module: Any = np  # NumPy, or CuPy, whose random numbers differ

    @property
    def gain(self) -> FloatArray:
        """The gain that comes with the movie, (h, w) float32, to be multiplied; wrong on purpose in 'wronggain'."""
        gain: FloatArray = self.camera.gain[::-1].copy() if self.recipe.gain_upside_down else self.camera.gain
        return gain

    @property
    def defects(self) -> IntArray:
        """x, y, width and height of hot and dead pixels, (n, 4)."""
        return self.camera.defects

    @property
    def unlisted_defects(self) -> IntArray:
        """x, y, width and height of defects that `defects` does not list, (n, 4)."""
        return np.zeros((0, 4), int) if self.standing is None else self.standing.defects

    def electrons(self, frame: int) -> FloatArray:
        """Mean electrons on each pixel in a frame, without noise, (h, w) float32."""
        return to_host(self._electrons(frame))

    def _electrons(self, frame: int) -> Array:
        dose = self.recipe.frame_dose

        def motion(x: FloatArray, y: FloatArray, z: FloatArray) -> Displacements:
            swing, change = self.swing[frame] * z[:, None], self.swing_change[frame] * z[:, None]
            return self.truth(x, y, frame) + swing, self.truth.intraframe_motion(x, y, frame) + change

        return self._with_objects(self._image(motion, [(frame * dose, (frame + 1) * dose)]), frame)

    def _with_objects(self, image: Array, frame: int | None, moving: bool = True) -> Array:
        """``image`` (h, w) with the objects of the specimen; see `MovingObjects.brightness`."""
        if self.moving is None:
            return image
        return image * self.array_module.asarray(self.moving.brightness(frame, moving))

    def still(self, reference: int | None = None) -> FloatArray:
        """The sum of all frames of a specimen that never moves, without noise, (h, w) float32: same dose, same damage.

        It stands as in frame ``reference``; None: as in the middle frame, in which it rests.
        """
        return to_host(self._still(reference))

    def _still(self, reference: int | None) -> Array:
        frame_count, dose = self.recipe.shape[0], self.recipe.frame_dose

        def motion(x: FloatArray, y: FloatArray, z: FloatArray) -> Displacements:
            displacement: FloatArray = np.zeros((len(x), 2))
            if reference is not None:
                displacement = self.truth(x, y, reference) + self.swing[reference] * z[:, None]
            return displacement, np.zeros((len(x), 2))

        image = self._image(motion, [(frame * dose, (frame + 1) * dose) for frame in range(frame_count)])
        return self._with_objects(image, reference, moving=False)

    def still_counts(self, reference: int | None = None) -> AnyArray:
        """Counts of `still` with noise of its own and a perfect camera, (h, w) uint16."""
        return self._draw_counts(self._still(reference), (self.recipe.seed, STILL_STREAM), np.uint16)

    def frame(self, frame: int) -> AnyArray:
        """Counts of a frame as the camera writes them, (h, w) of the recipe's ``count_type``."""
        mean = self._camera_on_device.expected_counts(self._electrons(frame))
        counts = self._draw_counts(mean, (self.recipe.seed, FRAME_STREAM, frame), self.recipe.count_type)
        return counts if self.standing is None else self.standing.apply(counts, frame)

    def _draw_counts(self, mean: Array, seed: tuple[int, ...], dtype: DTypeLike) -> AnyArray:
        if self.array_module is np:
            return draw_counts(mean, seed, dtype)
        return cuda.draw_counts(mean, seed, dtype)

    @cached_property
    def _camera_on_device(self) -> Camera:
        if self.array_module is np:
            return self.camera
        return replace(self.camera, gain=self.array_module.asarray(self.camera.gain))

    @cached_property
    def counts(self) -> AnyArray:
        """All frames, (t, h, w) of the recipe's ``count_type``."""
        counts = np.empty(self.recipe.shape, self.recipe.count_type)
        for frame in range(len(counts)):
            counts[frame] = self.frame(frame)
        return counts

    def _image(self, motion: Motion, exposures: Sequence[Exposure]) -> Array:
        """Weak-phase image of the specimen, intensity = dose (1 + contrast), summed over the exposures.

        An array (h, w) float32 of ``array_module``.
        """
        total_dose = sum(end - begin for begin, end in exposures) * self.recipe.pixel_size**2
        top, left = self.margin
        height, width = self.recipe.shape[1:]
        if not self.species:
            return self.array_module.full((height, width), total_dose, np.float32)
        on_host = self.array_module is np
        fft, options = (scipy.fft, {"workers": -1}) if on_host else (self.array_module.fft, {})
        remaining_amplitude = self._remaining_amplitude(exposures)
        contrast: Any = 0
        for particles, defocus in self._species_by_defocus:
            potential = project_specimen(particles, self.canvas, self.margin, motion)
            spectrum = fft.rfft2(potential, **options)
            spectrum *= self._transfer_by_defocus[defocus]
            spectrum *= remaining_amplitude
            image = fft.irfft2(spectrum, s=self.canvas, **options)
            contrast = contrast + image[top : top + height, left : left + width]
        return self.array_module.maximum(total_dose * (1 + contrast), 0).astype(np.float32)

    @cached_property
    def _species_by_defocus(self) -> list[tuple[tuple[Species, ...], float]]:
        """Particles grouped by defocus, in steps of `DEFOCUS_STEP`, each group with its defocus in A."""
        recipe = self.recipe
        slope = np.tan(np.deg2rad(recipe.tilt)) * recipe.pixel_size
        steps = []
        for species in self.species:
            defocus = recipe.defocus + slope * (species.x - (recipe.shape[2] - 1) / 2) + species.z
            steps.append(np.rint((defocus - recipe.defocus) / DEFOCUS_STEP).astype(int))
        groups = []
        for step in np.unique(np.concatenate(steps)):
            masks = zip(self.species, (species_steps == step for species_steps in steps), strict=True)
            particles = tuple(species.select(mask) for species, mask in masks if np.any(mask))
            groups.append((particles, recipe.defocus + DEFOCUS_STEP * float(step)))
        return groups

    @cached_property
    def swing(self) -> FloatArray:
        """(t, 2) pixels that a particle moves for each A of its height: the ice turns as it settles."""
        return make_swing(self.recipe)[0]

    @cached_property
    def swing_change(self) -> FloatArray:
        """(t, 2) the same, from the beginning to the end of each frame."""
        return make_swing(self.recipe)[1]

    def _axis_frequencies(self) -> tuple[Array, Array]:
        """Frequencies along y (h, 1) and along x (1, w//2 + 1), in 1/A, on the half plane of the canvas."""
        fft: Any = scipy.fft if self.array_module is np else self.array_module.fft
        pixel_size = self.recipe.pixel_size
        return fft.fftfreq(self.canvas[0], pixel_size)[:, None], fft.rfftfreq(self.canvas[1], pixel_size)[None]

    @cached_property
    def _frequency(self) -> Array:
        """|k| in 1/A on the half plane of the canvas, float32."""
        return np.hypot(*self._axis_frequencies()).astype(np.float32)

    @cached_property
    def _sampled_frequencies(self) -> FloatArray:
        """Frequencies, evenly spaced from 0 to the highest, at which smooth functions are tabulated, (n,)."""
        return np.linspace(0, float(self._frequency.max()), FREQUENCY_SAMPLES)

    @cached_property
    def _transfer_by_defocus(self) -> dict[float, Array]:
        return {defocus: self._transfer(defocus) for _, defocus in self._species_by_defocus}

    def _transfer(self, defocus: float) -> Array:
        """From projected potential (V A) to contrast: 2 σ CTF(k) times the detector's amplitude; float32."""
        recipe = self.recipe
        frequency_y, frequency_x = self._axis_frequencies()
        optics = CtfParameters(
            recipe.voltage,
            defocus,
            recipe.astigmatism,
            recipe.astigmatism_angle,
            recipe.cs,
            recipe.amplitude_contrast,
        )
        transfer = ctf(frequency_x, frequency_y, optics)
        # a NumPy number of 64 bits, so that the product with 32-bit amplitudes is not rounded to 32 bits
        strength = np.float64(2 * interaction_parameter(recipe.voltage))
        transfer *= strength * detector_amplitude(self._frequency, recipe.pixel_size)
        return transfer.astype(np.float32)

    def _remaining_amplitude(self, exposures: Sequence[Exposure]) -> Array:
        """Mean, over the exposures, of the amplitude that damage leaves; float32 on the half plane of the canvas."""
        # smooth in k: a fine table is exact to 1e-6 and saves 40 exponentials for each pixel
        frequencies, voltage = self._sampled_frequencies, self.recipe.voltage
        table = np.mean(
            [mean_remaining_amplitude(frequencies, begin, end, voltage) for begin, end in exposures], axis=0
        )
        if self.array_module is not np:
            return cuda.interpolate_table(self._frequency, float(frequencies[1]), table)
        return np.interp(self._frequency, frequencies, table).astype(np.float32)


def to_host(image: Array) -> FloatArray:
    """A NumPy array of a NumPy or CuPy array."""
    host_image: FloatArray = image if isinstance(image, np.ndarray) else image.get()
    return host_image


def simulate(recipe: Recipe, array_module: Any = np) -> SimulatedMovie:
    """Draw motion, specimen and camera of a recipe. Frames are made when they are requested.

    ``array_module``: NumPy or CuPy, with which they are made.

    Example: ``simulate(PRESETS["demo"]).counts`` is a movie (24, 2048, 2048).
    """
    _, height, width = recipe.shape
    reach = int(np.ceil(PARTICLE_REACH / recipe.pixel_size)) + MOTION_REACH
    canvas_height, canvas_width = (scipy.fft.next_fast_len(side + 2 * reach, real=True) for side in (height, width))
    canvas = canvas_height, canvas_width
    margin = (canvas_height - height) // 2, (canvas_width - width) // 2
    species = make_specimen(recipe, canvas, margin, array_module)
    camera, truth = make_camera(recipe, array_module), make_truth(recipe)
    standing = make_standing_objects(recipe, camera.gain)
    moving = make_moving_objects(recipe, truth, margin, canvas)
    return SimulatedMovie(recipe, truth, camera, species, margin, canvas, standing, moving, array_module)
