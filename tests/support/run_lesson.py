"""A lesson of the course, run in this process as Run All would: its names, what it printed, what its checks said."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fedkit.teaching.check.base import Result
from fedkit.teaching.widgets.panel import Panel
from tests.support import ROOT
from tests.support.mutations import EXAMPLES
from tools.course.lesson import Cell, read_lesson
from tools.course.stub import solved, stub

SOURCES = ROOT / "notebooks" / "src"


def seeds(*few: int) -> list[int]:
    """The seeds that a lesson's claims are tried with: a few, and ten in `make test-all`."""
    return sorted({*few, *(range(10) if EXAMPLES > 1 else ())})


@dataclass
class Run:
    """One lesson run from top to bottom: its names, what each code cell printed, what its checks said."""

    names: dict[str, Any] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    @property
    def text(self) -> str:
        return "".join(self.printed)


Done = TypeVar("Done", bound=Run)


def run(lesson: str, folder: Path, edition: str = "solutions", **parameters: Any) -> Run:
    """Every code cell of a lesson, with some parameters changed; no cell ends with a bare value."""
    return run_into(Run(), lesson, folder, edition, parameters)


def run_into(
    done: Done,
    lesson: str,
    folder: Path,
    edition: str = "solutions",
    parameters: dict[str, Any] | None = None,
    *,
    wanted: Callable[[Cell], bool] = lambda cell: True,
    values: bool = False,
    after: Callable[[Done], object] = lambda done: None,
) -> Done:
    """As `run`, into `done`. wanted : which code cells; values : cells may end with any; after : called after each cell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDKIT_WORKSPACE", str(folder / "work"))
        for cell in filter(wanted, read_lesson(SOURCES / lesson).of_kind("code")):
            file = folder / f"{edition}_{cell.number}.py"  # so that a check can read the source
            file.write_text((solved if edition == "solutions" else stub)(cell.source), "utf-8")
            tree = ast.parse(file.read_text("utf-8"))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(tree, str(file), "exec"), done.names)
                if isinstance(last, ast.Expr):
                    expression = ast.Expression(last.value)
                    value = eval(compile(expression, str(file), "eval"), done.names)
                    if isinstance(value, Panel):
                        value._repr_mimebundle_()
                    elif isinstance(value, Result):
                        done.checks[value.name] = value.state
                    else:
                        assert values or value is None, f"cell {cell.number} ends with {value!r}"
            done.printed.append(out.getvalue())
            if "parameters" in cell.tags:
                done.names.update(parameters or {})
            after(done)
    return done
