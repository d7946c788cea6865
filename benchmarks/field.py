"""The in-memory engine beside the field: Flower, pfl, fluke and FedLab, each in an environment of its own.

The work is that of the paper's table: 100 participants x 600 samples (the sample of MNIST, drawn anew for each),
784-200-200-10, a tenth of them a round, batches of 10, one local epoch, learning rate 0.1, evaluation on the test set
every round. All read the same shards and the same model from one folder and start from the same weights, and each is set up
as its documentation advises for one machine; the scripts stand in `peers/`. What is downloaded goes to `runs/bench-venvs/`.

`--model cnn` (resnet, lstm, logistic, table) takes the work of `benchmarks models` in its place: ten participants, who all
take part in each round, learning rate 0.05, 100 test samples. `--help` names the other options.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.common import row
from benchmarks.processes import watch

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / "runs" / "bench-venvs"
SCRIPTS = Path(__file__).resolve().parent / "peers"
ROUNDS, REPEATS = 20, 5
"""Rounds of a run, of which the first quarter is not yet taken for steady; pairs of runs."""
ACCURACY_WITHIN, ACCURACY_OF_FEW_WITHIN = 0.03, 0.1
"""The same work, judged by the test set of the 2NN and by 100 samples of the other models."""


@dataclass(frozen=True)
class Set:
    """One way to start a framework: threads of torch in each process, and processes (see `peers/together.py`)."""

    threads: int
    processes: int = 1

    def __str__(self) -> str:
        plural = "s" * (self.threads > 1)
        started = f"{self.processes} processes, " if self.processes > 1 else ""
        return f"{started}{self.threads} thread{plural}"


@dataclass(frozen=True)
class Peer:
    """A framework: its name for pip, its script, and the ways to start it of which the fastest is taken."""

    requirement: str
    script: str
    sets: tuple[Set, ...] = (Set(1), Set(2))


HERE = "torch"
"""What needs no environment of its own."""
PEERS = {
    "Flower": Peer("flwr[simulation]", "with_flower.py"),
    "pfl": Peer("pfl[pytorch]", "with_pfl.py"),
    "pfl, 2 processes": Peer("pfl[pytorch]", "with_pfl.py", (Set(1, processes=2),)),
    "fluke": Peer("fluke-fl", "with_fluke.py"),
    "FedLab": Peer("fedlab", "with_fedlab.py"),
    "a tight loop": Peer(HERE, "with_loop.py"),
    "a tight loop, 2 processes": Peer(HERE, "with_loop.py", (Set(1, processes=2),)),
    "its kernels": Peer(HERE, "with_kernels.py", (Set(1, processes=2),)),
    "its products": Peer(HERE, "with_kernels.py products", (Set(1, processes=2),)),
}
LIMITS = ("its kernels", "its products")
"""No frameworks, but what no framework can do without (see `kernels.py`): the tight loop's, in two processes."""
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "WANDB_MODE": "disabled"}
PATIENT = {
    "RAY_raylet_start_wait_time_s": "120"
}  # Ray gives up after 30 s, too early on a busy machine
TRIES, LIMIT_S = 3, 600


@dataclass(frozen=True)
class Job:
    """The work of every run: a folder with `shards.pt` and `model.py`, and the rounds."""

    folder: Path
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Run:
    """What one run took. Times in seconds; memory in MB.

    round_s, round_cpu_s : of the steady rounds, the median and the mean. least_cpu_s : of the one that needed least, which
    says most on a busy machine. call_s : of the framework's call, imports done. whole_* : of the process, start to end.
    """

    round_s: float
    round_cpu_s: float
    least_cpu_s: float
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
    """A framework's runs, each with the run of fedkit of the same repeat."""

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
    if peer.requirement == HERE:
        return Path(sys.executable)
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


def run(python: Path, script: str, how: Set, job: Job, *, memory: bool = False) -> Run:
    """One run in a fresh process, tried again where it fails. Raises Failed with its last words."""
    for _ in range(TRIES - 1):
        try:
            return once(python, script, how, job, memory=memory)
        except Failed as failure:
            print(f"  {script} is tried again: {failure}", flush=True)
    return once(python, script, how, job, memory=memory)


def once(
    python: Path,
    script: str,
    how: Set,
    job: Job,
    *,
    memory: bool = False,
    limit_s: float = LIMIT_S,
) -> Run:
    """One run in a fresh process. Raises Failed with its last words."""
    command = [str(python)]
    if how.processes > 1:
        command += [str(SCRIPTS / "together.py"), str(how.processes)]
    name, *words = script.split()
    command += [str(SCRIPTS / name), str(job.folder), str(job.rounds), str(how.threads), *words]
    environment = os.environ | QUIET | PATIENT | {"OMP_NUM_THREADS": str(how.threads)}
    environment.pop("PYTHONPATH", None)
    if name in ("with_fedkit.py", "with_kernels.py"):
        environment["PYTHONPATH"] = str(ROOT)
    usage = watch(command, environment, memory=memory, limit_s=limit_s)
    lines = [line for line in usage.output.splitlines() if line.startswith('{"call"')]
    if usage.code or not lines:  # a negative code: ended after limit_s, or by a signal
        raise Failed(f"exit code {usage.code}: {' '.join(usage.errors.split()[-40:])}")
    told = json.loads(lines[-1])
    ends = told["ends"]
    if len(ends) != job.rounds:
        raise Failed(f"{len(ends)} rounds instead of {job.rounds}")
    steady = ends[job.rounds // 4 - 1 :]
    done = Run(
        statistics.median(b - a for a, b in pairwise(steady)),
        (usage.cpu_at(steady[-1]) - usage.cpu_at(steady[0])) / (len(steady) - 1),
        min(usage.cpu_at(b) - usage.cpu_at(a) for a, b in pairwise(steady)),
        told["call"],
        usage.seconds,
        usage.cpu_seconds,
        usage.peak_mb,
        told["accuracy"],
        told["versions"],
    )
    print(
        f"  {script:<16} {how!s:<34} a round {done.round_s:.3f} s, CPU {done.round_cpu_s:.3f} s, "
        f"at least {done.least_cpu_s:.3f} s; "
        f"call {done.call_s:.1f} s, all {done.whole_s:.1f} s, CPU {done.whole_cpu_s:.1f} s; {done.memory_mb:.0f} MB; "
        f"accuracy {done.accuracy:.3f}; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return done


def write_work(model: str, folder: Path) -> None:
    """`shards.pt` and `model.py`, as all scripts read them (see `Work` in `peers/shared.py`)."""
    import torch

    import fedkit as fk
    from benchmarks import models
    from fedkit.experiments.trial import model_source

    work: dict[str, Any]
    if model == "2nn":
        digits, source, shards = fk.load_mnist(), model_source("2nn"), []
        for k in range(100):
            some = torch.randperm(len(digits.train_labels), generator=fk.generator(0, "shard", k))
            images, labels = digits.train_images[some[:600]], digits.train_labels[some[:600]]
            shards.append((fk.as_float(images), labels))
        test = fk.as_float(digits.test_images), digits.test_labels
        work = {"task": {}, "batch": 10, "rate": 0.1}
    else:
        kind = models.KINDS[model]
        source, test = kind.source, kind.samples(100, "test")
        shards = [kind.samples(kind.each, email) for email in models.EMAILS]
        work = {"task": kind.task, "batch": models.BATCH, "rate": models.RATE}
    samples, labels = (torch.stack(part) for part in zip(*shards, strict=True))
    tensors = {
        "samples": samples,
        "labels": labels,
        "test_samples": test[0],
        "test_labels": test[1],
    }
    counts = {"participants": len(shards), "per_round": 10, "weights": fk.seed_weights(source)}
    torch.save(work | tensors | counts, folder / "shards.pt")
    (folder / "model.py").write_text(source, encoding="utf-8")


def choose(peer: Peer, python: Path, job: Job, threads: Sequence[int], mine: Run) -> Result:
    """Tries each way to start it and keeps the one whose steady round is shortest; memory is measured here alone.

    A way that isn't done after half as long again as the first one is given up. Where there is one way alone, this is the
    first of its pairs, with `mine`.
    """
    first, *rest = [how for how in peer.sets if how.threads in threads] or peer.sets[:1]
    tried = {first: run(python, peer.script, first, job, memory=True)}
    for how in rest:
        patience = max(30.0, 1.5 * tried[first].whole_s)
        try:
            tried[how] = once(python, peer.script, how, job, memory=True, limit_s=patience)
        except Failed:
            print(f"  {peer.script} with {how}: given up after {patience:.0f} s", flush=True)
    best = min(tried, key=lambda how: tried[how].round_s)
    result = Result(best, tried[best].memory_mb)
    if not rest:
        result.runs.append(tried[best])
        result.ours.append(mine)
    return result


def asked(options: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; ends the program where it asks for what there is not."""
    from benchmarks.models import KINDS

    parser = argparse.ArgumentParser("python -m benchmarks field", description="The field.")
    parser.add_argument("--model", choices=("2nn", *KINDS), default="2nn", help="the work")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[*PEERS], help="beside fedkit")
    parser.add_argument("--pairs", type=int, default=REPEATS, help="runs of each")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of a run, at least 4")
    parser.add_argument(
        "--threads", nargs="+", type=int, default=[1, 2], help="of torch, the fastest is taken"
    )
    answer = parser.parse_args(options)
    if answer.rounds < 4 or answer.pairs < 1:
        parser.error("at least 4 rounds and 1 pair")
    return answer


def main(options: Sequence[str] = ()) -> None:
    """Install, choose, measure interleaved, print."""
    from benchmarks.models import KINDS

    wanted = asked(options)
    if not Path("/proc/self/smaps_rollup").exists():
        print(
            "field: needs Linux, whose /proc tells the processor time and memory of all processes"
        )
        return
    what = (
        "100 participants x 600, 784-200-200-10"
        if wanted.model == "2nn"
        else f"10 participants x {KINDS[wanted.model].each}, {KINDS[wanted.model].title}"
    )
    print(f"The field ({what}, 10 a round, batches of 10, {wanted.rounds} rounds)", flush=True)
    load = [os.getloadavg()[0]]
    results: dict[str, Result] = {}
    reasons: dict[str, str] = {}
    ours = Path(sys.executable), "with_fedkit.py", Set(1)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder), wanted.rounds)
        write_work(wanted.model, job.folder)
        alone = run(*ours, job, memory=True)
        pythons = {}
        for name in wanted.peers:
            try:
                pythons[name] = python_of(PEERS[name])
                results[name] = choose(PEERS[name], pythons[name], job, wanted.threads, alone)
            except Failed as failure:
                reasons[name] = str(failure)
        for pair in range(wanted.pairs):
            due = {name: r for name, r in results.items() if len(r.runs) <= pair}
            mine = run(*ours, job) if due else alone
            for name, result in due.items():
                try:
                    theirs = run(pythons[name], PEERS[name].script, result.best, job)
                except Failed as failure:
                    print(f"  {name}: one pair less, {failure}", flush=True)
                    continue
                result.ours.append(mine)
                result.runs.append(theirs)
            load.append(os.getloadavg()[0])
    reasons |= {name: "no run succeeded" for name, result in results.items() if not result.runs}
    results = {name: result for name, result in results.items() if result.runs}
    within = ACCURACY_WITHIN if wanted.model == "2nn" else ACCURACY_OF_FEW_WITHIN
    table(results, reasons, alone.memory_mb, load, within)
    goals(results, alone.memory_mb, wanted.model)


def table(
    results: dict[str, Result],
    reasons: dict[str, str],
    memory: float,
    load: list[float],
    within: float,
) -> None:
    """Markdown, to be kept in `results/`. within : further off than this, an accuracy is of other work."""
    columns = ("round_s", "round_cpu_s", "least_cpu_s", "call_s", "whole_s", "whole_cpu_s")
    every = [run for result in results.values() for run in result.ours]
    mine = Result(Set(1), memory, every, every)
    most = max((len(result.runs) for result in results.values()), default=0)
    print(
        f"\n{date.today()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, load "
        f"{min(load):.1f} to {max(load):.1f} (this benchmark's own included), at most {most} pairs of runs each\n"
    )
    print(
        "| framework | started with | s a round | CPU s a round | least | s of the call "
        "| s of the program | CPU s of the program | memory MB | accuracy |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, result in ({"fedkit": mine} | results).items():
        values = [result.middle(x) for x in columns]
        numbers = " | ".join(f"{value:.{2 if n > 2 else 3}f}" for n, value in enumerate(values))
        accuracy = result.middle("accuracy")
        agrees = name in LIMITS or abs(accuracy - mine.middle("accuracy")) <= within
        print(
            f"| {name} ({result.runs[0].versions}) | {result.best} | {numbers} | {result.memory_mb:.0f} "
            f"| {'' if name in LIMITS else f'{accuracy:.3f}'}{'' if agrees else ' (NOT THE SAME WORK)'} |"
        )
    for name, reason in reasons.items():
        print(f"| {name} | could not be measured: {reason} | | | | | | | | |")
    print(
        "\n| theirs / ours, median of the pairs | s a round | CPU s a round | least | s of the call "
        "| s of the program | CPU s of the program | memory |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        ratios = [result.ratio(x) for x in columns]
        shown = " | ".join(f"{x:.1f}x" for x in [*ratios, result.memory_mb / memory])
        print(f"| {name} | {shown} |")
    print(flush=True)


def goals(results: dict[str, Result], memory: float, model: str) -> None:
    """The rows that have a goal, in wall-clock time; in brackets the same ratio of processor time."""

    def line(text: str, result: Result, wall: str, cpu: str, goal: str) -> None:
        row(f"(c) {text}", f"{result.ratio(wall):.1f}x ({result.ratio(cpu):.1f}x)", goal)

    flower = results.get("Flower") if model == "2nn" else None
    if flower:
        line("Flower / engine, a steady round", flower, "round_s", "round_cpu_s", ">= 4x")
        line(
            "Flower / engine, all rounds, whole program", flower, "whole_s", "whole_cpu_s", ">= 20x"
        )
        row("(c) Flower / engine, all rounds, imports done", f"{flower.ratio('call_s'):.1f}x")
        row("(c) memory of Flower, of the engine", f"{flower.memory_mb:.0f}, {memory:.0f} MB")
    others = {name: r for name, r in results.items() if name not in ("Flower", *LIMITS)}
    for kind, wanted in (("in one process", False), ("in two processes", True)):
        some = {name: r for name, r in others.items() if (r.best.processes > 1) is wanted}
        if some:
            name = min(some, key=lambda name: some[name].ratio("round_s"))
            text = f"the fastest other {kind} ({name}) / engine, a steady round"
            line(
                text,
                some[name],
                "round_s",
                "round_cpu_s",
                ">= 2.5x" if model == "2nn" else ">= 1.5x",
            )
