"""Local training and evaluation: what a participant does with a global model and its private shard.

Local SGD as in McMahan et al. 2017, algorithm 1, ClientUpdate. Built by hand in notebook 03.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.errors import Stopped
from fedkit.base.seeds import global_random
from fedkit.learning.models import StateDict, state_of

__all__ = ["Trainer", "draws", "evaluate", "local_steps", "sgd_epoch", "train", "trained_names"]


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
) -> float:
    """One local epoch of plain SGD over shuffled batches; changes the model, returns the mean loss.

    w <- w - eta * grad l(w; b) for every batch b   (McMahan et al. 2017, algorithm 1)

    images float32 [N,1,28,28], labels int64 [N]; the last batch may be smaller, and no sample is dropped.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    order = torch.randperm(len(labels), generator=generator)
    total = 0.0
    for batch in order.split(batch_size):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
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
) -> tuple[StateDict, list[float]]:
    """Local training from `state` on `shard`; returns the new weights and the mean loss of each local epoch.

    shard: (images float32 [N,1,28,28], labels int64 [N]). `on_epoch(epoch, loss)` is called after each local epoch,
    from 1. The same generator state gives the same bits. `stop()` is asked before each batch; where it says yes, `Stopped`
    is raised and nothing is kept. mu : weight of FedProx's proximal term (mu / 2) ||w - state||^2, 0 for none.
    shift : added to every gradient, by name; SCAFFOLD's c - c_i.
    """
    images, labels = shard
    model.load_state_dict(dict(state))
    losses = []
    draw = int(torch.randint(2**62, (1,), generator=generator)) if draws(model, images) else None
    randomness = nullcontext() if draw is None else global_random(draw)

    def ask(*_: object) -> None:
        """Whenever the model sees a batch; `sgd_epoch` stays the function that lessons write by hand."""
        if stop is not None and stop():
            raise Stopped

    with randomness, _pulled(model, mu, shift or {}):
        for epoch in range(1, epochs + 1):
            model.train()
            with model.register_forward_pre_hook(ask):
                loss = sgd_epoch(model, images, labels, learning_rate, batch_size, generator)
            losses.append(loss)
            if on_epoch is not None:
                on_epoch(epoch, loss)
    return state_of(model), losses


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


def evaluate(
    model: nn.Module,
    state: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    pool: Executor | None = None,
) -> tuple[float, float]:
    """(accuracy in 0..1, mean cross entropy in nats) of `state` on images float32 [N,1,28,28], labels int64 [N].

    pool : threads that share the images, a thousand at a time; the same bits as without.
    """
    model.load_state_dict(dict(state))
    model.eval()
    with torch.no_grad():  # inference alone, in whichever thread
        judge = torch.no_grad()(model.__call__)
        parts = images.split(1000)
        logits = torch.cat(list(map(judge, parts) if pool is None else pool.map(judge, parts)))
    accuracy = int((logits.argmax(1) == labels).sum()) / len(labels)
    return accuracy, F.cross_entropy(logits, labels).item()


def draws(model: nn.Module, images: Tensor) -> bool:
    """Does the model itself draw random numbers (drop-out, noise)? torch takes those from one global generator.

    Tried on a copy: forward() may draw without any layer that shows it.
    """
    with global_random(), torch.no_grad():
        before = torch.get_rng_state()
        try:
            copy.deepcopy(model).train()(images[:2])
        except Exception:  # the training itself will say what is wrong
            return True
        return not torch.equal(before, torch.get_rng_state())
