"""Updates as arrows from the global model, in the plane of their two principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from fedkit.learning.models import StateDict
    from fedkit.learning.update import Update

__all__ = ["drift_arrows"]


def drift_arrows(
    rounds: Mapping[str, tuple[StateDict, Sequence[Update]]], *, title: str | None = None
) -> Figure:
    """One panel a round: an arrow from the global model to each participant's update, and a thick one to their mean.

    rounds : name -> (the global model before the round, its updates), at most three. Each panel has a plane of its own,
    and says on its axes what share of the updates' squared length lies along them; both axes have one scale.
    Raises FedkitError if there is no round, or one without updates.
    """
    from fedkit.learning.geometry import agreement  # slow to import: it needs torch

    style.need_each({name: updates for name, (_, updates) in rounds.items()}, "rounds")
    left = {name: agreement(model, updates) for name, (model, updates) in rounds.items()}
    said = ", ".join(f"{name} {share:.0%}" for name, share in left.items())
    shown = title or f"Of the way, averaging leaves: {said}"
    fig, axes = style.panels(shown, len(rounds), height=4.0)
    for ax, (name, (model, updates)) in zip(axes, rounds.items(), strict=True):
        _panel(ax, model, updates)
        head = f"{style.plain(name)}: {left[name]:.0%} left"
        ax.set_title(head, fontsize=style.TEXT, color=style.INK)
    return fig


def _panel(ax: Axes, model: StateDict, updates: Sequence[Update]) -> None:
    import torch

    from fedkit.learning.geometry import changes, principal_plane
    from fedkit.learning.strategies.arithmetic import mixing_weights

    rows = changes(model, updates)
    places, (one, two) = principal_plane(rows)
    mean = torch.tensor(mixing_weights(updates)).double() @ places
    for x, y in places.tolist():
        _arrow(ax, x, y, style.BLUE, 1.4)
    ax.plot(*places.T.tolist(), "o", markersize=4, color=style.BLUE)
    _arrow(ax, float(mean[0]), float(mean[1]), style.VERMILLION, 3.2)
    ax.plot(*mean.tolist(), "s", markersize=7, color=style.VERMILLION)
    ax.plot(0, 0, "X", markersize=9, color=style.INK)
    style.dress(ax, f"first component ({one:.0%})", f"second component ({two:.0%})", grid="both")
    reach = 1.15 * float(places.abs().max().clamp(min=1e-9))
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.locator_params(nbins=5)


def _arrow(ax: Axes, x: float, y: float, colour: str, width: float) -> None:
    look = {"arrowstyle": "-", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (x, y), (0, 0), arrowprops=look)
