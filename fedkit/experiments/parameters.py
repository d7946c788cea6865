"""What may be passed to a notebook: papermill only warns of a name it doesn't know, we refuse it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.experiments.yaml_core import plain, read_yaml

__all__ = ["BATCH", "default_texts", "fit", "is_text", "parameters_of"]


BATCH = {"interactive": False}
"""What a notebook that has such a parameter gets in batch, where nobody can press a button."""


def parameters_of(path: Path) -> dict[str, str]:
    """The parameters of a built notebook: name -> its declared type, else that of its default ("int"; "None" for any).

    Raises FedkitError if the notebook can't be read, or has no cell tagged `parameters`: papermill would put the
    values on top of it, where the lesson's own values overwrite them.
    """
    return {p.name: _kind(p.inferred_type_name, p.default) for p in _inspect(path)}


def default_texts(path: Path) -> dict[str, str]:
    """Those parameters of a built notebook whose default is a text, with that text. Raises as `parameters_of`."""
    defaults = {p.name: _literal(p.default) for p in _inspect(path)}
    return {name: value for name, value in defaults.items() if isinstance(value, str)}


def _inspect(path: Path) -> list[Any]:
    from papermill.translators import PythonTranslator

    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FedkitError(
            "is no notebook that can be read",
            file=path,
            why=str(error),
            remedy="build it: python -m tools.course build",
        ) from error
    if len(tagged) != 1:
        raise FedkitError(
            f"has {len(tagged)} cells tagged `parameters` instead of one",
            file=path,
            remedy='tag the cell with the parameters: # %% tags=["parameters"]',
        )
    source = "".join(tagged[0]["source"])
    return list(PythonTranslator.inspect({"source": source}))


def _kind(declared: str, default: str) -> str:
    """The declared type; where there is none, that of the default, as far as it is written down as a value."""
    value = _literal(default)
    return declared if declared != "None" or value is None else type(value).__name__


def _literal(source: str) -> Any:
    """The value that stands there; None where it is computed."""
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(source)
    return None


def is_text(kind: str) -> bool:
    """Is what is given for a parameter of this type a text, whatever it looks like?"""
    return kind == "str"


def fit(path: Path, values: Mapping[str, object]) -> dict[str, Any]:
    """`values` as the notebook's parameters want them, on top of those of `BATCH`; text is read as the parameter's type.

    Raises FedkitError for a name that the notebook doesn't have (with the nearest one) and for a value of another
    type.
    """
    known = parameters_of(path)
    fitted: dict[str, Any] = {name: value for name, value in BATCH.items() if name in known}
    for name, value in values.items():
        if name not in known:
            near = nearest(name, known)
            remedy = f"did you mean {near}?" if near else f"it has {', '.join(known) or 'none'}"
            raise FedkitError(
                "is no parameter of this notebook", file=path, field=name, remedy=remedy
            )
        fitted[name] = _as(path, name, known[name].partition("[")[0], value)
    return fitted


def _as(path: Path, name: str, kind: str, value: object) -> Any:
    read = value if is_text(kind) or not isinstance(value, str) else _read(value)
    if kind == "float" and type(read) is int:
        read = float(read)
    checked = ("bool", "dict", "float", "int", "list", "str")
    if kind in checked and type(read).__name__ != kind:
        raise FedkitError(
            f"{value!r} is no {kind}",
            file=path,
            field=name,
            remedy=f"give one value of type {kind}",
        )
    return read


def _read(text: str) -> Any:
    """The value that a text stands for, by Python or else by YAML; left as text, it is told what it should be."""
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        return plain(read_yaml(text))
    return text
