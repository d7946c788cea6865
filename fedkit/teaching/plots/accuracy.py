"""How training goes: accuracy by round, losses epoch by epoch, several runs as a band, and when a run arrives.

A curve is a `History`, or a list of accuracies (0..1, the first is round 1). Notebook 04 draws one run, 07 several.
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


# ----------------------------------------------------------------------------------------- one run
def accuracy_by_round(curves: Curve | Mapping[str, Curve], *, title: str | None = None) -> Figure:
    """Accuracy of the global model (per cent of the test set) after each round, as lines with markers.

    One curve has its values at its points; several have their last values beside their names, where none hides another.
    curves : a `History`, or a list of accuracies (0..1, the first is round 1), or several of them by name.
    title : says something else than who ends where. Raises FedkitError if a curve is empty.
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    style.need(named, "curves")
    values = {name: _accuracies(curve) for name, curve in named.items()}
    for name, accuracies in values.items():
        style.need(accuracies, f"curves[{name!r}]" if name else "curves")
    fig, ax = style.figure(title or _accuracy_title(values))
    for name, accuracies in values.items():
        rounds, few = range(1, len(accuracies) + 1), len(accuracies) <= MANY
        ax.plot(rounds, accuracies, label=f"{style.plain(name)}: {accuracies[-1]:.1%}", linewidth=2)
        for point in zip(rounds, accuracies, strict=True) if len(values) == 1 else ():
            said = f"{point[1]:.1%}" if few else f"{100 * point[1]:.0f}"
            style.beside(ax, point, said, (0, 8), size=style.TEXT if few else style.SMALL)
    _accuracy_axes(ax, "round")
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
    style.need_each(losses, "losses")
    names, longest = style.short(losses), max(map(len, losses.values()))
    falls = sum(values[-1] < values[0] for values in losses.values())
    who = "everybody" if falls == len(losses) else f"{falls} of {len(losses)} participants"
    if len(losses) == 1:
        who = next(iter(names.values())) if falls else "nobody"
    fig, ax = style.figure(title or f"The loss falls for {who}, within {longest} local epochs")
    for name, values in losses.items():
        epochs, size = range(1, len(values) + 1), 6 if longest <= 20 else 4
        ax.plot(epochs, list(values), markersize=size, label=names[name], linewidth=2)
    style.dress(ax, "local epoch", "mean loss on own digits (nats)")
    ax.set_ylim(0, 1.15 * max(map(max, losses.values())) or 1)
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


def reaching(accuracies: Sequence[float], target: float, *, title: str | None = None) -> Figure:
    """A run's accuracies (0..1, the first is round 1), their running maximum, and the crossing of the target.

    Raises FedkitError if there are no accuracies.
    """
    style.need(accuracies, "accuracies")
    found = rounds_to_reach(accuracies, target)
    arrives = "never arrives" if found is None else f"arrives after {found:.1f} rounds"
    fig, ax = style.figure(title or f"The run {arrives} at {target:.0%}")
    rounds = range(1, len(accuracies) + 1)
    ax.plot(rounds, list(accuracies), markersize=5, linestyle=":", label="accuracy")
    best = list(accumulate(accuracies, max))
    ax.plot(rounds, best, marker="", linewidth=2, label="best so far")
    ax.axhline(target, color=style.GREY, linestyle="--", linewidth=1, label=f"target {target:.0%}")
    if found is not None:
        crossing = (found, accuracies[0] if found == 1 else target)
        ax.plot(*crossing, marker="X", markersize=11, color=style.BLACK, linestyle="")
        style.beside(ax, crossing, f"{found:.1f}", (-8, 8), ha="right", weight="bold")
    _accuracy_axes(ax, "round")
    _whole_numbers(ax)
    style.legend(ax)
    return fig


# --------------------------------------------------------------------------------------- many runs
def accuracy_bands(
    runs: Mapping[str, Sequence[Curve]],
    *,
    megabytes: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Accuracy of the global model: a line through the mean of several runs, a band from the worst to the best of them.

    runs : name -> histories, or lists of accuracies (0..1, the first is round 1), one a seed, all equally long.
    megabytes : name -> bytes / 10^6 that cross in a round: then the x axis is what has crossed so far, and not the round.
    Raises FedkitError if there are no runs, or those of a name differ in length.
    """
    style.need_each(runs, "runs")
    values = {name: [_accuracies(run) for run in some] for name, some in runs.items()}
    for name, rows in values.items():
        style.need(rows[0], f"runs[{name!r}]")
        if len({len(row) for row in rows}) > 1:
            raise FedkitError(
                "has runs of different lengths",
                field=f"runs[{name!r}]",
                remedy="compare equal rounds",
            )
    ends = {name: sum(row[-1] for row in rows) / len(rows) for name, rows in values.items()}
    top = max(ends, key=lambda name: ends[name])
    fig, ax = style.figure(title or f"Highest at the end, on average: {top}, {ends[top]:.1%}")
    for name, rows in values.items():
        step = megabytes[name] if megabytes else 1.0
        xs = [step * n for n in range(1, len(rows[0]) + 1)]
        columns = list(zip(*rows, strict=True))
        means = [sum(column) / len(column) for column in columns]
        said = f"{style.plain(name)}: {ends[name]:.1%}"
        (line,) = ax.plot(xs, means, linewidth=2, label=said)
        worst, best = list(map(min, columns)), list(map(max, columns))
        ax.fill_between(xs, worst, best, color=line.get_color(), alpha=0.18, linewidth=0)
    _accuracy_axes(ax, "MB that have crossed, both ways" if megabytes else "round")
    ax.locator_params(axis="x", integer=True)
    style.legend(ax)
    return fig


def survival_curves(
    attacks: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
) -> Figure:
    """Accuracy (0..1) against the number of hostile participants: a panel an attack, a line a rule.

    attacks : attack -> rule -> accuracies with 0, 1, 2, ... hostile participants; at most three attacks.
    Raises FedkitError if there is nothing to draw.
    """
    style.need_each(attacks, "attacks")
    for attack, rules in attacks.items():
        style.need_each(rules, f"attacks[{attack!r}]")
    fig, axes = style.panels(title, len(attacks), height=4.1, alike="y")
    for ax, (attack, rules) in zip(axes, attacks.items(), strict=True):
        for rule, values in rules.items():
            ax.plot(range(len(values)), list(values), linewidth=2, label=rule)
        _accuracy_axes(ax, "hostile participants", named=ax is axes[0])
        ax.set_xticks(range(max(map(len, rules.values()))))
        style.head(ax, style.plain(attack))
    style.legend_of_panels(fig, 3)
    return fig


# ----------------------------------------------------------------------------------------- helpers
def _accuracies(curve: Curve) -> list[float]:
    return curve.accuracies if isinstance(curve, History) else [float(value) for value in curve]


def _accuracy_title(values: Mapping[str, Sequence[float]]) -> str:
    ends = {name: accuracies[-1] for name, accuracies in values.items()}
    top = max(ends, key=lambda name: ends[name])
    after = f"after {style.count(len(values[top]), 'round')}"
    if len(values) == 1:
        return f"{after.capitalize()} the global model reads {ends[top]:.1%} of the test digits"
    best = " and ".join(name for name, end in ends.items() if end == ends[top])
    return f"Highest {after}: {best}, {ends[top]:.1%}"


def _accuracy_axes(ax: Axes, xlabel: str, named: bool = True) -> None:
    style.dress(ax, xlabel, "accuracy on the test set" if named else "")
    style.percent_axis(ax)


def _whole_numbers(ax: Axes, longest: int | None = None) -> None:
    """At most ten ticks on the x axis, all at whole numbers. longest : the last one that needs room."""
    from matplotlib.ticker import MaxNLocator

    if longest is not None:
        ax.set_xlim(0.6, longest + 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
