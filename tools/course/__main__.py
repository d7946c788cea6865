"""The authors' commands in a clone: `python -m tools.course build`, `check`, `translate`, `minutes` and `list`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.errors import FedkitError
from fedkit.cli.course import Wanted, lessons_table
from fedkit.cli.output import FAILED, Commands, console, say
from tools.course import build as building
from tools.course import lint_translation, overview, translation
from tools.course.effort import by_section, minutes
from tools.course.lesson import read_lesson, source_paths
from tools.course.lint import lint

__all__ = ["app"]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The course's sources: build, check, translate, minutes, list.",
)

COURSE = Path(__file__).resolve().parents[2] / "notebooks"

Notebooks = Annotated[
    Path, typer.Option("--notebooks", help="The folder of the course.", show_default=False)
]


Language = Annotated[
    str | None, typer.Option("--lang", help="A language with catalogues, such as de.")
]


@app.command()
def build(notebooks: Notebooks = COURSE, lang: Language = None) -> None:
    """Build every edition of every notebook from src/ and locale/; with --lang that language's alone."""
    source_paths(notebooks)
    changed = building.build(notebooks / "src", notebooks, lang)
    for path in changed:
        say(f"built {path}")
    say(f"{len(changed)} notebooks changed")


@app.command()
def check(wanted: Wanted = None, notebooks: Notebooks = COURSE) -> None:
    """Hold sources against the rules of a lesson, translations against sources, notebooks against both."""
    paths = source_paths(notebooks, wanted or [])
    stems = {path.stem for path in paths}
    problems = [problem for path in paths for problem in lint(path)]
    drifted = building.drift(notebooks / "src", notebooks)
    with contextlib.suppress(FedkitError):  # a source that can't be read has been named already
        course = [read_lesson(path) for path in source_paths(notebooks)]
        drifted += overview.problems(course)
        drifted += lint_translation.problems(notebooks, course)
    problems += [problem for problem in drifted if not wanted or problem.path.stem in stems]
    for problem in problems:
        say(str(problem))
    say(f"{len(paths)} lessons, {len(problems)} problems")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def translate(
    lang: Annotated[str, typer.Option("--lang", help="The language, such as de.")],
    wanted: Wanted = None,
    notebooks: Notebooks = COURSE,
) -> None:
    """Bring a language's catalogues up to date: new texts empty, changed ones fuzzy, gone ones obsolete.

    Lessons that are named and have no catalogue get one.
    """
    course = [read_lesson(path) for path in source_paths(notebooks)]
    names = {path.stem for path in source_paths(notebooks, wanted or [])} if wanted else set()
    begin = [lesson for lesson in course if lesson.name in names]
    done = translation.update(notebooks, lang, course, begin)
    for one in done:
        said = f"{one.path.stem}: {one.translated} of {one.texts} texts translated"
        more = {"fuzzy": one.fuzzy, "obsolete": one.obsolete}
        say(", ".join([said, *(f"{count} {what}" for what, count in more.items() if count)]))
    share = sum(one.translated for one in done) / sum(one.texts for one in done)
    say(f"{lang}: {share:.0%} of {sum(one.texts for one in done)} texts translated")


@app.command("minutes")
def show_minutes(wanted: Wanted = None, notebooks: Notebooks = COURSE) -> None:
    """How long each section takes a learner, by the formula in tools/course/effort.py."""
    for path in source_paths(notebooks, wanted or []):
        lesson = read_lesson(path)
        say(f"{lesson.name[:2]} {lesson.title}: {minutes(lesson)} minutes")
        for heading, each in by_section(lesson).items():
            say(f"{each:6.1f}  {heading}")


@app.command("list")
def list_lessons(notebooks: Notebooks = COURSE) -> None:
    """The course as its sources have it, built or not."""
    lessons = [read_lesson(path) for path in source_paths(notebooks)]
    console.print(
        lessons_table({lesson.name: building.about(lesson, "learner") for lesson in lessons})
    )


if __name__ == "__main__":
    sys.exit(app())
