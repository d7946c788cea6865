"""The course on one page: fourteen lessons as a path through five stretches."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LESSONS", "course_map"]


LESSONS = (
    "Start here",
    "A datasite is a folder",
    "Configure an experiment",
    "Train as a client",
    "Aggregate",
    "Round control and failures",
    "When datasites differ",
    "Strategies compared fairly",
    "What an update reveals",
    "Differential privacy",
    "Secure aggregation",
    "Batch experiments",
    "Beyond the laptop",
    "Capstone",
)
"""Titles by number; a test holds them against the lessons' own."""

STRETCHES = (
    ("The tutorial", 0, 4, style.BLUE),
    ("The real world", 5, 7, style.VERMILLION),
    ("Privacy", 8, 10, style.GREEN),
    ("At scale", 11, 12, style.PURPLE),
    ("Your own", 13, 13, style.ORANGE),
)
"""Name, first and last lesson, colour."""

COLUMN, GAP, ROW, BOX = 1.4, 0.14, 0.74, 0.56  # inches; a box is COLUMN - GAP wide and BOX high


def course_map(here: int | None = 0, *, title: str | None = None) -> Figure:
    """The path of the course: five stretches from left to right, each from top to bottom.

    here : the lesson that is marked (0 to 13), or None. Raises FedkitError if there is no such lesson.
    """
    if here is not None and not 0 <= here < len(LESSONS):
        raise FedkitError(
            f"has no lesson {here}", field="here", remedy=f"use 0 to {len(LESSONS) - 1}, or None"
        )
    deepest = max(last - first for _, first, last, _ in STRETCHES) + 1
    height = ROW * (deepest + 1)
    default = f"The course: {len(LESSONS)} lessons in {len(STRETCHES)} stretches"
    default += f"; you are at {here:02d}" if here is not None else ""
    fig, ax = style.figure(title or default, height=height + 0.35)
    ax.set(xlim=(-0.02, COLUMN * len(STRETCHES)), ylim=(height, 0))
    for column, (name, first, last, colour) in enumerate(STRETCHES):
        left = COLUMN * column
        _sign_post(ax, left, name, colour)
        for lesson in range(first, last + 1):
            top = ROW * (lesson - first + 1)
            _box(ax, left, top, lesson, colour, lesson == here)
            if lesson < last:
                _arrow(ax, left + (COLUMN - GAP) / 2, top + BOX, top + ROW)
    ax.set_axis_off()
    return fig


def _sign_post(ax: Axes, left: float, name: str, colour: str) -> None:
    from matplotlib.patches import Polygon

    right, tip = left + COLUMN - GAP, left + COLUMN - 0.03
    corners = [(left, 0.1), (right, 0.1), (tip, 0.3), (right, 0.5), (left, 0.5)]
    ax.add_patch(Polygon(corners, facecolor=colour))
    _write(ax, left + 0.1, 0.3, name, style.readable_on(colour), bold=True)


def _box(ax: Axes, left: float, top: float, lesson: int, colour: str, here: bool) -> None:
    from matplotlib.patches import Rectangle

    ink = style.readable_on(colour) if here else style.INK
    face = colour if here else style.PAPER
    corner = (left, top)
    ax.add_patch(Rectangle(corner, COLUMN - GAP, BOX, facecolor=face, edgecolor=colour, lw=2))
    _write(ax, left + 0.08, top + BOX / 2, f"{lesson:02d}", ink, bold=True)
    name = textwrap.fill(LESSONS[lesson], 13)
    _write(ax, left + 0.34, top + BOX / 2, name, ink, size=style.SMALL)


def _write(
    ax: Axes, x: float, y: float, text: str, ink: str, size: float = style.TEXT, bold: bool = False
) -> None:
    weight = "bold" if bold else "normal"
    middle = "center" if "\n" in text else "center_baseline"  # else a "y" would lift its line
    ax.text(x, y, text, va=middle, fontsize=size, fontweight=weight, color=ink, linespacing=1.1)


def _arrow(ax: Axes, x: float, start: float, end: float) -> None:
    look = {"arrowstyle": "-|>", "color": style.GREY, "linewidth": 1.4, "shrinkA": 2, "shrinkB": 2}
    ax.annotate("", (x, end), (x, start), arrowprops=look)
