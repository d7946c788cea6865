"""One line where a cell looks in vain for what another cell makes: a name, or a file in the notebook's workspace.

So it goes after a restart, and wherever cells run out of order; a cell that somebody has stopped gets a line, too. Python's
own answer is a way through its stack, and no word on what to do. The names are looked up in the notebook file itself, where
that is a lesson or a copy of one: a notebook of one's own that uses fedkit keeps Python's words.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedkit.base.text import nearest

__all__ = ["missing_name", "speak"]

MAX_NOTEBOOK_BYTES = 2**26
MOST_NEIGHBOURS = 100
_LONG = 80
STOPPED = "KeyboardInterrupt: the cell was stopped -> run it again when you like"


def speak() -> None:
    """Let the notebook that runs show these lines in place of Python's own errors; elsewhere nothing happens."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or shell.custom_exceptions:
        return

    def show(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        trace: Any,
        tb_offset: int | None = None,
    ) -> list[str]:
        line = _line(shell, error)
        lines = [line] if line else shell.InteractiveTB.structured_traceback(kind, error, trace)
        shell._showtraceback(kind, error, lines)
        return list(lines)

    shell.set_custom_exc((FileNotFoundError, NameError, KeyboardInterrupt), show)


def _line(shell: Any, error: BaseException) -> str | None:
    from fedkit.teaching.notebook import running_cell
    from fedkit.teaching.workspace import running_notebook, what_is_missing

    told, cell = running_notebook(), running_cell()[0]
    if isinstance(error, OSError):
        return what_is_missing(error)
    if told is None:
        return None
    notebook = _where_it_lies_now(Path(told), cell)
    if isinstance(error, KeyboardInterrupt):
        return STOPPED if _cells(notebook) is not None else None
    if not isinstance(error, NameError):
        return None
    return missing_name(error, notebook, cell, shell.user_ns)


def missing_name(
    error: NameError, notebook: Path, cell: str | None = None, known: Iterable[str] = ()
) -> str | None:
    """A line for a name that is not there; None where the notebook is no lesson, or nobody can tell.

    notebook : its file. cell : the id of the cell that runs. known : the names that are there.
    """
    name = error.name
    cells = None if isinstance(error, UnboundLocalError) or not name else _cells(notebook)
    if cells is None or not isinstance(name, str):
        return None
    here = next((number for number, (own, _) in enumerate(cells) if own == cell), len(cells))
    makers = {n: text for n, (_, source) in enumerate(cells) if (text := _made(name, source))}
    above = [number for number in makers if number < here]
    said = f"NameError: {name!r} is not there"
    if above:
        return (
            f"{said}: the cell above that makes it ({makers[above[-1]]}) has not run, or ended in an error "
            "-> put that right first; in the menu Run choose Run All Above Selected Cell, then run this cell again"
        )
    if here in makers:
        return (
            f"{said}, and this cell should make it ({makers[here]}) "
            "-> is it spelled the same everywhere in this cell?"
        )
    if makers:
        return f"{said} yet: a cell further down makes it ({makers[min(makers)]}) -> run that one first"
    near = nearest(name, [word for word in known if not word.startswith("_")])
    return f"{said}; do you mean {near}? -> look how it is spelled" if near else None


def _where_it_lies_now(told: Path, cell: str | None) -> Path:
    """The notebook's file: a kernel knows the name that it began with, and a rename tells it nothing."""
    if cell is None or told.exists() or not told.parent.is_dir():
        return told
    others = sorted(told.parent.glob("*.ipynb"))[:MOST_NEIGHBOURS]
    return next((p for p in others if any(own == cell for own, _ in _cells(p) or ())), told)


def _cells(notebook: Path) -> list[tuple[str | None, str]] | None:
    """Id and source of each code cell of a lesson; None for whatever is none."""
    try:
        if notebook.stat().st_size > MAX_NOTEBOOK_BYTES:
            return None
        content = json.loads(notebook.read_bytes())
        if "fedkit" not in content["metadata"]:
            return None
        return [
            (cell.get("id"), "".join(cell["source"]))
            for cell in content["cells"]
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _made(name: str, source: str) -> str | None:
    """The first line of the statement that gives a name its value, at the top of a cell; None where there is none."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):  # half written, or a magic
        return None
    for statement in body:
        if name in _names(statement):
            line = source.splitlines()[statement.lineno - 1].strip()
            whole = len(line) <= _LONG and statement.end_lineno == statement.lineno
            return line if whole else f"{line[:_LONG]} ..."
    return None


def _names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    found = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in found if isinstance(node.ctx, ast.Store)}
