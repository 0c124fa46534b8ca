"""A simulated movie: its frames as a camera would write them, and all that is known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.fft as sfft

from restframe.optics import CtfParameters, ctf, interaction_parameter, mean_remaining_amplitude
from restframe.simulate import cuda
from restframe.simulate.camera import Camera, count, detector_amplitude, make_camera
from restframe.simulate.motion import Truth, make_swing, make_truth
from restframe.simulate.recipe import Recipe
from restframe.simulate.specimen import Species, make_specimen, project

_FRAMES, _STILL = 5, 6  # streams of random numbers
DEFOCUS_STEP = 250.0  # A: finer differences don't show at 3 A


@dataclass(frozen=True)
class Simulated:
    """A movie with known motion. Frames are made when asked for; asking again gives the same bytes."""

    recipe: Recipe
    truth: Truth
    camera: Camera
    species: tuple[Species, ...]
    margin: tuple[int, int]  # y, x: how far the specimen goes on beyond the frame, pixels
    canvas: tuple[int, int]  # (h, w) of frame and margins
    xp: Any = np  # whose arrays the work is done in; CuPy's random numbers are others than NumPy's

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
        return on_host(self._electrons(t))

    def _electrons(self, t: int):
        dose = self.recipe.frame_dose

        def move(x, y, z):
            swing, change = self.swing[t] * z[:, None], self.swing_change[t] * z[:, None]
            return self.truth(x, y, t) + swing, self.truth.during(x, y, t) + change

        return self._image(move, [(t * dose, (t + 1) * dose)])

    def still(self, reference: int | None = None) -> np.ndarray:
        """The sum of all frames had the specimen never moved, without noise, (h, w) float32: same dose, same damage.

        It stands as in frame ``reference``; None: where it rests, in the middle frame.
        """
        return on_host(self._still(reference))

    def _still(self, reference: int | None):
        frames, dose = self.recipe.shape[0], self.recipe.frame_dose

        def move(x, y, z):
            shift = np.zeros((len(x), 2))
            if reference is not None:
                shift = self.truth(x, y, reference) + self.swing[reference] * z[:, None]
            return shift, np.zeros((len(x), 2))

        return self._image(move, [(t * dose, (t + 1) * dose) for t in range(frames)])

    def still_counts(self, reference: int | None = None) -> np.ndarray:
        """Counts of that sum with noise of its own and a perfect camera, (h, w) uint16."""
        return self._count(self._still(reference), (self.recipe.seed, _STILL), np.uint16)

    def frame(self, t: int) -> np.ndarray:
        """Counts of frame t as the camera writes them, (h, w) uint8."""
        return self._count(self._camera.expected_counts(self._electrons(t)), (self.recipe.seed, _FRAMES, t), np.uint8)

    def _count(self, mean, seed: tuple[int, ...], dtype) -> np.ndarray:
        return count(mean, seed, dtype) if self.xp is np else cuda.count(mean, seed, dtype)

    @cached_property
    def _camera(self) -> Camera:
        """The camera where the work is done."""
        return self.camera if self.xp is np else replace(self.camera, gain=self.xp.asarray(self.camera.gain))

    @cached_property
    def counts(self) -> np.ndarray:
        """All frames, (t, h, w) uint8."""
        out = np.empty(self.recipe.shape, np.uint8)
        for t in range(len(out)):
            out[t] = self.frame(t)
        return out

    def _image(self, move, exposures: list[tuple[float, float]]):
        """Weak-phase image of the specimen, intensity = dose (1 + contrast), summed over exposures (begin, end); an
        array (h, w) of ``xp``, float32."""
        total = sum(end - begin for begin, end in exposures) * self.recipe.pixel_size**2
        top, left = self.margin
        height, width = self.recipe.shape[1:]
        if not self.species:
            return self.xp.full((height, width), total, np.float32)
        fft, threads = (sfft, {"workers": -1}) if self.xp is np else (self.xp.fft, {})
        lasting = self._lasting(exposures)
        contrast = 0
        for part, defocus in self._by_defocus:
            page = project(part, self.canvas, self.margin, move)
            spectrum = fft.rfft2(page, **threads)
            spectrum *= self._transfer[defocus]
            spectrum *= lasting
            whole = fft.irfft2(spectrum, s=self.canvas, **threads)
            contrast = contrast + whole[top : top + height, left : left + width]
        return self.xp.maximum(total * (1 + contrast), 0).astype(np.float32)

    @cached_property
    def _by_defocus(self) -> list[tuple[tuple[Species, ...], float]]:
        """Particles whose defocus is within ``DEFOCUS_STEP`` of the one beside them, all of them where it is the same
        everywhere."""
        r = self.recipe
        slope = np.tan(np.deg2rad(r.tilt)) * r.pixel_size
        own = [r.defocus + slope * (s.x - (r.shape[2] - 1) / 2) + s.z for s in self.species]
        step = [np.rint((d - r.defocus) / DEFOCUS_STEP).astype(int) for d in own]
        parts = []
        for n in np.unique(np.concatenate(step)):
            chosen = zip(self.species, step, strict=True)
            part = tuple(s.some(k == n) for s, k in chosen if np.any(k == n))
            parts.append((part, r.defocus + DEFOCUS_STEP * float(n)))
        return parts

    @cached_property
    def swing(self) -> np.ndarray:
        """(t, 2) pixels that a particle moves for each A of its height: the ice turns as it settles."""
        return make_swing(self.recipe)[0]

    @cached_property
    def swing_change(self) -> np.ndarray:
        """(t, 2) the same, from the beginning to the end of each frame."""
        return make_swing(self.recipe)[1]

    def _frequencies(self):
        """ky (h, 1) and kx (1, w//2 + 1) in 1/A on the canvas's half plane."""
        fft, pixel = sfft if self.xp is np else self.xp.fft, self.recipe.pixel_size
        return fft.fftfreq(self.canvas[0], pixel)[:, None], fft.rfftfreq(self.canvas[1], pixel)[None]

    @cached_property
    def _frequency(self):
        """|k| in 1/A there, float32."""
        return np.hypot(*self._frequencies()).astype(np.float32)

    @cached_property
    def _samples(self) -> np.ndarray:
        """Frequencies, evenly spaced from 0 to the highest, at which what is smooth is tabulated, (n,)."""
        return np.linspace(0, float(self._frequency.max()), 20_000)

    @cached_property
    def _transfer(self):
        """`_transfer_at` each defocus that is in use."""
        return {defocus: self._transfer_at(defocus) for _, defocus in self._by_defocus}

    def _transfer_at(self, defocus: float):
        """From projected potential (V A) to contrast: 2 σ CTF(k) and the detector's amplitude; float32."""
        r = self.recipe
        ky, kx = self._frequencies()
        optics = CtfParameters(r.voltage, defocus, r.astigmatism, r.astigmatism_angle, r.cs, r.amplitude_contrast)
        out = ctf(kx, ky, optics)
        # a NumPy number of 64 bits, so that the product with 32-bit amplitudes is not rounded to 32 bits
        out *= np.float64(2 * interaction_parameter(r.voltage)) * detector_amplitude(self._frequency, r.pixel_size)
        return out.astype(np.float32)

    def _lasting(self, exposures):
        """Mean over the exposures of the signal left by damage; float32 on the canvas's half plane."""
        # smooth in k: a fine table is exact to 1e-6 and spares 40 exponentials a pixel
        k = self._samples
        table = np.mean(
            [mean_remaining_amplitude(k, begin, end, self.recipe.voltage) for begin, end in exposures], axis=0
        )
        if self.xp is not np:
            return cuda.look_up(self._frequency, float(k[1]), table)
        return np.interp(self._frequency, k, table).astype(np.float32)


def on_host(image) -> np.ndarray:
    """A NumPy array of an array of NumPy's or CuPy's."""
    return image if isinstance(image, np.ndarray) else image.get()


def simulate(recipe: Recipe, xp: Any = np) -> Simulated:
    """Draw motion, specimen and camera of a recipe; the frames are made when asked for, with NumPy or CuPy (``xp``)."""
    _, height, width = recipe.shape
    reach = int(np.ceil(96 / recipe.pixel_size)) + 24  # half a particle, what the CTF spreads, and the motion
    canvas = tuple(sfft.next_fast_len(n + 2 * reach, real=True) for n in (height, width))
    margin = ((canvas[0] - height) // 2, (canvas[1] - width) // 2)
    species = make_specimen(recipe, canvas, margin, xp)
    return Simulated(recipe, make_truth(recipe), make_camera(recipe, xp), species, margin, canvas, xp)
