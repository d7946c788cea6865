"""A command and all processes that come of it: wall-clock and processor time, and memory, from Linux's /proc.

Processor time is user + system of every process of the tree; memory is the sum of their PSS (proportional set size: what
several processes share is counted once).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
EVERY_S, TREE_EVERY_S = 0.1, 0.4


@dataclass
class Usage:
    """What a command used; `cpu` holds (monotonic time, processor seconds so far)."""

    code: int
    seconds: float
    output: str
    errors: str
    peak_mb: float
    cpu: list[tuple[float, float]] = field(repr=False)

    @property
    def cpu_seconds(self) -> float:
        """Of the whole run."""
        return self.cpu[-1][1]

    def cpu_at(self, moment: float) -> float:
        """Processor seconds until a moment of the monotonic clock, interpolated between two samples."""
        after = min(max(bisect_left(self.cpu, (moment,)), 1), len(self.cpu) - 1)
        (t0, a), (t1, b) = self.cpu[after - 1], self.cpu[after]
        return a + (b - a) * min(max((moment - t0) / (t1 - t0), 0.0), 1.0)


@dataclass(frozen=True)
class _Seen:
    parent: int
    born: int
    cpu: float


def _look(pid: int) -> _Seen | None:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return _Seen(int(words[1]), int(words[19]), (int(words[11]) + int(words[12])) / TICK)
    return None


class Tree:
    """All processes ever seen below the first one; a process that lost its parent stays in it."""

    def __init__(self, root: int) -> None:
        seen = _look(root)
        self.known: dict[int, _Seen] = {root: seen} if seen else {}
        self.gone = 0.0

    def grow(self) -> None:
        """Look for new processes."""
        others = {int(p.name): None for p in Path("/proc").iterdir() if p.name.isdigit()}
        fresh = {pid: s for pid in others if pid not in self.known and (s := _look(pid))}
        while found := [pid for pid, s in fresh.items() if s.parent in self.known]:
            for pid in found:
                self.known[pid] = fresh.pop(pid)

    def sample(self) -> float:
        """Processor seconds so far, of the living and the dead."""
        for pid, before in list(self.known.items()):
            now = _look(pid)
            if now is None or now.born != before.born:
                self.gone += self.known.pop(pid).cpu
            else:
                self.known[pid] = now
        return self.gone + sum(s.cpu for s in self.known.values())

    def memory_mb(self) -> float:
        """Sum of PSS."""
        total = 0
        for pid in self.known:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(x for x in lines if x.startswith("Pss:")).split()[1])
        return total / 1024

    def end(self) -> None:
        """Stop what the command left running."""
        for pid, before in self.known.items():
            now = _look(pid)
            if now and now.born == before.born:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


def watch(
    command: Sequence[str], environment: Mapping[str, str], *, memory: bool, limit_s: float
) -> Usage:
    """Run a command to its end, or stop it after `limit_s` seconds. memory : measure it too, which costs some time."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=dict(environment))
        tree, cpu, peak, looked = Tree(process.pid), [(began, 0.0)], 0.0, began
        while process.poll() is None and time.monotonic() < began + limit_s:
            if time.monotonic() - looked >= TREE_EVERY_S:
                tree.grow()
                looked = time.monotonic()
                if memory:
                    peak = max(peak, tree.memory_mb())
            used = tree.sample()
            cpu.append((time.monotonic(), used))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EVERY_S)
        took = time.monotonic() - began
        tree.end()
        code = process.wait()
        out.seek(0)
        err.seek(0)
        return Usage(code, took, out.read(), err.read(), peak, cpu)
