"""Several runs of the same thing as one line with a band, and how a rule fares as more participants turn hostile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedkit.base.errors import FedkitError
from fedkit.plots import style
from fedkit.rounds.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_bands", "survival_curves"]

Runs = Sequence[History | Sequence[float]]


def accuracy_bands(
    runs: Mapping[str, Runs],
    *,
    megabytes: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Accuracy of the global model: a line through the mean of several runs, a band from the worst to the best of them.

    runs : name -> histories, or lists of accuracies (0..1, the first is round 1), one a seed, all equally long.
    megabytes : name -> bytes / 10^6 that cross in a round: then the x axis is what has crossed so far, and not the round.
    Raises FedkitError if there are no runs, or those of a name differ in length.
    """
    style.need(runs, "runs")
    values = {name: _table(name, some) for name, some in runs.items()}
    ends = {name: sum(row[-1] for row in rows) / len(rows) for name, rows in values.items()}
    top = max(ends, key=lambda name: ends[name])
    fig, ax = style.figure(title or f"Highest at the end, on average: {top}, {ends[top]:.1%}")
    for number, (name, rows) in enumerate(values.items()):
        step = megabytes[name] if megabytes else 1.0
        xs = [step * n for n in range(1, len(rows[0]) + 1)]
        columns = list(zip(*rows, strict=True))
        colour = style.COLOURS[number % len(style.COLOURS)]
        ax.fill_between(
            xs,
            list(map(min, columns)),
            list(map(max, columns)),
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        ax.plot(
            xs,
            [sum(column) / len(column) for column in columns],
            color=colour,
            marker=style.MARKERS[number % len(style.MARKERS)],
            linewidth=2,
            label=f"{style.plain(name)}: {ends[name]:.1%}",
        )
    where = "MB that have crossed, both ways" if megabytes else "round"
    style.dress(ax, where, "accuracy on the test set")
    style.percent_axis(ax)
    ax.locator_params(axis="x", integer=True)
    style.legend(ax)
    return fig


def _table(name: str, runs: Runs) -> list[list[float]]:
    style.need(runs, f"runs[{name!r}]")
    rows = [r.accuracies if isinstance(r, History) else [float(v) for v in r] for r in runs]
    style.need(rows[0], f"runs[{name!r}]")
    if len({len(row) for row in rows}) > 1:
        raise FedkitError(
            "has runs of different lengths", field=f"runs[{name!r}]", remedy="compare equal rounds"
        )
    return rows


def survival_curves(
    attacks: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
) -> Figure:
    """Accuracy (0..1) against the number of hostile participants: a panel an attack, a line a rule.

    attacks : attack -> rule -> accuracies with 0, 1, 2, ... hostile participants; at most three attacks.
    Raises FedkitError if there is nothing to draw.
    """
    style.need(attacks, "attacks")
    fig, first = style.figure(title, height=4.1)
    first.remove()
    shared: Axes | None = None
    for number, (attack, rules) in enumerate(attacks.items(), 1):
        style.need(rules, f"attacks[{attack!r}]")
        ax = fig.add_subplot(1, len(attacks), number, sharey=shared, facecolor=style.PAPER)
        for position, (rule, values) in enumerate(rules.items()):
            style.need(values, f"attacks[{attack!r}][{rule!r}]")
            ax.plot(
                range(len(values)),
                list(values),
                color=style.COLOURS[position % len(style.COLOURS)],
                marker=style.MARKERS[position % len(style.MARKERS)],
                linewidth=2,
                label=rule,
            )
        style.dress(ax, "hostile participants", "" if shared else "accuracy on the test set")
        style.percent_axis(ax)
        ax.set_xticks(range(max(map(len, rules.values()))))
        ax.set_title(style.plain(attack), fontsize=style.TEXT, color=style.INK)
        if shared is not None:
            ax.tick_params(labelleft=False)
        shared = shared or ax
    handles, labels = fig.axes[0].get_legend_handles_labels()
    fig.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=style.TEXT,
        labelcolor=style.INK,
    )
    return fig
