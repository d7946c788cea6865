"""How training goes: accuracy round by round, losses epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedkit.plots import style
from fedkit.rounds.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_by_round", "loss_curves"]

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
