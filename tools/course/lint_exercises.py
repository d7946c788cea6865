"""The rules for what a lesson shows and asks: figures, exercises, and functions that are the package's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import fedkit.teaching.check
from fedkit.base.errors import FedkitError
from tools.course.defines import difference
from tools.course.lesson import Cell, Lesson
from tools.course.lint_code import dotted, parse, solved_or_not
from tools.course.stub import has_markers, solved, stub

__all__ = ["RULES", "exercises"]


SHOW_REMEDY = 'use fk.show(figure, "what the picture says")'

Found = Iterator[tuple[Cell | None, str, str]]


def exercises(lesson: Lesson) -> list[Cell]:
    """The exercise cells that have a check, in themselves or in the next cell."""
    code = lesson.of_kind("code")
    pairs = zip(code, [*code[1:], None], strict=True)
    return [
        cell
        for cell, after in pairs
        if "exercise" in cell.tags
        and ("fk.check." in cell.source or (after and "fk.check." in after.source))
    ]


def figures(lesson: Lesson) -> Found:
    """Every picture goes through fk.show, with an alt text."""
    drawn: set[str] = set()
    for cell in lesson.of_kind("code"):
        body = (parse(cell.source) or ast.Module([], [])).body
        for node in (node for statement in body for node in ast.walk(statement)):
            if isinstance(node, ast.Import | ast.ImportFrom) and "pyplot" in ast.unparse(node):
                yield cell, "imports pyplot", f"take an fk.plots function and {SHOW_REMEDY}"
            elif isinstance(node, ast.Assign) and _draws(node.value):
                drawn |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.Expr) and (_draws(node.value) or dotted(node.value) in drawn):
                yield cell, "shows a figure without an alt text", SHOW_REMEDY
            elif isinstance(node, ast.Call):
                yield from ((cell, what, SHOW_REMEDY) for what in _bad_call(node))


def stubs(lesson: Lesson) -> Found:
    """An exercise has something to write, a check, and parses in both editions."""
    checked = exercises(lesson)
    for cell in lesson.of_kind("code"):
        for name in re.findall(r"\bfk\.check\.(\w+)", cell.source):
            if name not in fedkit.teaching.check.names():
                file = f"fedkit/teaching/check/lesson_{lesson.number:02d}.py"
                yield cell, f"there is no check named {name}", f"write it in {file}"
        if "exercise" not in cell.tags:
            if has_markers(cell.source):
                yield (
                    cell,
                    "has a `# solution` marker but isn't an exercise",
                    "tag the cell `exercise`",
                )
            continue
        if cell not in checked:
            yield (
                cell,
                "is an exercise without a check",
                "call fk.check.<name> in it or in the next cell",
            )
        try:
            pair = solved(cell.source), stub(cell.source)
        except FedkitError as error:
            yield cell, error.what, error.remedy or ""
            continue
        if pair[0] == pair[1]:
            yield (
                cell,
                "is an exercise with nothing to write",
                "mark the solution: see CONTRIBUTING.md",
            )
        elif parse(pair[0]) is not None and parse(pair[1]) is None:
            yield (
                cell,
                "the stub is not valid Python",
                "mark whole statements, or the value inside brackets",
            )


def defines(lesson: Lesson) -> Found:
    """What a cell tagged `defines:` writes is what the package has."""
    for cell in lesson.of_kind("code"):
        for tag in cell.tags:
            if tag.startswith("defines:") and parse(cell.source) is not None:
                what = difference(solved_or_not(cell), tag.removeprefix("defines:"))
                if what is not None:
                    yield cell, what, "make the two the same"


def predictions(lesson: Lesson) -> Found:
    """What a picture behind a Predict box says is not to be read before the cell has run: its words go by name."""
    asked = False
    for cell in lesson.cells:
        if cell.kind == "markdown":
            asked = "> **Predict" in cell.source
        elif asked:
            nodes = list(ast.walk(parse(cell.source) or ast.Module([], [])))
            if any(map(_told, nodes)):
                yield (
                    cell,
                    "a title or an alt text behind a Predict box can be read before the answer",
                    'write it in fedkit/teaching/captions/NN.yaml: fk.caption("NN name"), fk.alt("NN name")',
                )


def _told(node: ast.AST) -> bool:
    """Is this a title or an alt text, written out?"""
    if isinstance(node, ast.Assign):
        return _written(node.value) and any(
            ast.unparse(t) in ("title", "alt") for t in node.targets
        )
    if not isinstance(node, ast.Call):
        return False
    given = [k.value for k in node.keywords if k.arg in ("title", "alt")]
    return any(map(_written, [*given, *(node.args[1:2] if dotted(node.func) == "fk.show" else [])]))


def _written(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


RULES: tuple[Callable[[Lesson], Found], ...] = (figures, stubs, defines, predictions)


def _draws(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func).startswith("fk.plots.")


def _bad_call(node: ast.Call) -> Iterator[str]:
    called = dotted(node.func)
    if called == "fk.show":
        given = node.args[1:2] + [k.value for k in node.keywords if k.arg == "alt"]
        if not given:
            yield "fk.show has no alt text"
        elif isinstance(given[0], ast.Constant):
            text = given[0].value
            if not isinstance(text, str) or not text.strip() or "\n" in text.strip():
                yield "the alt text of fk.show is not one line of text"
    elif called.startswith("plt.") or (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "plot"
        and not called.startswith("fk.")
    ):
        yield "draws past fk.show"
