"""Raw counts to corrected ones, a row at a time, so that they stay in the cache."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, nogil=True, error_model="numpy")
def corrected_span(frame, y, calibration, i, left, out):
    """Columns left ... left + len(out) of row y of the corrected frame; either may lie off the frame."""
    gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns = calibration
    h, w = frame.shape
    level = levels[i]
    n = len(out)
    a = min(max(0, -left), n)
    b = max(min(n, w - left), a)
    if y < 0 or y >= h:
        edge = edge_rows[0 if y < 0 else 1]
        for x in range(n):
            out[x] = level * edge[min(max(left + x, 0), w - 1)]
        return
    raw = frame[y, left + a : left + b]
    g = gain[y, left + a : left + b]
    o = out[a:b]
    limit = limits[i] - level
    if dark.size > 1:
        d = dark[y, left + a : left + b]
        for x in range(b - a):
            v = (np.float32(raw[x]) - d[x]) * g[x] - level
            o[x] = v if v < limit else np.float32(0)
    else:
        for x in range(b - a):
            v = np.float32(raw[x]) * g[x] - level
            o[x] = v if v < limit else np.float32(0)
    for j in range(first[y], first[y + 1]):
        x = columns[j] - left
        if 0 <= x < n:
            out[x] = level * values[j]
    for x in range(a):
        out[x] = level * edge_columns[0, y]
    for x in range(b, n):
        out[x] = level * edge_columns[1, y]
