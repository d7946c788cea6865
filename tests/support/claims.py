"""Numbers with a unit that a lesson claims, such as `409 kB`. Options of Predict boxes and readings claim nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import yaml

from fedkit.teaching.quiz import read_quiz
from tests.support import ROOT
from tools.course.lesson import Lesson
from tools.course.lint_code import parse

WORDS = "one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|a hundred|a thousand"
CLAIM = re.compile(
    rf"(?<![\w.,-])(?:\d[\d,]*(?:\.\d+)?|{WORDS})\s?(?:bytes?|kB|MB|GB|%|files?)(?!\w)",
    re.IGNORECASE,
)


def claims(lesson: Lesson) -> list[str]:
    """Each number with a unit that the lesson says, once: in its text, its pictures' words and its quiz's right answers."""
    found = [
        " ".join(match[0].split()).replace(" %", "%").lower()
        for text in _texts(lesson)
        for match in CLAIM.finditer(text)
    ]
    return list(dict.fromkeys(found))


def _texts(lesson: Lesson) -> Iterator[str]:
    for cell in lesson.cells:
        if cell.kind == "markdown" and not cell.source.startswith("## Readings"):
            yield re.sub(r"^> [*-] .*$", "", cell.source, flags=re.MULTILINE)
        tree = parse(cell.source) if cell.kind == "code" else None
        nodes = list(ast.walk(tree)) if tree else []
        formats = {  # the 4.0% of {x:4.0%} claims nothing
            id(part)
            for node in nodes
            if isinstance(node, ast.FormattedValue) and node.format_spec
            for part in ast.walk(node.format_spec)
        }
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield "" if id(node) in formats else node.value
    number = f"{lesson.number:02d}"
    captions: dict[str, Any] = yaml.safe_load(
        (ROOT / f"fedkit/teaching/captions/{number}.yaml").read_text("utf-8")
    )
    for words in captions.values():
        yield from words.values()
    for question in read_quiz(number) if lesson.number else ():
        for option in question.options:
            if option.right:
                yield from (option.says, option.reply)
