"""Notebooks in batch: papermill executes them side by side, each with a time limit; one that fails stops no other.

A limit holds for a whole notebook, from the start of its kernel: every cell gets what is left. (papermill's own
`execution_timeout` is for each cell, so that a notebook of thirty cells could take thirty times as long.) A budget
is what the author promises; to exceed it is reported, and is no failure, because machines differ.

The kernel is this very Python, whatever kernels the machine or its user have installed: a kernel spec of the name
`python3` in a user's folder, from another environment, would run the lesson with other packages; so the spec is given.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.base.files import remove
from fedkit.experiments.lessons import about
from fedkit.experiments.parameters import fit, read_notebook
from fedkit.experiments.side_by_side import same_python, side_by_side

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

__all__ = [
    "Job",
    "OnCell",
    "RunResult",
    "check_states",
    "recorded",
    "run",
    "run_jobs",
]


SHORTEST_LIMIT_S = 120.0
LIMIT_IN_BUDGETS = 10  # a slow machine is no failure, a notebook that hangs is

Status = Literal["done", "failed", "timed out", "refused"]
OnCell = Callable[[str, int, int], object]

# what it has to say is in the results; without a handler Python would print it over the progress bar
logging.getLogger("papermill").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Job:
    """One notebook to execute: where it lies, the folder for its copy, values of its parameters by name."""

    path: Path
    out_dir: Path
    parameters: Mapping[str, object]


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


def run(
    notebooks: Sequence[Path],
    out_dir: Path,
    *,
    parameters: Mapping[str, object] | None = None,
    jobs: int = 2,
    limit_s: float | None = None,
    on_cell: OnCell | None = None,
    on_done: Callable[[RunResult], object] | None = None,
) -> list[RunResult]:
    """Execute built notebooks; the copies go to `out_dir`, what they write to `out_dir/<name>_files`.

    Parameters
    ----------
    parameters : values by name; each notebook must have every one of them, else it is refused and not started.
    jobs : how many notebooks run at once, at least 1.
    limit_s : seconds after which a notebook is stopped; default ten budgets, at least two minutes.
    on_cell : called as `on_cell(name, cell, cells)` when a code cell starts; from the workers' threads.
    on_done : called with each result as it comes, from this thread.

    Returns one result for each notebook, in their order. Never raises for what a notebook does.
    """
    results: dict[int, RunResult] = {}

    def keep(number: int, result: RunResult) -> None:
        results[number] = result
        if on_done is not None:
            on_done(result)

    todo = [Job(path, out_dir, parameters or {}) for path in notebooks]
    run_jobs(todo, jobs=jobs, limit_s=limit_s, on_cell=on_cell, on_result=keep)
    return [results[number] for number in range(len(todo))]


def run_jobs(
    todo: Sequence[Job],
    *,
    jobs: int,
    limit_s: float | None,
    on_cell: OnCell | None = None,
    on_start: Callable[[int], object] | None = None,
    on_result: Callable[[int, RunResult], object],
) -> None:
    """Execute notebooks, each with parameters and a folder of its own; otherwise as `run`.

    on_start : called with a job's position when it starts, from its worker's thread. on_result : called with the position
    and the result, from this thread. The same notebook may stand there many times, in different folders.
    """
    need("a notebook in batch", "papermill", "ipykernel", "jupyter_client", "nbformat")
    alive: list[Any] = []

    def execute(number: int, job: Job, ipython: Path) -> RunResult:
        if on_start is not None:
            on_start(number)
        return _Execution(job, limit_s, on_cell, ipython).result(alive)

    with tempfile.TemporaryDirectory(prefix="fedkit-", ignore_cleanup_errors=True) as folder:
        work = [partial(execute, n, job, Path(folder, str(n))) for n, job in enumerate(todo)]
        side_by_side(work, jobs, on_result, lambda: _kill(alive))


class _Execution:
    """One notebook from its start to its result, whatever happens on the way."""

    def __init__(
        self, job: Job, limit_s: float | None, on_cell: OnCell | None, ipython: Path
    ) -> None:
        self.path = job.path.resolve()
        self.copy = job.out_dir.resolve() / self.path.name
        self.parameters, self.on_cell, self.ipython = job.parameters, on_cell, ipython
        self.about = about(self.path)
        budget = self.about.budget_s or 0
        self.limit_s = limit_s or max(SHORTEST_LIMIT_S, LIMIT_IN_BUDGETS * budget)
        self.log = ipython / f"{self.path.stem}.log"
        self.cell: int | None = None  # the one that runs, from 1
        self.source: str | None = None

    def result(self, alive: list[Any]) -> RunResult:
        """Execute it; every ending is a result."""
        started = time.monotonic()
        status: Status = "done"
        error = None
        try:
            self.ipython.mkdir(parents=True, exist_ok=True)
            remove(self.copy)  # an old copy must not be read as this run's
            self._papermill(fit(self.path, self.parameters), started + self.limit_s, alive)
        except FedkitError as problem:
            status, error = "refused", str(problem)
        except Exception as problem:  # whatever a stranger's notebook makes papermill raise
            late = time.monotonic() - started >= self.limit_s
            status = "timed out" if late else "failed"
            error = f"stopped after {self.limit_s:g} s" if late else self._said(problem)
            self.cell = getattr(problem, "cell_index", (self.cell or 1) - 1) + 1
            self.source = getattr(problem, "source", self.source)
        seconds = time.monotonic() - started
        there = self.copy.is_file()
        checks = check_states(self.copy) if there else {}
        rejected = [f"{name}: {state}" for name, state in checks.items() if state != "right"]
        if status == "done" and self.about.solved and rejected:
            status = "failed"
            error = f"a solution is not right for its check: {', '.join(rejected)}"
            self.cell = self.source = None
        stopped = status in ("failed", "timed out")
        return RunResult(
            name=self.path.stem,
            edition=self.about.edition,
            status=status,
            seconds=seconds,
            budget_s=self.about.budget_s,
            output=self.copy if there else None,
            error=error,
            cell=self.cell if stopped else None,
            source=self.source if stopped else None,
            recorded=recorded(self.copy) if there else {},
            checks=checks,
        )

    def _papermill(self, fitted: dict[str, Any], deadline: float, alive: list[Any]) -> None:
        import papermill

        self.copy.parent.mkdir(parents=True, exist_ok=True)
        notebook = read_notebook(self.path)
        cells = len(notebook["cells"])
        plain = (
            self.ipython / self.path.name
        )  # papermill reads no byte order mark, and writes what it has read
        plain.write_text(json.dumps(notebook), encoding="utf-8")

        def starts(cell: Any, cell_index: int) -> None:
            self.cell, self.source = cell_index + 1, cell["source"]
            if self.on_cell is not None:
                self.on_cell(self.path.stem, self.cell, cells + bool(fitted))

        workspace = self.copy.with_name(f"{self.copy.stem}_files")
        # a workspace of its own, and no start-up files of the user's IPython
        places = {"FEDKIT_WORKSPACE": str(workspace), "IPYTHONDIR": str(self.ipython)}
        manager = _kernel_manager(same_python() | places, alive, self.log)
        papermill.execute_notebook(
            plain,
            self.copy,
            parameters=fitted,
            progress_bar=False,
            kernel_name="python3",  # whatever the notebook was last opened with: the kernel is given below
            language="python",
            start_timeout=max(1, min(60, int(deadline - time.monotonic()))),
            # from here on nbclient's own traits
            kernel_manager_class=manager,
            # where Lab would start it; no chdir in a thread
            resources={"metadata": {"path": str(self.path.parent)}},
            timeout_func=lambda cell: max(0.05, deadline - time.monotonic()),
            on_cell_execute=starts,
            iopub_timeout=30,  # a busy machine delivers late
        )

    def _said(self, error: Exception) -> str:
        name = getattr(error, "ename", type(error).__name__)
        value = getattr(error, "evalue", str(error))
        said = [f"{name}: {value}" if value else str(name)]
        if "ename" not in vars(error) and self.log.is_file():
            # no Python error: perhaps the kernel had a last word
            said += self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        return "\n".join(said)


def _kernel_manager(
    environment: Mapping[str, str], alive: list[Any], log: Path
) -> type[AsyncKernelManager]:
    """A class of kernel managers for nbclient.

    Each process started is kept in `alive`, for `_kill`; what it says past the notebook (a crash in C) goes to `log`.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            spec = get_kernel_dict(
                extra_arguments=["--HistoryManager.enabled=False", "--log-level=40"]
            )
            return KernelSpec(**{**spec, "env": dict(environment)})

    class Manager(AsyncKernelManager):
        def __init__(self, **traits: Any) -> None:
            super().__init__(
                **{"kernel_spec_manager": ThisInterpreter(), "shutdown_wait_time": 2.0, **traits}
            )

        async def _async_start_kernel(self, **options: Any) -> None:
            with log.open("ab") as stream:  # the kernel inherits it; our own handle may go
                await super()._async_start_kernel(**{"stderr": stream, "stdout": stream, **options})
            alive.append(getattr(self.provisioner, "process", None))

        start_kernel = _async_start_kernel

    return Manager


def _kill(alive: list[Any]) -> None:
    """End every kernel that still runs, at once: for Ctrl-C, when nobody waits for an answer any more."""
    for process in alive:
        with contextlib.suppress(OSError, AttributeError):
            process.kill()


RECORD_MIME = "application/vnd.fedkit.record+json"
CHECK_MIME = "application/vnd.fedkit.check+json"
QUIZ_MIME = "application/vnd.fedkit.quiz+json"


def recorded(path: Path | str) -> dict[str, Any]:
    """Everything that `record` kept in an executed notebook: name -> value.

    Raises FedkitError if the file is missing or no notebook.
    """
    found: dict[str, Any] = {}
    for bundle in _bundles(Path(path), RECORD_MIME):
        found.update(bundle)
    return found


def check_states(path: Path | str) -> dict[str, str]:
    """The state of every check shown in an executed notebook: name -> "not yet", "try again" or "right"."""
    return {bundle["name"]: bundle["state"] for bundle in _bundles(Path(path), CHECK_MIME)}


def _bundles(path: Path, mime: str) -> list[dict[str, Any]]:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        return [output["data"][mime] for output in outputs if mime in output.get("data", {})]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FedkitError(
            "is no notebook that can be read",
            file=path,
            why=f"{type(error).__name__}: {error}",
            remedy="give an executed copy, as `fedkit course run` writes them under runs/",
        ) from error
