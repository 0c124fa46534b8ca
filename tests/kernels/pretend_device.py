"""A device without a GPU: its arrays refuse what CuPy's refuse, and the CPU's kernels compute on them.

Nothing tells host arrays and device arrays apart where both are NumPy's. Here a host array that meets a device array
raises TypeError, as CuPy does, and so does a device array that would be copied to the host without being asked for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.kernels.cpu import Cpu
from restframe.kernels.interface import Kernels, Resampling

ATTRIBUTES = ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")


class DeviceArray:
    """An array that pretends to lie on a device."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, *_: Any, **__: Any) -> None:
        raise TypeError("a device array is copied to the host without being asked for")

    def get(self) -> np.ndarray:
        """A copy on the host, as CuPy's method of this name."""
        return self.values.copy()

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return Namespace()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        return on_device(getattr(ufunc, method))(*inputs, **keywords)

    def __array_function__(self, function: Callable[..., Any], _: Any, arguments: Any, keywords: Any) -> Any:
        return on_device(function)(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self.values, name)
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self.values, name)
        return on_device(attribute) if callable(attribute) else wrapped(attribute)

    def __getitem__(self, index: Any) -> DeviceArray:
        return DeviceArray(np.asarray(self.values[unwrapped_index(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.values[unwrapped_index(index)] = unwrapped(value)

    def __len__(self) -> int:
        return len(self.values)

    def __float__(self) -> float:
        return float(self.values)

    def __int__(self) -> int:
        return int(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __neg__(self) -> DeviceArray:
        return DeviceArray(-self.values)

    def __invert__(self) -> DeviceArray:
        return DeviceArray(~self.values)

    def __abs__(self) -> DeviceArray:
        return DeviceArray(abs(self.values))


def _add_operators() -> None:
    for name in (*OPERATORS, *COMPARISONS):
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(DeviceArray, f"__{name}__", lambda one, other, act=function: on_device(act)(one, other))
        if name in OPERATORS:
            setattr(DeviceArray, f"__r{name}__", lambda one, other, act=function: on_device(act)(other, one))

            def in_place(one: DeviceArray, other: Any, act: Callable[..., Any] = function) -> DeviceArray:
                one.values[...] = act(one.values, unwrapped(other)).astype(one.dtype, copy=False)
                return one

            setattr(DeviceArray, f"__i{name}__", in_place)


_add_operators()


class Namespace:
    """NumPy's functions for device arrays, as array-api-compat would give CuPy's."""

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(np, name)
        if isinstance(attribute, type) or not callable(attribute):
            return attribute
        return on_device(attribute)

    def asarray(self, values: Any, dtype: Any = None) -> DeviceArray:
        """Copies from the host, as CuPy's does."""
        return DeviceArray(np.asarray(values.values if isinstance(values, DeviceArray) else values, dtype))


def unwrapped(value: Any) -> Any:
    """The values of device arrays. Raises TypeError for host arrays."""
    if isinstance(value, DeviceArray):
        return value.values
    if isinstance(value, np.ndarray):
        raise TypeError(f"a host array {value.shape} meets a device array")
    if isinstance(value, tuple | list):
        return type(value)(unwrapped(one) for one in value)
    return value


def unwrapped_index(index: Any) -> Any:
    """CuPy copies host arrays that are indices to the device."""
    if isinstance(index, tuple):
        return tuple(one.values if isinstance(one, DeviceArray) else one for one in index)
    return index.values if isinstance(index, DeviceArray) else index


def wrapped(value: Any) -> Any:
    """Arrays and the scalars that CuPy returns as arrays without dimensions."""
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(wrapped(one) for one in value)
    if isinstance(value, list):
        return [wrapped(one) for one in value]
    return value


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for device arrays, and only for these."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        plain = {name: unwrapped(value) for name, value in keywords.items()}
        return wrapped(function(*(unwrapped(one) for one in arguments), **plain))

    return call


def argument(value: Any, annotation: str, place: str) -> Any:
    """What the CPU's kernels take for ``value``. Raises TypeError where it does not lie where the interface says."""
    if annotation == "Calibration":
        return Calibration(
            *(
                argument(one, Calibration.__annotations__[name], f"{place}.{name}")
                for name, one in value._asdict().items()
            )
        )
    if annotation == "Resampling":
        fields = vars(value).items()
        return Resampling(
            **{name: argument(one, Resampling.__annotations__[name], f"{place}.{name}") for name, one in fields}
        )
    text = getattr(annotation, "__forward_arg__", annotation)
    if text == "Array":
        if not isinstance(value, DeviceArray):
            raise TypeError(f"{place} must lie on the device, not {type(value).__name__}")
        return value.values
    if isinstance(value, DeviceArray):
        raise TypeError(f"{place} must be {text}, it lies on the device")
    return value


def outcome(value: Any, annotation: str) -> Any:
    """What a kernel returns, on the device where the interface says so."""
    if annotation.startswith("tuple["):
        kinds = annotation[len("tuple[") : -1].split(", ")
        return tuple(outcome(one, kind) for one, kind in zip(value, kinds, strict=True))
    return DeviceArray(value) if annotation == "Array" else value


def pretend_device(threads: int = 2) -> Any:
    """Kernels for `DeviceArray`."""
    cpu = Cpu(threads)
    device = SimpleNamespace(
        **{name: getattr(cpu, name) for name in ("frames_per_block", "compiling_notice", "active", "is_compiled")},
        is_out_of_memory=cpu.is_out_of_memory,
        device_frames=cpu.device_frames,
        parallel_map=lambda work, items: [work(item) for item in items],
        to_device=lambda array: array if isinstance(array, DeviceArray) else DeviceArray(np.array(array)),
        to_host=lambda array: array.get() if isinstance(array, DeviceArray) else array,
        calls=set(),
    )
    device.single_threaded = lambda: device
    for name, method in vars(Kernels).items():
        if not hasattr(device, name) and callable(method) and not name.startswith("_"):
            setattr(device, name, _checked(device.calls, name, method, getattr(cpu, name)))
    return device


def _checked(calls: set[str], name: str, method: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    kinds = dict(method.__annotations__)
    result_kind = kinds.pop("return")
    names = list(kinds)

    def call(*arguments: Any, **keywords: Any) -> Any:
        calls.add(name)
        given = dict(zip(names, arguments, strict=False)) | keywords
        plain = {key: argument(value, kinds[key], f"{name}({key})") for key, value in given.items()}
        return outcome(function(**plain), result_kind)

    return call
