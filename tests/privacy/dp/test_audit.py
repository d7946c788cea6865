"""Audits and a strong guess: sound where privacy is there, alarmed where the noise was forgotten."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.learning.models import load_model
from fedkit.privacy.attacks.membership import gradient_coefficients, gradients_of
from fedkit.privacy.attacks.roc import auc
from fedkit.privacy.dp.account import noise_for
from fedkit.privacy.dp.audit import (
    Audit,
    audit_guesses,
    audit_training,
    epsilon_lower_bound,
    pixel_canaries,
)
from fedkit.privacy.dp.noise import SeededNoise
from fedkit.privacy.dp.training import dp_sgd
from tests.support.helpers import LINEAR, linear_weights, shard
from tests.support.privacy import Every

DELTA = 1e-5


@cache
def audited(epsilon: float, seed: int, forgotten: bool = False) -> Audit:
    """DP-SGD on 200 digits and some canaries, in five steps with all images."""
    data, start, model = shard(range(10), 20), linear_weights(), load_model(LINEAR)
    noise = Every() if forgotten else SeededNoise(seed, "n")

    def train(mixed: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        settings = {"epochs": 5, "steps": 1, "learning_rate": 0.5, "clip": 1.0}
        sigma = noise_for(epsilon, DELTA, 1.0, 5)
        sample = SeededNoise(seed, "s")
        return dp_sgd(
            model, start, mixed, **settings, noise_multiplier=sigma, noise=noise, sample=sample
        )[0]

    canaries, coin = pixel_canaries(data[0], 240), generator(seed, "coin")
    return audit_training(train, model, start, data, canaries, generator=coin, delta=DELTA)


def test_forgotten_noise_is_caught() -> None:
    """A claim of 1 or 2 is refuted by one run, whatever the seed."""
    for epsilon, seed in product((1.0, 2.0), range(3)):
        assert audited(epsilon, seed, forgotten=True).epsilon > epsilon + 1


def test_what_keeps_its_promise_is_not_refuted() -> None:
    for epsilon, seed in product((1.0, 2.0, 8.0), range(3)):
        assert audited(epsilon, seed).epsilon <= epsilon


def test_less_privacy_shows() -> None:
    """The bound grows with epsilon, and is above zero where there is little privacy: the auditor does see something."""
    weak = [audited(16.0, seed).epsilon for seed in range(3)]
    strong = [audited(1.0, seed).epsilon for seed in range(3)]
    assert min(weak) > 0.8
    assert max(strong) < 0.5


def test_the_bound_is_right_as_often_as_it_says() -> None:
    """Against randomised response, which has epsilon exactly: at most about 5 % of bounds are too high."""
    draw, wrong, runs = torch.Generator().manual_seed(0), 0, 400
    for epsilon in (0.5, 2.0):
        kept = torch.rand(runs, 200, generator=draw) < 1 / (1 + math.exp(-epsilon))
        right = kept.sum(1).tolist()
        known = {k: epsilon_lower_bound(k, 200, 200) for k in set(right)}
        bounds = [known[k] for k in right]
        wrong += sum(b > epsilon for b in bounds)
        assert sorted(bounds)[runs // 2] > epsilon - 0.6  # and no worse than it must be
    assert wrong <= 0.05 * 2 * runs + 2 * math.sqrt(0.05 * 2 * runs)


def test_the_bound_by_hand() -> None:
    """All of r guesses right: q^r = 1 - confidence, so epsilon = log(q / (1 - q)); and delta costs something."""
    q = 0.05 ** (1 / 100)
    assert epsilon_lower_bound(100, 100, 300) == pytest.approx(math.log(q / (1 - q)), rel=1e-6)
    assert 0 < epsilon_lower_bound(100, 100, 300, 1e-4) < epsilon_lower_bound(100, 100, 300)
    assert epsilon_lower_bound(50, 100, 100) == 0.0
    with pytest.raises(FedkitError):
        epsilon_lower_bound(5, 4, 10)


def test_guesses_are_made_at_both_ends() -> None:
    scores = torch.tensor([0.1, 5.0, -3.0, 0.2, 4.0, -4.0])
    included = torch.tensor([True, True, False, False, False, False])
    found = audit_guesses(scores, included, guesses=4)
    assert (found.canaries, found.guesses, found.correct) == (6, 4, 3)


def test_canaries_are_where_no_image_has_ink() -> None:
    images, _ = shard(range(10), 5)
    canaries, labels = pixel_canaries(images, 100, label=3)
    assert canaries.shape == (100, 1, 28, 28)
    assert torch.equal(canaries.flatten(1).sum(1), torch.ones(100))
    assert float((canaries.sum(0) * images.amax(0)).max()) == 0
    assert len(canaries.flatten(1).argmax(1).unique()) == 100
    assert set(labels.tolist()) == {3}
    with pytest.raises(FedkitError):
        pixel_canaries(images, 784)


# ------------------------------------------------------------------------------- a strong guess
def test_gradients_equal_a_loops() -> None:
    data, model, state = shard([1, 7], 2), load_model(LINEAR), linear_weights()
    model.load_state_dict(state)
    for row, image, label in zip(gradients_of(model, state, data), *data, strict=True):
        loss = F.cross_entropy(model(image[None]), label[None])
        loop = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
        assert torch.allclose(row.float(), loop, atol=1e-6)


def test_one_step_gives_its_images_away_and_noise_hides_them() -> None:
    inside, outside = shard(range(10), 3), shard(range(10), 3, start=50)
    both = torch.cat([inside[0], outside[0]]), torch.cat([inside[1], outside[1]])
    model, start = load_model(LINEAR), linear_weights()
    found = {}
    for sigma in (1e-6, 30.0):
        settings = {"epochs": 1, "steps": 1, "learning_rate": 0.5, "clip": 1.0}
        chance = {"noise": SeededNoise(0), "sample": SeededNoise(1)}
        after, _ = dp_sgd(model, start, inside, **settings, noise_multiplier=sigma, **chance)
        scores = gradient_coefficients(model, start, after, both, clip=1.0, noise=sigma)
        found[sigma] = auc(scores[:30], scores[30:])
        if sigma < 1:
            assert torch.allclose(scores[:30], torch.full((30,), 0.5 / 30).double(), atol=1e-3)
    assert found[1e-6] == 1.0
    assert found[30.0] < 0.75


def test_auc_counts_pairs() -> None:
    assert auc(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 3.0])) == pytest.approx(2.5 / 4)
