"""What an exported app does under Flower: fedkit's round, its seeds and its rule; Flower's messages carry the weights.

Needs flwr 1.42. A participant is a SuperNode that says its e-mail (`--node-config`), or in a simulation a partition's
number; its samples are read where they lie. The server's rounds are `plan_round` and `server_step`, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.datasite.round_plan import RoundPlan
from fedkit.federation.roads.export import TOLD
from fedkit.federation.roads.exported import ExportedApp, Rounds
from fedkit.learning.update import Update

__all__ = ["client_app", "server_app"]


def client_app(folder: Path) -> ClientApp:
    """The participant's side of the app in `folder`: says who it is, and trains a round when it is asked to."""
    app, here = ClientApp(), ExportedApp(folder)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        return Message(
            RecordDict({"who": ConfigRecord({"email": _who(here, context)})}), reply_to=message
        )

    @app.train()
    def train(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        who = _who(here, context)
        n = int(_one(message.content["round"], "number"))
        update = here.train(who, n, _tensors(message.content["model"]), _samples(who, context))
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
    app, here = ServerApp(), ExportedApp(folder)

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        torch.set_num_threads(1)
        settings, config = context.run_config, here.config
        rounds = Rounds(
            here,
            Path(str(settings["out"])),
            Path(str(settings["test-set"])),
            str(settings["weights"]),
        )
        nodes = _meet(here, grid, float(str(settings["meet"])))
        for n in range(1, config.rounds + 1):
            plan = rounds.plan(n)
            rounds.end(plan, _collect(rounds, grid, nodes, plan, float(str(settings["timeout"]))))

    return app


def _who(here: ExportedApp, context: Context) -> str:
    """On real machines the SuperNode says it; in a simulation the partition's number does."""
    people, told = here.config.participants, context.node_config
    if "email" in told:
        return here.checked(str(told["email"]))
    number = int(str(told["partition-id"]))
    if number >= len(people):
        raise FedkitError(
            f"there are more SuperNodes than the project's {len(people)} participants",
            remedy=f"simulate {len(people)} of them, or have each SuperNode say whose it is (--node-config)",
        )
    return people[number]


def _samples(who: str, context: Context) -> Path:
    own = context.node_config.get("data")
    return (
        Path(str(own))
        if own
        else Path(str(context.run_config["data"])) / who / "private" / "fl_client"
    )


def _meet(here: ExportedApp, grid: Grid, patience: float) -> dict[str, int]:
    """Ask every node who it is, until all participants are there: e-mail -> node.

    A node that says nothing sound, or one e-mail of two nodes, ends the run: nobody else may answer for a participant.
    """
    found, asked_before = dict[str, int](), set[int]()
    until = time.monotonic() + patience
    while missing := [who for who in here.config.participants if who not in found]:
        new = [node for node in grid.get_node_ids() if node not in asked_before]
        asked = [
            Message(content=RecordDict(), message_type="query", dst_node_id=node) for node in new
        ]
        for reply in grid.send_and_receive(asked, timeout=patience) if asked else ():
            node = reply.metadata.src_node_id
            asked_before.add(node)
            if reply.has_error():
                _fail(
                    f"a SuperNode can't say who it is ({reply.error.reason or reply.error.code!s:.300})"
                )
            who = here.checked(str(_one(reply.content["who"], "email")))
            if who in found:
                _fail(f"two SuperNodes say that they are {who}")
            found[who] = node
        if time.monotonic() > until:
            there = len(set(grid.get_node_ids()))
            _fail(
                f"{there} SuperNodes are there for {len(here.config.participants)} participants: none of "
                f"{', '.join(missing)} has come in {patience:.0f} s"
            )
        time.sleep(0.2)
    return found


def _collect(
    rounds: Rounds, grid: Grid, nodes: Mapping[str, int], plan: RoundPlan, timeout: float
) -> dict[str, Update | str]:
    """What has come of a round: an update by its sender, or why it is refused; nothing of those who have not answered."""
    model = ArrayRecord(dict(rounds.state.model))
    content = RecordDict({"model": model, "round": ConfigRecord({"number": plan.round})})
    asked = [
        Message(content=content, message_type="train", dst_node_id=nodes[who])
        for who in plan.participants
    ]
    senders = {node: who for who, node in nodes.items()}
    answers = dict[str, Update | str]()
    for reply in grid.send_and_receive(asked, timeout=timeout):
        who = senders.get(reply.metadata.src_node_id, "")
        if not who:  # the SuperLink itself: somebody's SuperNode has died
            continue
        if reply.has_error():
            answers[who] = f"its app has failed ({reply.error.reason or reply.error.code!s:.200})"
            continue
        try:
            sent, said = _tensors(reply.content["update"]), reply.content["about"]
            answers[who] = rounds.read(
                plan, who, sent, {k: _one(said, k) for k in TOLD & {*_keys(said)}}
            )
        except (KeyError, TypeError, ValueError) as error:
            answers[who] = f"can't be read ({error!s:.200})"
    return answers


def _tensors(record: Any) -> dict[str, Tensor]:
    if not isinstance(record, ArrayRecord):
        raise TypeError("no weights")
    return {name: value.contiguous() for name, value in record.to_torch_state_dict().items()}


def _one(record: Any, key: str) -> Any:
    return record[key]


def _keys(record: Any) -> list[str]:
    return list(record.keys())


def _fail(what: str) -> NoReturn:
    raise FedkitError(
        what, remedy="look at the logs of the SuperLink and the SuperNodes, then run again"
    )
