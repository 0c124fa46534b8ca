"""A simulated movie: its frames as a camera would write them, and all that is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft as sfft

from restframe.simulate.camera import Camera, count, make_camera
from restframe.simulate.motion import Truth, make_truth
from restframe.simulate.optics import ctf, damage, detector_amplitude, interaction
from restframe.simulate.recipe import Recipe
from restframe.simulate.specimen import Species, make_specimen, project

_FRAMES, _STILL = 5, 6  # streams of random numbers


@dataclass(frozen=True)
class Simulated:
    """A movie with known motion. Frames are made when asked for; asking again gives the same bytes."""

    recipe: Recipe
    truth: Truth
    camera: Camera
    species: tuple[Species, ...]
    margin: tuple[int, int]  # y, x: how far the specimen goes on beyond the frame, pixels
    canvas: tuple[int, int]  # (h, w) of frame and margins

    @property
    def gain(self) -> np.ndarray:
        """The gain that comes with the movie, (h, w) float32, to be multiplied; on purpose wrong in 'wronggain'."""
        return self.camera.gain[::-1].copy() if self.recipe.gain_upside_down else self.camera.gain

    @property
    def defects(self) -> np.ndarray:
        """x, y, w, h of what is hot or dead, (n, 4) int."""
        return self.camera.defects

    def electrons(self, t: int) -> np.ndarray:
        """What falls on the camera in frame t without noise: mean electrons per pixel, (h, w) float32."""
        dose = self.recipe.frame_dose

        def move(x, y):
            return self.truth(x, y, t), self.truth.during(x, y, t)

        return self._image(move, [(t * dose, (t + 1) * dose)])

    def still(self, reference: int | None = None) -> np.ndarray:
        """The sum of all frames had the specimen never moved, without noise, (h, w) float32: same dose, same damage.

        It stands as in frame ``reference``; None: where it rests, in the middle frame.
        """
        frames, dose = self.recipe.shape[0], self.recipe.frame_dose

        def move(x, y):
            shift = np.zeros((len(x), 2)) if reference is None else self.truth(x, y, reference)
            return shift, np.zeros((len(x), 2))

        return self._image(move, [(t * dose, (t + 1) * dose) for t in range(frames)])

    def still_counts(self, reference: int | None = None) -> np.ndarray:
        """Counts of that sum with noise of its own and a perfect camera, (h, w) uint16."""
        return count(self.still(reference), (self.recipe.seed, _STILL), np.uint16)

    def frame(self, t: int) -> np.ndarray:
        """Counts of frame t as the camera writes them, (h, w) uint8."""
        return count(self.camera.expected_counts(self.electrons(t)), (self.recipe.seed, _FRAMES, t))

    @cached_property
    def counts(self) -> np.ndarray:
        """All frames, (t, h, w) uint8."""
        out = np.empty(self.recipe.shape, np.uint8)
        for t in range(len(out)):
            out[t] = self.frame(t)
        return out

    def _image(self, move, exposures: list[tuple[float, float]]) -> np.ndarray:
        """Weak-phase image of the specimen, intensity = dose (1 + contrast), summed over exposures (begin, end)."""
        total = sum(end - begin for begin, end in exposures) * self.recipe.pixel_size**2
        top, left = self.margin
        height, width = self.recipe.shape[1:]
        if not self.species:
            return np.full((height, width), total, np.float32)
        spectrum = sfft.rfft2(project(self.species, self.canvas, self.margin, move), workers=-1)
        spectrum *= self._transfer
        spectrum *= self._lasting(exposures)
        contrast = sfft.irfft2(spectrum, s=self.canvas, workers=-1)[top : top + height, left : left + width]
        return np.maximum(total * (1 + contrast), 0).astype(np.float32)

    @cached_property
    def _frequency(self) -> np.ndarray:
        """|k| in 1/A on the canvas's half plane, float32."""
        ky = sfft.fftfreq(self.canvas[0], self.recipe.pixel_size)[:, None]
        kx = sfft.rfftfreq(self.canvas[1], self.recipe.pixel_size)[None]
        return np.hypot(ky, kx).astype(np.float32)

    @cached_property
    def _transfer(self) -> np.ndarray:
        """From projected potential (V A) to contrast: 2 σ CTF(k) and the detector's amplitude; float32."""
        r = self.recipe
        ky = sfft.fftfreq(self.canvas[0], r.pixel_size)[:, None]
        kx = sfft.rfftfreq(self.canvas[1], r.pixel_size)[None]
        out = ctf(kx, ky, r.voltage, r.defocus, r.astigmatism, r.astigmatism_angle, r.cs, r.amplitude_contrast)
        out *= 2 * interaction(r.voltage) * detector_amplitude(self._frequency, r.pixel_size)
        return out.astype(np.float32)

    def _lasting(self, exposures) -> np.ndarray:
        """Mean over the exposures of the signal left by damage; float32 on the canvas's half plane."""
        # smooth in k: a fine table is exact to 1e-6 and spares 40 exponentials a pixel
        k = np.linspace(0, float(self._frequency.max()), 20_000)
        table = np.mean([damage(k, begin, end, self.recipe.voltage) for begin, end in exposures], axis=0)
        return np.interp(self._frequency, k, table).astype(np.float32)


def simulate(recipe: Recipe) -> Simulated:
    """Draw motion, specimen and camera of a recipe; the frames are made when asked for."""
    _, height, width = recipe.shape
    reach = int(np.ceil(96 / recipe.pixel_size)) + 24  # half a particle, what the CTF spreads, and the motion
    canvas = tuple(sfft.next_fast_len(n + 2 * reach, real=True) for n in (height, width))
    margin = ((canvas[0] - height) // 2, (canvas[1] - width) // 2)
    species = make_specimen(recipe, canvas, margin)
    return Simulated(recipe, make_truth(recipe), make_camera(recipe), species, margin, canvas)
