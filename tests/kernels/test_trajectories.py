"""The evidence for a prior's scales, against the readable kernels."""

import numpy as np
import pytest
from random_data import random_trajectories


@pytest.mark.parametrize(("size", "uncoupled"), [(5, 0), (39, 12), (50, 50), (72, 3), (73, 0), (210, 20)])
def test_evidence_of_trajectories(kernels, reference, size, uncoupled):
    information, linear, prior = random_trajectories(np.random.default_rng(size), size, uncoupled)
    slow = reference.log_evidence(information, linear, prior, 1e-3)
    found = kernels.log_evidence(*kernels.trajectories_to_device(information, linear), prior, 1e-3)
    for fast, exact in zip(found, slow, strict=True):
        np.testing.assert_allclose(fast, exact, rtol=1e-8, atol=1e-8 * np.abs(exact).max())
    negative = kernels.trajectories_to_device(information - 1e4 * np.eye(size), linear)
    with pytest.raises(np.linalg.LinAlgError):
        kernels.log_evidence(*negative, prior, -1.0)
