"""Work side by side: threads that wait for processes, and an end of all of them when somebody stops it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import TypeVar

__all__ = ["same_python", "side_by_side"]

T = TypeVar("T")


def side_by_side(
    work: Sequence[Callable[[], T]],
    jobs: int,
    on_result: Callable[[int, T], object],
    end: Callable[[], object],
) -> None:
    """Do all `work`, at most `jobs` at once; `on_result` is called from this thread, with a position and its result.

    end : ends the processes that are waited for. It is called, again and again as one may be starting right now, when
    anything stops this before its time, Ctrl-C above all.
    """
    futures: dict[Future[T], int] = {}
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        for number, task in enumerate(work):
            futures[pool.submit(task)] = number
        for future in as_completed(futures):
            on_result(futures[future], future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # what was cancelled is done, though `wait` would not say so
        while under_way := [future for future in futures if not future.done()]:
            end()
            wait(under_way, timeout=0.2)
        pool.shutdown(wait=True)


def same_python() -> dict[str, str]:
    """Environment variables of a process that runs the same `fedkit`, also where it is not installed, on one thread.

    The processes are what runs side by side.
    """
    home = Path(__file__).resolve().parents[2]
    path = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if home.name not in ("site-packages", "dist-packages") and str(home) not in path:
        path.insert(0, str(home))
    return {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
