"""Pictures made of pixels: sheets of digits, and weights that look back at their images.

Updates under their masks beside their sum: rows of pictures, each on a scale of its own, since masks are huge.

Rebuilt images beside the originals, and how many could be rebuilt.

Several models' weights below each other, a row a model: what each one has, and what their mean keeps of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "digit_grid",
    "masked_rows",
    "rebuilt_digits",
    "share_table",
    "weight_images",
    "weight_rows",
]


SIDE = 28  # pixels
GAP = 4  # pixels between two pictures
WITHIN = 0.995  # of all weights lie inside the colours: a few huge ones would leave the rest pale
CAPTION = 11  # pixels below a picture for its label


def digit_grid(
    images: Tensor, labels: Tensor | None = None, *, columns: int = 10, title: str | None = None
) -> Figure:
    """A sheet of digits, dark ink on white paper, with their labels below.

    images : float32 [N,1,28,28] in 0..1 (uint8 [N,28,28] in 0..255 too). labels : int64 [N].
    Raises FedkitError if there are no images, or as many labels as images are missing.
    """
    style.need(images, "images")
    if labels is not None and len(labels) != len(images):
        raise FedkitError(
            f"{len(images)} images have {len(labels)} labels",
            field="labels",
            remedy="give one label an image, or none at all",
        )
    if columns < 1:
        raise FedkitError(f"can't be {columns}", field="columns", remedy="use 1 or more")
    pixels = images.reshape(-1, SIDE, SIDE).to(torch.float32)
    pixels = pixels / 255 if images.dtype == torch.uint8 else pixels
    columns = min(columns, len(pixels))
    below = CAPTION if labels is not None else 0
    sheet, corners = _sheet(pixels, columns, below)
    shown = f"{style.count(len(pixels), 'handwritten digit')}, {SIDE} × {SIDE} pixels each"
    fig, ax = _sheet_figure(title or shown, sheet)
    ax.imshow(sheet.numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    for (x, y), label in zip(corners, labels if labels is not None else (), strict=False):
        where = (x + SIDE / 2, y + SIDE + 1)
        ax.text(*where, str(int(label)), ha="center", va="top", fontsize=11, color=style.INK)
    style.bare(ax)
    return fig


def weight_images(
    state: Mapping[str, Tensor],
    layer: str = "fc1.weight",
    *,
    units: int = 12,
    columns: int = 6,
    scale: float | None = None,
    title: str | None = None,
) -> Figure:
    """The weights between the 784 pixels and the first hidden units, one 28 x 28 picture a unit.

    A unit answers to ink where its weights are red, and against ink where they are blue.
    scale : the weight at both ends of the colours; None takes the size that 99.5 % of those shown don't exceed.
    Give the same to pictures that are compared. Raises FedkitError if the state has no such layer of shape [units, 784].
    """
    if layer not in state or state[layer].ndim != 2 or state[layer].shape[1] != SIDE * SIDE:
        fitting = [n for n, w in state.items() if w.ndim == 2 and w.shape[1] == SIDE * SIDE]
        raise FedkitError(
            f"has no {layer!r} with one weight for each of the 784 pixels",
            field="layer",
            remedy=f"choose {' or '.join(fitting)}" if fitting else "draw another model's weights",
        )
    weights = state[layer].detach().to(torch.float32)[: max(1, units)].reshape(-1, SIDE, SIDE)
    limit = scale or float(weights.abs().quantile(WITHIN)) or 1.0
    sheet, _ = _sheet(weights, min(columns, len(weights)), 0, empty=math.nan)
    default = f"What {style.count(len(weights), 'hidden unit')} look for in the pixels"
    fig, ax = _sheet_figure(title or default, sheet, beside=1.0)
    drawn = ax.imshow(
        sheet.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    bar = fig.colorbar(drawn, ax=ax, fraction=0.03, pad=0.02, extend=_beyond(weights, limit))
    bar.set_label("weight of a pixel", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK, color=style.GREY)
    style.bare(ax)
    return fig


def _beyond(weights: Tensor, limit: float) -> str:
    """Which ends of the colour bar have weights beyond them."""
    ends = (bool(weights.min() < -limit), bool(weights.max() > limit))
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[ends]


def _sheet(
    pictures: Tensor, columns: int, below: int, empty: float = 0.0
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Pictures [N,28,28] on one sheet, row by row, and each one's upper left corner (x, y) in pixels."""
    wide, high = SIDE + GAP, SIDE + GAP + below
    rows = math.ceil(len(pictures) / columns)
    sheet = torch.full((rows * high - GAP, columns * wide - GAP), empty)
    corners = [(i % columns * wide, i // columns * high) for i in range(len(pictures))]
    for picture, (x, y) in zip(pictures, corners, strict=True):
        sheet[y : y + SIDE, x : x + SIDE] = picture
    return sheet, corners


def _sheet_figure(title: str, sheet: Tensor, beside: float = 0.0) -> tuple[Figure, Axes]:
    """A figure in which the sheet keeps its shape, at most as wide as the page and 1 inch a picture.

    beside : inches that something else needs to its right.
    """
    height, width = sheet.shape
    inches = min(style.WIDTH - 0.2 - beside, width / SIDE)
    fig, ax = style.figure(title, height=0.6 + inches * height / width)
    ax.set_anchor("NW")
    return fig, ax


NARROW_GAP = 3  # pixels between two pictures in rows of weights
NAMES = 1.5  # inches for the rows' names


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
    step = SIDE + NARROW_GAP
    sheet = torch.full((len(pictures) * step - NARROW_GAP, count * step - NARROW_GAP), torch.nan)
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


SCORE = 10  # pixels below a picture for its score
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
        high += SIDE + GAP + (SCORE if name in named else 0)
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


WIDE_BESIDE = 2.0  # inches for the rows' names and the colour bar


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
    step = SIDE + NARROW_GAP
    sheet = torch.full((len(pictures) * step - NARROW_GAP, count * step - NARROW_GAP), torch.nan)
    for y, row in enumerate(pictures.values()):
        for x, picture in enumerate(row.reshape(-1, SIDE, SIDE)):
            sheet[y * step : y * step + SIDE, x * step : x * step + SIDE] = picture
    limit = float(torch.cat(list(pictures.values())).abs().flatten().quantile(WITHIN)) or 1.0
    inches = (style.WIDTH - WIDE_BESIDE) * sheet.shape[0] / sheet.shape[1]
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
