"""What the benchmarks share: the tutorial's experiment, timing, and one way to print a row."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import fedkit as fk

AGGREGATOR = "aggregator@example.org"
PARTICIPANTS = ["alice@example.org", "bob@example.org"]


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory_mb() -> float:
    """The most memory that this process has held so far, in MB.

    Linux: `VmHWM`, which begins anew with each program. `ru_maxrss` is handed on to a child: it would tell of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        if line is not None:
            return int(line[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024**2)


def in_a_process_of_its_own(module: str, call: str) -> str:
    """The last line that a fresh process prints, which prints what `call` of the module gives."""
    code = f"import {module} as part; print(part.{call})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def tutorial_shards() -> list[fk.Shard]:
    """Digits 0-4 and 5-9, 800 images a digit."""
    digits = fk.load_mnist()
    return fk.by_digits(
        digits.train_images, digits.train_labels, generator=fk.generator(0, "shards")
    )


def tutorial_config(**changes: object) -> fk.FLConfig:
    """3 rounds x 10 local epochs, learning rate 0.1, batches of 64."""
    values = {
        "project_name": "MNIST_FL",
        "aggregator": AGGREGATOR,
        "participants": PARTICIPANTS,
        "rounds": 3,
        "epoch": 10,
        "learning_rate": 0.1,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
    }
    return fk.FLConfig.from_dict(values | changes)


@contextmanager
def tutorial_network(workers: int | None = None) -> Iterator[fk.Network]:
    """A fresh network of the tutorial's three datasites, with data, launched."""
    digits = fk.load_mnist()
    with TemporaryDirectory() as folder:
        network = fk.Network.create(
            Path(folder), aggregator=AGGREGATOR, participants=PARTICIPANTS, workers=workers
        )
        for email, shard in zip(PARTICIPANTS, tutorial_shards(), strict=True):
            network.give_data(email, shard)
        network.give_test(fk.as_float(digits.test_images), digits.test_labels)
        network.launch(tutorial_config())
        yield network


def row(name: str, value: str, goal: str = "") -> None:
    """One line of a benchmark's table."""
    print(f"  {name:<66} {value:>14}   {goal}", flush=True)
