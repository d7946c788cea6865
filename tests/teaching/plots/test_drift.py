"""Arrows of drift: an arrow for each participant, and their mean, where the geometry puts them."""

import pytest
import torch

from fedkit.teaching import plots
from tests.support.pictures import ZERO, title, updates


def test_drift_draws_an_arrow_each_and_the_mean() -> None:
    rows = torch.tensor([[2.0, 1.0, 0.0, 0.0], [2.0, -1.0, 0.0, 0.0]])
    fig = plots.drift_arrows({"one": (ZERO, updates(rows)), "two": (ZERO, updates(rows, [9, 1]))})
    left, right = fig.axes
    tips, mean, origin = left.lines
    xs, ys = (list(map(float, values)) for values in tips.get_data())
    assert xs == pytest.approx([2, 2])
    assert sorted(ys) == pytest.approx([-1, 1])
    assert [float(v) for v in mean.get_data()[0]] == pytest.approx([2])
    assert [float(v) for v in mean.get_data()[1]] == pytest.approx([0], abs=1e-9)
    assert origin.get_xydata().tolist() == [[0, 0]]
    assert left.get_xlabel() == "first component (80%)"
    assert left.get_ylabel() == "second component (20%)"
    assert abs(float(right.lines[1].get_data()[1][0])) == pytest.approx(0.8)
    assert "one 89%" in title(fig)
