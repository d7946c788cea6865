"""Accuracy and loss by round: drawn, labelled, in bands, and told in a title that is true."""

import pytest

from fedkit.base.errors import FedkitError
from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching import plots
from tests.support.pictures import history, title, words


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


def test_accuracy_is_drawn_and_labelled() -> None:
    fig = plots.accuracy_by_round(history(0.77, 0.86, 0.875))
    (line,) = fig.axes[0].lines
    assert line.get_xydata().tolist() == [[1, 0.77], [2, 0.86], [3, 0.875]]
    assert line.get_marker() not in ("", "None")
    assert {"77.0%", "86.0%", "87.5%", "round", "1", "2", "3"} <= set(words(fig))
    assert "87.5%" in title(fig)
    assert "3 rounds" in title(fig)
    assert fig.axes[0].get_ylim()[0] == 0


def test_rounds_without_an_evaluation_are_left_out() -> None:
    whole = history(0.5, 0.6)
    cut = History("P", (*whole.rounds, RoundRecord(3)), 3)
    assert len(plots.accuracy_by_round(cut).axes[0].lines[0].get_xdata()) == 2


def test_several_accuracies_differ_in_colour_and_marker() -> None:
    fig = plots.accuracy_by_round({"a": history(0.5, 0.7), "b": [0.4, 0.9], "c": [0.3, 0.2]})
    lines = fig.axes[0].lines
    assert len({line.get_color() for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    assert {"a: 70.0%", "b: 90.0%", "c: 20.0%"} <= set(words(fig))
    assert "b, 90.0%" in title(fig)


def test_a_tie_has_no_winner() -> None:
    assert "a and b" in title(plots.accuracy_by_round({"a": [0.4, 0.7], "b": [0.5, 0.7]}))


@pytest.mark.parametrize("nothing", [{}, [], {"a": []}, History("P")])
def test_no_accuracy_is_an_error(nothing: object) -> None:
    with pytest.raises(FedkitError) as caught:
        plots.accuracy_by_round(nothing)
    assert caught.value.field.startswith("curves")
    assert caught.value.remedy


def test_loss_title_is_true() -> None:
    assert "everybody" in title(plots.loss_curves({"a": [2, 1], "b": [2, 1]}))
    assert "1 of 2" in title(plots.loss_curves({"a": [2, 1], "b": [1, 2]}))
    assert "nobody" in title(plots.loss_curves({"a": [1, 2]}))


def test_losses_show_where_a_round_begins() -> None:
    fig = plots.loss_curves({"a": [3, 2, 1, 0.5, 0.4, 0.3]}, epochs_per_round=2)
    data, *borders = fig.axes[0].lines
    assert data.get_ydata().tolist() == [3, 2, 1, 0.5, 0.4, 0.3]
    assert [line.get_xdata()[0] for line in borders] == [2.5, 4.5]


def test_a_metric_by_round_is_told_as_a_share_or_as_it_is() -> None:
    rounds = [
        RoundRecord(n, loss=2.0 / n, metrics={"mae": 3.5 / n, "auc": 0.4 * n}) for n in (1, 2)
    ]
    measured = History("P", tuple(rounds), 2)
    fig = plots.metric_by_round(measured, "mae")
    assert title(fig) == "At the end, mae 1.75"
    assert [line.get_ydata().tolist() for line in fig.axes[0].lines] == [[3.5, 1.75]]
    assert title(plots.metric_by_round(measured, "loss")) == "At the end, loss 1"
    fig = plots.metric_by_round({"alone": measured, "together": measured}, "auc")
    assert title(fig) == "At the end, auc alone: 80.0%, together: 80.0%"
    balanced = History("P", (RoundRecord(1, loss=1.0, metrics={"balanced_accuracy": 0.5}),), 1)
    assert title(plots.metric_by_round(balanced, "balanced_accuracy")) == (
        "At the end, balanced accuracy 50.0%"
    )
    with pytest.raises(FedkitError, match="accuracy") as caught:
        plots.metric_by_round(measured, "accuracy")
    assert caught.value.remedy == "draw loss or mae or auc"
