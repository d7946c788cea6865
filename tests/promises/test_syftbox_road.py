"""The aggregator where SyftBox carries its files: how large they may be, and in which order they go."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from fedkit.datasite.road import ROADS, write_road
from fedkit.learning.models import seed_weights
from fedkit.protocol import advance as node
from tests.support.aggregator import World
from tests.support.helpers import ALICE, BOB, LINEAR, problems, put_launch, waits

MASKED = {"secure_aggregation": {"threshold": 2}}


def on_syftbox(root: Path, **changes: Any) -> World:
    write_road(root, "syftbox")
    return World(root, **changes)


def wide(width: int) -> str:
    """A linear model of about 3 kB times `width` more."""
    layers = f"nn.Linear(784, {width}), nn.Linear({width}, 10)"
    return LINEAR.replace("nn.Linear(784, 10)", f"nn.Sequential({layers})")


@pytest.mark.parametrize(
    ("width", "settings", "said"),
    [
        (3400, {}, "global models and updates have 10,8"),
        (1700, MASKED, "updates under masks, with 8 bytes a number, have 10,8"),
    ],
)
def test_a_model_that_never_arrives_is_refused_at_launch(
    tmp_path: Path, width: int, settings: dict[str, Any], said: str
) -> None:
    world = on_syftbox(tmp_path, **settings)
    put_launch(world.site, world.config, wide(width), seed_weights(wide(width), 0))
    (problem,) = problems(world.advance())
    assert said in problem
    assert "at most 10,485,760 bytes" in problem
    assert [said in row.text for row in node.status(world.site)] == [True]
    assert not world.place.path.exists()


def test_what_is_small_enough_or_at_home_is_launched(tmp_path: Path) -> None:
    assert [road.name for road in ROADS.values() if road.max_bytes] == ["syftbox", "pysyft"]
    for world in (on_syftbox(tmp_path / "net"), World(tmp_path / "home", **MASKED)):
        put_launch(world.site, world.config, wide(1700), seed_weights(wide(1700), 0))
        assert problems(world.advance()) == []
        assert world.place.path.is_dir()


def test_the_last_model_goes_before_the_moves_of_finishing(tmp_path: Path) -> None:
    """It was the largest of a pass, and fifty deletions went before it."""
    world = on_syftbox(tmp_path, rounds=1).launch()
    world.ready()
    world.advance()
    for email in (ALICE, BOB):
        world.send(email, 1)
    (wait,) = waits(world.advance())
    assert (wait.whom, wait.what) == (f"{ALICE}, {BOB}", "take the last global model")
    assert 0 < (wait.seconds or 0) <= world.config.linger_s
    assert world.site.aggregator().project(world.config.project_name).path.is_dir()
    shutil.rmtree(world.box(ALICE).path)  # it has moved to done/, which nobody else sees
    assert [wait.whom for wait in waits(world.advance())] == [BOB]
    shutil.rmtree(world.box(BOB).path)
    assert waits(world.advance()) == []
    assert world.place.path.parent.name == "done"


def test_who_never_takes_it_holds_nobody_up_for_long(tmp_path: Path) -> None:
    world = on_syftbox(tmp_path, rounds=1).launch()
    world.ready()
    world.advance()
    for email in (ALICE, BOB):
        world.send(email, 1)
    world.advance()
    last = world.place.global_model(1)
    os.utime(last, (time.time() - world.config.linger_s - 1,) * 2)
    world.advance()
    assert world.place.path.parent.name == "done"
