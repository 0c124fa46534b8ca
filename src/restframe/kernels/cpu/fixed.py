"""What is fixed on the detector, taken off the spectra of tiles, and the specimen that goes with it."""

from __future__ import annotations

import numba as nb
import numpy as np

from restframe.kernels.cpu.spectra import _step, _store


@nb.njit(cache=True, parallel=True, nogil=True)
def _take_off(re, im, turns, part):
    p, t, ny, nx = re.shape
    step = _step(re)
    for i in nb.prange(p):
        real, imaginary = np.empty(nx, np.float32), np.empty(nx, np.float32)
        for y in range(ny):
            shared = np.zeros(nx, np.complex64)
            for f in range(t):
                for x in range(nx):
                    seen = np.complex64(complex(step * np.float32(re[i, f, y, x]), step * np.float32(im[i, f, y, x])))
                    shared[x] += seen * turns[f, y, x]
            for f in range(t):
                for x in range(nx):
                    fixed = part * np.conj(turns[f, y, x]) * shared[x]
                    real[x] = step * np.float32(re[i, f, y, x]) - fixed.real
                    imaginary[x] = step * np.float32(im[i, f, y, x]) - fixed.imag
                _store(real, re[i, f, y])
                _store(imaginary, im[i, f, y])


def subtract_fixed_pattern(re, im, turns, part) -> None:
    """Spectra of every tile less ``part`` of what they share once turned, in place."""
    _take_off(re, im, turns, np.float32(part))


@nb.njit(cache=True, nogil=True, fastmath=True)
def _turn(real, imaginary, turn_re, turn_im, strength, out_re, out_im):
    """Waves (t, directions) of the next ring, and their sums over frames, each with its ``strength`` (t,)."""
    out_re[:] = 0
    out_im[:] = 0
    for f in range(len(real)):
        for d in range(real.shape[1]):
            a = real[f, d] * turn_re[f, d] - imaginary[f, d] * turn_im[f, d]
            b = real[f, d] * turn_im[f, d] + imaginary[f, d] * turn_re[f, d]
            real[f, d] = a
            imaginary[f, d] = b
            out_re[d] += strength[f] * a
            out_im[d] += strength[f] * b


@nb.njit(cache=True, nogil=True, fastmath=True)
def _add_slopes(real, imaginary, pull_re, pull_im, strength, out):
    for f in range(len(real)):
        for d in range(real.shape[1]):
            out[f, d] += strength[f] * (real[f, d] * pull_im[d] + imaginary[f, d] * pull_re[d])


@nb.njit(cache=True, parallel=True, nogil=True)
def _put_back(turn_re, turn_im, strength, power, part, slopes, value, out):
    p, rings = power.shape
    directions = turn_re.shape[2]
    for i in nb.prange(p):
        real, imaginary = turn_re[i].copy(), -turn_im[i]  # of ring -1
        v_re = np.empty(directions, np.float32)
        v_im = np.empty(directions, np.float32)
        for r in range(rings):
            _turn(real, imaginary, turn_re[i], turn_im[i], strength[r], v_re, v_im)
            for d in range(directions):
                left = 1 - part * (v_re[d] ** 2 + v_im[d] ** 2)
                value[i] -= power[i, r] * np.log(left)
                by = 2 * part * r * power[i, r] / left
                v_re[d] *= by
                v_im[d] *= -by
            if slopes:
                _add_slopes(real, imaginary, v_re, v_im, strength[r], out[i])


def pattern_bias(displacement, across, strength, power, part, size, slopes=True):
    """As in reference.py."""
    turn = np.exp(-2j * np.pi / size * displacement @ across).astype(np.complex64)
    value, out = np.zeros(len(turn)), np.zeros(turn.shape, np.float32)
    ring_sums = np.ascontiguousarray(strength.T, np.float32)
    _put_back(turn.real.copy(), turn.imag.copy(), ring_sums, power, np.float32(part), slopes, value, out)
    return float(value.sum()), 2 * np.pi / size * out @ across.T
