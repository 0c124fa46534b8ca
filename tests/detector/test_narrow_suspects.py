"""What narrow suspects show in single frames."""

import numpy as np

from restframe.detector.narrow_suspects import largest_counts


def test_the_largest_counts_are_not_those_of_a_cosmic_ray():
    generator = np.random.default_rng(1)
    region = generator.integers(0, 5, 40)
    counts = generator.uniform(0, 50, (7, 40)).astype(np.float32)
    expected = [np.median([frame[region == number].max() for frame in counts]) for number in range(5)]
    np.testing.assert_array_equal(largest_counts(counts, region, 5), np.float32(expected))
    counts[3] += 1000
    assert largest_counts(counts, region, 5).max() < 60
    assert largest_counts(np.zeros((7, 0), np.float32), np.zeros(0, int), 0).shape == (0,)
