"""One notebook from its start to its result, whatever happens on the way; papermill executes it.

A limit holds for a whole notebook, from the start of its kernel: every cell gets what is left. (papermill's own
`execution_timeout` is for each cell, so that a notebook of thirty cells could take thirty times as long.) A budget
is what the author promises; to exceed it is reported, and is no failure, because machines differ.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fedkit.base.errors import FedkitError
from fedkit.course.kernel import kernel_environment, kernel_manager
from fedkit.course.parameters import fit
from fedkit.course.record import check_states, recorded

__all__ = ["OnCell", "RunResult", "Task"]

# what it has to say is in the results; without a handler Python would print it over the progress bar
logging.getLogger("papermill").addHandler(logging.NullHandler())

SHORTEST_LIMIT_S = 120.0
LIMIT_IN_BUDGETS = 10  # a slow machine is no failure, a notebook that hangs is

Status = Literal["done", "failed", "timed out", "refused"]
OnCell = Callable[[str, int, int], object]


@dataclass(frozen=True)
class RunResult:
    """What became of one notebook.

    `cell` (from 1) and `source` are those of the cell that failed, in the executed copy `output`; times in seconds.
    """

    name: str
    edition: str
    status: Status
    seconds: float
    budget_s: float | None
    output: Path | None
    error: str | None = None
    cell: int | None = None
    source: str | None = None
    recorded: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def over_budget(self) -> bool:
        """Did it take longer than its author promised?"""
        return self.budget_s is not None and self.seconds > self.budget_s


@dataclass
class Task:
    """What is to be executed, and where it stands."""

    path: Path
    out_dir: Path
    parameters: Mapping[str, object]
    limit_s: float | None
    on_cell: OnCell | None
    ipython: Path
    number: int | None = None  # the cell that runs, from 1
    source: str | None = None

    @property
    def _log(self) -> Path:
        return self.ipython / f"{self.path.stem}.log"

    def execute(self, alive: list[Any]) -> RunResult:
        """The whole life of one notebook; every ending is a result."""
        started = time.monotonic()
        copy = self.out_dir / self.path.name
        about = _about(self.path)
        budget: float | None = about.get("budget_s")
        limit = self.limit_s or max(SHORTEST_LIMIT_S, LIMIT_IN_BUDGETS * (budget or 0))
        status: Status = "done"
        error = None
        try:
            self.ipython.mkdir(parents=True, exist_ok=True)
            copy.unlink(missing_ok=True)  # an old copy must not be read as this run's
            self._papermill(fit(self.path, self.parameters), copy, started + limit, alive)
        except FedkitError as problem:
            status, error = "refused", str(problem)
        except Exception as problem:  # whatever a stranger's notebook makes papermill raise
            late = time.monotonic() - started >= limit
            status = "timed out" if late else "failed"
            error = f"stopped after {limit:g} s" if late else _said(problem, self._log)
            self.number = getattr(problem, "cell_index", (self.number or 1) - 1) + 1
            self.source = getattr(problem, "source", self.source)
        seconds = time.monotonic() - started
        output = copy if copy.is_file() else None
        checks = check_states(output) if output else {}
        rejected = [f"{name}: {state}" for name, state in checks.items() if state != "right"]
        edition = about.get("edition", "learner")
        if status == "done" and edition == "solutions" and rejected:
            status, error = (
                "failed",
                f"a solution is not right for its check: {', '.join(rejected)}",
            )
            self.number = self.source = None
        stopped = status in ("failed", "timed out")
        return RunResult(
            name=self.path.stem,
            edition=edition,
            status=status,
            seconds=seconds,
            budget_s=budget,
            output=output,
            error=error,
            cell=self.number if stopped else None,
            source=self.source if stopped else None,
            recorded=recorded(output) if output else {},
            checks=checks,
        )

    def _papermill(
        self, fitted: dict[str, Any], output: Path, deadline: float, alive: list[Any]
    ) -> None:
        import papermill

        output.parent.mkdir(parents=True, exist_ok=True)
        cells = len(json.loads(self.path.read_text(encoding="utf-8"))["cells"])

        def starts(cell: Any, cell_index: int) -> None:
            self.number, self.source = cell_index + 1, cell["source"]
            if self.on_cell is not None:
                self.on_cell(self.path.stem, cell_index + 1, cells + bool(fitted))

        environment = kernel_environment(output.with_name(f"{output.stem}_files"), self.ipython)
        papermill.execute_notebook(
            self.path,
            output,
            parameters=fitted,
            progress_bar=False,
            kernel_name="python3",  # whatever the notebook was last opened with: the kernel is given below
            language="python",
            start_timeout=max(1, min(60, int(deadline - time.monotonic()))),
            # from here on nbclient's own traits
            kernel_manager_class=kernel_manager(environment, alive, self._log),
            resources={
                "metadata": {"path": str(self.path.parent)}
            },  # where Lab would start it; no chdir in a thread
            timeout_func=lambda cell: max(0.05, deadline - time.monotonic()),
            on_cell_execute=starts,
            iopub_timeout=30,  # a busy machine delivers late
        )


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))["metadata"]["fedkit"]
        return about if isinstance(about, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _said(error: Exception, log: Path) -> str:
    name, value = (
        getattr(error, "ename", type(error).__name__),
        getattr(error, "evalue", str(error)),
    )
    said = f"{name}: {value}" if value else str(name)
    dead = (
        "ename" not in vars(error) and log.is_file()
    )  # no Python error: perhaps the kernel had a last word
    last = (
        log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:] if dead else []
    )
    return "\n".join([said, *last])
