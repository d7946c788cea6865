"""The limit of any engine on torch: the kernels of training alone, called again with the tensors of a real epoch.

What a step of training calls below autograd is written down (torch's dispatcher tells it), views and single numbers left
out; played again, there is no autograd, no module, no loader and no optimiser, and each kernel costs one call from Python.
The products alone (convolutions, matrix products, recurrent layers, and their gradients) are what is left where everything
else were free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["PRODUCTS", "played", "written_down"]

PRODUCTS = (
    "convolution",
    "convolution_backward",
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "baddbmm_",
    "mkldnn_rnn_layer",
    "mkldnn_rnn_layer_backward",
)
_NO_ARITHMETIC = ("_local_scalar_dense", "detach", "empty", "randperm", "lift_fresh")

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Calls(TorchDispatchMode):
    """All kernels that this thread calls, with what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Call]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and name not in _NO_ARITHMETIC:
            self.calls.append((name, (func, args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def written_down(work: Callable[[], object]) -> tuple[list[Call], list[Call]]:
    """(all kernels, the products alone) that a call of `work` runs in this thread."""
    with _Calls() as told:
        work()
    products = [call for name, call in told.calls if name in PRODUCTS]
    return [call for _, call in told.calls], products


@torch.no_grad()
def played(calls: Sequence[Call], times: int) -> None:
    """Each of these calls again, in their order, so many times."""
    for _ in range(times):
        for func, args, kwargs in calls:
            func(*args, **kwargs)
