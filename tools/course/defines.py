"""The learner sees a function in full before importing it: the notebook's and the package's are one syntax tree.

Docstrings, comments and annotations may differ, and `fk.name` counts as `name`; nothing else may.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from difflib import ndiff
from typing import Any

import fedkit as fk

__all__ = ["difference"]


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def difference(source: str, target: str) -> str | None:
    """How the definition in a cell differs from the public `target` ("fk.fedavg"); None: not at all."""
    name = target.rpartition(".")[2]
    try:
        theirs = _definition(textwrap.dedent(inspect.getsource(_resolve(target))), name)
    except (AttributeError, OSError, TypeError) as error:
        return f"{target} can't be found in the package ({error})"
    ours = _definition(source, name)
    if ours is None:
        return f"the cell defines no {name}"
    if theirs is None:
        return f"{target} is not a function or class with a source of its own"
    pair = [_Plain().visit(tree) for tree in (theirs, ours)]
    if ast.dump(pair[0]) == ast.dump(pair[1]):
        return None
    lines = ndiff(ast.unparse(pair[0]).splitlines(), ast.unparse(pair[1]).splitlines())
    changed = [line for line in lines if line[:2] in ("- ", "+ ")]
    package = next((line[2:].strip() for line in changed if line[0] == "-"), "nothing")
    cell = next((line[2:].strip() for line in changed if line[0] == "+"), "nothing")
    return f"differs from {target}: the package has `{package}`, the cell `{cell}`"


def _resolve(target: str) -> Any:
    head, _, path = target.partition(".")
    if head != "fk" or not path:
        raise AttributeError("name what a learner may import: fk.fedavg, fk.privacy.clip_rows")
    return functools.reduce(getattr, path.split("."), fk)


def _definition(source: str, name: str) -> Definition | None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition) and node.name == name:
            return node
    return None


class _Plain(ast.NodeTransformer):
    """Takes away what a reader doesn't run: docstrings, annotations, the prefix of the package."""

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, Definition) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            node = ast.copy_location(ast.Assign([node.target], node.value), node)
        if isinstance(node, ast.Attribute) and _root(node) == "fk":
            return ast.copy_location(ast.Name(node.attr, node.ctx), node)
        return self.generic_visit(node)


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
