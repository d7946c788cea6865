"""The course on one page: the lessons that there are, as a path through its stretches."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import about, course_dir, lesson_paths
from fedkit.teaching.plots import style

__all__ = ["course_map"]


STRETCHES = (
    ("The tutorial", 0, style.BLUE),
    ("The real world", 5, style.VERMILLION),
    ("Privacy", 8, style.GREEN),
    ("At scale", 11, style.PURPLE),
    ("Your own", 13, style.ORANGE),
)
"""Name, number of the first lesson, colour. A stretch without a lesson is not shown."""

COLUMN, GAP, ROW, BOX = 1.4, 0.14, 0.74, 0.56  # inches; a box is COLUMN - GAP wide and BOX high


def course_map(here: int | None = 0, *, title: str | None = None) -> Figure:
    """The path of the course: its stretches from left to right, the lessons of each from top to bottom.

    here : the number of the lesson that is marked, or None. Lessons and titles are those of the notebooks
    (`fedkit course list`). Raises FedkitError if there are none, or none of that number.
    """
    names = {
        int(path.stem[:2]): about(path).title or path.stem for path in lesson_paths(course_dir())
    }
    if here is not None and here not in names:
        known = ", ".join(map(str, names))
        raise FedkitError(f"has no lesson {here}", field="here", remedy=f"use {known}, or None")
    starts = [first for _, first, _ in STRETCHES]
    columns = {first: [n for n in names if _start(n, starts) == first] for first in starts}
    walked = [stretch for stretch in STRETCHES if columns[stretch[1]]]
    height = ROW * (max(map(len, columns.values())) + 1)
    default = f"The course: {style.count(len(names), 'lesson')} in {len(walked)} stretches"
    default += f"; you are at {here:02d}" if here is not None else ""
    fig, ax = style.figure(title or default, height=height + 0.35)
    ax.set(xlim=(-0.02, COLUMN * len(walked)), ylim=(height, 0))
    for column, (name, first, colour) in enumerate(walked):
        left = COLUMN * column
        _sign_post(ax, left, name, colour)
        for place, lesson in enumerate(columns[first], start=1):
            _box(ax, left, ROW * place, f"{lesson:02d}", names[lesson], colour, lesson == here)
            if lesson != columns[first][-1]:
                _arrow(ax, left + (COLUMN - GAP) / 2, ROW * place + BOX, ROW * (place + 1))
    ax.set_axis_off()
    return fig


def _start(lesson: int, starts: list[int]) -> int:
    """The first lesson of the stretch that a lesson belongs to."""
    return max(start for start in starts if start <= lesson)


def _sign_post(ax: Axes, left: float, name: str, colour: str) -> None:
    right, tip = left + COLUMN - GAP, left + COLUMN - 0.03
    corners = [(left, 0.1), (right, 0.1), (tip, 0.3), (right, 0.5), (left, 0.5)]
    ax.add_patch(Polygon(corners, facecolor=colour))
    _write(ax, left + 0.1, 0.3, name, style.readable_on(colour), bold=True)


def _box(
    ax: Axes, left: float, top: float, number: str, name: str, colour: str, here: bool
) -> None:
    ink = style.readable_on(colour) if here else style.INK
    face = colour if here else style.PAPER
    corner = (left, top)
    ax.add_patch(Rectangle(corner, COLUMN - GAP, BOX, facecolor=face, edgecolor=colour, lw=2))
    _write(ax, left + 0.08, top + BOX / 2, number, ink, bold=True)
    lines = textwrap.fill(name, 13)
    _write(ax, left + 0.34, top + BOX / 2, lines, ink, size=style.SMALL)


def _write(
    ax: Axes, x: float, y: float, text: str, ink: str, size: float = style.TEXT, bold: bool = False
) -> None:
    weight = "bold" if bold else "normal"
    middle = "center" if "\n" in text else "center_baseline"  # else a "y" would lift its line
    ax.text(x, y, text, va=middle, fontsize=size, fontweight=weight, color=ink, linespacing=1.1)


def _arrow(ax: Axes, x: float, start: float, end: float) -> None:
    look = {"arrowstyle": "-|>", "color": style.GREY, "linewidth": 1.4, "shrinkA": 2, "shrinkB": 2}
    ax.annotate("", (x, end), (x, start), arrowprops=look)
