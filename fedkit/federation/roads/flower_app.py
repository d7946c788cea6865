"""What an exported app does under Flower: fedkit's round, its seeds and its rule; Flower's messages carry the weights.

Needs flwr 1.42. A participant is a SuperNode that says its e-mail (`--node-config`), or in a simulation a partition's
number; its samples are read where they lie. The server's rounds are `plan_round` and `server_step`, as everywhere.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
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
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import check_dataset, read_shard
from fedkit.data.standardise import standardised
from fedkit.datasite.round_plan import RoundPlan
from fedkit.federation.roads.flower import SEED_WEIGHTS
from fedkit.learning.models import buffer_names, check_state, fitting_model, load_model
from fedkit.learning.strategies.base import ServerState
from fedkit.learning.training import judged
from fedkit.learning.update import Update
from fedkit.rounds.history import History, RoundRecord
from fedkit.rounds.round import as_seen, local_update, plan_round, server_step, too_far
from fedkit.rounds.strategy import strategy_of

__all__ = ["client_app", "server_app"]


_MEET_S = 600.0
"""So long the server waits for participants that it has not met."""


@dataclass(frozen=True)
class _App:
    """The app's own folder: config, model, and seed weights."""

    folder: Path

    @cached_property
    def config(self) -> FLConfig:
        return FLConfig.load(self.folder / "fl_config.json")

    @cached_property
    def source(self) -> bytes:
        return read_bytes(self.folder / self.config.model_arch)

    def model(self) -> nn.Module:
        file, config = self.folder / self.config.model_arch, self.config
        return load_model(self.source, config.model_class_name, file=file, task=config.task)

    def seed_weights(self, path: str) -> dict[str, Tensor]:
        if path:
            return read_state(Path(path))
        inside = self.folder / SEED_WEIGHTS
        remedy = "give the server their path: --run-config 'weights=\"...\"'"
        text = json.loads(read_bytes(inside, absent=remedy))
        return load_state(base64.b64decode(text["torch.save"]), inside)


def client_app(folder: Path) -> ClientApp:
    """The participant's side of the app in `folder`: says who it is, and trains a round when it is asked to."""
    app, here = ClientApp(), _App(folder)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(
            RecordDict({"who": ConfigRecord({"email": _who(here, context)})}), reply_to=message
        )

    @app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        who, config = _who(here, context), here.config
        n = int(_one(message.content["round"], "number"))
        plan = plan_round(config, config.participants, n)
        start = _tensors(message.content["model"])
        remedy = "ask the server to check its weights"
        file = folder / config.model_arch
        model = fitting_model(
            here.source,
            start,
            config.model_class_name,
            file=file,
            remedy=remedy,
            theirs=True,
            task=config.task,
        )
        shard = as_seen(plan, who, read_shard(_samples(who, context), config.task))
        update, _ = local_update(strategy_of(config), plan, who, model, start, shard, {}, {})
        said = {"num_samples": update.num_samples, "steps": update.steps, "loss": update.loss}
        content: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
            "who": ConfigRecord({"email": who}),
            "update": ArrayRecord(dict(update.state)),
            "about": MetricRecord({key: value for key, value in said.items() if value is not None}),
        }
        return Message(RecordDict(content), reply_to=message)

    return app


def server_app(folder: Path) -> ServerApp:
    """The aggregator's side of the app in `folder`: all rounds, each global model and history.json into `out`."""
    app, here = ServerApp(), _App(folder)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        torch.set_num_threads(1)
        settings, config, model = context.run_config, here.config, here.model()
        out, path = Path(str(settings["out"])), Path(str(settings["test-set"]))
        samples, labels = read_dataset(path)
        check_dataset(samples, labels, path, config.task)
        test = standardised((samples, labels), config.task)
        strategy, start = strategy_of(config), here.seed_weights(str(settings["weights"]))
        state, records = strategy.init(start), list[RoundRecord]()
        write_state(out / "agg_model_round_0.pt", state.model)
        nodes = _meet(here, grid)
        for n in range(1, config.rounds + 1):
            plan = plan_round(config, config.participants, n)
            updates, refused = _collect(
                here, grid, nodes, plan, state, float(str(settings["timeout"]))
            )
            absent = [
                who
                for who in plan.participants
                if who not in {*refused, *(u.participant for u in updates)}
            ]
            quorum = min(config.quorum, len(plan.participants))
            if len(updates) < quorum:
                _fail(
                    f"round {n} has {len(updates)} sound updates of {quorum}: {refused or absent}"
                )
            state, record = server_step(
                *(strategy, plan, state, updates),
                refused=refused,
                absent=absent,
                buffers=buffer_names(model),
            )
            write_state(out / f"agg_model_round_{n}.pt", state.model)
            records.append(record.with_scores(*judged(model, state.model, *test, config.task)))
            History(config.project_name, tuple(records), config.rounds).save(out / "history.json")

    return app


def _who(here: _App, context: Context) -> str:
    """On real machines the SuperNode says it; in a simulation the partition's number does."""
    config, told = here.config, context.node_config
    who = (
        str(told["email"])
        if "email" in told
        else config.participants[int(str(told["partition-id"]))]
    )
    if who not in config.participants:
        _fail(f"{who!r:.80} is none of the participants: {', '.join(config.participants)}")
    return who


def _samples(who: str, context: Context) -> Path:
    own = context.node_config.get("data")
    return (
        Path(str(own))
        if own
        else Path(str(context.run_config["data"])) / who / "private" / "fl_client"
    )


def _meet(here: _App, grid: Grid) -> dict[str, int]:
    """Ask every node who it is, until all participants are there: e-mail -> node. Two of one e-mail end the run."""
    found, until = dict[str, int](), time.monotonic() + _MEET_S
    while missing := [who for who in here.config.participants if who not in found]:
        new = [node for node in grid.get_node_ids() if node not in found.values()]
        asked = [
            Message(content=RecordDict(), message_type="query", dst_node_id=node) for node in new
        ]
        for reply in grid.send_and_receive(asked, timeout=60) if asked else ():
            if not reply.has_error():
                who, node = str(_one(reply.content["who"], "email")), reply.metadata.src_node_id
                if who in found:
                    _fail(f"two SuperNodes say that they are {who}")
                found[who] = node
        if time.monotonic() > until:
            _fail(f"no SuperNode of {', '.join(missing)} has come in {_MEET_S:.0f} s")
        time.sleep(0.2)
    return found


def _collect(
    here: _App,
    grid: Grid,
    nodes: Mapping[str, int],
    plan: RoundPlan,
    state: ServerState,
    timeout: float,
) -> tuple[list[Update], dict[str, str]]:
    """The sound updates of a round in the plan's order, and why others are refused. Nothing in them is trusted."""
    model = ArrayRecord(dict(state.model))
    content = RecordDict({"model": model, "round": ConfigRecord({"number": plan.round})})
    asked = [
        Message(content=content, message_type="train", dst_node_id=nodes[who])
        for who in plan.participants
    ]
    senders = {node: who for who, node in nodes.items()}
    updates, refused = dict[str, Update](), dict[str, str]()
    for reply in grid.send_and_receive(asked, timeout=timeout):
        who = senders[reply.metadata.src_node_id]
        if reply.has_error():
            refused[who] = f"its app has failed ({reply.error.reason or reply.error.code!s:.200})"
            continue
        try:
            sent, said = _tensors(reply.content["update"]), reply.content["about"]
            wrong = check_state(state.model, sent)
            update = Update(
                who,
                plan.round,
                sent,
                _count(said, "num_samples"),
                _number(said, "loss"),
                _count(said, "steps"),
                sha256=sha256_bytes(state_bytes(sent)),
            )
            wrong = wrong or too_far(update, state.model, plan, strategy_of(here.config), {})
        except (KeyError, TypeError, ValueError) as error:
            wrong = f"can't be read ({error!s:.200})"
        if wrong:
            refused[who] = wrong
        else:
            updates[who] = update
    return [updates[who] for who in plan.participants if who in updates], refused


def _tensors(record: Any) -> dict[str, Tensor]:
    if not isinstance(record, ArrayRecord):
        raise TypeError("no weights")
    return {name: value.contiguous() for name, value in record.to_torch_state_dict().items()}


def _one(record: Any, key: str) -> Any:
    return record[key]


def _count(record: Any, key: str) -> int | None:
    value = record.get(key)
    return value if isinstance(value, int) and 0 < value < 10**9 else None


def _number(record: Any, key: str) -> float | None:
    value = record.get(key)
    return float(value) if isinstance(value, int | float) else None


def _fail(what: str) -> None:
    raise FedkitError(
        what, remedy="look at the logs of the SuperLink and the SuperNodes, then run again"
    )
