"""How training goes: accuracy round by round, losses epoch by epoch.

Several runs of the same thing as one line with a band, and how a rule fares as more participants turn hostile.

When a run arrives: its accuracy, the best so far, and where that crosses the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from fedkit.base.errors import FedkitError
from fedkit.rounds.history import History
from fedkit.rounds.rounds_to_target import rounds_to_reach
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_bands", "accuracy_by_round", "loss_curves", "reaching", "survival_curves"]


Curve = History | Sequence[float]
MANY = 10  # with more rounds than that, labels lose their decimals and per cent signs


def accuracy_by_round(curves: Curve | Mapping[str, Curve], *, title: str | None = None) -> Figure:
    """Accuracy of the global model (per cent of the test set) after each round, as lines with markers.

    One curve has its values at its points; several have their last values beside their names, where none hides another.
    curves : a `History`, or a list of accuracies (0..1, the first is round 1), or several of them by name.
    title : says something else than who ends where. Raises FedkitError if a curve is empty.
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    style.need(named, "curves")
    values = {name: _accuracies(name, curve) for name, curve in named.items()}
    fig, ax = style.figure(title or _accuracy_title(values))
    for number, (name, accuracies) in enumerate(values.items()):
        rounds = range(1, len(accuracies) + 1)
        colour = style.COLOURS[number % len(style.COLOURS)]
        marker = style.MARKERS[number % len(style.MARKERS)]
        ax.plot(
            rounds,
            accuracies,
            marker=marker,
            color=colour,
            label=f"{style.plain(name)}: {accuracies[-1]:.1%}",
            linewidth=2,
        )
        for x, y in zip(rounds, accuracies, strict=True) if len(values) == 1 else ():
            ax.annotate(
                f"{y:.1%}" if len(accuracies) <= MANY else f"{100 * y:.0f}",
                (x, y),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=style.TEXT if len(accuracies) <= MANY else style.SMALL,
                color=style.INK,
            )
    style.dress(ax, "round", "accuracy on the test set")
    style.percent_axis(ax)
    _whole_numbers(ax, max(map(len, values.values())))
    if len(values) > 1:
        style.legend(ax)
    return fig


def loss_curves(
    losses: Mapping[str, Sequence[float]],
    *,
    epochs_per_round: int | None = None,
    title: str | None = None,
) -> Figure:
    """Mean training loss (cross entropy, nats) after each local epoch, one line a participant.

    losses : participant -> losses, the first is epoch 1. epochs_per_round : draws a line where a new round begins.
    Raises FedkitError if a participant has no losses.
    """
    style.need(losses, "losses")
    for name, values in losses.items():
        style.need(values, f"losses[{name!r}]")
    falls = sum(values[-1] < values[0] for values in losses.values())
    who = "everybody" if falls == len(losses) else f"{falls} of {len(losses)} participants"
    if len(losses) == 1:
        who = next(iter(style.short(losses).values())) if falls else "nobody"
    longest = max(map(len, losses.values()))
    fig, ax = style.figure(title or f"The loss falls for {who}, within {longest} local epochs")
    names = style.short(losses)
    for number, (name, values) in enumerate(losses.items()):
        ax.plot(
            range(1, len(values) + 1),
            list(values),
            color=style.COLOURS[number % len(style.COLOURS)],
            marker=style.MARKERS[number % len(style.MARKERS)],
            markersize=6 if longest <= 20 else 4,
            label=names[name],
            linewidth=2,
        )
    style.dress(ax, "local epoch", "mean loss on own digits (nats)")
    highest = max(max(values) for values in losses.values())
    ax.set_ylim(0, 1.15 * highest or 1)
    _whole_numbers(ax, longest)
    for start in range(0, longest, epochs_per_round) if epochs_per_round else ():
        if start:
            ax.axvline(start + 0.5, color=style.GREY, linestyle=":", linewidth=1)
        ax.annotate(
            f" round {start // epochs_per_round + 1}" if epochs_per_round else "",
            (start + 0.6, 1),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=style.SMALL,
            color=style.GREY,
        )
    style.legend(ax)
    return fig


def _accuracies(name: str, curve: Curve) -> list[float]:
    values = curve.accuracies if isinstance(curve, History) else [float(v) for v in curve]
    style.need(values, f"curves[{name!r}]" if name else "curves")
    return values


def _accuracy_title(values: Mapping[str, Sequence[float]]) -> str:
    ends = {name: accuracies[-1] for name, accuracies in values.items()}
    top = max(ends, key=lambda name: ends[name])
    after = f"after {style.count(len(values[top]), 'round')}"
    if len(values) == 1:
        return f"{after.capitalize()} the global model reads {ends[top]:.1%} of the test digits"
    best = " and ".join(name for name, end in ends.items() if end == ends[top])
    return f"Highest {after}: {best}, {ends[top]:.1%}"


def _whole_numbers(ax: Axes, longest: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlim(0.6, longest + 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


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


def reaching(accuracies: Sequence[float], target: float, *, title: str | None = None) -> Figure:
    """A run's accuracies (0..1, the first is round 1), their running maximum, and the crossing of the target.

    Raises FedkitError if there are no accuracies.
    """
    from matplotlib.ticker import MaxNLocator

    style.need(accuracies, "accuracies")
    found = rounds_to_reach(accuracies, target)
    arrives = "never arrives" if found is None else f"arrives after {found:.1f} rounds"
    fig, ax = style.figure(title or f"The run {arrives} at {target:.0%}")
    rounds = range(1, len(accuracies) + 1)
    ax.plot(
        rounds,
        list(accuracies),
        color=style.BLUE,
        marker="o",
        markersize=5,
        linestyle=":",
        label="accuracy",
    )
    best = list(accumulate(accuracies, max))
    ax.plot(rounds, best, color=style.VERMILLION, linewidth=2, label="best so far")
    ax.axhline(target, color=style.GREY, linestyle="--", linewidth=1, label=f"target {target:.0%}")
    if found is not None:
        height = accuracies[0] if found == 1 else target
        ax.plot([found], [height], marker="X", markersize=11, color=style.BLACK, linestyle="")
        ax.annotate(
            f"{found:.1f}",
            (found, height),
            xytext=(-8, 8),
            textcoords="offset points",
            ha="right",
            fontsize=style.TEXT,
            fontweight="bold",
            color=style.INK,
        )
    style.dress(ax, "round", "accuracy on the test set")
    style.percent_axis(ax)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    style.legend(ax)
    return fig
