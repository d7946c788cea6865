"""What privacy costs and what it stops, in one picture; and digits side by side, each with its caption.

Who is told from whom: ROC curves with logarithmic axes, and residuals of members and others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.privacy.attacks.roc import Roc
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["digit_row", "privacy_tradeoff", "residual_dots", "roc_curves"]


SIDE = 28  # pixels


def privacy_tradeoff(
    epsilons: Sequence[float],
    accuracies: Sequence[float],
    attacks: Sequence[float],
    *,
    plain: float | None = None,
    title: str | None = None,
) -> Figure:
    """Accuracy and an attack's success (AUC), both in 0..1, over epsilon on a logarithmic axis.

    plain : accuracy without any privacy, as a dashed line. Raises FedkitError if there is no point.
    """
    style.need(epsilons, "epsilons")
    default = "With less epsilon, the attack fails before the model does"
    fig, ax = style.figure(title or default, height=3.9)
    curves = (
        ("accuracy of the model", accuracies, style.BLUE, "o"),
        ("success of the attack (AUC)", attacks, style.VERMILLION, "s"),
    )
    for name, values, colour, marker in curves:
        ax.plot(epsilons, values, marker=marker, color=colour, linewidth=2, label=name)
    ax.axhline(
        0.5, color=style.VERMILLION, linewidth=1, linestyle=":", label="an attack that guesses"
    )
    if plain is not None:
        ax.axhline(
            plain, color=style.BLUE, linewidth=1, linestyle="--", label="accuracy without noise"
        )
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(epsilons), [f"{e:g}" for e in epsilons])
    ax.minorticks_off()
    style.dress(ax, "epsilon (more privacy to the left)", "accuracy, and AUC")
    ax.set_ylim(0, 1.05)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        ncols=2,
        fontsize=style.TEXT,
        frameon=False,
        labelcolor=style.INK,
    )
    return fig


def digit_row(images: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """Pictures of 28 x 28 numbers side by side with their captions; ink is 1, what lies outside 0 to 1 is cut."""
    from matplotlib.patches import Rectangle  # slow to import, and not every user draws

    style.need(images, "images")
    gap = torch.zeros(SIDE, 4)
    parts = [part for image in images.values() for part in (image.reshape(SIDE, SIDE).float(), gap)]
    sheet = torch.cat(parts[:-1], dim=1)
    inches = min(style.WIDTH - 0.2, 1.1 * len(images))
    fig, ax = style.figure(
        title or style.count(len(images), "picture"), height=0.95 + inches / len(images)
    )
    ax.imshow(sheet.numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    for number, caption in enumerate(images):
        where = (number * (SIDE + 4) + SIDE / 2, SIDE + 1)
        ax.text(
            *where,
            style.plain(caption),
            ha="center",
            va="top",
            fontsize=style.SMALL,
            color=style.INK,
        )
        ax.add_patch(
            Rectangle(
                (where[0] - SIDE / 2 - 0.5, -0.5), SIDE, SIDE, fill=False, ec=style.GREY, lw=0.8
            )
        )
    style.bare(ax)
    ax.set_anchor("NW")
    return fig


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
