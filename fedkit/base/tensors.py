"""Bytes and tensors: what `torch.save` wrote becomes tensors again, and nothing in it ever runs.

A pickle can run anything while it loads. torch's `weights_only=True` builds tensors, numbers and containers alone; what
a compressed file unpacks to is counted first. torch is imported by what needs it: whoever only looks starts without it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.errors import Unreadable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_STATE_BYTES", "load_state", "load_tensors", "state_bytes"]


MAX_STATE_BYTES = 2**30


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict in the form that `torch.save` gives it; equal tensors give equal bytes."""
    import torch

    buffer = io.BytesIO()
    torch.save({name: value.detach().clone() for name, value in state.items()}, buffer)
    return buffer.getvalue()


def load_state(data: bytes, path: Path, *, max_bytes: int = MAX_STATE_BYTES) -> dict[str, Tensor]:
    """A state dict (name -> tensor) from bytes that were read from `path`. Raises Unreadable as `load_tensors` does."""
    from torch import Tensor

    value = load_tensors(data, path, max_bytes)
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()
    ):
        raise Unreadable(
            f"holds a {type(value).__name__}, not a state dict (name -> tensor)",
            file=path,
            remedy="save it with torch.save(model.state_dict(), path)",
        )
    return dict(value)


def load_tensors(data: bytes, path: Path, max_bytes: int) -> Any:
    """What `torch.save` wrote, as long as it is made of tensors, numbers, texts and containers of them.

    Raises Unreadable, naming `path`, if it is anything else, holds code, or unpacks to more than `max_bytes` bytes.
    """
    import torch

    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            unpacked = sum(item.file_size for item in zipfile.ZipFile(io.BytesIO(data)).infolist())
            if unpacked > max_bytes:
                raise ValueError(f"it unpacks to {unpacked:,} bytes, more than {max_bytes:,}")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for bad bytes
        text = str(error)
        refused = "weights_only" in text  # by torch's unpickler: code, or no pickle at all
        if refused and (data[:1] == b"\x80" or "Unsupported operand" not in text):
            raise Unreadable(
                "holds more than tensors; nothing in it was run",
                file=path,
                remedy="save tensors only, with torch.save(model.state_dict(), path)",
            ) from error
        why = "torch.save did not write it" if refused or not text else text.splitlines()[0][:160]
        raise Unreadable(
            "can't be read as tensors",
            file=path,
            why=f"{type(error).__name__}: {why}",
            remedy="it may be truncated: copy it again",
        ) from error
