"""Models and their weights: `model.py` becomes a module, weights become a checked, named set of tensors.

Loading a `model.py` runs it. The caller must have a person's approval for exactly these bytes; that is why the source
is passed as bytes that were hashed, never as a path that could change in between.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.config.task import DIGITS, Task
from fedkit.learning.judging import blank_samples, fits_answer
from fedkit.learning.model_file import ITS_ERRORS, built, not_in_silence, raised
from fedkit.learning.randomness import unnoticed

__all__ = [
    "SAMPLE_MODEL",
    "StateDict",
    "buffer_names",
    "check_state",
    "distance",
    "distances",
    "endless",
    "fitting_model",
    "flatten",
    "load_model",
    "seed_weights",
    "state_of",
]


StateDict = dict[str, Tensor]
"""A model's weights and buffers: name -> tensor, in the model's order."""

SAMPLE_MODEL = (resources.files("fedkit") / "learning/sample_models/model.py").read_text("utf-8")
"""Source of the tutorial's `model.py`: two layers, 784 to 128 to 10."""


def load_model(
    source: bytes | str,
    class_name: str = "FLModel",
    *,
    file: Path | str = "model.py",
    task: Task = DIGITS,
) -> nn.Module:
    """Run the source of a `model.py` and build its model, `class_name()`.

    The model must accept the task's samples, float32 [N,1,28,28] for digits, and answer with [N, outputs], for digits
    logits [N,10]; it is tried on two blank samples.
    Raises FedkitError, naming the line where it can, if any of that fails.
    """
    with unnoticed(), not_in_silence(file):  # the caller's numbers and settings stay as they are
        model = built(source, class_name, file)
        _try_out(model, file, class_name, task)
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
    theirs: bool = False,
    task: Task = DIGITS,
) -> nn.Module:
    """`load_model`, where `state` fits it. Raises FedkitError, of the file `weights` or the field, where it does not.

    theirs : it is not the reader who saved the weights; `remedy` stands, where else the line that puts them right would.
    """
    model = load_model(source, class_name, file=file, task=task)
    wrong = check_state(state_of(model), state)
    if wrong:
        as_built = endless(model, class_name, file)
        if as_built is not None and wrong == check_state(state_of(model), state_of(model)):
            raise as_built
        why, line = _usual_cause(state_of(model), state, "weights" if weights is None else "state")
        if line is not None and not theirs:
            remedy = f"weights = {line}"
            if weights is not None:
                remedy = f"state = torch.load(path, weights_only=True); torch.save({line}, path)"
        raise FedkitError(
            f"does not fit {what}: {wrong}", file=weights, field=field, why=why, remedy=remedy
        )
    return model


def endless(
    model: nn.Module, class_name: str, file: Path | str = "model.py", *, buffers: bool = False
) -> FedkitError | None:
    """What is wrong with a model that was just built where not all of it is finite; None where all is.

    buffers : look at these alone, since the weights may come from elsewhere.
    """
    state = state_of(model)
    if buffers:
        state = {name: state[name] for name in state if name in buffer_names(model)}
    wrong = check_state(state, state)
    if wrong is None:
        return None
    remedy = (
        "give it a start, such as nn.init.xavier_uniform_; torch.empty holds whatever lay there"
    )
    if wrong.split()[0] in buffer_names(model):
        remedy = "register a constant such as a mask with persistent=False: then everybody makes it, and nobody sends it"
    return FedkitError(
        f"{wrong} as soon as {class_name}() is built",
        file=file,
        why="What is sent must be finite: a mean with an infinite number is none",
        remedy=remedy,
    )


_AROUND = {"module.": "nn.DataParallel", "_orig_mod.": "torch.compile"}


def _usual_cause(
    reference: Mapping[str, Tensor], state: Mapping[str, Tensor], called: str
) -> tuple[str | None, str | None]:
    """(what was saved in place of the model's own weights, a line that makes these of it); (None, None) if none does.

    Looked for: one prefix before every name, another floating point dtype. called : what the line calls the state.
    """
    first = next(iter(reference), "")
    prefix = next((k.removesuffix(first) for k in state if first and k.endswith(first)), "")
    other = next((v for v in state.values() if v.is_floating_point()), torch.empty(0)).dtype
    wanted = next((v for v in reference.values() if v.is_floating_point()), torch.empty(0)).dtype
    if not re.fullmatch(r"[\w.]{0,80}", prefix, re.ASCII):
        return None, None
    try:
        made = {
            k.removeprefix(prefix): v.to(wanted) if v.is_floating_point() else v
            for k, v in state.items()
        }
    except RuntimeError:  # no plain tensor
        return None, None
    if len(made) < len(state) or check_state(reference, made) is not None:
        return None, None
    key, value, causes = "k", "v", []
    if prefix:
        key = f'k.removeprefix("{prefix}")'
        causes.append(f"from {_AROUND.get(prefix, 'a module around the model')}")
    if other != wanted:
        value = f"v.to({wanted}) if v.is_floating_point() else v"
        causes.append(f"in {other}")
    line = f"{{{key}: {value} for k, v in {called}.items()}}"
    return f"It was saved {' and '.join(causes)}", line


def _try_out(model: nn.Module, file: Path | str, class_name: str, task: Task) -> None:
    blank = blank_samples(task)
    try:
        with torch.no_grad():
            answer = model.eval()(blank)
    except ITS_ERRORS as error:
        shape = ",".join(map(str, blank.shape))
        wrong = raised(file, f"{class_name} can't take {task.samples} [{shape}]", error)
        if "same dtype" in str(error):
            wrong.remedy = (
                "samples are float32: leave out .double(), .half() and torch.set_default_dtype"
            )
        raise wrong from error
    if isinstance(answer, Tensor) and not answer.is_floating_point():
        raise FedkitError(
            f"{class_name} answers with {str(answer.dtype).removeprefix('torch.')}, and a loss needs real numbers",
            file=file,
            remedy="return what the last layer gives, without argmax() or round()",
        )
    if not fits_answer(task, answer):
        got = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        many = "ten" if task.outputs == 10 else task.outputs
        kind = "numbers" if task.labels == "numbers" else "logits"
        one = f"an {task.one}" if task.samples == "images" else f"a {task.one}"
        raise FedkitError(
            f"{class_name} answers two {task.samples} with {got}, not with {kind} [2, {task.outputs}]",
            file=file,
            remedy=f"let forward() return one row of {many} {kind} {one}",
        )


def state_of(model: nn.Module) -> StateDict:
    """A copy of the model's weights and buffers, in the model's order."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def buffer_names(model: nn.Module) -> frozenset[str]:
    """What a state has beside the weights that are trained, such as batch normalisation's statistics."""
    return frozenset(model.state_dict()) - {
        name for name, _ in model.named_parameters(remove_duplicate=False)
    }


def seed_weights(source: bytes | str, seed: int = 0, class_name: str = "FLModel") -> StateDict:
    """The weights that `class_name()` starts with when torch's generator starts at `seed`.

    Raises FedkitError as `load_model` does, and where some of them are no finite numbers.
    """
    with unnoticed(seed), not_in_silence():
        model = built(source, class_name, "model.py")
    wrong = endless(model, class_name)
    if wrong is not None:
        raise wrong
    return state_of(model)


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
        if value.is_floating_point() and not _is_finite(value):
            kind = "NaN" if bool(torch.isnan(value).any()) else "infinite values"
            return f"{name} holds {kind}"
    return None


def _is_finite(value: Tensor) -> bool:
    """Is every number of it? A sum is finite only then, and takes a twentieth of the time; one may be too large, though."""
    sums = value.dtype in (torch.float32, torch.float64)
    return (sums and bool(value.sum().isfinite())) or bool(torch.isfinite(value).all())


def flatten(state: Mapping[str, Tensor]) -> Tensor:
    """All floating point tensors of a state dict in one vector, float32 [D]."""
    parts = [value.flatten().float() for value in state.values() if value.is_floating_point()]
    return torch.cat(parts) if parts else torch.empty(0)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """L2 norm of (one - other) over all floating point tensors, finite whatever they hold."""
    return distances([one], other)[0]


def distances(several: Sequence[Mapping[str, Tensor]], other: Mapping[str, Tensor]) -> list[float]:
    """`distance` of each; in one piece of memory, since a fresh one for each takes as long as the arithmetic."""
    squares = [0.0] * len(several)
    for name, value in other.items():
        if not value.is_floating_point():
            continue
        scratch = torch.empty(0)
        for k, one in enumerate(several):
            if (scratch.shape, scratch.stride()) != (one[name].shape, one[name].stride()):
                scratch = torch.empty_like(one[name], dtype=torch.float64)
            squares[k] += float(scratch.copy_(one[name]).sub_(value).square_().sum())
    return [min(math.sqrt(square), sys.float_info.max) for square in squares]
