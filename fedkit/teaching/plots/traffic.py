"""What crossed between the data dirs, from the ledger: the aggregator's whole knowledge, in files and bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedkit.federation.ledger import ALWAYS, IMAGES, KINDS, UPDATES, LedgerEntry, kind_of
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bytes_by_participant", "what_crossed"]


def what_crossed(
    ledger: Iterable[LedgerEntry], *, aggregator: str, title: str | None = None
) -> Figure:
    """Everything that the aggregator received, as a table: a row a kind of file, a column a sender.

    Cells say how many files and how many bytes (1 kB is 1,000); they are the bluer the more bytes. The row of training
    images is always there: it is empty as long as no private file crossed. Raises FedkitError if nothing was received.
    """
    entries = [entry for entry in ledger if entry.receiver == aggregator]
    style.need(entries, "ledger")
    senders = sorted({entry.sender for entry in entries})
    files: dict[tuple[str, str], int] = {}
    sizes: dict[tuple[str, str], int] = {}
    for entry in entries:
        cell = (kind_of(entry.path), entry.sender)
        files[cell] = files.get(cell, 0) + 1
        sizes[cell] = sizes.get(cell, 0) + entry.size
    kinds = [k for k in KINDS if k in ALWAYS or any(kind == k for kind, _ in files)]
    totals = {k: sum(n for (kind, _), n in files.items() if kind == k) for k in ALWAYS}
    images = style.count(totals[IMAGES], "file") + " of training images"
    default = f"The aggregator received {style.count(totals[UPDATES], 'model update')} and "
    default += images if totals[IMAGES] else "no training image"
    fig, ax = style.figure(title or default, height=1.2 + 0.5 * len(kinds))
    values = [[float(sizes.get((kind, who), 0)) for who in senders] for kind in kinds]
    texts = [[_cell(files.get((k, w), 0), sizes.get((k, w), 0)) for w in senders] for k in kinds]
    # the square root keeps a few hundred bytes visible beside megabytes
    shades = [[value**0.5 for value in row] for row in values]
    style.cells(ax, shades, texts, highest=1.6 * max(map(max, shades)))
    names = style.short(senders)
    ax.set_xticks(range(len(senders)), [f"from {names[who]}" for who in senders])
    ax.set_yticks(range(len(kinds)), kinds)
    ax.xaxis.tick_top()
    style.dress(ax, "", "", grid="")
    style.no_frame(ax)
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
    names = style.short(people)
    for side, label, sizes, colour, hatch in (
        (-1, "sent", sent, style.BLUE, ""),
        (1, "received", received, style.ORANGE, "///"),
    ):
        bars = ax.bar(
            [position + 0.21 * side for position in range(len(people))],
            [size / 1e6 for size in sizes],
            width=0.4,
            color=colour,
            hatch=hatch,
            edgecolor=style.PAPER,
            linewidth=0,
            label=label,
        )
        texts = (
            [style.size_text(size) for size in sizes] if len(people) <= 6 else [""] * len(people)
        )
        ax.bar_label(bars, texts, padding=3, fontsize=style.SMALL, color=style.INK)
    ax.set_xticks(range(len(people)), [names[who] for who in people])
    style.dress(ax, "", "MB")
    ax.set_ylim(0, 1.12 * max(*sent, *received) / 1e6)
    style.legend(ax)
    return fig


def _cell(files: int, size: int) -> str:
    return f"{style.count(files, 'file')}, {style.size_text(size)}" if files else "none"
