"""Several participants trained at once: their weights stacked along a first axis, their batches in one batched product.

Two things make a small model's step expensive: the overhead of each operation, and the traffic of weights and gradients
through memory. Here K participants share each operation, and no gradient of a weight matrix is ever stored: backward and
the step of SGD are one product, W <- W - eta delta^T x, straight into the weights. The model's graph is read with
`torch.fx`, as in training; chains of Linear layers and functions of each number alone are taken, any other model is refused
with `NotStackable`, so that the caller trains it one by one. What a graph does not show, `stackable.py` looks for.

Local training of several participants at once, on a `StackedModel`: the same shuffles and batches as
`fedkit.learning.training`.

The sums run in another order than one by one: weights agree to about 1e-12 in float64 and 1e-7 in float32, except where a
ReLU flips on a rounding error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fedkit.config.task import DIGITS, Task
from fedkit.learning.judging import criterion_of
from fedkit.learning.models import StateDict

__all__ = ["NotStackable", "StackedModel", "is_hooked", "train_stacked"]


class NotStackable(Exception):
    """The model holds something that we can't stack, or stacked means something else; what it is is the message."""


_ELEMENTWISE_MODULES = (
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.Identity,
)
_FLATTEN = (torch.flatten, "flatten")
_SQUEEZE = (torch.squeeze, "squeeze")
_RELU = (torch.relu, F.relu, "relu")
_ELEMENTWISE = (*_RELU, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.leaky_relu, F.elu)
_ELEMENTWISE_METHODS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


@dataclass(frozen=True)
class _Layer:
    """One link of the chain: a Linear layer, a function of each number, or, where all is empty, a flattening.

    squeezed : the axis that is left out where it is of one number, for a model that answers with one; None for none.
    """

    linear: str = ""
    function: Callable[[Tensor], Tensor] | None = None
    relu: bool = False
    squeezed: int | None = None


Tape = list[tuple[Tensor, Tensor]]
"""What each layer took in and gave out."""


class StackedModel:
    """A model whose every parameter has a first axis of length K, one slice a participant.

    Raises NotStackable if the model is anything but a chain of Linear layers and elementwise functions of flat samples.
    """

    def __init__(self, model: nn.Module) -> None:
        if is_hooked(model):
            raise NotStackable("hooks (such as weight_norm's)")
        places = [p.untyped_storage().data_ptr() for p in model.parameters()]
        if len(set(places)) != len(places):
            raise NotStackable("parameters that share their numbers")
        try:  # as it is in training, and the caller's own model stays as it is
            model = copy.deepcopy(model).train()
        except Exception as error:
            raise NotStackable(f"what can't be copied ({type(error).__name__})") from error
        if any(True for _ in model.buffers()):
            raise NotStackable("buffers (such as batch normalisation's)")
        if any(not p.requires_grad for p in model.parameters()):
            raise NotStackable("frozen parameters")
        if sorted(name for name, _ in model.named_parameters()) != sorted(model.state_dict()):
            raise NotStackable("parameters with two names")
        if len({(p.device, p.dtype) for p in model.parameters()}) > 1:
            raise NotStackable("parameters on several devices or of several kinds")
        try:
            graph = fx.symbolic_trace(model)
        except Exception as error:  # fx raises many kinds for what it can't trace
            raise NotStackable(
                f"a forward() that can't be traced ({type(error).__name__})"
            ) from error
        modules = dict(graph.named_modules())
        self.layers = [_layer(modules, node) for node in _chain(graph.graph)]
        names = [layer.linear for layer in self.layers if layer.linear]
        if not names:
            raise NotStackable("no Linear layer")
        if len(set(names)) != len(names):
            raise NotStackable("a layer that is used twice")

    def __call__(
        self, weights: Mapping[str, Tensor], samples: Tensor, tape: Tape | None = None
    ) -> Tensor:
        """Answers [K,B,outputs] to samples [K,B,...] with stacked weights (name -> [K, ...]); fills the tape."""
        value = samples
        for layer in self.layers:
            before = value
            if layer.linear:
                weight = weights[f"{layer.linear}.weight"].transpose(1, 2)
                bias = weights.get(f"{layer.linear}.bias")
                if bias is None:
                    value = torch.bmm(before, weight)
                else:
                    value = torch.baddbmm(bias.unsqueeze(1), before, weight)
            elif layer.squeezed is not None:
                value = before.squeeze(layer.squeezed)
            elif layer.function is None:
                value = before.flatten(2)
            else:  # a copy, since an in-place function would spoil what backward looks at
                value = layer.function(before if layer.relu else before.clone())
            if tape is not None:
                tape.append((before, value))
        return value

    def descend(
        self, weights: Mapping[str, Tensor], tape: Tape, gradient: Tensor, learning_rate: float
    ) -> None:
        """Backward from the gradient of the answers [K,B,outputs]: each layer takes its step of SGD in place."""
        lowest = next(i for i, layer in enumerate(self.layers) if layer.linear)
        for position in range(len(self.layers) - 1, lowest - 1, -1):
            layer, (before, after) = self.layers[position], tape[position]
            if layer.linear:
                matrix = weights[f"{layer.linear}.weight"]
                bias = weights.get(f"{layer.linear}.bias")
                below = torch.bmm(gradient, matrix) if position > lowest else gradient
                matrix.baddbmm_(gradient.transpose(1, 2), before, alpha=-learning_rate)
                if bias is not None:
                    bias.add_(gradient.sum(1), alpha=-learning_rate)
                gradient = below
            elif layer.relu:
                gradient = torch.ops.aten.threshold_backward(gradient, after, 0)
            elif layer.function is None:
                gradient = gradient.view_as(before)
            else:
                with torch.enable_grad():
                    point = before.detach().requires_grad_()
                    (gradient,) = torch.autograd.grad(
                        layer.function(point.clone()), point, gradient
                    )


def _layer(modules: Mapping[str, nn.Module], node: fx.Node) -> _Layer:
    """The link of a node, which keeps no weights."""
    if node.op == "call_module":
        module: Any = modules[str(node.target)]
        kind = type(module)  # a class derived from it may do anything
        if "forward" in vars(module):
            raise NotStackable("a forward() of one object's own")
        if kind is nn.Linear:
            return _Layer(linear=str(node.target))
        if kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            return _Layer()
        if kind in _ELEMENTWISE_MODULES:
            return _Layer(function=module, relu=isinstance(module, nn.ReLU))
        raise NotStackable(kind.__name__)
    plain = not node.kwargs and all(not isinstance(a, fx.Node) for a in node.args[1:])
    target: Any = node.target
    if target in _FLATTEN and node.args[1:] == (1,):
        return _Layer()
    if target in _SQUEEZE and node.args[1:] in ((1,), (-1,)):
        return _Layer(squeezed=2 if node.args[1] == 1 else -1)
    if node.op == "call_function" and target in _ELEMENTWISE and plain:
        rest = node.args[1:]
        return _Layer(function=lambda value: target(value, *rest), relu=target in _RELU)
    if node.op == "call_method" and target in _ELEMENTWISE_METHODS and plain:
        return _Layer(function=_ELEMENTWISE_METHODS[target], relu=target in _RELU)
    raise NotStackable(str(target))


def _chain(graph: fx.Graph) -> Iterator[fx.Node]:
    """The nodes that lead from the samples to the answers, in order. Raises NotStackable unless they are one chain."""
    nodes = list(graph.nodes)
    links, node = list[fx.Node](), nodes[-1].args[0]
    while isinstance(node, fx.Node) and node.op in ("call_module", "call_function", "call_method"):
        links.append(node)
        node = node.args[0] if node.args else None
    if not isinstance(node, fx.Node) or node.op != "placeholder" or len(links) != len(nodes) - 2:
        raise NotStackable("a forward() that is no chain of layers")
    return reversed(links)


def is_hooked(model: nn.Module) -> bool:
    """Does anything run that no graph shows: a hook of a module, of a parameter, or of all modules there are?"""
    registers = [vars(nn.modules.module), *(vars(part) for part in model.modules())]
    return any(
        name.endswith("_hooks") and isinstance(hooks, dict) and hooks
        for register in registers
        for name, hooks in register.items()
    ) or any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())


@torch.no_grad()
def train_stacked(
    stacked: StackedModel,
    state: Mapping[str, Tensor],
    shards: Sequence[tuple[Tensor, Tensor]],
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    generators: Sequence[torch.Generator],
    mu: float = 0.0,
    shifts: Sequence[Mapping[str, Tensor]] = (),
    task: Task = DIGITS,
) -> list[tuple[StateDict, list[float]]]:
    """What `fedkit.learning.training.train` does, for K participants at once; the same shuffles, the same batches.

    shards : K pairs (samples [N_k, ...], labels), as the task says them; N_k may differ: a participant that has run out of
    batches stands still until the epoch ends, and no sample is dropped.
    mu : as for `train`. shifts : each participant's `shift`, of all parameters; empty for none.
    Returns (weights, loss of each local epoch) for each.
    """
    count = len(shards)
    weights = {
        name: value.unsqueeze(0).repeat(count, *[1] * value.dim()) for name, value in state.items()
    }
    anchors = {name: value.clone() for name, value in weights.items()} if mu else {}
    shifted = {
        name: torch.stack([shift[name] for shift in shifts]).to(value.device)
        for name, value in weights.items()
        if any(shifts)
    }
    losses: list[list[float]] = [[] for _ in shards]
    sizes = torch.tensor([len(labels) for _, labels in shards])
    for _ in range(epochs):
        total = shards[0][0].new_zeros(count)
        for batch in _batches(shards, batch_size, generators, task):
            tape: Tape = []
            answers = stacked(weights, batch.samples, tape)
            loss, gradient = _slope(task, answers, batch)
            away = {name: weights[name] - anchor for name, anchor in anchors.items()}
            stacked.descend(weights, tape, gradient, learning_rate)
            for name, value in away.items():  # FedProx: the gradient of (mu / 2) ||w - w_global||^2
                weights[name].sub_(value * _here(batch.share, value), alpha=learning_rate * mu)
            for name, value in shifted.items():  # SCAFFOLD: c - c_i on every gradient
                weights[name].sub_(value * _here(batch.share, value), alpha=learning_rate)
            total += (loss * batch.share).sum(1) * batch.there
        for k, value in enumerate((total / sizes.to(total.device)).tolist()):
            losses[k].append(value)
    return [
        ({name: value[k].clone() for name, value in weights.items()}, losses[k])
        for k in range(count)
    ]


def _here(share: Tensor, like: Tensor) -> Tensor:
    """Who has a batch, bool [K,1,...] to be multiplied with a stacked weight: 0 for those who stand still."""
    return share.any(1).view(-1, *[1] * (like.dim() - 1))


class _Batch(NamedTuple):
    """One step's samples [K,B,...] and labels [K,B] or [K,B,outputs], each sample's share [K,B] in its batch's mean, and
    how many samples each participant has in it, [K]."""

    samples: Tensor
    labels: Tensor
    share: Tensor
    there: Tensor


_GATHERED = 64
"""So many samples of each participant are fetched at once: one call for several small batches."""


def _batches(
    shards: Sequence[tuple[Tensor, Tensor]],
    batch_size: int,
    generators: Sequence[torch.Generator],
    task: Task,
) -> Iterator[_Batch]:
    """One local epoch. Where a participant has no sample left, its first one stands with a share of 0."""
    sizes = [len(labels) for _, labels in shards]
    steps = -(-max(sizes) // batch_size)
    samples, place = shards[0][0], shards[0][1].device
    order = torch.zeros(len(shards), steps * batch_size, dtype=torch.long)
    there = torch.zeros(len(shards), steps * batch_size, dtype=samples.dtype)
    weighted = task.loss == "cross_entropy" and task.class_weights is not None
    for k, size in enumerate(sizes):
        order[k, :size] = torch.randperm(size, generator=generators[k])
        there[k, :size] = 1
        if weighted:  # torch's mean is by the weights of the batch's classes
            labels = shards[k][1].cpu()[order[k, :size]]
            there[k, :size] = torch.tensor(task.class_weights)[labels].to(there)
    order, there = order.to(place), there.to(place).view(len(shards), steps, batch_size)
    share = there / there.sum(2, keepdim=True).clamp(min=torch.finfo(there.dtype).tiny)
    count = there.count_nonzero(2)
    several = max(1, _GATHERED // batch_size)
    for first in range(0, steps, several):
        part = order[:, first * batch_size : (first + several) * batch_size]
        fetched = [_fetched([shard[i] for shard in shards], part) for i in range(2)]
        for step in range(part.shape[1] // batch_size):
            of_step = slice(step * batch_size, (step + 1) * batch_size)
            x, y = (values[:, of_step] for values in fetched)
            yield _Batch(x, y, share[:, first + step], count[:, first + step])


def _fetched(pools: Sequence[Tensor], order: Tensor) -> Tensor:
    """Row order[k, b] of each pool, [K,B,...]."""
    rows = pools[0].new_empty(*order.shape, *pools[0].shape[1:])
    for pool, index, into in zip(pools, order, rows, strict=True):
        torch.index_select(pool, 0, index, out=into)
    return rows


def _slope(task: Task, answers: Tensor, batch: _Batch) -> tuple[Tensor, Tensor]:
    """The loss of each sample [K,B], and the gradient of each batch's mean loss by the answers, in their shape."""
    if task.loss == "cross_entropy":  # softmax minus one for the true class
        target = batch.labels.unsqueeze(2)
        scores = F.log_softmax(answers, 2)
        loss = -scores.gather(2, target).squeeze(2)
        gradient = scores.exp().scatter_add_(2, target, scores.new_full((), -1.0).expand_as(target))
        gradient *= batch.share.unsqueeze(2)
        return loss, gradient
    with torch.enable_grad():
        point = answers.detach().requires_grad_()
        each = criterion_of(task)(
            point.flatten(0, 1), batch.labels.flatten(0, 1), reduction="none"
        ).view_as(batch.share)
        (gradient,) = torch.autograd.grad(each, point, batch.share)
    return each.detach(), gradient
