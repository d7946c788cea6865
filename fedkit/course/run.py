"""Notebooks in batch: papermill in parallel workers, each with a time limit; one that fails stops no other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.course.kernel import kill
from fedkit.course.task import OnCell, RunResult, Task

__all__ = ["Job", "RunResult", "run", "run_jobs"]


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
    jobs_of = [Job(path, out_dir, parameters or {}) for path in notebooks]
    return run_jobs(jobs_of, jobs=jobs, limit_s=limit_s, on_cell=on_cell, on_done=on_done)


@dataclass(frozen=True)
class Job:
    """One notebook to execute: where it lies, the folder for its copy, values of its parameters by name."""

    path: Path
    out_dir: Path
    parameters: Mapping[str, object]


def run_jobs(
    todo: Sequence[Job],
    *,
    jobs: int = 2,
    limit_s: float | None = None,
    on_cell: OnCell | None = None,
    on_start: Callable[[int], object] | None = None,
    on_done: Callable[[RunResult], object] | None = None,
    on_result: Callable[[int, RunResult], object] | None = None,
) -> list[RunResult]:
    """Execute notebooks, each with parameters and a folder of its own; otherwise as `run`.

    on_start : called with a job's position when it starts, from its worker's thread. on_result : as `on_done`, with the
    job's position. The same notebook may stand there many times, in different folders.
    """
    alive: list[Any] = []
    results: dict[int, RunResult] = {}
    futures: dict[Future[RunResult], int] = {}
    pool = ThreadPoolExecutor(max(1, jobs))

    def execute(number: int, task: Task) -> RunResult:
        if on_start is not None:
            on_start(number)
        return task.execute(alive)

    with tempfile.TemporaryDirectory(prefix="fedkit-", ignore_cleanup_errors=True) as ipython:
        try:
            for number, job in enumerate(todo):
                task = Task(
                    job.path.resolve(),
                    job.out_dir.resolve(),
                    job.parameters,
                    limit_s,
                    on_cell,
                    Path(ipython) / str(number),
                )
                futures[pool.submit(execute, number, task)] = number
            for future in as_completed(futures):
                number, result = futures[future], future.result()
                results[number] = result
                if on_result is not None:
                    on_result(number, result)
                if on_done is not None:
                    on_done(result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # what was cancelled is done, though `wait` would not say so; and a kernel may be starting right now
            while under_way := [future for future in futures if not future.done()]:
                kill(alive)
                wait(under_way, timeout=0.2)
            pool.shutdown(wait=True)
    return [results[number] for number in range(len(todo))]
