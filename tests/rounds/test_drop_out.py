"""Updates that never arrive: at the rate that was asked for, the same for the same seed, and never below the quorum."""

from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.learning.update import Update
from fedkit.rounds.drop_out import dropping_out, one_after_another
from fedkit.rounds.hostile import poisoned
from fedkit.rounds.simulation import numbered_participants


def sent(n: int, people: int = 10) -> list[Update]:
    return [
        Update(who, n, {"w": torch.ones(2)}, num_samples=1) for who in numbered_participants(people)
    ]


def test_as_many_drop_out_as_was_asked_for_and_the_same_ones_again() -> None:
    way, again, other = (dropping_out(0.3, seed) for seed in (5, 5, 6))
    arrived = [[u.participant for u in way({}, sent(n))] for n in range(1, 201)]
    assert arrived == [[u.participant for u in again({}, sent(n))] for n in range(1, 201)]
    assert arrived != [[u.participant for u in other({}, sent(n))] for n in range(1, 201)]
    assert 1400 - 90 < sum(map(len, arrived)) < 1400 + 90  # 2,000 draws, four deviations
    order = numbered_participants(10)
    assert all(there == [who for who in order if who in there] for there in arrived)


def test_a_round_waits_for_its_quorum() -> None:
    way = dropping_out(0.95, 1, at_least=4)
    counts = {len(way({}, sent(n))) for n in range(1, 60)}
    assert min(counts) == 4
    assert len(dropping_out(0.9, 1, at_least=4)({}, sent(1, people=2))) == 2


def test_ways_happen_in_their_order() -> None:
    flips = poisoned(numbered_participants(1), "scaled", 3.0)
    both = one_after_another(flips, dropping_out(0.5, 2))
    arrived = both({"w": torch.zeros(2)}, sent(1))
    lost = {u.participant for u in sent(1)} - {
        u.participant for u in dropping_out(0.5, 2)({}, sent(1))
    }
    assert {u.participant for u in arrived} == {u.participant for u in sent(1)} - lost
    assert both({"w": torch.zeros(2)}, sent(7))


@pytest.mark.parametrize("share", [1, -0.1, float("nan"), "half"])
def test_a_share_that_is_none_is_said(share: Any) -> None:
    with pytest.raises(FedkitError, match=r"from 0, below 1"):
        dropping_out(share)
