"""Whole movies on the GPU and on the CPU, with all options that need further kernels: the same images."""

import numpy as np
import pytest
from scipy import ndimage
from with_gpu import require_gpu

import restframe
from restframe.movie.events import CODINGS
from restframe.simulate.eer import encode, write_eer

require_gpu()

BASIC = {"patches": (3, 3), "pixel_size": 1.1, "frame_dose": 1.2}
FIELD_APART = 0.1  # of the error that the fit states
EVERY = ("sum", "dose_weighted", "dose_weighted_range", "odd", "even", "global_sum")
CASES = {
    "plain": ((12, 700, 810), {}),
    "odd size": ((9, 523, 601), {}),
    "split": ((12, 512, 640), {"split": True, "global_sum": True}),
    "binned": ((12, 700, 810), {"bin": 2.0}),
    "binned by 1.37": ((12, 640, 700), {"bin": 1.37}),
    "magnified": ((12, 640, 700), {"magnification": (1.01, 0.99, 33.0)}),
    "cropped": ((12, 640, 700), {"crop": (500, 403)}),
    "blur": ((12, 512, 640), {"intraframe_motion": True}),
    "whole frames": ((12, 512, 640), {"patches": (1, 1)}),
    "grouped": ((18, 512, 640), {"group": (2, 3)}),
    "other weights": ((12, 512, 640), {"weights": "bfactor", "phase_only": True}),
    "small frames": ((8, 3100, 3200), {}),
}


def moving(shape, seed=1, rate=1.2):
    """Counts (t, h, w) uint8, and the gain that corrects them."""
    rng = np.random.default_rng(seed)
    t, h, w = shape
    image = ndimage.gaussian_filter(rng.normal(size=(h + 40, w + 40)).astype(np.float32), 3)
    image = 1 + 0.15 * image / image.std()
    gain = (1 + 0.05 * rng.normal(size=(h, w))).clip(0.5, 2).astype(np.float32)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.empty(shape, np.uint8)
    for i in range(t):
        done = 1 - np.exp(-i / 5)
        at = y + 20 + done * (5 + 2 * x / w), x + 20 - done * (7 - 3 * y / h)
        seen = ndimage.map_coordinates(image, at, order=1)
        out[i] = rng.poisson(np.maximum(seen, 0.05) * rate / gain)
    out[:, 5, 7], out[3, 90, 80] = 60, 250
    return out, gain


def apart(a, b):
    """Rms of the difference, of the standard deviation."""
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)) / b.std())


def both(movie, **choices):
    """On the GPU; on the CPU; on the GPU with the CPU's field."""
    cpu = restframe.correct(movie, **choices)
    gpu = restframe.correct(movie, gpus=(0,), **choices)
    again = restframe.correct(movie, gpus=(0,), **choices)
    same = restframe.correct(movie, gpus=(0,), field=cpu.field, **choices)
    for name in EVERY:
        if getattr(gpu, name) is not None:
            assert getattr(gpu, name).tobytes() == getattr(again, name).tobytes()
    return gpu, cpu, same


def compare(label, movie, **choices):
    gpu, cpu, same = both(movie, **choices)
    h, w = cpu.field.shape
    y, x = np.mgrid[0:h:40, 0:w:40]
    field = np.sqrt(((gpu.field(x, y) - cpu.field(x, y)) ** 2).sum(-1).mean())
    numbers = {
        name: (apart(getattr(gpu, name), image), apart(getattr(same, name), image))
        for name in EVERY
        if (image := getattr(cpu, name)) is not None
    }
    print(f"{label}: fields {field:.1e} px apart;", {n: f"{a:.1e} {b:.1e}" for n, (a, b) in numbers.items()})
    assert np.array_equal(gpu.bad_pixels, cpu.bad_pixels)
    assert max(given for _, given in numbers.values()) <= 1e-4
    # that the fit comes out the same is more than 16 bits of a spectrum, and 8 of a small frame, allow: 1e-4 of counts
    # can move it by a part of what it may be wrong by, or let the fit end a round earlier (`fit.SETTLED`)
    assert field <= FIELD_APART * cpu.numbers["error_px"]


@pytest.mark.parametrize("label", CASES)
def test_gpu_and_cpu_agree(label):
    shape, choices = CASES[label]
    counts, gain = moving(shape)
    compare(label, counts, gain=gain, **(BASIC | choices))


def test_a_pattern_is_taken_off():
    counts, _ = moving((16, 640, 700))
    compare("pattern", counts, **BASIC)  # without its gain


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_other_counts(dtype):
    counts, gain = moving((12, 512, 640))
    dark = np.random.default_rng(3).normal(0, 0.05, gain.shape).astype(np.float32)
    compare(np.dtype(dtype).name, counts.astype(dtype), gain=gain, dark=dark, **BASIC)


def test_stack():
    counts, gain = moving((9, 400, 444))
    made = {}

    def take(where):
        return lambda images: made.__setitem__(where, [image.copy() for image in images])

    cpu = restframe.correct(counts, gain=gain, stack=take("cpu"), stack_group=2, **BASIC)
    restframe.correct(counts, gain=gain, gpus=(0,), field=cpu.field, stack=take("gpu"), stack_group=2, **BASIC)
    assert len(made["cpu"]) == len(made["gpu"]) == 5
    numbers = [apart(a, b) for a, b in zip(made["gpu"], made["cpu"], strict=True)]
    print("stack:", [f"{n:.1e}" for n in numbers])
    assert max(numbers) <= 1e-4


@pytest.mark.parametrize("sampling", [1, 2])
def test_eer(tmp_path, sampling):
    side, frames, rng = 256, 60, np.random.default_rng(9)
    image = ndimage.gaussian_filter(rng.normal(size=(side, side)), 3)
    image = 0.1 * np.maximum(1 + 0.4 * image / image.std(), 0.1)

    def one(i):
        pixel = np.flatnonzero(rng.random(side * side) < np.roll(image, (i // 9, -i // 7), (0, 1)).ravel())
        x, y = rng.integers(0, 4, (2, len(pixel)))
        return encode(pixel, x, y, side * side, CODINGS[65001])

    path = tmp_path / "m.eer"
    write_eer(path, (side, side), (one(i) for i in range(frames)), 65001)
    rows = (restframe.settings.Row(frames, 5, 0.4),)
    compare(f"eer {sampling}", path, integration=rows, eer_sampling=sampling, pixel_size=1.0, patches=(2, 2))
