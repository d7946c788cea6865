"""The panels, driven through their traits: the same things a person does, without a browser (that is tests/browser)."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import ipywidgets
import pytest

from fedkit.base.errors import FedkitError
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve, approve_all, pending_requests, pinned, why_declined
from fedkit.rounds.history import Contribution, History, RoundRecord
from fedkit.teaching.control.control import Control
from fedkit.teaching.control.snapshot import Snapshot
from fedkit.teaching.failures.faults import KINDS, Fault
from fedkit.teaching.widgets import panel as panel_module
from fedkit.teaching.widgets.approval_desk import ApprovalDesk
from fedkit.teaching.widgets.chart import chart, chart_image, chart_text, settings_changes
from fedkit.teaching.widgets.failure_lab import FailureLab
from fedkit.teaching.widgets.highlight import highlight
from fedkit.teaching.widgets.panel import Panel
from fedkit.teaching.widgets.round_control import RoundControl
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, LINEAR, PROJECT, launched, small
from tests.teaching.control.test_control import ADJUSTABLE, SLOW

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert [t for t in threading.enumerate() if t not in before] == []


def words(html: str) -> str:
    """What a page shows of a piece of HTML; fails where a tag is not closed."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.text: list[str] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("br", "img"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data: str) -> None:
            self.text.append(data)

    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return " ".join(" ".join(reader.text).split())


def alive() -> int:
    """How many widgets the kernel holds."""
    return len(ipywidgets.widgets.widget._instances)


def panel_on(root: Path, model: str = LINEAR, **changes: Any) -> RoundControl:
    return RoundControl(launched(root, model, **changes), approve_all)


def disabled(panel: RoundControl) -> set[str]:
    return {name for name, button in panel.buttons.items() if button.disabled}


# ----------------------------------------------------------------------------------- round control
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
    assert "Learning rate must be a finite number above 0" in words(panel.hint.value)
    panel.fields["participants_per_round"].value = 9
    assert panel.fields["participants_per_round"].value == 2
    assert "asks for 9 of 2" in words(panel.hint.value)
    panel.fields["epoch"].value = 2
    assert "asks for" not in words(panel.hint.value)
    assert panel.control.now.settings is not None
    assert panel.control.now.settings.epoch == 2


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


# ------------------------------------------------------------------------------ closing, re-running
def test_closing_the_last_panel_ends_the_work(tmp_path: Path) -> None:
    before = alive()
    panel = panel_on(tmp_path, SLOW, epoch=200, batch_size=1)
    other = RoundControl(panel.control.network)
    panel.buttons["Run all"].click()
    panel.close()
    assert panel.control.now.busy  # the other one still shows it, and can pause it
    other.close()
    assert not panel.control.now.busy
    assert alive() == before
    panel.repaint()
    assert VIEW not in panel._repr_mimebundle_()


def test_running_a_cell_again_closes_what_it_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = ("one", 1)
    monkeypatch.setattr(panel_module, "running_cell", lambda: cell)
    net = launched(tmp_path, SLOW, epoch=200, batch_size=1)
    first, second = RoundControl(net, approve_all), RoundControl(net)
    cell = ("two", 2)
    elsewhere = FailureLab(net)
    first.buttons["Run all"].click()
    cell = ("one", 3)
    again = RoundControl(net)
    assert first.box is None
    assert second.box is None
    assert again.box is not None
    assert elsewhere.box is not None
    assert again.control.now.busy  # what ran goes on, in the new panel
    again.buttons["Pause"].click()
    again.wait()
    again.close()
    elsewhere.close()


def test_a_network_made_anew_in_the_same_folder(tmp_path: Path) -> None:
    old = panel_on(tmp_path, SLOW, epoch=200, batch_size=1)
    old.buttons["Run all"].click()
    new = RoundControl(Network.open(tmp_path), approve_all)
    assert not old.control.now.busy
    assert "paused in round 1 of 2" in words(new.status.value) or "ready" in words(new.status.value)


# ------------------------------------------------------------------------------------- static twins
@pytest.mark.parametrize("interactive", [True, False])
def test_twins(tmp_path: Path, interactive: bool) -> None:
    net = launched(tmp_path, rounds=2)
    before = alive()
    panels = [
        ApprovalDesk(net[ALICE], interactive),
        RoundControl(net, approve_all, interactive),
        FailureLab(net, interactive),
    ]
    assert (alive() > before) is interactive
    for panel in panels:
        bundle = panel._repr_mimebundle_()
        assert set(bundle) == {"text/html", "text/plain"} | ({VIEW} if interactive else set())
        assert "<script" not in bundle["text/html"]
        assert "<style" not in bundle["text/html"]
        assert (
            "<svg" not in bundle["text/html"]
        )  # Lab drops it from a notebook that it does not trust
        assert "var(--" not in bundle["text/html"]
        assert words(bundle["text/html"])
        assert bundle["text/plain"].strip()
        for image in re.findall("<img [^>]*>", bundle["text/html"]):
            assert re.search('alt="[^"]+"', image)
        panel.close()


def test_a_twin_shows_the_moment(tmp_path: Path) -> None:
    net = launched(tmp_path, rounds=2, adjustable=ADJUSTABLE)
    desk, panel = ApprovalDesk(net[ALICE], False), RoundControl(net, interactive=False)
    assert "No request waits" in words(ApprovalDesk(net[AGGREGATOR], False).html())
    assert PROJECT in desk.text()
    assert "model.py" in words(desk.html())
    assert desk.approve().email == ALICE
    assert "No request waits" in desk.text()
    assert "Approved" in words(desk.html())
    approve(net[BOB], PROJECT)
    panel.control.run_round()
    panel.wait()
    panel.control.change(learning_rate=0.03)
    assert "paused after round 1 of 2" in panel.text()
    assert "Learning rate: 0.03" in words(panel.html())
    panel.control.run_all()
    panel.wait()
    assert "from round 2: learning rate 0.1 → 0.03" in panel.text()
    lab = FailureLab(net, interactive=False)
    lab.set(BOB, "NaN", 2)
    panel.control.reset(1)
    panel.wait()
    panel.control.run_all()
    panel.wait()
    assert f"round 2, {BOB}: ✗ refused (fc.weight holds NaN" in lab.text()
    assert "✗ refused" in words(lab.html())


# ------------------------------------------------------------------------------------ approval desk
def test_the_desk_shows_what_would_run_and_approves_exactly_that(tmp_path: Path) -> None:
    net = launched(tmp_path)
    control = Control.of(net)
    desk = ApprovalDesk(net[ALICE])
    shown = net[ALICE].client().project(PROJECT, "request").path / "model.py"
    digest = desk._asked.hashes["model.py"] if desk._asked else ""
    assert digest in words(desk.source.value)
    assert "class FLModel (nn.Module):" in words(desk.source.value)
    assert "not a guarantee" in words(desk.hints.value)
    assert "learning rate 0.1" in words(desk.config.value)
    shown.write_text("import os\n")  # after it was painted, before the click
    desk.yes.click()
    assert (pinned(net[ALICE], PROJECT) or {})["model.py"] == digest
    running = net[ALICE].client().project(PROJECT).path / "model.py"
    assert running.read_text() == LINEAR
    assert "✓ Approved" in words(desk.answer.value)
    assert "No request waits" in words(desk.hints.value)
    assert desk.yes.disabled
    assert desk.no.disabled
    assert control.now.rows[0].approved  # the other panels know


def test_a_request_that_changes_is_shown_anew(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    desk = ApprovalDesk(net[ALICE])
    (net[ALICE].client().project(PROJECT, "request").path / "model.py").write_text(
        "import socket\n"
    )
    desk.repaint()
    assert "access to the network" in words(desk.hints.value)
    assert "▸1 import socket" in words(desk.source.value)


def test_declining_needs_a_reason_which_reaches_the_aggregator(tmp_path: Path) -> None:
    net = launched(tmp_path)
    panel = RoundControl(net)
    desk = ApprovalDesk(net[BOB])
    desk.no.click()
    assert "is empty" in words(desk.answer.value)
    assert pending_requests(net[BOB]) == [PROJECT]
    desk.reason.value = "<b>my</b> images are private"
    desk.no.click()
    assert why_declined(net[AGGREGATOR], PROJECT, BOB) == "<b>my</b> images are private"
    assert "<b>my" not in desk.answer.value
    assert "<b>my</b> images" in words(desk.answer.value)
    assert "declined: <b>my</b> images are private" in words(panel.table.value)
    assert desk.reason.value == ""


def test_a_request_that_can_not_be_read_can_only_be_declined(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    (net[BOB].client().project(PROJECT, "request").path / "fl_config.json").write_text("{")
    desk = ApprovalDesk(net[BOB])
    assert desk.yes.disabled
    assert not desk.no.disabled
    assert "can't be approved" in words(desk.hints.value)
    assert "can't be approved" in words(ApprovalDesk(net[BOB], interactive=False).html())
    with pytest.raises(FedkitError):
        desk.approve()
    desk.decline("I can't read it")
    assert pending_requests(net[BOB]) == []


def test_several_requests(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    net.launch(small(project_name="ANOTHER"), LINEAR + "import os\n")
    desk = ApprovalDesk(net[ALICE])
    desk.again.click()
    assert desk.choice.options == ("ANOTHER", PROJECT)
    desk.choice.value = "ANOTHER"
    assert "imports os" in words(desk.hints.value)
    desk.choice.value = PROJECT
    assert "nothing stands out" in words(desk.hints.value)
    desk.reason.value = "no"
    desk.no.click()
    assert pending_requests(net[ALICE]) == ["ANOTHER"]
    assert desk.choice.value == "ANOTHER"
    with pytest.raises(FedkitError):
        desk.approve("MISSING")


def test_a_desk_that_was_there_before_the_control(tmp_path: Path) -> None:
    net = launched(tmp_path)
    desk = ApprovalDesk(net[ALICE])
    assert "No request waits" in words(desk.hints.value)
    control = Control.of(net)
    desk.again.click()
    assert not desk.yes.disabled
    approve(net[ALICE], PROJECT)
    control.refresh()
    assert desk.yes.disabled


def test_a_decision_while_it_trains(tmp_path: Path) -> None:
    """The desk does not sync beside a running worker; the worker carries the answer."""
    net = launched(tmp_path, SLOW, epoch=40, batch_size=1, approval="quorum", min_participants=1)
    approve(net[ALICE], PROJECT) if pending_requests(net[ALICE]) else None
    panel = RoundControl(net)
    approve(net[ALICE], PROJECT)
    desk, trains = ApprovalDesk(net[BOB]), threading.Event()
    end = panel.control.subscribe(lambda now: trains.set() if now.epoch else None)
    panel.buttons["Run all"].click()
    assert trains.wait(60)
    desk.yes.click()
    assert panel.wait().error == ""
    end()
    assert [row.approved for row in panel.control.now.rows] == [True, True]
    assert len(list(panel.control.now.history)[-1].contributions) == 2


# -------------------------------------------------------------------------------------- failure lab
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


# -------------------------------------------------------------------------------------------- chart
def record(
    n: int, accuracy: float | None = 0.5, loss: float | None = 1.0, **more: Any
) -> RoundRecord:
    parts = (Contribution(ALICE, 1.0, 6, 0.1, 1.0, "0" * 64),)
    settings = {"learning_rate": 0.1, "local_epochs": 1, "contributions": parts} | more
    return RoundRecord(n, accuracy=accuracy, loss=loss, **settings)


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


# --------------------------------------------------------------------------------------- hostile text
@pytest.mark.parametrize("live", [True, False])
def test_source_can_not_leave_its_frame(live: bool) -> None:
    source = '"""</pre><script>alert(1)</script>"""\nx = "\u202e"\n# <img src=x onerror=y>\n'
    html = highlight(source, [2], live)
    assert "<script" not in html
    assert "<img" not in html
    assert "⟨U+202E⟩" in html
    assert words(html).startswith('1 """</pre><script>alert(1)</script>""" ▸2 x = "')


def test_names_and_statuses_are_escaped() -> None:
    from fedkit.teaching.widgets.round_control import status_html

    assert "<b>" not in status_html(Snapshot(error="<b>bad</b>"))
    assert "<b>" not in status_html(Snapshot(busy=True, status="<b>x</b>: <i>y</i>"))


def test_a_panel_of_ones_own(tmp_path: Path) -> None:
    """What another panel needs to do: its text, its widgets, and what it follows."""

    class Counter(Panel):
        def __init__(self, control: Control) -> None:
            super().__init__()
            self.label, self.control = ipywidgets.HTML(), control
            self.open([self.label], [control], "counter")

        def html(self) -> str:
            return "<p>counter</p>"

        def text(self) -> str:
            return "counter"

        def paint(self) -> None:
            self.label.value = str(len(self.control.now.history))

    control = Control.of(launched(tmp_path), approve_all)
    counter = Counter(control)
    control.run_all()
    control.wait()
    assert counter.label.value == "2"
    assert set(counter._repr_mimebundle_()) == {"text/html", "text/plain", VIEW}
    counter.close()
    assert not control.followed
