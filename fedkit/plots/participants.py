"""Participants side by side: a number each, or the digits that each one holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["label_bars", "participant_bars"]

# Ten digits need two colours more than Okabe and Ito have; every piece carries its digit besides.
DIGIT_COLOURS = (*(style.COLOURS[i] for i in (0, 4, 2, 1, 5, 3, 7, 6)), "#999999", "#DDDDDD")


def participant_bars(
    values: Mapping[str, float],
    *,
    ylabel: str = "accuracy on all ten digits",
    title: str | None = None,
    percent: bool | None = None,
    highlight: Collection[str] = (),
) -> Figure:
    """One bar a name with its value on top, such as alone, pooled and federated.

    values : name -> number >= 0. percent : show shares in 0..1 as per cent; None does so if `ylabel` says accuracy.
    highlight : names whose bars get the other colour and a hatch. Raises FedkitError if there are no values.
    """
    style.need(values, "values")
    percent = "accuracy" in ylabel.lower() if percent is None else percent
    top = max(values, key=lambda name: values[name])
    names = style.short(values)
    shown = {name: f"{v:.1%}" if percent else f"{v:,.3g}" for name, v in values.items()}
    fig, ax = style.figure(title or f"Highest: {names[top]}, with {shown[top]}")
    marked = [name in highlight for name in values]
    bars = ax.bar(
        [_wrapped(names[name], len(values)) for name in values],
        list(values.values()),
        width=0.62,
        color=[style.ORANGE if mark else style.BLUE for mark in marked],
        hatch=["///" if mark else "" for mark in marked],
        edgecolor=style.PAPER,
        linewidth=0,
    )
    ax.bar_label(bars, list(shown.values()), padding=3, fontsize=style.TEXT, color=style.INK)
    style.dress(ax, "", ylabel)
    if percent:
        style.percent_axis(ax)
    else:
        ax.set_ylim(0, 1.12 * max(*values.values(), 1e-9))
    return fig


def label_bars(labels: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """How many images of each digit every participant holds: a stacked bar each, the digit written into its piece.

    labels : participant -> int64 [N], 0..9. Raises FedkitError if nobody or somebody has no labels.
    """
    style.need(labels, "labels")
    for name, values in labels.items():
        style.need(values, f"labels[{name!r}]")
    counts = {n: [int((v == digit).sum()) for digit in range(10)] for n, v in labels.items()}
    longest = max(sum(row) for row in counts.values())
    fig, ax = style.figure(title or _label_title(counts), height=max(2.2, 1.3 + 0.42 * len(labels)))
    names = style.short(labels)
    for y, row in enumerate(counts.values()):
        left = 0
        for digit, number in enumerate(row):
            if not number:
                continue
            colour = DIGIT_COLOURS[digit]
            ax.barh(y, number, 0.72, left, color=colour, edgecolor=style.PAPER, label=str(digit))
            if number > 0.018 * longest:
                ink = style.readable_on(colour)
                where = (left + number / 2, y)
                ax.text(
                    *where, str(digit), ha="center", va="center", color=ink, fontsize=style.TEXT
                )
            left += number
        ax.annotate(
            f"{left:,}",
            (left, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.TEXT,
            color=style.INK,
        )
    ax.set_yticks(range(len(labels)), [names[name] for name in labels])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.1 * longest)
    style.dress(ax, "images; the number in a piece is its digit", "", grid="x")
    return fig


def _wrapped(name: str, names: int) -> str:
    """A name that fits below its bar: broken at spaces where many stand side by side."""
    from textwrap import fill

    return fill(name, max(8, 72 // names), break_long_words=False)


def _label_title(counts: Mapping[str, Sequence[int]]) -> str:
    kinds = [sum(number > 0 for number in row) for row in counts.values()]
    fewest, most = min(kinds), max(kinds)
    if fewest == 10:
        return "Every participant holds all ten digits"
    how_many = (
        f"{fewest}" if fewest == most else f"{fewest} {'or' if most == fewest + 1 else 'to'} {most}"
    )
    if len(counts) == 1:
        return f"This participant holds {how_many} of ten digits"
    apart = "No digit is shared: each" if _disjoint(counts) else "Each"
    return f"{apart} participant holds {how_many} of ten digits"


def _disjoint(counts: Mapping[str, Sequence[int]]) -> bool:
    return all(sum(row[digit] > 0 for row in counts.values()) <= 1 for digit in range(10))
