"""When a run arrives: its accuracy, the best so far, and where that crosses the target."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from fedkit.plots import style
from fedkit.rounds.rounds_to_target import rounds_to_reach

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["reaching"]


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
