"""The rules of a lesson, one small function each; a broken rule says where, what, and what to do.

`lint(path)` holds one source against all of them. What differs between the first notebook and the rest is data, a
`Shape`. The rules for prose and structure stand here, those for code in `lint_code` and `lint_exercises`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.teaching.quiz import read_quiz
from tools.course import lint_code, lint_exercises
from tools.course.lesson import Cell, Lesson, Problem, read_lesson

__all__ = ["LESSON", "START", "Shape", "lint"]


CLOSING = ("What the aggregator saw", "Recap", "Quiz", "Readings", "Next")
NUMBER = r"(\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty)"
COUNTED = {
    rf"\bsections? {NUMBER}\b": "name what stands there: sections have no numbers, and come and go",
    rf"\b{NUMBER} (other |more )?(lessons|notebooks)\b": "leave the number out: lessons are added",
    r"\b(last|final) (lesson|notebook)\b": "say it without: lessons are added",
    r"\b(first|second|third|fourth|fifth|\d+(st|nd|rd|th)) (code )?cell\b": "say what the cell does",
}
"""What a text must not count, since it changes elsewhere, and what to do."""
FORBIDDEN = re.compile(r"\b(simply|just|obviously)\b", re.IGNORECASE)
ROLE = re.compile(
    r"^\*\*(Aggregator|Outsider|[A-Z]\w+, (participant|aggregator|outsider)[^*]*)\*\*", re.MULTILINE
)
ROLE_HEADING = re.compile(
    r"^#+ *(Aggregator|Outsider|\w+, (participant|aggregator|outsider))\b", re.MULTILINE
)
BULLET = re.compile(r"^ {0,3}[*-] \S", re.MULTILINE)

Found = Iterator[tuple[Cell | None, str, str]]


@dataclass(frozen=True)
class Shape:
    """What a lesson must have: sections (fewest, most), Predict boxes, exercises, closing headings, role lines."""

    sections: tuple[int, int] = (4, 6)
    words: tuple[int, int] = (40, 120)
    predicts: int = 2
    exercises: int = 2
    closing: tuple[str, ...] = CLOSING
    roles: int = 1


LESSON = Shape()
START = Shape((2, 6), predicts=1, exercises=0, closing=("Recap", "Next"), roles=0)  # notebook 00


def lint(path: Path) -> list[Problem]:
    """Every broken rule in a lesson's source, in the order of the rules; an empty list if there is none."""
    try:
        lesson = read_lesson(path)
    except FedkitError as error:
        what = ": ".join(part for part in (error.field, error.what, error.why) if part)
        return [Problem(path, None, what, error.remedy or "see CONTRIBUTING.md")]
    shape = START if lesson.number == 0 else LESSON
    problems = [Problem(path, *found) for rule in TEXT_RULES for found in rule(lesson, shape)]
    code_rules = (*lint_code.RULES, *lint_exercises.RULES)
    problems += [Problem(path, *found) for rule in code_rules for found in rule(lesson)]
    if len(lint_exercises.exercises(lesson)) < shape.exercises:
        remedy = "tag solved cells `exercise`, mark what the learner writes, and call fk.check"
        problems.append(
            Problem(path, None, f"has fewer than {shape.exercises} exercises with a check", remedy)
        )
    return problems


def headings(lesson: Lesson, level: int) -> list[tuple[Cell, str]]:
    """The headings of one level, outside of code blocks, with their cells."""
    pattern = re.compile(rf"^{'#' * level} +(.+?) *$", re.MULTILINE)
    cells = lesson.of_kind("markdown")
    return [(cell, m[1]) for cell in cells for m in pattern.finditer(_without_code(cell.source))]


def words(source: str) -> int:
    """The number of words of prose: no code, headings, tables, quotes or tags."""
    lines = [x for x in _without_code(source).splitlines() if not re.match(r"\s*([|>#]|!\[)", x)]
    return len(
        re.findall(r"[\w’'-]*\w[\w’'-]*", re.sub(r"<[^>]+>|\]\([^)]*\)", " ", "\n".join(lines)))
    )


def opening(lesson: Lesson, shape: Shape) -> Found:
    """One H1 and one promise, in the first cell."""
    titles = headings(lesson, 1)
    if len(titles) != 1 or titles[0][0] is not lesson.cells[0]:
        yield (
            None,
            f"has {len(titles)} titles (H1), or not in its first cell",
            "open with one `# Title`",
        )
    # a dot inside a word (fl_config.json) ends no sentence
    if not re.fullmatch(r"You will be able to ([^.!?]|[.!?](?=\S))+\.", lesson.promise):
        what = "the first cell doesn't promise in one sentence what the learner will be able to do"
        yield (lesson.cells or (None,))[0], what, "write one line: `You will be able to ... .`"


def sections(lesson: Lesson, shape: Shape) -> Found:
    """Four to six questions, then the fixed headings in their order."""
    titles = headings(lesson, 2)
    questions = [cell for cell, title in titles if title.endswith("?")]
    low, high = shape.sections
    if not low <= len(questions) <= high:
        what = f"has {len(questions)} sections that ask a question"
        yield None, what, f"have {low} to {high} headings `## ...?`"
    for cell, title in titles:
        if not title.endswith("?") and title not in CLOSING:
            yield cell, f"the heading `{title}` is no question", "end it in `?`"
        if not cell.source.lstrip().startswith("## "):
            yield (
                cell,
                f"the heading `{title}` isn't the first line of its cell",
                "start a new cell with it",
            )
    closing = [title for _, title in titles if title in CLOSING]
    for title in shape.closing:
        if title not in closing:
            yield None, f"the section `{title}` is missing", f"add `## {title}`"
    end = [title for _, title in titles][-len(closing) :] if closing else []
    if closing != end or closing != sorted(set(closing), key=CLOSING.index):
        yield None, f"ends with {', '.join(end)}", f"end with {', '.join(CLOSING)}, in this order"
    for cell in questions:
        fewest, most = shape.words
        if not fewest <= words(cell.source) <= most:
            yield (
                cell,
                f"opens its section with {words(cell.source)} words",
                f"write {fewest} to {most}",
            )


def predicts(lesson: Lesson, shape: Shape) -> Found:
    """Predict boxes have options, and the cell that answers comes next."""
    boxes = [
        c
        for c in lesson.of_kind("markdown")
        if re.search(r"^> \*\*Predict\b", c.source, re.MULTILINE)
    ]
    if len(boxes) < shape.predicts:
        yield (
            None,
            f"has {len(boxes)} Predict boxes",
            f"have at least {shape.predicts}: `> **Predict.** ...?`",
        )
    for cell in boxes:
        if len(re.findall(r"^> [*-] \S", cell.source, re.MULTILINE)) < 2:
            yield cell, "the Predict box offers no choice", "add two or more lines `> * ...`"
        if cell.number == len(lesson.cells) or lesson.cells[cell.number].kind != "code":
            yield (
                cell,
                "the Predict box isn't followed by the cell that answers",
                "put the code cell next",
            )


def closing_lists(lesson: Lesson, shape: Shape) -> Found:
    """At most four readings, a recap as long as what was promised."""
    learn = len(lesson.card.learn)
    counts = {
        "Recap": (BULLET, learn, learn, "mirror the points of `learn` as bullets"),
        "Readings": (BULLET, 1, 4, "keep the best, as bullets"),
    }
    for title, (pattern, low, high, remedy) in counts.items():
        cells = _section(lesson, title)
        found = sum(len(pattern.findall(_without_code(cell.source))) for cell in cells)
        if cells and not low <= found <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            yield cells[0], f"`{title}` has {found} points instead of {wanted}", remedy


def quiz(lesson: Lesson, shape: Shape) -> Found:
    """The quiz is the lesson's own, and asks five questions."""
    cells = _section(lesson, "Quiz")
    if not cells or "Quiz" not in shape.closing:
        return
    name = f"{lesson.number:02d}"
    if not any(cell.source.strip() == f'fk.quiz("{name}")' for cell in cells):
        yield cells[0], "`Quiz` does not show the quiz", f'end it in a cell `fk.quiz("{name}")`'
    remedy = f"write it in fedkit/teaching/quizzes/{name}.yaml"
    try:
        asked = len(read_quiz(name))
    except (FedkitError, ValueError, TypeError, AttributeError) as error:
        yield cells[0], f"the quiz can't be read: {error}", remedy
        return
    if asked != 5:
        yield cells[0], f"the quiz asks {asked} questions instead of 5", remedy


def roles(lesson: Lesson, shape: Shape) -> Found:
    """Who acts is said in bold: **Aggregator**, **Alice, participant**."""
    cells = lesson.of_kind("markdown")
    if sum(len(ROLE.findall(cell.source)) for cell in cells) < shape.roles:
        yield (
            None,
            "nobody acts in this lesson",
            "say who: `**Aggregator**` or `**Alice, participant**`",
        )
    for cell in cells:
        if ROLE_HEADING.search(_without_code(cell.source)):
            yield cell, "a role is a heading", "write it in bold: `**Alice, participant**`"


def forbidden(lesson: Lesson, shape: Shape) -> Found:
    """Words that tell a reader that it should have been easy."""
    for cell in lesson.cells:
        text = (
            lint_code.comments(cell.source) if cell.kind == "code" else _without_code(cell.source)
        )
        for word in FORBIDDEN.findall(text):
            yield cell, f"says `{word}`", "leave it out, or explain"


def counted(lesson: Lesson, shape: Shape) -> Found:
    """Sections, lessons and cells are named, not counted; papers in the readings have sections of their own."""
    readings = _section(lesson, "Readings")
    for cell in lesson.cells:
        if cell in readings:
            continue
        for pattern, remedy in COUNTED.items():
            for match in re.finditer(pattern, cell.source, re.IGNORECASE):
                yield cell, f"counts what changes elsewhere: `{match[0]}`", remedy


def links(lesson: Lesson, shape: Shape) -> Found:
    """Images have alt texts, and relative links lead to lessons that exist."""
    for cell in lesson.of_kind("markdown"):
        text = _without_code(cell.source)
        if re.search(r"!\[\s*\]\(", text) or re.search(
            r"<img(?![^>]*\balt=\"[^\"]+\")[^>]*>", text
        ):
            yield cell, "an image has no alt text", "say in one line what it shows: `![alt](...)`"
        for target in re.findall(r"\]\(([^)\s]+)", text):
            name = target.partition("#")[0]
            source = lesson.path.with_name(name).with_suffix(".py") if "/" not in name else None
            known = source is not None and name.endswith(".ipynb") and source.is_file()
            if name and not known and not re.match(r"https?://|mailto:|data:|attachment:", target):
                yield (
                    cell,
                    f"the link to `{target}` leads nowhere",
                    "link to `NN_name.ipynb` or a web page",
                )


TEXT_RULES: tuple[Callable[[Lesson, Shape], Found], ...] = (
    opening,
    sections,
    predicts,
    closing_lists,
    quiz,
    roles,
    forbidden,
    counted,
    links,
)


def _section(lesson: Lesson, title: str) -> list[Cell]:
    """The cells from the heading `title` to the next heading of its level."""
    starts = [(cell.number, text) for cell, text in headings(lesson, 2)]
    for (number, text), (after, _) in zip(
        starts, [*starts[1:], (len(lesson.cells) + 1, "")], strict=True
    ):
        if text == title:
            return list(lesson.cells[number - 1 : after - 1])
    return []


def _without_code(source: str) -> str:
    fenced = re.sub(r"^(```|~~~).*?^\1", "", source, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`|<!--.*?-->", "", fenced, flags=re.DOTALL)
