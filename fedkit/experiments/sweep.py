"""A sweep from its spec to its tables: what is done is kept, what failed is written down, the rest is run.

    DIR/results.csv, rounds.csv     the tables
    DIR/spec.yaml                   what was asked for
    DIR/runs/<hash>/run.json        one run: parameters, status, error, seconds, what it recorded
    DIR/runs/<hash>/06_....ipynb    the executed notebook

A run's file is written when it has ended, so whatever stops a sweep costs no more than the runs that were under way.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.files import read_bytes, read_json, write_bytes, write_json
from fedkit.experiments.notebooks import Job, RunResult, run_jobs
from fedkit.experiments.progress import Progress
from fedkit.experiments.spec import Plan, Planned, make_plan, read_spec
from fedkit.experiments.table import results, write_tables
from fedkit.experiments.targets import NotebookTarget
from fedkit.experiments.workers import Outcome, run_trials
from fedkit.experiments.yaml_core import write_yaml

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["finished", "folder_of", "sweep"]


ENDED = ("done", "failed", "timed out")
OnResult = Callable[[Planned, Mapping[str, Any]], object]


def sweep(
    spec: Mapping[str, Any] | Path | str,
    out: Path | str,
    *,
    jobs: int = 2,
    retry: bool = False,
    progress: bool = False,
    on_result: OnResult | None = None,
    engine: str | None = None,
    address: str | None = None,
) -> pd.DataFrame:
    """Run what a spec asks for and `out` does not have yet; returns `results(out)`.

    spec : a file, or its content as a dict (see `fedkit.experiments.spec`). jobs : workers side by side, one thread each.
    retry : run those again that failed before. progress : a bar with the time left. on_result : called with each run and
    what became of it. engine : "dask", to run on its workers (an extra of the package), of the scheduler at `address`, by
    default `jobs` of them on this machine. It takes runs of `simulate` alone.

    Ctrl-C ends the workers; the same call goes on afterwards. Raises FedkitError, before anything runs, if the spec is not
    right, and Busy if another sweep is at work in `out`.
    """
    file = None if isinstance(spec, Mapping) else Path(spec)
    values = spec if isinstance(spec, Mapping) else read_spec(Path(spec))
    plan, out = make_plan(values, file=file), Path(out)
    if jobs < 1:
        raise FedkitError(f"are {jobs}", field="jobs", remedy="use at least 1")
    run = _engine(plan, jobs, engine, address)
    out.mkdir(parents=True, exist_ok=True)
    asked = write_yaml(dict(values)) if file is None else read_bytes(file)
    write_bytes(out / "spec.yaml", asked)
    try:
        with FileLock(out / ".lock", blocking=False):
            _run(plan, out, jobs, retry, progress, on_result, run)
    except Timeout:
        raise Busy("another sweep is at work here", file=out, remedy="wait for its end") from None
    return results(out)


def folder_of(out: Path, run: Planned) -> Path:
    """Where a run lies: `runs/` and the first 12 digits of its hash."""
    return out / "runs" / run.id[:12]


def finished(plan: Plan, out: Path) -> dict[str, dict[str, Any]]:
    """What is known of the plan's runs that have ended, by their ids."""
    found = {}
    for run in plan.runs:
        kept = read_json(folder_of(out, run) / "run.json")
        if isinstance(kept, dict) and kept.get("run") == run.id and kept.get("status") in ENDED:
            found[run.id] = kept
    return found


def _engine(plan: Plan, jobs: int, engine: str | None, address: str | None) -> Callable[..., None]:
    """What runs trials: this machine's workers, or a cluster's. Raises FedkitError."""
    if engine is None and address is None:
        return partial(run_trials, jobs=jobs)
    from fedkit.experiments.cluster import ENGINES, run_on_cluster

    if engine not in ENGINES:
        what = "names no engine" if engine is None else f"is {engine!r:.40}"
        raise FedkitError(what, field="engine", remedy=f"use {' or '.join(ENGINES)}")
    if isinstance(plan.target, NotebookTarget):
        raise FedkitError(
            "takes runs of simulate alone",
            field="engine",
            why="A notebook needs its kernel and the files beside it",
            remedy="leave --engine out, or sweep `run: simulate`",
        )
    return partial(run_on_cluster, address=address, jobs=jobs, code=plan.code)


def _run(
    plan: Plan,
    out: Path,
    jobs: int,
    retry: bool,
    progress: bool,
    on_result: OnResult | None,
    run_all: Callable[..., None],
) -> None:
    known = finished(plan, out)
    again = {name for name, kept in known.items() if kept["status"] != "done" and retry}
    todo = [run for run in plan.runs if run.id not in known or run.id in again]
    bar = Progress(plan.runs, known, todo, jobs, shown=progress)

    def end(number: int, outcome: Outcome | RunResult) -> None:
        run = todo[number]
        known[run.id] = _kept(run, plan, outcome)
        write_json(folder_of(out, run) / "run.json", known[run.id])
        bar.ended(run, known[run.id])
        if on_result is not None:
            on_result(run, known[run.id])

    def start(number: int) -> None:
        bar.started(todo[number])

    try:
        with bar:
            if isinstance(plan.target, NotebookTarget):
                path = plan.target.path
                work = [Job(path, folder_of(out, run), run.values) for run in todo]
                run_jobs(work, jobs=jobs, limit_s=plan.limit_s, on_start=start, on_result=end)
            else:
                trials = [run.values for run in todo]
                run_all(trials, limit_s=plan.limit_s, on_start=start, on_result=end)
    finally:
        write_tables(out, [_row(run, known[run.id]) for run in plan.runs if run.id in known])


def _kept(run: Planned, plan: Plan, outcome: Outcome | RunResult) -> dict[str, Any]:
    """One run as its file keeps it."""
    import torch

    cell = getattr(outcome, "cell", None)
    where = f"cell {cell}: " if cell else ""
    return {
        "run": run.id,
        "of": plan.target.name,
        "values": dict(run.values),
        "status": outcome.status if outcome.status in ENDED else "failed",
        "error": None if outcome.error is None else where + outcome.error,
        "seconds": round(outcome.seconds, 3),
        "recorded": outcome.recorded,
        "code": plan.code,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _row(run: Planned, kept: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("status", "error", "seconds", "recorded")
    about = {"run": run.id, "shown": run.shown, "seed": run.seed, "folder": f"runs/{run.id[:12]}"}
    return {**about, **{key: kept[key] for key in keys}}
