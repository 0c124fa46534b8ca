"""Names for the kinds of arrays in annotations. Shapes and units stand in the docstrings.

`numpy.typing.NDArray` is not used: from NumPy 2.5 on it is no class, and settings are checked by their annotations.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # on the host, any type of numbers
FloatArray: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
ComplexArray: TypeAlias = np.ndarray[Any, np.dtype[np.complexfloating[Any, Any]]]
IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
BoolArray: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

Array: TypeAlias = Any
"""An array where the kernels work: NumPy on the CPU, CuPy on a GPU. CuPy has no complete annotations, so a type checker
takes it for anything."""
