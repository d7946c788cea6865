"""Local training and evaluation: what a participant does with a global model and its private shard.

Local SGD as in McMahan et al. 2017, algorithm 1, ClientUpdate. Built by hand in notebook 03.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.errors import FedkitError, Stopped
from fedkit.config.optimizer import Optimizer
from fedkit.config.task import DIGITS, Task
from fedkit.learning.device import place_of
from fedkit.learning.judging import Criterion, criterion_of, metrics_of
from fedkit.learning.models import StateDict, state_of
from fedkit.learning.randomness import OwnRandom, draws
from fedkit.learning.surroundings import surroundings_kept

__all__ = [
    "Trainer",
    "evaluate",
    "fitting_batch",
    "judged",
    "local_steps",
    "optimizer_of",
    "sgd_epoch",
    "train",
    "trained_names",
    "trains_on_one",
]


# The only place that sets it. Models this small lose time to a second thread's barriers; participants run side by side.
torch.set_num_threads(1)


Trainer = Callable[..., tuple[StateDict, list[float]]]
"""Called as `train` is."""


def sgd_epoch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
    loss_of: Criterion = F.cross_entropy,
) -> float:
    """One local epoch of plain SGD over shuffled batches; changes the model, returns the mean loss.

    w <- w - eta * grad l(w; b) for every batch b   (McMahan et al. 2017, algorithm 1)

    images float32 [N,1,28,28], labels int64 [N], or what else `loss_of` compares; the last batch may be smaller, and no
    sample is dropped.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    order = torch.randperm(len(labels), generator=generator)
    total = 0.0
    for batch in order.split(batch_size):
        loss = loss_of(model(images[batch]), labels[batch])
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.add_(gradient, alpha=-learning_rate)
        total += loss.item() * len(batch)
    return total / len(labels)


def train(
    model: nn.Module,
    state: Mapping[str, Tensor],
    shard: tuple[Tensor, Tensor],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    generator: torch.Generator,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
    mu: float = 0.0,
    shift: Mapping[str, Tensor] | None = None,
    loss_of: Criterion = F.cross_entropy,
    optimizer: Optimizer | None = None,
    patience: int | None = None,
    validate: Callable[[StateDict], float] | None = None,
) -> tuple[StateDict, list[float]]:
    """Local training from `state` on `shard`; returns the new weights and the mean loss of each local epoch.

    shard: (images float32 [N,1,28,28], labels int64 [N]). `on_epoch(epoch, loss)` is called after each local epoch,
    from 1. The same generator state gives the same bits. `stop()` is asked before each batch; where it says yes, `Stopped`
    is raised and nothing is kept. mu : weight of FedProx's proximal term (mu / 2) ||w - state||^2, 0 for none.
    shift : added to every gradient, by name; SCAFFOLD's c - c_i. loss_of : the loss, as `criterion_of(task)` gives it.
    optimizer : what takes the steps, with a memory that begins and ends here; None for plain SGD.
    patience, validate : end when the loss `validate(weights)` has not fallen for so many local epochs; returned are the
    weights of the epoch in which it was lowest (Prechelt 1998, "Early stopping, but when?"), and the losses up to that one.
    """
    images, labels = shard
    model.load_state_dict(dict(state))
    steps = None if optimizer is None else optimizer_of(optimizer, model, learning_rate)
    losses = []
    best: tuple[StateDict, int] | None = None
    lowest = math.inf
    chance: AbstractContextManager[object] = nullcontext()
    if draws(model, images):
        chance = OwnRandom(int(torch.randint(2**62, (1,), generator=generator)))

    def ask(*_: object) -> None:
        """Whenever the model sees a batch; `sgd_epoch` stays the function that lessons write by hand."""
        if stop is not None and stop():
            raise Stopped

    with _pulled(model, mu, shift or {}):
        for epoch in range(1, epochs + 1):
            model.train()
            with chance, nullcontext() if stop is None else model.register_forward_pre_hook(ask):
                if steps is None or optimizer is None:
                    loss = sgd_epoch(
                        model, images, labels, learning_rate, batch_size, generator, loss_of
                    )
                else:
                    loss = _epoch(
                        *(model, images, labels, steps, batch_size, generator, loss_of),
                        clip_norm=optimizer.clip_norm,
                    )
            losses.append(loss)
            if on_epoch is not None:
                on_epoch(epoch, loss)
            if patience is None or validate is None:
                continue
            reached = state_of(model)
            value = validate(reached)
            if best is None or value < lowest:
                best, lowest = (reached, epoch), value if value < math.inf else math.inf
            elif epoch - best[1] >= patience:
                break
    return (state_of(model), losses) if best is None else (best[0], losses[: best[1]])


def optimizer_of(
    settings: Optimizer, model: nn.Module, learning_rate: float
) -> torch.optim.Optimizer:
    """torch's optimizer of these settings for what of the model is trained, with nothing in its memory."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    parameters = [p for p in model.parameters() if p.requires_grad]
    return kinds[settings.name](parameters, lr=learning_rate, **settings.options)


def _epoch(
    model: nn.Module,
    samples: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    generator: torch.Generator,
    loss_of: Criterion,
    clip_norm: float | None,
) -> float:
    """`sgd_epoch` with any optimizer of torch. clip_norm : the largest L2 norm of a step's whole gradient, None for any;
    it is looked at when all that is added to a gradient has been.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    order = torch.randperm(len(labels), generator=generator)
    total = 0.0
    for batch in order.split(batch_size):
        optimizer.zero_grad()
        loss = loss_of(model(samples[batch]), labels[batch])
        loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        total += loss.item() * len(batch)
    optimizer.zero_grad()
    return total / len(labels)


@contextmanager
def _pulled(model: nn.Module, mu: float, shift: Mapping[str, Tensor]) -> Iterator[None]:
    """Add mu (w - w_global) + shift to every gradient; w_global is where the weights stand when the block begins.

    A hook on each parameter does it, so that `sgd_epoch` stays the function that lessons write by hand.
    """

    def toward(parameter: nn.Parameter, anchor: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient.add(parameter.detach() - anchor, alpha=mu)

    def moved(by: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient.add(by)

    with ExitStack() as hooks:
        for name in trained_names(model):
            p = model.get_parameter(name)
            if mu:
                hooks.enter_context(p.register_hook(toward(p, p.detach().clone())))
            if name in shift:
                hooks.enter_context(p.register_hook(moved(shift[name].to(p.device))))
        yield


def trained_names(model: nn.Module) -> list[str]:
    """The parameters that SGD changes, by their names in the state dict; each once, where two names share one."""
    return [name for name, p in model.named_parameters() if p.requires_grad]


def local_steps(num_samples: int, epochs: int, batch_size: int) -> int:
    """Steps of SGD in one participant's round: epochs ceil(n / B), since the last batch of an epoch may be smaller."""
    return epochs * math.ceil(num_samples / batch_size)


def fitting_batch(model: nn.Module, samples: Tensor, batch_size: int) -> int:
    """`batch_size`, or a little more where the last batch would be a single sample, and the model can't train on one.

    Batch normalisation has no variance to divide by then. Raises FedkitError where there is no second sample.
    """
    n = len(samples)
    if n % batch_size != 1 or (batch_size == 1 and n > 1) or trains_on_one(model, samples):
        return batch_size
    if n == 1:
        raise FedkitError(
            "holds a single sample, and this model can't be trained on one",
            field="shard",
            why="Batch normalisation, for one, needs the variance of two",
            remedy="add a second sample, or take a model with nn.GroupNorm in its place",
        )
    return next(size for size in itertools.count(batch_size) if n % size != 1)


def trains_on_one(model: nn.Module, samples: Tensor) -> bool:
    """Does the model take a single sample in train mode? Tried on a copy, with the first of these."""
    try:
        tried = copy.deepcopy(model).train()
    except Exception:  # weight_norm by a hook: it trains on a single sample, or says why not
        return True
    try:
        with OwnRandom(), torch.no_grad():
            tried(samples[:1])
    except Exception:
        return False
    return True


def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    pool: Executor | None = None,
) -> tuple[float, float]:
    """(accuracy in 0..1, mean cross entropy in nats) of `state` on images float32 [N,1,28,28], labels int64 [N].

    Where the model is, on whichever device. pool : threads that share the images, a thousand at a time; the same bits as
    without. What the model itself draws is the same each time.
    """
    metrics, loss = judged(model, state, images, labels, DIGITS, pool)
    return metrics["accuracy"], loss


@surroundings_kept()
def judged(
    model: nn.Module,
    state: Mapping[str, Tensor],
    samples: Tensor,
    labels: Tensor,
    task: Task = DIGITS,
    pool: Executor | None = None,
) -> tuple[dict[str, float], float]:
    """The task's metrics by name, and its loss, of `state` on a test set. pool : as for `evaluate`."""
    model.load_state_dict(dict(state))
    model.eval()
    place, own = place_of(model), draws(model, samples)

    @torch.no_grad()  # inference alone, in whichever thread
    def judge(part: Tensor, n: int) -> Tensor:
        with OwnRandom(n) if own else nullcontext():
            answer: Tensor = model(part.to(place))
            return answer

    parts = samples.split(1000)
    answers = torch.cat(list((map if pool is None else pool.map)(judge, parts, range(len(parts)))))
    with torch.no_grad():
        loss = criterion_of(task)(answers, labels.to(place)).item()
    return metrics_of(task, answers.cpu(), labels.cpu()), loss
