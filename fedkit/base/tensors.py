"""Bytes and tensors: what `torch.save` wrote becomes tensors again, and nothing in it ever runs.

A pickle can run anything while it loads. `tensor_files` reads the bytes first, without torch and without building
anything: only a file that accounts for its every byte, and describes plain tensors alone, is given to torch, with
`weights_only=True`. torch is imported by what needs it: whoever only looks starts without it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.tensor_files import (
    MAX_STATE_BYTES,
    Form,
    broken,
    inspect_pair,
    inspect_state,
    not_plain,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_STATE_BYTES", "inspect_state", "load_pair", "load_state", "state_bytes"]


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict in the form that `torch.save` gives it; equal tensors give equal bytes."""
    import torch

    buffer = io.BytesIO()
    torch.save({name: value.detach().clone() for name, value in state.items()}, buffer)
    return buffer.getvalue()


def load_state(data: bytes, path: Path, *, max_bytes: int = MAX_STATE_BYTES) -> dict[str, Tensor]:
    """A state dict (name -> tensor) from bytes that were read from `path`; parameters come without their gradients' tape.

    Raises Unreadable, naming `path`, if it is anything else, holds code, or unpacks to more than `max_bytes` bytes.
    """
    told = inspect_state(data, path, max_bytes=max_bytes)
    state = _load(data, path)
    if list(state) != list(told):
        raise broken(path, _OTHERWISE)
    return {name: _plain(state[name], told[name], name, path) for name in told}


def load_pair(data: bytes, path: Path, *, max_bytes: int) -> tuple[Tensor, Tensor]:
    """A dataset's (images, labels) from bytes that were read from `path`. Raises Unreadable as `load_state` does."""
    told = inspect_pair(data, path, max_bytes=max_bytes)
    images, labels = _load(data, path)
    return _plain(images, told[0], "images", path), _plain(labels, told[1], "labels", path)


_OTHERWISE = "RuntimeError: torch finds something else in it than what it says it holds"


def _load(data: bytes, path: Path) -> Any:
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for bad bytes
        why = (str(error).splitlines() or ["torch.save did not write it"])[0][:160]
        raise broken(path, f"{type(error).__name__}: {why}") from error


def _plain(value: Any, told: Form, name: str, path: Path) -> Tensor:
    """The tensor itself, if it is numbers in memory and nothing more, as the file says. Raises Unreadable."""
    import torch

    # a name in its own __dict__ would answer in place of every question below
    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.__dict__:
        raise not_plain(name, path)
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise not_plain(name, path)
    if value.is_nested or value.is_conj() or value.is_neg() or value.grad_fn is not None:
        raise not_plain(name, path)
    if (str(value.dtype).removeprefix("torch."), tuple(value.shape)) != told:
        raise broken(path, _OTHERWISE)
    return value.detach() if value.requires_grad or type(value) is not torch.Tensor else value
