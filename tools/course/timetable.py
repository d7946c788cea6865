"""How a lesson's minutes fall on its sections: the column of the table under `## Time` in `notebooks/teaching/NN.md`.

A class works through all sections but the readings and what comes next. Their minutes are in proportion to what
`effort.py` counts in each, whole, and add up to those on the lesson's card.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tools.course.effort import by_section, minutes
from tools.course.lesson import Lesson

__all__ = ["AT_HOME", "ROW", "TIME", "notes_path", "pages", "section_minutes"]


AT_HOME = ("Readings", "Next")
"""Sections that no class spends time on."""

TIME = re.compile(r"^## Time$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (?P<section>[^|]+?) \| (?P<minutes>\d+) \|(?P<rest>.*)$", re.MULTILINE)


def section_minutes(lesson: Lesson) -> dict[str, int]:
    """A class's minutes for each section, by its heading; what stands before the first one counts with it.

    They add up to the card's, but each is at least 1.
    """
    title, *headings = by_section(lesson).items()
    exact = {name: effort for name, effort in headings if name not in AT_HOME}
    if not exact:
        return {}
    exact[next(iter(exact))] += title[1]
    scale = minutes(lesson) / sum(exact.values())
    exact = {name: effort * scale for name, effort in exact.items()}
    whole = {name: max(1, int(value)) for name, value in exact.items()}
    while (left := minutes(lesson) - sum(whole.values())) != 0:
        step = 1 if left > 0 else -1
        off = {n: step * (exact[n] - whole[n]) for n in whole if whole[n] + step >= 1}
        if not off:
            break
        whole[max(off, key=lambda name: off[name])] += step
    return whole


def notes_path(lesson: Lesson) -> Path:
    """Where the teacher's notes of a source in `notebooks/src/` lie."""
    return lesson.path.parents[1] / "teaching" / f"{lesson.number:02d}.md"


def pages(course: Sequence[Lesson]) -> dict[Path, bytes]:
    """The teacher's notes that there are, with the minutes as they should be; every other word stays."""
    there = {notes_path(lesson): lesson for lesson in course if notes_path(lesson).is_file()}
    return {
        path: _with_minutes(path.read_text(encoding="utf-8"), section_minutes(lesson)).encode()
        for path, lesson in there.items()
    }


def _with_minutes(notes: str, wanted: dict[str, int]) -> str:
    def row(match: re.Match[str]) -> str:
        each = wanted.get(match["section"], match["minutes"])
        return f"| {match['section']} | {each} |{match['rest']}"

    return TIME.sub(lambda table: ROW.sub(row, table[0]), notes)
