"""What crossed between the data dirs, from the ledger: the aggregator's whole knowledge, in files and bytes."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable

from matplotlib.figure import Figure

from fedkit.federation.ledger import ALWAYS, IMAGES, KINDS, UPDATES, LedgerEntry, kind_of
from fedkit.teaching.plots import style

__all__ = ["bytes_by_participant", "what_crossed"]


SIDE_BY_SIDE = 4  # senders
LETTERS = 60  # of names, in a line below the bars
Cell = tuple[str, str]  # kind of file, sender


def what_crossed(
    ledger: Iterable[LedgerEntry],
    *,
    aggregator: str,
    one: str = "image",
    title: str | None = None,
) -> Figure:
    """Everything that the aggregator received, as a table: a row a kind of file, a column a sender; from five senders on,
    which would not fit side by side, a row a sender and a column a kind.

    Cells say how many files and how many bytes (1 kB is 1,000); they are the bluer the more bytes. The row of training
    images is always there: it is empty as long as no private file crossed. one : of data of one's own, what a single
    sample is called, such as "row". Raises FedkitError if nothing was received.
    """
    entries = [entry for entry in ledger if entry.receiver == aggregator]
    style.need(entries, "ledger")
    senders = sorted({entry.sender for entry in entries})
    files, sizes, totals = Counter[Cell](), Counter[Cell](), Counter[str]()
    for entry in entries:
        cell = (kind_of(entry.path), entry.sender)
        files[cell] += 1
        sizes[cell] += entry.size
        totals[cell[0]] += 1
    kinds = [kind for kind in KINDS if kind in ALWAYS or totals[kind]]
    images = style.count(totals[IMAGES], "file") + f" of training {one}s"
    default = f"The aggregator received {style.count(totals[UPDATES], 'model update')} and "
    default += images if totals[IMAGES] else f"no training {one}"
    many = len(senders) > SIDE_BY_SIDE
    height = 1.5 + 0.45 * len(senders) if many else 1.2 + 0.5 * len(kinds)
    fig, ax = style.figure(title or default, height=height)
    table = [[(kind, who) for who in senders] for kind in kinds]
    if many:
        table = [list(row) for row in zip(*table, strict=True)]
    texts = [
        [_said(files[cell], sizes[cell], "\n" if many else " ") for cell in row] for row in table
    ]
    # the square root keeps a few hundred bytes visible beside megabytes
    shades = [[sizes[cell] ** 0.5 for cell in row] for row in table]
    style.cells(ax, shades, texts, highest=1.6 * max(map(max, shades)))
    names = [f"from {name}" for name in style.short(senders).values()]
    called = [f"training {one}s" if kind == IMAGES else kind for kind in kinds]
    if many:
        wrapped = [textwrap.fill(name, 11) for name in called]
        style.name_cells(ax, wrapped, names, above=True)
    else:
        style.name_cells(ax, names, called, above=True)
    return fig


def bytes_by_participant(
    ledger: Iterable[LedgerEntry], *, aggregator: str | None = None, title: str | None = None
) -> Figure:
    """Bytes that each participant sent and received (MB, 1 MB is 1,000,000 bytes), two bars each.

    aggregator : counts only what went to and came from it, and gives it no bars of its own; None counts everything.
    Raises FedkitError if nothing crossed.
    """
    entries = [e for e in ledger if aggregator is None or aggregator in (e.sender, e.receiver)]
    style.need(entries, "ledger")
    people = sorted({who for e in entries for who in (e.sender, e.receiver)} - {aggregator})
    sent = [sum(e.size for e in entries if e.sender == who) for who in people]
    received = [sum(e.size for e in entries if e.receiver == who) for who in people]
    total = f"{style.size_text(sum(sent))} and received {style.size_text(sum(received))}"
    who = "The participants" if aggregator else "All together"
    fig, ax = style.figure(title or f"{who} sent {total}")
    looks = {
        "sent": (sent, -0.21, style.BLUE, ""),
        "received": (received, 0.21, style.ORANGE, "///"),
    }
    for label, (sizes, shift, colour, hatch) in looks.items():
        bars = ax.bar(
            [position + shift for position in range(len(people))],
            [size / 1e6 for size in sizes],
            width=0.4,
            color=colour,
            hatch=hatch,
            edgecolor=style.PAPER,
            linewidth=0,
            label=label,
        )
        texts = [style.size_text(size) if len(people) <= 6 else "" for size in sizes]
        ax.bar_label(bars, texts, padding=3, fontsize=style.SMALL, color=style.INK)
    names = list(style.short(people).values())
    slant = 90 if sum(map(len, names)) > LETTERS else 0
    ax.set_xticks(range(len(people)), names, rotation=slant)
    style.dress(ax, "", "MB")
    ax.set_ylim(0, 1.12 * max(*sent, *received) / 1e6)
    style.legend(ax)
    return fig


def _said(files: int, size: int, between: str) -> str:
    return f"{style.count(files, 'file')},{between}{style.size_text(size)}" if files else "none"
