"""A class as real datasites: what a round takes, and what lies on the disk, for 10, 30 and 100 participants.

Everybody holds 20 images and trains the smallest model of the wire, so that a round is files and little else; the second of
two rounds is timed, up to the project's end. Ratios to 10 participants, all from one run. The exponent is the slope between
the smallest and the largest class, both axes logarithmic: 1 is linear, 2 is quadratic.

    python -m benchmarks hundred
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

import fedkit as fk
from benchmarks.common import AGGREGATOR, row, seconds, tutorial_config
from fedkit.federation.sync import Sync

SIZES = (10, 30, 100)
IMAGES = 20
RAM = Path("/dev/shm")
LINEAR = """
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, images):
        return self.fc(images.flatten(1))
"""


@dataclass
class Measured:
    """second : s of the second round. sync : of these, s in the sync. idle : s of a pass in which nothing is new."""

    second: float
    sync: float
    idle: float
    files: float
    folders: float
    megabytes: float
    lines: float


NAMES = dict(
    zip(
        (field.name for field in fields(Measured)),
        (
            "second round",
            "its sync",
            "a sync with nothing new",
            "files",
            "folders",
            "MB",
            "ledger lines",
        ),
        strict=True,
    )
)


@contextmanager
def timed_sync() -> Iterator[list[float]]:
    """Gets the seconds of each pass of the sync."""
    took: list[float] = []
    real = Sync.__call__

    def timed(self: Sync) -> list[fk.Event]:
        events: list[fk.Event] = []
        took.append(seconds(lambda: events.extend(real(self))))
        return events

    with patch.object(Sync, "__call__", timed):
        yield took


def measured(size: int, where: Path | None = None) -> Measured:
    """One project of two rounds in a fresh folder. where : the folder that holds it; by default the system's own."""
    people = [f"p{number:03d}@example.org" for number in range(size)]
    draw = fk.generator(0, "hundred")
    with TemporaryDirectory(dir=where) as folder:
        network = fk.Network.create(Path(folder), aggregator=AGGREGATOR, participants=people)
        for email in people:
            images = torch.rand(IMAGES, 1, 28, 28, generator=draw)
            network.give_data(email, (images, torch.arange(IMAGES) % 10))
        network.give_test(torch.rand(IMAGES, 1, 28, 28, generator=draw), torch.arange(IMAGES) % 10)
        network.launch(tutorial_config(participants=people, rounds=2, epoch=1), LINEAR)
        network.run(approve=fk.approve_all, until_round=1)
        with timed_sync() as passes:
            second = seconds(lambda: network.run(approve=fk.approve_all))
        idle = seconds(network.sync)
        found = list(Path(folder).rglob("*"))
        files = [path for path in found if path.is_file()]
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        lines = len(network.ledger())
        return Measured(
            second, sum(passes), idle, len(files), len(found) - len(files), size_mb, lines
        )


def main() -> None:
    """Print the table."""
    measured(2)  # what is imported and compiled once is in no row
    first, *others = results = [measured(size) for size in SIZES]
    print(
        f"Datasites on one machine, {IMAGES} images each: {', '.join(map(str, SIZES))} participants\n"
    )
    for (name, title), *values in zip(NAMES.items(), *map(astuple, results), strict=True):
        told = " ".join(f"{value:10,.2f}" if value < 100 else f"{value:10,.0f}" for value in values)
        row(f"{title:<26}{told}", f"{exponent(first, others[-1], name):.2f}", "exponent")
    ratio = others[-1].second / first.second
    row(f"second round, {SIZES[-1]} against {SIZES[0]}", f"{ratio:.1f}x", "goal: below 12")
    share = others[-1].sync / others[-1].second
    row(f"the sync's share of it, {SIZES[-1]} participants", f"{share:.0%}", "goal: below a third")
    if RAM.is_dir():  # a disk may take milliseconds for each folder that goes
        last = measured(SIZES[-1], RAM)
        share = last.sync / last.second
        row("the same, where the disk costs nothing", f"{share:.0%}", "goal: below a third")


def exponent(small: Measured, large: Measured, name: str) -> float:
    """By which power of the participants it grows."""
    ratio = getattr(large, name) / getattr(small, name)
    return math.log(ratio) / math.log(SIZES[-1] / SIZES[0])


if __name__ == "__main__":
    main()
