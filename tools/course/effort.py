"""How long a lesson takes a learner, from what is in it: one formula, so that no author guesses.

    minutes = words / 238 + cells / 4 + lines / 15 + predictions + 3 exercises + 8 designs + questions, rounded to 5

238 words a minute is what adults read silently of English non-fiction, on average over 190 studies; most read 175 to
300, and less where English is their second language (Brysbaert 2019, How many words do we read per minute?, Journal of
Memory and Language 109, 104047). The other rates are estimates, and nobody has measured them: a quarter of a minute to
run a code cell and look at what it gives, four seconds to read a line of code, a minute to predict, and one for a
question of the quiz with its options, three minutes for an exercise, and eight for one that is tagged `design` too, in
which settings are tried and changed until they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from fedkit.base.errors import FedkitError
from fedkit.teaching.quiz import read_quiz
from tools.course.lesson import Cell, Lesson
from tools.course.lint_code import solved_or_not

__all__ = ["RATES", "Effort", "by_section", "effort", "minutes", "rounded"]


@dataclass(frozen=True)
class Effort:
    """What a learner has to read, run and answer, in counts; as `RATES`, in minutes for each."""

    words: float = 0
    cells: float = 0
    lines: float = 0
    predictions: float = 0
    exercises: float = 0
    designs: float = 0
    questions: float = 0

    def __add__(self, other: Effort) -> Effort:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Effort(*(mine + theirs for mine, theirs in pairs))

    @property
    def minutes(self) -> float:
        """By the formula of this module, not rounded."""
        pairs = zip(astuple(self), astuple(RATES), strict=True)
        return float(sum(count * each for count, each in pairs))


RATES = Effort(1 / 238, 1 / 4, 1 / 15, 1, 3, 8, 1)


def effort(lesson: Lesson) -> Effort:
    """Everything in a lesson, in counts, but what stands below `### For the teacher`; of a translation, its original's."""
    return sum((_of(cell) for cell in _of_learners(lesson.original or lesson)), start=Effort())


def _of_learners(lesson: Lesson) -> Iterator[Cell]:
    """The cells that a learner works through: a part for the teacher lasts to the next section."""
    teachers = False
    for cell in lesson.cells:
        if cell.kind == "markdown":
            teachers = cell.source.startswith("### For the teacher") or (
                teachers and not cell.source.startswith("## ")
            )
        if not teachers:
            yield cell


def minutes(lesson: Lesson) -> int:
    """A learner's minutes for a lesson, rounded to 5, at least 5."""
    return rounded(effort(lesson).minutes)


def by_section(lesson: Lesson) -> dict[str, float]:
    """A learner's minutes for each section, not rounded: its heading -> minutes. What comes first has the title."""
    found, heading = {lesson.title: 0.0}, lesson.title
    for cell in _of_learners(lesson):
        match = re.match(r"## +(.+?) *$", cell.source, re.MULTILINE)
        heading = match[1] if match and cell.kind == "markdown" else heading
        found[heading] = found.get(heading, 0.0) + _of(cell).minutes
    return found


def rounded(exact: float) -> int:
    """Minutes to the next 5: nobody knows them better."""
    return max(5, 5 * round(exact / 5))


def _of(cell: Cell) -> Effort:
    if cell.kind == "markdown":
        text = re.sub(r"\]\([^)]*\)|<[^>]+>", " ", cell.source)  # no addresses, no tags
        return Effort(
            words=len(re.findall(r"[\w’'-]*\w[\w’'-]*", text)),
            predictions=len(re.findall(r"^> \*\*Predict\b", text, re.MULTILINE)),
        )
    lines = [line for line in solved_or_not(cell).splitlines() if line.strip()]
    design = "design" in cell.tags
    return Effort(
        cells=1,
        lines=len(lines),
        exercises="exercise" in cell.tags and not design,
        designs="exercise" in cell.tags and design,
        questions=sum(map(_asked, re.findall(r'\bfk\.quiz\("(\d\d)"\)', cell.source))),
    )


def _asked(name: str) -> int:
    try:
        return len(read_quiz(name))
    except (
        FedkitError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # an unreadable one is another rule's business
        return 0
