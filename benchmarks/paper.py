"""The paper's table: rounds until the MNIST 2NN is right for 97 % of the test set (McMahan et al. 2017, table 1).

    fedkit data full --from FOLDER      # the full MNIST; without --from it is downloaded
    python -m benchmarks.paper --out runs/paper

784-200-200-10; 100 participants of 600 images each; one local epoch. As in the paper, the learning rate is the best of a
multiplicative grid, for each row by itself: first in steps of 10^(1/3), in both directions until the best is inside, then
its neighbours at 10^(1/6). A learning rate that has not arrived when the best one so far had is given up, since it can't be
best. The best one is then run with more seeds, which took no part in choosing it.

Every run is a file in the folder; what is there is not run again, and the table is written anew after each. `make bench`
leaves this one out: it takes an hour or more.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fedkit as fk
from fedkit.base.files import write_bytes
from fedkit.experiments.trial import check_trial, run_trial

TARGET = 0.97
SEEDS = (0, 1, 2)
ENDS = (-12, 3)  # learning rates 10 ** (k / 6) beyond these are not tried


@dataclass(frozen=True)
class Row:
    """One entry of the table. limit : rounds after which a run is given up. first : step of the first learning rate."""

    name: str
    split: str
    per_round: int
    batch_size: int
    paper: int
    limit: int
    first: int = -4


ROWS = (
    Row("IID, B=10, C=0.1", "iid", 10, 10, 87, 300),
    Row("IID, B=10, C=0.2", "iid", 20, 10, 77, 300),
    Row("two shards, B=10, C=0.1", "shards", 10, 10, 664, 1500),
    Row("IID, B=all, C=0.1", "iid", 10, 600, 1474, 3000, -2),
    Row("IID, B=10, C=0.5", "iid", 50, 10, 75, 300, -3),
    Row("IID, B=10, C=1", "iid", 100, 10, 70, 300, -3),
)
QUICKEST_FIRST = (0, 1, 2, 4, 5, 3)  # so that a run that is cut off has whole rows


def run(out: Path, row: Row, step: int, seed: int, limit: int) -> dict[str, Any]:
    """One run, from its file where it is there; `reached` is None where `limit` rounds did not do."""
    path = out / f"{row.split}_{row.per_round}_{row.batch_size}_lr{step}_seed{seed}.json"
    kept = fk.read_json(path)
    if isinstance(kept, dict) and (kept["reached"] is not None or kept["limit"] >= limit):
        return kept
    began, cpu = time.perf_counter(), time.process_time()
    trial = {
        "full": True,
        "model": "2nn",
        "participants": 100,
        "participants_per_round": row.per_round,
        "partition": row.split,
        "rounds": limit,
        "batch_size": row.batch_size,
        "learning_rate": 10 ** (step / 6),
        "target": TARGET,
        "seed": seed,
    }
    found = run_trial(check_trial(trial))
    values = {
        "row": asdict(row),
        "seed": seed,
        "learning_rate": 10 ** (step / 6),
        "limit": limit,
        "reached": found["rounds_to_target"],
        "rounds": found["rounds_run"],
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "accuracies": found["accuracies"],
    }
    fk.write_json(path, values)
    said = f"{values['reached']:.1f}" if values["reached"] is not None else f"not within {limit}"
    print(f"{row.name:<26} lr {10 ** (step / 6):.3f}  seed {seed}  {said}", flush=True)
    write_table(out)
    return values


def tune(out: Path, row: Row, seed: int = 0) -> int:
    """The step of the grid with the fewest rounds to the target, by seed 0."""
    found: dict[int, float] = {}

    def try_out(step: int) -> None:
        best = min(found.values(), default=math.inf)
        limit = row.limit if math.isinf(best) else math.ceil(best)
        reached = run(out, row, step, seed, limit)["reached"]
        found[step] = math.inf if reached is None else reached

    try_out(row.first)
    for width in (2, 1):
        while True:
            best = min(found, key=lambda step: found[step])
            missing = [s for s in (best - width, best + width) if s not in found]
            missing = [s for s in missing if ENDS[0] <= s <= ENDS[1]]
            if not missing:
                break
            for step in missing:
                try_out(step)
    return min(found, key=lambda step: found[step])


def write_table(out: Path) -> None:
    """`paper_2nn.csv`, a line a run, in the order of the rows, and `paper_2nn.md`, the entries beside the paper's."""
    runs = [kept for path in sorted(out.glob("*_seed*.json")) if (kept := fk.read_json(path))]
    lines: list[list[Any]] = []
    table = [
        "| | learning rate | rounds, seed 0 | other seeds | the paper |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        mine = [kept for kept in runs if kept["row"]["name"] == row.name]
        mine.sort(key=lambda kept: (kept["seed"], kept["learning_rate"]))
        for kept in mine:
            values = [kept[key] for key in ("seed", "learning_rate", "limit", "reached")]
            lines.append([row.name, *values, max(kept["accuracies"]), round(kept["cpu_seconds"])])
        tuned = [kept for kept in mine if kept["seed"] == 0 and kept["reached"] is not None]
        if not tuned:
            table.append(f"| {row.name} | | not run | | {row.paper:,} |")
            continue
        best = min(tuned, key=lambda kept: float(kept["reached"]))
        rate = best["learning_rate"]
        others = [k for k in mine if k["seed"] and math.isclose(k["learning_rate"], rate)]
        said = ", ".join(_rounds(kept) for kept in others)
        table.append(f"| {row.name} | {rate:.3f} | {_rounds(best)} | {said} | {row.paper:,} |")
    text = io.StringIO()
    heads = ["row", "seed", "learning_rate", "limit", "reached", "best_accuracy", "cpu_seconds"]
    csv.writer(text, lineterminator="\n").writerows([heads, *lines])
    write_bytes(out / "paper_2nn.csv", text.getvalue().encode())
    write_bytes(out / "paper_2nn.md", ("\n".join(table) + "\n").encode())


def _rounds(kept: dict[str, Any]) -> str:
    return f"{kept['reached']:.0f}" if kept["reached"] is not None else f"> {kept['limit']}"


def main(arguments: Sequence[str] = ()) -> int:
    """Run what is missing, row by row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    out = parser.parse_args(arguments).out
    order = [ROWS[n] for n in QUICKEST_FIRST]
    for row in order:  # an entry for each row soon, the best learning rate and more seeds later
        run(out, row, row.first, SEEDS[0], row.limit)
    for row in order:
        step = tune(out, row)
        for seed in SEEDS[1:]:
            run(out, row, step, seed, row.limit)
    print((out / "paper_2nn.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
