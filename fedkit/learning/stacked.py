"""Several participants trained at once: their weights stacked along a first axis, their batches in one batched product.

Two things make a small model's step expensive: the overhead of each operation, and the traffic of weights and gradients
through memory. Here K participants share each operation, and no gradient of a weight matrix is ever stored: backward and
the step of SGD are one product, W <- W - eta delta^T x, straight into the weights. The model's graph is read with
`torch.fx`; chains of Linear layers and functions of each number alone are taken, any other model is refused with
`NotStackable`, so that the caller trains it one by one.

Local training of several participants at once, on a `StackedModel`: the same shuffles and batches as
`fedkit.learning.training`.

The sums run in another order than one by one: weights agree to about 1e-12 in float64 and 1e-7 in float32, except where a
ReLU flips on a rounding error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fedkit.learning.models import StateDict

__all__ = ["NotStackable", "StackedModel", "train_stacked"]


class NotStackable(Exception):
    """The model holds something that we can't stack; its name is the message."""


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
_RELU = (torch.relu, F.relu, "relu")
_ELEMENTWISE = (*_RELU, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.leaky_relu, F.elu)
_ELEMENTWISE_METHODS = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}


@dataclass(frozen=True)
class _Layer:
    """One link of the chain: a Linear layer, a function of each number, or, where all is empty, a flattening."""

    linear: str = ""
    function: Callable[[Tensor], Tensor] | None = None
    relu: bool = False


Tape = list[tuple[Tensor, Tensor]]
"""What each layer took in and gave out."""


class StackedModel:
    """A model whose every parameter has a first axis of length K, one slice a participant.

    Raises NotStackable if the model is anything but a chain of Linear layers and elementwise functions on flattened images.
    """

    def __init__(self, model: nn.Module) -> None:
        if any(True for _ in model.buffers()):
            raise NotStackable("buffers (such as batch normalisation's)")
        if any(not p.requires_grad for p in model.parameters()):
            raise NotStackable("frozen parameters")
        if len(list(model.parameters())) != len(model.state_dict()):
            raise NotStackable("parameters with two names")
        try:
            graph = fx.symbolic_trace(model)
        except Exception as error:  # fx raises many kinds for what it can't trace
            raise NotStackable(
                f"a forward() that can't be traced ({type(error).__name__})"
            ) from error
        self._modules = dict(graph.named_modules())
        self.layers = [self._layer(node) for node in _chain(graph.graph)]
        names = [layer.linear for layer in self.layers if layer.linear]
        if len(set(names)) != len(names):
            raise NotStackable("a layer that is used twice")

    def _layer(self, node: fx.Node) -> _Layer:
        if node.op == "call_module":
            module = self._modules[str(node.target)]
            if isinstance(module, nn.Linear):
                return _Layer(linear=str(node.target))
            if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
                return _Layer()
            if isinstance(module, _ELEMENTWISE_MODULES):
                return _Layer(function=module, relu=isinstance(module, nn.ReLU))
            raise NotStackable(type(module).__name__)
        plain = not node.kwargs and all(not isinstance(a, fx.Node) for a in node.args[1:])
        target: Any = node.target
        if target in _FLATTEN and node.args[1:] == (1,):
            return _Layer()
        if node.op == "call_function" and target in _ELEMENTWISE and plain:
            rest = node.args[1:]
            return _Layer(function=lambda value: target(value, *rest), relu=target in _RELU)
        if node.op == "call_method" and target in _ELEMENTWISE_METHODS and plain:
            return _Layer(function=_ELEMENTWISE_METHODS[target], relu=target in _RELU)
        raise NotStackable(str(target))

    def __call__(
        self, weights: Mapping[str, Tensor], images: Tensor, tape: Tape | None = None
    ) -> Tensor:
        """Logits [K,B,10] of images [K,B,...] with stacked weights (name -> [K, ...]); fills the tape."""
        value = images
        for layer in self.layers:
            before = value
            if layer.linear:
                weight = weights[f"{layer.linear}.weight"].transpose(1, 2)
                bias = weights.get(f"{layer.linear}.bias")
                if bias is None:
                    value = torch.bmm(before, weight)
                else:
                    value = torch.baddbmm(bias.unsqueeze(1), before, weight)
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
        """Backward from the gradient of the logits [K,B,10]; each layer's step of SGD is taken on the way, in place."""
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


def _chain(graph: fx.Graph) -> Iterator[fx.Node]:
    """The nodes that lead from the images to the logits, in order. Raises NotStackable unless they are one chain."""
    nodes = list(graph.nodes)
    links, node = list[fx.Node](), nodes[-1].args[0]
    while isinstance(node, fx.Node) and node.op in ("call_module", "call_function", "call_method"):
        links.append(node)
        node = node.args[0] if node.args else None
    if not isinstance(node, fx.Node) or node.op != "placeholder" or len(links) != len(nodes) - 2:
        raise NotStackable("a forward() that is no chain of layers")
    return reversed(links)


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
) -> list[tuple[StateDict, list[float]]]:
    """What `fedkit.learning.training.train` does, for K participants at once; the same shuffles, the same batches.

    shards : K pairs (images [N_k,1,28,28], labels int64 [N_k]), N_k may differ: a participant that has run out of batches
    stands still until the epoch ends, and no sample is dropped.
    mu : as for `train`. shifts : each participant's `shift`, of all parameters; empty for none.
    Returns (weights, loss of each local epoch) for each.
    """
    count = len(shards)
    images = torch.cat([shard[0] for shard in shards])
    labels = torch.cat([shard[1] for shard in shards])
    sizes = torch.tensor([len(shard[1]) for shard in shards])
    starts = torch.cumsum(sizes, 0) - sizes
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
    minus_one = images.new_full((), -1.0)
    for _ in range(epochs):
        total = torch.zeros(count, dtype=images.dtype, device=images.device)
        for index, share in _batches(sizes, starts, batch_size, generators, images):
            tape: Tape = []
            target = labels[index].unsqueeze(2)
            scores = F.log_softmax(stacked(weights, images[index], tape), 2)
            loss = -scores.gather(2, target).squeeze(2)
            # the gradient of the mean cross entropy: softmax minus one for the true class
            gradient = scores.exp().scatter_add_(2, target, minus_one.expand_as(target))
            gradient *= share.unsqueeze(2)
            away = {name: weights[name] - anchor for name, anchor in anchors.items()}
            stacked.descend(weights, tape, gradient, learning_rate)
            for name, value in away.items():  # FedProx: the gradient of (mu / 2) ||w - w_global||^2
                weights[name].sub_(value * _here(share, value), alpha=learning_rate * mu)
            for name, value in shifted.items():  # SCAFFOLD: c - c_i on every gradient
                weights[name].sub_(value * _here(share, value), alpha=learning_rate)
            total += (loss * share).sum(1) * share.count_nonzero(1)
        for k, value in enumerate((total / sizes.to(total.device)).tolist()):
            losses[k].append(value)
    return [
        ({name: value[k].clone() for name, value in weights.items()}, losses[k])
        for k in range(count)
    ]


def _here(share: Tensor, like: Tensor) -> Tensor:
    """Who has a batch, bool [K,1,...] to be multiplied with a stacked weight: 0 for those who stand still."""
    return share.any(1).view(-1, *[1] * (like.dim() - 1))


def _batches(
    sizes: Tensor,
    starts: Tensor,
    batch_size: int,
    generators: Sequence[torch.Generator],
    images: Tensor,
) -> list[tuple[Tensor, Tensor]]:
    """One local epoch: (index [K,B] into the pooled samples, share [K,B] of each sample in its batch's mean)."""
    longest = int(sizes.max())
    steps = -(-longest // batch_size)
    order = torch.zeros(len(sizes), steps * batch_size, dtype=torch.long)
    there = torch.zeros(len(sizes), steps * batch_size, dtype=torch.bool)
    for k, (size, start) in enumerate(zip(sizes.tolist(), starts.tolist(), strict=True)):
        order[k, :size] = torch.randperm(size, generator=generators[k]) + start
        order[k, size:] = start
        there[k, :size] = True
    order, mask = order.to(images.device), there.to(images.device, images.dtype)
    pairs = []
    for step in range(steps):
        part = slice(step * batch_size, (step + 1) * batch_size)
        here = mask[:, part]
        pairs.append((order[:, part], here / here.sum(1, keepdim=True).clamp(min=1)))
    return pairs
