"""A global model for each group of participants that pull the same way: clustered federated learning.

For some rounds all train one model. Then the aggregator compares each participant's last update, by direction as Sattler,
Müller and Samek 2020 do ("Clustered federated learning", arXiv 1910.01991), or by distance; and from there on each group
trains a model of its own (as in Ghosh et al. 2020, "An efficient framework for clustered federated learning"), by the same
rounds, with the same seeds. Sattler et al. part a group again and again, whenever it has come to rest and a member has
not. Here somebody says when, once, and into how many.

It needs single updates to look at. Where masks hide them there are none, and noise on their mean does not cover what is
read from them before: both are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.learning.geometry import changes
from fedkit.learning.models import StateDict
from fedkit.learning.update import Update
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.simulation import OnTheWay, Simulation

__all__ = [
    "COMPARED",
    "ClusteredSimulation",
    "Compared",
    "Groups",
    "Split",
    "groups_of",
    "simulate_clustered",
]

Compared = Literal["cosine", "distance"]
COMPARED: tuple[str, ...] = get_args(Compared)
"""How updates are compared: by the angle between them, or by how far apart they end."""
Groups = tuple[tuple[str, ...], ...]
"""E-mails; the first participant is in the first group."""
Tests = Shard | Callable[[Sequence[str]], Shard]
"""A test set for all, or a function of the participants that a model is for."""


@dataclass(frozen=True)
class Split:
    """After the round `after`, from 1, into so many `groups`, from 2, by one of `COMPARED`. Raises FedkitError."""

    groups: int = 2
    by: str = "cosine"
    after: int = 5

    def __post_init__(self) -> None:
        if type(self.groups) is not int or self.groups < 2:
            raise FedkitError(f"is {self.groups!r}", field="groups", remedy="ask for 2 or more")
        if self.by not in COMPARED:
            raise FedkitError(f"is {self.by!r:.40}", field="by", remedy="take cosine or distance")
        if type(self.after) is not int or self.after < 1:
            raise FedkitError(f"is {self.after!r}", field="after", remedy="name a round, from 1")


def groups_of(last: Mapping[str, Tensor], people: Sequence[str], split: Split) -> Groups:
    """People in groups by their last changes, rows of D numbers by e-mail; each group in the order of `people`.

    Agglomerative, with complete linkage: two groups are as far apart as the two members that are farthest. Whoever has
    sent nothing joins the largest group. Raises FedkitError where fewer have sent something than there are to be groups.
    """
    from sklearn.cluster import AgglomerativeClustering  # slow to import

    heard = [who for who in people if who in last]
    if len(heard) < split.groups:
        raise FedkitError(
            f"of {how_many(len(heard), 'participant')} whose updates arrived there can't be {split.groups}",
            field="groups",
            remedy="take fewer, or part in a later round",
        )
    rows = torch.stack([last[who] for who in heard]).double()
    if split.by == "cosine":
        rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-300)
        apart = (1 - rows @ rows.T).clamp(min=0)
    else:
        apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    made = AgglomerativeClustering(split.groups, metric="precomputed", linkage="complete")
    mark = dict(zip(heard, made.fit_predict(apart.numpy()).tolist(), strict=True))
    marks = list(dict.fromkeys(mark.values()))
    largest = max(marks, key=list(mark.values()).count)
    of = {who: mark.get(who, largest) for who in people}
    return tuple(
        tuple(who for who in people if of[who] == one) for one in dict.fromkeys(of.values())
    )


class ClusteredSimulation:
    """`Simulation`, round by round, whose participants part into groups on the way; without a `split` the same to the bit.

    shards : by e-mail. model, on_the_way : as for `simulate`. Use it in a `with`, or `close()` it.
    Raises FedkitError where nobody sees single updates: secure aggregation, or noise for a whole participant.
    """

    def __init__(
        self,
        config: FLConfig,
        shards: Mapping[str, Shard],
        test: Tests,
        split: Split | None = None,
        *,
        model: str | None = None,
        on_the_way: OnTheWay | None = None,
    ) -> None:
        if split is not None:
            _sees_updates(config)
        self.split = split
        self._shards, self._test, self._model, self._way = shards, test, model, on_the_way
        self._last, self._records = dict[str, Tensor](), list[RoundRecord]()
        self._wrong: FedkitError | None = None
        self._given = config
        self.parts: tuple[Simulation, ...] = (self._simulation(config),)
        self.config = self.parts[0].config

    @property
    def parted(self) -> bool:
        """Has each group a model of its own?"""
        return len(self.parts) > 1

    @property
    def groups(self) -> Groups:
        """Who trains together; one group of all until they part."""
        return tuple(part.config.participants for part in self.parts)

    @property
    def models(self) -> tuple[StateDict, ...]:
        """The global model of each group."""
        return tuple(part.model for part in self.parts)

    @property
    def ended(self) -> int:
        """How many rounds have ended."""
        return len(self._records)

    @property
    def history(self) -> History:
        """The rounds that have ended. Where groups are, scores are means over the participants, of their group's model."""
        return History(self.config.project_name, tuple(self._records), self.config.rounds)

    def step(self) -> RoundRecord:
        """One round more, in each group; afterwards they may part. Raises FedkitError where a group can't train."""
        if self._wrong is not None:
            raise self._wrong
        for part in self.parts:
            if part.ended == self.ended:  # where one could not, the others have ended this round
                part.step()
        last = [part.history.rounds[-1] for part in self.parts]
        self._records.append(_as_one(last, [*map(len, self.groups)]))
        if self.split is not None and self.ended == self.split.after < self.config.rounds:
            try:
                self._part(groups_of(self._last, self.config.participants, self.split))
            except FedkitError as error:  # the round itself has ended
                self._wrong = error
        return self._records[-1]

    def close(self) -> None:
        """End its threads."""
        for part in self.parts:
            part.close()

    def __enter__(self) -> ClusteredSimulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _simulation(self, config: FLConfig) -> Simulation:
        own = {who: self._shards[who] for who in config.participants if who in self._shards}
        test = self._test(config.participants) if callable(self._test) else self._test
        return Simulation(config, own, test, model=self._model, on_the_way=self._watch)

    def _watch(self, model: StateDict, updates: list[Update]) -> Sequence[Update]:
        arrived = updates if self._way is None else list(self._way(model, updates))
        if self.split is not None and not self.parted:
            rows = changes(model, arrived).float() if arrived else ()
            self._last |= {
                update.participant: row
                for update, row in zip(arrived, rows, strict=True)
                if bool(row.isfinite().all())
            }
        return arrived

    def _part(self, groups: Groups) -> None:
        """Each group goes on from where all stand, with what its members remember."""
        (common,) = self.parts
        server, records, memories = common.standing
        parts = list[Simulation]()
        try:
            for members in groups:
                parts.append(self._simulation(_config_of(self._given, members)))
                own = {who: memories[who] for who in members if who in memories}
                parts[-1].go_on_from((server, list(records), own))
        except FedkitError as error:
            for part in parts:
                part.close()
            raise FedkitError(
                f"a group of {how_many(len(members), 'participant')} can't go on by itself",
                field="groups",
                why=f"{error.field}: {error.what}",
                remedy="take fewer groups, or a strategy that needs fewer updates",
            ) from error
        common.close()
        self.parts = tuple(parts)


def simulate_clustered(
    config: FLConfig,
    shards: Mapping[str, Shard],
    test: Tests,
    split: Split,
    *,
    model: str | None = None,
    on_the_way: OnTheWay | None = None,
) -> tuple[History, Groups]:
    """All rounds of a config, in groups after the split; arguments and errors are those of `ClusteredSimulation`."""
    with ClusteredSimulation(
        config, shards, test, split, model=model, on_the_way=on_the_way
    ) as rounds:
        while rounds.ended < config.rounds:
            rounds.step()
        return rounds.history, rounds.groups


def _sees_updates(config: FLConfig) -> None:
    if config.secure_aggregation is not None:
        raise FedkitError(
            "are made of single updates, and secure aggregation hides them",
            field="groups",
            remedy="leave secure_aggregation out, or train one model for all",
        )
    if config.dp is not None and config.dp.unit == "participant":
        raise FedkitError(
            "are made of single updates, and noise for a participant covers their mean alone",
            field="groups",
            why="Who is in which group would tell of one participant what epsilon says nobody learns",
            remedy="take noise for an example, or train one model for all",
        )


def _config_of(config: FLConfig, members: Sequence[str]) -> FLConfig:
    """The same experiment for some of the participants: as large a share of them a round."""
    values: dict[str, object] = {"participants": list(members)}
    if config.participants_per_round is not None:
        share = config.participants_per_round * len(members) / len(config.participants)
        values["participants_per_round"] = max(1, round(share))
    if config.min_participants is not None:
        values["min_participants"] = min(config.min_participants, len(members))
    return config.replace(**values)


def _as_one(records: Sequence[RoundRecord], sizes: Sequence[int]) -> RoundRecord:
    """The groups' records of one round as one; sizes : their members."""
    first = records[0]
    if len(records) == 1:
        return first

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return sum(n * v for n, v in zip(sizes, known, strict=True)) / sum(sizes)

    return RoundRecord(
        first.round,
        tuple(part for record in records for part in record.contributions),
        {who: why for record in records for who, why in record.refused.items()},
        learning_rate=first.learning_rate,
        local_epochs=first.local_epochs,
        accuracy=mean([record.accuracy for record in records]),
        loss=mean([record.loss for record in records]),
    )
