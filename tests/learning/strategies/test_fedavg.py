"""FedAvg against its formula and its properties: order, identity, hull, weights."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fedkit.base.seeds import generator
from fedkit.learning.models import SAMPLE_MODEL, load_model, seed_weights
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import ServerState
from fedkit.learning.strategies.fedavg import FedAvg, fedavg
from fedkit.learning.training import train
from fedkit.learning.update import Update

COUNTS = st.lists(st.integers(1, 10_000), min_size=1, max_size=6)


def updates(counts: list[int | None], seed: int = 0, size: int = 7) -> list[Update]:
    draw = torch.Generator().manual_seed(seed)
    return [
        Update(f"p{k}@example.org", 1, {"w": torch.randn(size, generator=draw)}, count)
        for k, count in enumerate(counts)
    ]


def exact(given_updates: list[Update], shares: list[Fraction]) -> list[Fraction]:
    """sum_k (n_k / n) w_k in rational numbers: no rounding anywhere."""
    columns = zip(*(update.state["w"].tolist() for update in given_updates), strict=True)
    return [
        sum((s * Fraction(x) for s, x in zip(shares, column, strict=True)), Fraction(0))
        for column in columns
    ]


@given(COUNTS, st.integers(0, 99))
def test_the_mean_is_the_formulas_to_the_last_bit_or_the_one_beside(
    counts: list[int], seed: int
) -> None:
    """McMahan et al. 2017, algorithm 1, in exact arithmetic; one rounding to float32 is allowed for."""
    given_updates = updates([*counts], seed)
    shares = [Fraction(count, sum(counts)) for count in counts]
    wanted = torch.tensor([float(x) for x in exact(given_updates, shares)], dtype=torch.float64)
    got = fedavg(given_updates)["w"]
    assert got.dtype == torch.float32
    step = torch.finfo(torch.float32).eps * wanted.abs().clamp(min=1e-7)
    assert bool(((got.double() - wanted).abs() <= step).all())


@given(COUNTS, st.integers(0, 99), st.sampled_from(["samples", "equal"]))
def test_the_order_of_the_participants_matters_to_rounding_only(
    counts: list[int], seed: int, weighting: str
) -> None:
    given_updates = updates([*counts], seed)
    one = fedavg(given_updates, weighting)["w"]
    other = fedavg(given_updates[::-1], weighting)["w"]
    assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


@given(COUNTS, st.integers(0, 99), st.sampled_from(["samples", "equal"]))
def test_the_mean_lies_between_the_smallest_and_the_largest(
    counts: list[int], seed: int, weighting: str
) -> None:
    given_updates = updates([*counts], seed)
    stacked = torch.stack([update.state["w"] for update in given_updates])
    mean = fedavg(given_updates, weighting)["w"]
    slack = 1e-6 * stacked.abs().amax(0)
    assert bool((mean >= stacked.amin(0) - slack).all())
    assert bool((mean <= stacked.amax(0) + slack).all())


@given(COUNTS, st.integers(0, 99))
def test_equal_updates_give_themselves(counts: list[int], seed: int) -> None:
    state = updates([1], seed)[0].state
    same = [Update(f"p{k}@example.org", 1, state, n) for k, n in enumerate(counts)]
    for weighting in ("samples", "equal"):
        assert torch.allclose(fedavg(same, weighting)["w"], state["w"], rtol=1e-7, atol=0)


def test_one_update_gives_itself_to_the_last_bit() -> None:
    update = updates([123])[0]
    assert torch.equal(fedavg([update])["w"], update.state["w"])


@given(COUNTS)
def test_shares_add_up_to_one_and_follow_the_samples(counts: list[int]) -> None:
    shares = mixing_weights(updates([*counts]))
    assert sum(shares) == pytest.approx(1)
    for (one, few), (other, many) in itertools.combinations(zip(shares, counts, strict=True), 2):
        assert one * many == pytest.approx(other * few)


@pytest.mark.parametrize(
    ("counts", "weighting", "shares"),
    [
        ([100, 300], "samples", [0.25, 0.75]),
        ([100, 300], "equal", [0.5, 0.5]),
        ([100, None], "samples", [0.5, 0.5]),  # a real client does not say how many it has
        ([None, None], "samples", [0.5, 0.5]),
        ([600, None, 200], "samples", [0.5, 400 / 1200, 200 / 1200]),  # silence takes the median
        (
            [100, 999_999_999, 100, None],
            "samples",
            [100 / 1_000_000_299, 999_999_999 / 1_000_000_299] + 2 * [100 / 1_000_000_299],
        ),
        ([7], "samples", [1.0]),
    ],
)
def test_shares(counts: list[int | None], weighting: str, shares: list[float]) -> None:
    assert mixing_weights(updates(counts), weighting) == shares


def test_numbers_at_the_edge_of_float32_do_not_overflow() -> None:
    largest = torch.finfo(torch.float32).max
    pair = [Update("a@x.org", 1, {"w": torch.full((2,), largest)}, 1) for _ in range(2)]
    assert torch.equal(fedavg(pair)["w"], torch.full((2,), largest))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([torch.tensor(3), torch.tensor(4), torch.tensor(4)], torch.tensor(4)),
        ([torch.tensor([True]), torch.tensor([True])], torch.tensor([True])),
        ([torch.tensor([1.0]).half(), torch.tensor([2.0]).half()], torch.tensor([1.5]).half()),
    ],
)
def test_every_tensor_keeps_its_dtype(values: list[Tensor], wanted: Tensor) -> None:
    """A counter of batches (int64) is rounded; nothing becomes float32 that was not."""
    mean = fedavg([Update(f"p{k}@x.org", 1, {"n": v}) for k, v in enumerate(values)])["n"]
    assert mean.dtype == wanted.dtype
    assert torch.equal(mean, wanted)


def test_the_updates_stay_as_they_were() -> None:
    pair = updates([1, 2])
    before = [update.state["w"].clone() for update in pair]
    fedavg(pair)["w"].zero_()
    fedavg(pair[:1])["w"].zero_()
    assert all(torch.equal(u.state["w"], b) for u, b in zip(pair, before, strict=True))


def test_the_proximal_term_is_squared() -> None:
    """One full-batch step from w_global + s: its gradient is that of the loss, plus mu s."""
    shard = (torch.rand(8, 1, 28, 28, generator=generator(0, "x")), torch.arange(8))
    start = seed_weights(SAMPLE_MODEL)
    options = {"learning_rate": 0.1, "batch_size": 8}

    def trained(epochs: int, mu: float) -> dict[str, torch.Tensor]:
        model = load_model(SAMPLE_MODEL)
        return train(
            model, start, shard, epochs=epochs, mu=mu, generator=generator(0, "g"), **options
        )[0]

    one = trained(1, 0.0)
    assert all(torch.equal(value, trained(1, 5.0)[name]) for name, value in one.items())
    two, pulled = trained(2, 0.0), trained(2, 0.5)
    for name, value in two.items():
        expected = value - 0.1 * 0.5 * (one[name] - start[name])
        torch.testing.assert_close(pulled[name], expected, rtol=0, atol=1e-6)


def test_the_strategy_takes_the_mean_in_pieces_to_the_same_bits() -> None:
    """Several pieces and a rest, a counter, a single number, weights that lie otherwise in memory, and none at all."""
    draw = torch.Generator().manual_seed(0)

    def state(k: int) -> dict[str, Tensor]:
        images = torch.randn(4, 3, 5, 5, generator=draw)
        return {
            "long": torch.randn(3, 70_001, generator=draw),
            "layout": images.to(memory_format=torch.channels_last),
            "seen": torch.tensor(k * k),
            "scale": torch.randn((), generator=draw),
            "half": torch.randn(9, generator=draw).half(),
            "nothing": torch.empty(0, 3),
        }

    given_updates = [Update(f"p{k}@example.org", 1, state(k), 5 + 3 * k) for k in range(4)]
    for weighting in ("samples", "equal"):
        whole = fedavg(given_updates, weighting)
        after, _ = FedAvg(weighting).apply(ServerState(given_updates[0].state), given_updates)
        assert list(after.model) == list(whole)
        for name, value in whole.items():
            assert after.model[name].dtype == value.dtype
            assert torch.equal(after.model[name], value)
