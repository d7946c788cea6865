"""A run of the playground: settings in, one round a step, and of each round the facts that are shown.

    play = Play(Settings(data="moons", strategy="fedprox"))
    frame = play.step()          # a round of fedkit's own simulation
    frame.accuracy, frame.people[0].accuracy, frame.drift

The rounds are `Simulation`'s, those of each group where there are several, so that `fk.simulate` with the same settings
gives the same bits. What a frame costs does not grow with the rounds before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fedkit.base.tensors import state_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.data.folder import DataFolder
from fedkit.data.shards import Shard
from fedkit.data.standardise import standardised
from fedkit.learning.geometry import agreement, changes, principal_plane
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.randomness import remember_draws
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.training import judged
from fedkit.learning.update import Update
from fedkit.privacy.attacks.first_layer import first_layer, invert_rows
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism
from fedkit.rounds.clustered import ClusteredSimulation
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.strategy import strategy_of
from fedkit.teaching.playground.dealt import DELTA, Dealt, deal
from fedkit.teaching.playground.settings import Settings

__all__ = ["NAMES", "Drift", "Frame", "Group", "Person", "Play", "Rebuilt", "rebuilt_from"]

NAMES = "ABCD"
"""Groups by their number; where there is one model for all, its name is ""."""
EXACT = 1e-3
"""A rebuilt sample counts as found where its error (root mean square) is below this share of the data's own spread."""


@dataclass(frozen=True)
class Person:
    """One participant in one round. state : "sent", "dropped out", "not drawn" or "refused". hostile : does it lie?

    loss : of its last local epoch, as it says. accuracy, test_loss : of what it sent, on the aggregator's test set; None
    where it did not train. norm : L2 norm of its change. found : how many of its samples the aggregator can rebuild
    exactly from this round's update, of `samples`. group : one of `NAMES`, "" where all train one model.
    """

    email: str
    state: str
    hostile: bool
    samples: int
    loss: float | None = None
    accuracy: float | None = None
    test_loss: float | None = None
    norm: float | None = None
    found: int | None = None
    group: str = ""

    @property
    def name(self) -> str:
        """What stands before the @."""
        return self.email.partition("@")[0]


@dataclass(frozen=True)
class Drift:
    """Updates as arrows in their principal plane. arrows : by e-mail, (x, y). means : of those that arrived, by group.

    explained : the share of the squared length along each axis. left : what averaging leaves of the way, 0..1; a mean over
    the groups.
    """

    arrows: Mapping[str, tuple[float, float]]
    means: Mapping[str, tuple[float, float]]
    explained: tuple[float, float]
    left: float


@dataclass(frozen=True)
class Rebuilt:
    """What the aggregator can rebuild from one update: a candidate [C, ...] a hidden unit that answered, and how good.

    truth : the participant's samples [N, ...]. nearest : for each sample its nearest candidate, int64 [N]. error : of it,
    root mean square as a share of the data's spread, float64 [N].
    """

    who: str
    candidates: Tensor
    truth: Tensor
    nearest: Tensor
    error: Tensor

    @property
    def found(self) -> int:
        """How many samples are rebuilt exactly."""
        return int((self.error < EXACT).sum())


@dataclass(frozen=True)
class Group:
    """A group and its global model after the round. accuracy : on the test samples as its members see them. own : on the
    samples that its members train on."""

    name: str
    members: tuple[str, ...]
    accuracy: float | None
    own: float | None


@dataclass(frozen=True)
class Frame:
    """All that is shown of one round. Round 0 is the start: nobody has trained.

    states : what each participant sent (or would have, had it not dropped out), and the global model under "",
    or each group's under its name. groups : none where all train one model; accuracy and loss are then means over the
    participants, of their group's model.
    bytes_up, bytes_down : that crossed in all rounds so far. epsilon : spent so far at delta 1e-5 (an upper bound, by
    RDP); None where nothing is promised.
    """

    round: int
    accuracy: float | None
    loss: float
    people: tuple[Person, ...]
    states: Mapping[str, StateDict]
    drift: Drift | None
    rebuilt: Mapping[str, Rebuilt]
    bytes_up: int
    bytes_down: int
    epsilon: float | None
    diagnostics: Mapping[str, float]
    groups: tuple[Group, ...] = ()


class Play:
    """A run that stands at some round. Raises FedkitError where settings do not go together.

    own : the folder of one's own data, or its path, where the settings are about one.
    """

    def __init__(self, settings: Settings, own: DataFolder | Path | str | None = None) -> None:
        self.settings = settings
        self.dealt: Dealt = deal(settings, own)
        self.rounds = ClusteredSimulation(
            self.dealt.config,
            self.dealt.shards,
            self.dealt.test_of,
            self.dealt.split,
            model=self.dealt.model,
            on_the_way=self._watch,
        )
        config = self.rounds.config
        # its layers draw nothing: that needs no trial for each model that is judged
        self.judge = remember_draws(load_model(self.dealt.model, task=config.task), False)
        test = standardised(self.dealt.test, config.task)
        self.test: Shard = test
        self._tests = dict[tuple[str, ...], Shard]()
        self.seen = {
            who: standardised(shard, config.task)[0] for who, shard in self.dealt.shards.items()
        }
        self._spread = max(float(test[0].float().std()), 1e-12)
        (model,) = self.rounds.models
        self._before = dict[str, StateDict]()
        self._sent, self._arrived = list[Update](), list[Update]()
        self._size = _Sizes(config, model)
        self._up = self._down = 0
        scores, loss = judged(self.judge, model, *test, config.task)
        self.frame = Frame(
            *(0, scores.get("accuracy"), loss, self._people(None), {"": model}),
            drift=None,
            rebuilt={},
            bytes_up=0,
            bytes_down=0,
            epsilon=self._epsilon(0),
            diagnostics={},
        )

    @property
    def config(self) -> FLConfig:
        """The experiment as `fl_config.json` says it."""
        return self.dealt.config

    @property
    def history(self) -> History:
        """The rounds that have ended, as `fk.simulate` returns them."""
        return self.rounds.history

    @property
    def done(self) -> bool:
        """Have all rounds ended?"""
        return self.rounds.ended >= self.config.rounds

    def step(self) -> Frame:
        """One round more, where there is one left; what is to be shown of it."""
        if not self.done:
            self._before, self._sent, self._arrived = {}, [], []
            record = self.rounds.step()
            self._down += len(self._sent) * self._size.down
            self._up += sum(map(self._size.up, self._arrived))
            self.frame = self._told(record)
        return self.frame

    def close(self) -> None:
        """End its threads."""
        self.rounds.close()

    def _watch(self, model: StateDict, updates: list[Update]) -> Sequence[Update]:
        """What `simulate` calls when updates are on their way: it keeps them for the pictures, changed as they are."""
        way = self.dealt.on_the_way
        arrived = updates if way is None else list(way(model, updates))
        there = {update.participant: update for update in arrived}
        self._before |= {u.participant: model for u in updates}
        self._sent += [there.get(u.participant, u) for u in updates]
        self._arrived += arrived
        return arrived

    def _told(self, record: RoundRecord) -> Frame:
        shown = {u.participant: dict(u.state) for u in self._sent}
        rebuilt = {u.participant: self._rebuild(u) for u in self._arrived}
        return Frame(
            *(record.round, record.accuracy, math.nan if record.loss is None else record.loss),
            self._people(record, rebuilt),
            {**shown, **self.models},
            drift=self._drift(),
            rebuilt=rebuilt,
            bytes_up=self._up,
            bytes_down=self._down,
            epsilon=self._epsilon(record.round),
            diagnostics=record.diagnostics,
            groups=self._groups(),
        )

    @property
    def models(self) -> dict[str, StateDict]:
        """The global model under "", or each group's under its name."""
        models = self.rounds.models
        return dict(zip(NAMES if self.rounds.parted else [""], models, strict=False))

    def test_of(self, people: tuple[str, ...]) -> Shard:
        """The test samples for a model of these participants, as it takes them."""
        if people not in self._tests:
            raw = self.dealt.test_of(people)
            same = raw[1] is self.dealt.test[1]
            self._tests[people] = self.test if same else standardised(raw, self.rounds.config.task)
        return self._tests[people]

    def _groups(self) -> tuple[Group, ...]:
        if not self.rounds.parted:
            return ()
        task, groups = self.rounds.config.task, []
        for (name, model), members in zip(self.models.items(), self.rounds.groups, strict=True):
            scores = judged(self.judge, model, *self.test_of(members), task)[0]
            samples = torch.cat([self.seen[who] for who in members])
            labels = torch.cat([self.dealt.shards[who][1] for who in members])
            own = judged(self.judge, model, samples, labels, task)[0]
            groups.append(Group(name, members, scores.get("accuracy"), own.get("accuracy")))
        return tuple(groups)

    def _people(
        self, record: RoundRecord | None, rebuilt: Mapping[str, Rebuilt] | None = None
    ) -> tuple[Person, ...]:
        sent = {update.participant: update for update in self._sent}
        arrived = {update.participant for update in self._arrived}
        norms = {} if record is None else {c.participant: c.norm for c in record.contributions}
        people = []
        groups = self.rounds.groups if self.rounds.parted else ()
        group = {who: name for name, each in zip(NAMES, groups, strict=False) for who in each}
        for who, (_, labels) in self.dealt.shards.items():
            person = Person(
                *(who, "not drawn", who in self.dealt.hostile, len(labels)),
                group=group.get(who, ""),
            )
            if record is None:
                person = replace(person, state="waits")
            elif who in sent:
                scores, loss = judged(
                    self.judge, sent[who].state, *self.test_of((who,)), self.rounds.config.task
                )
                state = "sent" if who in arrived else "dropped out"
                person = replace(
                    person,
                    state="refused" if who in record.refused else state,
                    loss=sent[who].loss,
                    accuracy=scores.get("accuracy"),
                    test_loss=loss,
                    norm=norms.get(who),
                    found=rebuilt[who].found if rebuilt and who in rebuilt else None,
                )
            people.append(person)
        return tuple(people)

    def _drift(self) -> Drift | None:
        """None where nobody sent anything, or numbers so large that no plane holds them."""
        if not self._sent:
            return None
        rows = torch.cat([changes(self._before[u.participant], [u]) for u in self._sent])
        if not bool(torch.isfinite(rows).all()):
            return None
        places, explained = principal_plane(rows)
        arrows = {
            u.participant: (x, y) for u, (x, y) in zip(self._sent, places.tolist(), strict=True)
        }
        means, left, many = dict[str, tuple[float, float]](), 0.0, len(self._arrived)
        # those that trained together, before the round in which they may have parted
        for name, members in self._together().items():
            came = [u for u in self._arrived if u.participant in members]
            if not came:
                continue
            shares = mixing_weights(came, self.config.weighting)
            ends = [arrows[u.participant] for u in came]
            x, y = (
                sum(s * end[axis] for s, end in zip(shares, ends, strict=True)) for axis in (0, 1)
            )
            means[name] = x, y
            before = self._before[came[0].participant]
            left += len(came) / many * agreement(before, came)
        return Drift(arrows, means, explained, left)

    def _together(self) -> dict[str, tuple[str, ...]]:
        """Who trained one model in the round that has ended, by the group's name."""
        split = self.dealt.split
        if split is None or not self.rounds.parted or self.rounds.ended <= split.after:
            return {"": self.config.participants}
        return dict(zip(NAMES, self.rounds.groups, strict=False))

    def _rebuild(self, update: Update) -> Rebuilt:
        who = update.participant
        return rebuilt_from(who, self._before[who], update.state, self.seen[who], self._spread)

    def _epsilon(self, n: int) -> float | None:
        dp = self.config.dp
        if dp is None or n == 0:
            return None if dp is None else 0.0
        if dp.unit == "participant":
            mechanism = participant_mechanism(self.config, sample_is_secret=False)
            return epsilon_of(replace(mechanism, steps=n), DELTA, "RDP")
        each = {example_mechanism(self.config, len(y)) for _, y in self.dealt.shards.values()}
        return max(epsilon_of(_part_of(m, n, self.config.rounds), DELTA, "RDP") for m in each)


def _part_of(mechanism: Mechanism, n: int, rounds: int) -> Mechanism:
    return replace(mechanism, steps=mechanism.steps * n // rounds)


def rebuilt_from(
    who: str,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    truth: Tensor,
    spread: float = 1.0,
) -> Rebuilt:
    """Divide each row of the first layer's change by its bias, and look which of the true samples [N, ...] are there.

    That is all the aggregator does (`fk.privacy.invert_rows`); only the comparison needs the private samples. A row is
    one sample where its hidden unit answered to one alone, and else a blend. spread : the data's standard deviation.
    """
    flat = truth.flatten(1).double()
    inputs = flat.shape[1]
    (weight, bias), (new_weight, new_bias) = first_layer(before, inputs), first_layer(after, inputs)
    moved, shift = new_weight.double() - weight.double(), new_bias.double() - bias.double()
    usable = bool(torch.isfinite(moved).all() and torch.isfinite(shift).all() and shift.any())
    rows = invert_rows(moved, shift) if usable else flat.new_zeros(0, inputs)
    if not len(rows):
        nothing = torch.zeros(len(flat), dtype=torch.int64)
        return Rebuilt(who, rows, truth, nothing, torch.full((len(flat),), math.inf).double())
    apart = torch.cdist(flat, rows) / (math.sqrt(inputs) * spread)
    error, nearest = apart.min(1)
    return Rebuilt(who, rows.reshape(-1, *truth.shape[1:]), truth, nearest, error)


class _Sizes:
    """Bytes of the files of one round: they depend on shapes alone, so each is written once, to be counted."""

    def __init__(self, config: FLConfig, model: StateDict) -> None:
        beside = strategy_of(config).beside(model)
        self._known: dict[tuple[tuple[str, ...], ...], int] = {}
        self.down = self._of(model) + self._of(beside)

    def up(self, update: Update) -> int:
        """What this update takes, and what its strategy sends beside it."""
        return self._of(update.state) + self._of(update.extra)

    def _of(self, state: Mapping[str, Tensor]) -> int:
        key = tuple((name, str(tuple(value.shape))) for name, value in state.items())
        if state and key not in self._known:
            self._known[key] = len(state_bytes(dict(state)))
        return self._known.get(key, 0)
