"""How training goes: accuracy by round, losses epoch by epoch, several runs as a band, and when a run arrives.

A curve is a `History`, or a list of accuracies (0..1, the first is round 1). Notebook 04 draws one run, 07 several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedkit.base.errors import FedkitError
from fedkit.rounds.history import History
from fedkit.rounds.rounds_to_target import rounds_to_reach
from fedkit.teaching.plots import style

__all__ = [
    "accuracy_bands",
    "accuracy_by_round",
    "loss_curves",
    "metric_by_round",
    "reaching",
    "survival_curves",
]


Curve = History | Sequence[float]
MANY = 10  # with more rounds than that, labels lose their decimals and per cent signs


# ----------------------------------------------------------------------------------------- one run
def accuracy_by_round(curves: Curve | Mapping[str, Curve], *, title: str | None = None) -> Figure:
    """Accuracy of the global model (per cent of the test set) after each round, as lines with markers.

    One curve has its values at its points; several have their last values beside their names, where none hides another.
    curves : a `History`, or a list of accuracies (0..1, the first is round 1), or several of them by name.
    title : says something else than who ends where. Raises FedkitError if a curve is empty, such as that of a task without
    accuracy (see `metric_by_round`).
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    values = {name: _accuracies(curve) for name, curve in named.items()}
    return _by_round(values, title or _accuracy_title, "accuracy on the test set", percent=True)


def metric_by_round(
    histories: History | Mapping[str, History], metric: str, *, title: str | None = None
) -> Figure:
    """A metric of the project's task on the test set after each round, as lines with markers, or its loss.

    metric : "loss", "accuracy", or a name in `history.metrics`, such as "auc" or "mae"; shares of 1 are shown as per cent.
    Raises FedkitError if a history has no such metric.
    """
    named = histories if isinstance(histories, Mapping) else {"": histories}
    values = {name: _scores(history, metric) for name, history in named.items()}
    percent, called = metric.split(" ")[0] in _SHARES, metric.replace("_", " ")

    def ends(values: Mapping[str, Sequence[float]]) -> str:
        said = [
            f"{n}: {_said(v[-1], percent)}" if n else _said(v[-1], percent)
            for n, v in values.items()
        ]
        return f"At the end, {called} {', '.join(said)}"

    return _by_round(values, title or ends, f"{called} on the test set", percent)


_SHARES = ("accuracy", "balanced_accuracy", "recall", "auc")


def _said(value: float, percent: bool, few: bool = True) -> str:
    if not percent:
        return f"{value:.3g}"
    return f"{value:.1%}" if few else f"{100 * value:.0f}"


def _scores(history: History, metric: str) -> list[float]:
    known = {
        "loss": [r.loss for r in history if r.loss is not None],
        "accuracy": history.accuracies,
        **history.metrics,
    }
    if not known.get(metric):
        names = [name for name, values in known.items() if values]
        raise FedkitError(
            f"{metric!r} is not in the history",
            field="metric",
            remedy=f"draw {' or '.join(names)}" if names else "run a round first",
        )
    return known[metric]


def _by_round(
    values: Mapping[str, Sequence[float]],
    title: str | Callable[[Mapping[str, Sequence[float]]], str],
    ylabel: str,
    percent: bool,
) -> Figure:
    style.need(values, "curves")
    for name, numbers in values.items():
        style.need(numbers, f"curves[{name!r}]" if name else "curves")
    fig, ax = style.figure(title if isinstance(title, str) else title(values))
    for name, numbers in values.items():
        rounds, few = range(1, len(numbers) + 1), len(numbers) <= MANY
        label = f"{style.plain(name)}: {_said(numbers[-1], percent)}"
        ax.plot(rounds, numbers, label=label, linewidth=2)
        for point in zip(rounds, numbers, strict=True) if len(values) == 1 else ():
            look = style.BESIDE if few else {**style.BESIDE, "fontsize": style.SMALL}
            ax.annotate(_said(point[1], percent, few), point, (0, 8), ha="center", **look)
    style.dress(ax, "round", ylabel)
    if percent:
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
    here, look = ax.get_xaxis_transform(), {"fontsize": style.SMALL, "color": style.GREY}
    for n, start in enumerate(range(0, longest, epochs_per_round or longest), start=1):
        if start:
            ax.axvline(start + 0.5, color=style.GREY, linestyle=":", linewidth=1)
        if epochs_per_round:
            ax.text(start + 0.6, 1, f" round {n}", look, va="top", transform=here)
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
        ax.annotate(f"{found:.1f}", crossing, (-8, 8), ha="right", weight="bold", **style.BESIDE)
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
        table = np.array(rows)
        said = f"{style.plain(name)}: {ends[name]:.1%}"
        (line,) = ax.plot(xs, table.mean(axis=0), linewidth=2, label=said)
        worst, best = table.min(axis=0), table.max(axis=0)
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
        ax.set_title(style.plain(attack), fontsize=style.TEXT, color=style.INK)
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
    if longest is not None:
        ax.set_xlim(0.6, longest + 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
