"""The course on one page: the lessons that there are, as a path through its stretches, with the time for each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import about, course_dir, hours, lesson_paths
from fedkit.teaching.plots import style

__all__ = ["course_map", "stretches"]


STRETCHES = (
    ("The tutorial", 0, style.BLUE),
    ("The real world", 5, style.VERMILLION),
    ("Privacy", 8, style.GREEN),
    ("At scale", 11, style.PURPLE),
    ("Your own", 13, style.ORANGE),
)
"""Name, number of the first lesson, colour. A stretch without a lesson is not shown."""

COLUMN, GAP, ROW, BOX = 1.4, 0.14, 0.74, 0.56  # inches; a box is COLUMN - GAP wide and BOX high


def stretches(numbers: Iterable[int]) -> dict[str, list[int]]:
    """The stretches that have a lesson, in order: name -> numbers of their lessons."""
    starts = [first for _, first, _ in STRETCHES]
    found: dict[str, list[int]] = {name: [] for name, _, _ in STRETCHES}
    for number in sorted(numbers):
        start = max(first for first in starts if first <= number)
        found[STRETCHES[starts.index(start)][0]].append(number)
    return {name: there for name, there in found.items() if there}


def course_map(here: int | None = 0, *, title: str | None = None) -> Figure:
    """The path of the course: its stretches from left to right, the lessons of each from top to bottom.

    here : the number of the lesson that is marked, or None. Lessons, titles and minutes are those of the notebooks
    (`fedkit course list`); the minutes stand below each number, as 45′. Raises FedkitError if there are no lessons, or none
    of that number.
    """
    paths = {int(path.stem[:2]): path for path in lesson_paths(course_dir())}
    told = {number: about(path) for number, path in paths.items()}
    names = {number: told[number].title or path.stem for number, path in paths.items()}
    if here is not None and here not in names:
        known = ", ".join(map(str, names))
        raise FedkitError(f"has no lesson {here}", field="here", remedy=f"use {known}, or None")
    columns = stretches(names)
    height = ROW * (max(map(len, columns.values())) + 1)
    default = f"The course: {style.count(len(names), 'lesson')} in {len(columns)} stretches"
    default += f"; you are at {here:02d}" if here is not None else ""
    fig, ax = style.figure(title or default, height=height + 0.35)
    ax.set(xlim=(-0.02, COLUMN * len(columns)), ylim=(height, 0))
    colours = {name: colour for name, _, colour in STRETCHES}
    for column, (name, lessons) in enumerate(columns.items()):
        left, colour = COLUMN * column, colours[name]
        time = sum(told[lesson].minutes for lesson in lessons)
        _sign_post(ax, left, name, hours(time) if time else "", colour)
        for place, lesson in enumerate(lessons, start=1):
            minutes = told[lesson].minutes
            label = f"{lesson:02d}", f"{minutes}′" if minutes else ""
            _box(ax, left, ROW * place, label, names[lesson], colour, lesson == here)
            if lesson != lessons[-1]:
                _arrow(ax, left + (COLUMN - GAP) / 2, ROW * place + BOX, ROW * (place + 1))
    ax.set_axis_off()
    return fig


def _sign_post(ax: Axes, left: float, name: str, time: str, colour: str) -> None:
    right, tip = left + COLUMN - GAP, left + COLUMN - 0.03
    corners = [(left, 0.1), (right, 0.1), (tip, 0.3), (right, 0.5), (left, 0.5)]
    ax.add_patch(Polygon(corners, facecolor=colour))
    ink = style.readable_on(colour)
    _write(ax, left + 0.1, 0.22 if time else 0.3, name, ink, bold=True)
    _write(ax, left + 0.1, 0.4, time, ink, size=style.SMALL)


def _box(
    ax: Axes, left: float, top: float, label: tuple[str, str], name: str, colour: str, here: bool
) -> None:
    ink = style.readable_on(colour) if here else style.INK
    face = colour if here else style.PAPER
    corner = (left, top)
    ax.add_patch(Rectangle(corner, COLUMN - GAP, BOX, facecolor=face, edgecolor=colour, lw=2))
    number, minutes = label
    _write(ax, left + 0.08, top + (0.37 if minutes else 0.5) * BOX, number, ink, bold=True)
    _write(ax, left + 0.08, top + 0.74 * BOX, minutes, ink, size=style.SMALL)
    lines = textwrap.fill(name, 12)
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
