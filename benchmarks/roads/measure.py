"""What a road costs: seconds, bytes on loopback, memory of everything that it started; and its project, read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import fedkit as fk
from benchmarks.processes import Tree
from fedkit.base.files import read_bytes, sha256_bytes, write_bytes, write_dataset, write_state
from fedkit.data.folder import write_data_folder
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.advance import advance
from fedkit.protocol.approval import answer, approve_all
from fedkit.rounds.starting_point import Experiment, deal, read_experiment

__all__ = [
    "Cost",
    "Project",
    "Result",
    "between",
    "measured",
    "models_of",
    "read_project",
    "write_project",
]


class Result(TypedDict):
    """sha256 : of each global model, from the seed weights to the last round's. seconds : wall clock, from start to done.

    seconds_a_round : between two global models. bytes : that crossed. memory_mb : the most that all processes held together
    (PSS: what several share counts once).
    """

    sha256: list[str]
    seconds: float
    seconds_a_round: float
    bytes: int
    memory_mb: float


@dataclass(frozen=True)
class Project:
    """A project's folder, read. shards : by e-mail. test : the aggregator's (samples, labels)."""

    folder: Path
    experiment: Experiment
    shards: dict[str, fk.Shard]
    test: fk.Shard

    @property
    def config(self) -> fk.FLConfig:
        return self.experiment.config


@dataclass
class Cost:
    """Filled when the `with` block ends."""

    seconds: float = 0.0
    loopback: int = 0
    memory_mb: float = 0.0

    def result(self, models: Sequence[Path], crossed: int | None = None) -> Result:
        """models : the aggregator's files of global models 0 to the last. crossed : bytes, where loopback does not tell."""
        times = [path.stat().st_mtime for path in models[1:]]
        between = (times[-1] - times[0]) / max(len(times) - 1, 1)
        return {
            "sha256": [sha256_bytes(read_bytes(path)) for path in models],
            "seconds": round(self.seconds, 2),
            "seconds_a_round": round(between, 2),
            "bytes": self.loopback if crossed is None else crossed,
            "memory_mb": round(self.memory_mb, 1),
        }


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure this process and all below it, and what crosses loopback meanwhile (of everybody, so best in a namespace)."""
    cost, ended = Cost(), threading.Event()

    def look() -> None:
        tree = Tree(os.getpid())
        while True:
            tree.grow()
            tree.sample()
            cost.memory_mb = max(cost.memory_mb, tree.memory_mb())
            if ended.wait(0.25):
                return

    watching = threading.Thread(target=look, daemon=True)
    before, began = _on_loopback(), time.monotonic()
    watching.start()
    try:
        yield cost
    finally:
        cost.seconds, cost.loopback = time.monotonic() - began, _on_loopback() - before
        ended.set()
        watching.join()


def between(
    project: Project, sites: Mapping[str, Datasite]
) -> tuple[Callable[[], None], Callable[[], bool]]:
    """A project's data at datasites on a road, and its launch. Returns what moves them all, in this process, and whether
    all are done. sites : by e-mail."""
    config, experiment = project.config, project.experiment
    home = sites[config.aggregator]
    for email, shard in project.shards.items():
        write_shard(sites[email].private_client, shard, config.task)
    write_dataset(home.private_aggregator / config.test_dataset, *project.test)
    launch = home.aggregator().launch
    write_bytes(launch / config.model_arch, experiment.model.encode())
    write_state(launch / config.model_weight, experiment.weights)
    config.save(launch / "fl_config.json")

    def move() -> None:
        for site in sites.values():
            answer(site, approve_all)
            advance(site)

    def done() -> bool:
        boxes = [home.aggregator(), *(sites[email].client() for email in config.participants)]
        return all((box.done / config.project_name).is_dir() for box in boxes)

    return move, done


def read_project(folder: Path) -> Project:
    """A project's folder. Raises FedkitError where something is missing or does not fit."""
    experiment = read_experiment(
        folder / "fl_config.json",
        participants=None,
        changes={},
        partition=None,
        full=False,
        data=folder / "data",
    )
    shards, test = deal(experiment)
    by_email = dict(zip(experiment.config.participants, shards, strict=True))
    return Project(folder, experiment, by_email, test)


def write_project(folder: Path, rounds: int = 3, each: int = 60) -> None:
    """Lesson 12's project: ten digits between three, `each` images a digit, the tutorial's model of 410 kB."""
    digits = fk.load_mnist()
    people = [f"{name}@example.org" for name in ("alice", "bob", "carol")]
    shards = fk.by_digits(
        digits.train_images,
        digits.train_labels,
        [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]],
        each,
        generator=fk.generator(0, "lesson 12"),
    )
    test = (fk.as_float(digits.test_images[::4]), digits.test_labels[::4])
    config = fk.FLConfig(
        project_name="ROADS",
        aggregator="ana@example.org",
        participants=people,
        rounds=rounds,
        epoch=2,
        learning_rate=0.1,
        batch_size=16,
        seed=0,
        model_arch="model.py",
        model_weight="global_model_weight.pt",
        min_participants=2,
    )
    write_data_folder(folder / "data", config.task, dict(zip(people, shards, strict=True)), test)
    config.save(folder / "fl_config.json")
    (folder / "model.py").write_text(fk.SAMPLE_MODEL, encoding="utf-8")
    fk.write_state(folder / "global_model_weight.pt", fk.seed_weights(fk.SAMPLE_MODEL, config.seed))


def models_of(folder: Path, rounds: int) -> list[Path]:
    """Where an exported app leaves its global models."""
    return [folder / f"agg_model_round_{n}.pt" for n in range(rounds + 1)]


def _on_loopback() -> int:
    """Bytes that loopback has carried so far, headers included; 0 where that can't be read."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next(
        (int(line.split(":")[1].split()[0]) for line in lines if line.strip().startswith("lo:")), 0
    )
