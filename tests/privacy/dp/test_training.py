"""DP-SGD and noisy means against loops, formulas and Opacus itself; the same bits in both worlds."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import opacus
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.learning.models import StateDict, load_model, state_of
from fedkit.learning.update import Update
from fedkit.privacy.dp.clip import clip_rows, next_clip, noisy_mean, share_of_noise, split_noise
from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
from fedkit.privacy.dp.training import dp_sgd
from fedkit.protocol.approval import approve_all
from fedkit.rounds.round import draw
from fedkit.rounds.simulation import simulate
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    held_out,
    launched,
    shard,
    small,
)

EXAMPLE = {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.5}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 0.5, "delta": 1e-3, "clip": 0.1}


class Every:
    """A source of chance that takes every image into every step, and adds no noise."""

    def uniform(self, count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.float64)

    def normal(self, shape: Any, std: float) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64)


def settings_of(**changes: Any) -> dict[str, Any]:
    plain = {"epochs": 1, "steps": 1, "learning_rate": 0.1, "clip": 0.5, "noise_multiplier": 1.0}
    return {**plain, "noise": SeededNoise(1), "sample": SeededNoise(2), **changes}


def state() -> StateDict:
    return state_of(load_model(LINEAR))


def clipped_by_a_loop(model: nn.Module, data: tuple[Tensor, Tensor], clip: float) -> list[Tensor]:
    """The sum of the clipped gradients, image by image."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for image, label in zip(*data, strict=True):
        loss = F.cross_entropy(model(image[None]), label[None])
        gradients = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        for part, gradient in zip(total, gradients, strict=True):
            part += gradient * min(1.0, clip / norm)
    return total


# ------------------------------------------------------------------------------------------ DP-SGD
def test_a_step_is_the_sum_of_clipped_gradients_of_single_images() -> None:
    """With every image in it and no noise: w - eta / N sum_i clip(grad l_i), by a loop."""
    data, start = shard([3, 5], 4), state()
    model = load_model(LINEAR)
    got, losses = dp_sgd(model, start, data, **settings_of(noise=Every(), sample=Every()))
    model.load_state_dict(start)
    total = clipped_by_a_loop(model, data, 0.5)
    for (name, value), part in zip(got.items(), total, strict=True):
        wanted = start[name] - 0.1 / 8 * part
        assert torch.allclose(value, wanted, atol=1e-6), name
    assert losses == [pytest.approx(F.cross_entropy(model(data[0]), data[1]).item(), rel=1e-5)]


@pytest.mark.filterwarnings("ignore:Secure RNG")
def test_a_step_is_that_of_opacus_make_private() -> None:
    """The whole engine of Opacus, fed with the same generator, moves to the same weights."""
    data, start = shard([3, 5], 4), state()
    ours, _ = dp_sgd(load_model(LINEAR), start, data, **settings_of(sample=Every(), epochs=3))
    model = load_model(LINEAR).train()
    model.load_state_dict(start)
    private, optimizer, _ = opacus.PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=DataLoader(TensorDataset(*data), batch_size=8),
        noise_multiplier=1.0,
        max_grad_norm=0.5,
        poisson_sampling=False,
        noise_generator=SeededNoise(1).generator,
    )
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(private(data[0].requires_grad_()), data[1]).backward()
        optimizer.step()
    for name, value in state_of(model).items():
        assert torch.allclose(value, ours[name], atol=1e-6), name


def test_noise_has_the_promised_size() -> None:
    """One step on one image: what is not the clipped gradient has deviation eta sigma C / (q N)."""
    data, start = shard([1], 1), state()
    for noise in (SeededNoise(5), SystemNoise()):
        chosen = settings_of(noise=noise, sample=Every(), noise_multiplier=3.0, steps=2)
        noisy, _ = dp_sgd(load_model(LINEAR), start, data, **chosen)
        clean, _ = dp_sgd(load_model(LINEAR), start, data, **(chosen | {"noise": Every()}))
        added = torch.cat([(noisy[k] - clean[k]).flatten() for k in start])
        expected = math.sqrt(2) * 0.1 * 3.0 * 0.5 / 0.5  # two steps; q = 1/2, N = 1
        assert float(added.std()) == pytest.approx(expected, rel=0.05)
        assert abs(float(added.mean())) < 4 * expected / math.sqrt(len(added))


def test_images_enter_a_step_each_on_its_own() -> None:
    """Poisson sampling: sizes of batches vary as a binomial's, and an empty batch is a step too."""
    sizes = []

    class Counting(SeededNoise):
        def uniform(self, count: int) -> Tensor:
            drawn = super().uniform(count)
            sizes.append(int((drawn < 0.2).sum()))
            return drawn

    dp_sgd(
        load_model(LINEAR),
        state(),
        shard([1], 4),
        **settings_of(sample=Counting(3), steps=5, epochs=40),
    )
    assert len(sizes) == 200
    assert 0 in sizes
    assert sum(sizes) / 200 == pytest.approx(0.8, abs=4 * math.sqrt(0.64 / 200))


def test_fedprox_pulls_without_noise() -> None:
    """From a second step on, w is pulled towards where it started: w_2' - w_2 = -eta mu (w_1 - w_0)."""
    data, start = shard([1, 2], 2), state()
    plain = settings_of(noise=Every(), sample=Every(), steps=1)
    (one, _), (two, _) = (
        dp_sgd(load_model(LINEAR), start, data, **(plain | {"epochs": k})) for k in (1, 2)
    )
    pulled, _ = dp_sgd(load_model(LINEAR), start, data, **(plain | {"epochs": 2}), mu=0.7)
    for name, value in pulled.items():
        wanted = two[name] - 0.1 * 0.7 * (one[name] - start[name])
        assert torch.allclose(value, wanted, atol=1e-6)


@pytest.mark.parametrize(
    "layers",
    ["nn.Linear(784, 10), nn.BatchNorm1d(10)", "nn.Linear(784, 10), Centre()"],
)
def test_a_model_in_which_images_meet_is_refused(layers: str) -> None:
    source = f"""
from torch import nn
class Centre(nn.Module):
    def forward(self, x):
        return x - x.mean(0)
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), {layers})
"""
    model = load_model(source)
    with pytest.raises(FedkitError) as caught:
        dp_sgd(model, state_of(model), shard([1], 2), **settings_of())
    assert caught.value.field == "model_arch"


def test_drop_out_repeats_too() -> None:
    """A model that draws for itself: the same seeds give the same bits, other ones do not."""
    source = """
from torch import nn
class FLModel(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
"""
    model, data, found = load_model(source), shard([1, 2], 2), []
    start = state_of(model)
    for own in (1, 1, 2):
        settings = settings_of(noise=Every(), sample=Every(), own_randomness=own)
        found.append(dp_sgd(model, start, data, **settings)[0]["2.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_system_noise_is_gaussian_and_uniform_and_never_the_same() -> None:
    noise = SystemNoise()
    drawn = noise.normal((20_000,), 2.0)
    assert float(drawn.std()) == pytest.approx(2.0, rel=0.03)
    assert float((drawn.abs() < 2).double().mean()) == pytest.approx(0.6827, abs=0.015)
    assert float(noise.uniform(20_000).mean()) == pytest.approx(0.5, abs=0.015)
    assert noise.uniform(0).shape == (0,)
    assert not torch.equal(noise.normal((4,), 1.0), noise.normal((4,), 1.0))


# ---------------------------------------------------------------------------------- noisy means
@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=4),
    clip=st.floats(1e-6, 1e6),
)
@settings(max_examples=60)
def test_clipping_never_raises_a_norm(rows: list[list[float]], clip: float) -> None:
    changes = torch.tensor(rows, dtype=torch.float64)
    after = clip_rows(changes, clip)
    norms, before = after.norm(dim=1), changes.norm(dim=1)
    assert bool((norms <= before * (1 + 1e-12)).all())
    assert bool((norms <= clip * (1 + 1e-12)).all())
    short = before < clip * (1 - 1e-12)
    assert torch.equal(after[short], changes[short])


def test_one_row_moves_the_sum_by_at_most_the_clip() -> None:
    """The sensitivity that the noise is made for, with or without that participant."""
    changes = 10 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double()
    for k in range(5):
        others = changes[[i for i in range(5) if i != k]]
        moved = noisy_mean(changes, 0.3, 1.0, 1, Every()) - noisy_mean(others, 0.3, 1.0, 1, Every())
        assert float(moved.norm()) == pytest.approx(0.3)


def test_noisy_mean_is_the_mean_and_noise_of_its_size() -> None:
    small_changes = torch.full((4, 10_000), 0.001, dtype=torch.float64)
    got = noisy_mean(small_changes, 0.5, 2.0, 8, SeededNoise(0))
    assert float(got.mean()) == pytest.approx(0.0005, abs=0.005)
    assert float(got.std()) == pytest.approx(2.0 * 0.5 / 8, rel=0.03)


def test_shares_of_noise_add_up_to_the_whole() -> None:
    """Variances add: K shares have the deviation of one noise, sigma C."""
    before = {"w": torch.zeros(20_000), "seen": torch.tensor(3)}
    trained = {"w": torch.full((20_000,), 7.0), "seen": torch.tensor(9)}
    total = torch.zeros(20_000, dtype=torch.float64)
    for k in range(4):
        sent = share_of_noise(before, trained, 0.1, 5.0, 4, SeededNoise(0, k))
        assert torch.equal(sent["seen"], before["seen"])
        total += sent["w"].double()
    assert float(total.std()) == pytest.approx(0.5, rel=0.03)
    assert float(total.mean() * math.sqrt(20_000)) == pytest.approx(0.4, abs=4 * 0.5)


def test_adaptive_clipping_divides_the_budget_and_finds_the_quantile() -> None:
    """Theorem 1: both noises together are worth the one. Without noise on the count, C goes to the quantile."""
    z, b = 0.8, 1.5
    assert split_noise(z, b) ** -2 + (2 * b) ** -2 == pytest.approx(z**-2)
    norms, clip = torch.linspace(0.1, 2.0, 101), 10.0
    for _ in range(200):
        clip = next_clip(clip, float((norms <= clip).sum()), 101, 0.5, 0.2)
    assert clip == pytest.approx(1.05, rel=0.05)


def test_adaptive_clipping_in_rounds(tmp_path: Path) -> None:
    """The clipping norm is remembered from round to round, on disk as in memory, and moves as the counts say."""
    dp = PARTICIPANT | {"noise_multiplier": 0.1, "clip": 50.0, "adaptive_clip": {}}
    net = launched(tmp_path, rounds=3, dp=dp, weighting="equal")
    told = [r.diagnostics for r in net.run(approve=approve_all).rounds]
    assert [d["clip"] for d in told][:2] == [
        50.0,
        pytest.approx(50 * math.exp(-0.2 * (told[0]["unclipped"] - 0.5))),
    ]
    assert told[0]["unclipped"] == pytest.approx(1.0, abs=0.3)


# -------------------------------------------------------------------------------- in both worlds
@pytest.mark.parametrize(
    "changes",
    [
        {"dp": EXAMPLE},
        {"dp": PARTICIPANT, "weighting": "equal", "strategy": {"name": "fedavgm"}},
        {"dp": PARTICIPANT, "weighting": "equal", "participants_per_round": 1},
        {"dp": PARTICIPANT | {"noise_at": "participants"}, "weighting": "equal"},
        {
            "dp": PARTICIPANT | {"noise_at": "participants"},
            "weighting": "equal",
            "secure_aggregation": {"threshold": 2},
        },
    ],
    ids=["example", "participant", "sampled", "shares", "shares in a sum"],
)
def test_same_bits_in_both_worlds(changes: dict[str, Any], tmp_path: Path) -> None:
    net = launched(tmp_path, **changes)
    history = net.run(approve=approve_all)
    assert history.done, history
    config = FLConfig.load(net[AGGREGATOR].aggregator().done / "MNIST_FL" / "fl_config.json")
    shards = [shard([0, 1]), shard([2, 3])]
    simulated = simulate(config, shards, held_out(), model=LINEAR, exact=True)
    assert simulated.accuracies == history.accuracies
    for ours, theirs in zip(simulated.rounds, history.rounds, strict=True):
        assert (ours.accuracy, ours.loss) == (theirs.accuracy, theirs.loss)
        if "secure_aggregation" not in changes:  # which hides what each has sent
            assert ours.contributions == theirs.contributions
            assert ours.diagnostics == theirs.diagnostics
    told = {part.loss for r in history.rounds for part in r.contributions}
    quiet = changes["dp"]["unit"] == "example" or "noise_at" in changes["dp"]
    assert (told <= {None}) == quiet or not told  # a loss depends on images, and no noise covers it


def test_a_round_is_the_mean_of_clipped_changes_and_the_noise_of_its_seed() -> None:
    """w + (sum_k clip(Delta_k) + noise) / m, the noise drawn anew from (seed, aggregator, round)."""
    config = small(weighting="equal", dp=PARTICIPANT | {"clip": 10.0}, rounds=1)
    model = state()
    far, near = ({k: v + move for k, v in model.items()} for move in (0.25, -0.01))
    updates = [Update(e, 1, sent, 5) for e, sent in ((ALICE, far), (BOB, near))]
    rule = strategy_of(config)
    after, said = rule.apply(rule.init(model), updates)
    count = sum(v.numel() for v in model.values())
    cut = min(1.0, 10.0 / (0.25 * math.sqrt(count)))
    noise = SeededNoise(config.seed, AGGREGATOR, 1, "dp noise").normal((count,), 0.5 * 10)
    wanted = ((cut * 0.25 - 0.01) + noise) / 2
    moved = torch.cat([(after.model[k] - model[k]).flatten() for k in model])
    assert torch.allclose(moved.double(), wanted, atol=1e-5)
    assert said == {"clip": 10.0, "noise_std": 2.5}


def test_nobody_at_all_is_a_round_too() -> None:
    config = small(weighting="equal", dp=PARTICIPANT, participants_per_round=1)
    rule = strategy_of(config)
    first = rule.init(state())
    after, said = rule.apply(first, [])
    moved = torch.cat([(after.model[k] - first.model[k]).flatten() for k in after.model])
    assert float(moved.std()) == pytest.approx(said["noise_std"], rel=0.05)
    assert said["noise_std"] == pytest.approx(0.5 * 0.1 / 1)


def test_participants_are_drawn_each_on_their_own() -> None:
    """Counts vary, each takes part in its share of the rounds, and whoever is away changes nobody's draw."""
    everybody = [ALICE, BOB, CAROL, "dave@example.org"]
    config = small(
        participants=everybody, weighting="equal", dp=PARTICIPANT, participants_per_round=2
    )
    rounds = [draw(config, everybody, n) for n in range(1, 201)]
    assert {len(r) for r in rounds} == {0, 1, 2, 3, 4}
    for email in everybody:
        assert sum(email in r for r in rounds) == pytest.approx(100, abs=4 * math.sqrt(50))
    for n, chosen in itertools.islice(enumerate(rounds, 1), 20):
        assert draw(config, everybody[1:], n) == [e for e in chosen if e != ALICE]
