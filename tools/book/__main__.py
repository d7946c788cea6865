"""`python -m tools.book`: execute what the cache does not have, write the sources, build them, test what came out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fedkit.base.errors import FedkitError
from fedkit.cli.output import Commands, say
from tools.book.lessons import executed
from tools.book.links import broken, outside, read_pages
from tools.book.sources import write_sources

__all__ = ["app"]

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "notebooks"
BUILDER = "book-venv"

app = typer.Typer(cls=Commands, help="The book: the course as pages to read.")


@app.callback(invoke_without_command=True)
def book(
    out: Annotated[Path, typer.Option(help="Where it is built; the pages are in html/.")] = ROOT
    / "runs"
    / "book",
    cache: Annotated[Path, typer.Option(help="Executed lessons, and what is fetched.")] = ROOT
    / "runs"
    / "book-cache",
    python: Annotated[
        Path | None, typer.Option(help="A Python with Sphinx; default: that of runs/book-venv.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Lessons and pages at once.")] = 2,
) -> None:
    """Build the book into OUT/html."""
    started = time.monotonic()
    builder = python or _builder()
    copies = executed(COURSE, cache / "lessons", jobs=jobs, say=say)
    since = time.monotonic()
    say(f"lessons: {since - started:.0f} s")
    write_sources(COURSE, copies, out / "source", cache / "npm")
    html = out / "html"
    _sphinx(builder, out, jobs)
    say(f"pages: {time.monotonic() - since:.0f} s")
    pages = read_pages(html)
    problems = [f"leads nowhere: {line}" for line in broken(pages, html)]
    problems += [f"from another host: {line}" for line in outside(pages, html)]
    for line in problems:
        say(line)
    if problems:
        raise FedkitError(
            f"{len(problems)} links of the book are wrong", file=html, remedy="see the lines above"
        )
    say(f"{len(pages)} pages after {time.monotonic() - started:.0f} s: {html / 'index.html'}")


def _builder() -> Path:
    home = ROOT / "runs" / BUILDER
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.is_file():
        raise FedkitError(
            "Sphinx has no environment yet", file=home, remedy="run: python tools/setup.py --book"
        )
    return python


def _sphinx(python: Path, out: Path, jobs: int) -> None:
    """Sphinx, in its own environment; a warning is an error."""
    shutil.rmtree(out / "html", ignore_errors=True)
    command = [
        *(
            str(python),
            "-m",
            "sphinx",
            "-b",
            "html",
            "-q",
            "-W",
            "--keep-going",
            "-E",
            "-j",
            str(jobs),
        ),
        *("-d", str(out / "doctrees"), str(out / "source"), str(out / "html")),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        raise FedkitError("Sphinx did not build the book", remedy="see its own words above")


if __name__ == "__main__":
    sys.exit(app())
