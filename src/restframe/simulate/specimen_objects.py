"""What moves with the specimen in addition to its particles: beads, crystals, carbon film, textured ice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.fft
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from restframe.arrays import ComplexArray, FloatArray
from restframe.simulate.motion import Truth
from restframe.simulate.recipe import Recipe, SpecimenObjects

OBJECT_STREAM = 10  # of random numbers
BEAD_TRANSMISSION = 0.15, 0.3  # range
BRIGHT_BEAD_CONTRAST = 5.0, 45.0
BRIGHT_BEAD_SIGMA_PX = 1.0, 2.0
BRIGHT_BEAD_REACH = 5.0  # sigma
DETAIL_CORNER = 0.02  # cycles per pixel: the amplitudes of the detail fall as 1 / (k + corner)
GRAIN_BAND = 0.2, 0.12  # cycles per pixel: middle and width of the band of the carbon film's phase contrast
HOLE_RADIUS = 6000.0  # A, of the film's curved edge
FILM_EDGE = 15.0  # A over which the film's edge is blurred
PATH_STEP_PX = 0.5  # motion during a frame is the mean over positions that are no farther apart
MAX_PATH_STEPS = 12
FIELD_NODE_PX = 32  # distance of the nodes between which the motion is interpolated
NEGLIGIBLE_LOCAL_PX = 1e-3
INVERSION_STEPS = 4


@dataclass(frozen=True, eq=False)
class Spots:
    """Round spots: disks or Gaussians."""

    x: FloatArray  # (n,) pixels
    y: FloatArray  # (n,)
    size: FloatArray  # (n,) pixels: diameter of a disk, sigma of a Gaussian
    change: FloatArray  # (n,) relative brightness at the centre, minus 1: -1 absorbs everything
    gaussian: bool

    def brightness(self, shape: tuple[int, int], displacement: FloatArray) -> FloatArray:
        """Relative brightness (h, w) of the spots, displaced by (n, 2) pixels."""
        height, width = shape
        image = np.ones(shape, np.float32)
        for centre_x, centre_y, size, change in zip(
            self.x + displacement[:, 0], self.y + displacement[:, 1], self.size, self.change, strict=True
        ):
            reach = BRIGHT_BEAD_REACH * size if self.gaussian else size / 2 + 1
            rows = slice(max(int(centre_y - reach), 0), min(int(centre_y + reach) + 2, height))
            columns = slice(max(int(centre_x - reach), 0), min(int(centre_x + reach) + 2, width))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            distance_y = np.arange(rows.start, rows.stop)[:, None] - centre_y
            distance = np.hypot(distance_y, np.arange(columns.start, columns.stop)[None] - centre_x)
            disk = np.clip(size / 2 - distance + 0.5, 0, 1)
            profile = np.exp(-((distance / size) ** 2) / 2) if self.gaussian else disk
            image[rows, columns] *= 1 + change * profile
        return image

    def covered(self, shape: tuple[int, int], displacement: FloatArray) -> FloatArray:
        """How much of each pixel the spots change, from 0 to 1; (h, w)."""
        opaque = replace(self, change=np.full(len(self.x), -1.0))
        return 1 - opaque.brightness(shape, displacement)


@dataclass(frozen=True, eq=False)
class MovingObjects:
    """Objects of one movie; `brightness` is what its electrons are multiplied by."""

    recipe: Recipe
    truth: Truth
    margin: tuple[int, int]  # y, x: pixels by which the canvas extends beyond the frame
    canvas: tuple[int, int]  # (h, w)

    def brightness(self, frame: int | None, moving: bool = True) -> FloatArray:
        """(h, w) float32: the mean over the exposure of ``frame``.

        ``moving`` false: as it is on average during that frame, without blur; ``frame`` None: as at rest.
        """
        displacement, travel, spot_displacement, spot_travel = self._motion(frame)
        if not moving:
            travel, spot_travel = 0 * travel, 0 * spot_travel
        image = self._continuous(displacement, travel.reshape(-1, 2).mean(0))
        if self.recipe.specimen_objects.carbon_transmission < 1:
            image *= self._mean_over_path(lambda part: self._film(displacement + part * travel), travel)
        if len(self._spots.x):
            image *= self._mean_over_path(
                lambda part: self._spots.brightness(self._shape, spot_displacement + part * spot_travel), travel
            )
        return np.maximum(image, 0)

    def _motion(self, frame: int | None) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Displacement and travel at the nodes (rows, columns, 2), and at the spots (n, 2); ``frame`` None: zero."""
        values = []
        for x, y in (self._nodes, (self._spots.x, self._spots.y)):
            if frame is None:
                values += [np.zeros((*x.shape, 2))] * 2
            else:
                values += [self.truth(x, y, frame), self.truth.intraframe_motion(x, y, frame)]
        return values[0], values[1], values[2], values[3]

    @staticmethod
    def _mean_over_path(image_at: Callable[[float], FloatArray], travel: FloatArray) -> FloatArray:
        """Mean of ``image_at`` over the exposure, from -0.5 to 0.5; ``travel``: (..., 2) pixels."""
        longest = float(np.hypot(travel[..., 0], travel[..., 1]).max())
        step_count = int(np.clip(np.ceil(longest / PATH_STEP_PX), 1, MAX_PATH_STEPS))
        images = (image_at((step + 0.5) / step_count - 0.5) for step in range(step_count))
        return np.asarray(sum(images) / np.float32(step_count))

    def bead_coverage(self, frame: int) -> FloatArray:
        """How much of each pixel dark or bright beads cover in a frame, from 0 to 1; (h, w)."""
        spots = self._spots
        return spots.covered(self._shape, self.truth(spots.x, spots.y, frame))

    def _continuous(self, displacement: FloatArray, mean_travel: FloatArray) -> FloatArray:
        """Brightness by what covers the whole frame, (h, w): texture and lattice.

        Displaced as at the nodes (rows, columns, 2), and blurred by the mean motion during the frame (2,).
        """
        objects = self.recipe.specimen_objects
        image = np.ones(self._shape, np.float32)
        mean = displacement.reshape(-1, 2).mean(0)
        if objects.lattice:
            image += np.float32(objects.lattice) * self._lattice(*self._rest_positions(displacement), mean_travel)
        if objects.ice_texture or objects.detail:
            image += self._moved(self._texture_spectrum, mean, mean_travel, self._rest_positions(displacement))
        if objects.carbon_transmission < 1:
            positions = self._rest_positions(displacement)
            grain = self._moved(self._grain_spectrum, mean, mean_travel, positions)
            image += self._film_coverage(*positions) / np.float32(objects.carbon_transmission) * grain
        return image

    def _film(self, displacement: FloatArray) -> FloatArray:
        """Transmission (h, w) of the carbon film."""
        coverage = self._film_coverage(*self._rest_positions(displacement))
        return 1 - coverage * np.float32(1 - self.recipe.specimen_objects.carbon_transmission)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.recipe.shape[1:]

    @cached_property
    def _nodes(self) -> tuple[FloatArray, FloatArray]:
        """x and y of a coarse grid that covers the frame, each (rows, columns)."""
        axes = (np.linspace(0, side - 1, max(4, -(-side // FIELD_NODE_PX) + 1)) for side in self._shape)
        y, x = np.meshgrid(*axes, indexing="ij")
        return x, y

    def _rest_positions(self, displacement: FloatArray) -> tuple[FloatArray, FloatArray]:
        """x and y (h, w), float32, at which rests what each pixel shows: X with X + u(X) = x."""
        node_x, node_y = self._nodes
        axes = node_y[:, 0], node_x[0]
        by_axis = [RectBivariateSpline(*axes, displacement[..., axis]) for axis in (0, 1)]
        rest_x, rest_y = node_x, node_y
        for _ in range(INVERSION_STEPS):
            moved_x, moved_y = (spline(rest_y, rest_x, grid=False) for spline in by_axis)
            rest_x, rest_y = node_x - moved_x, node_y - moved_y
        rows, columns = (np.arange(side, dtype=float) for side in self._shape)
        dense = (RectBivariateSpline(*axes, values)(rows, columns) for values in (rest_x - node_x, rest_y - node_y))
        offset_x, offset_y = dense
        return (columns[None] + offset_x).astype(np.float32), (rows[:, None] + offset_y).astype(np.float32)

    def _moved(
        self,
        spectrum: ComplexArray,
        mean: FloatArray,
        mean_travel: FloatArray,
        positions: tuple[FloatArray, FloatArray],
    ) -> FloatArray:
        """The frame's part of a periodic image of the canvas: moved by ``mean`` exactly, by the rest with a spline.

        ``mean_travel``: motion during the frame, which blurs it; ``positions``: as from `_rest_positions`.
        """
        frequency_y, frequency_x = scipy.fft.fftfreq(self.canvas[0])[:, None], scipy.fft.rfftfreq(self.canvas[1])[None]
        phase_y, phase_x = (
            np.exp(-2j * np.pi * frequency * shift).astype(np.complex64)
            for frequency, shift in ((frequency_y, mean[1]), (frequency_x, mean[0]))
        )
        blur = np.sinc(frequency_y * mean_travel[1] + frequency_x * mean_travel[0]).astype(np.float32)
        image = scipy.fft.irfft2(spectrum * phase_y * phase_x * blur, s=self.canvas, workers=-1)
        (top, left), (height, width) = self.margin, self._shape
        y, x = np.arange(height)[:, None], np.arange(width)[None]
        rest_x, rest_y = positions
        source_x, source_y = rest_x + np.float32(mean[0]), rest_y + np.float32(mean[1])
        if max(abs(source_x - x).max(), abs(source_y - y).max()) < NEGLIGIBLE_LOCAL_PX:
            return np.asarray(image[top : top + height, left : left + width])
        coordinates = np.stack([source_y + top, source_x + left])
        return np.asarray(ndimage.map_coordinates(image, coordinates, order=3, mode="grid-wrap"))

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.recipe.seed, OBJECT_STREAM, stream])

    @cached_property
    def _spots(self) -> Spots:
        """Dark or bright beads, on the frame and a little beyond."""
        objects, random = self.recipe.specimen_objects, self._random(0)
        (top, left), (height, width) = self.margin, self.canvas
        density = objects.bright_beads or objects.beads
        count = round(density * height * width * self.recipe.pixel_size**2 / 1e6)
        x, y = random.uniform(0, width, count) - left, random.uniform(0, height, count) - top
        if objects.bright_beads:
            contrast = random.uniform(*BRIGHT_BEAD_CONTRAST, count)
            return Spots(x, y, random.uniform(*BRIGHT_BEAD_SIGMA_PX, count), contrast, gaussian=True)
        diameter = random.uniform(*objects.bead_diameter, count) / self.recipe.pixel_size
        return Spots(x, y, diameter, random.uniform(*BEAD_TRANSMISSION, count) - 1, gaussian=False)

    def _lattice(self, rest_x: FloatArray, rest_y: FloatArray, mean_travel: FloatArray) -> FloatArray:
        """A sum of three waves at 60 degrees, from -0.5 to 1; (h, w)."""
        random, spacing = self._random(1), self.recipe.specimen_objects.lattice_spacing / self.recipe.pixel_size
        first_angle, wave_number = random.uniform(0, np.pi / 3), 2 * np.pi / (spacing * np.sqrt(3) / 2)
        waves = []
        for angle in first_angle + np.pi / 3 * np.arange(3):
            wave_x, wave_y = wave_number * np.cos(angle), wave_number * np.sin(angle)
            blur = np.sinc((wave_x * mean_travel[0] + wave_y * mean_travel[1]) / (2 * np.pi))
            waves.append(np.float32(blur) * np.cos(np.float32(wave_x) * rest_x + np.float32(wave_y) * rest_y))
        return np.asarray(sum(waves) / np.float32(3))

    def _noise_spectrum(self, stream: int, amplitude: FloatArray, standard_deviation: float) -> ComplexArray:
        """Spectrum on the canvas's half plane of noise with this ``amplitude`` and standard deviation; mean zero."""
        white = self._random(stream).standard_normal(self.canvas, np.float32)
        spectrum = scipy.fft.rfft2(white, workers=-1) * amplitude.astype(np.float32)
        spectrum[0, 0] = 0
        spread = scipy.fft.irfft2(spectrum, s=self.canvas, workers=-1).std()
        return np.asarray(spectrum * np.float32(standard_deviation / spread))

    @cached_property
    def _frequency(self) -> FloatArray:
        """Cycles per pixel on the half plane of the canvas."""
        axes = scipy.fft.fftfreq(self.canvas[0])[:, None], scipy.fft.rfftfreq(self.canvas[1])[None]
        return np.asarray(np.hypot(*axes))

    @cached_property
    def _texture_spectrum(self) -> ComplexArray:
        """Of the ice's texture, or of detail up to the Nyquist frequency."""
        objects = self.recipe.specimen_objects
        if objects.detail:
            return self._noise_spectrum(2, 1 / (self._frequency + DETAIL_CORNER), objects.detail)
        sigma = objects.ice_grain / self.recipe.pixel_size
        return self._noise_spectrum(2, np.exp(-2 * (np.pi * sigma * self._frequency) ** 2), objects.ice_texture)

    @cached_property
    def _grain_spectrum(self) -> ComplexArray:
        """Of the carbon film's phase contrast, in a band that a spline can move."""
        middle, spread = GRAIN_BAND
        amplitude = np.exp(-(((self._frequency - middle) / spread) ** 2) / 2)
        return self._noise_spectrum(3, amplitude, self.recipe.specimen_objects.carbon_grain)

    def _film_coverage(self, rest_x: FloatArray, rest_y: FloatArray) -> FloatArray:
        """Coverage by the film, from 0 to 1; (h, w). The hole's edge passes within a quarter of the frame's centre."""
        random, (height, width) = self._random(4), self._shape
        angle, offset = random.uniform(0, 2 * np.pi), random.uniform(-0.25, 0.25) * min(height, width)
        radius = HOLE_RADIUS / self.recipe.pixel_size
        centre_x = width / 2 - (radius - offset) * np.cos(angle)
        centre_y = height / 2 - (radius - offset) * np.sin(angle)
        outside = np.hypot(rest_x - np.float32(centre_x), rest_y - np.float32(centre_y)) - np.float32(radius)
        edge_width = FILM_EDGE / self.recipe.pixel_size
        return np.asarray(1 / (1 + np.exp(-np.clip(4 * outside / edge_width, -40, 40))))


def make_moving_objects(
    recipe: Recipe, truth: Truth, margin: tuple[int, int], canvas: tuple[int, int]
) -> MovingObjects | None:
    """The objects of a recipe; None where there are none."""
    if recipe.specimen_objects == SpecimenObjects():
        return None
    return MovingObjects(recipe, truth, margin, canvas)
