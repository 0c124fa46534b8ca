"""Windows without a taper."""

import numpy as np

from restframe.track.windows import Windows


def plain_windows(size: int, p: int) -> Windows:
    """Windows of ``p`` tiles that are the same everywhere; the sum of squares is one."""
    return Windows(np.ones(size), np.full((p, 2, 2), 1 / size))
