"""`fedkit start`: the course in a folder, and JupyterLab on its first lesson."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fedkit.base.distribution import need
from fedkit.base.text import one_line
from fedkit.cli.output import say
from fedkit.experiments.side_by_side import same_python

if TYPE_CHECKING:
    from fedkit.teaching.course_folder import Placed

__all__ = ["say_placed", "start"]

DEFAULT = "fedkit-course"


def start(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help=f"For the course. Default: this folder if it has the course, else ./{DEFAULT}.",
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open no browser; Lab says its address.")
    ] = False,
    lab: Annotated[
        list[str] | None,
        typer.Option(
            "--lab", metavar="WORD", help="For JupyterLab: --lab=--port=9999. Repeatable."
        ),
    ] = None,
) -> None:
    """Put the course into a folder and open JupyterLab on its first lesson; your own work there stays as it is."""
    from fedkit.teaching.course_folder import FIRST, is_course, put_course

    where = folder or (Path() if is_course(Path()) else Path(DEFAULT))
    say_placed(where, put_course(where))
    need("JupyterLab, to work through it,", "jupyterlab", "ipykernel", "ipywidgets", "matplotlib")
    if no_browser:
        say(f"JupyterLab tells its address below; open {FIRST} there.")
    words = [FIRST, *(["--no-browser"] if no_browser else []), *(lab or [])]
    # its kernels are this Python, whatever kernels the user has elsewhere
    environment = os.environ | same_python() | {"JUPYTER_PREFER_ENV_PATH": "1"}
    _become([sys.executable, "-m", "jupyterlab", *words], where, environment)


def say_placed(folder: Path, placed: Sequence[Placed]) -> None:
    """Tell what became of the files of the course; of each that lies beside somebody's work, where."""
    from fedkit.teaching.course_folder import BEFORE

    count = {what: sum(one.what == what for one in placed) for what in ("new", "replaced", "kept")}
    told = {
        "new": "new",
        "replaced": f"brought up to date (as they were: {BEFORE})",
        "kept": "with your work, left as they are",
    }
    parts = [f"{number} {told[what]}" for what, number in count.items() if number]
    say(
        f"The course is in {one_line(folder.absolute())}: {', '.join(parts) or 'nothing has changed'}."
    )
    for one in placed:
        if one.what == "beside":
            say(
                f"{one.name} has your work and stays; the newer one lies beside it: {one.path.name}",
                "yellow",
            )


def _become(command: Sequence[str], folder: Path, environment: dict[str, str]) -> NoReturn:
    """Go on as another program, in `folder`: Ctrl-C and all signals are its own."""
    sys.stdout.flush()
    os.chdir(folder)
    if os.name != "nt":
        os.execve(command[0], list(command), environment)
    try:
        code = subprocess.call(command, env=environment)
    except KeyboardInterrupt:  # Lab has had it too
        code = 0
    raise typer.Exit(code)
