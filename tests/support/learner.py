"""A learner who runs a lesson's cells in whatever order and presses whatever can be pressed in between."""

from __future__ import annotations

import ast
import contextlib
import io
import random
from pathlib import Path
from typing import Any

import ipywidgets

from fedkit.base.errors import FedkitError
from fedkit.teaching.widgets.panel import Panel
from fedkit.teaching.workspace import what_is_missing
from tests.support.run_lesson import SOURCES
from tools.course.lesson import read_lesson
from tools.course.stub import solved

ODD = (0, -1, 1, 2, 3, 0.5, 1e9, 10**6)
"""What somebody types into a number's field."""
WORDS = ("", "  ", "why?", "<b>no</b>", "ñ" * 400)


class Learner:
    """The cells of a lesson, the names that they have made so far, and the panels that lie on the screen.

    cells : the sources of the code cells. said : what each run of a cell printed, or the error that it ended in.
    """

    def __init__(self, lesson: str, folder: Path, seed: int, **parameters: Any) -> None:
        self.folder, self.dice, self.parameters = folder, random.Random(seed), parameters
        found = read_lesson(SOURCES / lesson).of_kind("code")
        self.cells = [solved(cell.source) for cell in found]
        self.tags = [cell.tags for cell in found]
        self.names: dict[str, Any] = {}
        self.panels: dict[int, Panel] = {}
        self.log: list[str] = []

    def run(self, number: int) -> str | FedkitError:
        """Run a cell; what it printed, or the one line in which it ended, as a FedkitError. Anything else is raised."""
        self.log.append(f"cell {number}")
        file = self.folder / f"cell_{number}.py"  # so that a check can read the source
        file.write_text(self.cells[number], "utf-8")
        tree = ast.parse(self.cells[number])
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        old = self.panels.pop(number, None)
        if old is not None:  # as a front end's output goes when its cell runs again
            old.close()
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                exec(compile(tree, str(file), "exec"), self.names)
                if isinstance(last, ast.Expr):
                    value = eval(compile(ast.Expression(last.value), str(file), "eval"), self.names)
                    if isinstance(value, Panel):
                        value._repr_mimebundle_()
                        self.panels[number] = value
            except FedkitError as error:
                return error
            except (
                FileNotFoundError
            ) as error:  # a notebook shows this line, see fedkit.teaching.workspace
                line = what_is_missing(error)
                if line is None:
                    raise
                return FedkitError(line)
            except NameError as error:  # ordinary Python: a cell above has not run
                return FedkitError(f"{error} -> run the cells above")
        if "parameters" in self.tags[number]:
            self.names.update(self.parameters)
        return out.getvalue()

    def press(self) -> None:
        """Do something to one of the panels, if any lies there: press a button that is on, or fill a field."""
        choices = [
            (number, widget)
            for number, panel in self.panels.items()
            for widget in _inside(panel.box)
            if not getattr(widget, "disabled", True)
        ]
        if not choices:
            return
        number, widget = self.dice.choice(choices)
        self.log.append(f"{type(widget).__name__} {widget.description!r} of cell {number}")
        if isinstance(widget, ipywidgets.Button):
            widget.click()
        elif isinstance(widget, ipywidgets.Dropdown):
            if widget.options:
                widget.index = self.dice.randrange(len(widget.options))
        elif isinstance(widget, ipywidgets.Text):
            widget.value = self.dice.choice(WORDS)
        else:
            with contextlib.suppress(ValueError):  # the front end refuses it, too
                widget.value = type(widget.value)(self.dice.choice(ODD))

    def close(self) -> None:
        for panel in self.panels.values():
            panel.close()


_FIELDS = (
    ipywidgets.Button,
    ipywidgets.Dropdown,
    ipywidgets.Text,
    ipywidgets.FloatText,
    ipywidgets.IntText,
    ipywidgets.BoundedIntText,
    ipywidgets.BoundedFloatText,
)


def _inside(widget: ipywidgets.Widget | None) -> list[ipywidgets.Widget]:
    """The fields and buttons inside a box that are shown."""
    if widget is None or getattr(widget.layout, "display", None) == "none":
        return []
    if isinstance(widget, _FIELDS):
        return [widget]
    return [found for child in getattr(widget, "children", ()) for found in _inside(child)]
