"""`fedkit sweep`: many runs of a notebook or of `simulate`, side by side, as one table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fedkit.base.text import how_many
from fedkit.cli.output import DONE, FAILED, say, show_table

if TYPE_CHECKING:
    import pandas as pd

    from fedkit.experiments.spec import Plan

__all__ = ["sweep"]


MOST_NUMBERS = 4  # columns of recorded numbers that fit on a terminal; the rest is in the CSV


def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="Which runs.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For tables and notebooks.")],
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Runs side by side.")] = 2,
    retry: Annotated[
        bool, typer.Option("--retry", help="Run those again that failed before.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="dask", help="Run on Dask's workers: an extra, dask."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--engine-address",
            metavar="ADDRESS",
            help="Of a Dask scheduler. Default: workers on this machine.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the spec, list the runs, run nothing.")
    ] = False,
) -> None:
    """Run every combination of parameters and seeds; the same command goes on after an interruption.

    SPEC.yaml: `run` (simulate, a lesson or a notebook), `data` (a folder of your own), `fixed`, `grid`, `list`, `seeds`,
    `limit_s`, `edition`.
    """
    from fedkit.experiments.spec import make_plan, read_spec
    from fedkit.experiments.sweep import finished
    from fedkit.experiments.sweep import sweep as run_sweep

    plan = make_plan(read_spec(spec), file=spec)
    known = finished(plan, out)
    before = sum(kept["status"] == "done" for kept in known.values())
    if dry_run:
        _list(plan, known)
        raise typer.Exit(DONE)
    shown = sys.stderr.isatty()
    frame = run_sweep(
        spec, out, jobs=jobs, retry=retry, progress=shown, engine=engine, address=address
    )
    show_table(_summary(plan, frame))
    failed = frame[frame["status"] != "done"]
    for _, row in failed.iterrows():
        about = ", ".join(f"{name} {_said(row[name])}" for name in [*plan.swept, "seed"])
        say(f"{row['status']}: {about}: {row['error']}", "red")
    done = len(frame) - len(failed)
    said = f"{how_many(len(frame), 'run')}: {done} done"
    said += f" ({before} of them before)" if before else ""
    said += f", {len(failed)} failed; with --retry they run again" if len(failed) else ""
    say(said)
    say(f"Tables: {out / 'results.csv'}, {out / 'rounds.csv'}")
    raise typer.Exit(FAILED if len(failed) else DONE)


def _list(plan: Plan, known: Mapping[str, Mapping[str, Any]]) -> None:
    from fedkit.experiments.table import label

    table = Table(
        *plan.swept,
        "seed",
        "status",
        title=f"{how_many(len(plan.runs), 'run')} of {plan.target.name}",
    )
    for run in plan.runs:
        status = known[run.id]["status"] if run.id in known else "to do"
        cells = [label(run.shown.get(name)) for name in plan.swept]
        table.add_row(*[Text(_said(cell)) for cell in [*cells, run.seed, status]])
    show_table(table)


def _summary(plan: Plan, frame: pd.DataFrame) -> Table:
    """A row a combination: mean and range over its seeds of what was recorded."""
    done = frame[frame["status"] == "done"]
    after = list(frame.columns)[list(frame.columns).index("folder") + 1 :]
    numbers = [name for name in after if done[name].dtype.kind in "iuf"][:MOST_NUMBERS]
    table = Table(*plan.swept, "runs", *numbers, title="Mean over seeds (smallest to largest)")
    groups = done.groupby(plan.swept, sort=False, dropna=False) if plan.swept else [((), done)]
    for key, group in groups:
        cells = [Text(_said(value)) for value in key]
        spread = [_spread(group[name].dropna().tolist()) for name in numbers]
        table.add_row(*cells, str(len(group)), *spread)
    return table


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


def _said(value: Any) -> str:
    import pandas as pd

    if not isinstance(value, list | dict) and pd.isna(value):  # not given
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
