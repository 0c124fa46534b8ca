"""The sums as their formulas say, frame by frame in float64: slow, and what the fast way is held to."""

import numpy as np

from restframe.detector.references import References
from restframe.detector.survey import survey_frames
from restframe.kernels.cpu import Cpu
from restframe.kernels.interface import Resampling
from restframe.kernels.reference import Reference
from restframe.movie import ArrayMovie, RawFrames
from restframe.optics import critical_dose
from restframe.restore import kernel
from restframe.restore.gather import GRID_SPACING_PX, make_displacement_grid
from restframe.restore.sizes import MARGIN_PX, choose_sizes

cpu = Cpu(2)
reference = Reference()


def calibration(frames):
    """A perfect camera: the mean count of each frame is taken off, the local mean stands for what is off the frame."""
    return survey_frames(cpu, RawFrames(ArrayMovie(frames)), References(), False, 0)[0].calibration


def gathered(frames, field, place, size):
    """Every frame at the places of the output pixels, (t, *size.padded); the places' sub-pixel parts, (t, n, 2)."""
    steps = make_displacement_grid(reference, field, place, size.padded)
    c = calibration(frames)
    images = np.zeros((len(frames), *size.padded), np.float32)
    resampling = Resampling(steps, GRID_SPACING_PX, -MARGIN_PX, kernel.table())
    reference.gather(frames, c, resampling, np.eye(len(frames)), images)
    inside = steps[:, 2:-2, 2:-2].reshape(len(steps), -1, 2).astype(float)
    return images.astype(float), inside - np.floor(inside)


def wave_numbers(size):
    h, w = size.padded
    return 2 * np.pi * np.fft.fftfreq(h)[:, None], 2 * np.pi * np.fft.rfftfreq(w)[None]


def transfers(offsets, place, size):
    """Mean over positions of the kernel's transfer and of its power, each (t, ky, kx), for the actual offsets."""
    ky, kx = np.broadcast_arrays(*place.detector_frequency(*wave_numbers(size)))

    def along(offsets, k):
        taps = zip(np.arange(-1, 3), kernel.weights(offsets).T, strict=True)
        return sum(w[:, None] * np.exp(1j * k.ravel() * (m - offsets[:, None])) for m, w in taps)

    mean, power = [], []
    for x, y in offsets.transpose(0, 2, 1):
        g = along(y, ky) * along(x, kx)
        mean.append(g.mean(0).reshape(ky.shape))
        power.append((np.abs(g) ** 2).mean(0).reshape(ky.shape))
    return np.array(mean), np.array(power)


def damage_weights(accumulated, pixel_size, kv, size):
    """exp(-D / 2 N_e) for every frame, 1 at zero frequency: (t, ky, kx)."""
    ky, kx = wave_numbers(size)
    q = np.hypot(ky, kx) / (2 * np.pi * pixel_size)
    return np.exp(-0.5 * np.asarray(accumulated)[:, None, None] / critical_dose(q, kv))


def blur_weights(moved, place, size):
    """sin(k·v/2) / (k·v/2) for motion by v (t, 2) during each frame, at frequencies on the detector: (t, ky, kx)."""
    ky, kx = place.detector_frequency(*wave_numbers(size))
    half = (ky * moved[:, 1, None, None] + kx * moved[:, 0, None, None]) / 2
    return np.where(half == 0, 1, np.sin(half) / np.where(half == 0, 1, half))


def combined(frames, field, place, bin, weights, parts, blur=None):
    """Images by name: sum over the frames of each part of ``weights`` (a function of the size: (t, ky, kx)) times
    the frame's transform; the kernel undone as `restore.fourier` says, cropped, the mean counts given back. Each frame
    is also multiplied by ``blur`` (another such function), and the noise of all frames made as strong as without.
    """
    size = choose_sizes(place.shape, bin)
    images, offsets = gathered(frames, field, place, size)
    spectra = np.fft.rfft2(images)
    w = weights(size)
    mean, power = transfers(offsets, place, size)
    t = (w * mean).sum(0)
    factor = np.conj(t) / np.abs(t) / np.sqrt((w**2 * power).sum(0) / (w**2).sum(0))
    b = np.ones_like(w) if blur is None else blur(size)
    factor = factor * np.sqrt((w**2).sum(0) / (w**2 * b**2).sum(0))
    levels = calibration(frames).mean_counts.astype(float)
    (h, wide), (rows, columns) = size.padded, size.cropped
    keep = np.concatenate([np.arange((rows + 1) // 2), np.arange(h - rows // 2, h)])
    out = {}
    for name, part in parts.items():
        total = np.tensordot(part, w * b * spectra, 1) * factor
        image = np.fft.irfft2(total[keep, : columns // 2 + 1], s=(rows, columns)) * rows * columns / (h * wide)
        top, left = MARGIN_PX * rows // h, MARGIN_PX * columns // wide
        out[name] = image[top : top + size.output[0], left : left + size.output[1]] + part @ levels
    return out
