"""How every picture looks: one size, one palette, and helpers that say names, shares and bytes the same way.

Everything is set on the artists and nothing in matplotlib's global settings, so a learner's own plots stay as they are.
Colours: Okabe and Ito 2008, "Color Universal Design"; a line's marker goes with its colour, for those who see no colours.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many as count

__all__ = [
    "BESIDE",
    "COLOURS",
    "MARKERS",
    "MIDDLE",
    "WIDTH",
    "cells",
    "count",
    "dress",
    "figure",
    "legend",
    "legend_of_panels",
    "name_cells",
    "need",
    "need_each",
    "no_frame",
    "panels",
    "percent_axis",
    "plain",
    "readable_on",
    "rule_cells",
    "short",
    "size_text",
]


WIDTH = 7.0  # inches; 700 pixels on the page
INK, GREY, PALE, PAPER = "#1a1a1a", "#595959", "#e3e3e3", "white"
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
TEXT, SMALL, TITLE = 10.0, 9.0, 12.0  # points
MONO = "DejaVu Sans Mono"  # comes with matplotlib, so trees look the same everywhere
TITLE_LETTERS = 66  # what fits into a line of the title
FIFTHS = ([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0%", "20%", "40%", "60%", "80%", "100%"])
_LEGEND = {"fontsize": TEXT, "frameon": False, "labelcolor": INK}
MIDDLE = {"ha": "center", "va": "center", "fontsize": TEXT, "color": INK}
"""The look of a text with its middle at a point of the data; in a name, `plain` keeps matplotlib's formulas off."""
BESIDE: dict[str, Any] = {"textcoords": "offset points", "fontsize": TEXT, "color": INK}
"""The look of an annotation so many points (1/72 inch) from a point of the data."""


# ------------------------------------------------------------------------------- figures and axes
def figure(title: str, height: float = 3.6) -> tuple[Figure, Axes]:
    """An empty white figure (height in inches) with one Axes, its message as the title."""
    fig, (ax,) = panels(title, 1, height=height)
    return fig, ax


def panels(
    title: str, count: int, *, height: float, columns: int | None = None, alike: str = ""
) -> tuple[Figure, list[Axes]]:
    """A figure with so many Axes side by side, or in rows of `columns`; each gives its lines colours and markers in turn.

    alike : the axes that they share ("y", "xy"); only panels at the edge then have numbers.
    """
    fig = Figure(figsize=(WIDTH, height), facecolor=PAPER, layout="constrained")
    lines = [textwrap.fill(plain(line), TITLE_LETTERS) for line in title.splitlines()]
    fig.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=TITLE, fontweight="bold", color=INK)
    columns = columns or count
    axes = fig.subplots(
        -(-count // columns), columns, sharex="x" in alike, sharey="y" in alike, squeeze=False
    )
    for ax in axes.flat:
        ax.set_prop_cycle(color=COLOURS, marker=MARKERS)
    for ax in axes.flat[count:]:
        ax.remove()
    return fig, list(axes.flat[:count])


def dress(ax: Axes, xlabel: str = "", ylabel: str = "", grid: str = "y") -> None:
    """Labels with their units, two quiet spines, and a grid behind the data along "x", "y" or ""."""
    ax.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    ax.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    ax.tick_params(labelsize=TEXT, labelcolor=INK, color=GREY)
    ax.spines[:].set_color(GREY)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(False)
    if grid:
        ax.grid(True, axis=grid, color=PALE, linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def no_frame(ax: Axes) -> None:
    """Labels stay, spines and tick marks go."""
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def percent_axis(ax: Axes) -> None:
    """The y axis from 0 to 100 %, for shares in 0..1, with room for a label above the highest."""
    ax.set_ylim(0, 1.08)
    ax.set_yticks(*FIFTHS)


def legend(ax: Axes, below: int = 0) -> None:
    """Who is who, to the right of the plot, where no line can hide it; or below, in so many columns."""
    if below:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=below, **_LEGEND)
    else:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=2.4, **_LEGEND)


def legend_of_panels(fig: Figure, columns: int) -> None:
    """Who is who in all panels, below them."""
    handles, labels = fig.axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=columns, **_LEGEND)


# ----------------------------------------------------------------------------------------- tables
def cells(
    ax: Axes, values: Sequence[Sequence[float]], texts: Sequence[Sequence[str]], highest: float
) -> None:
    """A table: a cell is the bluer the nearer its value (>= 0) is to `highest`, and says it in its text."""
    blues = LinearSegmentedColormap.from_list("blues", [PAPER, "#cfe4f1", SKY, BLUE])
    ax.imshow(values, cmap=blues, vmin=0, vmax=highest or 1, aspect="auto")
    for y, row in enumerate(texts):
        for x, text in enumerate(row):
            ink = readable_on(blues(values[y][x] / (highest or 1)))
            ax.text(x, y, text, MIDDLE, color=ink)
    rule_cells(ax, len(texts), len(texts[0]), PALE, 1)


def rule_cells(ax: Axes, rows: int, columns: int, colour: str, width: float) -> None:
    """Lines between the cells."""
    for edge in range(1, rows):
        ax.axhline(edge - 0.5, color=colour, linewidth=width)
    for edge in range(1, columns):
        ax.axvline(edge - 0.5, color=colour, linewidth=width)


def name_cells(
    ax: Axes,
    columns: Sequence[str],
    rows: Sequence[str],
    xlabel: str = "",
    ylabel: str = "",
    above: bool = False,
) -> None:
    """The names of a table's columns and rows, and nothing else around it. above : the columns' names stand on top."""
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    if above:
        ax.xaxis.tick_top()
    dress(ax, xlabel, ylabel, grid="")
    no_frame(ax)


# ------------------------------------------------------------------------------------------ words
def plain(text: str) -> str:
    """A text that matplotlib takes literally: a `$` in a name opens no formula."""
    return text.replace("$", r"\$")


def short(names: Iterable[str]) -> dict[str, str]:
    """For each e-mail (or any other name) what stands in the picture: the part before the @ where that is unique."""
    names = list(names)
    heads = [name.partition("@")[0] for name in names]
    return {n: plain(h if heads.count(h) == 1 else n) for n, h in zip(names, heads, strict=True)}


def size_text(size: float) -> str:
    """A number of bytes as a person says it (1 kB is 1,000 bytes)."""
    if size < 1_000:
        return f"{size:.0f} B"
    if size < 9_950:
        return f"{size / 1e3:.1f} kB"
    if size < 999_500:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.1f} MB"


def readable_on(colour: object) -> str:
    """Black or white, whichever has more contrast on `colour` (WCAG 2.1, relative luminance)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in to_rgb(colour)  # type: ignore[arg-type]
    ]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return PAPER if luminance < 0.2 else INK


def need(data: Sized, field: str) -> None:
    """Raises FedkitError if there is nothing to draw."""
    if len(data) == 0:
        raise FedkitError("has nothing to draw", field=field, remedy="give it at least one entry")


def need_each(data: Mapping[str, Sized], field: str) -> None:
    """The same, also of every entry."""
    need(data, field)
    for name, values in data.items():
        need(values, f"{field}[{name!r}]")
