"""The pieces of the round control's panel, each made from a snapshot: the same for the live panel and for its twin."""

from __future__ import annotations

from fedkit.control_snapshot import Snapshot
from fedkit.fates import Fate
from fedkit.plots.style import size_text
from fedkit.widgets.chart import settings_changes
from fedkit.widgets.look import esc, table

__all__ = [
    "NAMES",
    "bars_html",
    "cells",
    "kind",
    "marks_html",
    "rows_html",
    "status_html",
    "status_text",
    "subject",
]

NAMES = {
    "learning_rate": "Learning rate",
    "epoch": "Local epochs",
    "participants_per_round": "Participants a round",
}


def subject(now: Snapshot) -> str:
    """The project and how many take part."""
    if now.settings is None:
        return "no project"
    people = len(now.settings.participants)
    return f"{now.history.project} · {people} participant{'' if people == 1 else 's'}"


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
    return (
        f"{'✗ problem: ' if kind(now) == 'bad' else '✓ ' if now.history.done else '○ '}{now.status}"
    )


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
    lines = [
        f"<strong>{i}</strong> from round {n}: {esc(what)}"
        for i, (n, what) in enumerate(changes, 1)
    ]
    return f'<div class="fk-marks">{"<br>".join(lines)}</div>' if lines else ""


def rows_html(now: Snapshot) -> str:
    """One row a participant: approved, and the numbers of its last round."""
    head = [
        "participant",
        "approved",
        "last round",
        "samples",
        "loss",
        "update norm",
        "seconds",
        "sent",
        "received",
    ]
    rows = [[esc(cell) for cell in row] for row in cells(now)]
    return table(head, rows, numbers=range(3, 9), wrap=[1])


def cells(now: Snapshot) -> list[list[str]]:
    """The rows of the table as plain text."""
    last = {fate.participant: fate for fate in now.fates}
    return [
        [
            row.participant,
            "✓ yes"
            if row.approved
            else f"✗ declined: {row.declined}"
            if row.declined
            else "○ not yet",
            _fate(last.get(row.participant)),
            "–" if row.num_samples is None else f"{row.num_samples:,}",
            "–" if row.loss is None else f"{row.loss:.3f}",
            "–" if row.norm is None else f"{row.norm:.3f}",
            "–" if row.seconds is None else f"{row.seconds:.2f}",
            size_text(row.up),
            size_text(row.down),
        ]
        for row in now.rows
    ]


def _fate(fate: Fate | None) -> str:
    return f"{fate.sign} {fate.word}" if fate else "–"
