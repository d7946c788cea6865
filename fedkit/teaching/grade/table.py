"""The table: learner by exercise, the best of all attempts, with reasons; and where a class stops.

Nobody is told a total. What a row says is a state and whose word it is; marks are a teacher's.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fedkit.base.files import write_bytes
from fedkit.base.text import one_line
from fedkit.experiments.lessons import course_dir
from fedkit.experiments.side_by_side import side_by_side
from fedkit.teaching.grade.exercises import Lesson, read_course
from fedkit.teaching.grade.own_word import Word, own_word, suspicions
from fedkit.teaching.grade.pile import Submission, left_out, pile
from fedkit.teaching.grade.rerun import LIMIT_S, end_all, rerun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["OWN_WORD", "STATES", "Grade", "Row", "grade", "write_grades"]


STATES = ("right", "try again", "not yet", "not run", "missing", "not judged")
"""From the best to the last: of several attempts, the best counts."""
OWN_WORD = "These are the notebooks' own words: nobody has run them here, and outputs can be written by hand. Use --rerun."


@dataclass(frozen=True)
class Row:
    """One learner and one exercise, or quiz: its state, why, whose word that is, what to look at."""

    learner: str
    lesson: str
    name: str
    state: str
    reason: str
    judged: str  # "anew" or "its own word"
    look_at: str
    attempts: int
    notebook: str

    @property
    def quiz(self) -> bool:
        """Is it a quiz?"""
        return self.name.startswith("quiz")


@dataclass(frozen=True)
class Grade:
    """What became of a pile: the rows, the files that could not be read, what should be known of all of it."""

    rows: tuple[Row, ...]
    unreadable: tuple[Submission, ...]
    remarks: tuple[str, ...]

    @property
    def learners(self) -> list[str]:
        """Everybody of whom something lies there, in order."""
        return sorted(
            {row.learner for row in self.rows} | {s.learner for s in self.unreadable},
            key=str.casefold,
        )

    def progress(self, learner: str) -> tuple[int, int]:
        """How many exercises of the lessons that this learner has handed in are right, and how many there are."""
        mine = [row for row in self.rows if row.learner == learner and not row.quiz]
        return sum(row.state == "right" for row in mine), len(mine)

    def stops(self) -> Counter[tuple[str, str]]:
        """(lesson, exercise) -> so many learners of whom it is the first that is not right."""
        first: dict[str, tuple[str, str]] = {}
        for row in self.rows:
            if row.state != "right" and not row.quiz:
                first.setdefault(row.learner, (row.lesson, row.name))
        return Counter(first.values())

    def picture(self) -> Figure:
        """The class on one picture: how many have each exercise right, and where most stop."""
        from fedkit.teaching.plots import class_picture

        states: dict[str, list[str]] = {}
        for row in sorted(self.rows, key=lambda row: row.lesson):  # whoever hands in what
            if not row.quiz:
                states.setdefault(f"{row.lesson[:2]} {row.name}", []).append(row.state)
        stops = {f"{lesson[:2]} {name}": n for (lesson, name), n in self.stops().items()}
        return class_picture(states, stops)


@dataclass(frozen=True)
class _Judged:
    submission: Submission
    words: dict[str, Word]
    judged: str
    looks: dict[str, list[str]]
    left: tuple[str, ...] = ()


def grade(
    folder: Path,
    *,
    anew: bool = False,
    notebooks: Path | None = None,
    limit_s: float = LIMIT_S,
    jobs: int = 1,
    on_done: Callable[[Submission], object] | None = None,
) -> Grade:
    """Grade every notebook below `folder`.

    Parameters
    ----------
    anew : judge what is in the notebooks again, each in a bounded process; else take the notebooks' own word.
    notebooks : the folder of the course, with both editions; default: what came with fedkit, or `notebooks` here.
    limit_s : seconds for one notebook. jobs : how many are judged at once.
    on_done : called with each notebook that is done, from this thread.

    Raises FedkitError where there is no notebook at all; one that can't be read stops no other.
    """
    course = read_course(course_dir(notebooks, worked_on=False))
    found = pile(folder, course)
    good = [s for s in found if s.problem is None and s.lesson is not None]
    work = [partial(_judge, s, course[s.lesson or ""], anew, limit_s) for s in good]
    done: dict[int, _Judged] = {}

    def keep(number: int, judged: _Judged) -> None:
        done[number] = judged
        if on_done is not None:
            on_done(judged.submission)

    side_by_side(work, jobs if anew else 1, keep, end_all)
    judged = [done[number] for number in range(len(good))]
    remarks = dict.fromkeys(text for one in judged for text in one.left)
    if anew and any(one.words.get("quiz 1") for one in judged):
        remarks[
            "Of a quiz the notebook says what was chosen; the course's own key says whether it is right."
        ] = None
    if (others := left_out(folder)) is not None:
        remarks[others] = None
    rows = _rows(judged, folder)
    unreadable = tuple(s for s in found if s.problem is not None)
    return Grade(rows, unreadable, (*([] if anew else [OWN_WORD]), *remarks))


def _judge(submission: Submission, lesson: Lesson, anew: bool, limit_s: float) -> _Judged:
    try:
        return _judgement(submission, lesson, anew, limit_s)
    except Exception as error:  # one notebook stops no other, whatever is in it
        why = f"grading it stopped with {type(error).__name__}: {one_line(error)[:200]}"
        words = {exercise.name: Word("not judged", why) for exercise in lesson.exercises}
        return _Judged(submission, words, "anew" if anew else "its own word", {})


def _judgement(submission: Submission, lesson: Lesson, anew: bool, limit_s: float) -> _Judged:
    said, looks = own_word(submission, lesson), suspicions(submission, lesson)
    for text in submission.notes:
        looks.setdefault("", []).append(text)
    if not anew:
        return _Judged(submission, said, "its own word", looks)
    words, left = rerun(submission, lesson, limit_s=limit_s)
    for name, word in words.items():
        if said[name].state == "right" and word.state not in ("right", "not judged"):
            looks.setdefault(name, []).append(
                f"the notebook says right; run anew, it is {word.state}"
            )
    quizzes = {name: word for name, word in said.items() if name not in words}
    return _Judged(submission, words | quizzes, "anew", looks, tuple(left))


def _rows(judged: Sequence[_Judged], folder: Path) -> tuple[Row, ...]:
    attempts: dict[tuple[str, str], list[_Judged]] = {}
    names: dict[str, str] = {}
    for one in judged:
        who = names.setdefault(one.submission.learner.casefold(), one.submission.learner)
        attempts.setdefault((who, one.submission.lesson or ""), []).append(one)
    rows = []
    for (who, lesson), several in sorted(
        attempts.items(), key=lambda kept: (kept[0][0].casefold(), kept[0][1])
    ):
        for name in dict.fromkeys(name for one in several for name in one.words):
            best = min(
                (one for one in several if name in one.words),
                key=lambda one: STATES.index(one.words[name].state),
            )
            looks = [
                look for one in several for key in (name, "") for look in one.looks.get(key, [])
            ]
            rows.append(
                Row(
                    learner=who,
                    lesson=lesson,
                    name=name,
                    state=best.words[name].state,
                    reason=best.words[name].reason,
                    judged="its own word" if name.startswith("quiz") else best.judged,
                    look_at="; ".join(dict.fromkeys(looks)),
                    attempts=len(several),
                    notebook=best.submission.path.relative_to(folder).as_posix(),
                )
            )
    return tuple(rows)


COLUMNS = (
    "learner",
    "lesson",
    "name",
    "state",
    "reason",
    "judged",
    "look_at",
    "attempts",
    "notebook",
)


def write_grades(grades: Grade, path: Path) -> None:
    """Write the table as CSV: a row a learner and exercise, then one for each file that can't be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in grades.rows:
        writer.writerow([_cell(getattr(row, column)) for column in COLUMNS])
    for lost in grades.unreadable:
        values = {"learner": lost.learner, "lesson": lost.lesson or "", "state": "unreadable"}
        values |= {"reason": lost.problem or "", "notebook": lost.path.name}
        writer.writerow([_cell(values.get(column, "")) for column in COLUMNS])
    write_bytes(path, text.getvalue().encode("utf-8-sig"))  # so that a spreadsheet reads every name


_FORMULA = re.compile(r"(^|[;|])(\s*)(?=[=+\-@＝＋－＠])")
"""Where a cell begins, also in a country whose spreadsheets part them at a semicolon, and what makes it a formula."""


def _cell(value: object) -> str:
    """A text that a stranger chose, as a spreadsheet's cell: in one line, and no formula."""
    return _FORMULA.sub(r"\1\2'", one_line(value))
