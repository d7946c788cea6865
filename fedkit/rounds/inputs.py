"""What `simulate` is given, looked at as a datasite looks at its files: one clear error in place of a wrong model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.config.task import Task
from fedkit.data.shards import Shard, check_dataset, in_order, pair_of

__all__ = ["Shards", "check_arguments", "check_counts", "shards_by_email", "sound"]


Shards = Mapping[str, Shard] | Sequence[Shard] | Callable[[str], Shard]
"""Data by e-mail, or one shard a participant in the config's order, or a function that makes a participant's shard."""


def shards_by_email(config: FLConfig, shards: Shards) -> Callable[[str], Shard]:
    """A function that gives a participant's shard, sound and in the order that it has at a datasite.

    What is there already is looked at now, what a function makes when it has made it. Raises FedkitError that names the
    participant where a shard is missing or none.
    """
    if not callable(shards):
        shards = _by_email(config, shards)
        for email in config.participants:
            sound(shards[email], config.task, "shards", email)
        there = shards  # looked at: only put in order from now on
        return lambda email: in_order(_detached(there[email]), config.task)
    make = shards
    return lambda email: in_order(sound(make(email), config.task, "shards", email), config.task)


def _by_email(
    config: FLConfig, shards: Mapping[str, Shard] | Sequence[Shard]
) -> Mapping[str, Shard]:
    """Raises FedkitError where one is missing."""
    if not isinstance(shards, Mapping):
        if not isinstance(shards, Sequence):
            raise FedkitError(
                f"are a {type(shards).__name__}",
                field="shards",
                remedy="give a dict by e-mail, a list in the config's order, or a function of the e-mail",
            )
        if len(shards) != len(config.participants):
            raise FedkitError(
                f"are {len(shards)}, the config names {how_many(len(config.participants), 'participant')}",
                field="shards",
                remedy="give one shard a participant, in the config's order",
            )
        return dict(zip(config.participants, shards, strict=True))
    missing = [email for email in config.participants if email not in shards]
    if missing:
        raise FedkitError(f"there is none for {missing[0]}", field="shards", remedy="add it")
    return shards


def sound(shard: Shard, task: Task, field: str, who: str | None = None) -> Shard:
    """The shard, if a datasite would take it. Raises FedkitError about `field`, and about whose it is."""
    whose = "" if who is None else f"{who}: "
    images, labels = pair_of(shard, task, field, whose)
    try:
        check_dataset(images, labels, field, task)
    except FedkitError as error:
        raise FedkitError(
            f"{whose}{error.field} {error.what}", field=field, why=error.why, remedy=error.remedy
        ) from error
    return _detached((images, labels))


def _detached(shard: Shard) -> Shard:
    return shard[0].detach(), shard[1]


def check_arguments(
    config: object, model: object, weights: object, counts: Mapping[str, int | None]
) -> None:
    """The kinds of what is given, and that each of `counts`, where given, is 1 or more. Raises FedkitError."""
    if not isinstance(config, FLConfig):
        raise FedkitError(
            f"is a {type(config).__name__}, not an FLConfig",
            field="config",
            remedy="make one: fk.FLConfig.load(path) or fk.FLConfig.from_dict(values)",
        )
    if not isinstance(model, str):
        raise FedkitError(
            f"is a {type(model).__name__}, not the text of a model.py",
            field="model",
            remedy="give its source: Path('model.py').read_text()",
        )
    if weights is not None and not (
        isinstance(weights, Mapping) and all(isinstance(v, Tensor) for v in weights.values())
    ):
        raise FedkitError(
            f"are a {type(weights).__name__} that is no state dict",
            field="weights",
            remedy="give model.state_dict()",
        )
    check_counts(counts)


def check_counts(counts: Mapping[str, int | None]) -> None:
    """That each of `counts`, where given, is 1 or more. Raises FedkitError."""
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < 1):
            raise FedkitError(f"is {count!r}", field=name, remedy="give a whole number from 1")
