"""How a lesson's minutes fall on its sections, for the teacher's notes in `notebooks/teaching/NN.md`.

The card says how long the whole lesson takes. Here its minutes are dealt out in proportion to what a section asks of a
learner: words to read, lines of code to follow, pictures to look at, predictions, exercises and the quiz.
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.course.lesson import Cell, Lesson
from tools.course.lint import words

__all__ = ["AT_HOME", "ROW", "notes_path", "section_minutes", "sections_of", "with_minutes"]


AT_HOME = ("Readings", "Next")
"""Sections that no class spends time on."""

# seconds; only their proportions count
_A_WORD = 0.4
_A_LINE = 4.0
_A_PICTURE = 25.0
_A_PREDICTION = 60.0
_AN_EXERCISE = 240.0
_THE_QUIZ = 240.0

_HEADING = re.compile(r"\A\s*## +(.+?) *$", re.MULTILINE)
ROW = re.compile(r"^\| (?P<section>[^|]+?) \| (?P<minutes>\d+) \|(?P<rest>.*)$", re.MULTILINE)
"""A line of the table under `## Time`."""


def sections_of(lesson: Lesson) -> dict[str, list[Cell]]:
    """The headings of a lesson with their cells; what stands before the first one is part of it."""
    found: dict[str, list[Cell]] = {}
    before: list[Cell] = []
    for cell in lesson.cells:
        heading = _HEADING.match(cell.source) if cell.kind == "markdown" else None
        if heading:
            found[heading[1]] = [*before, cell]
            before = []
        elif found:
            found[next(reversed(found))].append(cell)
        else:
            before.append(cell)
    return {title: cells for title, cells in found.items() if title not in AT_HOME}


def section_minutes(lesson: Lesson) -> dict[str, int]:
    """Whole minutes for each section, at least 1 each, that add up to the card's.

    Raises ValueError for a lesson with fewer minutes than sections.
    """
    effort = {title: sum(map(_seconds, cells)) for title, cells in sections_of(lesson).items()}
    spare = lesson.card.minutes - len(effort)
    if spare < 0:
        raise ValueError(f"{lesson.name} has {len(effort)} sections in {lesson.card.minutes} min")
    whole = sum(effort.values())
    exact = {title: lesson.card.minutes * part / whole for title, part in effort.items()}
    minutes = {title: max(1, int(value)) for title, value in exact.items()}
    while (left := lesson.card.minutes - sum(minutes.values())) != 0:
        step = 1 if left > 0 else -1
        fair = {t: step * (exact[t] - minutes[t]) for t in exact if minutes[t] + step >= 1}
        minutes[max(fair, key=lambda title: fair[title])] += step
    return minutes


def with_minutes(notes: str, lesson: Lesson) -> str:
    """A lesson's notes with the minutes of its table as they are now; what else stands in a row stays."""
    minutes = section_minutes(lesson)
    return ROW.sub(
        lambda row: (
            f"| {row['section']} | {minutes[row['section']]} |{row['rest']}"
            if row["section"] in minutes
            else row[0]
        ),
        notes,
    )


def notes_path(lesson: Lesson) -> Path:
    """Where the teacher's notes of a source in `notebooks/src/` lie."""
    return lesson.path.parents[1] / "teaching" / f"{lesson.number:02d}.md"


def _seconds(cell: Cell) -> float:
    if cell.kind == "code":
        lines = [line for line in cell.source.splitlines() if line.strip()]
        pictures = cell.source.count("fk.show(")
        seconds = _A_LINE * len(lines) + _A_PICTURE * pictures
        seconds += _AN_EXERCISE * ("exercise" in cell.tags)
        return seconds + _THE_QUIZ * ("fk.quiz(" in cell.source)
    predictions = len(re.findall(r"^> \*\*Predict\b", cell.source, re.MULTILINE))
    return _A_WORD * words(cell.source) + _A_PREDICTION * predictions
