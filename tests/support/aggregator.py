"""A real aggregator, and participants whose files the test writes."""

import json
from pathlib import Path
from typing import Any

import torch

from fedkit.base.events import Event
from fedkit.base.files import read_state, write_bytes, write_dataset, write_state
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.learning.models import StateDict
from fedkit.protocol import advance as node
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    PROJECT,
    held_out,
    linear_weights,
    put_launch,
    small,
)


class World:
    """One shared tree: a real aggregator, and participants whose files the test writes."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.site = Datasite.create(root, AGGREGATOR)
        self.config = small(**({"participants": [ALICE, BOB]} | changes))
        for email in self.config.participants:
            Datasite.create(root, email)
        write_dataset(self.site.private_aggregator / "mnist_test_dataset.pt", *held_out())

    def launch(self) -> "World":
        put_launch(self.site, self.config)
        self.advance()
        return self

    def advance(self, **options: Any) -> list[Event]:
        return node.advance(self.site, roles=["aggregator"], **options)

    @property
    def place(self) -> AggregatorProject:
        running = self.site.aggregator().project(PROJECT)
        return running if running.path.is_dir() else self.site.aggregator().project(PROJECT, "done")

    def box(self, email: str) -> ClientProject:
        return self.site.client(email).project(PROJECT)

    def ready(self, *emails: str) -> None:
        for email in emails or self.config.participants:
            write_permissions(self.box(email).agg_weights, email, write=[AGGREGATOR])

    def send(self, email: str, n: int, value: Any = 0.0, info: Any = None) -> Path:
        """An update of round n: every weight `value`, or a state dict, or any bytes."""
        if info is not None:
            write_bytes(self.place.update_info(email, n), json.dumps(info).encode())
        path = self.place.update(email, n)
        if isinstance(value, bytes):
            write_bytes(path, value)
        else:
            write_state(path, value if isinstance(value, dict) else filled(value))
        return path

    def model(self, n: int) -> StateDict:
        return read_state(self.place.global_model(n))


def filled(value: float) -> StateDict:
    return {name: torch.full_like(tensor, value) for name, tensor in linear_weights().items()}


def quorum(root: Path, **changes: Any) -> World:
    world = World(root, participants=[ALICE, BOB, CAROL], min_participants=2, **changes).launch()
    world.ready()
    world.advance()
    return world
