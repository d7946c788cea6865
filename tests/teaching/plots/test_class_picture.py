"""The picture of a class: how many have each exercise right, and where most stop."""

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching import plots
from tests.support.pictures import title, words

STATES = {
    "03 sgd_epoch": ["right", "right", "try again"],
    "04 fedavg": ["not yet", "missing", "not run", "not judged"],
}


def test_it_counts_states_and_marks_where_most_stop() -> None:
    fig = plots.class_picture(STATES, {"03 sgd_epoch": 1, "04 fedavg": 2})
    assert title(fig) == "Most stop at 04 fedavg: 2 of 4 who handed it in"
    (ax,) = fig.axes
    assert ax.yaxis_inverted()  # the course's order, from the top
    heights = {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers}
    assert heights == {
        "right": [2, 0],
        "try again": [1, 0],
        "not yet": [0, 1],
        "not run or missing": [0, 3],
    }
    assert "◂ most stop here" in words(fig)


def test_a_part_without_room_has_no_number() -> None:
    fig = plots.class_picture({"a": ["right"] * 98 + ["try again", "not yet"]})
    assert [text for text in words(fig) if text.isdigit() and text in ("1", "98")] == ["98"]


def test_where_nobody_stops_and_where_there_is_nobody() -> None:
    assert title(plots.class_picture({"a": ["right"]})) == "Everybody has every exercise right"
    with pytest.raises(FedkitError):
        plots.class_picture({})
