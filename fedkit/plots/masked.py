"""Updates under their masks beside their sum: rows of pictures, each on a scale of its own, since masks are huge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["masked_rows"]

SIDE, GAP, NAMES = 28, 3, 1.5  # pixels of a picture and between two; inches for the rows' names
WITHIN = 0.995  # of a row's numbers lie inside the colours


def masked_rows(rows: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """What several people send, and what comes out: a row of 28 x 28 pictures a name, red above zero, blue below.

    rows : name -> numbers [K,784], the same K for all; each row fills its own colours. Raises FedkitError if there are
    no rows, or one has another shape.
    """
    style.need(rows, "rows")
    pictures = {name: row.detach().to(torch.float64) for name, row in rows.items()}
    count = len(next(iter(pictures.values())))
    for name, row in pictures.items():
        if row.shape != (count, SIDE * SIDE) or not count:
            raise FedkitError(
                f"has shape {list(row.shape)}, not [{count or 'at least 1'}, 784]",
                field=f"rows[{name!r}]",
                remedy="give each row as many pictures as the first, 784 pixels each",
            )
    step = SIDE + GAP
    sheet = torch.full((len(pictures) * step - GAP, count * step - GAP), torch.nan)
    for y, row in enumerate(pictures.values()):
        scaled = row / (float(row.abs().flatten().quantile(WITHIN)) or 1.0)
        for x, picture in enumerate(scaled.reshape(-1, SIDE, SIDE)):
            sheet[y * step : y * step + SIDE, x * step : x * step + SIDE] = picture
    inches = (style.WIDTH - NAMES) * sheet.shape[0] / sheet.shape[1]
    fig, ax = style.figure(
        title or f"{style.count(len(pictures), 'row')} of weights", height=0.7 + inches
    )
    ax.imshow(sheet.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    middles = [SIDE / 2 + step * place for place in range(len(pictures))]
    ax.set_xticks([])
    ax.set_yticks(middles, [style.plain(name) for name in pictures])
    style.dress(ax, "", "", grid="")
    style.no_frame(ax)
    return fig
