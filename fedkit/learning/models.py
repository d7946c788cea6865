"""Models and their weights: `model.py` becomes a module, weights become a checked, named set of tensors.

Loading a `model.py` runs it. The caller must have a person's approval for exactly these bytes; that is why the source
is passed as bytes that were hashed, never as a path that could change in between.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import global_random

__all__ = [
    "SAMPLE_MODEL",
    "StateDict",
    "check_state",
    "distance",
    "fitting_model",
    "flatten",
    "load_model",
    "seed_weights",
    "state_of",
]


StateDict = dict[str, Tensor]

SAMPLE_MODEL = (resources.files("fedkit") / "learning/sample_models/model.py").read_text("utf-8")


def load_model(
    source: bytes | str, class_name: str = "FLModel", *, file: Path | str = "model.py"
) -> nn.Module:
    """Run the source of a `model.py` and build its model, `class_name()`.

    The model must accept float32 [N,1,28,28] and answer with logits [N,10]; it is tried on two blank images.
    Raises FedkitError, naming the line where it can, if any of that fails.
    """
    with global_random():  # building a model must not move the caller's random numbers
        model = _build(source, class_name, file)
        _try_out(model, file, class_name)
    return model


def fitting_model(
    source: bytes | str,
    state: Mapping[str, Tensor],
    class_name: str = "FLModel",
    *,
    file: Path | str = "model.py",
    what: str = "the model",
    weights: Path | None = None,
    field: str | None = None,
    remedy: str,
) -> nn.Module:
    """`load_model`, where `state` fits it. Raises FedkitError, of the file `weights` or the field, where it does not."""
    model = load_model(source, class_name, file=file)
    wrong = check_state(state_of(model), state)
    if wrong:
        raise FedkitError(f"does not fit {what}: {wrong}", file=weights, field=field, remedy=remedy)
    return model


# A script's own exit() must not end the process that looks at it.
_ITS_ERRORS = (Exception, SystemExit)


def _build(source: bytes | str, class_name: str, file: Path | str) -> nn.Module:
    text = source.decode("utf-8", errors="replace") if isinstance(source, bytes) else source
    module = types.ModuleType("fedkit_model")
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)
    except SyntaxError as error:
        raise FedkitError(
            f"has a syntax error in line {error.lineno}: {error.msg}",
            file=file,
            remedy="correct that line and launch again",
        ) from error
    except _ITS_ERRORS as error:
        raise _raised(file, "raises an error while it loads", error) from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise FedkitError(
            f"defines no class {class_name} that is an nn.Module",
            file=file,
            field="model_class_name",
            remedy=f"define `class {class_name}(nn.Module)` in it",
        )
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise FedkitError(
            f"{class_name}() needs arguments ({error})",
            file=file,
            remedy="give every argument of its constructor a default",
        ) from error
    try:
        return kind()
    except _ITS_ERRORS as error:
        raise _raised(file, f"{class_name}() raises an error", error) from error


def _try_out(model: nn.Module, file: Path | str, class_name: str) -> None:
    try:
        with torch.no_grad():
            logits = model.eval()(torch.zeros(2, 1, 28, 28))
    except _ITS_ERRORS as error:
        raise _raised(file, f"{class_name} can't take images [2,1,28,28]", error) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, 10):
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise FedkitError(
            f"{class_name} answers two images with {got}, not with logits [2, 10]",
            file=file,
            remedy="let forward() return one row of ten logits an image",
        )


def _raised(file: Path | str, what: str, error: BaseException) -> FedkitError:
    return FedkitError(
        f"{what}: {type(error).__name__}: {error}",
        file=file,
        remedy="try it in a notebook cell of your own first",
    )


def state_of(model: nn.Module) -> StateDict:
    """A copy of the model's weights and buffers, in the model's order."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def seed_weights(source: bytes | str, seed: int = 0, class_name: str = "FLModel") -> StateDict:
    """The weights that `class_name()` starts with when torch's generator starts at `seed`.

    Raises FedkitError as `load_model` does.
    """
    with global_random(seed):
        return state_of(_build(source, class_name, "model.py"))


def check_state(reference: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str | None:
    """None if `state` has exactly the reference's names, shapes and dtypes and only finite numbers, else what is wrong."""
    missing = [name for name in reference if name not in state]
    if missing:
        return f"{missing[0]} is missing"
    extra = [name for name in state if name not in reference]
    if extra:
        return (
            f"{extra[0]!r:.80} is not in the model"  # a stranger's text: quoted, and not all of it
        )
    for name, wanted in reference.items():
        value = state[name]
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_nested:
            return f"{name} is no plain tensor"
        if value.shape != wanted.shape:
            return f"{name} has shape {list(value.shape)}, the model has {list(wanted.shape)}"
        if value.dtype != wanted.dtype:
            return f"{name} is {value.dtype}, the model has {wanted.dtype}"
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            kind = "NaN" if bool(torch.isnan(value).any()) else "infinite values"
            return f"{name} holds {kind}"
    return None


def flatten(state: Mapping[str, Tensor]) -> Tensor:
    """All floating point tensors of a state dict in one vector, float32 [D]."""
    parts = [value.flatten().float() for value in state.values() if value.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """L2 norm of (one - other) over all floating point tensors, finite whatever they hold."""
    pairs = [(one[k].double(), v.double()) for k, v in other.items() if v.is_floating_point()]
    squares = sum(float((a - b).square().sum()) for a, b in pairs)
    return min(math.sqrt(squares), sys.float_info.max)
