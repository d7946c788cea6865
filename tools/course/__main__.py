"""The authors' commands: `python -m tools.course build`, `check` and `list`, in a clone of the repository."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fedkit.base.errors import FedkitError
from fedkit.cli.course import lessons_table
from tools.course import build as building
from tools.course.lesson import read_lesson, source_paths
from tools.course.lint import lint

__all__ = ["app"]


app = typer.Typer(no_args_is_help=True, help="The course's sources: build, check, list.")
console = Console()

COURSE = Path(__file__).resolve().parents[2] / "notebooks"

Wanted = Annotated[
    list[str] | None, typer.Argument(metavar="[NN]...", help="Lessons by number or name.")
]
Notebooks = Annotated[
    Path, typer.Option("--notebooks", help="The folder of the course.", show_default=False)
]


@app.command()
def build(notebooks: Notebooks = COURSE) -> None:
    """Build both editions of every notebook from src/."""
    with _errors():
        source_paths(notebooks)
        changed = building.build(notebooks / "src", notebooks)
        for path in changed:
            console.print(f"built {path}", highlight=False, soft_wrap=True)
        console.print(f"{len(changed)} notebooks changed")


@app.command()
def check(wanted: Wanted = None, notebooks: Notebooks = COURSE) -> None:
    """Hold the sources against the rules of a lesson, and the notebooks against their sources."""
    with _errors():
        paths = source_paths(notebooks, wanted or [])
        problems = [problem for path in paths for problem in lint(path)]
        stems = {path.stem for path in paths}
        drifted = building.drift(notebooks / "src", notebooks)
        problems += [p for p in drifted if not wanted or p.path.stem in stems]
        for problem in problems:
            console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(paths)} lessons, {len(problems)} problems")
        if problems:
            raise typer.Exit(1)


@app.command("list")
def list_lessons(notebooks: Notebooks = COURSE) -> None:
    """The course as its sources have it, built or not."""
    with _errors():
        lessons = [read_lesson(path) for path in source_paths(notebooks)]
        console.print(lessons_table({lesson.name: lesson.about("learner") for lesson in lessons}))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except FedkitError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    sys.exit(app())
