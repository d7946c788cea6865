"""Several models' weights below each other, a row a model: what each one has, and what their mean keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["weight_rows"]

SIDE = 28  # pixels
GAP = 3  # pixels between two pictures
WITHIN = 0.995  # of all weights lie inside the colours: a few huge ones would leave the rest pale
BESIDE = 2.0  # inches for the rows' names and the colour bar


def weight_rows(
    rows: Mapping[str, Tensor],
    columns: Sequence[object] | None = None,
    *,
    xlabel: str = "",
    title: str | None = None,
) -> Figure:
    """One number a pixel, as 28 x 28 pictures: a row for each name, red above zero, blue below, one scale for all.

    rows : name -> float32 [K,784], the same K for all. columns : K labels below the pictures, None for no labels.
    Raises FedkitError if there are no rows, a row has another shape, or there are not K labels.
    """
    style.need(rows, "rows")
    pictures = {name: row.detach().to(torch.float32) for name, row in rows.items()}
    count = len(next(iter(pictures.values())))
    for name, row in pictures.items():
        if row.ndim != 2 or row.shape[1] != SIDE * SIDE or len(row) != count or not count:
            raise FedkitError(
                f"has shape {list(row.shape)}, not [{count or 'at least 1'}, 784]",
                field=f"rows[{name!r}]",
                remedy="give each row as many pictures as the first, 784 pixels each",
            )
    if columns is not None and len(columns) != count:
        raise FedkitError(
            f"has {len(columns)} labels for {count} pictures in a row",
            field="columns",
            remedy="give one label a picture, or none at all",
        )
    step = SIDE + GAP
    sheet = torch.full((len(pictures) * step - GAP, count * step - GAP), torch.nan)
    for y, row in enumerate(pictures.values()):
        for x, picture in enumerate(row.reshape(-1, SIDE, SIDE)):
            sheet[y * step : y * step + SIDE, x * step : x * step + SIDE] = picture
    limit = float(torch.cat(list(pictures.values())).abs().flatten().quantile(WITHIN)) or 1.0
    inches = (style.WIDTH - BESIDE) * sheet.shape[0] / sheet.shape[1]
    shown = title or f"{style.count(len(pictures), 'model')}, pixel by pixel"
    fig, ax = style.figure(shown, height=0.9 + inches)
    drawn = ax.imshow(
        sheet.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    bar = fig.colorbar(drawn, ax=ax, fraction=0.03, pad=0.02, extend="both")
    bar.set_label("weight of a pixel", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK, color=style.GREY)
    middles = [SIDE / 2 + step * place for place in range(max(count, len(pictures)))]
    labels = [str(label) for label in columns] if columns is not None else [""] * count
    ax.set_xticks(middles[:count], labels)
    ax.set_yticks(middles[: len(pictures)], [style.plain(name) for name in pictures])
    style.dress(ax, xlabel, "", grid="")
    style.no_frame(ax)
    return fig
