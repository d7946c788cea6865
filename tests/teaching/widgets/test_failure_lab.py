"""The lab of failures, driven through its traits: faults set and repaired for the round that a person chose."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.protocol.approval import approve_all
from fedkit.teaching.failures.faults import KINDS, Fault
from fedkit.teaching.widgets import failure_lab
from fedkit.teaching.widgets.failure_lab import FailureLab
from fedkit.teaching.widgets.round_control import RoundControl
from tests.support.helpers import ALICE, BOB, CAROL, launched
from tests.support.panels import words

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_the_lab_sets_and_repairs(tmp_path: Path) -> None:
    net = launched(tmp_path, participants=[ALICE, BOB, CAROL], rounds=3)
    panel, lab = RoundControl(net, approve_all), FailureLab(net)
    assert lab.kind.options == tuple(KINDS)
    assert "Nothing is set to fail" in words(lab.held.value)
    panel.buttons["Run round"].click()
    panel.wait()
    assert lab.start.value == 2
    lab.who.value, lab.kind.value = BOB, "NaN"
    assert KINDS["NaN"] in words(lab.what.value)
    lab.do.click()
    assert panel.control.faults.current() == {BOB: Fault("NaN", 2)}
    assert "bob NaN, from round 2 on" in words(lab.held.value)
    panel.buttons["Run all"].click()
    panel.wait()
    assert "holds NaN" in words(panel.status.value)
    assert "✗ refused" in words(lab.table.value)
    assert "round 2 (under way)" in words(lab.table.value)
    assert "holds NaN" in words(lab.why.value)
    lab.undo.click()
    assert panel.control.faults.current() == {}
    panel.buttons["Run all"].click()
    assert panel.wait().history.done
    assert words(lab.table.value).count("✓ averaged") == 9


def test_the_lab_asks_for_what_the_fault_needs(tmp_path: Path) -> None:
    lab = FailureLab(launched(tmp_path))
    shown = {}
    for kind in KINDS:
        lab.kind.value = kind
        shown[kind] = [f.layout.display != "none" for f in (lab.seconds, lab.factor)]
    assert shown.pop("slow") == [True, False]
    assert shown.pop("scaled") == [False, True]
    assert all(value == [False, False] for value in shown.values())
    lab.kind.value, lab.factor.value = "scaled", 3
    lab.do.click()
    assert lab.control.faults.current()[ALICE] == Fault("scaled", 1, factor=3)
    lab.undo_all.click()
    assert lab.control.faults.current() == {}


def test_the_lab_keeps_the_round_that_a_person_chose(tmp_path: Path) -> None:
    lab = FailureLab(launched(tmp_path))
    lab.start.value = 2
    lab.control.refresh()
    assert lab.start.value == 2
    with pytest.raises(FedkitError):
        lab.set("nobody@example.org", "NaN")
    with pytest.raises(FedkitError):
        lab.set(ALICE, "gremlin")


@pytest.mark.parametrize(
    ("field", "kind", "typed", "said"),
    [
        ("start", "NaN", 0, "From round 0 is too small: the first round is round 1"),
        ("start", "NaN", 1.5, "From round 1.5 is no whole number"),
        ("start", "NaN", 9, "From round 9 is too large: the project has 2 rounds; give a whole"),
        ("seconds", "slow", 3600, "Seconds late 3,600 is too large: you would wait"),
        ("seconds", "slow", -1, "Seconds late -1 is too small"),
        ("factor", "scaled", 1e9, "Factor 1,000,000,000 is too large"),
        ("factor", "scaled", float("nan"), "Factor nan is no number; give one from -1,000,000"),
    ],
)
def test_a_number_out_of_range_is_refused_in_the_panel(
    tmp_path: Path, field: str, kind: str, typed: float, said: str
) -> None:
    lab = FailureLab(launched(tmp_path))
    lab.kind.value = kind
    getattr(lab, field).value = typed
    lab.do.click()
    assert said in words(lab.held.value).replace("1e+09", "1,000,000,000")
    assert "Nothing was changed." in words(lab.held.value)
    assert lab.control.faults.current() == {}
    assert str(getattr(lab, field).value) == str(float(typed)), "it was changed to fit"
    lab.start.value, lab.seconds.value, lab.factor.value = 2, 1, 3
    lab.do.click()
    assert lab.control.faults.current() == {ALICE: Fault(kind, 2, 1.0, 3.0)}


def test_rounds_are_on_pages_and_the_newest_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_lab, "PAGE", 2)
    net = launched(tmp_path, rounds=3)
    panel, lab = RoundControl(net, approve_all), FailureLab(net)
    panel.buttons["Run all"].click()
    panel.wait()
    assert [f"round {n}" in words(lab.table.value) for n in (1, 2, 3)] == [False, False, True]
    assert "rounds 3 to 3 of 3" in words(lab.pager.where.value)
    lab.pager.buttons["Previous"].click()
    assert [f"round {n}" in words(lab.table.value) for n in (1, 2, 3)] == [True, True, False]
    assert lab.start.value == 3, "there is no round 4 in which it could act"
    static = FailureLab(net, interactive=False)
    assert "2 of 3 rounds are shown here; 1 more: " in words(static.html())
    assert "round 1, " in static.text()
