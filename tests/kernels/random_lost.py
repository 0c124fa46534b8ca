"""Input of `pattern_bias`: what of a specimen went with a pattern."""

import numpy as np


def random_lost(rng, p, t, rings):
    across = rng.normal(size=(2, 7))
    strength, power = rng.uniform(0, 1 / np.sqrt(t), (t, rings)), rng.uniform(0, 100, (p, rings))
    return rng.normal(0, 8, (p, t, 2)), across / np.hypot(*across), strength, power, 0.8 / t, 96
