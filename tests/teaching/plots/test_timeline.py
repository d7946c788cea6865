"""Fates of participants, and their picture: what the records and the faults' log say, in words, signs and cells."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import fedkit as fk
from fedkit.rounds.history import Contribution, History, RoundRecord
from fedkit.teaching import plots
from fedkit.teaching.control.control import Control
from fedkit.teaching.failures.fates import SIGNS, fates
from fedkit.teaching.failures.faults import KINDS, Fault
from fedkit.teaching.plots.timeline import COLOURS
from tests.support.helpers import ALICE, BOB, CAROL, EVE, launched
from tests.support.pictures import title, visible

PEOPLE = (ALICE, BOB, CAROL)


def record(
    n: int, *counted: str, refused: dict | None = None, absent: tuple = (), **more: float
) -> RoundRecord:
    parts = tuple(Contribution(who, 1 / len(counted), 10, 1.0, 1.0, "0" * 64) for who in counted)
    values = {"accuracy": 0.5, "loss": 1.0, "learning_rate": 0.1, "local_epochs": 2} | more
    return RoundRecord(n, parts, refused or {}, absent, **values)  # type: ignore[arg-type]


def history(*records: RoundRecord) -> History:
    return History("P", records, len(records))


def one(log: list, *counted: str, **more: Any) -> str:
    """What the picture says about Bob after a single round."""
    fig = plots.round_timeline(history(record(1, *counted, **more)), [BOB], log)
    (cell,) = [text for text in words(fig) if text[0] in SIGNS.values()]
    return cell


# ---------------------------------------------------------------------------------------- fates
def test_the_records_alone_tell_four_fates() -> None:
    assert one([], ALICE, BOB) == "✓ averaged"
    assert one([], ALICE, refused={BOB: "fc1 holds NaN"}) == "✗ refused: fc1 holds NaN"
    assert one([], ALICE, absent=(BOB,)) == "– absent"
    assert one([], ALICE) == "· not asked"


@pytest.mark.parametrize(
    ("what", "came", "stayed_away"),
    [
        ("slow", "◷ averaged, though late", "– absent: came too late"),
        (
            "killed",
            "↻ resumed: killed in the middle of training",
            "– absent: its process was killed",
        ),
        ("sign-flipped", "≈ averaged, though sign-flipped", "– absent"),
        ("scaled", "≈ averaged, though scaled", "– absent"),
        ("replayed", "≈ averaged, though an old update", "– absent"),
    ],
)
def test_the_log_says_what_was_done(what: str, came: str, stayed_away: str) -> None:
    assert one([(BOB, 1, what)], ALICE, BOB) == came
    assert one([(BOB, 1, what)], ALICE, absent=(BOB,)) == stayed_away
    for other in ([(ALICE, 1, what)], [(BOB, 2, what)]):
        assert one(other, ALICE, BOB) == "✓ averaged", "another one's fault, another round"


def test_rows_are_those_that_were_asked_for_in_their_order() -> None:
    rounds = history(record(1, BOB, absent=(CAROL,)), record(2, CAROL, refused={ALICE: "no"}))

    def rows(*people: str) -> list[str]:
        ax = plots.round_timeline(rounds, people or None).axes[0]
        return [label.get_text() for label in ax.get_yticklabels()]

    assert rows() == ["alice", "bob", "carol"]
    assert rows(EVE, BOB) == ["eve", "bob"]


def test_every_fate_has_a_sign_and_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(SIGNS)
    assert len(set(SIGNS.values())) == len(SIGNS)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_real_faults_end_in_their_fates(tmp_path: Path) -> None:
    """Each sort of fault at a participant of its own, against what the aggregator then wrote down."""
    ends = {"NaN": "refused", "absent": "absent", "sign-flipped": "unnoticed"}
    ends["wrong shape"] = "refused"
    assert set(ends) <= set(KINDS)
    people = [f"{kind.split()[0].lower()}@example.org" for kind in ends]
    everyone = [ALICE, *people]
    network = launched(tmp_path, participants=everyone, min_participants=2, round_timeout_s=0.01)
    control = Control.of(network, fk.approve_all)
    for email, kind in zip(people, ends, strict=True):
        control.faults.set(email, Fault(kind, from_round=2))
    control.run_all()
    done = control.wait(120)
    found = fates(done.history, everyone, control.faults.log)
    table = {who: [fate.word for fate in found if fate.participant == who] for who in everyone}
    assert done.history.done, done.error
    assert table == {ALICE: ["averaged", "averaged"]} | {
        email: ["averaged", end] for email, end in zip(people, ends.values(), strict=True)
    }


# -------------------------------------------------------------------------------------- picture
def words(fig: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in visible(fig)]


LOG = [(BOB, 1, "slow"), (ALICE, 2, "killed"), (CAROL, 3, "sign-flipped")]
ROUNDS = history(
    record(1, ALICE, BOB, CAROL, accuracy=0.61),
    record(2, ALICE, CAROL, absent=(BOB,), accuracy=0.72, learning_rate=0.05),
    record(3, ALICE, CAROL, refused={BOB: "fc1.weight holds NaN"}, learning_rate=0.05),
)


def long_history(rounds: int) -> History:
    return history(
        *[
            record(n, ALICE, CAROL, absent=(BOB,), learning_rate=0.1 if n < 7 else 0.05)
            for n in range(1, rounds + 1)
        ]
    )


def test_every_cell_says_its_fate() -> None:
    fig = plots.round_timeline(ROUNDS, PEOPLE, LOG)
    said = words(fig)
    assert said.count("✓ averaged") == 4
    assert {"◷ averaged, though late", "– absent"} <= set(said)
    assert "↻ resumed: killed in the middle of training" in said
    assert {"✗ refused: fc1.weight holds NaN", "≈ averaged, though sign-flipped"} <= set(said)
    assert {"alice", "bob", "carol", "round 1", "round 3", "61.0%", "72.0%"} <= set(said)
    head = "7 of 9 expected updates were averaged (1 of them tampered with)"
    assert title(fig) == f"{head}: 1 refused, 1 absent"


def test_cells_lie_where_their_row_and_column_are() -> None:
    fig = plots.round_timeline(ROUNDS, PEOPLE, LOG)
    ax = fig.axes[0]
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert len(boxes) == 9
    rows = {
        label.get_text(): y for y, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    }
    (refused,) = [text for text in ax.texts if text.get_text().startswith("✗")]
    assert refused.get_position() == (3, pytest.approx(rows["bob"]))
    (cell,) = [
        box
        for box in boxes
        if box.get_x() < 3 < box.get_x() + 1
        and box.get_y() < rows["bob"] < box.get_y() + box.get_height()
    ]
    assert matplotlib_hex(cell) == COLOURS["refused"]
    assert rows["alice"] < rows["bob"] < rows["carol"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first participant stands on top"


def matplotlib_hex(cell: Rectangle) -> str:
    from matplotlib.colors import to_hex

    return to_hex(cell.get_facecolor()).upper()


def test_a_changed_setting_leaves_its_mark_above_its_round_only() -> None:
    assert "learning rate 0.05 round 2" in words(plots.round_timeline(ROUNDS, PEOPLE))
    more = history(record(1, ALICE, local_epochs=1), record(2, ALICE, local_epochs=3))
    assert {"round 1", "3 epochs round 2"} <= set(words(plots.round_timeline(more)))
    same = plots.round_timeline(history(record(1, ALICE), record(2, ALICE)))
    assert {"round 1", "round 2"} <= set(words(same))


def test_a_long_project_has_signs_and_a_key() -> None:
    said = words(plots.round_timeline(long_history(20), PEOPLE))
    assert said.count("✓") == 40
    assert said.count("–") == 20
    assert {"1", "5", "10", "20"} <= set(said)
    (key,) = [text for text in said if "✓ averaged" in text]
    assert "– absent" in key
    assert "refused" not in key, "only what occurs"
    assert "▾ settings changed" in key
    assert sum(text.startswith("▾") and "settings" not in text for text in said) == 1


def test_a_reason_too_long_for_its_cell_is_cut_with_dots() -> None:
    why = "fc1.weight has shape [128, 785], the model has [128, 784] and nothing else would do"
    rounds = history(*[record(n, ALICE, refused={BOB: why}) for n in range(1, 7)])
    (text, *_) = [text for text in words(plots.round_timeline(rounds)) if text.startswith("✗")]
    assert text.endswith("…")
    assert "fc1.weight" in text


@pytest.mark.parametrize("rounds", [1, 3, 6, 7, 12, 20])
def test_no_text_hides_another_and_all_fits_the_page(rounds: int) -> None:
    fig = plots.round_timeline(long_history(rounds), PEOPLE, [(BOB, 1, "slow")])
    texts = visible(fig)
    renderer = fig.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    hidden = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert hidden == []
    assert fig.get_tightbbox(renderer).width <= 7.3
    assert min(text.get_fontsize() for text in texts) >= 9


def test_all_averaged_is_said_and_nothing_to_draw_is_an_error() -> None:
    assert title(plots.round_timeline(long_history(1), [ALICE])) == "Every update was averaged"
    assert title(plots.round_timeline(ROUNDS, title="Bob was late")) == "Bob was late"
    with pytest.raises(fk.FedkitError, match="history"):
        plots.round_timeline(history())
    with pytest.raises(fk.FedkitError, match="participants"):
        plots.round_timeline(ROUNDS, [])
