"""A loop that was compiled a moment ago gives the same bytes as one that comes from the cache: Numba may fuse products
and sums in one and not in the other where `fastmath` lets it.
"""

import os
import subprocess
import sys

LOOPS = """
import hashlib
import numpy as np
from restframe.kernels.cpu import Cpu

cpu = Cpu(2)

rng = np.random.default_rng(0)
p, t, m = 3, 6, 25
re, im = rng.normal(0, 256, (2, p, t, 2 * m + 1, m + 1)).astype(np.int16)
steps, spread = rng.normal(0, 0.1, (p, t, 2)), rng.uniform(0, 0.002, (p, t))
phases = steps.astype(np.float32), spread.astype(np.float32)
out = list(cpu.align_spectra(re, im, *phases))
out.append(cpu.shift_gradient(re, im, *phases, *out[:2]))
total, spectrum, grid = (rng.normal(size=s + (2,)).astype(np.float32).view(np.complex64)[..., 0]
                         for s in ((45, 27), (45, 27), (9, 5)))
cpu.add_weighted_spectrum(total, spectrum, rng.random(40).astype(np.float32), np.array([0.7, 0.9]))
cpu.multiply_interpolated(total, grid)
out.append(total)
print(*(hashlib.md5(np.ascontiguousarray(a).tobytes()).hexdigest() for a in out))
"""


def test_same_bytes(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        return subprocess.run(
            [sys.executable, "-c", LOOPS], env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout

    first = run()
    assert len(first.split()) == 5
    assert run() == first
