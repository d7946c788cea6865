"""The chart of the rounds: a point for each, marks where settings changed, and an image of the same."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching.widgets.chart import chart, chart_image, chart_text, settings_changes
from tests.support.helpers import BOB, PROJECT
from tests.support.panels import record

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def shapes(history: History) -> dict[str, int]:
    """How many of each element the drawing has; it has to be XML."""
    tree = ElementTree.fromstring(chart(history))
    names = [element.tag.rpartition("}")[2] for element in tree.iter()]
    return {name: names.count(name) for name in set(names)}


def test_a_point_for_every_round_in_both_plots() -> None:
    history = History(PROJECT, tuple(record(n, n / 20, 3 / n) for n in range(1, 21)), 20)
    found = shapes(history)
    assert found["circle"] == 20
    assert found["rect"] == 20
    assert "100.0%" in chart_text(history)


@pytest.mark.parametrize(
    "rounds",
    [
        (),
        (record(1),),
        (record(1, loss=float("nan")), record(2, loss=float("inf")), record(3, loss=1e9)),
        (record(1, accuracy=0.0, loss=0.0),),
        tuple(record(n) for n in range(1, 301)),
    ],
)
def test_any_history_can_be_drawn(rounds: tuple[RoundRecord, ...]) -> None:
    history = History(PROJECT, rounds, max(len(rounds), 3))
    assert shapes(history)["polyline"] == 2
    numbers = [
        float(v) for v in re.findall(r' (?:cx|cy|x|y|x1|x2|y1|y2)="([^"]+)"', chart(history))
    ]
    assert all(-1 <= value <= 721 for value in numbers)


def test_marks_stand_where_settings_changed() -> None:
    rounds = (
        record(1),
        record(2, learning_rate=0.05),
        record(3, learning_rate=0.05),
        record(4, learning_rate=0.05, local_epochs=3, absent=(BOB,)),
    )
    history = History(PROJECT, rounds, 4)
    assert settings_changes(history) == [
        (2, "learning rate 0.1 → 0.05"),
        (4, "local epochs 1 → 3, participants 1 → 2"),
    ]
    assert shapes(history)["circle"] == 4 + 2 * 2


def test_the_twin_of_the_chart_is_an_image_of_fixed_colours() -> None:
    html = chart_image(History(PROJECT, (record(1),), 3))
    data = re.search('src="data:image/svg\\+xml;base64,([^"]+)"', html)
    assert data is not None
    text = base64.b64decode(data[1]).decode()
    assert "var(" not in text
    ElementTree.fromstring(text)
    assert 'alt="Accuracy on the test set after 1 round: 50.0%' in html


def test_a_task_without_accuracy_shows_its_loss() -> None:
    rounds = tuple(RoundRecord(n, loss=1 / n, metrics={"mae": 0.5}) for n in (1, 2))
    history = History(PROJECT, rounds, 2)
    assert chart_text(history) == "Loss on the test set after 2 rounds: 1.00 to 0.50"
    assert "this task has no accuracy" in chart(history)
    assert "no round has ended yet" not in chart(history)
