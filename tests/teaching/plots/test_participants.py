"""Pictures of datasites that differ, and the geometry behind them: what is drawn is what was measured."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.learning.geometry import agreement, changes, principal_plane
from fedkit.learning.update import Update
from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching import plots


def updates(rows: torch.Tensor, counts: list[int] | None = None) -> list[Update]:
    return [
        Update(f"p{k}@example.org", 1, {"w": row[:2], "b": row[2:], "n": torch.tensor(k)}, count)
        for k, (row, count) in enumerate(zip(rows, counts or [5] * len(rows), strict=True))
    ]


ZERO = {"w": torch.zeros(2), "b": torch.zeros(2), "n": torch.tensor(0)}


def test_changes_leave_out_counters_and_are_differences() -> None:
    model = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 5.0]), "n": torch.tensor(3)}
    rows = changes(model, updates(torch.tensor([[1.0, 2.5, -1.0, 5.0]])))
    assert rows.tolist() == [[0.0, 0.5, -1.0, 0.0]]


def test_agreement_is_one_for_equal_and_zero_for_opposite_steps() -> None:
    step = torch.tensor([3.0, 0.0, 4.0, 0.0])
    assert agreement(ZERO, updates(torch.stack([step, step]))) == pytest.approx(1)
    assert agreement(ZERO, updates(torch.stack([step, -step]))) == pytest.approx(0)
    across = torch.stack([step, torch.tensor([0.0, 5.0, 0.0, 0.0])])
    assert agreement(ZERO, updates(across)) == pytest.approx(math.sqrt(0.5))
    # three quarters of the samples walk one way, a quarter the other
    assert agreement(ZERO, updates(torch.stack([step, -step]), [30, 10])) == pytest.approx(0.5)
    assert agreement(ZERO, updates(torch.zeros(2, 4))) == 1


def test_the_plane_is_that_of_the_eigenvectors() -> None:
    """Against the eigenvalues of rows^T rows, and exact where all arrows lie in one plane."""
    rows = torch.randn(6, 9, generator=generator(0, "rows")).double()
    places, explained = principal_plane(rows)
    eigenvalues = torch.linalg.eigvalsh(rows.T @ rows).flip(0)
    assert explained == pytest.approx((eigenvalues[:2] / eigenvalues.sum()).tolist())
    assert places.square().sum(0).tolist() == pytest.approx(eigenvalues[:2].tolist())
    assert (places.mean(0) >= 0).all()
    flat = torch.randn(5, 2, generator=generator(1, "flat")).double() @ rows[:2]
    placed, (one, two) = principal_plane(flat)
    assert one + two == pytest.approx(1)
    torch.testing.assert_close(placed @ placed.T, flat @ flat.T)  # lengths and angles stay
    single, (all_of_it, nothing) = principal_plane(rows[:1])
    assert single.tolist() == [[pytest.approx(float(rows[0].norm())), 0.0]]
    assert (all_of_it, nothing) == (pytest.approx(1), 0.0)


def title(fig: Figure) -> str:
    return fig.get_suptitle().replace("\n", " ")


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


def test_the_heat_map_counts() -> None:
    fig = plots.label_heatmap({"a": torch.tensor([0, 0, 9]), "b": torch.tensor([9])})
    table = fig.axes[0].images[0].get_array()
    assert table.tolist() == [[2, *[0] * 8, 1], [*[0] * 9, 1]]
    assert title(fig) == "17 of 20 pairs of participant and digit have no image"


def test_sizes_fall() -> None:
    labels = {"a": torch.zeros(2).long(), "b": torch.zeros(5).long()}
    fig = plots.shard_sizes(labels)
    assert [bar.get_width() for bar in fig.axes[0].patches] == [5, 2]
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["b", "a"]
    assert "2.5 times" in title(fig)


def test_home_and_abroad_are_told_apart_by_marker() -> None:
    fig = plots.home_and_abroad({"a": (0.9, 0.2, 0.5), "b": (1.0, 0.3, 0.6)}, average=0.7)
    *points, line = fig.axes[0].lines
    assert [list(p.get_xdata()) for p in points] == [[0.9, 1.0], [0.2, 0.3], [0.5, 0.6]]
    assert len({p.get_marker() for p in points}) == len({p.get_color() for p in points}) == 3
    assert list(line.get_xdata()) == [0.7, 0.7]
    assert title(fig) == "At home up to 100%, abroad as low as 20%"


def test_bands_go_from_the_worst_to_the_best_run() -> None:
    rounds = [RoundRecord(n, accuracy=a, loss=1.0) for n, a in ((1, 0.4), (2, 0.8))]
    fig = plots.accuracy_bands(
        {"x": [History("P", tuple(rounds), 2), [0.6, 0.7]], "y": [[0.1, 0.2], [0.1, 0.3]]},
        megabytes={"x": 10, "y": 20},
    )
    (ax,) = fig.axes
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[10, 0.5], [20, 0.75]],
        [[20, pytest.approx(0.1)], [40, 0.25]],
    ]
    band = ax.collections[0].get_paths()[0].vertices
    assert {tuple(corner) for corner in band.tolist()} >= {
        (10, 0.4),
        (10, 0.6),
        (20, 0.7),
        (20, 0.8),
    }
    assert "x, 75.0%" in title(fig)
    assert "MB" in ax.get_xlabel()
    assert len({line.get_marker() for line in ax.lines}) == 2


def test_survival_counts_the_hostile_from_zero() -> None:
    fig = plots.survival_curves({"a": {"m": [0.9, 0.1]}, "b": {"m": [0.9, 0.8]}}, title="As it is")
    assert [ax.lines[0].get_xydata().tolist() for ax in fig.axes] == [
        [[0, 0.9], [1, 0.1]],
        [[0, 0.9], [1, 0.8]],
    ]
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: plots.label_heatmap({}), "labels"),
        (lambda: plots.shard_sizes({}), "labels"),
        (lambda: plots.home_and_abroad({"a": (0.1, 0.2)}), "places['a']"),
        (lambda: plots.drift_arrows({}), "rounds"),
        (lambda: plots.drift_arrows({"a": (ZERO, [])}), "rounds['a']"),
        (lambda: plots.accuracy_bands({"a": []}), "runs['a']"),
        (lambda: plots.accuracy_bands({"a": [[0.1], [0.1, 0.2]]}), "runs['a']"),
        (lambda: plots.survival_curves({}, title="As it is"), "attacks"),
        (lambda: plots.survival_curves({"a": {"m": []}}, title="As it is"), "attacks['a']['m']"),
    ],
)
def test_what_cannot_be_drawn_is_named(call, field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        call()
    assert caught.value.field == field
