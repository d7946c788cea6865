"""What may be passed to a notebook: papermill only warns of a name it doesn't know, we refuse it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.experiments.lessons import how_to_get_again
from fedkit.experiments.yaml_core import plain, read_yaml

__all__ = ["BATCH", "default_texts", "fit", "is_text", "parameters_of", "read_notebook"]


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


def read_notebook(path: Path) -> dict[str, Any]:
    """A notebook in the form of nbformat 4, whatever version and byte order mark it was saved with. Raises OSError,
    ValueError."""
    values = json.loads(path.read_bytes())  # a byte order mark is no part of it
    if isinstance(values, dict) and values.get("nbformat", 4) < 4:
        need("a notebook in an old format", "nbformat")
        import nbformat

        text = nbformat.writes(nbformat.convert(nbformat.from_dict(values), 4))
        values = json.loads(text)
    return dict(values)


def _inspect(path: Path) -> list[Any]:
    need("a notebook in batch", "papermill")
    from papermill.models import Parameter
    from papermill.translators import PythonTranslator

    try:
        cells = read_notebook(path)["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FedkitError(
            "is no notebook that can be read",
            file=path,
            why=str(error),
            remedy=how_to_get_again(path),
        ) from error
    if len(tagged) != 1:
        raise FedkitError(
            f"has {len(tagged)} cells tagged `parameters` instead of one",
            file=path,
            remedy='tag the cell with the parameters: # %% tags=["parameters"]',
        )
    source = "".join(tagged[0]["source"])
    found = list(PythonTranslator.inspect({"source": source}))
    known = {p.name for p in found}
    for name, kind, default in _annotated(
        source
    ):  # papermill knows no `float | None`, no `Literal["a"]`
        if name not in known:
            found.append(Parameter(name, kind, default, ""))
    return found


def _annotated(source: str) -> list[tuple[str, str, str]]:
    """Names, types and defaults of the annotated assignments in a piece of code; none where it is no Python."""
    lines = []
    with suppress(SyntaxError, ValueError):
        for node in ast.parse(source).body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                kind = ast.unparse(node.annotation)
                lines.append((node.target.id, kind, ast.unparse(node.value)))
    return lines


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
        fitted[name] = _as(path, name, known[name], value)
    return fitted


def _as(path: Path, name: str, kind: str, value: object) -> Any:
    allowed = _allowed(kind)
    if allowed is None:  # a type that nobody can check
        return _read(value) if isinstance(value, str) else value
    kinds, choices = allowed
    read = value
    if isinstance(value, str) and not _chosen(value, choices) and kinds != {"str"}:
        read = _read(value)
        if "str" in kinds and type(read).__name__ not in kinds:
            read = value
    if type(read) is int and "float" in kinds and "int" not in kinds:
        read = float(read)
    if type(read) is list and "tuple" in kinds and "list" not in kinds:
        read = tuple(read)
    if type(read).__name__ not in kinds and not _chosen(read, choices):
        raise FedkitError(
            f"{value!r} is no {kind}",
            file=path,
            field=name,
            remedy=f"give one value of type {kind}",
        )
    return read


def _chosen(value: object, choices: list[Any]) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in choices)


_CHECKED = {"bool", "dict", "float", "int", "list", "set", "str", "tuple"}

Allowed = tuple[set[str], list[Any]]
"""Names of types, and values by themselves."""


def _allowed(declared: str) -> Allowed | None:
    """What a declaration such as `list[int]`, `float | None` or `Literal["a", "b"]` allows; None: unknown."""
    try:
        node = ast.parse(declared, mode="eval").body
        return None if declared == "None" else _of(node)  # which stands for no declaration at all
    except (SyntaxError, ValueError, RecursionError):
        return None


def _of(node: ast.expr) -> Allowed | None:
    """Parts of a union are allowed together; around a type, `Annotated` and `Final` change nothing."""
    parts, name = [node], ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Constant):
        return ({"NoneType"}, []) if node.value is None else _allowed(str(node.value))
    elif isinstance(node, ast.Subscript):
        name = ast.unparse(node.value).rpartition(".")[2]
        inside = [*node.slice.elts] if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return set(), [ast.literal_eval(value) for value in inside]
        if name == "Optional":
            parts = [*inside, ast.Constant(None)]
        elif name in ("Union", "Annotated", "Final"):
            parts = inside if name == "Union" else inside[:1]
    if parts == [node]:
        kind = (name or ast.unparse(node).rpartition(".")[2]).lower()
        return ({kind}, []) if kind in _CHECKED else None
    found = [allowed for part in parts if (allowed := _of(part)) is not None]
    if len(found) < len(parts):
        return None
    return set().union(*(kinds for kinds, _ in found)), [c for _, choices in found for c in choices]


def _read(text: str) -> Any:
    """The value that a text stands for, by Python or else by YAML; left as text, it is told what it should be."""
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    with suppress(yaml.YAMLError, ValueError, RecursionError):
        return plain(read_yaml(text))
    return text
