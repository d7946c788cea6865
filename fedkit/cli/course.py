"""`fedkit course`: run the notebooks in batch, list and copy them, grade what learners hand in, slides, other graders."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from fedkit.base.distribution import course_files, need
from fedkit.base.errors import FedkitError
from fedkit.base.files import is_writable, write_bytes
from fedkit.base.text import how_many, one_line
from fedkit.cli.output import FAILED, Commands, console, say, show_table
from fedkit.experiments.lessons import (
    About,
    about,
    course_dir,
    edition_dir,
    editions,
    lesson_paths,
)

if TYPE_CHECKING:
    from fedkit.teaching.grade.table import Grade, Row

__all__ = ["app", "grades_table", "lessons_table"]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="The course's notebooks: run, list, copy, update, grade, slides, export.",
)
export = typer.Typer(
    cls=Commands, no_args_is_help=True, help="The course for other graders: nbgrader."
)
app.add_typer(export, name="export")

EditionName = Annotated[
    str, typer.Option(help="learner, solutions, colab, or a translation: de, de/solutions.")
]
Wanted = Annotated[
    list[str] | None, typer.Argument(metavar="[NN]...", help="Lessons by number or name.")
]
Notebooks = Annotated[Path | None, typer.Option("--notebooks", help="The folder of the course.")]


class _PapermillStyle(TyperCommand):
    """`-p name value`, as papermill takes it; an option of two values, repeated, is more than typer can say."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        joined: list[str] = []
        rest = iter(args)
        for word in rest:
            joined.append(word)
            if word in ("-p", "--parameter") and (name := next(rest, None)) is not None:
                if "=" in name:
                    joined.append(name)
                elif (value := next(rest, None)) is not None:
                    joined.append(f"{name}={value}")
        return super().parse_args(ctx, joined)


@app.command(cls=_PapermillStyle)
def run(
    wanted: Wanted = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME VALUE", help="Repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Notebooks at once.")] = 2,
    edition: EditionName = "learner",
    limit: Annotated[
        float | None,
        typer.Option(min=1, metavar="S", help="Seconds for a notebook; default ten budgets."),
    ] = None,
    out: Annotated[Path, typer.Option(help="For executed copies and the summary.")] = Path("runs"),
    notebooks: Notebooks = None,
) -> None:
    """Execute notebooks with papermill; copies, summary.json and summary.csv go to --out."""
    from tqdm import tqdm  # the plain bar: tqdm.auto would leave dead widgets in notebooks

    from fedkit.experiments.notebooks import run as run_notebooks
    from fedkit.experiments.summary import accuracy_by_round, failure, table, write_summary

    course = course_dir(notebooks)
    _check_edition(course, edition)
    values = dict(pair.split("=", 1) for pair in parameter or [])
    paths = lesson_paths(edition_dir(course, edition), wanted or [])
    with tqdm(total=len(paths), unit="notebook", disable=None) as bar:
        results = run_notebooks(
            paths,
            out / edition,
            parameters=values,
            jobs=jobs,
            limit_s=limit,
            on_cell=lambda name, cell, cells: bar.set_postfix_str(
                f"{name[:2]}: cell {cell}/{cells}"
            ),
            on_done=lambda result: bar.update(),
        )
    write_summary(results, out)
    console.print(table(results))
    rounds = accuracy_by_round(results)
    if rounds is not None:
        console.print(rounds)
    failed = [result for result in results if result.status != "done"]
    for result in failed:
        console.print(failure(result))
    console.print(f"Executed copies: {out / edition}")
    if failed:
        raise typer.Exit(FAILED)


def _check_edition(course: Path, edition: str) -> None:
    known = editions(course)
    if edition not in known:
        raise typer.BadParameter(f"choose one of {', '.join(known)}", param_hint="--edition")


@app.command("list")
def list_lessons(notebooks: Notebooks = None) -> None:
    """The course: number, title, a learner's minutes, what the learner will be able to do."""
    paths = lesson_paths(course_dir(notebooks))
    shipped = course_files() / "notebooks"  # for what nobody can read any more
    said = {path.stem: (about(path), about(shipped / path.name)) for path in paths}
    console.print(
        lessons_table({name: own if own.title else ours for name, (own, ours) in said.items()})
    )


@app.command()
def copy(
    wanted: Annotated[
        list[str], typer.Argument(metavar="NN...", help="Lessons by number or name.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Default: here.")] = Path(),
    edition: EditionName = "learner",
) -> None:
    """Copy lessons afresh, beside what is there: one with your work in it stays as it is."""
    from fedkit.teaching.course_folder import copy_lessons

    _check_edition(course_files() / "notebooks", edition)
    for one in copy_lessons(to, wanted, edition):
        stays = f" ({one.name} has your work and stays)" if one.what == "beside" else ""
        say(f"{one.path}{stays}")


@app.command()
def update(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where `fedkit start` put the course.")
    ] = Path(),
) -> None:
    """Bring a folder of `fedkit start` up to date: what you have worked on stays, the newer one comes beside it."""
    from fedkit.cli.start import say_placed
    from fedkit.teaching.course_folder import is_course, put_course

    if not is_course(folder):
        raise FedkitError(
            "is no folder that `fedkit start` put the course into",
            file=folder.absolute(),
            remedy="name that folder, or make one: fedkit start DIR",
        )
    say_placed(folder, put_course(folder))


@app.command("grade")
def grade_notebooks(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Learners' notebooks, in any folders.")
    ],
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Judge anew, in bounded processes; trust no output.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the table with all reasons as CSV.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the class's picture as PNG.")] = None,
    limit: Annotated[
        float, typer.Option(min=1, metavar="S", help="With --rerun: seconds for one notebook.")
    ] = 600,
    jobs: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --rerun: notebooks at once.")
    ] = 2,
    notebooks: Notebooks = None,
) -> None:
    """Who has which exercise right, in whose word, and where a class stops."""
    from tqdm import tqdm

    from fedkit.teaching.grade import grade, write_grades

    if picture is not None:
        need("the class's picture", "matplotlib")
    for target in filter(None, (out, picture)):
        _check_place(target)  # before hours of judging
    with tqdm(unit="notebook", disable=None) as bar:
        grades = grade(
            folder,
            anew=rerun,
            notebooks=notebooks,
            limit_s=limit,
            jobs=jobs,
            on_done=lambda submission: bar.update(),
        )
    show_table(grades_table(grades))
    for (lesson, name), count in grades.stops().most_common(3):
        say(f"{count} of {len(grades.learners)} stop at {lesson[:2]} {name}.")
    for lost in grades.unreadable:
        say(f"{one_line(lost.path.name)} ({lost.learner}): {lost.problem}", "red")
    for remark in grades.remarks:
        say(remark, "yellow")
    if out is not None:
        write_grades(grades, out)
        say(f"The table with all reasons: {out}")
    if picture is not None and grades.rows:
        drawn = io.BytesIO()
        grades.picture().savefig(drawn, format="png", dpi=150)
        write_bytes(picture, drawn.getvalue())
        say(f"The class's picture: {picture}")


def _check_place(target: Path) -> None:
    """Raises FedkitError where no file can be written at `target`, or it is somebody's notebook."""
    place = target.absolute()
    folder = next(above for above in place.parents if above.exists())
    if place.is_dir() or place.suffix == ".ipynb" or not is_writable(folder):
        raise FedkitError(
            "is no place for a file that can be written",
            file=target,
            remedy="name a new file, in a folder where you may write",
        )


@app.command("slides")
def write_slides(
    wanted: Annotated[
        list[str], typer.Argument(metavar="NN...", help="Lessons by number or name.")
    ],
    out: Annotated[Path, typer.Option(help="For NN_name.slides.html.")] = Path("slides"),
    executed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Your executed copy, or the folder of several, in place of running the solved edition.",
        ),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option(
            "--reveal",
            metavar="FILE|DIR",
            help="reveal.js as npm or pip fetched it; else it is fetched once.",
        ),
    ] = None,
    notebooks: Notebooks = None,
) -> None:
    """Write slides of lessons: one HTML file each, which needs no network. Key S opens the teacher's notes."""
    from fedkit.teaching.slides.lessons import lesson_slides

    folder = course_dir(notebooks)
    for path in lesson_paths(folder, wanted):
        target = out / f"{path.stem}.slides.html"
        lesson_slides(path, target, executed=executed, script=script, say=say)
        say(f"Wrote {target}; open it in a browser.", "green")


@export.callback()
def export_to() -> None:
    """The course for other graders: nbgrader."""


@export.command()
def nbgrader(
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="New or empty: the course goes there.")
    ],
    wanted: Wanted = None,
    points: Annotated[
        float, typer.Option(min=0, metavar="N", help="For an exercise: all or none.")
    ] = 10,
    quiz_points: Annotated[
        float,
        typer.Option(min=0, metavar="N", help="For a question of a quiz; 0: quizzes don't count."),
    ] = 1,
    notebooks: Notebooks = None,
) -> None:
    """Write a course that nbgrader's generate_assignment and autograde take; its README.md says how to go on."""
    from fedkit.teaching.nbgrader_course import export_nbgrader

    made = export_nbgrader(
        out,
        course_dir(notebooks, worked_on=False),
        wanted or [],
        points=points,
        quiz_points=quiz_points,
    )
    say(
        f"Wrote {how_many(len(made), 'file')} into {out}; its README.md says how to go on.", "green"
    )


def grades_table(grades: Grade) -> Table:
    """A row for each learner and lesson: exercises right, and the first that is not, with the reason."""
    shown = Table("learner", "lesson", "right", "the first that is not", "why", "look at")
    lessons: dict[tuple[str, str], list[Row]] = {}
    for row in grades.rows:
        lessons.setdefault((row.learner, row.lesson), []).append(row)
    for (learner, lesson), rows in lessons.items():
        asked = [row for row in rows if not row.quiz]
        right = sum(row.state == "right" for row in asked)
        stop = next((row for row in asked if row.state != "right"), None)
        doubts = dict.fromkeys(row.look_at for row in rows if row.look_at)
        first = f"{stop.name}: {stop.state}" if stop else ""
        cells = [learner, lesson[:2], f"{right}/{len(asked)}", first, stop.reason if stop else ""]
        shown.add_row(*[Text(cell) for cell in [*cells, "; ".join(doubts)]])
    return shown


def lessons_table(lessons: Mapping[str, About]) -> Table:
    """A row a lesson, by its file's name."""
    shown = Table("NN", "title", "minutes", "the learner will be able to")
    for name, lesson in lessons.items():
        does = lesson.promise.removeprefix("You will be able to ").rstrip(".")
        # Text, not markup: a title may hold square brackets
        cells = [name[:2], lesson.title or name, str(lesson.minutes or ""), does]
        shown.add_row(*[Text(cell) for cell in cells])
    shown.caption = f"{sum(lesson.minutes for lesson in lessons.values())} minutes in all"
    return shown
