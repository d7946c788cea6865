"""What an exported app does on any engine: fedkit's round, its seeds, its rule; the engine's messages carry the weights.

Rounds are `plan_round`, `local_update` and `server_step`, as everywhere; nothing that a participant sends is trusted.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.base.files import (
    load_state,
    read_bytes,
    read_dataset,
    read_state,
    sha256_bytes,
    write_state,
)
from fedkit.base.tensors import state_bytes
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import check_dataset, read_shard
from fedkit.data.standardise import standardised
from fedkit.datasite.round_plan import RoundPlan
from fedkit.federation.roads.export import SEED_WEIGHTS
from fedkit.learning.models import buffer_names, check_state, fitting_model, load_model
from fedkit.learning.training import judged
from fedkit.learning.update import Update
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.round import as_seen, local_update, plan_round, server_step, too_far
from fedkit.rounds.strategy import strategy_of

__all__ = ["ExportedApp", "Rounds"]


@dataclass(frozen=True)
class ExportedApp:
    """The app's own folder: config, model, and seed weights."""

    folder: Path

    @cached_property
    def config(self) -> FLConfig:
        """The experiment."""
        return FLConfig.load(self.folder / "fl_config.json")

    @cached_property
    def source(self) -> bytes:
        """The text of model.py."""
        return read_bytes(self.folder / self.config.model_arch)

    def model(self) -> nn.Module:
        """The model, with weights of its own."""
        file, config = self.folder / self.config.model_arch, self.config
        return load_model(self.source, config.model_class_name, file=file, task=config.task)

    def seed_weights(self, path: str) -> dict[str, Tensor]:
        """Global model 0. path : where it lies, "" where it travels in the app."""
        if path:
            return read_state(Path(path))
        inside = self.folder / SEED_WEIGHTS
        remedy = "give the server their path: --run-config 'weights=\"...\"'"
        text = json.loads(read_bytes(inside, absent=remedy))
        return load_state(base64.b64decode(text["torch.save"]), inside)

    def checked(self, who: str) -> str:
        """An e-mail, if it is a participant's. Raises FedkitError."""
        if who not in self.config.participants:
            raise FedkitError(
                f"{who!r:.80} is none of the participants: {', '.join(self.config.participants)}",
                remedy="say one of these e-mails where this participant is started",
            )
        return who

    def train(self, who: str, n: int, start: Mapping[str, Tensor], samples: Path) -> Update:
        """One participant's round n from the global model `start`. samples : the folder with its shards."""
        config = self.config
        plan = plan_round(config, config.participants, n)
        model = fitting_model(
            self.source,
            dict(start),
            config.model_class_name,
            file=self.folder / config.model_arch,
            remedy="ask the server to check its weights",
            theirs=True,
            task=config.task,
        )
        shard = as_seen(plan, who, read_shard(samples, config.task))
        update, _ = local_update(strategy_of(config), plan, who, model, dict(start), shard, {}, {})
        return update


class Rounds:
    """The server's side: each global model, and history.json, into `out`.

    test_set : path of the aggregator's (samples, labels). weights : as for `ExportedApp.seed_weights`.
    """

    def __init__(self, app: ExportedApp, out: Path, test_set: Path, weights: str = "") -> None:
        self.app, self.out, self._model = app, out, app.model()
        samples, labels = read_dataset(test_set)
        check_dataset(samples, labels, test_set, app.config.task)
        self._test = standardised((samples, labels), app.config.task)
        self._strategy = strategy_of(app.config)
        self.state = self._strategy.init(app.seed_weights(weights))
        self._records = list[RoundRecord]()
        self._save(0)

    def plan(self, n: int) -> RoundPlan:
        """Who takes part in round n, and with which settings."""
        return plan_round(self.app.config, self.app.config.participants, n)

    def read(
        self, plan: RoundPlan, who: str, sent: Mapping[str, Tensor], said: Mapping[str, Any]
    ) -> Update | str:
        """A participant's update, or why it is refused. said : num_samples, steps, loss."""
        wrong = check_state(self.state.model, dict(sent))
        if wrong:
            return wrong
        update = Update(
            who,
            plan.round,
            dict(sent),
            _count(said.get("num_samples")),
            _number(said.get("loss")),
            _count(said.get("steps")),
            sha256=sha256_bytes(state_bytes(dict(sent))),
        )
        return too_far(update, self.state.model, plan, self._strategy, {}) or update

    def end(self, plan: RoundPlan, answers: Mapping[str, Update | str]) -> None:
        """Average, judge, write. answers : of those who answered. Raises FedkitError below the quorum."""
        updates = [u for who in plan.participants if isinstance(u := answers.get(who), Update)]
        refused = {who: why for who, why in answers.items() if isinstance(why, str)}
        absent = [who for who in plan.participants if who not in answers]
        quorum = min(self.app.config.quorum, len(plan.participants))
        if len(updates) < quorum:
            lacking = [f"{who}: {why}" for who, why in refused.items()]
            lacking += [f"{who} has not answered" for who in absent]
            raise FedkitError(
                f"round {plan.round} has {how_many(len(updates), 'sound update')}, and needs {quorum} "
                f"({'; '.join(lacking)})",
                remedy="bring them back and run again, or give the project a smaller quorum",
            )
        self.state, record = server_step(
            *(self._strategy, plan, self.state, updates),
            refused=refused,
            absent=absent,
            buffers=buffer_names(self._model),
        )
        self._save(plan.round)
        scores = judged(self._model, self.state.model, *self._test, self.app.config.task)
        self._records.append(record.with_scores(*scores))
        history = History(
            self.app.config.project_name, tuple(self._records), self.app.config.rounds
        )
        history.save(self.out / "history.json")

    def _save(self, n: int) -> None:
        write_state(self.out / f"agg_model_round_{n}.pt", self.state.model)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 10**9 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
