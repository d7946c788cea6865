"""Looking at a learner's answer: is it still the stub, and which of its lines failed?"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
import traceback

__all__ = ["has_gap", "line_at_fault", "unfinished"]


def unfinished(value: object) -> bool:
    """Is this what a stub leaves behind: `...`, None, NotImplemented, or a collection with `...` in it?"""
    return value is None or value is NotImplemented or _holds_dots(value)


def has_gap(answer: object) -> bool | None:
    """Does a `...` still stand in the source of this function or class? None: it has no source that can be read.

    The `...` of an index (`x[..., 0]`) is no gap.
    """
    if not (inspect.isroutine(answer) or inspect.isclass(answer)):
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError):
        return None
    indexed = {
        id(leaf)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        for leaf in ast.walk(node.slice)
    }
    dots = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value is ...]
    return any(id(node) not in indexed for node in dots)


def _holds_dots(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_dots(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds_dots(item) for item in value)
    return value is ...


def line_at_fault(error: BaseException, answer: object) -> str | None:
    """The innermost line of the learner's function that the error came through, in words."""
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    if code is None:
        return None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_filename == code.co_filename:
            text = linecache.getline(code.co_filename, line).strip()
            inside = line - code.co_firstlineno + 1
            return f"line {inside} of {code.co_name}" + (f": {text}" if text else "")
    return None
