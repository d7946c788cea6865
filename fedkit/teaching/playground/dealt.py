"""From settings to what `fk.simulate` takes: a config, a model.py, shards, a test set, and what happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fedkit.base.errors import FedkitError
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.config.task import DIGITS, Task
from fedkit.config.tutorial import AGGREGATOR, tutorial_participants
from fedkit.data.folder import DataFolder, read_data_folder
from fedkit.data.label_skew import split_dirichlet, split_labels_each, split_sizes
from fedkit.data.mnist import load_mnist
from fedkit.data.partition import split_iid, take
from fedkit.data.points import points, points_task
from fedkit.data.shards import Shard, as_float
from fedkit.learning.strategies.registry import make_strategy
from fedkit.rounds.clustered import Split
from fedkit.rounds.drop_out import dropping_out, one_after_another
from fedkit.rounds.hostile import flip_labels, poisoned
from fedkit.rounds.simulation import OnTheWay
from fedkit.teaching.playground.settings import STRENGTHS, Settings

__all__ = ["DELTA", "Dealt", "config_of", "deal", "hostile_ones", "model_of", "open_folder"]

DELTA = 1e-5
"""The delta of every epsilon in the playground; far below one over the participants, or a participant's samples."""
_TEST_POINTS, _TEST_DIGITS = 300, 500
_MOST_INPUTS = 16_384
"""Numbers in one sample of one's own that the playground's model takes."""


@dataclass(frozen=True)
class Dealt:
    """What a run is made of. test : for one model of all.

    test_of : the test samples for a model of these participants, as they see them: where they call the same sample by
    different labels, each kind of them judges its share of the samples. split : None for one model of all.
    """

    config: FLConfig
    model: str
    shards: dict[str, Shard]
    test: Shard
    on_the_way: OnTheWay | None
    hostile: frozenset[str]
    test_of: Callable[[Sequence[str]], Shard]
    split: Split | None


def deal(settings: Settings | str, own: DataFolder | Path | str | None = None) -> Dealt:
    """Everything that these settings stand for, always the same for the same settings. Raises FedkitError.

    settings : or their link. own : the folder of one's own data, or its path, where the settings are about one.
    """
    if isinstance(settings, str):
        settings = Settings.of_link(settings)
    folder = open_folder(settings, own)
    config = config_of(settings, folder)
    hostile = hostile_ones(settings, config)
    dealt, test = _samples(settings, folder)
    shards = dict(zip(config.participants, dealt, strict=True))
    swapped = frozenset(config.participants[1::2] if _swaps(settings) else ())
    for who in swapped:
        shards[who] = flip_labels(shards[who], config.task.classes)
    test_of = _TestOf(test, swapped, config.task.classes)
    if settings.attack == "labels":
        if not config.task.classes:
            raise FedkitError(
                "flips labels, and these data have numbers in their place",
                field="attack",
                remedy="take another attack",
            )
        for who in hostile:
            shards[who] = flip_labels(shards[who], config.task.classes)
    return Dealt(
        config,
        model_of(config.task, settings.hidden, settings.strategy == "fedbn", settings.layers),
        shards,
        test_of(config.participants),
        _on_the_way(settings, config, hostile),
        hostile,
        test_of,
        None if settings.groups == 1 else Split(settings.groups, settings.compare, settings.split),
    )


def _swaps(settings: Settings) -> bool:
    return settings.skew == "swapped" and settings.data != "own"


@dataclass(frozen=True)
class _TestOf:
    """See `Dealt.test_of`."""

    test: Shard
    swapped: frozenset[str]
    classes: int

    def __call__(self, people: Sequence[str]) -> Shard:
        samples, labels = self.test
        share = sum(who in self.swapped for who in people) / max(len(people), 1)
        cut = round(len(labels) * (1 - share))
        if cut == len(labels):
            return self.test
        theirs = flip_labels((samples[cut:], labels[cut:]), self.classes)[1]
        return samples, torch.cat([labels[:cut], theirs])


def config_of(settings: Settings, own: DataFolder | None = None) -> FLConfig:
    """The experiment as fl_config.json says it. Raises FedkitError where settings do not go together."""
    task = _task(settings, own)
    people = tutorial_participants(settings.participants) if own is None else own.participants
    values: dict[str, Any] = {
        "project_name": "PLAYGROUND",
        "aggregator": AGGREGATOR,
        "participants": people,
        "rounds": settings.rounds,
        "epoch": settings.epoch,
        "learning_rate": settings.learning_rate,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "strategy": _strategy(settings),
    }
    if task != DIGITS:
        values["task"] = task.model_dump(mode="json", exclude_unset=True)
    if settings.per_round:
        values["participants_per_round"] = min(settings.per_round, len(people))
    if settings.noise:
        values["dp"] = {
            "unit": settings.unit,
            "noise_multiplier": settings.noise,
            "delta": DELTA,
            "clip": settings.clip,
        }
        if settings.unit == "participant":
            values["weighting"] = "equal"
    config = FLConfig.from_dict(values, file="settings")
    fewest = make_strategy(config).fewest_updates
    if settings.drop_out:
        return config.replace(min_participants=min(fewest, len(people)))
    return config


def hostile_ones(settings: Settings, config: FLConfig) -> frozenset[str]:
    """Who is hostile: the last participants of the list."""
    people = config.participants
    return frozenset(people[len(people) - min(settings.hostile, len(people) - 1) :])


def model_of(task: Task, hidden: int, normalised: bool = False, layers: int = 1) -> str:
    """The source of a model.py for this task: hidden layers, one as a rule, whose weights can be looked into.

    normalised : with a batch normalisation behind the first layer, for FedBN, which keeps that at its participant.

    Raises FedkitError where a sample has more numbers than the playground's model takes, or is made of tokens.
    """
    inputs = 1
    for side in task.shape:
        inputs *= side
    if task.samples == "tokens" or inputs > _MOST_INPUTS:
        raise FedkitError(
            f"are {task.samples} of {inputs:,} numbers, and the playground's model takes numbers, at most {_MOST_INPUTS:,}",
            field="data",
            remedy="simulate these data with a model of your own: fk.simulate(config, shards, test, model=source)",
        )
    middle, through, more = "", "self.fc1(samples.flatten(1))", ""
    if normalised:
        middle = f"        self.bn = nn.BatchNorm1d({int(hidden)})\n"
        through = f"self.bn({through})"
    for n in range(2, layers + 1):
        middle += f"        self.fc{n} = nn.Linear({int(hidden)}, {int(hidden)})\n"
        more += f"        hidden = torch.relu(self.fc{n}(hidden))\n"
    return _MODEL.format(
        inputs=inputs,
        way=" -> ".join([str(int(hidden))] * layers),
        hidden=int(hidden),
        outputs=task.outputs,
        middle=middle,
        through=through,
        more=more,
        last=layers + 1,
        many=("one hidden layer", "two hidden layers", "three hidden layers")[layers - 1],
    )


_MODEL = '''"""The playground's model: {inputs} -> {way} -> {outputs}, {many}."""

import torch
from torch import Tensor, nn


class FLModel(nn.Module):
    """Samples float32 [N, ...] of {inputs} numbers become answers [N, {outputs}]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear({inputs}, {hidden})
{middle}        self.fc{last} = nn.Linear({hidden}, {outputs})

    def forward(self, samples: Tensor) -> Tensor:
        hidden = torch.relu({through})
{more}        return self.fc{last}(hidden)
'''


def open_folder(settings: Settings, own: DataFolder | Path | str | None) -> DataFolder | None:
    """The folder that the settings are about, None where they are about none. Raises FedkitError where it is not here.

    A link never says where a folder lies: whoever opens it names the folder, and its digest is compared.
    """
    if settings.data != "own":
        return None
    if own is None:
        raise FedkitError(
            "are a folder of somebody's own, and none is open here",
            field="data",
            remedy="open it: fk.playground(own=DIR), or fedkit playground --data DIR",
        )
    folder = own if isinstance(own, DataFolder) else read_data_folder(Path(own))
    if settings.own and not folder.digest.startswith(settings.own):
        raise FedkitError(
            "are another folder than the one that the link is about",
            field="own",
            why=f"This one begins with {folder.digest[:16]}",
            remedy="open that folder, or leave `own` out of the link",
        )
    return folder


def _task(settings: Settings, own: DataFolder | None) -> Task:
    if own is not None:
        return own.task
    return DIGITS if settings.data == "digits" else points_task(settings.data)


def _strategy(settings: Settings) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": settings.strategy}
    if settings.strength is not None:
        name = STRENGTHS[settings.strategy]
        spec[name] = int(settings.strength) if name == "hostile" else settings.strength
    return spec


def _samples(settings: Settings, own: DataFolder | None) -> tuple[list[Shard], Shard]:
    """One shard a participant, in the config's order, and the test set."""
    if own is not None:
        return list(own.shards.values()), own.test
    draw = generator(settings.seed, "playground")
    count = settings.participants * settings.samples
    if settings.data == "digits":
        mnist = load_mnist()
        chosen = torch.randperm(len(mnist.train_labels), generator=draw)[:count]
        tested = torch.randperm(len(mnist.test_labels), generator=draw)[:_TEST_DIGITS]
        samples, labels = mnist.train_images[chosen], mnist.train_labels[chosen]
        test = as_float(mnist.test_images[tested]), mnist.test_labels[tested]
    else:
        count = max(count, 3)
        samples, labels = points(settings.data, count, settings.spread, generator=draw)
        test = points(settings.data, _TEST_POINTS, settings.spread, generator=draw)
    return take(samples, labels, _parts(settings, labels, draw)), test


def _parts(settings: Settings, labels: torch.Tensor, draw: torch.Generator) -> list[torch.Tensor]:
    people = settings.participants
    if settings.skew == "labels":
        return split_dirichlet(labels, people, settings.alpha, generator=draw)
    if settings.skew == "single":
        return split_labels_each(labels, people, _labels_each(labels, people), generator=draw)
    if settings.skew == "sizes":
        return split_sizes(labels, people, alpha=settings.alpha, generator=draw)
    return split_iid(labels, people, generator=draw)


def _labels_each(labels: torch.Tensor, people: int) -> int:
    """One label each, or as many as few participants need to hold them all."""
    return -(-len(labels.unique()) // people)


def _on_the_way(settings: Settings, config: FLConfig, hostile: frozenset[str]) -> OnTheWay | None:
    ways = []
    if hostile and settings.attack != "labels":
        ways.append(poisoned(hostile, settings.attack, factor=-10.0))
    if settings.drop_out:
        fewest = make_strategy(config).fewest_updates
        ways.append(dropping_out(settings.drop_out, settings.seed, fewest))
    return one_after_another(*ways) if ways else None
