"""Splits that differ: each index once, nobody empty, and errors where that is impossible."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.data.feature_shift import shift_features
from fedkit.data.label_skew import (
    deal_dirichlet,
    split_dirichlet,
    split_groups,
    split_labels_each,
    split_shards,
    split_sizes,
)
from fedkit.data.partition import split_iid

LABELS = torch.arange(10).repeat_interleave(60)[torch.randperm(600, generator=generator(0, "l"))]
SPLITS = {
    "shards": lambda labels, k, g: split_shards(labels, k, 2, generator=g),
    "dirichlet": lambda labels, k, g: split_dirichlet(labels, k, 0.5, generator=g),
    "power": lambda labels, k, g: split_sizes(labels, k, power=1.2, generator=g),
    "sizes": lambda labels, k, g: split_sizes(labels, k, alpha=0.5, generator=g),
    "labels": lambda labels, k, g: split_labels_each(labels, k, 3, generator=g),
    "iid": lambda labels, k, g: split_iid(labels, k, generator=g),
}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*SPLITS]), st.integers(4, 20), st.integers(0, 10**6))
def test_each_index_once_nobody_empty_and_the_same_again(name: str, count: int, seed: int) -> None:
    parts = SPLITS[name](LABELS, count, generator(seed, "split"))
    assert len(parts) == count
    assert min(len(part) for part in parts) >= 1
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(LABELS)))
    again = SPLITS[name](LABELS, count, generator(seed, "split"))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.integers(1, 12),
    st.floats(1e-3, 1e6),
    st.integers(0, 3),
    st.sampled_from(["dirichlet", "sizes", "power", "labels", "shards", "groups"]),
)
def test_any_labels_are_dealt_out_whole_or_refused_with_a_remedy(
    digits: list[int], count: int, amount: float, least: int, name: str
) -> None:
    labels, g = torch.tensor(digits), generator(0, "any")
    calls = {
        "dirichlet": lambda: split_dirichlet(labels, count, amount, min_size=least, generator=g),
        "sizes": lambda: split_sizes(labels, count, alpha=amount, min_size=least, generator=g),
        "power": lambda: split_sizes(labels, count, power=amount, min_size=least, generator=g),
        "labels": lambda: split_labels_each(labels, count, least + 1, generator=g),
        "shards": lambda: split_shards(labels, count, least + 1, generator=g),
        "groups": lambda: split_groups(labels),
    }
    if name in ("labels", "shards", "groups"):
        least = 1
    try:
        parts = calls[name]()
    except FedkitError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.field
        assert refused.remedy
        return
    assert len(parts) == (count if name != "groups" else len(set(digits)))
    assert sorted(torch.cat(parts).tolist()) == list(range(len(digits)))
    assert min(len(part) for part in parts) >= least
    assert {part.dtype for part in parts} == {torch.int64}


def test_dirichlet_shares_have_the_mean_and_the_spread_of_the_law() -> None:
    """A share of Dirichlet(a, ..., a) over K has mean 1 / K and variance (1/K)(1 - 1/K) / (K a + 1)."""
    rng = np.random.default_rng(0)
    labels, count, alpha = torch.zeros(1000, dtype=torch.int64), 4, 0.5
    sizes = [[len(p) for p in deal_dirichlet(labels, count, alpha, rng)] for _ in range(2000)]
    shares = torch.tensor(sizes).double() / 1000
    assert shares.mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.02)
    expected = 0.25 * 0.75 / (count * alpha + 1)
    assert shares.var(0).tolist() == pytest.approx([expected] * 4, rel=0.1)


def test_what_each_split_is_known_for() -> None:
    two = split_shards(LABELS, 20, 2, generator=generator(0, "s"))
    assert all(
        len(LABELS[part].unique()) <= 4 for part in two
    )  # two pieces, each of at most two labels
    three = split_labels_each(LABELS, 10, 3, generator=generator(0, "s"))
    assert {len(LABELS[part].unique()) for part in three} == {3}
    falling = [len(part) for part in split_sizes(LABELS, 8, power=1.0, generator=generator(0, "s"))]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] / falling[3] == pytest.approx(4, rel=0.2)  # rank ** -1
    own = split_groups(LABELS)
    assert [int(LABELS[part].unique()) for part in own] == list(range(10))


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: split_shards(LABELS, 400, 2, generator=generator(0)), "shards_each"),
        (lambda: split_shards(LABELS, 0, 2, generator=generator(0)), "participants"),
        (lambda: split_dirichlet(LABELS, 5, 0.0, generator=generator(0)), "alpha"),
        (lambda: split_dirichlet(LABELS, 5, float("nan"), generator=generator(0)), "alpha"),
        (lambda: split_dirichlet(LABELS, 601, 1.0, generator=generator(0)), "min_size"),
        (lambda: split_dirichlet(LABELS, 15, 0.001, generator=generator(0)), "alpha"),
        (lambda: split_sizes(LABELS, 5, generator=generator(0)), "alpha"),
        (lambda: split_sizes(LABELS, 5, power=-1.0, generator=generator(0)), "power"),
        (lambda: split_labels_each(LABELS, 2, 3, generator=generator(0)), "labels_each"),
        (lambda: split_labels_each(LABELS, 5, 11, generator=generator(0)), "labels_each"),
        (lambda: split_dirichlet(LABELS, 5, 1.0, min_size=-1, generator=generator(0)), "min_size"),
        (lambda: split_dirichlet(LABELS, 5, 1.0, min_size=0.5, generator=generator(0)), "min_size"),
        (lambda: split_dirichlet(LABELS, 5, True, generator=generator(0)), "alpha"),
        (lambda: shift_features([], "blur", generator=generator(0)), "kind"),
        (lambda: shift_features([], "noise", -1.0, generator=generator(0)), "strength"),
    ],
)
def test_what_is_impossible_is_said(call, field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        call()
    assert caught.value.field == field
    assert caught.value.remedy


def test_empty_participants_only_where_asked() -> None:
    parts = split_dirichlet(LABELS, 100, 0.01, min_size=0, generator=generator(0, "e"))
    assert min(len(part) for part in parts) == 0
    assert sum(len(part) for part in parts) == 600
