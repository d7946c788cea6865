"""How datasites differ: who holds which labels, how many, and how a model does at home and abroad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["home_and_abroad", "label_heatmap", "shard_sizes"]


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
