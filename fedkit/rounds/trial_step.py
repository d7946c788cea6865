"""A launch's trial step: before anything starts, the model is tried as it will be trained.

A local step on two blank samples and one on a single sample, in train mode, with the project's loss, strategy and dp, by
`local_update`, the function that trains in every round; and where dp draws who takes part in a step or a round, a step or a
round of nobody. What another strategy or DP refuses, such as batch normalisation
under DP-SGD, is so refused where a project is launched, and not after the participants have said yes.

Who tries: the aggregator that launches, `fedkit run` and `fedkit sweep` before they write anything, `simulate`, and each
participant before its first round. Whatever only looks does not: a model.py runs here.
What more can be known of a model before its project starts becomes one more function in `STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.judging import blank_labels, blank_samples, criterion_of, fits_answer
from fedkit.learning.model_file import not_in_silence
from fedkit.learning.models import (
    StateDict,
    buffer_names,
    check_state,
    endless,
    load_model,
    state_of,
)
from fedkit.learning.randomness import unnoticed
from fedkit.learning.training import trained_names, trains_on_one
from fedkit.privacy.dp.noise import SeededNoise, noise_source
from fedkit.privacy.dp.training import dp_sgd
from fedkit.privacy.secagg.fixedpoint import encode
from fedkit.rounds.round import local_update, server_step
from fedkit.rounds.strategy import strategy_of

__all__ = ["STEPS", "Trial", "try_out"]


@dataclass(frozen=True)
class Trial:
    """What a step is given. config : of one round of one epoch. model : built for this trial alone. start : its weights."""

    config: FLConfig
    model: nn.Module
    start: StateDict


def try_out(config: FLConfig, source: bytes | str, *, file: Path | str = "model.py") -> None:
    """Try a model.py as the config trains it. Raises FedkitError, of `file`, that says what was tried and the usual cause.

    Takes some 20 ms for the tutorial's model (with dp, the first time, Opacus' import too), and is not done again for the
    same model and settings. Random numbers outside, and whatever the model remembers, stay as they are.
    """
    # nothing is kept back: of a single sample nothing could be
    changes: dict[str, object] = {"rounds": 1, "epoch": 1, "seed": 0, "validation": None}
    if (
        config.dp is not None
    ):  # noise and delta are held against the data, not against two blank samples
        noise = {"epsilon": None, "noise_multiplier": 1.0, "delta": 1e-3}
        changes["dp"] = config.dp.model_copy(update=noise)
    tried = config.model_copy(update=changes)
    settings = tried.model_dump_json(exclude={"participants"})
    try:
        _tried(_Asked(source, settings, len(tried.participants), tried))
    except FedkitError as error:
        error.file = Path(file)
        raise


@dataclass(frozen=True)
class _Asked:
    """What decides a trial: two that differ in anything else are one. config : what `settings` were made of."""

    source: bytes | str
    settings: str
    participants: int
    config: FLConfig = field(compare=False)


@lru_cache(maxsize=64)
def _tried(asked: _Asked) -> None:
    """All of `STEPS`; what has raised is tried again."""
    config = asked.config
    with unnoticed(), not_in_silence():
        model = load_model(asked.source, config.model_class_name, task=config.task)
        trial = Trial(config, model, state_of(model))
        for step in STEPS:
            step(trial)


def _something_to_train(trial: Trial) -> None:
    """At least one weight that training changes, and constants that can be sent."""
    config, model = trial.config, trial.model
    if not trained_names(model):
        has = (
            "all its weights are frozen" if any(True for _ in model.parameters()) else "no weights"
        )
        raise FedkitError(
            f"{config.model_class_name} has nothing to train: {has}",
            remedy="leave requires_grad on for one layer at least, such as the last one",
        )
    wrong = endless(model, config.model_class_name, buffers=True)
    if wrong is not None:
        raise wrong


def _answers(trial: Trial) -> None:
    """In train mode too, all that is asked for: where a class has no answer, the first sample of it would end a round."""
    config, task = trial.config, trial.config.task
    with torch.no_grad():
        answer: Tensor = trial.model.train()(blank_samples(task))
    if not fits_answer(task, answer):
        raise FedkitError(
            f"{config.model_class_name} answers two {task.samples} with {list(answer.shape)} in train mode, "
            f"not with [2, {task.outputs}]",
            remedy="let forward() return the same in train mode as in eval mode",
        )


def _two_samples(trial: Trial) -> None:
    """A batch of two, and an update with the model's own names, shapes and dtypes."""
    update = _local_step(trial, 2)
    finite = {name: value.nan_to_num() for name, value in update.items()}
    config = trial.config
    if config.secure_aggregation is not None and config.dp is not None and config.dp.secure_noise:
        # a share of noise for masks is whole numbers, which float64 holds
        finite = {
            k: v.to(trial.start[k].dtype) if k in trial.start and v.dtype is torch.float64 else v
            for k, v in finite.items()
        }
    wrong = check_state(trial.start, finite)
    if wrong is not None:
        raise _another(config, f"a local step: {wrong}")
    if config.secure_aggregation is not None and config.dp is None:
        _fits_under_masks(trial, finite)


_FEW_SAMPLES = 100
"""Nobody knows here how many a participant has; with fewer there is hardly a project."""


def _fits_under_masks(trial: Trial, state: Mapping[str, Tensor]) -> None:
    """Numbers that a sum under masks has room for; a mask of -1e9 in a buffer, say, has none."""
    config = trial.config
    weight = _FEW_SAMPLES if config.weighting == "samples" else 1
    many = config.participants_per_round or len(config.participants)
    for name, value in state.items():
        try:
            encode({name: value}, weight, many)
        except FedkitError as error:
            told = "register it with persistent=False: then everybody makes it, and nobody sends it"
            raise FedkitError(
                f"{config.model_class_name} holds numbers that are too large for secure aggregation: {name}",
                why=f"{error.what}, for {many} participants"
                + (f" of {weight} samples" if weight > 1 else ""),
                remedy=told if name in buffer_names(trial.model) else str(error.remedy),
            ) from error


def _another(config: FLConfig, what: str) -> FedkitError:
    return FedkitError(
        f"{config.model_class_name} is another model after {what}",
        why="Its update could be averaged with no other",
        remedy="keep each buffer's shape and dtype in forward()",
    )


def _single_sample(trial: Trial) -> None:
    """An epoch's last batch may be a single sample; where forward() refuses that, `fitting_batch` makes none of one."""
    if trains_on_one(trial.model, blank_samples(trial.config.task, 1)):
        _local_step(trial, 1)


def _nobody(trial: Trial) -> None:
    """Where each is drawn with a probability of its own (Poisson), a step may have no sample, a round no update."""
    config, dp = trial.config, trial.config.dp
    strategy, start, model = strategy_of(config), trial.start, trial.model
    if dp is not None and dp.unit == "example":
        after, _ = dp_sgd(
            *(model, start, (blank_samples(config.task), blank_labels(config.task))),
            epochs=1,
            steps=1,
            learning_rate=config.learning_rate,
            clip=dp.clip,
            noise_multiplier=1.0,
            noise=noise_source(dp.secure_noise, 0, "trial"),
            sample=_NobodyDrawn(),
            loss_of=criterion_of(config.task),
            optimizer=config.optimizer,
        )
    elif dp is not None and config.participants_per_round and not config.secure_aggregation:
        plan = RoundPlan.of(config, 1, [])
        drawn, _ = server_step(
            strategy, plan, strategy.init(start), [], buffers=buffer_names(model)
        )
        after = dict(drawn.model)
    else:
        return
    wrong = check_state(start, {name: value.nan_to_num() for name, value in after.items()})
    if wrong is not None:
        raise _another(config, f"a step of nobody: {wrong}")


class _NobodyDrawn(SeededNoise):
    """Chance that draws no sample."""

    def __init__(self) -> None:
        super().__init__(0, "trial")

    def uniform(self, count: int) -> Tensor:
        """Ones: no probability is as high."""
        return torch.ones(count, dtype=torch.float64)


STEPS: tuple[Callable[[Trial], None], ...] = (
    _something_to_train,
    _two_samples,
    _single_sample,
    _answers,
    _nobody,
)
"""In this order; the first that raises ends the trial."""


def _local_step(trial: Trial, count: int) -> Mapping[str, Tensor]:
    """The weights after one participant's local step on so many blank samples."""
    config, model = trial.config, trial.model
    strategy, who = strategy_of(config), config.participants[0]
    plan = RoundPlan.of(config, 1, [who])
    sent = strategy.broadcast(strategy.init(trial.start)) if strategy.two_sided else {}
    memory = strategy.beside(trial.start)
    shard = blank_samples(config.task, count), blank_labels(config.task, count)
    try:
        update, _ = local_update(strategy, plan, who, model, trial.start, shard, sent, memory)
    except FedkitError:
        raise
    except (Exception, SystemExit) as error:
        raise _untrainable(config, model, count, error) from error
    return update.state


def _untrainable(
    config: FLConfig, model: nn.Module, count: int, error: BaseException
) -> FedkitError:
    task, name = config.task, config.model_class_name
    shape = ",".join(map(str, (count, *task.shape)))
    told = " ".join(str(error).split())[:300].rstrip(".")
    strategy = (config.strategy or {}).get("name", "fedavg")
    private = "" if config.dp is None else f" and dp for each {config.dp.unit}"
    return FedkitError(
        f"{name} can't be trained on {task.samples} [{shape}]: {type(error).__name__}: {told}",
        why=f"Tried was one local step in train mode, with {task.loss}, {strategy}{private}",
        remedy=_remedy(told, config, model, count),
    )


_CAUSES = {
    "Expected more than 1 value per channel": "batch normalisation needs two samples in a batch: "
    "set batch_size to 2 or more, or write nn.GroupNorm in its place",
    "inplace": "write x = x + y in place of x += y, and nn.ReLU() without inplace=True",
    "_current_grad_sample": "write nn.utils.parametrizations.weight_norm in place of nn.utils.weight_norm",
    "does not require grad": "leave out .detach(), .data and torch.no_grad() in forward(), and let it use a layer that "
    "is not frozen",
    "more than one element of the written-to tensor": "write .clone() behind .expand(...): a weight is a number of its own",
    "inference tensor": "leave out torch.inference_mode()",
    "without overflow": "take a smaller learning_rate",
    "must be Tensor, not": "let forward() return one tensor, in train mode as in eval mode",
    "sparse": "write sparse=False in nn.Embedding: what is added to its gradient has no gaps",
}
"""A part of torch's words -> what to write instead."""


_IN_PLACE = {
    nn.LSTM: "DPLSTM",
    nn.GRU: "DPGRU",
    nn.RNN: "DPRNN",
    nn.MultiheadAttention: "DPMultiheadAttention",
}
"""A layer of torch that has no gradient of a single sample -> the one of `opacus.layers` that has."""


def _per_sample(model: nn.Module) -> str:
    """What to write in place of the layers that Opacus has no gradients for."""
    need = "dp needs each sample's own gradient, and Opacus has none for"
    for layer in model.modules():
        for kind, other in _IN_PLACE.items():
            if isinstance(layer, kind):
                return f"{need} nn.{kind.__name__}: write opacus.layers.{other} in place of nn.{kind.__name__}"
        if isinstance(layer, torch.jit.ScriptModule):
            return f"{need} what torch.jit has compiled: leave torch.jit out"
    return (
        f"{need} some layers: write them with nn.Linear, nn.Conv2d, nn.Embedding and nn.GroupNorm"
    )


def _remedy(told: str, config: FLConfig, model: nn.Module, count: int) -> str:
    for words, remedy in _CAUSES.items():
        if words in told:
            return remedy
    task, name = config.task, config.model_class_name
    if config.dp is not None and config.dp.unit == "example":
        return _per_sample(model)
    if count == 1:
        return (
            "keep the batch in forward(), with x.squeeze(1) or x.flatten(1) in place of x.squeeze()"
        )
    blank = f"torch.zeros({', '.join(map(str, (count, *task.shape)))}"
    blank += ", dtype=torch.int64)" if task.samples == "tokens" else ")"
    return f"find the line in a notebook cell: {name}().train()({blank}).sum().backward()"
