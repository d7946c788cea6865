"""Pictures of who holds what and who knows what: what is drawn is what was counted."""

from collections.abc import Callable

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.teaching import plots
from tests.support.helpers import complaint
from tests.support.pictures import ALICE, BOB, heights, title, words


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


def test_bars_have_their_values_on_top() -> None:
    fig = plots.participant_bars({"alone": 0.4, "federated": 0.875}, highlight=["federated"])
    assert heights(fig) == [0.4, 0.875]
    assert {"40.0%", "87.5%", "alone", "federated"} <= set(words(fig))
    plain, marked = fig.axes[0].patches
    assert plain.get_facecolor() != marked.get_facecolor()
    assert plain.get_hatch() != marked.get_hatch()


def test_bars_of_other_units_are_no_percentages() -> None:
    fig = plots.participant_bars({"a": 0.4, "b": 12.0}, ylabel="seconds", title="How long it took")
    assert not any("%" in word for word in words(fig))
    assert {"0.4", "12", "seconds"} <= set(words(fig))
    assert title(fig) == "How long it took"
    assert fig.axes[0].get_ylim()[1] > 12


def test_label_bars_count_each_digit() -> None:
    fig = plots.label_bars({ALICE: torch.tensor([3, 0, 0, 0, 3]), BOB: torch.tensor([7] * 9)})
    pieces = [(c.get_label(), c[0].get_x(), c[0].get_width()) for c in fig.axes[0].containers]
    assert pieces == [("0", 0, 3), ("3", 3, 2), ("7", 0, 9)]
    assert {"0", "3", "7", "5", "9", "alice", "bob"} <= set(words(fig))


def test_ten_digits_have_ten_colours() -> None:
    fig = plots.label_bars({"a": torch.arange(10)})
    assert len({patch.get_facecolor() for patch in fig.axes[0].patches}) == 10


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"a": [0, 1], "b": [2, 3]}, "No digit is shared: each participant holds 2 of ten"),
        ({"a": [0, 1], "b": [1, 2, 3]}, "Each participant holds 2 or 3 of ten"),
        ({"a": range(10), "b": [1]}, "Each participant holds 1 to 10 of ten"),
        ({"a": range(10), "b": range(10)}, "Every participant holds all ten"),
    ],
)
def test_label_title_is_true(held: dict, said: str) -> None:
    labels = {name: torch.tensor(list(digits)) for name, digits in held.items()}
    assert title(plots.label_bars(labels)).startswith(said)


def test_a_participant_without_labels_is_named() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.label_bars({"a": torch.tensor([1]), "b": torch.tensor([], dtype=torch.int64)})
    assert "'b'" in caught.value.field


def test_per_digit_table() -> None:
    rows = {"alone": [0.9] * 4 + [0.0] * 6, "federated": [0.75] * 10}
    fig = plots.per_digit_accuracy(rows)
    shown = words(fig)
    assert (shown.count("90"), shown.count("75")) == (4, 10)
    assert "alone 4, federated 10" in title(fig)


def test_per_digit_needs_ten() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.per_digit_accuracy({"a": [0.5] * 9})
    assert "'a'" in caught.value.field
    assert "9" in caught.value.what


def test_confusion_counts_every_image() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(10, (500,), generator=generator)
    predictions = torch.randint(10, (500,), generator=generator)
    predictions[labels == 4] = 9
    table = plots.confusion(predictions, labels).axes[0].images[0].get_array()
    for true in range(10):
        for taken in range(10):
            pairs = zip(labels.tolist(), predictions.tolist(), strict=True)
            assert table[true][taken] == sum(pair == (true, taken) for pair in pairs)
    assert "a 4 is taken for a 9" in title(plots.confusion(predictions, labels))


def test_confusion_without_mistakes_names_none() -> None:
    labels = torch.arange(10)
    assert title(plots.confusion(labels, labels)) == "100.0% are right"


NAMES = ("benign", "malignant", "unsure")


def test_classes_of_ones_own_have_their_names() -> None:
    labels = {"north": torch.tensor([0, 0, 1]), "south": torch.tensor([2, 2, 2, 0])}
    bars = plots.label_bars(labels, classes=NAMES)
    assert title(bars) == "Each participant holds 2 of 3 classes"
    assert {t.get_text() for t in bars.axes[0].get_legend().get_texts()} == set(NAMES)
    heat = plots.label_heatmap(labels, classes=NAMES)
    assert heat.axes[0].images[0].get_array().tolist() == [[2, 1, 0], [1, 0, 3]]
    assert title(heat) == "2 of 6 pairs of participant and class have no sample"
    taken = plots.confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]), classes=NAMES)
    assert title(taken) == "66.7% are right; most often unsure is taken for malignant (1 times)"
    known = plots.per_digit_accuracy({"north": [0.9, 0.1, 0.5]}, classes=NAMES)
    assert title(known) == "Classes that each one knows, of 3: north 2"


def test_yes_or_no_is_two_classes() -> None:
    labels = {"north": torch.tensor([0.0, 0.0, 1.0]), "south": torch.tensor([1.0])}
    heat = plots.label_heatmap(labels, classes=NAMES[:2])
    assert heat.axes[0].images[0].get_array().tolist() == [[2, 1], [0, 1]]
    taken = plots.confusion(labels["north"], torch.tensor([0.0, 1.0, 1.0]), classes=NAMES[:2])
    assert title(taken).startswith("66.7% are right")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.label_bars({"a": torch.tensor([0.0, 1.0])}),
        lambda: plots.label_bars({"a": torch.tensor([0.0, 0.5])}, classes=NAMES[:2]),
        lambda: plots.label_heatmap({"a": torch.tensor([11])}),
        lambda: plots.confusion(torch.tensor([3]), torch.tensor([0]), classes=NAMES),
        lambda: plots.per_digit_accuracy({"a": [0.5] * 10}, classes=NAMES),
        lambda: plots.label_bars({"a": torch.tensor([0])}, classes=[str(n) for n in range(11)]),
    ],
)
def test_what_are_no_such_classes_is_said(draw: Callable[[], object]) -> None:
    error = complaint(draw)
    assert error.field
    assert error.remedy
