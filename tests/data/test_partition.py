"""Who gets which digits: each index once, as many as asked for, and a remedy where that is impossible."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedkit.data.partition import split_by_digits, split_iid, take
from tests.support.digits import seeded
from tests.support.helpers import complaint, mnist

labels_strategy = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(torch.tensor)


@given(labels=labels_strategy, data=st.data())
def test_split_by_digits(labels: torch.Tensor, data: st.DataObject) -> None:
    there = sorted(set(labels.tolist()))
    chosen = data.draw(st.permutations(there))[: data.draw(st.integers(1, len(there)))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(chosen) - 1)))) if len(chosen) > 1 else []
    groups = [chosen[a:b] for a, b in zip([0, *cuts], [*cuts, len(chosen)], strict=True)]
    fewest = min(labels.tolist().count(digit) for digit in chosen)
    per_digit = data.draw(st.none() | st.integers(1, fewest))
    seed = data.draw(st.integers(0, 99))
    state = torch.get_rng_state()
    parts = split_by_digits(labels, groups, per_digit, generator=seeded(seed))
    assert torch.equal(torch.get_rng_state(), state)
    everything = [i for part in parts for i in part.tolist()]
    assert len(everything) == len(set(everything))
    for group, part in zip(groups, parts, strict=True):
        assert part.dtype == torch.int64
        held = labels[part].tolist()
        assert set(held) == set(group)
        for digit in group:
            assert held.count(digit) == (per_digit or labels.tolist().count(digit))
    again = split_by_digits(labels, groups, per_digit, generator=seeded(seed))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


@given(labels=labels_strategy, data=st.data())
def test_split_iid(labels: torch.Tensor, data: st.DataObject) -> None:
    participants = data.draw(st.integers(1, len(labels)))
    each = data.draw(st.none() | st.integers(1, len(labels) // participants))
    state = torch.get_rng_state()
    parts = split_iid(labels, participants, each, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(parts) == participants
    sizes = [len(part) for part in parts]
    everything = sorted(i for part in parts for i in part.tolist())
    assert len(set(everything)) == len(everything)
    if each is None:
        assert everything == list(range(len(labels)))
        assert max(sizes) - min(sizes) <= 1
    else:
        assert set(sizes) == {each}
        assert everything[0] >= 0
        assert everything[-1] < len(labels)
    again = split_iid(labels, participants, each, generator=seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


def test_partitions_mix_as_they_say() -> None:
    digits = mnist()
    labels = digits.train_labels
    for part in split_iid(labels, 4, generator=seeded()):
        # 250 of each digit are expected, with a standard deviation of about 13
        assert (labels[part].bincount(minlength=10) - 250).abs().max() < 70
    low, high = split_by_digits(labels, generator=seeded())
    assert labels[low].bincount(minlength=10).tolist() == [800] * 5 + [0] * 5
    assert labels[high].bincount(minlength=10).tolist() == [0] * 5 + [800] * 5
    other = split_by_digits(labels, generator=seeded(1))[0]
    assert set(other.tolist()) != set(low.tolist())


THREE = torch.tensor([0, 0, 1])


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "no groups": (lambda: split_by_digits(THREE, [], generator=seeded()), "groups", "empty"),
    "empty group": (
        lambda: split_by_digits(THREE, [[0], []], generator=seeded()),
        "groups",
        "group 1",
    ),
    "flat list": (lambda: split_by_digits(THREE, [0, 1], generator=seeded()), "groups", "group 0"),  # type: ignore[list-item]
    "digit 10": (lambda: split_by_digits(THREE, [[10]], 1, generator=seeded()), "groups", "10"),
    "digit -1": (lambda: split_by_digits(THREE, [[-1]], 1, generator=seeded()), "groups", "-1"),
    "digit True": (
        lambda: split_by_digits(THREE, [[True]], 1, generator=seeded()),
        "groups",
        "True",
    ),
    "digit '1'": (lambda: split_by_digits(THREE, ["01"], 1, generator=seeded()), "groups", "'0'"),  # type: ignore[list-item]
    "in two groups": (
        lambda: split_by_digits(THREE, [[0, 1], [1]], 1, generator=seeded()),
        "groups",
        "1 is in group 0 and in group 1",
    ),
    "twice in one": (
        lambda: split_by_digits(THREE, [[1], [0, 0]], 1, generator=seeded()),
        "groups",
        "0 is in group 1 twice",
    ),
    "not in labels": (lambda: split_by_digits(THREE, [[7]], 1, generator=seeded()), "groups", "7"),
    "too many": (
        lambda: split_by_digits(THREE, [[0, 1]], 2, generator=seeded()),
        "per_digit",
        "there are 1",
    ),
    "none a digit": (
        lambda: split_by_digits(THREE, [[0]], 0, generator=seeded()),
        "per_digit",
        "0",
    ),
    "half a digit": (
        lambda: split_by_digits(THREE, [[0]], 0.5, generator=seeded()),
        "per_digit",
        "0.5",
    ),  # type: ignore[arg-type]
    "float labels": (lambda: split_by_digits(THREE / 2, generator=seeded()), "labels", "float32"),
    "byte labels": (lambda: split_iid(THREE.byte(), generator=seeded()), "labels", "uint8"),
    "two dimensions": (lambda: split_iid(THREE[None], generator=seeded()), "labels", "[1, 3]"),
    "nobody": (lambda: split_iid(THREE, 0, generator=seeded()), "participants", "0"),
    "four of three": (lambda: split_iid(THREE, 4, generator=seeded()), "participants", "3 images"),
    "one each of four": (
        lambda: split_iid(THREE, 4, 1, generator=seeded()),
        "per_participant",
        "of 3",
    ),
    "two each": (lambda: split_iid(THREE, 2, 2, generator=seeded()), "per_participant", "of 3"),
    "zero each": (lambda: split_iid(THREE, 2, 0, generator=seeded()), "per_participant", "0"),
    "other images": (lambda: take(torch.zeros(2, 1, 28, 28), THREE, [THREE]), "labels", "2 images"),
    "empty part": (
        lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE, THREE[:0]]),
        "parts",
        "part 1",
    ),
    "outside": (lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE + 2]), "parts", "0..2"),
    "below": (lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE - 1]), "parts", "0..2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_partition_refuses(case: str) -> None:
    call, field, words = REFUSED[case]
    error = complaint(call)
    assert error.field == field
    assert words in error.what
