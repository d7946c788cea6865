"""What the benchmarks share: the tutorial's experiment, timing, and one way to print a row."""

from __future__ import annotations

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
