"""The in-memory engine beside plainer loops, beside the arithmetic alone, beside files, and with many participants.

Workload of the paper's table: 100 participants x 600 samples (the sample of MNIST, repeated), 784-200-200-10, a tenth of
them a round, batches of 10, one local epoch, evaluation on the test set every round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import fedkit as fk
from benchmarks.common import in_a_process_of_its_own, peak_memory_mb, row, seconds
from fedkit.experiments.trial import model_source
from fedkit.learning.update import Update
from fedkit.rounds.round import draw
from fedkit.rounds.simulation import _groups

REPEATS = 11
TWO_NN = model_source("2nn")


def world(participants: int, per_round: int, rounds: int, each: int = 600):
    """Config, a function that gives a participant's shard (600 images of the sample, drawn anew), and the test set."""
    digits = fk.load_mnist()
    emails = fk.numbered_participants(participants)
    config = fk.FLConfig.from_dict(
        {
            "project_name": "ENGINE",
            "aggregator": "aggregator@example.org",
            "participants": emails,
            "participants_per_round": per_round,
            "rounds": rounds,
            "epoch": 1,
            "learning_rate": 0.1,
            "batch_size": 10,
            "model_arch": "model.py",
            "model_weight": "weights.pt",
        }
    )

    def shard(email: str) -> fk.Shard:
        index = torch.randperm(len(digits.train_labels), generator=fk.generator(0, "shard", email))[
            :each
        ]
        return fk.as_float(digits.train_images[index]), digits.train_labels[index]

    return config, shard, (fk.as_float(digits.test_images), digits.test_labels)


def plain_round(config: fk.FLConfig, shards: dict, test: fk.Shard, epoch: Callable) -> None:  # type: ignore[type-arg]
    """One round with one participant after the other, `epoch(model, shard, generator)` doing the training."""
    model = fk.load_model(TWO_NN)
    start, updates = fk.seed_weights(TWO_NN), []
    for email in draw(config, config.participants, 1):
        model.load_state_dict(start)
        epoch(model, shards[email], fk.generator(config.seed, email, 1))
        updates.append(Update(email, 1, fk.state_of(model), len(shards[email][1])))
    fk.evaluate(model, fk.fedavg(updates), *test)


def tight(model: torch.nn.Module, shard: fk.Shard, generator: torch.Generator) -> None:
    """Tensors indexed by a permutation: the fastest plain loop that we know."""
    fk.sgd_epoch(model, *shard, 0.1, 10, generator)


def with_loader(model: torch.nn.Module, shard: fk.Shard, generator: torch.Generator) -> None:
    """A shuffling DataLoader and torch's own optimiser."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(*shard), batch_size=10, shuffle=True, generator=generator)
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()


def products_alone(config: fk.FLConfig) -> Callable[[], object]:
    """Only the matrix products of one round: the engine's own groups and shapes, as many threads, nothing in between.

    Three a layer and step, two in the lowest: forward, the gradient of the inputs, and the gradient of the weights, which
    is added to them on the way as the engine does.
    """
    sizes = [(784, 200), (200, 200), (200, 10)]
    groups = _groups(draw(config, config.participants, 1), sum((a + 1) * b for a, b in sizes))
    rest = {"dtype": torch.float32, "generator": fk.generator(0, "products")}
    stacks = [
        [
            (
                torch.randn(len(group), config.batch_size, a, **rest),
                torch.randn(len(group), config.batch_size, b, **rest),
                torch.randn(len(group), b, a, **rest),
            )
            for a, b in sizes
        ]
        for group in groups
    ]

    def steps(stack: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        for _ in range(600 // config.batch_size):
            for x, _, weight in stack:
                torch.bmm(x, weight.transpose(1, 2))
            for layer, (x, delta, weight) in reversed(list(enumerate(stack))):
                if layer:
                    torch.bmm(delta, weight)
                weight.baddbmm_(delta.transpose(1, 2), x, alpha=-1e-6)

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(steps, stacks))

    return work


def steady_round(participants: int) -> str:
    """Seconds of a round with 100 of so many participants, and the peak memory in MB; for a process of its own."""
    config, make, test = world(participants, 100, 2)
    took = seconds(lambda: fk.simulate(config, make, test, model=TWO_NN)) / config.rounds
    return f"{took} {peak_memory_mb()}"


def files_against_memory() -> tuple[float, float]:
    """Seconds of the same three rounds with 10 participants: through datasites, and in memory."""
    config, shard, test = world(10, 10, 3)
    shards = {email: shard(email) for email in config.participants}
    with TemporaryDirectory() as folder:
        network = fk.Network.create(
            folder, aggregator=config.aggregator, participants=config.participants
        )
        for email, pair in shards.items():
            network.give_data(email, pair)
        network.give_test(*test)
        network.launch(config, TWO_NN)
        files = seconds(lambda: network.run(approve=fk.approve_all))
    return files, seconds(lambda: fk.simulate(config, shards, test, model=TWO_NN))


def main() -> None:
    """Print the table; timed alternatives are interleaved, and medians are compared.

    In brackets: the same ratio of processor time, which other programs on the machine disturb less.
    """
    print(
        "The in-memory engine (100 participants x 600, 784-200-200-10, 10 a round, batches of 10)"
    )
    config, make, test = world(100, 10, 1)
    shards = {email: make(email) for email in draw(config, config.participants, 1)}
    alternatives: dict[str, Callable[[], object]] = {
        "engine": lambda: fk.simulate(config, shards.__getitem__, test, model=TWO_NN),
        "tight": lambda: plain_round(config, shards, test, tight),
        "loader": lambda: plain_round(config, shards, test, with_loader),
        "products": products_alone(config),
    }
    wall: dict[str, list[float]] = {name: [] for name in alternatives}
    cpu: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(REPEATS):
        for name, work in alternatives.items():
            began = time.process_time()
            wall[name].append(seconds(work))
            cpu[name].append(time.process_time() - began)

    def over(name: str, other: str, form: str = ".2f", unit: str = "x") -> str:
        """Ratio of wall-clock medians, then of processor time: the engine uses as many threads as there are cores."""
        a, b = (statistics.median(t[name]) / statistics.median(t[other]) for t in (wall, cpu))
        return f"{a:{form}}{unit} ({b:{form}}{unit})"

    row("(a) a tight sequential loop / engine", over("tight", "engine"), ">= 2x")
    row("(b) a DataLoader loop / engine", over("loader", "engine"), ">= 2.5x")
    row(
        "(d) the matrix products alone / engine",
        over("products", "engine", ".0%", ""),
        "of the limit",
    )
    alone = [f"steady_round({count})" for count in (100, 10_000)]
    said = [in_a_process_of_its_own("benchmarks.engine", call).split() for call in alone]
    few, many = ([float(part) for part in parts] for parts in said)
    row("(e) a round with 100 of 10,000 / 100 of 100 participants", f"{many[0] / few[0]:.2f}x")
    row("(e) peak memory with 100 of 10,000, with 100 of 100", f"{many[1]:.0f}, {few[1]:.0f} MB")
    files, memory = files_against_memory()
    row("(f) file by file / in memory, 10 participants", f"{files / memory:.2f}x")
