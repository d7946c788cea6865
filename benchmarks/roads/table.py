"""`python -m benchmarks roads`: every road that this machine has, one table, written to results/roads.md.

`--only own,flower` prints a table of these alone; `--record` keeps what ran for lesson 12 (`record.py`).

Each road runs in a process of its own and, where Linux allows it, in a network namespace of its own: its loopback carries
nobody else's bytes, and nothing beyond this machine can be reached.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import torch

import benchmarks.roads as roads
from benchmarks.roads.measure import Result, read_project, write_project

__all__ = ["main", "names", "road", "run", "table"]

RESULTS = Path(__file__).parents[1] / "results" / "roads.md"
_SHARED = {"measure", "record", "table"}
_FIRST = "own"
_LIMIT_S = 900.0


def names() -> list[str]:
    """All roads, fedkit's own sync first."""
    found = {m.name for m in pkgutil.iter_modules(roads.__path__)} - _SHARED
    return sorted(found, key=lambda name: (name != _FIRST, name))


def road(name: str) -> ModuleType:
    """A road's module."""
    return importlib.import_module(f"benchmarks.roads.{name}")


def run(name: str, project_dir: Path, out: Path) -> Result:
    """A road, in a process and a network namespace of its own. Raises RuntimeError with what it said where it failed."""
    code = (
        "import json, sys; from pathlib import Path; from benchmarks.roads import table; "
        f"r = table.road({name!r}).run_on_{name}(Path(sys.argv[1]), Path(sys.argv[2])); "
        "print(); print(json.dumps(r))"
    )
    done = subprocess.run(
        [*_apart(), sys.executable, "-c", code, str(project_dir), str(out)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def main(options: Sequence[str] = ()) -> None:
    """Run the roads named, or all; print the table, and write it where all of them ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks roads")
    parser.add_argument("--only", metavar="NAME,...", default="")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args(options)
    only = given.only
    wanted = only.split(",") if only else names()
    if stray := [name for name in wanted if name not in names()]:
        sys.exit(f"no road {', '.join(stray)}; there are: {', '.join(names())}")
    found, absent = dict[str, Result](), dict[str, str]()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        write_project(project)
        for name in wanted:
            why = road(name).missing()
            if why:
                absent[name] = why
                continue
            print(f"{name} ...", file=sys.stderr, flush=True)
            if given.record:
                from benchmarks.roads.record import record_road

                found[name] = record_road(name, project, Path(scratch))
            else:
                found[name] = run(name, project, Path(scratch) / name)
        about = _about(project)
    text = table(found, absent, about)
    print(text)
    if not only:
        RESULTS.write_text(text, encoding="utf-8")


def table(found: dict[str, Result], absent: dict[str, str], about: str) -> str:
    """The page: a row a road."""
    rows = [
        f"| {name} | `{r['sha256'][-1][:12]}` | {r['seconds']:.1f} | {r['seconds_a_round']:.2f} | {r['bytes'] / 1e6:.2f} "
        f"| {r['memory_mb']:.0f} | {road(name).SEES} |"
        for name, r in found.items()
    ]
    same = len({tuple(r["sha256"]) for r in found.values()}) == 1
    verdict = (
        "All global models are the same, bit for bit." if same else "THE GLOBAL MODELS DIFFER."
    )
    not_run = [f"Not run: {name} ({why})." for name, why in absent.items()]
    head = "| road | SHA-256 of the last model | seconds | a round | MB that crossed | MB of memory | who sees what |"
    return "\n".join(
        [
            _TITLE.format(about=about),
            head,
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            verdict,
            *not_run,
            "",
        ]
    )


_TITLE = """# The same project on every road

`python -m benchmarks roads`. {about}

Seconds are of the whole project on one machine, from starting the engine to the last global model. What crossed: at `own`
the ledger's files; elsewhere whatever loopback carried, headers included, unless the road says otherwise. Memory is the
most that all processes of a road held together (PSS), fedkit and torch in each of them included.
"""


def _about(project: Path) -> str:
    config, day = read_project(project).config, datetime.now(UTC)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{day.day} {day:%B %Y}, one run. {cores} cores ({_processor()}), {platform.system()}, Python "
        f"{platform.python_version()}, PyTorch {torch.__version__}. {len(config.participants)} participants, an "
        f"aggregator, {config.rounds} rounds, a model of 101,770 weights (410 kB)."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
    return f"{said}, {torch.backends.cpu.get_cpu_capability()}"


def _apart() -> list[str]:
    """A network namespace with nothing but loopback, where that is allowed."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return []
    command = [
        "unshare",
        "-n" if os.geteuid() == 0 else "-rn",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else []
