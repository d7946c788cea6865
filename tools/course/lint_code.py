"""The rules for a lesson's code cells: what comes first, how long they are, what they never do."""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Callable, Iterator

from fedkit.base.errors import FedkitError
from tools.course.lesson import Cell, Lesson
from tools.course.stub import solved

__all__ = ["RULES", "comments", "dotted", "parse", "solved_or_not"]


MOST_LINES, MEDIAN_LINES = 15, 6
FIRST_IMPORTS = {
    "cryptography",
    "fedkit",
    "numpy",
    "pandas",
    "torch",
    "tqdm",
    *sys.stdlib_module_names,
}
TYPES = {"bool": bool, "float": float, "int": int, "list": list, "str": str}
LINE_REMEDY = (
    "write `name: type = literal  # what it means`, one a line, without `=` in the comment"
)

Found = Iterator[tuple[Cell | None, str, str]]


def comments(source: str) -> str:
    """The comments of a code cell."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return ""
    return "\n".join(token.string for token in tokens if token.type == tokenize.COMMENT)


def python_only(lesson: Lesson) -> Found:
    """Every cell is Python that runs in every kernel and without anybody at the keyboard."""
    for cell in lesson.of_kind("code"):
        tree = parse(cell.source)
        if tree is None and re.search(r"^\s*[!%?]|\?\s*$", cell.source, re.MULTILINE):
            yield cell, "uses a `!`, `%` or `?` command", "do it in Python, or in the set-up"
        elif tree is None:
            yield cell, "is not valid Python", "run the cell and put it right"
        else:
            called = {dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            if "input" in called:
                yield cell, "waits for input()", "make it a parameter or an exercise"
            if "get_ipython" in called:
                yield cell, "gives IPython a command", "do it in Python, or in the set-up"


def first_cells(lesson: Lesson) -> Found:
    """First the imports, then the parameters: no hidden set-up."""
    code = lesson.of_kind("code")
    imports = (parse(code[0].source) if code else None) or ast.Module([], [])
    names: set[str] = set()
    for node in imports.body:
        if isinstance(node, ast.Import):
            names |= {
                f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        else:
            names.add("something that is no import")
    strange = sorted(name for name in names if re.split(r"[. ]", name)[0] not in FIRST_IMPORTS)
    if "fedkit as fk" not in names or strange:
        what = "the first code cell " + (
            f"has {', '.join(strange)}" if strange else "doesn't import fedkit as fk"
        )
        yield (
            code[0] if code else None,
            what,
            "begin with imports only, `import fedkit as fk` among them",
        )
    tagged = [cell for cell in code if "parameters" in cell.tags]
    if len(tagged) != 1 or code.index(tagged[0]) != 1:
        what = f"has {len(tagged)} cells tagged `parameters`, or not as its second code cell"
        yield (
            tagged[0] if tagged else None,
            what,
            'put one cell `# %% tags=["parameters"]` after the imports',
        )


def parameters(lesson: Lesson) -> Found:
    """One typed literal with a comment a line, as papermill's own inspection reads them."""
    from papermill.translators import PythonTranslator  # slow to import

    for cell in lesson.of_kind("code"):
        if "parameters" not in cell.tags:
            continue
        for line in filter(str.strip, cell.source.splitlines()):
            node = (parse(line) or ast.Module([], [])).body
            if not node or not isinstance(node[0], ast.AnnAssign) or node[0].value is None:
                yield cell, f"`{line}` is no typed parameter", LINE_REMEDY
                continue
            kind = TYPES.get(ast.unparse(node[0].annotation).partition("[")[0])
            try:
                value = ast.literal_eval(node[0].value)
            except (ValueError, TypeError):
                yield cell, f"`{line}` is no literal", LINE_REMEDY
                continue
            if kind is None or type(value) is not kind:
                yield (
                    cell,
                    f"`{line}` has another type than it says",
                    f"use {', '.join(TYPES)}: {LINE_REMEDY}",
                )
            read = PythonTranslator.inspect({"source": line})
            if len(read) != 1 or not read[0].help:
                yield cell, f"`{line}` has no comment that papermill can read", LINE_REMEDY


def lengths(lesson: Lesson) -> Found:
    """Cells that fit a screen."""
    code = lesson.of_kind("code")
    counts = [
        len([line for line in solved_or_not(cell).splitlines() if line.strip()]) for cell in code
    ]
    for cell, count in zip(code, counts, strict=True):
        if count > MOST_LINES:
            yield cell, f"has {count} lines of code", f"split it: at most {MOST_LINES}"
    if counts and statistics.median(counts) > MEDIAN_LINES:
        what = f"half of its code cells have more than {MEDIAN_LINES} lines"
        yield None, what, f"make cells smaller: the median is {statistics.median(counts):g}"


RULES: tuple[Callable[[Lesson], Found], ...] = (
    python_only,
    first_cells,
    parameters,
    lengths,
)


def solved_or_not(cell: Cell) -> str:
    """The cell as the solved edition has it; broken markers are another rule's business."""
    try:
        return solved(cell.source)
    except FedkitError:
        return cell.source


def parse(source: str) -> ast.Module | None:
    """The syntax tree of a cell, or None if it is no valid Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def dotted(node: ast.AST) -> str:
    """`fk.plots.tree` of an expression made of names and dots, else nothing."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return node.id if isinstance(node, ast.Name) else ""
