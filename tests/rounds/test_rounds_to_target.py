"""Rounds until a target: by hand, and in the round of the first crossing for any curve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedkit as fk


def test_rounds_to_reach_by_hand() -> None:
    # between round 2 (0.5) and round 4 (0.9) the best so far stays 0.5 for a round: it counts from round 3 on
    assert fk.rounds_to_reach([0.3, 0.5, 0.4, 0.9], 0.7) == pytest.approx(3.5)
    assert fk.rounds_to_reach([0.3, 0.5], 0.5) == 2
    assert fk.rounds_to_reach([0.3, 0.5], 0.4) == pytest.approx(1.5)
    assert fk.rounds_to_reach([0.9, 0.5], 0.5) == 1
    assert fk.rounds_to_reach([0.3, 0.5], 0.51) is None
    assert fk.rounds_to_reach([], 0.5) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_rounds_to_reach_lies_in_the_round_of_the_first_crossing(
    curve: list[float], target: float
) -> None:
    import numpy as np

    best = np.maximum.accumulate(curve)
    crossed = np.flatnonzero(best >= target)
    found = fk.rounds_to_reach(curve, target)
    if not len(crossed):
        assert found is None
        return
    n = int(crossed[0])  # the round before it, from 1
    assert found is not None
    assert max(1, n) <= found <= n + 1
    if n:
        assert np.interp(found, [n, n + 1], best[n - 1 : n + 1]) == pytest.approx(target)
