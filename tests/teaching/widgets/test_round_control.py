"""The round control, driven through its traits: what a person does, without a browser (that is tests/browser)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.federation.network import Network
from fedkit.teaching.failures.faults import Fault
from fedkit.teaching.widgets.round_control import RoundControl
from tests.support.helpers import AGGREGATOR, ALICE, BOB
from tests.support.panels import ADJUSTABLE, SLOW, panel_on, words

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def disabled(panel: RoundControl) -> set[str]:
    return {name for name, button in panel.buttons.items() if button.disabled}


def test_buttons_do_what_they_say(tmp_path: Path) -> None:
    panel = panel_on(tmp_path, rounds=2)
    assert disabled(panel) == {"Pause"}
    panel.buttons["Run round"].click()
    panel.wait()
    assert "paused after round 1 of 2" in words(panel.status.value)
    assert "1 of 2" in words(panel.bars.value)
    panel.buttons["Run all"].click()
    now = panel.wait()
    assert "done : 2 rounds" in words(panel.status.value)
    assert f"{now.history.accuracies[-1]:.1%}" in words(panel.plot.value)
    assert disabled(panel) == {"Run round", "Run all", "Pause"}
    panel.buttons["Reset"].click()
    panel.wait()
    assert "ready for round 1 of 2" in words(panel.status.value)
    assert disabled(panel) == {"Pause"}


def test_the_first_change_comes_with_the_click_and_a_pause_stops(tmp_path: Path) -> None:
    panel = panel_on(tmp_path, SLOW, epoch=100, batch_size=1)
    panel.buttons["Run all"].click()
    assert "runs" in words(panel.status.value)  # before any thread had its turn
    assert disabled(panel) == {"Run round", "Run all", "Reset"}
    trains = threading.Event()
    end = panel.control.subscribe(lambda now: trains.set() if now.epoch else None)
    assert trains.wait(60)
    panel.buttons["Pause"].click()
    panel.wait()
    end()
    assert "paused in round 1 of 2" in words(panel.status.value)
    assert disabled(panel) == {"Pause"}


def test_the_loss_on_what_participants_keep_back_has_a_column(tmp_path: Path) -> None:
    panel = panel_on(tmp_path / "kept", validation={"share": 0.4})
    assert "kept back" not in words(panel.table.value)
    panel.buttons["Run round"].click()
    rows = panel.wait().rows
    assert "loss on kept back" in words(panel.table.value)
    for row in rows:
        assert row.kept_back is not None
        assert f"{row.kept_back:.3f}" in words(panel.table.value)
        assert f"{row.kept_back:.3f}" in panel.text()
    plain = panel_on(tmp_path / "plain")
    plain.buttons["Run round"].click()
    plain.wait()
    assert "kept back" not in words(plain.table.value)


def test_a_row_for_every_participant(tmp_path: Path) -> None:
    panel = panel_on(tmp_path)
    assert words(panel.table.value).count("○ not yet") == 2
    panel.buttons["Run round"].click()
    (row, _) = panel.wait().rows
    shown = words(panel.table.value)
    assert row.loss is not None
    assert row.norm is not None
    for text in (ALICE, BOB, "✓ yes", "✓ averaged", "6", f"{row.loss:.3f}", f"{row.norm:.3f}"):
        assert text in shown


def test_settings_that_may_change(tmp_path: Path) -> None:
    panel = panel_on(tmp_path, rounds=3, adjustable=["learning_rate", "participants_per_round"])
    fields = panel.fields
    assert [fields[n].value for n in fields] == [0.1, 1, 2]
    assert [fields[n].disabled for n in fields] == [False, True, False]
    assert "Fixed by the config that everybody approved: local epochs." in words(panel.hint.value)
    panel.buttons["Run round"].click()
    panel.wait()
    fields["learning_rate"].value = 0.02
    fields["participants_per_round"].value = 1
    assert "from round 2 on" in words(panel.hint.value)
    panel.buttons["Run round"].click()
    record = list(panel.wait().history)[1]
    assert (record.learning_rate, len(record.contributions)) == (0.02, 1)
    assert "1 from round 2: learning rate 0.1 → 0.02, participants 2 → 1" in words(panel.plot.value)


def test_a_setting_that_is_not_valid_goes_back_with_a_reason(tmp_path: Path) -> None:
    panel = panel_on(tmp_path, adjustable=ADJUSTABLE)
    panel.fields["learning_rate"].value = -1
    assert panel.fields["learning_rate"].value == 0.1
    assert "Learning rate -1 is too small" in words(panel.hint.value)
    panel.fields["participants_per_round"].value = 9
    assert panel.fields["participants_per_round"].value == 2
    assert "asks for 9 of 2" in words(panel.hint.value)
    panel.fields["epoch"].value = 2
    assert "asks for" not in words(panel.hint.value)
    assert panel.control.now.settings is not None
    assert panel.control.now.settings.epoch == 2


@pytest.mark.parametrize(
    ("name", "typed", "why", "range_"),
    [
        ("learning_rate", 50, "50 is too large: steps so long", "a number from 0.000001 to 10"),
        ("learning_rate", 0, "0 is too small", "a number from 0.000001 to 10"),
        ("learning_rate", float("nan"), "nan is no number", "from 0.000001 to 10"),
        ("epoch", 20_000, "20,000 is too large: one round would", "from 1 to 10,000"),
        ("epoch", 2.7, "2.7 is no whole number", "a whole number from 1 to 10,000"),
        ("epoch", 0, "0 is too small: without an epoch", "from 1 to 10,000"),
        ("participants_per_round", 0, "0 is too small", "from 1 to 10,000"),
        ("participants_per_round", 1.5, "1.5 is no whole number", "from 1 to"),
    ],
)
def test_a_number_out_of_range_is_refused_in_the_panel(
    tmp_path: Path, name: str, typed: float, why: str, range_: str
) -> None:
    panel = panel_on(tmp_path, adjustable=ADJUSTABLE)
    before = panel.control.now.settings
    held = panel.fields[name].value
    panel.fields[name].value = typed
    said = words(panel.hint.value)
    for part in (why, range_, "Nothing was changed."):
        assert part in said
    assert panel.fields[name].value == held
    assert panel.control.now.settings == before
    with pytest.raises(FedkitError) as caught:  # a cell that does the same reads the same
        panel.control.change(**{name: typed})
    assert why in caught.value.what


def test_a_round_under_way_has_its_settings_and_the_panel_names_the_next(tmp_path: Path) -> None:
    """It waits for Bob in round 2: what is changed now holds from round 3 on, and so says every part of the panel."""
    panel = panel_on(tmp_path, rounds=4, adjustable=ADJUSTABLE)
    assert "A change acts from round 1 on." in words(panel.hint.value)
    panel.buttons["Run round"].click()
    panel.wait()
    assert "A change acts from round 2 on." in words(panel.hint.value)
    panel.control.faults.set(BOB, Fault("absent", 2))
    panel.buttons["Run round"].click()
    panel.wait()
    assert "waits for" in words(panel.status.value)
    panel.fields["learning_rate"].value = 0.02
    assert "A change acts from round 3 on." in words(panel.hint.value)
    assert "From round 3 on:" in words(panel.html())
    panel.control.faults.clear()
    panel.buttons["Run all"].click()
    history = panel.wait().history
    assert [record.learning_rate for record in history] == [0.1, 0.1, 0.02, 0.02]
    assert "1 from round 3: learning rate 0.1 → 0.02" in words(panel.plot.value)
    panel.control.go_to(1)
    assert "A change acts from round 2 on." in words(panel.hint.value)
    panel.control.go_to(0)
    assert "A change acts from round 1 on." in words(panel.hint.value)
    assert panel.fields["learning_rate"].value == 0.1


def test_numbers_of_an_older_round_say_so_and_nobody_trains_where_nothing_moves(
    tmp_path: Path,
) -> None:
    panel = panel_on(tmp_path, rounds=3, min_participants=1)
    panel.buttons["Run round"].click()
    panel.wait()
    assert "numbers are of" not in words(panel.table.value)
    panel.control.faults.set(BOB, Fault("NaN", 2))
    panel.buttons["Run round"].click()
    panel.wait()
    assert "✗ refused; numbers are of round 1" in words(panel.table.value)
    assert words(panel.table.value).count("numbers are of") == 1
    assert "local epochs –" in words(panel.bars.value), "an epoch that is over stands there still"


def test_what_a_person_types_is_not_overwritten_by_older_news(tmp_path: Path) -> None:
    panel = panel_on(tmp_path, adjustable=ADJUSTABLE)
    field = panel.fields["epoch"]
    older = panel.control.now
    end_of_typing: list[int] = []

    def change(**settings: int) -> None:  # the news arrives between the key and the file
        panel.control._now = older
        panel.paint()
        end_of_typing.append(field.value)

    panel.control.change = change  # type: ignore[method-assign]
    field.value = 7
    assert end_of_typing == [7]


def test_two_panels_on_one_network_stay_in_step(tmp_path: Path) -> None:
    one = panel_on(tmp_path, adjustable=ADJUSTABLE)
    other = RoundControl(one.control.network)
    assert other.control is one.control
    one.fields["epoch"].value = 3
    assert other.fields["epoch"].value == 3
    other.buttons["Run all"].click()
    assert disabled(one) == disabled(other)
    one.wait()
    for name in ("status", "bars", "plot", "table", "hint"):
        assert getattr(one, name).value == getattr(other, name).value
    assert "done" in words(one.status.value)


def test_an_error_of_the_worker_is_in_the_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = panel_on(tmp_path)
    monkeypatch.setattr(panel.control.network, "run", lambda **_: [][1])
    panel.buttons["Run all"].click()
    panel.wait()
    assert "✗ problem : stopped on IndexError" in words(panel.status.value)
    assert "bad" in panel.status.value
    assert disabled(panel) == {"Pause"}


def test_no_project_yet(tmp_path: Path) -> None:
    net = Network.create(tmp_path, aggregator=AGGREGATOR, participants=[ALICE])
    panel = RoundControl(net)
    assert disabled(panel) == {"Run round", "Run all", "Pause", "Reset"}
    assert "nothing launched yet" in words(panel.status.value)
    assert "no round has ended yet" in words(panel.plot.value)
    assert "nothing launched yet" in words(RoundControl(net, interactive=False).html())
