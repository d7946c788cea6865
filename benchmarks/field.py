"""The in-memory engine beside the field: Flower, pfl, fluke and FedLab, each in an environment of its own.

The work is that of the paper's table: 100 participants x 600 samples (the sample of MNIST, drawn anew for each),
784-200-200-10, a tenth of them a round, batches of 10, one local epoch, learning rate 0.1, evaluation on the test set
every round. All read the same shards from one file, and each is set up as its documentation advises for one machine; the
scripts stand in `peers/`. What is downloaded goes to `runs/bench-venvs/`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path

from benchmarks.common import row
from benchmarks.processes import watch

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / "runs" / "bench-venvs"
SCRIPTS = Path(__file__).resolve().parent / "peers"
ROUNDS, WARM = 20, 5
"""Rounds of a run, and how many of them are not yet taken for steady."""
REPEATS = 5
ACCURACY_WITHIN = 0.03


@dataclass(frozen=True)
class Set:
    """One way to start a framework: threads of torch in each process, and processes started by torchrun."""

    threads: int
    processes: int = 1

    def __str__(self) -> str:
        plural = "s" * (self.threads > 1)
        started = f"{self.processes} processes (torchrun), " if self.processes > 1 else ""
        return f"{started}{self.threads} thread{plural}"


@dataclass(frozen=True)
class Peer:
    """A framework: its name for pip, its script, and the ways to start it of which the fastest is taken."""

    requirement: str
    script: str
    sets: tuple[Set, ...] = (Set(1), Set(2))


PEERS = {
    "Flower": Peer("flwr[simulation]", "with_flower.py"),
    "pfl": Peer("pfl[pytorch]", "with_pfl.py"),
    "pfl, torchrun": Peer("pfl[pytorch]", "with_pfl.py", (Set(1, processes=2),)),
    "fluke": Peer("fluke-fl", "with_fluke.py"),
    "FedLab": Peer("fedlab", "with_fedlab.py"),
}
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_MODE": "disabled"}
PATIENT = {
    "RAY_raylet_start_wait_time_s": "120"
}  # Ray gives up after 30 s, too early on a busy machine
TRIES, LIMIT_S = 3, 600


@dataclass(frozen=True)
class Run:
    """What one run of 20 rounds took. Times in seconds; memory in MB.

    round_* : of a steady round. call_s : of the framework's call, imports done. whole_* : of the process, start to end.
    """

    round_s: float
    round_cpu_s: float
    call_s: float
    whole_s: float
    whole_cpu_s: float
    memory_mb: float
    accuracy: float
    versions: str


class Failed(Exception):
    """Couldn't be installed or run; says why."""


@dataclass
class Result:
    """A framework's runs, each with the run of fedkit that came right before it."""

    best: Set
    memory_mb: float
    runs: list[Run] = field(default_factory=list)
    ours: list[Run] = field(default_factory=list)

    def ratio(self, name: str) -> float:
        """Median over the pairs of theirs / ours."""
        pairs = zip(self.runs, self.ours, strict=True)
        return statistics.median(getattr(a, name) / getattr(b, name) for a, b in pairs)

    def middle(self, name: str) -> float:
        """Median of theirs."""
        return statistics.median(getattr(run, name) for run in self.runs)


def python_of(peer: Peer) -> Path:
    """The interpreter of a framework's environment, which is made on first use. Raises Failed with pip's reason."""
    home = VENVS / peer.script.removeprefix("with_").removesuffix(".py")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    done = home / "done.txt"
    if not (done.exists() and done.read_text(encoding="utf-8") == sys.version):
        print(f"  installing {peer.requirement} ...", flush=True)
        venv.create(home, clear=True, with_pip=True)
        # torch is 5 GB: this environment's torch is lent to the new one. A .pth file adds its packages behind those of the
        # new environment, so whatever a framework wants in another version comes first there.
        place = subprocess.run(
            [scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        lent = sysconfig.get_path("purelib")
        Path(place, "lent_by_the_project.pth").write_text(f"{lent}\n", encoding="utf-8")
        pip = [scripts / "python", "-m", "pip", "install", "--quiet", peer.requirement]
        pip.insert(-1, "--disable-pip-version-check")
        answer = subprocess.run(pip, capture_output=True, text=True, check=False)
        if answer.returncode:
            lines = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
            raise Failed(f"pip: {lines[-1] if lines else answer.stderr[-300:]}")
        done.write_text(sys.version, encoding="utf-8")
    return scripts / "python"


def run(python: Path, script: str, how: Set, data: Path, *, memory: bool = False) -> Run:
    """One run in a fresh process, tried again where it fails. Raises Failed with its last words."""
    for _ in range(TRIES - 1):
        try:
            return once(python, script, how, data, memory=memory)
        except Failed as failure:
            print(f"  {script} is tried again: {failure}", flush=True)
    return once(python, script, how, data, memory=memory)


def once(
    python: Path,
    script: str,
    how: Set,
    data: Path,
    *,
    memory: bool = False,
    limit_s: float = LIMIT_S,
) -> Run:
    """One run in a fresh process. Raises Failed with its last words."""
    command = [str(python)]
    if how.processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(how.processes)]
    command += [str(SCRIPTS / script), str(data), str(ROUNDS), str(how.threads)]
    environment = os.environ | QUIET | PATIENT | {"OMP_NUM_THREADS": str(how.threads)}
    environment.pop("PYTHONPATH", None)
    if script == "with_fedkit.py":
        environment["PYTHONPATH"] = str(ROOT)
    usage = watch(command, environment, memory=memory, limit_s=limit_s)
    lines = [line for line in usage.output.splitlines() if line.startswith('{"call"')]
    if usage.code or not lines:  # a negative code: ended after limit_s, or by a signal
        raise Failed(f"exit code {usage.code}: {' '.join(usage.errors.split()[-40:])}")
    told = json.loads(lines[-1])
    ends = told["ends"]
    if len(ends) != ROUNDS:
        raise Failed(f"{len(ends)} rounds instead of {ROUNDS}")
    steady = ends[WARM - 1 :]
    done = Run(
        statistics.median(b - a for a, b in pairwise(steady)),
        (usage.cpu_at(steady[-1]) - usage.cpu_at(steady[0])) / (len(steady) - 1),
        told["call"],
        usage.seconds,
        usage.cpu_seconds,
        usage.peak_mb,
        told["accuracy"],
        told["versions"],
    )
    print(
        f"  {script:<16} {how!s:<34} a round {done.round_s:.3f} s, CPU {done.round_cpu_s:.3f} s; "
        f"call {done.call_s:.1f} s, all {done.whole_s:.1f} s, CPU {done.whole_cpu_s:.1f} s; {done.memory_mb:.0f} MB; "
        f"accuracy {done.accuracy:.3f}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return done


def write_shards(path: Path) -> None:
    """The shards and the test set, as all scripts read them."""
    import torch

    import fedkit as fk

    digits = fk.load_mnist()
    images, labels = torch.empty(100, 600, 1, 28, 28), torch.empty(100, 600, dtype=torch.long)
    for k in range(100):
        some = torch.randperm(len(digits.train_labels), generator=fk.generator(0, "shard", k))[:600]
        images[k], labels[k] = fk.as_float(digits.train_images[some]), digits.train_labels[some]
    torch.save(
        {
            "images": images,
            "labels": labels,
            "test_images": fk.as_float(digits.test_images),
            "test_labels": digits.test_labels,
        },
        path,
    )


def choose(peer: Peer, python: Path, data: Path) -> Result:
    """Tries each way to start it and keeps the one whose steady round is shortest; memory is measured here alone.

    A way that isn't done after half as long again as the first one is given up.
    """
    first, *rest = peer.sets
    tried = {first: run(python, peer.script, first, data, memory=True)}
    for how in rest:
        patience = max(30.0, 1.5 * tried[first].whole_s)
        try:
            tried[how] = once(python, peer.script, how, data, memory=True, limit_s=patience)
        except Failed:
            print(f"  {peer.script} with {how}: given up after {patience:.0f} s", flush=True)
    best = min(tried, key=lambda how: tried[how].round_s)
    return Result(best, tried[best].memory_mb)


def main() -> None:
    """Install, choose, measure interleaved, print."""
    if not Path("/proc/self/smaps_rollup").exists():
        print(
            "field: needs Linux, whose /proc tells the processor time and memory of all processes"
        )
        return
    print(
        "The field (100 participants x 600, 784-200-200-10, 10 a round, batches of 10)", flush=True
    )
    load = [os.getloadavg()[0]]
    results: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    ours = Path(sys.executable), "with_fedkit.py", Set(1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "shards.pt"
        write_shards(data)
        memory = run(*ours, data, memory=True).memory_mb
        pythons = {}
        for name, peer in PEERS.items():
            try:
                pythons[name] = python_of(peer)
                results[name] = choose(peer, pythons[name], data)
            except Failed as failure:
                reasons[name] = str(failure)
        for _ in range(REPEATS):
            for name, result in results.items():
                mine = run(*ours, data)
                try:
                    theirs = run(pythons[name], PEERS[name].script, result.best, data)
                except Failed as failure:
                    print(f"  {name}: one pair less, {failure}", flush=True)
                    continue
                result.ours.append(mine)
                result.runs.append(theirs)
            load.append(os.getloadavg()[0])
    reasons |= {name: "no run succeeded" for name, result in results.items() if not result.runs}
    results = {name: result for name, result in results.items() if result.runs}
    table(results, reasons, memory, load)
    goals(results, memory)


def table(
    results: dict[str, Result], reasons: dict[str, str], memory: float, load: list[float]
) -> None:
    """Markdown, to be kept in `results/field.md`."""
    columns = ("round_s", "round_cpu_s", "call_s", "whole_s", "whole_cpu_s")
    every = [run for result in results.values() for run in result.ours]
    mine = Result(Set(1), memory, every, every)
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, load "
        f"{min(load):.1f} to {max(load):.1f} (this benchmark's own included), {REPEATS} pairs of runs each\n"
    )
    print(
        "| framework | started with | s a round | CPU s a round | s of the call "
        "| s of the program | CPU s of the program | memory MB | accuracy |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, result in ({"fedkit": mine} | results).items():
        values = [result.middle(x) for x in columns]
        numbers = " | ".join(f"{value:.{2 if n > 1 else 3}f}" for n, value in enumerate(values))
        accuracy = result.middle("accuracy")
        agrees = abs(accuracy - mine.middle("accuracy")) <= ACCURACY_WITHIN
        print(
            f"| {name} ({result.runs[0].versions}) | {result.best} | {numbers} | {result.memory_mb:.0f} "
            f"| {accuracy:.3f}{'' if agrees else ' (NOT THE SAME WORK)'} |"
        )
    for name, reason in reasons.items():
        print(f"| {name} | could not be measured: {reason} | | | | | | | |")
    print(
        "\n| theirs / ours, median of the pairs | s a round | CPU s a round | s of the call "
        "| s of the program | CPU s of the program | memory |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        ratios = [result.ratio(x) for x in columns]
        shown = " | ".join(f"{x:.1f}x" for x in [*ratios, result.memory_mb / memory])
        print(f"| {name} | {shown} |")
    print(flush=True)


def goals(results: dict[str, Result], memory: float) -> None:
    """The rows that have a goal, in wall-clock time; in brackets the same ratio of processor time."""

    def line(text: str, result: Result, wall: str, cpu: str, goal: str) -> None:
        row(f"(c) {text}", f"{result.ratio(wall):.1f}x ({result.ratio(cpu):.1f}x)", goal)

    flower = results.get("Flower")
    if flower:
        line("Flower / engine, a steady round", flower, "round_s", "round_cpu_s", ">= 4x")
        line(
            "Flower / engine, 20 rounds, whole program", flower, "whole_s", "whole_cpu_s", ">= 20x"
        )
        row("(c) Flower / engine, 20 rounds, imports done", f"{flower.ratio('call_s'):.1f}x")
        row("(c) memory of Flower, of the engine", f"{flower.memory_mb:.0f}, {memory:.0f} MB")
    others = {name: result for name, result in results.items() if name != "Flower"}
    for kind, wanted in (("in one process", False), ("in two processes", True)):
        some = {name: r for name, r in others.items() if (r.best.processes > 1) is wanted}
        if some:
            name = min(some, key=lambda name: some[name].ratio("round_s"))
            text = f"the fastest other {kind} ({name}) / engine, a steady round"
            line(text, some[name], "round_s", "round_cpu_s", ">= 2.5x")
