"""What a sweep can run: a notebook of the course, any other notebook with a parameters cell, or `simulate`.

A target knows its parameters by name and type, makes values fit or says what is wrong, and has a fingerprint that changes
when what it runs changes: its own text, the files of one's own that it imports, torch's version. (MNIST's digits are held
to their SHA-256 by fedkit's sources, which are a part of each run's name themselves.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, sha256_bytes
from fedkit.base.text import nearest
from fedkit.data.folder import DataFolder, digest_of, read_data_folder
from fedkit.experiments.lessons import course_dir, edition_dir, editions, lesson_paths
from fedkit.experiments.local_code import imported_digests, notebook_code
from fedkit.experiments.parameters import default_texts, fit, is_text, parameters_of
from fedkit.experiments.trial import OF_DIGITS, Trial, check_trial, model_source

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

    @cached_property
    def known(self) -> Mapping[str, str]:
        """Its parameters, name -> type as text: what its cell tagged `parameters` declares."""
        return parameters_of(self.path)

    def is_text(self, name: str) -> bool:
        """Is what is given for this parameter a text, whatever it looks like?"""
        return is_text(self.known[name])

    def fit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the declared types. Raises FedkitError for one that it can't run with."""
        return fit(self.path, values)

    def fingerprint(self, values: Mapping[str, Any]) -> str:
        """Of what it runs, beside the package and the values: a SHA-256, in hex.

        Of a parameter that is the path of a file, or of a data folder, what lies there counts.
        """
        given = {**default_texts(self.path), **values}.values()
        read = {value: self._content(value) for value in given if isinstance(value, str)}
        return sha256_bytes(json.dumps([self._code, read], sort_keys=True).encode())

    @cached_property
    def _code(self) -> str:
        data = read_bytes(self.path)
        return _fingerprint(data, notebook_code(data), [self.path.parent])

    def _content(self, name: str) -> str | None:
        if name not in self._contents:
            self._contents[name] = _content(self.path.parent, name)
        return self._contents[name]

    @cached_property
    def _contents(self) -> dict[str, str | None]:
        return {}


def _content(folder: Path, name: str) -> str | None:
    """A digest of the file, or of the data folder, of this path; None where there is neither."""
    path = folder / name
    with suppress(OSError, ValueError):  # a text that can be no path
        if path.is_file():
            return sha256_bytes(read_bytes(path, max_bytes=2**31))
        if (path / "task.json").is_file():
            return digest_of(path)
    return None


def _fingerprint(text: bytes, code: Sequence[str], places: Sequence[Path]) -> str:
    """Of a text, what its code imports from these places, and torch."""
    parts = [sha256_bytes(text), imported_digests(code, places), version("torch")]
    return sha256_bytes(json.dumps(parts, sort_keys=True).encode())


class SimulateTarget:
    """`simulate` with the parameters of a `Trial`. data_dir : a data folder, in the place of MNIST's digits."""

    name = SIMULATE

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data: DataFolder | None = None if data_dir is None else read_data_folder(data_dir)
        self._data_dir = data_dir
        self._fingerprints: dict[str, str] = {}

    @cached_property
    def known(self) -> Mapping[str, str]:
        """The fields of `Trial`."""
        fields = Trial.model_fields.items()
        return {n: str(field.annotation) for n, field in fields if not n.startswith("data_")}

    def is_text(self, name: str) -> bool:
        """Is what is given for this parameter a text, whatever it looks like? Where its default is one."""
        return isinstance(Trial.model_fields[name].default, str)

    def fit(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, those that were not given at their defaults. Raises FedkitError."""
        if self.data is None:
            return check_trial(dict(values)).model_dump(exclude={"data_dir", "data_sha256"})
        for name in values:
            if name in OF_DIGITS:
                raise FedkitError(
                    "says how MNIST's digits are dealt out, and a data folder's are dealt out already",
                    field=name,
                    remedy="leave it out, or leave out `data`",
                )
        count = len(self.data.shards)
        if values.get("participants", count) != count:
            raise FedkitError(
                f"are {values['participants']}, and there is data of {count}: {', '.join(self.data.shards):.200}",
                field="participants",
                remedy="leave it out: the data folder says who takes part",
            )
        own = {"participants": count, "data_dir": str(self._data_dir)}
        trial = check_trial({**values, **own, "data_sha256": self.data.digest})
        return trial.model_dump(exclude=OF_DIGITS)

    def fingerprint(self, values: Mapping[str, Any]) -> str:
        """Of the model, beside the package and the values: a SHA-256, in hex."""
        name = values["model"]
        if name not in self._fingerprints:
            source = model_source(name)
            places = [Path(), Path(name).parent]
            self._fingerprints[name] = _fingerprint(source.encode(), [source], places)
        return self._fingerprints[name]


Target = NotebookTarget | SimulateTarget
"""What is run, many times."""


def find_target(
    asked: object,
    *,
    edition: str = "learner",
    folder: Path | None = None,
    data: object = None,
) -> Target:
    """What the key `run` of a spec means: "simulate", a lesson by number or name, or the path of an .ipynb.

    folder : where relative paths begin. data : a data folder for `simulate`. Raises FedkitError if there is nothing of that
    name.
    """
    text = str(asked)
    if text == SIMULATE:
        return SimulateTarget(None if data is None else ((folder or Path()) / str(data)).absolute())
    if data is not None:
        raise FedkitError(
            "is for `run: simulate`; a notebook reads its data by itself",
            field="data",
            remedy="leave it out, or give the notebook a parameter for the folder: what lies there counts",
        )
    if text.endswith(".ipynb"):
        path = (folder or Path()) / text
        if not path.is_file():
            raise FedkitError(f"there is no notebook {text}", field="run", remedy="check the path")
        return NotebookTarget(path)
    course = course_dir()
    if edition not in editions(course):
        raise FedkitError(
            f"{edition!r} is none", field="edition", remedy=f"one of {', '.join(editions(course))}"
        )
    lessons = lesson_paths(edition_dir(course, edition))
    for path in lessons:
        if text == path.stem or (text.isdecimal() and int(text) == int(path.stem[:2])):
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
