"""The time that is left: measured runs, the workers that share the rest, and never better than possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkit.experiments.progress import makespan, time_left, words


def test_time_left_counts_the_workers() -> None:
    assert makespan([], [10.0] * 4, 2) == 20
    assert makespan([], [10.0] * 5, 2) == 30
    assert makespan([4.0, 8.0], [10.0], 2) == 14
    assert makespan([-3.0], [], 2) == 0  # it takes longer than expected already


@given(st.lists(st.floats(0, 100), max_size=12), st.integers(1, 5))
def test_makespan_is_never_better_than_possible(waiting: list[float], workers: int) -> None:
    found = makespan([], waiting, workers)
    assert found >= max(waiting, default=0)
    assert found * workers >= sum(waiting) - 1e-6
    assert found <= sum(waiting) / workers + max(waiting, default=0) + 1e-6  # Graham 1969
    assert makespan([], waiting, 1) == pytest.approx(sum(waiting))


def test_time_left_uses_the_same_parameters_with_other_seeds_where_it_can() -> None:
    assert time_left({}, [("a", 1.0)], ["a"], 2) is None
    measured = {"slow": [100.0], "fast": [10.0, 20.0]}
    left = time_left(measured, [("fast", 5.0)], ["slow"], 2)
    assert left is not None
    assert left.expected == 100  # the fast one ends in 10 s, the slow one begins at once
    assert (left.lowest, left.highest, left.measured) == (10, 100, 3)
    new = time_left({"slow": [100.0], "fast": [20.0]}, [], ["new", "new"], 1)
    assert new is not None
    assert new.expected == 120
    assert str(new) == "about 2 min left (40 s to 3 min), from 2 runs"
    assert words(8000) == "2 h 13 min"
