"""May one module train one participant after the other, as a fresh one of the same model.py would each time?

Building a module and looking whether it draws random numbers cost a tenth of a round where models are trained one by one.
Both may be done once where every call runs the same operations whatever it is given (`torch.fx` traces no other forward()),
and where a step of training leaves nothing behind but weights and buffers, which the next participant's overwrite.
"""

from __future__ import annotations

import copy
import pickle
import types
import weakref
from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor, fx, nn

from fedkit.config.task import DIGITS, Task
from fedkit.learning.judging import criterion_of
from fedkit.learning.randomness import draws
from fedkit.learning.stacked import is_hooked
from fedkit.learning.training import train

__all__ = ["lasting", "remembered"]


def lasting(
    model: nn.Module,
    state: Mapping[str, Tensor],
    samples: tuple[Tensor, Tensor],
    task: Task = DIGITS,
) -> bool | None:
    """Does the model draw random numbers, at every call? None where it can't be trained again and again as a fresh one.

    Tried with a step of SGD from `state`, on a copy, on the first of the samples: (samples, labels).
    """
    try:
        tried = copy.deepcopy(model).train()
        if is_hooked(model) or not _plain(tried) or not _all_in_state(tried):
            return None
        _Tracer().trace(tried)
        before = _left_behind(tried)
        two = torch.arange(2, device=samples[1].device) % len(samples[1])
        train(
            *(tried, dict(state), (samples[0][two], samples[1][two])),
            epochs=1,
            learning_rate=0.1,
            batch_size=2,
            generator=torch.Generator().manual_seed(0),
            loss_of=criterion_of(task),
        )
        return draws(model, samples[0]) if _left_behind(tried.train()) == before else None
    except Exception:  # it can't be copied, traced or trained: whoever trains it says what is wrong
        return None


class _Tracer(fx.Tracer):
    """Looks into whatever is not torch's own, all through."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Is it torch's, with all that it holds?"""
        return all(_is_torchs(type(part)) and not _borrows(part) for part in m.modules())


def _is_torchs(kind: Any) -> bool:
    return str(getattr(kind, "__module__", "")).split(".")[0] == "torch"


def _borrows(module: nn.Module) -> bool:
    """Does it call a function of somebody else's, such as an encoder layer's activation?"""
    own = vars(module).values()
    return any(isinstance(value, types.FunctionType) and not _is_torchs(value) for value in own)


def _plain(model: nn.Module) -> bool:
    """Is every module called as torch calls modules, with the forward() of its class and its parameters as they stand?"""
    return all(
        type(part).__call__ is nn.Module.__call__
        and "forward" not in vars(part)
        and not nn.utils.parametrize.is_parametrized(part)
        for part in model.modules()
    )


def _all_in_state(model: nn.Module) -> bool:
    """Does the state dict name every parameter, so that loading another one leaves none as it was?"""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    return names <= set(model.state_dict()) <= names | buffers


def _left_behind(model: nn.Module) -> list[object]:
    """What is remembered beside the state dict. Raises _Unseen where that can't be told."""
    state = model.state_dict(keep_vars=True)
    known = {id(value) for value in state.values()}
    marks: list[object] = [
        (place, name, _strict_mark(value, known))
        for place, name, value in _places(model)
        if name not in ("_parameters", "_modules")
    ]
    return marks + [(name, id(p), p.requires_grad) for name, p in model.named_parameters()]


def remembered(model: nn.Module) -> list[tuple[str, str, object]]:
    """Whatever a forward() could leave behind: attributes of modules, and of what their code calls its own."""
    return [
        (place, name, _mark(value))
        for place, name, value in _places(model)
        if name not in ("_parameters", "_modules")
    ]


def _places(model: nn.Module) -> list[tuple[str, str, object]]:
    places = [(name, vars(module)) for name, module in model.named_modules()]
    for kind in {type(module) for module in model.modules()}:
        for owner in (dict(vars(kind)), getattr(kind.forward, "__globals__", {})):
            if not str(owner.get("__module__", owner.get("__name__"))).startswith("torch."):
                places.append((kind.__name__, owner))
    return [
        (place, name, value)
        for place, values in places
        for name, value in values.items()
        if not name.startswith("__")
    ]


class _Unseen(Exception):
    """Something that could change without our seeing it."""


_THEMSELVES = (type, types.ModuleType, types.BuiltinFunctionType, property)


def _mark(value: object) -> object:
    """What changes when the value does; what can't be looked into is itself."""
    if isinstance(value, Tensor):
        return id(value), value._version
    try:
        return pickle.dumps(value)
    except Exception:  # a function, a class
        return id(value)


def _strict_mark(value: object, known: Set[int]) -> object:
    """What changes when the value does, all through. Raises _Unseen for what can't be looked into.

    known : the ids of tensors that are overwritten; they are only themselves.
    """
    if isinstance(value, Tensor):
        return id(value), None if id(value) in known else value._version
    if isinstance(value, _THEMSELVES) or _is_torchs(value):
        return id(value)
    if isinstance(value, weakref.ref):
        return id(value())
    parts: list[object] | None = None
    if isinstance(value, list | tuple | set):
        parts = [*value]
    elif isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, staticmethod | classmethod):
        parts = [value.__func__]
    elif isinstance(value, types.FunctionType):
        parts = [value.__defaults__, value.__kwdefaults__, vars(value)]
        parts += [cell.cell_contents for cell in value.__closure__ or ()]
    if parts is not None:
        return id(value), [_strict_mark(part, known) for part in parts]
    try:
        return pickle.dumps(value)
    except Exception as error:
        raise _Unseen(repr(value)) from error
