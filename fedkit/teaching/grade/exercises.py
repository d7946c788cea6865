"""The exercises of a shipped lesson: what the learner writes, what the course gives, and the check's own call.

Both editions are read. What differs between them is the learner's; every other line is the course's own, and the course's
is what counts, whatever stands in a learner's copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.experiments.lessons import About, edition_dir, how_to_get_again, lesson_paths
from fedkit.teaching.grade.statements import Statement, calls_of, needed, statements
from fedkit.teaching.quiz import Question, read_quiz

__all__ = ["Argument", "Exercise", "Lesson", "both_editions", "read_course"]


@dataclass(frozen=True)
class Argument:
    """One argument of a check: its text, and whether the learner gives it."""

    text: str
    learners: bool


@dataclass(frozen=True)
class Exercise:
    """One exercise: its check's `name`, its cell, its arguments, the names that the learner gives."""

    name: str
    cell_id: str
    cell: int  # the check's, from 1
    arguments: tuple[Argument, ...]
    answers: frozenset[str]  # names that the learner gives
    stub: frozenset[str]  # the learner's statements while nothing is done, in plain form
    unwritten: tuple[str, ...]  # the check's arguments while nothing is done
    needs: frozenset[str]  # what the solution looks up
    defines: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments of the course's own call."""
        return tuple(argument.text for argument in self.arguments)


@dataclass(frozen=True)
class Lesson:
    """A shipped lesson: its file's stem, title, ids and statements of its cells, its exercises in order."""

    name: str
    title: str
    ids: frozenset[str]
    solved: tuple[Statement, ...]  # the course's statements, checks left out
    given: frozenset[
        str
    ]  # the course's own statements in plain form: in both editions, and no answer
    exercises: tuple[Exercise, ...]
    questions: tuple[Question, ...]  # of the quiz, with the course's own key
    sources: frozenset[str]  # of the code cells, as a learner gets them

    def context(self, exercise: Exercise, names: Sequence[str]) -> list[Statement]:
        """What these names hang on, of the course's own cells up to the check."""
        return needed([s for s in self.solved if s.cell <= exercise.cell], names)

    def until(self, exercise: Exercise) -> list[Statement]:
        """Every statement of the course's up to the check that does more than show something."""
        return [s for s in self.solved if s.cell <= exercise.cell and not s.shows]

    @cached_property
    def cheap(self) -> frozenset[str]:
        """Names that the course gives without computing anything: imports, functions, plain values."""
        return frozenset(name for s in self.solved if s.cheap for name in s.binds)

    @cached_property
    def by_name(self) -> dict[str, Exercise]:
        """Check's name -> exercise."""
        return {exercise.name: exercise for exercise in self.exercises}


def read_course(folder: Path) -> dict[str, Lesson]:
    """Every lesson of the course in `folder` by its file's stem. Raises FedkitError where an edition is missing."""
    found = {}
    for path in lesson_paths(folder):
        found[path.stem] = _lesson(path, *both_editions(path))
    return found


def both_editions(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A lesson's learner's and solved edition, as in .ipynb files. Raises FedkitError where they don't fit each other."""
    other = edition_dir(path.parent, "solutions") / path.name
    if not other.is_file():
        raise FedkitError(
            "has no solved edition, which this needs", file=other, remedy=how_to_get_again(other)
        )
    open_, done = _content(path), _content(other)
    ids, wanted = ([cell.get("id") for cell in one["cells"]] for one in (open_, done))
    if ids != wanted:
        raise FedkitError(
            "has other cells than its solved edition",
            file=path,
            why="Both come from one source, and somebody has changed one of them",
            remedy=how_to_get_again(path),
        )
    return open_, done


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        _ = content["metadata"].get, [cell["cell_type"] for cell in content["cells"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FedkitError(
            "is no notebook that can be read",
            file=path,
            why=str(error),
            remedy=how_to_get_again(path),
        ) from error
    return dict(content)


def _lesson(learner: Path, open_: dict[str, Any], done: dict[str, Any]) -> Lesson:
    about = About.model_validate(open_["metadata"].get("fedkit", {}))
    pool: list[Statement] = []
    given: set[str] = set()
    pending: tuple[str, frozenset[str], frozenset[str], frozenset[str], str] | None = None
    unwritten: dict[str, list[str]] = {}
    written: set[str] = set()  # by the learner, in this exercise or an earlier one
    exercises = []
    pairs = enumerate(zip(open_["cells"], done["cells"], strict=True), 1)
    for number, (theirs, ours) in pairs:
        if ours["cell_type"] != "code":
            continue
        mine = statements(number, "".join(ours["source"]))
        left_open = statements(number, "".join(theirs["source"]))
        stub = {s.plain for s in left_open}
        unwritten |= {name: given for s in left_open for name, given in calls_of(s.text)}
        tags = ours["metadata"].get("tags", [])
        if "exercise" in tags:
            theirs_ = [s for s in mine if s.plain not in stub]
            answers = frozenset(n for s in theirs_ for n in s.binds | s.touches) - {"fk"}
            left = frozenset(stub - {s.plain for s in mine})
            written |= answers
            needs = frozenset(name for s in theirs_ for name in s.needs)
            defines = next(
                (t.removeprefix("defines:") for t in tags if t.startswith("defines:")), ""
            )
            pending = ours["id"], answers, left, needs, defines
        for one in mine:
            calls = calls_of(one.text)
            if not calls:
                pool.append(one)
                if one.plain in stub:
                    given.add(one.plain)
            for name, arguments in calls:
                if pending is None:
                    continue
                cell_id, answers, left, needs, defines = pending
                there = unwritten.get(name, arguments)
                alike = len(there) == len(arguments)
                parts = tuple(
                    Argument(a, not alike or a != there[n] or _names(a) <= written)
                    for n, a in enumerate(arguments)
                )
                exercises.append(
                    Exercise(
                        name, cell_id, number, parts, answers, left, tuple(there), needs, defines
                    )
                )
    shown = any("".join(c["source"]).startswith("fk.quiz(") for c in open_["cells"])
    return Lesson(
        learner.stem,
        about.title,
        frozenset(cell["id"] for cell in open_["cells"]),
        tuple(pool),
        frozenset(given),
        tuple(exercises),
        read_quiz(learner.stem[:2]) if shown else (),
        frozenset("".join(c["source"]).strip() for c in open_["cells"] if c["cell_type"] == "code"),
    )


def _names(argument: str) -> frozenset[str]:
    return frozenset(name for s in statements(0, argument) for name in s.needs)
