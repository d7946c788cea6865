"""What may be passed to a notebook: papermill only warns of a name it doesn't know, we refuse it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest

__all__ = ["BATCH", "fit", "parameters_of"]


BATCH = {"interactive": False}
"""What a notebook that has such a parameter gets in batch, where nobody can press a button."""


def parameters_of(path: Path) -> dict[str, str]:
    """The parameters of a built notebook: name -> declared type ("int"; "None" where it has none).

    Raises FedkitError if the notebook can't be read, or has no cell tagged `parameters`: papermill would put the
    values on top of it, where the lesson's own values overwrite them.
    """
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
    return {p.name: p.inferred_type_name for p in PythonTranslator.inspect({"source": source})}


def fit(path: Path, values: Mapping[str, object]) -> dict[str, Any]:
    """`values` as the notebook's parameters want them, on top of those of `BATCH`; text is read as the declared type.

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
    read = value
    if isinstance(value, str) and kind != "str":
        with suppress(ValueError, SyntaxError):  # left as text, it is told what it should be
            read = ast.literal_eval(value.capitalize() if kind == "bool" else value)
    if kind == "float" and type(read) is int:
        read = float(read)
    if kind in ("bool", "float", "int", "list", "str") and type(read).__name__ != kind:
        raise FedkitError(
            f"{value!r} is no {kind}",
            file=path,
            field=name,
            remedy=f"give one value of type {kind}",
        )
    return read
