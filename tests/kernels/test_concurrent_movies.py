"""How many movies of a batch share a GPU. This needs no GPU."""

import numpy as np
import pytest

from restframe.kernels.cuda import device_frames
from restframe.movie import RawFrames, open_movie

K3, K2, EER = (40, 4092, 5760), (24, 3710, 3838), (40, 4096, 4096)


@pytest.mark.parametrize(
    ("shape", "gpu", "expected"),
    [
        (K3, 80e9, 5),
        (EER, 80e9, 5),
        (K2, 80e9, 3),  # a fourth would take more of the host's memory than small movies may
        (K2, 8e9, 2),
        (K3, 8e9, 1),
        (K3, 1e9, 1),  # frames do not stay on the GPU
    ],
)
def test_concurrent_movies(monkeypatch, shape, gpu, expected):
    monkeypatch.setattr(device_frames, "free_memory", lambda: int(gpu))
    raw = device_frames.DeviceFrames(RawFrames(open_movie(np.zeros(shape, np.uint8))), 0.5)
    assert raw.concurrent_movies == expected
    process_memory = device_frames.host_memory_of_process(shape[1] * shape[2])
    assert expected * process_memory <= device_frames.host_memory_of_batch(int(np.prod(shape)))
