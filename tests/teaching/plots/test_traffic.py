"""What crossed, as a table and as bars: a leak would be seen."""

from collections.abc import Callable
from itertools import combinations

import pytest
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.teaching import plots
from tests.support.pictures import (
    AGG,
    ALICE,
    INBOX,
    LEDGER,
    cells,
    entry,
    heights,
    title,
    visible,
    words,
)


def test_what_the_aggregator_received() -> None:
    fig = plots.what_crossed(LEDGER, aggregator=AGG)
    rows = {
        label.get_text(): row
        for label, row in zip(fig.axes[0].get_yticklabels(), cells(fig, 2), strict=True)
    }
    assert rows == {
        "model updates": ["2 files, 800 kB", "1 file, 400 kB"],
        "progress and counts": ["1 file, 100 B", "1 file, 90 B"],
        "permission files": ["none", "1 file, 60 B"],
        "training images": ["none", "none"],
    }
    assert [label.get_text() for label in fig.axes[0].get_xticklabels()] == [
        "from alice",
        "from bob",
    ]
    assert title(fig) == "The aggregator received 3 model updates and no training image"


def test_of_a_table_no_row_has_crossed() -> None:
    fig = plots.what_crossed(LEDGER, aggregator=AGG, one="row")
    assert title(fig) == "The aggregator received 3 model updates and no training row"
    assert "training rows" in [label.get_text() for label in fig.axes[0].get_yticklabels()]


@pytest.mark.parametrize("leak", [f"{ALICE}/private/x.pt", f"{ALICE}/public/mnist_label_3.pt"])
def test_a_leak_would_be_seen(leak: str) -> None:
    fig = plots.what_crossed([*LEDGER, entry(ALICE, AGG, leak, 9)], aggregator=AGG)
    assert "1 file of training images" in title(fig)
    assert "1 file, 9 B" in words(fig)


def test_bytes_each_way() -> None:
    fig = plots.bytes_by_participant(LEDGER, aggregator=AGG)
    assert heights(fig) == pytest.approx([0.8001, 0.40015, 1.2, 0.5])
    assert title(fig) == "The participants sent 1.2 MB and received 1.7 MB"
    sent, received = fig.axes[0].containers
    assert sent[0].get_hatch() != received[0].get_hatch()
    everything = plots.bytes_by_participant(LEDGER)
    assert sum(heights(everything)) == pytest.approx(2 * sum(e.size for e in LEDGER) / 1e6)


@pytest.mark.parametrize("draw", [plots.what_crossed, plots.bytes_by_participant])
def test_an_empty_ledger_is_an_error(draw: Callable[..., Figure]) -> None:
    with pytest.raises(FedkitError) as caught:
        draw([], aggregator=AGG)
    assert caught.value.field == "ledger"


@pytest.mark.parametrize("people", [4, 5, 30])
@pytest.mark.parametrize("draw", [plots.what_crossed, plots.bytes_by_participant])
def test_no_two_texts_overlap_however_many_send(draw: Callable[..., Figure], people: int) -> None:
    who = [f"participant-{n}@example.org" for n in range(people)]
    files = ("trained_model_round_1.pt", "trained_model_round_1.json", "extra_round_1.bin")
    ledger = [entry(e, AGG, f"{INBOX}/{e}/{name}", 407_000) for e in who for name in files * 12]
    fig = draw(ledger, aggregator=AGG)
    places = [text.get_window_extent() for text in visible(fig)]
    assert len(places) > people
    assert [(a, b) for a, b in combinations(places, 2) if a.overlaps(b)] == []
    width = fig.bbox.width
    assert all(place.x0 >= -1 and place.x1 <= width + 1 for place in places)
