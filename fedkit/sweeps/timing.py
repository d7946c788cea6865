"""How long will it take? From what finished runs took, and how many workers share the rest."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

__all__ = ["TimeLeft", "makespan", "time_left", "words"]


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
