"""Rebuilt images beside the originals, and how many could be rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["rebuilt_digits", "share_table"]

SIDE, GAP, CAPTION = 28, 4, 10  # pixels
BESIDE = 1.4  # inches for the rows' names


def rebuilt_digits(
    rows: Mapping[str, Tensor],
    decibels: Mapping[str, Sequence[float]] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Originals and what attacks made of them, row below row, column by column; dark ink on white paper.

    rows : name -> float [N, 784] or [N, 1, 28, 28], 0 to 1, at most as many as the first row; clipped to 0..1.
    decibels : PSNR to write below a row's pictures.
    Raises FedkitError if there is nothing to draw, or a row is longer than the first.
    """
    style.need(rows, "rows")
    pictures = {name: row.detach().float().reshape(-1, SIDE, SIDE) for name, row in rows.items()}
    count = len(next(iter(pictures.values())))
    for name, row in pictures.items():
        if not 0 < len(row) <= count:
            raise FedkitError(
                f"has {len(row)} pictures, the first row {count}",
                field=f"rows[{name!r}]",
                remedy="give each row at least one picture, and no more than the first has",
            )
    named = decibels or {}
    wide, tops, high = SIDE + GAP, dict[str, int](), 0
    for name in pictures:
        tops[name] = high
        high += SIDE + GAP + (CAPTION if name in named else 0)
    sheet = torch.zeros(high - GAP, count * wide - GAP)
    for name, row in pictures.items():
        for x, picture in enumerate(row.clamp(0, 1)):
            sheet[tops[name] : tops[name] + SIDE, x * wide : x * wide + SIDE] = picture
    inches = min(style.WIDTH - BESIDE, 0.9 * count)
    fig, ax = style.figure(
        title or "Originals, and what was rebuilt",
        height=0.6 + inches * sheet.shape[0] / sheet.shape[1],
    )
    ax.set_anchor("NW")
    ax.imshow(sheet.numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    for name, top in tops.items():
        for x, value in enumerate(named.get(name, ())):
            where = (x * wide + SIDE / 2, top + SIDE + 1)
            size = style.TEXT if count <= 8 else style.SMALL - 1.5
            said = f"{value:.0f} dB" if count <= 8 else f"{value:.0f}"
            ax.text(*where, said, ha="center", va="top", fontsize=size, color=style.INK)
    places = [top + SIDE / 2 for top in tops.values()]
    style.dress(ax, grid="")
    ax.set_xticks([])
    ax.set_yticks(places, [style.plain(name) for name in pictures])
    style.no_frame(ax)
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
    texts = [[f"{value:.0%}" for value in row] for row in shares]
    style.cells(ax, shares, texts, 1.0)
    style.dress(ax, grid="")
    ax.set_xticks(range(len(columns)), [style.plain(name) for name in columns])
    ax.set_yticks(range(len(rows)), [style.plain(name) for name in rows])
    ax.xaxis.tick_top()
    style.no_frame(ax)
    return fig
