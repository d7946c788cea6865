"""Pictures made of pixels: sheets of digits, and weights that look back at their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["digit_grid", "weight_images"]

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
