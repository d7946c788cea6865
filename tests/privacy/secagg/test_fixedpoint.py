"""Weights as whole numbers: the mean is exact, in any order, and nothing wraps around."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.learning.strategies.fedavg import fedavg
from fedkit.learning.update import Update
from fedkit.privacy.secagg.fixedpoint import (
    FRACTION_BITS,
    decode,
    encode,
    fixed_point_mean,
    fixed_point_sum,
)

FLOATS = st.floats(-1000, 1000, width=32, allow_subnormal=False)


def state(values: list[float]) -> dict[str, torch.Tensor]:
    return {
        "w": torch.tensor(values[:-1], dtype=torch.float32).reshape(1, -1),
        "b": torch.tensor(values[-1:], dtype=torch.float32),
        "seen": torch.tensor(3),
    }


@given(
    rows=st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 60_000), min_size=5, max_size=5),
)
def test_the_mean_is_that_of_exact_numbers(rows: list[list[float]], counts: list[int]) -> None:
    """Against Python's fractions: each term rounded to a multiple of 2^-32, nothing else lost but the last rounding."""
    updates = [
        Update(f"p{k}", 1, state(row), n)
        for k, (row, n) in enumerate(zip(rows, counts, strict=False))
    ]
    mean = fixed_point_mean(updates, "samples", 5)
    total = sum(u.num_samples or 0 for u in updates)
    assert mean.num_samples == total
    for place in range(3):
        terms = [
            round(Fraction(row[place]) * n * 2**FRACTION_BITS)
            for row, n in zip(rows, counts, strict=False)
        ]
        exact = float(Fraction(sum(terms), 2**FRACTION_BITS * total))
        got = float(torch.cat([mean.state["w"].flatten(), mean.state["b"]])[place])
        assert got == pytest.approx(exact, rel=2**-23, abs=2**-126)
    assert mean.state["seen"].item() == 3
    assert mean.state["seen"].dtype == torch.int64
    plain = fedavg(updates)
    for name, value in plain.items():
        assert torch.allclose(
            mean.state[name], value, atol=2 * len(rows) * 2.0**-FRACTION_BITS, rtol=2**-22
        )


def test_the_order_of_the_sum_changes_no_bit_and_of_floats_it_does() -> None:
    draw = torch.Generator().manual_seed(3)
    updates = [Update(f"p{k}", 1, {"w": torch.randn(500, generator=draw)}, k + 3) for k in range(7)]
    one = fixed_point_mean(updates, "samples", 7).state["w"]
    assert torch.equal(one, fixed_point_mean(updates[::-1], "samples", 7).state["w"])
    floats = [
        sum((u.state["w"] for u in order), torch.zeros(500)) for order in (updates, updates[::-1])
    ]
    assert not torch.equal(*floats)


def test_equal_weighting_counts_heads() -> None:
    updates = [
        Update("a", 1, state([1.0, 2.0, 3.0]), 100),
        Update("b", 1, state([3.0, 2.0, 1.0]), 1),
    ]
    mean = fixed_point_mean(updates, "equal", 2)
    assert mean.num_samples == 2
    assert mean.state["w"].flatten().tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("value", "weight", "says"),
    [
        (float("nan"), 1, "is not finite"),
        (float("inf"), 1, "is not finite"),
        (2.0**30, 1, "limit"),
        (300.0, 10_000_000, "limit"),
    ],
)
def test_what_could_wrap_around_is_refused(value: float, weight: int, says: str) -> None:
    with pytest.raises(FedkitError, match=says) as caught:
        encode({"w": torch.tensor([0.5, value])}, weight, 4)
    assert caught.value.remedy


def test_the_largest_that_are_allowed_do_not_wrap_around() -> None:
    """Four participants at the limit, all of one sign."""
    for value in (2.0**29 - 32, 32 - 2.0**29):
        vectors = [encode({"w": torch.tensor([value])}, 1, 4) for _ in range(4)]
        mean, weight = decode(fixed_point_sum(vectors), {"w": torch.zeros(1)})
        assert (mean["w"].item(), weight) == (value, 4)
    with pytest.raises(FedkitError, match="limit"):
        encode({"w": torch.tensor([2.0**29])}, 1, 4)


def test_noise_is_no_sum_of_updates() -> None:
    reference = {"w": torch.zeros(3)}
    vector = encode(reference, 5, 2)
    for bad in (vector[:-1], np.zeros(4, dtype=np.uint64), vector - np.uint64(6)):
        with pytest.raises(FedkitError, match="no sum of updates"):
            decode(bad, reference)
