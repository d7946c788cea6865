"""A strong guess at who is in a change: which sum of candidates' gradients explains it best?

Someone who suspects N images, and knows the model, can compute each one's gradient. One step of training is a weighted
sum of the gradients of the images that were in it, so a least squares fit tells them apart from the others, as long as
there are fewer candidates than weights. Clipping changes the weights only; noise is what spoils the fit. It is the
attacker of the definition: everything is known but the answer. Notebook 09.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fedkit.data.shards import Shard

__all__ = ["gradient_coefficients", "gradients_of"]


def gradients_of(model: nn.Module, state: Mapping[str, Tensor], shard: Shard) -> Tensor:
    """The gradient of each image's own loss, float64 [N, D], in the order of the model's parameters."""
    wanted = {n: p for n, p in model.named_parameters() if p.requires_grad}
    weights = {n: state[n] for n in wanted}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, {**state, **weights}, (image[None],))
        return F.cross_entropy(logits, label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, *shard)
    return torch.cat([each[n].flatten(1).double() for n in wanted], dim=1)


def gradient_coefficients(
    model: nn.Module,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    candidates: Shard,
    *,
    clip: float | None = None,
    noise: float = 0.0,
) -> Tensor:
    """How much of each candidate's gradient stands in (before - after): float64 [N]; high says it was trained on.

    min_a ||before - after - sum_i a_i g_i||^2 + noise^2 ||a||^2

    clip : the norm to which gradients were cut. noise : standard deviation of the noise on a weight, divided by the
    coefficient of an image that is in it; both stand in the config. Exact for one step without noise.
    """
    rows = gradients_of(model, before, candidates)
    if clip is not None:
        rows = rows * torch.clamp(clip / rows.norm(dim=1, keepdim=True), max=1)
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    change = torch.cat([(before[n].double() - after[n].double()).flatten() for n in names])
    gram = rows @ rows.T
    ridge = max(noise**2, 1e-9 * float(gram.diagonal().mean()))
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(rows)), rows @ change)
    return solved
