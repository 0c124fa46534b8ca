"""The type of single numbers in compiled loops."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Real: TypeAlias = float | np.floating[Any]
