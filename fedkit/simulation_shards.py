"""The data of a simulation, in whatever form it is handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard

__all__ = ["Shards", "shards_by_email"]

Shards = Mapping[str, Shard] | Sequence[Shard] | Callable[[str], Shard]
"""Data by e-mail, or one shard a participant in the config's order, or a function that makes a participant's shard."""


def shards_by_email(config: FLConfig, shards: Shards) -> Callable[[str], Shard]:
    """A function that gives a participant's shard. Raises FedkitError where one is missing."""
    if callable(shards):
        return shards
    if not isinstance(shards, Mapping):
        if len(shards) != len(config.participants):
            raise FedkitError(
                f"are {len(shards)}, the config names {len(config.participants)} participants",
                field="shards",
                remedy="give one shard a participant, in the config's order",
            )
        shards = dict(zip(config.participants, shards, strict=True))
    missing = [email for email in config.participants if email not in shards]
    if missing:
        raise FedkitError(f"there is none for {missing[0]}", field="shards", remedy="add it")
    return shards.__getitem__
