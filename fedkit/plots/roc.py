"""Who is told from whom: ROC curves with logarithmic axes, and residuals of members and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.plots import style
from fedkit.privacy.attacks.roc import Roc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["residual_dots", "roc_curves"]

LOWEST = 1e-3  # both axes begin here
LINES = ("-", "--", "-.", ":")


def roc_curves(curves: Mapping[str, Roc], *, title: str | None = None) -> Figure:
    """True against false positive rate, both on log axes from 0.1 % to 100 %, with the AUC beside each name.

    The dotted diagonal is guessing. Raises FedkitError if there are no curves.
    """
    style.need(curves, "curves")
    best = max(curves, key=lambda name: curves[name].auc)
    fig, ax = style.figure(
        title or f"{best} tells members best: AUC {curves[best].auc:.2f}", height=4.2
    )
    ax.plot([LOWEST, 1], [LOWEST, 1], color=style.GREY, linestyle=":", label="guessing: 0.50")
    for number, (name, curve) in enumerate(curves.items()):
        ax.step(
            curve.false_positive_rate.clamp_min(LOWEST).tolist(),
            curve.true_positive_rate.clamp_min(LOWEST).tolist(),
            where="post",
            color=style.COLOURS[number % len(style.COLOURS)],
            linestyle=LINES[number % len(LINES)],
            linewidth=2.2,
            label=f"{style.plain(name)}: {curve.auc:.2f}",
        )
    ticks, labels = [0.001, 0.01, 0.1, 1.0], ["0.1%", "1%", "10%", "100%"]
    ax.set(xscale="log", yscale="log", xlim=(LOWEST, 1.05), ylim=(LOWEST, 1.15))
    style.dress(ax, "others taken for members", "members found", grid="both")
    ax.set_xticks(ticks, labels)
    ax.set_yticks(ticks, labels)
    ax.minorticks_off()
    style.legend(ax)
    return fig


def residual_dots(groups: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """One dot an image at its residual (0..1, log axis), one row a group; dots are spread so that none hides another.

    groups : name -> residuals [N]; below 1e-7 a dot lies at the edge. Raises FedkitError if there are no groups.
    """
    style.need(groups, "groups")
    fig, ax = style.figure(
        title or "How much of each image lies outside of the row space",
        height=1.2 + 0.7 * len(groups),
    )
    for number, residuals in enumerate(groups.values()):
        spread = torch.linspace(-0.28, 0.28, 7).repeat(len(residuals) // 7 + 1)[: len(residuals)]
        ax.plot(
            residuals.clamp_min(1e-7).tolist(),
            (spread + number).tolist(),
            style.MARKERS[number % len(style.MARKERS)],
            color=style.COLOURS[number % len(style.COLOURS)],
            markersize=4,
            alpha=0.6,
        )
    ax.set_xscale("log")
    ax.set(xlim=(5e-8, 2), ylim=(len(groups) - 0.4, -0.6))
    style.dress(ax, "residual: share of the image outside of the row space", "", grid="x")
    ax.set_yticks(range(len(groups)), [style.plain(name) for name in groups])
    return fig
