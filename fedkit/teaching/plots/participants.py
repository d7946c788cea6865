"""Participants side by side: a number each, or the digits that each one holds.

What a model knows and what it takes for what, digit by digit.

How datasites differ: who holds which labels, how many, and how a model does at home and abroad.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "confusion",
    "home_and_abroad",
    "label_bars",
    "label_heatmap",
    "participant_bars",
    "per_digit_accuracy",
    "shard_sizes",
]


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


KNOWN = 0.5  # a digit counts as known where at least half of its images are read right


def per_digit_accuracy(
    accuracies: Mapping[str, Sequence[float]], *, title: str | None = None
) -> Figure:
    """A table: one row a model, one column a digit, in each cell the share of this digit's images that is read right.

    accuracies : name -> ten numbers in 0..1. Raises FedkitError if a row is not ten numbers long.
    """
    style.need(accuracies, "accuracies")
    for name, row in accuracies.items():
        if len(row) != 10:
            raise FedkitError(
                f"has {len(row)} values",
                field=f"accuracies[{name!r}]",
                remedy="give ten accuracies, for the digits 0 to 9 in this order",
            )
    names = style.short(accuracies)
    known = [f"{names[n]} {sum(float(v) >= KNOWN for v in r)}" for n, r in accuracies.items()]
    default = f"Digits that each one knows, of ten: {', '.join(known)}"
    fig, ax = style.figure(title or default, height=1.5 + 0.42 * len(accuracies))
    table = [[float(value) for value in row] for row in accuracies.values()]
    style.cells(ax, table, [[f"{100 * v:.0f}" for v in row] for row in table], highest=1.0)
    ax.set_xticks(range(10), [str(digit) for digit in range(10)])
    ax.set_yticks(range(len(table)), [names[name] for name in accuracies])
    cell = f"the accuracy in %; known from {100 * KNOWN:.0f} on"
    style.dress(ax, f"digit; in each cell {cell}", "", grid="")
    style.no_frame(ax)
    return fig


def confusion(predictions: Tensor, labels: Tensor, *, title: str | None = None) -> Figure:
    """What is taken for what: rows are the true digits, columns the predicted ones, cells count images.

    predictions, labels : int64 [N], 0..9. Raises FedkitError if they differ in length or are empty.
    """
    style.need(labels, "labels")
    if len(predictions) != len(labels):
        raise FedkitError(
            f"{len(predictions)} predictions have {len(labels)} labels",
            field="predictions",
            remedy="give one prediction a label",
        )
    counts = (10 * labels + predictions).bincount(minlength=100).reshape(10, 10)
    wrong = counts.clone().fill_diagonal_(0)
    true, taken = divmod(int(wrong.argmax()), 10)
    default = f"{int(counts.diagonal().sum()) / len(labels):.1%} are right"
    if int(wrong.max()):
        default += f"; most often a {true} is taken for a {taken} ({int(wrong.max())} times)"
    fig, ax = style.figure(title or default, height=4.6)
    rows = counts.tolist()
    texts = [[f"{n:,}" if n else "·" for n in row] for row in rows]
    style.cells(ax, rows, texts, highest=max(map(max, rows)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(range(10), [str(digit) for digit in range(10)])
    style.dress(ax, "predicted digit", "true digit", grid="")
    style.no_frame(ax)
    return fig


def label_heatmap(labels: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """A table of counts: one row a participant, one column a digit, darker where there are more.

    labels : participant -> int64 [N], 0..9. Raises FedkitError if nobody has labels.
    """
    style.need(labels, "labels")
    rows = [values.bincount(minlength=10).tolist() for values in labels.values()]
    empty = sum(not number for row in rows for number in row)
    default = f"{empty} of {10 * len(rows)} pairs of participant and digit have no image"
    fig, ax = style.figure(title or default, height=1.4 + 0.34 * len(rows))
    texts = [[f"{n:,}" if n else "·" for n in row] for row in rows]
    style.cells(ax, rows, texts, highest=max(map(max, rows)))
    ax.set_xticks(range(10), [str(digit) for digit in range(10)])
    ax.set_yticks(range(len(rows)), list(style.short(labels).values()))
    style.dress(ax, "digit; in each cell the number of images", "", grid="")
    style.no_frame(ax)
    return fig


def shard_sizes(labels: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """How many images each participant holds, largest first. labels : as for `label_heatmap`."""
    style.need(labels, "labels")
    sizes = sorted(((len(v), n) for n, v in labels.items()), key=lambda pair: -pair[0])
    names = style.short(labels)
    ratio = sizes[0][0] / max(1, sizes[-1][0])
    default = f"The largest shard has {ratio:.1f} times the images of the smallest"
    fig, ax = style.figure(title or default, height=1.3 + 0.3 * len(sizes))
    bars = ax.barh([names[n] for _, n in sizes], [size for size, _ in sizes], color=style.BLUE)
    ax.bar_label(bars, [f"{s:,}" for s, _ in sizes], padding=4, fontsize=style.TEXT)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(1, sizes[0][0]))
    style.dress(ax, "images", "", grid="x")
    return fig


def home_and_abroad(
    places: Mapping[str, Sequence[float]], *, average: float | None = None, title: str | None = None
) -> Figure:
    """Three accuracies (0..1) a participant: its own model at home and abroad, and the global model at its home.

    places : participant -> (own at home, own abroad, global at home); home is a test set with the participant's mixture of
    labels, abroad one with all alike. average : the global model's accuracy abroad, as a line. Raises FedkitError if a
    participant has no three numbers.
    """
    style.need(places, "places")
    for name, values in places.items():
        if len(values) != 3:
            raise FedkitError(
                f"has {len(values)} numbers", field=f"places[{name!r}]", remedy="give three of them"
            )
    rows = [[float(value) for value in values] for values in places.values()]
    default = f"At home up to {max(row[0] for row in rows):.0%}, abroad as low as {min(row[1] for row in rows):.0%}"
    fig, ax = style.figure(title or default, height=1.9 + 0.3 * len(rows))
    here = range(len(rows))
    ax.hlines(here, [min(r) for r in rows], [max(r) for r in rows], color=style.PALE, linewidth=3)
    looks = (("own, at home", 0), ("own, abroad", 1), ("global, at home", 2))
    for label, column in looks:
        ax.plot(
            [row[column] for row in rows],
            here,
            linestyle="none",
            marker=style.MARKERS[column],
            markersize=8,
            color=style.COLOURS[column],
            label=label,
        )
    if average is not None:
        ax.axvline(average, color=style.GREY, linestyle=":", label=f"global, abroad: {average:.0%}")
    ax.set_yticks(here, list(style.short(places).values()))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.03)
    ax.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0%", "20%", "40%", "60%", "80%", "100%"])
    style.dress(ax, "accuracy", "", grid="x")
    style.legend(ax)
    return fig
