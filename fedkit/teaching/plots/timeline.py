"""The rounds of a project as a table: who took part in which, and what became of the others."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedkit.rounds.history import History
from fedkit.teaching.failures.fates import SIGNS, Fate, fates
from fedkit.teaching.plots import style

__all__ = ["round_timeline"]


# What is as it should be is pale, so that the eye finds the rest.
COLOURS = {
    "averaged": "#d3ebe3",
    "late": style.YELLOW,
    "resumed": style.SKY,
    "unnoticed": style.PURPLE,
    "refused": style.VERMILLION,
    "absent": "#b5b5b5",
    "awaited": style.PALE,
    "not asked": style.PAPER,
}
MOST_WORDS = 6  # with more rounds than that, a cell has room for its sign only
LETTERS = 76  # of small text in all columns together
SAYS_NO_MORE = ("the round ended", "did nothing")  # reasons that the word "absent" has in it
LINES = 4  # of text in a cell
CHANGED = "▾"  # above a column whose settings differ, where words have no room
MANY = 12  # with more rounds than that, not every column is labelled


def round_timeline(
    history: History,
    participants: Sequence[str] | None = None,
    log: Iterable[tuple[str, int, str]] = (),
    title: str | None = None,
) -> Figure:
    """What became of everybody in every round: one row a participant, one column a round, its fate in the cells.

    Below a column stands the accuracy after its round (per cent of the test set); above it, learning rate or local epochs
    where they differ from the round before. participants : the rows (None: whom the records name). log : `Faults.log`,
    what was done to whom. Raises FedkitError if there is no round yet, or no participant.
    """
    style.need(history, "history")
    people = _everybody(history) if participants is None else list(participants)
    style.need(people, "participants")
    found = fates(history, people, log)
    table = {who: [fate for fate in found if fate.participant == who] for who in people}
    rounds = len(history)
    wide = rounds <= MOST_WORDS
    texts = {who: [_text(fate, rounds, wide) for fate in row] for who, row in table.items()}
    lines = [max(text.count("\n") + 1 for text in row) for row in texts.values()]
    tops = list(accumulate((0.24 + 0.16 * n for n in lines), initial=0.0))
    marks = _marks(history)
    height = 0.95 + tops[-1] + (0.18 if any(marks) else 0) + (0 if wide else 0.35)
    fig, ax = style.figure(title or _title(table), height=height)
    ax.set(xlim=(0.5, rounds + 0.5), ylim=(tops[-1], 0))
    for who, (top, bottom) in zip(table, pairwise(tops), strict=True):
        for x, (fate, text) in enumerate(zip(table[who], texts[who], strict=True), start=1):
            _cell(ax, (x, top, bottom), fate, text, wide)
    middles = [(top + bottom) / 2 for top, bottom in pairwise(tops)]
    style.dress(ax, "", "", grid="")
    ax.set_yticks(middles, list(style.short(table).values()))
    _columns(ax, history, marks)
    style.no_frame(ax)
    if not wide:
        _key(fig, table, any(marks))
    return fig


def _everybody(history: History) -> list[str]:
    """Whom the records name, in alphabetical order."""
    counted = {part.participant for record in history for part in record.contributions}
    return sorted(counted.union(*((*record.refused, *record.absent) for record in history)))


def _text(fate: Fate, rounds: int, wide: bool) -> str:
    if not wide:
        return fate.sign
    # of a fate's reason its first clause has room; a refusal says no more than it has to
    why = fate.why if fate.word == "refused" else re.split(r"[,;:] ", fate.why)[0]
    words = f"{fate.word}: {why}"
    if fate.word in ("late", "unnoticed"):
        words = f"averaged, though {why if fate.word == 'unnoticed' else 'late'}"
    elif fate.word == "not asked" or not why or why.startswith(SAYS_NO_MORE):
        words = fate.word
    lines = textwrap.wrap(
        f"{fate.sign} {words}",
        max(LETTERS // rounds, 12),
        break_on_hyphens=False,
        max_lines=LINES,
        placeholder=" …",
    )
    return "\n".join(lines)


def _cell(ax: Axes, place: tuple[float, float, float], fate: Fate, text: str, wide: bool) -> None:
    x, top, bottom = place
    colour = COLOURS[fate.word]
    box = Rectangle((x - 0.5, top), 1, bottom - top, facecolor=colour, edgecolor=style.PAPER, lw=2)
    ax.add_patch(box)
    size, ink = style.SMALL if wide else style.TEXT, style.readable_on(colour)
    middle = (x, (top + bottom) / 2)
    ax.text(*middle, style.plain(text), style.MIDDLE, fontsize=size, color=ink)


def _columns(ax: Axes, history: History, marks: Sequence[str]) -> None:
    """Round and changed settings above, accuracy below."""
    wide = len(history) <= MOST_WORDS
    step = 1 if len(history) <= MANY else 5
    numbers = [n for n in range(1, len(history) + 1) if n == 1 or n % step == 0]
    found = [history.rounds[n - 1].accuracy for n in numbers]
    said = ["" if v is None else f"{v:.1%}" if wide else f"{100 * v:.0f}" for v in found]
    ax.set_xticks(numbers, said)
    unit = "" if wide else " (%)"
    ax.set_xlabel(f"accuracy after the round{unit}", fontsize=style.TEXT, color=style.INK)
    heads = {n: f"round {n}" if wide else str(n) for n in numbers}
    for n, mark in enumerate(marks, start=1):
        if mark:
            heads[n] = "\n".join([mark if wide else CHANGED, heads.get(n, "")])
    above = ax.secondary_xaxis("top")
    above.set_xticks(list(heads), list(heads.values()))
    above.tick_params(length=0, labelsize=style.TEXT, labelcolor=style.INK)
    above.spines["top"].set_visible(False)


def _marks(history: History) -> list[str]:
    """For each round, the settings that changed with it."""
    marks = [""]
    for before, record in pairwise(history.rounds):
        said = []
        if record.learning_rate not in (before.learning_rate, None):
            said.append(f"learning rate {record.learning_rate:g}")
        if record.local_epochs is not None and record.local_epochs != before.local_epochs:
            said.append(style.count(record.local_epochs, "epoch"))
        marks.append(", ".join(said))
    return marks


def _key(fig: Figure, table: Mapping[str, Sequence[Fate]], changed: bool) -> None:
    """The signs that occur, with their words."""
    seen = {fate.word for row in table.values() for fate in row}
    said = [f"{sign} {word}" for word, sign in SIGNS.items() if word in seen]
    said += [f"{CHANGED} settings changed"] if changed else []
    fig.supxlabel("     ".join(said), fontsize=style.SMALL, color=style.INK)


def _title(table: Mapping[str, Sequence[Fate]]) -> str:
    words = [fate.word for row in table.values() for fate in row if fate.word != "not asked"]
    counted = len(words) - sum(words.count(word) for word in ("refused", "absent", "awaited"))
    said = [f"{words.count(word)} {word}" for word in ("refused", "absent") if word in words]
    head = f"{counted} of {len(words)} expected updates were averaged"
    if counted == len(words):
        head = "Every update was averaged"
    if "unnoticed" in words:
        head += f" ({words.count('unnoticed')} of them tampered with)"
    return f"{head}: {', '.join(said)}" if said else head
