"""A lesson of the course made into a file of slides: run if need be, with its learner's edition and its teacher's notes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes
from fedkit.experiments.lessons import EDITIONS, edition_dir
from fedkit.experiments.notebooks import run
from fedkit.teaching.slides.page import slides
from fedkit.teaching.slides.reveal import reveal

__all__ = ["lesson_slides"]


MOST = 2**28  # bytes of an executed notebook
NOTES = "teaching"
"""The folder of the teacher's notes, beside the lessons."""


def lesson_slides(
    lesson: Path,
    target: Path,
    *,
    executed: Path | None = None,
    script: Path | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> int:
    """Write the slides of a lesson; returns how many there are.

    Parameters
    ----------
    lesson : the learner's edition; `solutions/` beside it has the solved one, `teaching/NN.md` the notes, if there are any.
    target : the file to write; slides that lie there are replaced, anything else is not.
    executed : an executed copy, or a folder that has one; default: the solved edition is run now.
    script : as `given` of `reveal.reveal`.

    Raises FedkitError where something is missing, the lesson fails when it is run, or `executed` has no outputs.
    """
    need("a lesson as slides", "nbconvert", "nbformat")
    if target.exists() and not _ours(target):
        raise FedkitError(
            "is there, and no slides of fedkit",
            file=target,
            remedy="move it away, or choose another folder: --out",
        )
    files = reveal(script)  # before the lesson runs for a minute in vain
    if executed is None:
        say(f"Running {lesson.stem}, for its pictures.")
        ready = _run(edition_dir(lesson.parent, EDITIONS[1]) / lesson.name)
    else:
        ready = _read(executed / lesson.name if executed.is_dir() else executed)
        if not any(cell.get("outputs") for cell in ready["cells"]):
            raise FedkitError(
                "has no outputs to show",
                file=executed,
                remedy="give an executed copy, or leave out --executed and the lesson is run",
            )
    notes = lesson.parent / NOTES / f"{lesson.stem[:2]}.md"
    page, count = slides(
        ready,
        files,
        learner=_read(lesson),
        notes=notes.read_text(encoding="utf-8") if notes.is_file() else "",
    )
    write_bytes(target, page.encode())
    return count


def _ours(target: Path) -> bool:
    return target.is_file() and b"startSlides(" in target.read_bytes()


def _read(path: Path) -> dict[str, Any]:
    import nbformat

    data = read_bytes(
        path, max_bytes=MOST, absent="give an executed copy of the lesson, or leave it out"
    )
    try:
        found = nbformat.reads(data.decode("utf-8-sig"), as_version=4)
        nbformat.validate(found)
        return dict(found)
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise FedkitError(
            "is no notebook that can be read",
            file=path,
            why=str(error).partition("\n")[0],
            remedy="give an executed copy of the lesson, as an .ipynb file",
        ) from error


def _run(path: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fedkit-slides-", ignore_cleanup_errors=True) as folder:
        (result,) = run([path], Path(folder), jobs=1)
        if result.status != "done" or result.output is None:
            raise FedkitError(
                f"could not be run for its pictures: {result.status}",
                file=path,
                why=result.error,
                remedy=f"look at it with `fedkit course run {path.stem[:2]} --edition {EDITIONS[1]}`",
            )
        return _read(result.output)
