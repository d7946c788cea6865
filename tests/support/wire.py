"""Datasites of fedkit and of peers on one wire: what the tests of the protocol drive."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from fedkit.base.events import Event, FileRefused
from fedkit.base.files import write_dataset
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.federation.sync import Sync
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    PROJECT,
    held_out,
    problems,
    shard,
    small,
    waits,
)
from tests.support.helpers import put_launch as launch
from tests.support.peers import Peer, PeerAggregator, PeerClient

BOTH = {("participant", ALICE), ("participant", BOB)}
LEADER = {("aggregator", AGGREGATOR)}
KINDS = ("syft.pub.yaml", "syftperm.yaml", "_.syftperm")
TEST_SET = "mnist_test_dataset.pt"
Approve = Callable[[Datasite], Any]


def copied(site: Datasite) -> None:
    box = site.client()
    shutil.copytree(box.request / PROJECT, box.running / PROJECT)


def moved(site: Datasite) -> None:
    box = site.client()
    shutil.move(box.request / PROJECT, box.running / PROJECT)


def approved(site: Datasite) -> None:
    approve(site, PROJECT)


class Wire:
    """Datasites of fedkit and of peers over one shared tree, or over a data dir each with a sync between them.

    peers : who runs a peer's app, by (role, e-mail); everybody else runs fedkit.
    """

    def __init__(
        self,
        root: Path,
        peers: set[tuple[str, str]],
        *,
        synced: bool = False,
        kind: str = KINDS[0],
        app_data: Any = "app_data",
        config: FLConfig | None = None,
    ) -> None:
        self.root, self.app_data = root, app_data
        self.config = config or small(rounds=3, linger_s=30)
        self.events: list[Event] = []
        self.home = self.config.aggregator
        emails = dict.fromkeys([self.home, *self.config.participants])
        self.sites = {
            email: Datasite(root / (email if synced else "shared"), email, app_data)
            for email in emails
        }
        roles = [("aggregator", self.home), *(("participant", e) for e in self.config.participants)]
        self.parts: dict[tuple[str, str], Callable[[], Any]] = {}
        for role, email in roles:
            site = self.sites[email]
            if (role, email) in peers:
                app: type[Peer] = PeerAggregator if role == "aggregator" else PeerClient
                self.parts[role, email] = app(site.data_dir, email, app_data, kind)  # type: ignore[assignment]
            else:
                Datasite.create(site.data_dir, email, app_data)
                self.parts[role, email] = lambda site=site, role=role: self.advance(site, role)
        for position, email in enumerate(self.config.participants):
            digits = [2 * position, 2 * position + 1]
            write_shard(self.sites[email].private_client, shard(digits))
        write_dataset(self.sites[self.home].private_aggregator / TEST_SET, *held_out())
        for email in emails:
            (self.sites[email].datasites / email).mkdir(parents=True, exist_ok=True)
        self.sync: Callable[[], list[Event]] = list
        if synced:
            self.sync = Sync(list(self.sites.values()), root / "ledger.jsonl")

    def advance(self, site: Datasite, role: str) -> list[Event]:
        events = node.advance(site, roles=(role,))
        self.events = events
        assert not problems(events)
        return events

    def aggregator(self) -> Any:
        answer = self.parts["aggregator", self.home]()
        self.carry()
        return answer

    def participant(self, email: str) -> Any:
        answer = self.parts["participant", email]()
        self.carry()
        return answer

    def carry(self) -> None:
        assert [e for e in self.sync() if isinstance(e, FileRefused)] == []

    def launch(self) -> None:
        launch(self.sites[self.home], self.config)

    def agg(self, folder: str = "running") -> Path:
        return self.sites[self.home].aggregator().project(PROJECT, folder).path

    def cl(self, email: str, folder: str = "running") -> Path:
        return self.sites[email].client().project(PROJECT, folder).path

    def asked(self, email: str) -> bool:
        return all(
            (self.cl(email, "request") / f).is_file() for f in ("fl_config.json", "model.py")
        )

    def unanswered(self, email: str) -> bool:
        folders = self.cl(email), self.cl(email, "done")
        return self.asked(email) and not any(folder.exists() for folder in folders)

    def participants(self) -> list[Any]:
        """A pass of every participant."""
        return [self.participant(email) for email in self.config.participants]

    def begin(self) -> Wire:
        """Mailboxes, a launch, and the aggregator's first look at it."""
        self.participants()
        self.launch()
        self.aggregator()
        return self

    def begin_and_approve(self) -> Wire:
        self.begin()
        for email in self.config.participants:
            copied(self.sites[email])
        return self

    def passes(self, approval: Approve = copied, order: int = 1) -> Iterator[str]:
        """Everybody in turn, for ever; `order` -1 is the participants first, and last to first. Yields after each."""
        while True:
            for role, email in list(self.parts)[::order]:
                if role == "aggregator":
                    self.aggregator()
                else:
                    if self.unanswered(email):
                        approval(self.sites[email])
                    self.participant(email)
                yield email

    def until(self, hit: Callable[[], bool], approval: Approve = copied, order: int = 1) -> Wire:
        """Run on, and stop right after the pass in which `hit` comes true."""
        for number, _ in enumerate(self.passes(approval, order)):
            if hit():
                return self
            assert number < 100, waits(self.events)
        raise AssertionError

    def run(self, approval: Approve = copied, order: int = 1) -> Wire:
        """Until both sides are done."""
        return self.until(self.done, approval, order)

    def done(self) -> bool:
        ends = [(self.agg, ()), *((self.cl, (email,)) for email in self.config.participants)]
        return all(
            (where(*who, "done") / "agg_weights").is_dir() and not where(*who).exists()
            for where, who in ends
        )


def weights(folder: Path) -> list[str]:
    """Names of the weight files in a folder."""
    return sorted(path.name for path in folder.glob("*.pt"))


def check_the_end(wire: Wire) -> None:
    """What lies where when a project is over, whoever played which role."""
    rounds = wire.config.rounds
    models = [f"agg_model_round_{n}.pt" for n in range(rounds + 1)]
    updates = [f"trained_model_round_{n}.pt" for n in range(1, rounds + 1)]
    assert wire.done()
    assert weights(wire.agg("done") / "agg_weights") == models
    for email in wire.config.participants:
        own, inbox = wire.cl(email, "done"), wire.agg("done") / "fl_clients" / email
        assert weights(own / "agg_weights") == models
        assert weights(own / "round_weights") == updates
        assert weights(inbox) == updates
        for name in updates:
            assert (inbox / name).read_bytes() == (own / "round_weights" / name).read_bytes()
        for name in models:
            sent, kept = own / "agg_weights" / name, wire.agg("done") / "agg_weights" / name
            assert sent.read_bytes() == kept.read_bytes()
            state = torch.load(sent, weights_only=True)
            shapes = {key: tuple(value.shape) for key, value in state.items()}
            assert shapes == {"fc.weight": (10, 784), "fc.bias": (10,)}
    metrics = public(wire, "accuracy_metrics.json")
    assert metrics[0] == {"accuracy": 0, "round": 0}
    assert [m["round"] for m in metrics] == list(range(rounds + 1))
    assert all(0 <= m["accuracy"] <= 1 for m in metrics)


def public(wire: Wire, name: str) -> Any:
    return json.loads((wire.sites[wire.home].public_results(PROJECT) / name).read_bytes())
