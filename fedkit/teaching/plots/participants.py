"""Participants side by side: a number each, the labels that they hold, and what their models know, digit by digit.

Notebook 03 draws who holds what and what one participant can't know, 06 how much datasites differ, and what that costs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from torch import Tensor

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
DIGITS = [str(digit) for digit in range(10)]
KNOWN = 0.5  # a digit counts as known where at least half of its images are read right


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
    # a name fits below its bar: broken at spaces where many stand side by side
    room = max(8, 72 // len(values))
    bars = ax.bar(
        [textwrap.fill(name, room, break_long_words=False) for name in names.values()],
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


def label_bars(
    labels: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = DIGITS,
    title: str | None = None,
) -> Figure:
    """How many images of each digit every participant holds: a stacked bar each, the digit written into its piece.

    labels : participant -> int64 [N], 0..9. classes : of data of one's own, their names (`task.names`), at most ten.
    Raises FedkitError if nobody or somebody has no labels, or labels are no such classes.
    """
    style.need_each(labels, "labels")
    if len(classes) > len(DIGIT_COLOURS):
        raise FedkitError(
            f"are {len(classes)}, more than there are colours",
            field="classes",
            remedy="draw them with label_heatmap",
        )
    counts = _counts(labels, classes)
    longest = max(map(sum, counts))
    fig, ax = style.figure(
        title or _label_title(counts, classes), height=max(2.2, 1.3 + 0.42 * len(labels))
    )
    for y, row in enumerate(counts):
        left = 0
        for digit, number, colour in zip(classes, row, DIGIT_COLOURS, strict=False):
            if number:
                ax.barh(y, number, 0.72, left, color=colour, edgecolor=style.PAPER, label=digit)
            if number > 0.018 * len(digit) * longest:
                ink = style.readable_on(colour)
                ax.text(left + number / 2, y, digit, style.MIDDLE, color=ink)
            left += number
        ax.annotate(f"{left:,}", (left, y), (5, 0), va="center", **style.BESIDE)
    ax.set_yticks(range(len(labels)), list(style.short(labels).values()))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.1 * longest)
    if classes is DIGITS:
        style.dress(ax, "images; the number in a piece is its digit", "", grid="x")
        return fig
    style.dress(ax, "samples", "", grid="x")
    handles, names = ax.get_legend_handles_labels()
    first = dict(zip(reversed(names), reversed(handles), strict=True))
    shown = [name for name in classes if name in first]
    ax.legend([first[name] for name in shown], shown, frameon=False, fontsize=style.SMALL)
    return fig


def per_digit_accuracy(
    accuracies: Mapping[str, Sequence[float]],
    *,
    classes: Sequence[str] = DIGITS,
    title: str | None = None,
) -> Figure:
    """A table: one row a model, one column a digit, in each cell the share of this digit's images that is read right.

    accuracies : name -> ten numbers in 0..1, or one a class. classes : of data of one's own, their names (`task.names`).
    Raises FedkitError if a row has another length.
    """
    thing, many = _words(classes)
    style.need(accuracies, "accuracies")
    for name, row in accuracies.items():
        if len(row) != len(classes):
            in_order = "the digits 0 to 9" if classes is DIGITS else ", ".join(classes)
            raise FedkitError(
                f"has {len(row)} values",
                field=f"accuracies[{name!r}]",
                remedy=f"give {many} accuracies, for {in_order} in this order",
            )
    names = style.short(accuracies)
    known = [f"{names[n]} {sum(float(v) >= KNOWN for v in r)}" for n, r in accuracies.items()]
    default = (
        f"{_words(classes, 2)[0].capitalize()} that each one knows, of {many}: {', '.join(known)}"
    )
    fig, ax = style.figure(title or default, height=1.5 + 0.42 * len(accuracies))
    table = [[float(value) for value in row] for row in accuracies.values()]
    style.cells(ax, table, [[f"{100 * v:.0f}" for v in row] for row in table], highest=1.0)
    cell = f"the accuracy in %; known from {100 * KNOWN:.0f} on"
    style.name_cells(ax, list(classes), list(names.values()), f"{thing}; in each cell {cell}")
    return fig


def confusion(
    predictions: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str] = DIGITS,
    title: str | None = None,
) -> Figure:
    """What is taken for what: rows are the true digits, columns the predicted ones, cells count images.

    predictions, labels : int64 [N], 0..9. classes : of data of one's own, their names (`task.names`).
    Raises FedkitError if they differ in length, are empty, or are no such classes.
    """
    style.need(labels, "labels")
    for field, numbers in {"predictions": predictions, "labels": labels}.items():
        _must_be_classes(numbers, classes, field)
    if len(predictions) != len(labels):
        raise FedkitError(
            f"{len(predictions)} predictions have {len(labels)} labels",
            field="predictions",
            remedy="give one prediction a label",
        )
    many = len(classes)
    counts = (many * labels + predictions).long().bincount(minlength=many**2).reshape(many, many)
    wrong = counts.clone().fill_diagonal_(0)
    true, taken = (classes[number] for number in divmod(int(wrong.argmax()), many))
    default = f"{int(counts.diagonal().sum()) / len(labels):.1%} are right"
    if int(wrong.max()):
        a = "a " if classes is DIGITS else ""
        default += f"; most often {a}{true} is taken for {a}{taken} ({int(wrong.max())} times)"
    fig, ax = style.figure(title or default, height=4.6)
    _count_cells(ax, counts.tolist())
    thing, _ = _words(classes)
    style.name_cells(ax, list(classes), list(classes), f"predicted {thing}", f"true {thing}")
    return fig


def label_heatmap(
    labels: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = DIGITS,
    title: str | None = None,
) -> Figure:
    """A table of counts: one row a participant, one column a digit, darker where there are more.

    labels : participant -> int64 [N], 0..9. classes : of data of one's own, their names (`task.names`). Raises FedkitError
    if nobody has labels, or they are no such classes.
    """
    style.need(labels, "labels")
    rows = _counts(labels, classes)
    empty = sum(not number for row in rows for number in row)
    thing, _ = _words(classes)
    one = "image" if classes is DIGITS else "sample"
    default = (
        f"{empty} of {len(classes) * len(rows)} pairs of participant and {thing} have no {one}"
    )
    fig, ax = style.figure(title or default, height=1.4 + 0.34 * len(rows))
    _count_cells(ax, rows)
    names = list(style.short(labels).values())
    style.name_cells(ax, list(classes), names, f"{thing}; in each cell the number of {one}s")
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
    columns = zip(*rows, strict=True)
    for values, label in zip(
        columns, ("own, at home", "own, abroad", "global, at home"), strict=True
    ):
        ax.plot(values, here, linestyle="none", markersize=8, label=label)
    if average is not None:
        ax.axvline(average, color=style.GREY, linestyle=":", label=f"global, abroad: {average:.0%}")
    ax.set_yticks(here, list(style.short(places).values()))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.03)
    ax.set_xticks(*style.FIFTHS)
    style.dress(ax, "accuracy", "", grid="x")
    style.legend(ax)
    return fig


def _counts(labels: Mapping[str, Tensor], classes: Sequence[str]) -> list[list[int]]:
    """How many images of each digit, row by row."""
    for name, values in labels.items():
        _must_be_classes(values, classes, f"labels[{name!r}]")
    return [values.long().bincount(minlength=len(classes)).tolist() for values in labels.values()]


def _must_be_classes(labels: Tensor, classes: Sequence[str], field: str) -> None:
    yes_or_no = len(classes) == 2 and bool(((labels == 0) | (labels == 1)).all())
    if (labels.is_floating_point() and not yes_or_no) or labels.ndim != 1:
        raise FedkitError(
            f"are no classes, but {str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}",
            field=field,
            remedy="this picture counts classes, int64 [N]; draw yes or no as labels.long().flatten()",
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise FedkitError(
            f"go from {int(labels.min())} to {int(labels.max())}, for {len(classes)} classes",
            field=field,
            remedy="give the names of your own: classes=config.task.names",
        )


def _words(classes: Sequence[str], count: int = 1) -> tuple[str, str]:
    """What a class is called, and how many there are."""
    if classes is DIGITS:
        return ("digit" if count == 1 else "digits"), "ten"
    return ("class" if count == 1 else "classes"), str(len(classes))


def _label_title(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    kinds = [sum(number > 0 for number in row) for row in counts]
    fewest, most = min(kinds), max(kinds)
    one, many = _words(classes)
    several, _ = _words(classes, 2)
    if fewest == len(classes):
        return f"Every participant holds all {many} {several}"
    how_many = (
        f"{fewest}" if fewest == most else f"{fewest} {'or' if most == fewest + 1 else 'to'} {most}"
    )
    if len(counts) == 1:
        return f"This participant holds {how_many} of {many} {several}"
    shared = any(sum(number > 0 for number in column) > 1 for column in zip(*counts, strict=True))
    apart = "Each" if shared else f"No {one} is shared: each"
    return f"{apart} participant holds {how_many} of {many} {several}"


def _count_cells(ax: Axes, rows: Sequence[Sequence[int]]) -> None:
    texts = [[f"{n:,}" if n else "·" for n in row] for row in rows]
    style.cells(ax, rows, texts, highest=max(map(max, rows)))
