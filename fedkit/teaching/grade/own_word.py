"""What a notebook says of itself: the states that its checks left in its outputs, and what in it makes them doubtful.

Anybody can write an output. So this is the notebook's own word, and is called so wherever it is shown.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from fedkit.base.text import one_line
from fedkit.experiments.notebooks import CHECK_MIME, QUIZ_MIME
from fedkit.teaching.check.base import State
from fedkit.teaching.grade.exercises import Exercise, Lesson
from fedkit.teaching.grade.pile import Cell, Submission
from fedkit.teaching.grade.statements import parsed

__all__ = ["Word", "own_word", "suspicions"]


@dataclass(frozen=True)
class Word:
    """What a notebook says of one exercise or quiz: a state of a check, or that it has not run or is not there; and why."""

    state: str
    reason: str


def own_word(submission: Submission, lesson: Lesson) -> dict[str, Word]:
    """Name -> word, for each exercise of the lesson in order, then for each question of its quiz.

    Of a quiz the notebook says what was chosen; whether that is right, the course's own key says.
    """
    said: dict[str, Word] = {}
    for _, bundle, text in _records(submission):
        said[bundle["name"]] = Word(bundle["state"], _after_the_title(text))
    words = {e.name: said.get(e.name) or _unsaid(submission, e) for e in lesson.exercises}
    return words | _quiz(submission, lesson)


def _quiz(submission: Submission, lesson: Lesson) -> dict[str, Word]:
    """What was chosen, the last record of each quiz; letters that stand at no option count as nothing chosen."""
    if not lesson.questions:
        return {}
    tries: dict[str, Any] | None = None
    for _, data in _outputs(submission):
        bundle = data.get(QUIZ_MIME)
        if isinstance(bundle, dict) and bundle.get("name") == lesson.name[:2]:
            kept = bundle.get("tries")
            tries = kept if isinstance(kept, dict) else {}
    words = {}
    for number, question in enumerate(lesson.questions, 1):
        options = dict(question.lettered())
        chosen = (tries or {}).get(str(number), "")
        tried = chosen[:100] if isinstance(chosen, str) else ""
        letters = [letter for letter in tried if letter in options]
        if tries is None:
            word = Word("not run", "its cell has no result")
        elif not letters:
            word = Word("not yet", "nothing is chosen")
        else:
            last = options[letters[-1]]
            state = "right" if last.right else "try again"
            word = Word(state, f"chose {', then '.join(letters)}. {last.reply}")
        words[f"quiz {number}"] = word
    return words


def suspicions(submission: Submission, lesson: Lesson) -> dict[str, list[str]]:
    """What a teacher should look at, by exercise; "" is the notebook as a whole."""
    found: dict[str, list[str]] = {}

    def note(name: str, text: str) -> None:
        if text not in found.setdefault(name, []):
            found[name].append(text)

    for cell, bundle, _ in _records(submission):
        name = bundle["name"]
        if f"check.{name}" not in cell.source and name in lesson.by_name:
            note(
                name, f"a record of it stands in cell {cell.number}, which does not call its check"
            )
    for exercise in lesson.exercises:
        if not any(
            f"check.{exercise.name}" in cell.source for cell in submission.cells if cell.code
        ):
            note(exercise.name, "the cell with its check is gone")
    for cell in submission.cells:
        if cell.code and cell.source.strip() not in lesson.sources:
            for text in _tampering(cell.source):
                note("", f"cell {cell.number} {text}")
    return found


def _records(submission: Submission) -> Iterator[tuple[Cell, dict[str, str], str]]:
    for cell, data in _outputs(submission):
        bundle = data.get(CHECK_MIME)
        if not isinstance(bundle, dict) or bundle.get("state") not in get_args(State):
            continue
        if isinstance(bundle.get("name"), str):
            yield cell, bundle, data["text/plain"]


def _outputs(submission: Submission) -> Iterator[tuple[Cell, dict[str, Any]]]:
    for cell in submission.cells:
        for data in cell.outputs:
            yield cell, data


def _after_the_title(text: str) -> str:
    return one_line(text.partition(": ")[2] or text)[:600]


def _unsaid(submission: Submission, exercise: Exercise) -> Word:
    code = [cell for cell in submission.cells if cell.code]
    if any(f"check.{exercise.name}" in cell.source for cell in code):
        return Word("not run", "its cell has no result")
    if any(cell.id == exercise.cell_id for cell in code):
        return Word("not run", "its cell is there, and the check is gone from it")
    return Word("missing", "its cell is not in the notebook")


_REACHES = re.compile(r"fedkit\.teaching\.(check|notebook|grade)|vnd\.fedkit|\bREGISTRY\b")


def _tampering(source: str) -> Iterator[str]:
    """What a cell does to the checks, or looks as if it did."""
    if _REACHES.search(source):
        yield "reaches into the checks"
    try:
        tree = parsed(source)[0]
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            name = ast.unparse(node)
            if re.match(r"(fk|fedkit)\b", name):
                yield f"gives {name} another meaning"
        elif (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and node.id in ("fk", "fedkit")
        ):
            yield f"gives {node.id} another meaning"
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("setattr", "delattr")
            and node.args
            and re.match(r"(fk|fedkit)\b", ast.unparse(node.args[0]))
        ):
            yield f"gives {ast.unparse(node.args[0])} another meaning"
