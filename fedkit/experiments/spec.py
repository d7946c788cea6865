"""Which runs: a YAML file (or a dict) with a grid or a list of parameters, and seeds.

    run: simulate            # or a lesson (06), or the path of a notebook
    fixed: {rounds: 20}      # the same in every run
    grid:                    # every combination
      partition: [iid, shards]
      learning_rate: [0.05, 0.1]
    list:                    # or chosen combinations; with a grid, each of them times the grid
      - {batch_size: 10}
    seeds: 3                 # 0, 1, 2; or a list of them
    data: hospitals          # data of your own, as `fedkit data import` writes them, beside the spec's file

Everything is checked before anything runs. A run's name is a hash of all that decides its result (`run_id`): what has a
result under its name is not run again. Values are read as YAML 1.2 and as the parameter's default wants them: 1e-3 is a
number, `on` a text, 007 is 7 where a number is asked for and stays 007 where a text is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.experiments.local_code import code_version
from fedkit.experiments.targets import Target, find_target, unknown_name
from fedkit.experiments.yaml_core import Written, plain, read_yaml

__all__ = ["COLUMNS", "KEYS", "Plan", "Planned", "make_plan", "read_spec", "run_id"]


KEYS = ("run", "data", "fixed", "grid", "list", "seeds", "edition", "limit_s")
"""What a spec may hold."""

COLUMNS = ("run", "seed", "status", "error", "seconds", "folder")
"""Columns that every table of results has; no parameter may be called so, but `seed`."""

MOST_RUNS = 100_000


@dataclass(frozen=True)
class Planned:
    """One run. id : 64 hex digits. shown : the parameters as the spec gives them. values : as the target takes them."""

    id: str
    seed: int | None
    shown: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """All runs of a spec: every combination with the first seed, then with the second. limit_s : seconds a run may take."""

    target: Target
    runs: tuple[Planned, ...]
    limit_s: float | None
    code: str

    @property
    def swept(self) -> list[str]:
        """The parameters that differ between runs, in the spec's order; `seed` is not among them."""
        names = dict.fromkeys(name for run in self.runs for name in run.shown)
        return [
            name
            for name in names
            if any(run.shown.get(name) != self.runs[0].shown.get(name) for run in self.runs)
        ]


def read_spec(path: Path) -> dict[str, Any]:
    """The content of a spec file, for `make_plan`; a number stands there as it was written (see `yaml_core.Written`).

    Raises FedkitError if there is none, or it is no YAML mapping.
    """
    try:
        data = read_bytes(path, max_bytes=2**20, absent="check the path")
        values = read_yaml(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        said = getattr(error, "problem", None) or str(error)
        raise FedkitError(
            f"is not valid YAML{where}: {said}", file=path, remedy="correct it and save it again"
        ) from error
    if not isinstance(values, dict):
        raise FedkitError(
            f"holds a {type(values).__name__}, not keys and values",
            file=path,
            remedy=f"write keys: {', '.join(KEYS)}",
        )
    return values


def make_plan(spec: Mapping[str, Any], *, file: Path | None = None) -> Plan:
    """Every run of a spec, checked. file : the spec's, for messages and for paths in it. Raises FedkitError."""
    try:
        return _plan(spec, file.parent if file else None)
    except FedkitError as error:
        error.file = file or error.file
        raise
    except RecursionError:
        remedy = "write out what the alias stands for"
        raise FedkitError("holds a part of itself", file=file, remedy=remedy) from None


def _plan(spec: Mapping[str, Any], folder: Path | None) -> Plan:
    for key in spec:
        if key not in KEYS:
            raise unknown_name(str(key), list(KEYS), str(key), "no key of a spec")
    if "run" not in spec:
        raise FedkitError(
            "is missing", field="run", remedy="write `run: simulate`, a lesson's number or a path"
        )
    run, edition, data = (plain(spec.get(k), text=True) for k in ("run", "edition", "data"))
    target = find_target(run, edition=str(edition or "learner"), folder=folder, data=data)
    seeds = _seeds(plain(spec.get("seeds")), target)
    runs: dict[str, Planned] = {}
    code = code_version()
    combinations = _combinations(spec, target)
    if len(combinations) * len(seeds) > MOST_RUNS:
        raise _too_many(len(combinations) * len(seeds), "grid")
    for seed in seeds:
        for shown in combinations:
            values = target.fit({**shown, **({} if seed is None else {"seed": seed})})
            name = run_id(target.name, values, code, target.fingerprint(values))
            if name in runs:
                raise FedkitError(
                    f"the same run stands there twice: {_text(shown)}",
                    field="grid" if "grid" in spec else "list",
                    remedy="name every combination once",
                )
            runs[name] = Planned(name, seed, shown, values)
    return Plan(target, tuple(runs.values()), _limit(plain(spec.get("limit_s"))), code)


def _combinations(spec: Mapping[str, Any], target: Target) -> list[dict[str, Any]]:
    fixed = _names(spec.get("fixed"), "fixed", target)
    grid = _names(spec.get("grid"), "grid", target)
    for name, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise FedkitError(
                f"must be a list of values, not {choices!r}",
                field=f"grid.{name}",
                remedy=f"write [{choices!r}], or move it to `fixed`",
            )
    listed = spec.get("list", [{}])
    if not isinstance(listed, list) or not listed:
        raise FedkitError(
            "must be a list of mappings", field="list", remedy="write lines `- {name: value}`"
        )
    chosen = [_names(entry, f"list[{n}]", target) for n, entry in enumerate(listed)]
    for name in grid:
        for where, other in [("fixed", fixed), *((f"list[{n}]", e) for n, e in enumerate(chosen))]:
            if name in other:
                raise FedkitError(
                    f"stands in `grid` and in `{where}`",
                    field=f"grid.{name}",
                    remedy="name it in one place",
                )
    count = len(chosen) * math.prod(map(len, grid.values()))
    if count > MOST_RUNS:
        raise _too_many(count, "grid")
    combined = itertools.product(chosen, *grid.values())
    return [
        {**fixed, **entry, **dict(zip(grid, values, strict=True))} for entry, *values in combined
    ]


def _too_many(count: int, field: str) -> FedkitError:
    return FedkitError(
        f"asks for {count:,} runs", field=field, remedy=f"ask for at most {MOST_RUNS:,}"
    )


def _names(part: object, field: str, target: Target) -> dict[str, Any]:
    """A mapping of parameters that the target has."""
    part = plain(part) if isinstance(part, Written) else part
    if part is None:
        return {}
    if not isinstance(part, Mapping):
        raise FedkitError(
            f"holds a {type(part).__name__}, not names and values",
            field=field,
            remedy="write `name: value`",
        )
    for name in part:
        if name == "seed":
            raise FedkitError(
                "is no parameter to sweep", field=f"{field}.seed", remedy="write `seeds: [0, 1, 2]`"
            )
        if name not in target.known:
            choices = [other for other in target.known if other != "seed"]
            raise unknown_name(
                str(name), choices, f"{field}.{name}", f"no parameter of {target.name}"
            )
        if name in COLUMNS:
            raise FedkitError(
                "is the name of a column of the results",
                field=f"{field}.{name}",
                remedy="rename the notebook's parameter",
            )
    return {str(name): _meant(value, target.is_text(name), field) for name, value in part.items()}


def _meant(value: Any, text: bool, field: str) -> Any:
    """A parameter's value; in a grid, each of its values."""
    if field == "grid" and isinstance(value, list):
        return [plain(one, text=text) for one in value]
    return plain(value, text=text)


def _seeds(asked: object, target: Target) -> Sequence[int | None]:
    if asked is None:
        return [0] if "seed" in target.known else [None]
    if "seed" not in target.known:
        raise FedkitError(
            f"{target.name} has no parameter `seed`",
            field="seeds",
            remedy="add `seed: int = 0` to its parameters cell, or leave out `seeds`",
        )
    if type(asked) is int and asked > MOST_RUNS:
        raise _too_many(asked, "seeds")
    seeds = list(range(asked)) if type(asked) is int else asked
    if (
        not isinstance(seeds, list)
        or not seeds
        or any(type(seed) is not int or seed < 0 for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise FedkitError(
            f"{asked!r} is neither a count from 1 nor a list of different whole numbers from 0",
            field="seeds",
            remedy="write `seeds: 3` (for 0, 1 and 2) or `seeds: [0, 7]`",
        )
    return seeds


def _limit(asked: object) -> float | None:
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked < 1e9:
        raise FedkitError(
            f"{asked!r} is no number of seconds", field="limit_s", remedy="write such as 600"
        )
    return float(asked)


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "no parameters"


def run_id(target: str, values: Mapping[str, Any], code: str, fingerprint: str) -> str:
    """SHA-256, in hex, of what is run, its parameters (in any order), the package, and the target's fingerprint.

    Where data lie does not count, what they hold does.
    """
    counting = sorted((name, value) for name, value in values.items() if name != "data_dir")
    parts = [target, counting, code, fingerprint]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
