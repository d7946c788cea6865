"""Which statements of a notebook a name hangs on, read off its text; nothing is run.

A statement is needed if it gives a needed name a value, or does something to it (`config.update(...)`,
`rule["read"] = ...`, `finish(control)`). What it needs itself is needed too.
"""

from __future__ import annotations

import ast
import re
import symtable
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Statement", "calls_of", "needed", "parsed", "statements"]


_MAGIC = re.compile(r"^[ \t]*[%!?].*$|^[ \t]*[\w.*]+\?{1,2}[ \t]*$", re.MULTILINE)
_DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
MAX_SOURCE, MAX_STATEMENTS = 100_000, 1_000
"""Characters of one cell that are read as code, and statements at its top: a lesson's longest has hundreds, and ten."""


@dataclass(frozen=True)
class Statement:
    """One statement at the top of a cell (numbered from 1): its text, the names it `binds`, `needs` and `touches`.

    plain : the same for two that differ in blanks and comments only.
    """

    cell: int
    text: str
    binds: frozenset[str]
    needs: frozenset[str]
    touches: frozenset[str]
    imports: bool
    cheap: bool  # it computes nothing
    shows: bool  # it prints or draws, and nothing else
    plain: str


def statements(cell: int, source: str) -> list[Statement]:
    """The statements of a code cell; lines of magic are left out. Raises SyntaxError where it is no Python."""
    tree, text = parsed(source)
    lines = text.split("\n")
    try:
        return [_statement(cell, node, lines) for node in tree.body]
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from None


def parsed(source: str) -> tuple[ast.Module, str]:
    """A cell's tree, and the text it stands for: the source, without lines of magic if it has any. Raises SyntaxError."""
    if len(source) > MAX_SOURCE:
        raise SyntaxError(f"a cell of {len(source):,} characters is no answer")
    text = textwrap.dedent(source.replace("\r\n", "\n").replace("\r", "\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd backslash is the learner's, not the teacher's
            try:
                tree = ast.parse(text)
            except SyntaxError:
                text = _MAGIC.sub("", text)
                tree = ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or type(error).__name__) from None
    if len(tree.body) > MAX_STATEMENTS:
        raise SyntaxError(f"a cell of {len(tree.body):,} statements is no answer")
    return tree, text


def needed(pool: Sequence[Statement], names: Iterable[str]) -> list[Statement]:
    """The statements that these names hang on, in their order."""
    modules = {name for s in pool if s.imports for name in s.binds}
    places: dict[str, list[int]] = {}
    for place, one in enumerate(pool):
        for name in one.binds | (one.touches - modules):
            places.setdefault(name, []).append(place)
    open_, seen, chosen = list(names), set(names), set()
    while open_:
        for place in places.pop(open_.pop(), []):
            if place not in chosen:
                chosen.add(place)
                open_ += pool[place].needs - seen
                seen |= pool[place].needs
    return [pool[place] for place in sorted(chosen)]


def calls_of(text: str) -> list[tuple[str, list[str]]]:
    """The checks that a statement calls: (name of the check, its arguments as text)."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and (
            match := re.fullmatch(r"fk\.check\.(\w+)", _dots(node.func))
        ):
            found.append((match[1], [ast.unparse(argument) for argument in node.args]))
    return found


def _statement(cell: int, node: ast.stmt, lines: Sequence[str]) -> Statement:
    alone = _alone(node, lines[(node.end_lineno or 1) - 1])
    own = "\n".join(lines[_first_line(node) - 1 : node.end_lineno]) if alone else ast.unparse(node)
    table = symtable.symtable(own, "cell", "exec")
    symbols = table.get_symbols()
    binds = {
        s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    needs = {s.get_name() for s in symbols if s.is_referenced()}
    return Statement(
        cell,
        own,
        frozenset(binds),
        frozenset(needs | _from_inside(table)),
        frozenset(_touched(node)),
        isinstance(node, ast.Import | ast.ImportFrom),
        isinstance(node, _DEFINES) or isinstance(getattr(node, "value", None), ast.Constant),
        _shows(node),
        ast.unparse(node),
    )


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *[one.lineno for one in decorators]])


def _alone(node: ast.stmt, last: str) -> bool:
    """Does no other statement stand on its lines?"""
    tail = last.encode()[node.end_col_offset or 0 :].decode(errors="replace")
    return node.col_offset == 0 and not tail.split("#")[0].strip()


def _from_inside(table: symtable.SymbolTable) -> set[str]:
    """Names of the notebook that functions and classes in it look up."""
    found: set[str] = set()
    for child in table.get_children():
        found |= {s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced()}
        found |= _from_inside(child)
    return found


def _touched(node: ast.stmt) -> Iterable[str]:
    for part in [] if _shows(node) else ast.walk(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            yield _root(part.func)
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            # what is called for its effect has it on what it is given
            yield from (_root(a) for a in part.value.args if not isinstance(a, ast.Call))
        elif isinstance(part, ast.Attribute | ast.Subscript) and isinstance(
            part.ctx, ast.Store | ast.Del
        ):
            yield _root(part)
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            return  # what happens in there happens when it is called


def _shows(node: ast.stmt) -> bool:
    """Does it print, draw or check, and nothing else?"""
    call = node.value if isinstance(node, ast.Expr) else None
    name = _dots(call.func) if isinstance(call, ast.Call) else ""
    return name in ("print", "fk.show", "fk.record", "display") or name.startswith("fk.check.")


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _dots(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dots(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
