"""Noise on a grid: nothing is longer than promised, sums are exact, and no bit but the noise tells two worlds apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.learning.models import load_model, state_of
from fedkit.learning.update import Update
from fedkit.privacy.dp import grid
from fedkit.privacy.dp.grid import GRID, grid_mean, masked_share, noise_in_steps, on_grid
from fedkit.privacy.dp.noise import SeededNoise, SystemNoise
from fedkit.privacy.dp.training import _of_model, _private, dp_sgd
from fedkit.privacy.secagg.fixedpoint import FRACTION_BITS, encode, fixed_point_mean
from fedkit.protocol.approval import approve_all
from fedkit.rounds.simulation import simulate
from fedkit.rounds.strategy import strategy_of
from tests.support.helpers import LINEAR, held_out, launched, shard, small
from tests.support.privacy import EXAMPLE, PARTICIPANT, SHARES, Every, linear_state


def rows_of(kind: str) -> Tensor:
    random = torch.Generator().manual_seed(1)
    plain = torch.randn(40, 3_000, dtype=torch.float64, generator=random)
    return {
        "short": plain * 1e-4,
        "long": plain * 1e30,
        "tiny": plain * 1e-300,
        "one": torch.eye(40, 3_000, dtype=torch.float64)
        * torch.logspace(-3, 3, 40).double()[:, None],
        "no number": torch.where(plain > 3, math.nan, torch.where(plain < -3, math.inf, plain)),
    }[kind]


@pytest.mark.parametrize("kind", ["short", "long", "tiny", "one", "no number"])
@pytest.mark.parametrize("clip", [1.0, 0.3, 1e-9, 1e9])
def test_no_row_on_the_grid_is_longer_than_the_clipping_norm(kind: str, clip: float) -> None:
    """By whole numbers that never round: sum of squares <= GRID^2."""
    rows = rows_of(kind)
    steps = on_grid(rows.norm(dim=1), rows, clip)
    assert bool((steps == steps.round()).all())
    assert all(sum(int(y) ** 2 for y in row) <= GRID**2 for row in steps.tolist())


def test_rounding_costs_next_to_nothing() -> None:
    rows = rows_of("long")
    steps = on_grid(rows.norm(dim=1), rows, 0.5) * (0.5 / GRID)
    clipped = rows / rows.norm(dim=1, keepdim=True) * 0.5
    assert float((steps - clipped).norm(dim=1).max()) < 0.5 * 1e-5


def test_sums_are_exact_in_any_order() -> None:
    rows = rows_of("short").repeat(50, 1)
    steps = on_grid(rows.norm(dim=1), rows, 0.001)
    order = torch.randperm(len(steps), generator=torch.Generator().manual_seed(2))
    assert torch.equal(steps.sum(0), steps[order].sum(0))
    assert steps.sum(0).tolist() == steps.long().sum(0).tolist()


def test_noise_has_its_size_and_is_whole() -> None:
    for noise in (SeededNoise(3), SystemNoise()):
        drawn = noise_in_steps((40, 500), 0.7, noise)
        assert drawn.shape == (40, 500)
        assert bool((drawn == drawn.round()).all())
        assert float(drawn.std()) == pytest.approx(0.7 * GRID, rel=0.03)


@pytest.mark.parametrize("multiplier", [1e-9, 1e9])
def test_noise_that_the_proof_does_not_reach_is_refused(multiplier: float) -> None:
    with pytest.raises(FedkitError, match="steps of the grid") as caught:
        noise_in_steps((1,), multiplier, SystemNoise())
    assert caught.value.field == "dp"


@pytest.mark.parametrize(("sigma", "tau"), [(3.0, 0.5), (3.0, 0.6), (5.0, 0.6), (8.0, 0.8)])
def test_discrete_noise_is_rounded_continuous_noise(sigma: float, tau: float) -> None:
    """The line of the proof, integrated: N(0, sigma^2 - tau^2), rounded at random to a discrete Gaussian of tau around it,
    has N_Z(0, sigma^2)'s probabilities up to 1 +- 4 exp(-2 pi^2 tau^2). With tau = 4 no machine sees a difference."""
    z, dz = np.linspace(-80, 80, 20_001, retstep=True)
    density = np.exp(-(z**2) / (2 * (sigma**2 - tau**2)))
    density /= density.sum() * dz
    whole = np.arange(-120, 121)
    around = sum(np.exp(-((k - z) ** 2) / (2 * tau**2)) for k in whole)
    wanted = np.exp(-(whole**2) / (2 * sigma**2))
    wanted /= wanted.sum()
    bound = 4 * math.exp(-2 * math.pi**2 * tau**2)
    for k in range(int(4 * sigma)):
        got = float((density * np.exp(-((k - z) ** 2) / (2 * tau**2)) / around).sum() * dz)
        assert abs(got / wanted[120 + k] - 1) < bound
    assert 4 * math.exp(-2 * math.pi**2 * 16) < 1e-136


# ------------------------------------------------------------------------------------ two worlds
SETTINGS: dict[str, Any] = {
    "epochs": 1,
    "steps": 1,
    "learning_rate": 0.1,
    "clip": 0.5,
    "noise_multiplier": 1.0,
}


def test_one_image_more_moves_the_sum_by_its_own_steps_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever knows all other images finds their steps bit by bit as without it. In a batch they are not: a product of five
    rows adds up in another order than one of four, and each other image would tell of it."""
    images, labels = shard([3, 5, 7], 2)
    worlds = []
    for count in (len(labels), len(labels) - 1):
        seen: list[Tensor] = []

        def kept(norms: Tensor, rows: Tensor, clip: float, seen: list[Tensor] = seen) -> Tensor:
            seen.extend(steps := on_grid(norms, rows, clip))
            return steps

        monkeypatch.setattr(grid, "on_grid", kept)
        chance = {"noise": SystemNoise(), "sample": Every()}
        given = images[:count], labels[:count]
        dp_sgd(load_model(LINEAR), linear_state(), given, **SETTINGS, **chance)
        parts = len(linear_state())
        worlds.append(
            [torch.cat([p.flatten() for p in seen[parts * k :][:parts]]) for k in range(count)]
        )
    for one, other in zip(*worlds, strict=False):
        assert torch.equal(one, other)
    assert sum(int(y) ** 2 for y in worlds[0][-1].tolist()) <= GRID**2
    assert bool(worlds[0][-1].any())


def noised_sums(gradient: float, count: int) -> list[int]:
    """Steps that come out of DP-SGD's optimiser where the gradient is in the sum; 0 for without it."""
    layer = nn.Linear(count, 1, bias=False).double()
    private = _private(
        layer, torch.optim.SGD(layer.parameters(), lr=0.1), 0.5, 1.0, 1, SystemNoise()
    )
    layer.weight.grad_sample = torch.full((1, 1, count), gradient, dtype=torch.float64)
    private.step()
    steps = layer.weight.grad[0] / (0.5 / GRID)
    assert bool((steps == steps.round()).all())
    return [int(y) for y in steps]


def test_both_worlds_have_the_same_outcomes() -> None:
    """The lattice is one, and what an observer of low bits would count is as good as uniform in both."""
    for gradient in (0.0, 0.003):
        steps = noised_sums(gradient, 20_000)
        for base in (2, 16):
            counts = np.bincount([y % base for y in steps], minlength=base)
            assert float(stats.chisquare(counts).pvalue) > 1e-6


def test_a_mean_is_on_the_grid_and_noised() -> None:
    changes = rows_of("short")
    mean = grid_mean(changes, 0.25, 0.5, 4.0, SystemNoise())
    steps = mean * 4.0 / (0.25 / GRID)
    assert bool((steps == steps.round()).all())
    assert float(mean.std()) == pytest.approx(0.5 * 0.25 / 4, rel=0.1)
    assert grid_mean(changes[:0], 0.25, 0.5, 4.0, SystemNoise()).shape == (3_000,)


@pytest.mark.parametrize("adaptive", [{}, {"adaptive_clip": {}}], ids=["fixed", "adaptive"])
def test_the_aggregator_adds_it_where_the_noise_is_meant(
    adaptive: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `secure_noise` no floating point noise is drawn any more; from a seed, nothing else."""
    drawn: list[float] = []

    def counted(shape: Any, multiplier: float, noise: Any) -> Tensor:
        drawn.append(multiplier)
        return noise_in_steps(shape, multiplier, noise)

    monkeypatch.setattr(grid, "noise_in_steps", counted)
    monkeypatch.setattr("fedkit.privacy.dp.noisy_mean.noise_in_steps", counted)
    monkeypatch.setattr(SystemNoise, "normal", None)
    dp = PARTICIPANT | adaptive
    for secure in (False, True):
        config = small(weighting="equal", dp=dp | {"secure_noise": secure})
        rule = strategy_of(config)
        _, said = rule.apply(rule.init(linear_state()), [])
        assert len(drawn) == secure * (1 + len(adaptive))
    assert said["noise_std"] > 0


def test_what_the_model_draws_is_a_secret_where_the_noise_is_meant() -> None:
    """With drop-out from a seed that all know, one image more moves the masks of all others, and no clip bounds that."""
    known, again = (_of_model(SeededNoise(1), torch.Generator().manual_seed(5)) for _ in range(2))
    assert known == again
    assert _of_model(SystemNoise(), torch.Generator().manual_seed(5)) not in (known, 0)
    assert strategy_of(small(dp=EXAMPLE | {"secure_noise": True})).quiet


# ------------------------------------------------------------------------------- shares under masks
@pytest.mark.parametrize(("sigma", "shares"), [(0.5, 2), (0.5, 4), (0.7, 3), (0.7, 8), (1.0, 5)])
def test_a_sum_of_discrete_gaussians_is_nearly_one(sigma: float, shares: int) -> None:
    """Kairouz, Liu, Steinke 2021, corollary 12, by convolution: |log of the ratio| of single probabilities is at most
    tau = 10 sum_{k < K} exp(-2 pi^2 sigma^2 k / (k + 1)). At 8,000 steps, the fewest allowed, it is 0 to any machine."""
    whole = np.arange(-60, 61)
    one = np.exp(-(whole**2) / (2 * sigma**2))
    one /= one.sum()
    many = one
    for _ in range(shares - 1):
        many = np.convolve(many, one)
    middle = len(many) // 2
    wide = np.arange(-middle, middle + 1)
    wanted = np.exp(-(wide**2) / (2 * shares * sigma**2))
    wanted /= wanted.sum()
    seen = slice(middle - int(4 * sigma * shares**0.5), middle + int(4 * sigma * shares**0.5) + 1)
    gap = float(np.abs(np.log(many[seen] / wanted[seen])).max())

    def tau(deviation: float) -> float:
        terms = (math.exp(-2 * math.pi**2 * deviation**2 * k / (k + 1)) for k in range(1, shares))
        return 10 * sum(terms)

    assert 0 < gap <= tau(sigma)
    assert tau(8_000) == 0.0


def test_a_share_under_masks_is_a_whole_number_and_the_sum_exact() -> None:
    """What is masked is round(w 2^32), the clipped change in steps and the noise, and nothing else: the model that comes of
    it is rounded once, after all shares are in it."""
    model = linear_state()
    trained = {k: v + 0.01 for k, v in model.items()}
    sent = [
        masked_share(model, trained, 0.1, 1.0, 2, noise, 3)
        for noise in (SeededNoise(1), SeededNoise(2))
    ]
    count = sum(v.numel() for v in model.values())
    change = torch.full((1, count), 0.01, dtype=torch.float64)
    steps = 0.1 * 2**FRACTION_BITS
    own = on_grid(change.norm(dim=1), change, 0.1, steps)[0]
    drawn = [noise_in_steps((count,), 0.5**0.5, SeededNoise(k), steps) for k in (1, 2)]
    start = torch.cat([(v.double() * 2**FRACTION_BITS).round().flatten() for v in model.values()])
    for state, noise in zip(sent, drawn, strict=True):
        vector = encode(state, 1, 3).view(np.int64)[1:]
        # all of it but what the clipped floats differ in by their last bit
        assert int(np.abs(vector - (start + own + noise).long().numpy()).max()) <= 1
        assert float((noise / steps).std()) == pytest.approx(0.5**0.5, rel=0.05)
    updates = [Update(who, 1, state, 1) for who, state in zip("ab", sent, strict=True)]
    mean = fixed_point_mean(updates, "equal", 3, model).state
    assert {v.dtype for v in mean.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("clip", "weight", "participants"),
    [(1e6, 0.1, 3), (0.1, 3e6, 3), (1e4, 0.1, 9_000), (1e-7, 0.1, 3)],
)
def test_noise_that_could_wrap_around_is_refused(
    clip: float, weight: float, participants: int
) -> None:
    model = {"w": torch.full((4,), weight)}
    with pytest.raises(FedkitError, match="steps") as caught:
        masked_share(model, model, clip, 1.0, 3, SystemNoise(), participants)
    assert caught.value.remedy


def test_shares_of_whole_numbers_go_under_masks_in_both_worlds(tmp_path: Path) -> None:
    """Between datasites and in memory, with noise that is no floating point number anywhere."""
    dp = SHARES | {"secure_noise": True}
    settings = {"dp": dp, "weighting": "equal", "secure_aggregation": {"threshold": 2}, "rounds": 1}
    history = launched(tmp_path, **settings).run(approve=approve_all)
    assert history.done
    moved = list[float]()
    simulate(
        small(**settings),
        [shard([0, 1]), shard([2, 3])],
        held_out(),
        model=LINEAR,
        on_round=lambda _, state: moved.extend(
            torch.cat(
                [(state[k] - v).flatten() for k, v in state_of(load_model(LINEAR)).items()]
            ).tolist()
        ),
    )
    # the mean of two, each of whom knows its own noise and so brings sigma C; and a clipped change
    assert float(np.std(moved)) == pytest.approx(2**0.5 * 1.0 * 0.5 / 2, rel=0.1)
