"""Small multiples: means and bands over seeds, and no picture that nobody could read."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import fedkit as fk
from fedkit.base.errors import FedkitError


def frame_of(values: dict[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"place": a, "rule": b, "seed": seed, "round": n, "accuracy": value}
            for (a, b, seed), curve in values.items()
            for n, value in enumerate(curve, 1)
        ]
    )


CURVES = {
    ("x", "one", 0): [0.1, 0.2],
    ("x", "one", 1): [0.3, 0.6],
    ("x", "two", 0): [0.5, 0.5],
    ("y", "one", 0): [0.4, 0.8],
    ("y", "one", 1): [0.4, 0.4],
    ("y", "one", 2): [0.4, 0.6],
}


def band_of(axes: Any, number: int) -> list[tuple[float, float]]:
    """(low, high) of a filled band at each x."""
    corners = axes.collections[number].get_paths()[0].vertices
    return [
        (corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max())
        for x in sorted(set(corners[:, 0]))
    ]


def test_small_multiples_show_means_and_bands_over_seeds() -> None:
    fig = fk.plots.small_multiples(frame_of(CURVES), panels="place", lines="rule")
    left, right = fig.axes
    assert [ax.get_title() for ax in fig.axes] == ["x", "y"]
    assert left.lines[0].get_ydata() == pytest.approx([0.2, 0.4])
    assert left.lines[1].get_ydata() == pytest.approx([0.5, 0.5])
    assert len(left.collections) == 1  # the rule with one seed has no band
    assert band_of(left, 0) == [pytest.approx((0.1, 0.3)), pytest.approx((0.2, 0.6))]
    assert right.lines[0].get_ydata() == pytest.approx([0.4, 0.6])
    assert left.get_ylim() == right.get_ylim()
    assert "mean over 3 seeds; band: smallest to largest" in fig.get_suptitle()
    fig = fk.plots.small_multiples(frame_of(CURVES), panels="place", lines="rule", band="sd")
    assert band_of(fig.axes[1], 0)[1] == pytest.approx((0.6 - 0.2, 0.6 + 0.2))  # sd of .8 .4 .6


def test_rounds_are_whole_numbers_and_losses_may_be_on_a_logarithmic_axis() -> None:
    frame = frame_of({("x", "one", 0): [0.01 * 2**n for n in range(5)]})
    fig = fk.plots.small_multiples(frame, log_y=True)
    fig.canvas.draw()
    assert all(float(tick).is_integer() for tick in fig.axes[0].get_xticks())
    assert fig.axes[0].get_yscale() == "log"
    low, high = fig.axes[0].get_ylim()
    places = zip(fig.axes[0].get_yticks(), fig.axes[0].get_yticklabels(), strict=True)
    assert [text.get_text() for at, text in places if low <= at <= high] == [
        *("0.01", "0.02", "0.05", "0.1")
    ]


def test_small_multiples_refuse_what_nobody_could_read() -> None:
    frame = frame_of(CURVES)
    with pytest.raises(FedkitError, match="no column 'acuracy'"):
        fk.plots.small_multiples(frame, y="acuracy")
    with pytest.raises(FedkitError, match="nothing to draw"):
        fk.plots.small_multiples(frame[:0])
    many = frame.assign(place=range(len(frame)), rule=range(len(frame)))
    for wrong in ({"lines": "rule"}, {"panels": "place", "lines": "seed", "band": "all"}):
        with pytest.raises(FedkitError):
            fk.plots.small_multiples(many, **wrong)  # type: ignore[arg-type]
