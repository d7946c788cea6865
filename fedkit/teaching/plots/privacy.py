"""What privacy costs and what attacks find: the trade-off over epsilon, and members told from others.

Notebook 08 draws the attacks' success, 09 what noise does to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from torch import Tensor

    from fedkit.privacy.attacks.roc import Roc

__all__ = ["privacy_tradeoff", "residual_dots", "roc_curves", "share_table", "trust_curves"]


LOWEST = 1e-3  # both axes of a ROC curve begin here
LINES = ("-", "--", "-.", ":")


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
    ax.plot(epsilons, accuracies, linewidth=2, label="accuracy of the model")
    ax.plot(epsilons, attacks, linewidth=2, label="success of the attack (AUC)")
    lines = [(0.5, style.VERMILLION, ":", "an attack that guesses")]
    lines += [] if plain is None else [(plain, style.BLUE, "--", "accuracy without noise")]
    for height, colour, look, said in lines:
        ax.axhline(height, color=colour, linewidth=1, linestyle=look, label=said)
    _along_epsilon(ax, epsilons, "zero-out", "accuracy, and AUC")
    style.legend(ax, below=2)
    return fig


def trust_curves(
    epsilons: Sequence[float],
    accuracies: Mapping[str, Sequence[float]],
    *,
    title: str | None = None,
) -> Figure:
    """Accuracy (0..1) over epsilon on a logarithmic axis, one line for each place where the noise is added.

    epsilons : of replace-one neighbours. accuracies : name -> one number an epsilon, as `fk.privacy.accuracy_by_trust`
    gives it; "without noise" is dashed. Raises FedkitError if there is no point, or not one for each epsilon.
    """
    style.need(accuracies, "accuracies")
    style.need(epsilons, "epsilons")
    odd = next((name for name, row in accuracies.items() if len(row) != len(epsilons)), None)
    if odd is not None:
        raise FedkitError(
            f"has {len(accuracies[odd])} numbers for {odd!r} and {len(epsilons)} epsilons",
            field="accuracies",
            remedy="give one for each epsilon",
        )
    fig, ax = style.figure(title or "The less one trusts, the more noise a sum needs", height=3.9)
    for name, row in accuracies.items():
        if name == "without noise":
            ax.plot(epsilons, row, color=style.GREY, linestyle="--", marker="", label=name)
        else:
            ax.plot(epsilons, row, linewidth=2, label=style.plain(name))
    _along_epsilon(ax, epsilons, "replace-one", "accuracy")
    style.legend(ax, below=3)
    return fig


def roc_curves(curves: Mapping[str, Roc], *, title: str | None = None) -> Figure:
    """True against false positive rate, both on log axes from 0.1 % to 100 %, with the AUC beside each name.

    The dotted diagonal is guessing. Raises FedkitError if there are no curves.
    """
    style.need(curves, "curves")
    best = max(curves, key=lambda name: curves[name].auc)
    default = f"{best} tells members best: AUC {curves[best].auc:.2f}"
    fig, ax = style.figure(title or default, height=4.2)
    ax.set_prop_cycle(color=style.COLOURS, linestyle=2 * LINES)
    ax.plot([LOWEST, 1], [LOWEST, 1], color=style.GREY, linestyle=":", label="guessing: 0.50")
    for name, curve in curves.items():
        rates = (curve.false_positive_rate, curve.true_positive_rate)
        points = [rate.clamp_min(LOWEST).tolist() for rate in rates]
        said = f"{style.plain(name)}: {curve.auc:.2f}"
        ax.step(*points, where="post", linewidth=2.2, label=said)
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
    import torch  # slow to import, and not every picture needs it

    style.need(groups, "groups")
    default = "How much of each image lies outside of the row space"
    fig, ax = style.figure(title or default, height=1.2 + 0.7 * len(groups))
    for number, residuals in enumerate(groups.values()):
        spread = torch.linspace(-0.28, 0.28, 7).repeat(len(residuals) // 7 + 1)[: len(residuals)]
        dots = residuals.clamp_min(1e-7).tolist(), (spread + number).tolist()
        ax.plot(*dots, linestyle="none", markersize=4, alpha=0.6)
    ax.set_xscale("log")
    ax.set(xlim=(5e-8, 2), ylim=(len(groups) - 0.4, -0.6))
    style.dress(ax, "residual: share of the image outside of the row space", "", grid="x")
    ax.set_yticks(range(len(groups)), [style.plain(name) for name in groups])
    return fig


def share_table(
    shares: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str | None = None,
) -> Figure:
    """A table of shares (0..1) as percentages, the bluer the larger. rows, columns : their names.

    Raises FedkitError if it is empty, or the names don't fit.
    """
    style.need(shares, "shares")
    if len(rows) != len(shares) or any(len(row) != len(columns) for row in shares):
        raise FedkitError(
            f"has {len(shares)} rows for {len(rows)} names, or a row without {len(columns)} values",
            field="shares",
            remedy="give one row a name, and one value a column",
        )
    fig, ax = style.figure(title or "Share of the images", height=0.9 + 0.45 * len(rows))
    style.cells(ax, shares, [[f"{value:.0%}" for value in row] for row in shares], 1.0)
    above, left = ([style.plain(name) for name in names] for names in (columns, rows))
    style.name_cells(ax, above, left, above=True)
    return fig


def _along_epsilon(ax: Axes, epsilons: Sequence[float], neighbours: str, height: str) -> None:
    """Axes of something from 0 to 1 against epsilon, each of these with its number."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(epsilons), [f"{e:g}" for e in epsilons])
    ax.minorticks_off()
    style.dress(ax, f"epsilon, {neighbours} neighbours (more privacy to the left)", height)
    ax.set_ylim(0, 1.05)
