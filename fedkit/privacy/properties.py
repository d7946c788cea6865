"""Which digits does Bob hold, and how many of each? The last layer's change says it, after any number of steps.

Each image of digit k moves the last layer about as the aggregator's own images of k would, so the update is a mixture of
ten known directions, and the shares are the solution of a small least squares problem without negative numbers. During
training the directions turn; their mean along the way is taken by Simpson's rule from the start, the middle and the end,
which the aggregator all has. Property inference: Melis et al. 2019, "Exploiting unintended feature leakage". Notebook 08.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict, load_model
from fedkit.privacy.labels import whole_counts
from fedkit.privacy.seen import Evidence, last_bias

__all__ = ["count_digits"]


def count_digits(seen: Evidence, own: Shard, samples: int | None = None) -> Tensor:
    """An estimate of how many images of each digit are behind an update: int64 [10].

    own : images float32 [N,1,28,28], labels int64 [N] of the aggregator, some of each digit. samples : how many images the
    update has in all; by default what the participant says.
    """
    from scipy.optimize import nnls

    total = samples or seen.num_samples or 1
    middle = {name: (seen.before[name] + seen.update[name]) / 2 for name in seen.before}
    ways = [_directions(seen, state, own) for state in (seen.before, middle, seen.update)]
    mean = (ways[0] + 4 * ways[1] + ways[2]) / 6
    target = -torch.cat([value.flatten() for value in _last_layer(seen.change)])
    shares = torch.from_numpy(nnls(mean.T.numpy(), target.numpy())[0])
    return whole_counts(shares, total)


def _directions(seen: Evidence, state: StateDict, own: Shard) -> Tensor:
    """The last layer's mean gradient on one's own images, digit by digit: float64 [10, L]."""
    model, (images, labels) = load_model(seen.source, seen.config.model_class_name), own
    model.load_state_dict(state)
    parameters = dict(model.named_parameters())
    rows = []
    for digit in range(10):
        chosen = labels == digit
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        found = torch.autograd.grad(loss, list(parameters.values()))
        gradient = dict(zip(parameters, found, strict=True))
        rows.append(torch.cat([value.flatten().double() for value in _last_layer(gradient)]))
    return torch.stack(rows)


def _last_layer(state: StateDict) -> list[Tensor]:
    """Weight and bias of the last layer."""
    bias = last_bias(state)
    name = next(n for n, value in state.items() if value is bias)
    return [state[name.removesuffix("bias") + "weight"], bias]
