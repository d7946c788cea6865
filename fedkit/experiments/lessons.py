"""The course as a folder of built notebooks: where it lies, which lessons it has, what each says of itself.

A notebook carries its author's promises (minutes, seconds, what one will be able to do) in its own metadata, under
`fedkit`, so that running and listing the course need nothing but the notebooks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fedkit.base.distribution import clone, course_files
from fedkit.base.errors import FedkitError

__all__ = [
    "EDITIONS",
    "HOSTED",
    "LANGUAGE",
    "NAME",
    "STATE",
    "About",
    "about",
    "course_dir",
    "edition_dir",
    "editions",
    "hours",
    "how_to_get_again",
    "lesson_paths",
]


EDITIONS = ("learner", "solutions")
"""What there is of a lesson in each language."""
HOSTED = "colab"
"""The learner's edition for somebody else's machine: its first code cell installs fedkit."""
LANGUAGE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?")
"""What the folder of a translation is called: `de`, `pt_BR`."""
NAME = re.compile(r"\d\d_[a-z0-9_]+")
"""What a lesson's file is called, without its suffix."""
STATE = ".fedkit-course.json"
"""What says of a folder that `fedkit start` put the course there."""


class About(BaseModel):
    """What a notebook says of itself; the build puts it there. A notebook from elsewhere says nothing."""

    model_config = ConfigDict(frozen=True)

    edition: str = "learner"
    title: str = ""
    promise: str = ""  # "You will be able to ... ."
    minutes: int = 0  # a learner's time
    budget_s: float | None = None  # seconds that running all cells may take

    @property
    def solved(self) -> bool:
        """Is it a solved edition, in whatever language?"""
        return self.edition.rpartition("/")[2] == EDITIONS[1]


def about(path: Path) -> About:
    """What the notebook says of itself, or nothing where it can't be read; it is its runner who says why."""
    try:
        return About.model_validate(json.loads(path.read_bytes())["metadata"]["fedkit"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return About()


def how_to_get_again(path: Path) -> str:
    """What to do about a lesson's file that is missing or broken: build it in the clone, elsewhere copy it afresh."""
    top = clone()
    if top is not None and path.absolute().is_relative_to(top.absolute()):
        return "build it: python -m tools.course build"
    if not NAME.fullmatch(path.stem):
        return "give a notebook"
    solved = f" --edition solutions --to {path.parent}" if path.parent.name == "solutions" else ""
    return f"get it afresh, beside this one: fedkit course copy {path.stem[:2]}{solved}"


def hours(minutes: int) -> str:
    """Minutes as a person says them: `45 min`, `1 h`, `2 h 50 min`."""
    whole, rest = divmod(minutes, 60)
    return " ".join([f"{whole} h"] * bool(whole) + [f"{rest} min"] * bool(rest or not whole))


def course_dir(given: Path | None = None, *, worked_on: bool = True) -> Path:
    """The folder of the course: as given, this one if `fedkit start` made it, `notebooks` here, or what came with fedkit.

    worked_on : False where a learner's own copy is no measure, as in grading; this folder is left out then.
    Raises FedkitError where it is no folder.
    """
    here = [Path()] if worked_on and Path(STATE).is_file() else []
    found = [folder for folder in (*here, Path("notebooks")) if _lessons(folder, ".ipynb")]
    folder = given or next(iter(found), course_files() / "notebooks")
    if not folder.is_dir():
        raise FedkitError(
            "is no folder with the notebooks of the course",
            file=folder,
            remedy="give --notebooks, or leave it out for the course that comes with fedkit",
        )
    return folder


def edition_dir(out_dir: Path, edition: str) -> Path:
    """The folder of an edition: the learner's is `out_dir` itself."""
    return out_dir if edition == "learner" else out_dir / edition


def editions(folder: Path) -> list[str]:
    """The editions of the course in `folder`: learner, solutions, and of the others those that are there.

    colab is for somebody else's machine; a translation has its language's name, its solved edition `de/solutions`.
    """
    spoken = sorted(p.name for p in folder.glob("*") if LANGUAGE.fullmatch(p.name) and p.is_dir())
    more = [HOSTED, *(each for name in spoken for each in (name, f"{name}/{EDITIONS[1]}"))]
    return [*EDITIONS, *(e for e in more if _lessons(edition_dir(folder, e), ".ipynb"))]


def lesson_paths(folder: Path, wanted: Sequence[str] = (), suffix: str = ".ipynb") -> list[Path]:
    """The lessons in `folder`, in order; `wanted` selects by number ("4", "04") or name ("04_aggregate").

    Raises FedkitError if the folder holds no lesson, or a wanted one is not there.
    """
    paths = _lessons(folder, suffix)
    if not paths:
        raise FedkitError(
            "holds no lesson",
            file=folder,
            remedy=f"give a folder with files named NN_name{suffix}"
            + (", or build them: python -m tools.course build" if suffix == ".ipynb" else ""),
        )
    chosen: set[Path] = set()
    for word in wanted:
        found = [
            p
            for p in paths
            if word == p.stem or (word.isdecimal() and int(word) == int(p.stem[:2]))
        ]
        if not found:
            raise FedkitError(
                f"there is no lesson {word}",
                file=folder,
                remedy="choose from " + ", ".join(path.stem for path in paths),
            )
        chosen.update(found)
    return [path for path in paths if path in chosen or not wanted]


def _lessons(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{suffix}") if NAME.fullmatch(path.stem))
