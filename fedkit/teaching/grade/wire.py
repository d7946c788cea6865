"""Values between a learner's process and the judge: plain data, tensors and arrays, never code.

A frame is two lengths, a JSON text, and the bytes of tensors and arrays that it speaks of. What has no such form crosses
as the name of its type. (The judge's own messages are pickles: the learner's process may trust it, not the other way.)
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["Cut", "Strange", "changeable", "pack", "read_frame", "unpack", "write_frame"]


MAX_FRAME = 64 * 2**20
_DEEPEST = 20
_HEAD = struct.Struct(">II")
_KINDS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Cut(Exception):
    """The other process did not answer in time, ended, or sent what is no frame; the text says which."""


class Strange:
    """What stands in for an object that does not cross: its type has the same name."""


# -------------------------------------------------------------------------------------------- frames
def write_frame(number: int, value: object, blob: bytes = b"") -> None:
    """Write one frame to an open file descriptor."""
    text = json.dumps(value).encode()
    data = _HEAD.pack(len(text), len(blob)) + text + blob
    view = memoryview(data)
    while view:
        view = view[os.write(number, view) :]


def read_frame(number: int, seconds: float | None = None) -> tuple[Any, bytes]:
    """Read one frame. Raises Cut where it is too long, broken, or not whole within `seconds`."""
    until = None if seconds is None else time.monotonic() + seconds
    text, blob = _HEAD.unpack(_exactly(number, _HEAD.size, until))
    if text + blob > MAX_FRAME:
        raise Cut(f"its answer has more than {MAX_FRAME // 2**20} MB")
    data = _exactly(number, text + blob, until)
    try:
        return json.loads(data[:text]), data[text:]
    except (ValueError, RecursionError) as error:
        raise Cut("its answer can't be read") from error


def _exactly(number: int, count: int, until: float | None) -> bytes:
    parts = []
    while count:
        left = None if until is None else until - time.monotonic()
        if left is not None and (left <= 0 or not select.select([number], [], [], left)[0]):
            raise Cut("time")
        part = os.read(number, min(count, 2**20))
        if not part:
            raise Cut("ended")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


# -------------------------------------------------------------------------------------------- values
def pack(value: object, blob: bytearray, function: Callable[[Any], Any], depth: int = 0) -> Any:
    """A value as JSON; bytes of tensors and arrays are added to `blob`. function : what a function is written as."""
    import numpy as np
    import torch

    if depth > _DEEPEST:
        return ["strange", "deep nesting"]

    def inner(part: object) -> Any:
        return pack(part, blob, function, depth + 1)

    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return ["=", value]
    if value is ... or value is NotImplemented:
        return ["..."]
    if kind.__name__ in _KINDS and kind is _KINDS[kind.__name__]:
        return [kind.__name__, [inner(part) for part in value]]  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return ["dict", [[inner(key), inner(part)] for key, part in value.items()]]
    if isinstance(value, bytes | bytearray):
        return ["bytes", *_put(bytes(value), blob)]
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        plain = value.detach().cpu().contiguous()
        raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        dtype = str(plain.dtype).removeprefix("torch.")
        return ["tensor", dtype, list(plain.shape), *_put(raw, blob)]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        array = np.ascontiguousarray(value)
        shape = list(np.shape(value))
        return [
            "array",
            array.dtype.str,
            shape,
            *_put(array.tobytes(), blob),
            isinstance(value, np.generic),
        ]
    if callable(value) and hasattr(value, "__code__"):
        return function(value)
    if kind.__name__ in ("FLConfig", "Task") and kind.__module__.startswith("fedkit.config."):
        return [kind.__name__, inner(value.model_dump(mode="json", exclude_unset=True))]  # type: ignore[attr-defined]
    if kind.__name__ == "Series" and hasattr(value, "to_dict"):
        return ["dict", [[inner(key), inner(part)] for key, part in value.to_dict().items()]]
    return ["strange", kind.__name__[:60]]


def unpack(form: Any, blob: bytes, function: Callable[[Any], Any]) -> Any:
    """What was packed. Raises Cut where it is not what `pack` writes."""
    try:
        return _unpack(form, blob, function)
    except Cut:
        raise
    except Exception as error:  # whatever somebody wrote in its place
        raise Cut(f"its answer can't be read ({type(error).__name__})") from error


def _unpack(form: Any, blob: bytes, function: Callable[[Any], Any]) -> Any:
    kind, *rest = form
    if kind == "=":
        if rest[0] is not None and type(rest[0]) not in (bool, int, float, str):
            raise Cut("its answer can't be read")
        return rest[0]
    if kind == "...":
        return ...
    if kind in _KINDS:
        return _KINDS[kind](_unpack(part, blob, function) for part in rest[0])
    if kind == "dict":
        return {_unpack(k, blob, function): _unpack(v, blob, function) for k, v in rest[0]}
    if kind == "bytes":
        return _get(blob, *rest)
    if kind == "tensor":
        return _tensor(blob, *rest)
    if kind == "array":
        return _array(blob, *rest)
    if kind == "function":
        return function(rest)
    if kind == "FLConfig":
        from fedkit.config.fl_config import FLConfig

        return FLConfig.from_dict(_unpack(rest[0], blob, function))
    if kind == "Task":
        from fedkit.config.task import Task

        return Task.model_validate(_unpack(rest[0], blob, function))
    return type(str(rest[0]), (Strange,), {})()


def _put(raw: bytes, blob: bytearray) -> tuple[int, int]:
    start = len(blob)
    blob += raw
    return start, len(raw)


def _get(blob: bytes, start: int, length: int) -> bytes:
    if not 0 <= start <= start + length <= len(blob):
        raise Cut("its answer can't be read")
    return blob[start : start + length]


def _tensor(blob: bytes, dtype: str, shape: list[int], start: int, length: int) -> Any:
    import torch

    kind = getattr(torch, dtype)
    if not isinstance(kind, torch.dtype):
        raise Cut("its answer can't be read")
    raw = bytearray(_get(blob, start, length))
    return (torch.frombuffer(raw, dtype=kind) if raw else torch.empty(0, dtype=kind)).reshape(shape)


def _array(blob: bytes, dtype: str, shape: list[int], start: int, length: int, scalar: bool) -> Any:
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind not in "biufc":
        raise Cut("its answer can't be read")
    array = np.frombuffer(bytearray(_get(blob, start, length)), dtype=kind).reshape(shape)
    return array[()] if scalar else array


# ------------------------------------------------------------------------- what a call may change
def changeable(value: object, depth: int = 0) -> Iterator[Any]:
    """The tensors, arrays and generators in a call's arguments, in an order that is the same on both sides."""
    import numpy as np
    import torch

    if isinstance(value, torch.nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif isinstance(value, torch.Tensor | torch.Generator | np.ndarray):
        yield value
    elif depth < _DEEPEST:
        parts: list[Any] = []
        if isinstance(value, dict):
            parts = list(value.values())
        elif isinstance(value, list | tuple):
            parts = list(value)
        elif is_dataclass(value) and not isinstance(value, type):
            parts = [getattr(value, field.name) for field in fields(value)]
        for part in parts:
            yield from changeable(part, depth + 1)
