"""An audit: how much privacy can't be there, from one training run with canaries in the data.

Each of m canaries is put into the data or left out by the toss of a coin. After the training, an auditor looks at the
result and guesses, for some of them, which it was. Who has epsilon, delta can't be guessed much better than a coin that
falls right with probability e^epsilon / (1 + e^epsilon); whoever is, has less privacy than that. The bound is a
statement about this one training, with a probability of error, and about what these canaries show: a high one refutes a
claim, a low one proves none. Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run". Notebook 09.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.data.shards import Shard
from fedkit.learning.judging import Criterion

__all__ = ["Audit", "audit_guesses", "audit_training", "epsilon_lower_bound", "pixel_canaries"]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    canaries : m. guesses, correct : for how many the auditor named a side, and how often rightly. epsilon : the lower bound
    at `delta`; the true epsilon is below it with probability 1 - confidence at most.
    """

    canaries: int
    guesses: int
    correct: int
    epsilon: float
    delta: float
    confidence: float

    @property
    def ceiling(self) -> float:
        """The largest bound that so many guesses could have given: all of them right. A claim above it can't be refuted."""
        return epsilon_lower_bound(
            self.guesses, self.guesses, self.canaries, self.delta, self.confidence
        )

    def __str__(self) -> str:
        return (
            f"{self.correct} of {self.guesses} guesses right: epsilon is at least {self.epsilon:.2f} "
            f"at delta {self.delta:g} (zero-out neighbours, {self.confidence:.0%} confidence; "
            f"so many guesses can show {self.ceiling:.2f} at most)"
        )


def epsilon_lower_bound(
    correct: int, guesses: int, canaries: int, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """The largest epsilon that so many right guesses refute, 0 where they refute none.

    P[V >= v] <= P[W >= v] + 2 m delta max_i P[v > W >= v - i] / i,   W ~ Binomial(r, e^eps / (1 + e^eps))

    (Steinke et al. 2023, theorem 5.2, for r guesses, v of them right, on m canaries)

    Raises FedkitError for counts that can't be.
    """
    if not 0 <= correct <= guesses <= canaries or guesses < 1:
        raise FedkitError(
            f"{correct} right ones of {guesses} guesses on {canaries} canaries can't be",
            field="correct",
            remedy="count again",
        )
    from scipy.optimize import brentq  # slow to import

    def excess(epsilon: float) -> float:
        return _chance(correct, guesses, canaries, epsilon, delta) - (1 - confidence)

    return 0.0 if excess(0.0) > 0 else float(brentq(excess, 0.0, 50.0))


def _chance(correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses are, at most, where epsilon and delta hold."""
    from scipy.special import bdtrc  # P[W > k], 1 for k < 0

    right, i = 1 / (1 + math.exp(-epsilon)), np.arange(1, correct + 1)
    tail = float(bdtrc(correct - 1, guesses, right))
    below = bdtrc(correct - 1 - i, guesses, right) - tail  # P[v > W >= v - i]
    return min(1.0, tail + 2 * canaries * delta * float((below / i).max(initial=0.0)))


def audit_guesses(
    scores: Tensor,
    included: Tensor,
    guesses: int | None = None,
    delta: float = 0.0,
    confidence: float = 0.95,
) -> Audit:
    """Call the highest scores included and the lowest left out, half of `guesses` each; count; bound.

    scores float [m], included bool [m]. guesses : fixed before anybody looks; default half of the canaries.
    """
    count = len(scores)
    each = (count // 2 if guesses is None else guesses) // 2
    order = scores.argsort(stable=True)
    correct = int(included[order[count - each :]].sum()) + int((~included[order[:each]]).sum())
    bound = epsilon_lower_bound(correct, 2 * each, count, delta, confidence)
    return Audit(count, 2 * each, correct, bound, delta, confidence)


def pixel_canaries(images: Tensor, count: int, label: int = 0) -> Shard:
    """`count` images with one bright pixel each, where none of `images` has ink; all with the same label.

    In a first layer, each moves weights that no other image touches. Raises FedkitError if there are too few such pixels.
    """
    blank = (images.flatten(1).amax(0) == 0).nonzero().flatten()
    if len(blank) < count:
        raise FedkitError(
            f"have ink in all but {len(blank)} pixels, {count} are asked for",
            field="images",
            remedy="take fewer canaries, or fewer images",
        )
    spread = blank[torch.linspace(0, len(blank) - 1, count).round().long()]
    canaries = torch.zeros(count, images[0].numel())
    canaries[torch.arange(count), spread] = 1.0
    return canaries.view(count, *images.shape[1:]), torch.full((count,), label)


def audit_training(
    train: Callable[[Shard], Mapping[str, Tensor]],
    model: nn.Module,
    before: Mapping[str, Tensor],
    shard: Shard,
    canaries: Shard,
    *,
    generator: torch.Generator,
    guesses: int | None = None,
    delta: float = 0.0,
    confidence: float = 0.95,
    loss_of: Criterion = F.cross_entropy,
) -> Audit:
    """Toss a coin for each canary, train once on the shard with those that fell in, and guess by how far each loss fell.

    train : from a shard to the weights that others get to see, starting from `before`.
    loss_of : the project's loss, as `criterion_of` gives it for the config's task.
    """
    included = torch.rand(len(canaries[1]), generator=generator) < 0.5
    mixed = (
        torch.cat([shard[0], canaries[0][included]]),
        torch.cat([shard[1], canaries[1][included]]),
    )
    after = train(mixed)
    losses = []
    for state in (before, after):
        model.load_state_dict(dict(state))
        model.eval()
        with torch.no_grad():
            losses.append(loss_of(model(canaries[0]), canaries[1], reduction="none"))
    return audit_guesses(losses[0] - losses[1], included, guesses, delta, confidence)
