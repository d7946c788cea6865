"""The outcome of a batch as a table for people and as two files for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from fedkit.base.files import write_json
from fedkit.experiments.notebooks import RunResult
from fedkit.experiments.table import write_csv

__all__ = ["accuracy_by_round", "failure", "table", "write_summary"]


def write_summary(results: Sequence[RunResult], folder: Path) -> None:
    """Write `summary.json` (everything) and `summary.csv` (a row for each notebook, a column for each record)."""
    rows = [_row(result) for result in results]
    write_json(folder / "summary.json", rows)
    names = sorted({name for row in rows for name in row["recorded"]})
    for row in rows:
        del row["checks"]
        kept = row.pop("recorded")
        row |= {f"recorded.{name}": kept.get(name) for name in names}
    write_csv(folder / "summary.csv", rows)


def table(results: Sequence[RunResult]) -> Table:
    """Each notebook with its status, minutes, budget and recorded results."""
    shown = Table(
        "notebook", "status", "minutes", "budget", "recorded", title="The course in batch"
    )
    for result in results:
        budget = "" if result.budget_s is None else f"{result.budget_s / 60:.1f}"
        late = " (over)" if result.over_budget else ""
        kept = ", ".join(f"{name} {_short(value)}" for name, value in result.recorded.items())
        # Text, not markup: a record may hold square brackets
        cells = [result.name, result.status, f"{result.seconds / 60:.1f}", budget + late, kept]
        shown.add_row(*[Text(cell) for cell in cells])
    return shown


_MOST_ROUNDS, _MOST_VALUES = 5, 4


def accuracy_by_round(results: Sequence[RunResult]) -> Table | None:
    """A row for each notebook that recorded its accuracies round by round, a column a round; None if none did.

    Of many rounds, as many as a terminal has room for are shown, evenly spaced, the first and the last among them.
    """
    series = {
        result.name: values
        for result in results
        for name in ("accuracies", "accuracy")
        if isinstance(values := result.recorded.get(name), list)
        and values
        and all(isinstance(value, int | float) for value in values)
    }
    if not series:
        return None
    longest = max(len(values) for values in series.values())
    columns = min(longest, _MOST_ROUNDS)
    gaps = max(columns - 1, 1)
    rounds = [1 + k * (longest - 1) // gaps for k in range(columns)]
    heads = ["notebook", *[f"round {n}" for n in rounds]]
    shown = Table(*heads, title="Accuracy on the test digits, round by round")
    for name, values in series.items():
        there = [f"{values[n - 1]:.1%}" if n <= len(values) else "" for n in rounds]
        shown.add_row(Text(name), *there)
    return shown


def failure(result: RunResult) -> Panel:
    """What a notebook that is not done stopped at: the cell's source and the error."""
    where = f", cell {result.cell}" if result.cell else ""
    parts: list[RenderableType] = [Text(result.error or "")]
    if result.source:
        parts.insert(0, Syntax(result.source, "python", background_color="default"))
    if result.output is not None:
        parts.append(Text(f"executed copy: {result.output}", style="dim"))
    return Panel(
        Group(*parts), title=Text(f"{result.name}{where}: {result.status}"), title_align="left"
    )


def _row(result: RunResult) -> dict[str, Any]:
    return {
        "notebook": result.name,
        "edition": result.edition,
        "status": result.status,
        "minutes": round(result.seconds / 60, 3),
        "budget_minutes": None if result.budget_s is None else round(result.budget_s / 60, 3),
        "cell": result.cell,
        "error": result.error,
        "recorded": result.recorded,
        "checks": result.checks,
    }


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > _MOST_VALUES:
        return f"[{_short(value[0])}, ..., {_short(value[-1])}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
