"""Names for the kinds of arrays in annotations. Shapes and units stand in the docstrings."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

AnyArray: TypeAlias = NDArray[Any]  # on the host, any type of numbers
FloatArray: TypeAlias = NDArray[np.floating[Any]]
ComplexArray: TypeAlias = NDArray[np.complexfloating[Any, Any]]
IntArray: TypeAlias = NDArray[np.integer[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]

Array: TypeAlias = Any
"""An array where the kernels work: NumPy on the CPU, CuPy on a GPU. CuPy has no complete annotations, so a type checker
takes it for anything."""
