"""The tutorial's experiment: what the wire costs beside pure SGD, and beside the real apps' way of working.

The reference does the real apps' kind of work, written for this benchmark: a process start a pass, a DataLoader loop, ten
seconds of sleep between passes. The sleeps are counted, not slept.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader, TensorDataset

import fedkit as fk
from benchmarks.common import (
    PARTICIPANTS,
    in_a_process_of_its_own,
    peak_memory_mb,
    row,
    seconds,
    tutorial_config,
    tutorial_network,
    tutorial_shards,
)
from fedkit.protocol import advance as node

REPEATS = 5
SLEEP_S = 10.0


def whole_project(workers: int | None) -> float:
    """Seconds from launch to done, all datasites included."""
    with tutorial_network(workers) as network:
        took = seconds(lambda: network.run(approve=fk.approve_all))
        assert network.history().done
        return took


def pure_sgd() -> float:
    """Seconds for the same batches without any file: every round and participant, one after the other."""
    config, model = tutorial_config(), fk.load_model(fk.SAMPLE_MODEL)
    shards = tutorial_shards()

    def work() -> None:
        for n in range(1, config.rounds + 1):
            for email, shard in zip(PARTICIPANTS, shards, strict=True):
                generator = fk.generator(config.seed, email, n)
                for _ in range(config.epoch):
                    fk.sgd_epoch(model, *shard, config.learning_rate, config.batch_size, generator)

    return seconds(work)


def data_loader_round() -> float:
    """Seconds for one participant's round with a shuffling DataLoader and torch's SGD, as the real client does it."""
    config, model = tutorial_config(), fk.load_model(fk.SAMPLE_MODEL)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.learning_rate)
    loader = DataLoader(TensorDataset(*tutorial_shards()[0]), batch_size=64, shuffle=True)

    def work() -> None:
        for _ in range(config.epoch):
            for images, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()

    return seconds(work)


def process_start() -> float:
    """Seconds for a Python process that has imported torch."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True))


def reference() -> float:
    """Seconds of the real apps' way, both participants side by side.

    Passes: requests; mailboxes; seed model; then training and averaging in each round; done on both sides.
    """
    rounds = tutorial_config().rounds
    passes = 3 + 2 * rounds + 2
    return passes * (SLEEP_S + process_start()) + rounds * data_loader_round()


def idle_datasite(projects: int = 20) -> float:
    """Seconds of one `advance()` of a datasite whose projects all wait for approval."""
    with TemporaryDirectory() as folder:
        email = PARTICIPANTS[0]
        site = fk.Datasite.create(Path(folder), email)
        for number in range(projects):
            config = tutorial_config(
                project_name=f"P{number:02d}", aggregator=email, participants=[email]
            )
            launch = site.aggregator().launch
            (launch / "model.py").write_text(fk.SAMPLE_MODEL)
            fk.write_state(launch / "global_model_weight.pt", fk.seed_weights(fk.SAMPLE_MODEL))
            config.save(launch / "fl_config.json")
            node.advance(site)
        assert len(fk.status(site)) == 2 * projects
        return statistics.median(seconds(lambda: node.advance(site)) for _ in range(20))


def idle_sync(datasites: int = 10) -> float:
    """Seconds of one pass over datasites in which nothing has changed since the last one."""
    emails = [f"p{number}@example.org" for number in range(datasites - 1)]
    with TemporaryDirectory() as folder:
        network = fk.Network.create(folder, aggregator="a@example.org", participants=emails)
        digits = fk.load_mnist()
        network.give_test(fk.as_float(digits.test_images), digits.test_labels)
        for email in emails:
            network.give_data(email, (torch.zeros(1, 1, 28, 28), torch.zeros(1).long()))
        network.launch(
            tutorial_config(aggregator="a@example.org", participants=emails, epoch=1, rounds=3)
        )
        network.run(approve=fk.approve_all)
        return statistics.median(seconds(network.sync) for _ in range(20))


def peak_memory() -> float:
    """Peak memory after the whole project, in MB; for a process that does nothing else."""
    whole_project(None)
    return peak_memory_mb()


def main() -> None:
    """Print the table; the timed pairs are interleaved, and medians are compared."""
    print("The tutorial's experiment (2 participants, 8,000 images, 3 rounds x 10 local epochs)")
    pairs = [(whole_project(None), whole_project(1), pure_sgd()) for _ in range(REPEATS)]
    side_by_side, one_by_one, sgd = (
        statistics.median(column) for column in zip(*pairs, strict=True)
    )
    row(
        "(a) launch to done / pure SGD, participants side by side",
        f"{side_by_side / sgd:.2f}x",
        "<= 1.25x",
    )
    row(
        "(a) launch to done / pure SGD, one after the other", f"{one_by_one / sgd:.2f}x", "<= 1.25x"
    )
    row("(b) the real apps' way / fedkit", f"{reference() / side_by_side:.0f}x", ">= 15x")
    row(
        "(c) idle advance() of a datasite with 20 waiting projects",
        f"{1000 * idle_datasite():.1f} ms",
    )
    row("(c) idle sync pass over 10 datasites", f"{1000 * idle_sync():.1f} ms")
    alone = in_a_process_of_its_own("benchmarks.tutorial", "peak_memory()")
    row("(d) peak memory of the whole", f"{float(alone):.0f} MB", "< 1,000 MB")
