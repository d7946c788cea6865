"""The authors' commands: `python -m tools.course build`, `check`, `list` and `timetable`, in a clone of the repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedkit.cli.course import Wanted, lessons_table
from fedkit.cli.output import FAILED, Commands, console, say
from tools.course import build as building
from tools.course.lesson import read_lesson, source_paths
from tools.course.lint import lint
from tools.course.timetable import notes_path, section_minutes, with_minutes

__all__ = ["app"]


app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The course's sources: build, check, list, timetable."
)

COURSE = Path(__file__).resolve().parents[2] / "notebooks"

Notebooks = Annotated[
    Path, typer.Option("--notebooks", help="The folder of the course.", show_default=False)
]


@app.command()
def build(notebooks: Notebooks = COURSE) -> None:
    """Build both editions of every notebook from src/."""
    source_paths(notebooks)
    changed = building.build(notebooks / "src", notebooks)
    for path in changed:
        say(f"built {path}")
    say(f"{len(changed)} notebooks changed")


@app.command()
def check(wanted: Wanted = None, notebooks: Notebooks = COURSE) -> None:
    """Hold the sources against the rules of a lesson, and the notebooks against their sources."""
    paths = source_paths(notebooks, wanted or [])
    stems = {path.stem for path in paths}
    problems = [problem for path in paths for problem in lint(path)]
    drifted = building.drift(notebooks / "src", notebooks)
    problems += [problem for problem in drifted if not wanted or problem.path.stem in stems]
    for problem in problems:
        say(str(problem))
    say(f"{len(paths)} lessons, {len(problems)} problems")
    if problems:
        raise typer.Exit(FAILED)


@app.command("list")
def list_lessons(notebooks: Notebooks = COURSE) -> None:
    """The course as its sources have it, built or not."""
    lessons = [read_lesson(path) for path in source_paths(notebooks)]
    console.print(lessons_table({lesson.name: lesson.about("learner") for lesson in lessons}))


@app.command()
def timetable(
    wanted: Wanted = None,
    notebooks: Notebooks = COURSE,
    write: Annotated[
        bool, typer.Option("--write", help="Put them into the tables of teaching/NN.md.")
    ] = False,
) -> None:
    """A lesson's minutes by section, dealt out from those of its card."""
    for path in source_paths(notebooks, wanted or []):
        lesson = read_lesson(path)
        for title, minutes in section_minutes(lesson).items():
            say(f"{lesson.number:02d} {minutes:3d} {title}")
        notes = notes_path(lesson)
        if write and notes.is_file():
            text = notes.read_text(encoding="utf-8")
            notes.write_text(with_minutes(text, lesson), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(app())
