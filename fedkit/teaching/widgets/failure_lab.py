"""The lab in which things go wrong on purpose, one participant at a time, and what fedkit makes of it, round by round."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.control.sane import SANE, check_sane
from fedkit.teaching.control.snapshot import Snapshot
from fedkit.teaching.failures.fates import Fate
from fedkit.teaching.failures.faults import KINDS, Fault
from fedkit.teaching.plots.style import short
from fedkit.teaching.widgets.pager import Pager, rest
from fedkit.teaching.widgets.panel import Panel, button, esc, fitted, heading, note, row, table

__all__ = ["FailureLab"]


PAGE = 5  # rounds side by side, the newest of them at first
_CLASSES = {"averaged": "fk-good", "refused": "fk-bad", "absent": "fk-bad", "unnoticed": "fk-odd"}


class FailureLab(Panel):
    """Set a fault, repair it, and read the fate of every update.

    Faults act with the next pass of the network: press Run round in a `RoundControl` of the same network, or call
    `lab.control.run_round()`. interactive : False in batch; then `lab.set(...)` and `lab.repair(...)` do what the buttons
    do, and the panel is a picture of the moment at which it is displayed.
    """

    def __init__(self, network: Network, interactive: bool = True) -> None:
        super().__init__(interactive)
        self.control = Control.of(network)
        self.people = [email for email in network.participants if email != network.aggregator]
        if interactive:
            self._make()

    def set(
        self,
        participant: str,
        kind: str,
        from_round: int | None = None,
        seconds: float = 2.0,
        factor: float = 10.0,
    ) -> None:
        """Let a fault happen at a participant, from a round on (default: the next). Raises FedkitError, also for a number
        that is out of its range."""
        if participant not in self.people:
            raise FedkitError(
                f"{participant} does not take part",
                field="participant",
                remedy=f"one of {', '.join(self.people)}",
            )
        now = self.control.now
        first = _next_round(now) if from_round is None else from_round
        check_sane(from_round=first, seconds=seconds, factor=factor)
        if now.rounds and first > now.rounds:
            raise FedkitError(
                f"{first:,g} is too large: the project has {how_many(now.rounds, 'round')}",
                field="from_round",
                remedy=f"give a whole number from 1 to {now.rounds}",
            )
        first = int(first)
        self.control.faults.set(participant, Fault(kind, first, seconds, factor))
        self.control.refresh()

    def repair(self, participant: str | None = None) -> None:
        """All is well again, at one participant or at all of them."""
        self.control.faults.clear(participant)
        self.control.refresh()

    def html(self) -> str:
        now = self.control.now
        rounds = _rounds(now)
        left = rest(PAGE, len(rounds), "rounds", "the panel turns the pages with interactive=True")
        shown = rounds[-PAGE:]
        return (
            f"<p><strong>Failure lab</strong></p><p>{_set_html(now)}</p>{_fates_html(now, shown)}"
            f"{_why_html(now, shown)}<p>{left}</p>"
        )

    def text(self) -> str:
        now = self.control.now
        said = [f"  {email}: {_said(fault)}" for email, fault in now.faults.items()]
        fates = [
            f"  round {f.round}, {f.participant}: {f.sign} {f.word}{f' ({f.why})' if f.why else ''}"
            for f in now.fates
        ]
        return "\n".join(["Failure lab", *(said or ["  nothing is set to fail"]), *fates])

    def _make(self) -> None:
        names = short(self.people)
        options = [(names[email], email) for email in self.people]
        wide, narrow = fitted("220px"), fitted("170px")
        self.who = ipywidgets.Dropdown(options=options, description="Participant", **wide)
        self.kind = ipywidgets.Dropdown(options=list(KINDS), description="Fault", **wide)
        # not BoundedIntText and its kin: they put another number in place of what is typed, and say nothing
        field = ipywidgets.FloatText
        self.start = field(1, step=1, description=SANE["from_round"].said, **narrow)
        self.seconds = field(2.0, description=SANE["seconds"].said, **narrow)
        self.factor = field(10.0, description=SANE["factor"].said, **narrow)
        self.do = button("Set fault", self._set, "bolt", kind="warning")
        well = "The chosen participant is well again"
        self.undo = button("Repair", lambda: self.repair(self.who.value), "wrench", well)
        self.undo_all = button("Repair all", self.repair, "medkit")
        self.head, self.what, self.held = (ipywidgets.HTML() for _ in range(3))
        self.table, self.why = ipywidgets.HTML(), ipywidgets.HTML()
        self.pager = Pager(PAGE, "rounds", self.repaint, follow=True)
        self._next = 0
        self._complaint = ""
        self.kind.observe(lambda _: self.repaint(), "value")
        choices = row(self.who, self.kind, self.start, self.seconds, self.factor)
        buttons = row(self.do, self.undo, self.undo_all)
        children = [self.head, choices, self.what, buttons, self.held, self.table]
        children += [self.pager.live(), self.why]
        self.open(children, [self.control], "fk-failure-lab")

    def paint(self) -> None:
        now = self.control.now
        self.head.value = heading(
            "Failure lab", "done for real, on files, processes and permissions"
        )
        if self._next != _next_round(now):  # else a person has chosen another round
            self._next = self.start.value = _next_round(now)
        kind = self.kind.value
        self.what.value = f'<span class="fk-soft">{esc(kind)}: {esc(KINDS[kind])}</span>'
        self.seconds.layout.display = None if kind == "slow" else "none"
        self.factor.layout.display = None if kind == "scaled" else "none"
        self.undo_all.disabled = not now.faults
        if self._complaint:
            self.held.value = note(f"✗ {esc(self._complaint)}", "bad", "alert")
        else:
            self.held.value = note(_set_html(now), "bad" if now.faults else "", "status")
        rounds = _rounds(now)
        shown = rounds[self.pager.window(len(rounds))]
        self.table.value, self.why.value = _fates_html(now, shown), _why_html(now, shown)

    def _set(self) -> None:
        self._complaint = ""
        fields = (self.who, self.kind, self.start, self.seconds, self.factor)
        try:
            self.set(*(field.value for field in fields))
        except FedkitError as error:
            said = SANE[error.field].said if error.field in SANE else ""
            told = f"{said} {error.what}; {error.remedy}" if said else str(error)
            self._complaint = f"{told}. Nothing was changed." if said else told
            self.repaint()


def _said(fault: Fault) -> str:
    more = f", {fault.seconds:g} s" if fault.kind == "slow" else ""
    more += f", times {fault.factor:g}" if fault.kind == "scaled" else ""
    return f"{fault.kind}{more}, from round {fault.from_round} on"


def _set_html(now: Snapshot) -> str:
    if not now.faults:
        return "○ Nothing is set to fail."
    names = short(now.faults)
    said = [f"<strong>{esc(names[e])}</strong> {esc(_said(f))}" for e, f in now.faults.items()]
    return f"▲ Set to fail: {'; '.join(said)}."


def _next_round(now: Snapshot) -> int:
    """The round in which a fault that is set now may act first; the last one where all are over."""
    return min(len(now.history) + 1, now.rounds or 1)


def _rounds(now: Snapshot) -> list[int]:
    return sorted({fate.round for fate in now.fates})


def _fates_html(now: Snapshot, rounds: Sequence[int]) -> str:
    """Participants as rows, these rounds as columns, each cell with a sign and a word."""
    if not now.fates:
        return '<div class="fk-soft">No round has begun yet.</div>'
    over = len(now.history)
    names = short(dict.fromkeys(fate.participant for fate in now.fates))
    at = {(fate.participant, fate.round): _fate_html(fate) for fate in now.fates}
    rows = [[esc(name), *(at[email, n] for n in rounds)] for email, name in names.items()]
    head = [f"round {n}{'' if n <= over else ' (under way)'}" for n in rounds]
    said = "What became of every update"
    wrap = range(len(head) + 1)
    return table(["participant", *head], rows, wrap=wrap, caption=said, wide=False)


def _fate_html(fate: Fate) -> str:
    kind = _CLASSES.get(fate.word, "")
    return f'<span class="{kind}" title="{esc(fate.why)}">{fate.sign} {fate.word}</span>'


def _why_html(now: Snapshot, rounds: Sequence[int]) -> str:
    names = short(dict.fromkeys(fate.participant for fate in now.fates))
    lines = [
        f"<li>round {f.round}, {esc(names[f.participant])}: {f.sign} {f.word}; {esc(f.why)}</li>"
        for f in now.fates
        if f.why and f.word != "not asked" and f.round in rounds
    ]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""
