"""What a model.py sets for all of torch, such as its default dtype, is put back when fedkit has called it.

An import would leave such settings behind. Here several models, the lessons' own cells and other people's code share one
process: nobody's model may decide with which dtype, in how many threads or with which gradients the next one calculates.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = ["surroundings_kept"]


class _Setting(NamedTuple):
    """read() gives what `write` takes."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _flushes() -> bool:
    """Does this thread round the smallest numbers to 0? torch has no question for it."""
    return not bool(torch.tensor(5e-324, dtype=torch.float64).mul(1.0))


def _deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _attribute(owner: Any, name: str) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _autocast(place: str) -> list[_Setting]:
    """Does torch calculate there with fewer bits by itself, and with which?"""
    return [
        _Setting(
            lambda: torch.is_autocast_enabled(place),
            lambda value: torch.set_autocast_enabled(place, value),
        ),
        _Setting(
            lambda: torch.get_autocast_dtype(place),
            lambda value: torch.set_autocast_dtype(place, value),
        ),
    ]


def _contents(kept: dict[Any, Any]) -> _Setting:
    """What stands in a dict that torch holds on to, such as the hooks of all modules."""

    def write(value: dict[Any, Any]) -> None:
        kept.clear()
        kept.update(value)

    return _Setting(lambda: dict(kept), write)


_OF_THE_THREAD = (
    _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    _Setting(torch.get_num_threads, torch.set_num_threads),
    _Setting(
        torch.get_default_device,
        lambda place: torch.set_default_device(None if place.type == "cpu" else place),
    ),
    _Setting(_flushes, torch.set_flush_denormal),
    *_autocast("cpu"),
    *_autocast("cuda"),
)
_OF_THE_PROCESS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype),
    _Setting(
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        _deterministic,
    ),
    _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _attribute(torch.backends.cudnn, "deterministic"),
    _attribute(torch.backends.cudnn, "benchmark"),
    _attribute(torch.backends.cudnn, "enabled"),
    _contents(vars(torch._tensor_str.PRINT_OPTS)),
    *(
        _contents(hooks)
        for name, hooks in vars(nn.modules.module).items()
        if name.startswith("_global_") and isinstance(hooks, dict)
    ),
)

_lock = threading.Lock()
_inside = Counter[int]()
"""How many blocks each thread is in."""
_found: list[Any] = []
"""What the whole process had when the first of them began."""


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """torch's settings (default dtype and device, threads, gradients, determinism, automatic precision, how tensors are
    printed, hooks of all modules) are after the block what they were.

    Where other threads are in such a block too, what the whole process shares is put back by the last that leaves: a
    setting that one thread's model made is never taken for what was there before.
    """
    me = threading.get_ident()
    mine = [setting.read() for setting in _OF_THE_THREAD]
    with _lock:
        if not _inside:
            _found[:] = [setting.read() for setting in _OF_THE_PROCESS]
        alone = set(_inside) <= {me}
        ours = [setting.read() for setting in _OF_THE_PROCESS] if alone else list(_found)
        _inside[me] += 1
    try:
        yield
    finally:
        with _lock:
            _inside[me] -= 1
            if not _inside[me]:
                del _inside[me]
            if set(_inside) <= {me}:
                _put_back(_OF_THE_PROCESS, ours)
        _put_back(_OF_THE_THREAD, mine)


def _put_back(settings: tuple[_Setting, ...], values: Sequence[Any]) -> None:
    for setting, value in zip(settings, values, strict=True):
        if setting.read() != value:
            setting.write(value)
