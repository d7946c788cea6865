"""Pictures made of pixels: sheets of digits, weights that look back at their images, updates under their masks.

A picture is 28 x 28 numbers, and a sheet holds rows of them: ink is dark on white paper, weights are red above zero and
blue below. Notebooks 03 and 04 look at digits and weights, 08 at what was rebuilt of them, 09 and 10 at noise and masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "digit_grid",
    "digit_row",
    "masked_rows",
    "rebuilt_digits",
    "weight_images",
    "weight_rows",
]


SIDE = 28  # pixels
GAP, NARROW_GAP = 4, 3  # pixels between two pictures; in rows of weights
CAPTION, SCORE = 11, 10  # pixels below a picture for its label, or for its score
WITHIN = 0.995  # of all weights lie inside the colours: a few huge ones would leave the rest pale

Corner = tuple[int, int]  # of a picture on its sheet, upper left: x, y in pixels


# ----------------------------------------------------------------------------------------- digits
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
    import torch  # slow to import, and not every picture needs it

    pixels = _squares(images, "images").float()
    pixels = pixels / 255 if images.dtype == torch.uint8 else pixels
    rows, said = pixels.split(columns), [] if labels is None else [str(int(y)) for y in labels]
    sheet, corners = _sheet(rows, below=[CAPTION if said else 0] * len(rows))
    shown = f"{style.count(len(pixels), 'handwritten digit')}, {SIDE} × {SIDE} pixels each"
    fig, ax = _drawn(
        title or shown, sheet, 0.6 + _height(sheet, min(style.WIDTH - 0.2, sheet.shape[1] / SIDE))
    )
    _caption(ax, chain(*corners), said, 11)
    ax.set_axis_off()
    return fig


def digit_row(images: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """Pictures of 28 x 28 numbers side by side with their captions; ink is 1, what lies outside 0 to 1 is cut."""
    style.need(images, "images")
    each = [_squares(i[None], f"images[{n!r}]")[0].float() for n, i in images.items()]
    sheet, (corners,) = _sheet([each])
    height = 0.95 + min(style.WIDTH - 0.2, 1.1 * len(images)) / len(images)
    fig, ax = _drawn(title or style.count(len(images), "picture"), sheet, height)
    _caption(ax, corners, [style.plain(caption) for caption in images], style.SMALL)
    for x, _ in corners:
        ax.add_patch(Rectangle((x - 0.5, -0.5), SIDE, SIDE, fill=False, ec=style.GREY, lw=0.8))
    ax.set_axis_off()
    return fig


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
    pictures = [
        _squares(row, f"rows[{n!r}]").detach().float().clamp(0, 1) for n, row in rows.items()
    ]
    count, scores = len(pictures[0]), decibels or {}
    for name, row in zip(rows, pictures, strict=True):
        if not 0 < len(row) <= count:
            raise FedkitError(
                f"has {len(row)} pictures, the first row {count}",
                field=f"rows[{name!r}]",
                remedy="give each row at least one picture, and no more than the first has",
            )
    sheet, corners = _sheet(pictures, below=[SCORE if name in scores else 0 for name in rows])
    height = 0.6 + _height(sheet, min(style.WIDTH - 1.4, 0.9 * count))
    fig, ax = _drawn(title or "Originals, and what was rebuilt", sheet, height)
    unit, size = (" dB", style.TEXT) if count <= 8 else ("", style.SMALL - 1.5)
    for name, places in zip(rows, corners, strict=True):
        _caption(ax, places, [f"{value:.0f}{unit}" for value in scores.get(name, ())], size)
    _name_rows(ax, rows, corners)
    return fig


# ---------------------------------------------------------------------------------------- weights
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
    fitting = [n for n, w in state.items() if w.ndim == 2 and w.shape[1] == SIDE * SIDE]
    if layer not in fitting:
        raise FedkitError(
            f"has no {layer!r} with one weight for each of the 784 pixels",
            field="layer",
            remedy=f"choose {' or '.join(fitting)}" if fitting else "draw another model's weights",
        )
    weights = state[layer].detach().float()[: max(1, units)].reshape(-1, SIDE, SIDE)
    limit = scale or _limit(weights)
    sheet, _ = _sheet(weights.split(columns), empty=math.nan)
    default = f"What {style.count(len(weights), 'hidden unit')} look for in the pixels"
    height = 0.6 + _height(sheet, min(style.WIDTH - 1.2, sheet.shape[1] / SIDE))
    fig, ax = _drawn(title or default, sheet, height, limit)
    _colour_bar(ax, low=bool(weights.min() < -limit), high=bool(weights.max() > limit))
    ax.set_axis_off()
    return fig


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
    pictures = [row.float() for row in _alike(rows)]
    if columns is not None and len(columns) != len(pictures[0]):
        raise FedkitError(
            f"has {len(columns)} labels for {len(pictures[0])} pictures in a row",
            field="columns",
            remedy="give one label a picture, or none at all",
        )
    sheet, corners = _sheet(pictures, NARROW_GAP, empty=math.nan)
    shown = title or f"{style.count(len(pictures), 'model')}, pixel by pixel"
    height = 0.9 + _height(sheet, style.WIDTH - 2.0)
    fig, ax = _drawn(shown, sheet, height, _limit(sheet))
    _colour_bar(ax, low=True, high=True)
    _name_rows(ax, rows, corners, columns or (), xlabel)
    return fig


def masked_rows(rows: Mapping[str, Tensor], *, title: str | None = None) -> Figure:
    """What several people send, and what comes out: a row of 28 x 28 pictures a name, red above zero, blue below.

    rows : name -> numbers [K,784], the same K for all; each row fills its own colours. Raises FedkitError if there are
    no rows, or one has another shape.
    """
    pictures = [row.double() / _limit(row.double()) for row in _alike(rows)]
    sheet, corners = _sheet(pictures, NARROW_GAP, empty=math.nan)
    shown = title or f"{style.count(len(pictures), 'row')} of weights"
    fig, ax = _drawn(shown, sheet, 0.7 + _height(sheet, style.WIDTH - 1.5), 1)
    ax.set_anchor("C")
    _name_rows(ax, rows, corners)
    return fig


# ------------------------------------------------------------------------------------- the sheets
def _squares(images: Tensor, field: str) -> Tensor:
    """The images as pictures [N,28,28]. Raises FedkitError for what has other sides, or colours, or is no image."""
    if images[:1].numel() not in (0, SIDE * SIDE):
        raise FedkitError(
            f"of shape {list(images.shape)} are no grey images of {SIDE} x {SIDE} pixels",
            field=field,
            remedy="this picture is for digits; draw yours with plt.imshow(image.permute(1, 2, 0)), "
            "or count their labels with label_bars",
        )
    return images.reshape(-1, SIDE, SIDE)


def _alike(rows: Mapping[str, Tensor]) -> list[Tensor]:
    """The rows as pictures [K,28,28]. Raises FedkitError unless all have one shape [K,784]."""
    style.need(rows, "rows")
    count = len(next(iter(rows.values())))
    for name, row in rows.items():
        if row.shape != (count, SIDE * SIDE) or not count:
            raise FedkitError(
                f"has shape {list(row.shape)}, not [{count or 'at least 1'}, 784]",
                field=f"rows[{name!r}]",
                remedy="give each row as many pictures as the first, 784 pixels each",
            )
    return [row.detach().reshape(-1, SIDE, SIDE) for row in rows.values()]


def _limit(weights: Tensor) -> float:
    """The size that 99.5 % of the weights don't exceed; NaN is no weight."""
    return float(weights.abs().flatten().nanquantile(WITHIN)) or 1.0


def _sheet(
    rows: Sequence[Sequence[Tensor] | Tensor],
    gap: int = GAP,
    below: Sequence[int] = (),
    empty: float = 0.0,
) -> tuple[Tensor, list[list[Corner]]]:
    """Rows of pictures [K,28,28] on one sheet, and row by row their corners. below : pixels for each row's captions."""
    import torch  # slow to import, and not every picture needs it

    *tops, end = accumulate((SIDE + gap + n for n in below or [0] * len(rows)), initial=0)
    sheet = torch.full((end - gap, len(rows[0]) * (SIDE + gap) - gap), empty)
    columns = range(0, sheet.shape[1], SIDE + gap)
    corners = [[(x, y) for x in columns[: len(row)]] for row, y in zip(rows, tops, strict=True)]
    for picture, (x, y) in zip(chain(*rows), chain(*corners), strict=True):
        sheet[y : y + SIDE, x : x + SIDE] = picture
    return sheet, corners


def _height(sheet: Tensor, width: float) -> float:
    """Inches of a sheet that is so many inches wide."""
    return width * sheet.shape[0] / sheet.shape[1]


def _drawn(
    title: str, sheet: Tensor, height: float, limit: float | None = None
) -> tuple[Figure, Axes]:
    """The sheet on a figure of that height. limit : of weights, at both ends of the colours; None for ink from 0 to 1."""
    fig, ax = style.figure(title, height)
    low, high, colours = (0.0, 1.0, "gray_r") if limit is None else (-limit, limit, "RdBu_r")
    ax.imshow(sheet.numpy(), colours, vmin=low, vmax=high, interpolation="nearest")
    ax.set_anchor("NW")
    return fig, ax


def _caption(ax: Axes, corners: Iterable[Corner], texts: Sequence[str], size: float) -> None:
    for (x, y), text in zip(corners, texts, strict=False):
        ax.text(x + SIDE / 2, y + SIDE + 1, text, style.MIDDLE, va="top", fontsize=size)


def _name_rows(
    ax: Axes,
    names: Iterable[str],
    corners: Sequence[Sequence[Corner]],
    columns: Sequence[object] = (),
    xlabel: str = "",
) -> None:
    """Names to the left of the rows, labels below the columns."""
    ax.set_xticks([x + SIDE / 2 for x, _ in corners[0][: len(columns)]], [str(c) for c in columns])
    ax.set_yticks([row[0][1] + SIDE / 2 for row in corners], [style.plain(n) for n in names])
    style.dress(ax, xlabel, grid="")
    style.no_frame(ax)


def _colour_bar(ax: Axes, low: bool, high: bool) -> None:
    """What the colours mean. low, high : are there weights beyond that end?"""
    beyond = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[low, high]
    bar = ax.figure.colorbar(ax.images[0], ax=ax, fraction=0.03, pad=0.02, extend=beyond)
    bar.set_label("weight of a pixel", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, labelcolor=style.INK, color=style.GREY)
