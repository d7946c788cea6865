"""What a model knows and what it takes for what, digit by digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion", "per_digit_accuracy"]

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
