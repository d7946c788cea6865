"""What a sweep can run: a notebook of the course, any other notebook with a parameters cell, or `simulate`.

A target knows its parameters by name and type, makes values fit or says what is wrong, and has a fingerprint that changes
when what it runs changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, sha256_bytes
from fedkit.base.text import nearest
from fedkit.experiments.lessons import EDITIONS, course_dir, edition_dir, lesson_paths
from fedkit.experiments.parameters import fit, parameters_of
from fedkit.experiments.trial import Trial, check_trial, model_source

__all__ = ["SIMULATE", "NotebookTarget", "SimulateTarget", "Target", "find_target", "unknown_name"]


SIMULATE = "simulate"


@dataclass(frozen=True)
class NotebookTarget:
    """A built notebook, run by papermill."""

    path: Path

    @property
    def name(self) -> str:
        """The notebook's, such as `06_differ`."""
        return self.path.stem

    @property
    def known(self) -> Mapping[str, str]:
        """Its parameters, name -> type as text: what its cell tagged `parameters` declares."""
        return parameters_of(self.path)

    def fit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the declared types. Raises FedkitError for one that it can't run with."""
        return fit(self.path, values)

    def fingerprint(self, values: Mapping[str, Any]) -> str:
        """Of what it runs, beside the package and the values: the SHA-256 of the notebook's file."""
        return sha256_bytes(read_bytes(self.path))


class SimulateTarget:
    """`simulate` with the parameters of a `Trial`."""

    name = SIMULATE

    @property
    def known(self) -> Mapping[str, str]:
        """The fields of `Trial`."""
        return {name: str(field.annotation) for name, field in Trial.model_fields.items()}

    def fit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, those that were not given at their defaults. Raises FedkitError."""
        return check_trial(dict(values)).model_dump()

    def fingerprint(self, values: Mapping[str, Any]) -> str:
        """The SHA-256 of the model's source."""
        return sha256_bytes(model_source(values["model"]).encode())


Target = NotebookTarget | SimulateTarget
"""What is run, many times."""


def find_target(asked: object, *, edition: str = "learner", folder: Path | None = None) -> Target:
    """What the key `run` of a spec means: "simulate", a lesson by number or name, or the path of an .ipynb.

    folder : where relative paths begin. Raises FedkitError if there is nothing of that name.
    """
    text = str(asked)
    if text == SIMULATE:
        return SimulateTarget()
    if text.endswith(".ipynb"):
        path = (folder or Path()) / text
        if not path.is_file():
            raise FedkitError(f"there is no notebook {text}", field="run", remedy="check the path")
        return NotebookTarget(path)
    if edition not in EDITIONS:
        raise FedkitError(
            f"{edition!r} is none", field="edition", remedy=f"one of {', '.join(EDITIONS)}"
        )
    lessons = lesson_paths(edition_dir(course_dir(), edition))
    for path in lessons:
        if text == path.stem or (text.isdigit() and int(text) == int(path.stem[:2])):
            return NotebookTarget(path)
    names = [SIMULATE, *(path.stem for path in lessons)]
    raise unknown_name(
        text, names, "run", "neither `simulate` nor a lesson nor the path of an .ipynb"
    )


def unknown_name(name: str, known: list[str], field: str, what: str) -> FedkitError:
    """An error for a name that is not in a list: it says the nearest one, and all of them."""
    near = nearest(name, known)
    meant = f"; did you mean {near}?" if near else ""
    listed = f"choose from {', '.join(known)}" if known else "leave it out"
    return FedkitError(f"{name!r} is {what}{meant}", field=field, remedy=listed)
