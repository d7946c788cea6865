"""The panel that drives the rounds: buttons, settings, progress, accuracy and loss, and where each participant stands.

Its pieces are made from a snapshot, below the panel: the same for the live one and for its twin.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.federation.network import Network
from fedkit.protocol.approval import Policy
from fedkit.teaching.control.control import Control
from fedkit.teaching.control.sane import SANE
from fedkit.teaching.control.snapshot import Snapshot
from fedkit.teaching.plots.style import size_text
from fedkit.teaching.widgets.chart import chart, chart_image, chart_text, settings_changes
from fedkit.teaching.widgets.panel import (
    Panel,
    breakable,
    button,
    esc,
    heading,
    note,
    row,
    stacked,
    table,
)

__all__ = ["RoundControl", "status_html"]


NAMES = {name: SANE[name].said for name in ("learning_rate", "epoch", "participants_per_round")}


class RoundControl(Panel):
    """Run round, Run all, Pause, Reset, and the settings of the next round.

    control : the model behind it, the one `Control` of the network; `panel.control.run_round()` is the button, and
    `panel.wait()` waits as a person would. Any number of panels on one network stay in step.

    network : a network with a project launched. approve : answers the requests while it runs (default: nobody but a
    person at a desk). interactive : False in batch; the panel is then a picture of the moment at which it is displayed.
    """

    def __init__(
        self, network: Network, approve: Policy | None = None, interactive: bool = True
    ) -> None:
        super().__init__(interactive)
        self.control = Control.of(network, approve)
        if interactive:
            self._make()

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """Until what was started has ended; returns what the panel then shows."""
        return self.control.wait(timeout_s)

    def close(self) -> None:
        super().close()
        if not self.control.followed:
            self.control.pause()
            self.control.wait()

    def html(self) -> str:
        now = self.control.now
        settings = "".join(
            f"<li>{NAMES[name]}: {getattr(now.settings, name) or 'all'}</li>"
            for name in NAMES
            if now.settings is not None
        )
        return (
            f"<p><strong>Round control</strong> · {esc(subject(now))}<br>{status_html(now)}</p>"
            f"{chart_image(now.history)}{marks_html(now)}{self._from(now, settings)}{rows_html(now)}"
        )

    def _from(self, now: Snapshot, settings: str) -> str:
        """The settings, and from which round on they hold: that which is under way has its own already."""
        over = now.settings is None or now.history.done
        when = "In its last round" if over else f"From round {now.next_round} on"
        return f"<p>{when}:</p><ul>{settings}</ul>" if settings else ""

    def text(self) -> str:
        now = self.control.now
        lines = [f"Round control · {subject(now)}", status_text(now), chart_text(now.history)]
        return "\n".join(lines + [f"  {' · '.join(row)}" for row in cells(now)])

    def _make(self) -> None:
        do = self.control
        made = (
            button("Run round", do.run_round, "play", "Run the next round", "primary"),
            button("Run all", do.run_all, "forward", "Run all rounds that are left"),
            button("Pause", do.pause, "pause", "Stop before the next batch"),
            button("Reset", do.reset, "undo", "Back to the start; approvals stay"),
        )
        self.buttons: dict[str, Any] = {each.description: each for each in made}
        for each in made:
            each.layout.width = "116px"
        # not IntText: it makes 2 of 2.7 and says nothing
        steps = {"learning_rate": 0.01}
        self.fields: dict[str, Any] = {
            name: ipywidgets.FloatText(step=steps.get(name, 1)) for name in NAMES
        }
        for name, field in self.fields.items():
            field.style.description_width, field.layout.width = "140px", "250px"
            field.description, field.continuous_update = NAMES[name], False
            field.observe(partial(self._wish, name), "value")
        self.head, self.bars, self.status = (ipywidgets.HTML() for _ in range(3))
        self.hint, self.plot, self.table = (ipywidgets.HTML() for _ in range(3))
        self._complaint = ""
        self._shown: dict[str, float] = {}
        self._by_itself = threading.local()
        self.hint.layout.width = "250px"
        settings = ipywidgets.VBox([*self.fields.values(), self.hint])
        settings.add_class("fk-fields")
        self.plot.layout.flex = "1 1 520px"
        middle = row(settings, self.plot, name="fk-split")
        children = [self.head, row(*made), self.status, self.bars, middle, self.table]
        self.open(children, [self.control], "fk-round-control")

    def paint(self) -> None:
        now = self.control.now
        self.head.value = heading("Round control", esc(subject(now)))
        self.status.value = note(status_html(now), kind(now), "status")
        self.bars.value = bars_html(now)
        self.plot.value = chart(now.history) + marks_html(now)
        self.table.value = rows_html(now)
        ready = now.settings is not None and not now.busy
        more = ready and not now.history.done
        for each, on in zip(self.buttons.values(), (more, more, now.busy, ready), strict=True):
            each.disabled = not on
        for name, field in self.fields.items():
            field.disabled = now.settings is None or name not in now.settings.adjustable
            if now.settings is not None:
                self._show(name, getattr(now.settings, name) or len(now.settings.participants))
        self.hint.value = self._hint(now)

    def _show(self, name: str, value: float) -> None:
        """Write a setting into its field where it is news: a person may have typed another one since it was read."""
        if self._shown.get(name) != value:
            self._shown[name] = value
            self._by_itself.writes = True
            self.fields[name].value = value
            self._by_itself.writes = False

    def _wish(self, name: str, event: dict[str, Any]) -> None:
        if getattr(self._by_itself, "writes", False):
            return
        wish = event["new"]
        if SANE[name].whole and wish.is_integer():
            wish = int(wish)
        try:
            self._complaint = ""
            self.control.change(**{name: wish})
        except FedkitError as error:
            remedy = f"; {error.remedy}" if error.remedy else ""
            self._complaint = f"{NAMES[name]} {error.what}{remedy}. Nothing was changed."
            self._shown.pop(name, None)  # back to what holds
            self.repaint()

    def _hint(self, now: Snapshot) -> str:
        if self._complaint:
            return note(f"✗ {esc(self._complaint)}", "bad", "alert")
        may = now.settings.adjustable if now.settings else NAMES
        fixed = [said.lower() for name, said in NAMES.items() if name not in may]
        said = []
        if now.settings and len(fixed) < len(NAMES) and not now.history.done:
            said.append(f"A change acts from round {now.next_round} on.")
        if fixed:
            said.append(f"Fixed by the config that everybody approved: {', '.join(fixed)}.")
        return f'<div class="fk-soft">{" ".join(said)}</div>'


# ------------------------------------------------------------------ its pieces, from a snapshot
def subject(now: Snapshot) -> str:
    """The project and how many take part."""
    if now.settings is None:
        return "no project"
    return f"{now.history.project} · {how_many(len(now.settings.participants), 'participant')}"


def kind(now: Snapshot) -> str:
    """How the status line looks: "bad", "good" or ""."""
    calm = ("done", "paused", "ready", "waits", "nothing")
    if now.error or (not now.busy and not now.status.startswith(calm)):
        return "bad"
    return "good" if now.status.startswith("done") else ""


def status_text(now: Snapshot) -> str:
    """The status line: a sign, a word, and what it does or for whom it waits."""
    if now.error:
        return f"✗ problem: {now.error}"
    if now.busy:
        return f"● runs: {now.status}"
    sign = "✗ problem:" if kind(now) == "bad" else "✓" if now.history.done else "○"
    return f"{sign} {now.status}"


def status_html(now: Snapshot) -> str:
    """The same, its first two words strong."""
    text = status_text(now)
    head = " ".join(text.split(" ", 2)[:2]).removesuffix(":")
    return f"<strong>{esc(head)}</strong>{esc(text.removeprefix(head))}"


def bars_html(now: Snapshot) -> str:
    """Two bars with their numbers: rounds, and the local epochs of whoever trains."""
    done, total = len(now.history), now.rounds
    who = f"epochs of {now.who.partition('@')[0]}" if now.who else "local epochs"
    return f'<div class="fk-bars">{_bar("rounds", done, total)}{_bar(who, now.epoch, now.epochs)}</div>'


def _bar(name: str, value: int, top: int) -> str:
    share = 100 * value / top if top else 0
    return (
        f'<div class="fk-bar"><span>{esc(name)}</span><div class="fk-track" role="progressbar" '
        f'aria-label="{esc(name)}" aria-valuemin="0" aria-valuemax="{top}" aria-valuenow="{value}">'
        f'<div class="fk-fill" style="width: {share:.0f}%"></div></div>'
        f"<span>{f'{value} of {top}' if top else '–'}</span></div>"
    )


def marks_html(now: Snapshot) -> str:
    """What the numbered marks on the plot stand for."""
    changes = settings_changes(now.history)
    numbered = enumerate(changes, 1)
    lines = [f"<strong>{i}</strong> from round {n}: {esc(what)}" for i, (n, what) in numbered]
    return f'<div class="fk-marks">{"<br>".join(lines)}</div>' if lines else ""


def rows_html(now: Snapshot) -> str:
    """One row a participant: approved, and the numbers of its last round; two of them in a cell, so that it fits."""
    own = ["on kept back"] if _validates(now) else []
    heads = [
        "participant",
        stacked("approved", "last round"),
        stacked("samples", "seconds"),
        stacked("loss", *own),
        "update norm",
        stacked("sent", "received"),
    ]
    rows = []
    for told in cells(now):
        _, approved, last, samples, loss, norm, seconds, up, down, *kept = map(esc, told)
        cell = [breakable(told[0]), stacked(approved, last), stacked(samples, seconds)]
        rows.append([*cell, stacked(loss, *kept), norm, stacked(up, down)])
    return table(heads, rows, numbers=range(2, len(heads)), wrap=range(len(heads)))


def _validates(now: Snapshot) -> bool:
    return any(row.kept_back is not None for row in now.rows)


def cells(now: Snapshot) -> list[list[str]]:
    """What is said of each participant, as plain text."""
    last = {fate.participant: f"{fate.sign} {fate.word}" for fate in now.fates}
    over, rows = len(now.history), []
    for r in now.rows:
        answer = f"✗ declined: {r.declined}" if r.declined else "○ not yet"
        numbers = ((r.num_samples, ","), (r.loss, ".3f"), (r.norm, ".3f"), (r.seconds, ".2f"))
        said = ["–" if value is None else format(value, form) for value, form in numbers]
        fate = last.get(r.participant, "–")
        if r.round not in (None, over):  # it was not averaged since
            fate += f"; numbers are of round {r.round}"
        own = "–" if r.kept_back is None else f"{r.kept_back:.3f}"
        sizes = [size_text(r.up), size_text(r.down)]
        first = [r.participant, "✓ yes" if r.approved else answer, fate]
        rows.append([*first, *said, *sizes, *([own] if _validates(now) else [])])
    return rows
