"""The bar of a sweep: how many runs have ended, how many failed, and how long the rest will take.

The time left comes from what finished runs took, kind by kind, and from how many workers share the rest. tqdm, which draws
the bar, counts whole runs alone: it knows nothing of those under way, of their kinds, or of those before a restart.
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Self

from tqdm import tqdm

from fedkit.experiments.spec import Planned

__all__ = ["Progress", "TimeLeft", "makespan", "time_left", "words"]


FORMAT = "{desc} |{bar}| {n_fmt} of {total_fmt} runs{postfix}"


class Progress:
    """Keeps the times of runs, and shows them if asked. `started` may be called from any thread."""

    def __init__(
        self,
        runs: Sequence[Planned],
        known: Mapping[str, Mapping[str, Any]],
        todo: Sequence[Planned],
        workers: int,
        *,
        shown: bool,
    ) -> None:
        self._lock = threading.Lock()
        self._workers = workers
        self._waiting = {run.id: run for run in todo}
        self._running: dict[str, tuple[Planned, float]] = {}
        self._measured: dict[str, list[float]] = defaultdict(list)
        self._failed = 0
        for run in runs:
            if run.id in known and run.id not in self._waiting:
                self._measure(run, known[run.id])
        self._bar = tqdm(
            total=len(runs),
            initial=len(runs) - len(todo),
            bar_format=FORMAT,
            desc="sweep",
            disable=not shown,
        )
        self._shown: tuple[float, str] = (-1, "")
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._show()
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._clock.join()
        self._show()
        self._bar.close()

    def started(self, run: Planned) -> None:
        """A worker has taken the run."""
        with self._lock:
            self._waiting.pop(run.id, None)
            self._running[run.id] = (run, time.monotonic())

    def ended(self, run: Planned, kept: Mapping[str, Any]) -> None:
        """A run is over, well or not."""
        with self._lock:
            self._running.pop(run.id, None)
            self._measure(run, kept)
            self._bar.n += 1
        self._show()

    def left(self) -> TimeLeft | None:
        """The time left, None while nothing has been measured or nothing is open."""
        with self._lock:
            if not self._waiting and not self._running:
                return None
            now = time.monotonic()
            running = [(_kind(run), now - began) for run, began in self._running.values()]
            waiting = [_kind(run) for run in self._waiting.values()]
            return time_left(self._measured, running, waiting, self._workers)

    def _measure(self, run: Planned, kept: Mapping[str, Any]) -> None:
        if kept["status"] == "done":  # how long a failure took says nothing about the others
            self._measured[_kind(run)].append(float(kept["seconds"]))
        else:
            self._failed += 1

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            self._show()

    def _show(self) -> None:
        left = self.left()
        open_runs = bool(self._waiting or self._running)
        said = str(left) if left else "nothing measured yet" if open_runs else "all ended"
        failed = f"{self._failed} failed, " if self._failed else ""
        text = (self._bar.n, failed + said)
        if text != self._shown:  # in a notebook every change stays in the output
            self._shown = text
            self._bar.set_postfix_str(text[1])


def _kind(run: Planned) -> str:
    """Runs that differ by their seed alone take about as long."""
    return json.dumps({k: v for k, v in run.values.items() if k != "seed"}, sort_keys=True)


@dataclass(frozen=True)
class TimeLeft:
    """Seconds until the last run ends: expected, and if all open runs were like the fastest or like the slowest one."""

    expected: float
    lowest: float
    highest: float
    measured: int

    def __str__(self) -> str:
        spread = "" if self.measured < 2 else f" ({words(self.lowest)} to {words(self.highest)})"
        runs = "run" if self.measured == 1 else "runs"
        return f"about {words(self.expected)} left{spread}, from {self.measured} {runs}"


def makespan(running: Sequence[float], waiting: Sequence[float], workers: int) -> float:
    """Seconds until all is done when each worker that becomes free takes the next waiting run.

    running : what the runs under way still need; waiting : what the others need, in their order.
    """
    free = [max(0.0, rest) for rest in running] + [0.0] * max(0, workers - len(running))
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free, default=0.0)


def time_left(
    measured: Mapping[str, Sequence[float]],
    running: Sequence[tuple[str, float]],
    waiting: Sequence[str],
    workers: int,
) -> TimeLeft | None:
    """The time left, None before the first run has ended.

    measured : seconds of finished runs by kind (the same parameters with another seed are one kind). running : kind of
    each run under way and its seconds so far. waiting : kinds of those that have not begun. A run is expected to take as
    long as its kind did in the mean, or as all did where its kind is new.
    """
    every = [seconds for times in measured.values() for seconds in times]
    if not every:
        return None
    usual = fmean(every)
    mean = {kind: fmean(times) for kind, times in measured.items() if times}

    def total(duration: Mapping[str, float], other: float) -> float:
        rests = [duration.get(kind, other) - elapsed for kind, elapsed in running]
        return makespan(rests, [duration.get(kind, other) for kind in waiting], workers)

    expected = total(mean, usual)
    return TimeLeft(expected, total({}, min(every)), total({}, max(every)), len(every))


def words(seconds: float) -> str:
    """A duration as people say it: "8 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
