"""Was this image in somebody's training data? Two attacks that only ask the model, beside the row-space test.

A model is surer of what it was trained on. `confidence` is how sure it is; a threshold on it is the oldest attack (Yeom
et al. 2018). But some images are easy for every model: LiRA (Carlini et al. 2022, "Membership inference attacks from
first principles", offline variant) trains shadow models without the image and asks how unusual the confidence is among
theirs. The aggregator can train such shadows: it has the global model, the config and images of its own. Notebook 08.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.training import train
from fedkit.privacy.seen import Evidence

__all__ = ["confidence", "lira", "train_shadows"]


def confidence(seen: Evidence, state: StateDict, candidates: Shard) -> Tensor:
    """log(p / (1 - p)) of the true label under the model with weights `state`: float64 [N].

    It orders single images as minus the loss does, and is nearly normally distributed (Carlini et al. 2022, section IV.C).
    """
    model = load_model(seen.source, seen.config.model_class_name)
    model.load_state_dict(state)
    images, labels = candidates
    with torch.no_grad():
        logits = torch.cat([model.eval()(part) for part in images.split(1000)]).double()
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
    model = load_model(seen.source, seen.config.model_class_name)
    shadows = []
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
