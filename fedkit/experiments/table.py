"""The results of a sweep as tables: a row a run, and, for what was recorded round by round, a row a round.

`results.csv` : run, the parameters that the spec names, seed, status, error, seconds, folder, and each recorded number.
`rounds.csv` : run, parameters, seed, round, and each recorded list of numbers (`accuracies` as `accuracy`).
`columns.json` : what kind of value each parameter has, which a CSV can't say: 007 may be a text.

A parameter that was not given is empty.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["label", "results", "write_csv", "write_tables"]


RESULTS, ROUNDS, COLUMNS = "results.csv", "rounds.csv", "columns.json"
BY_ROUND = " by round"
"""What ends the name of a recorded list that has a column of its own name in the table of rounds."""
_SINGULAR = {"accuracies": "accuracy", "losses": "loss"}


def label(value: object) -> Any:
    """A parameter's value in one cell: numbers and texts as they are, {name: fedprox, mu: 0.1} as "fedprox(mu=0.1)"."""
    if isinstance(value, Mapping) and "name" in value:
        rest = ", ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        return f"{value['name']}({rest})" if rest else value["name"]
    return json.dumps(value) if isinstance(value, Mapping | list | tuple) else value


def write_tables(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the tables, each whole or not at all.

    rows : for each run its `run`, `shown` parameters, `seed`, `status`, `error`, `seconds`, `folder`, `recorded` values.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["shown"]))
    taken = {"run", "seed", "status", "error", "seconds", "folder", *names}
    plain, by_round = [], []
    write_json(
        folder / COLUMNS, {name: _kind([row["shown"].get(name) for row in rows]) for name in names}
    )
    for row in rows:
        about = {"run": row["run"][:12]} | {n: label(row["shown"].get(n)) for n in names}
        about["seed"] = row["seed"]
        numbers, lists = _split(row["recorded"], taken)
        state = {key: row[key] for key in ("status", "error", "seconds", "folder")}
        plain.append({**about, **state, **numbers})
        for n in range(max((len(values) for values in lists.values()), default=0)):
            at = {key: values[n] for key, values in lists.items() if n < len(values)}
            by_round.append({**about, "round": n + 1, **at})
    write_csv(folder / RESULTS, plain)
    write_csv(folder / ROUNDS, by_round)


def results(folder: Path | str, *, by_round: bool = False) -> pd.DataFrame:
    """The table of a sweep in pandas: a row a run, or with `by_round` a row for each round of each run.

    Runs that failed are in the first table only, with their error. A parameter that was not given is missing (None in a
    column of texts, else pandas' NA). Raises FedkitError if there is no sweep in `folder`.
    """
    import pandas as pd

    path = Path(folder) / (ROUNDS if by_round else RESULTS)
    try:
        frame = pd.read_csv(path, dtype={"run": str, "error": str, "folder": str})
        written = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("list")
    except FileNotFoundError:
        raise FedkitError(
            "is not there", file=path, remedy="give the folder that `fedkit sweep --out` wrote into"
        ) from None
    except pd.errors.EmptyDataError:
        raise FedkitError(
            "is empty", file=path, why="No run has recorded a list, such as accuracies by round",
            remedy="read the other table: fk.results(folder)",
        ) from None  # fmt: skip
    kinds = read_json(Path(folder) / COLUMNS)
    for name, kind in kinds.items() if isinstance(kinds, dict) else ():
        if name in written:
            frame[name] = _typed(written[name], kind)
    return frame


def _kind(values: Sequence[Any]) -> str:
    """ "int", "float", "bool" or "str", as `label` shows them; "mixed" where a column has several."""
    kinds = {type(label(value)).__name__ for value in values if value is not None}
    kinds = {"float"} if kinds == {"int", "float"} else kinds
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _typed(cells: Sequence[str], kind: str) -> pd.Series[Any]:
    """The cells as values of this kind; with one that is empty, as a kind of column that has something for it."""
    import pandas as pd

    read = _READ.get(kind, _any)
    values: list[Any] = [read(cell) if cell else None for cell in cells]
    gaps = None in values
    dtype: Any = _WITH_GAPS.get(kind, "object") if gaps else "object" if kind == "mixed" else kind
    column: pd.Series[Any] = pd.Series(values, dtype=dtype)
    return column


_WITH_GAPS = {"int": "Int64", "float": "Float64", "bool": "boolean"}
_READ: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda cell: cell == "True",
    "str": str,
}


def _any(cell: str) -> Any:
    """A number, or a yes or no, where it looks like one."""
    with suppress(ValueError, SyntaxError):
        value = ast.literal_eval(cell)
        if isinstance(value, int | float):
            return value
    return cell


def _split(
    recorded: Mapping[str, Any], taken: Iterable[str]
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Recorded values for the one table and for the other; a name that a column has already gets a prefix."""
    numbers: dict[str, Any] = {}
    lists: dict[str, list[float]] = {}
    for name, value in recorded.items():
        if isinstance(value, list):
            free = _SINGULAR.get(name, name).removesuffix(BY_ROUND)
            if all(isinstance(x, int | float | None) for x in value):
                lists[f"recorded.{free}" if free in taken or free == "round" else free] = value
        else:
            numbers[f"recorded.{name}" if name in taken else name] = value
    return numbers, lists


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a row for each mapping, with a column for each key, in the order in which they first occur."""
    text = io.StringIO()
    if rows:
        heads = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, heads, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_bytes(path, text.getvalue().encode())
