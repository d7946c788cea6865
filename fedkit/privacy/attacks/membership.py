"""Was this image in somebody's training data? Three attacks, beside the row-space test of `first_layer`.

A model is surer of what it was trained on. `confidence` is how sure it is; a threshold on it is the oldest attack (Yeom
et al. 2018). But some images are easy for every model: LiRA (Carlini et al. 2022, "Membership inference attacks from
first principles", offline variant) trains shadow models without the image and asks how unusual the confidence is among
theirs. The aggregator can train such shadows: it has the global model, the config and images of its own. Notebook 08.

Someone who suspects N images, and knows the model, can compute each one's gradient. One step of training is a weighted
sum of the gradients of the images that were in it, so a least squares fit, `gradient_coefficients`, tells them apart from
the others, as long as there are fewer candidates than weights. Clipping changes the weights only; noise is what spoils the
fit. It is the attacker of the definition: everything is known but the answer. Notebook 09.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.data.shards import Shard
from fedkit.learning.judging import Criterion, criterion_of
from fedkit.learning.models import StateDict
from fedkit.learning.training import train
from fedkit.privacy.attacks.evidence import Evidence
from fedkit.privacy.dp.clip import clip_rows

__all__ = ["confidence", "gradient_coefficients", "gradients_of", "lira", "train_shadows"]


def confidence(seen: Evidence, state: StateDict, candidates: Shard) -> Tensor:
    """log(p / (1 - p)) of the true label under the model with weights `state`: float64 [N].

    It orders single images as minus the loss does, and is nearly normally distributed (Carlini et al. 2022, section IV.C).
    Where labels are no classes, it is minus the loss.
    """
    model, (images, labels), task = seen.model(state), candidates, seen.config.task
    with torch.no_grad():
        logits = torch.cat([model(part) for part in images.split(1000)]).double()
    if task.labels != "classes":
        return -criterion_of(task)(logits, labels.double(), reduction="none")
    true = logits.gather(1, labels[:, None])
    rest: Tensor = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    return true[:, 0] - rest


def train_shadows(seen: Evidence, own: Shard, count: int, seed: int = 0) -> list[StateDict]:
    """`count` models trained as the participant was told to, from the same global model, on images of one's own.

    own : at least as many images as the participant says it has; each shadow draws that many of them.
    Raises FedkitError if there are too few, or the participant has not said how many.
    """
    size = seen.num_samples or 0
    if not 0 < size <= len(own[1]):
        raise FedkitError(
            f"are {len(own[1])}, the participant trains on {size or 'an unknown number'}",
            field="own",
            remedy="give at least as many images as the participant has",
        )
    model, shadows = seen.model(seen.before), []
    for number in range(count):
        random = generator(seed, "shadow", number)
        chosen = torch.randperm(len(own[1]), generator=random)[:size]
        trained, _ = train(
            model,
            seen.before,
            (own[0][chosen], own[1][chosen]),
            epochs=seen.epochs,
            learning_rate=seen.learning_rate,
            batch_size=seen.config.batch_size,
            generator=random,
            loss_of=criterion_of(seen.config.task),
            optimizer=seen.config.optimizer,
        )
        shadows.append(trained)
    return shadows


def lira(
    seen: Evidence, state: StateDict, shadows: Sequence[StateDict], candidates: Shard
) -> Tensor:
    """How unusual is each candidate's confidence among shadows that never saw it? float64 [N], higher says member.

    z = (phi(x) - mu_out(x)) / sigma   (Carlini et al. 2022, equation 4, with one sigma for all images, as for few shadows)

    state : the attacked model, an update or a global model. shadows : at least 2, none trained on the candidates.
    """
    without = torch.stack([confidence(seen, shadow, candidates) for shadow in shadows])
    spread = without.std(0).square().mean().sqrt().clamp_min(1e-12)
    return (confidence(seen, state, candidates) - without.mean(0)) / spread


def gradients_of(
    model: nn.Module,
    state: Mapping[str, Tensor],
    shard: Shard,
    loss_of: Criterion = F.cross_entropy,
) -> Tensor:
    """The gradient of each image's own loss, float64 [N, D], in the order of the model's parameters."""
    wanted = {n: p for n, p in model.named_parameters() if p.requires_grad}
    weights = {n: state[n] for n in wanted}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, {**state, **weights}, (image[None],))
        return loss_of(logits, label[None])

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
    loss_of: Criterion = F.cross_entropy,
) -> Tensor:
    """How much of each candidate's gradient stands in (before - after): float64 [N]; high says it was trained on.

    min_a ||before - after - sum_i a_i g_i||^2 + noise^2 ||a||^2

    clip : the norm to which gradients were cut. noise : standard deviation of the noise on a weight, divided by the
    coefficient of an image that is in it; both stand in the config. loss_of : what was trained with, as `criterion_of`
    gives it for the config's task. Exact for one step without noise.
    """
    rows = gradients_of(model, before, candidates, loss_of)
    rows = rows if clip is None else clip_rows(rows, clip)
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    change = torch.cat([(before[n].double() - after[n].double()).flatten() for n in names])
    gram = rows @ rows.T
    ridge = max(noise**2, 1e-9 * float(gram.diagonal().mean()))
    solved: Tensor = torch.linalg.solve(gram + ridge * torch.eye(len(rows)), rows @ change)
    return solved
