"""What every panel does: it ends with its last copy, has a twin without a front end, and shows strangers' text as text."""

from __future__ import annotations

import re
from pathlib import Path

import ipywidgets
import pytest

from fedkit.federation.network import Network
from fedkit.protocol.approval import approve, approve_all
from fedkit.teaching.control.control import Control
from fedkit.teaching.control.snapshot import Snapshot
from fedkit.teaching.widgets import panel as panel_module
from fedkit.teaching.widgets.approval_desk import ApprovalDesk
from fedkit.teaching.widgets.failure_lab import FailureLab
from fedkit.teaching.widgets.highlight import highlight
from fedkit.teaching.widgets.panel import Panel, breakable
from fedkit.teaching.widgets.round_control import RoundControl
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched
from tests.support.panels import ADJUSTABLE, SLOW, panel_on, words

pytestmark = pytest.mark.usefixtures("no_thread_is_left")
VIEW = "application/vnd.jupyter.widget-view+json"


def alive() -> int:
    """How many widgets the kernel holds."""
    return len(ipywidgets.widgets.widget._instances)


def test_a_word_without_end_breaks_and_what_it_says_stays() -> None:
    assert breakable("ann@example.org") == "ann@<wbr>example.<wbr>org"
    assert breakable("approve the request") == "approve the request"
    assert breakable("x" * 100) == f"{'x' * 40}<wbr>{'x' * 40}<wbr>{'x' * 20}"
    assert breakable("<" * 41) == f"{'&lt;' * 40}<wbr>&lt;"


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
