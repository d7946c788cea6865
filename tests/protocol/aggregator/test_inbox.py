"""Which updates are sound: the others are refused with a reason, and stop the round or not."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.events import UpdateRefused, render
from fedkit.base.files import is_file, write_bytes
from fedkit.learning.models import StateDict
from fedkit.rounds.history import read_history
from tests.support.aggregator import World
from tests.support.helpers import (
    ALICE,
    BOB,
    CAROL,
    Code,
    linear_weights,
    posix,
    problems,
    recompressed,
    saved,
    sparse_file,
    waits,
)


def state(**changes: Any) -> StateDict:
    values = {name.replace("_", "."): value for name, value in changes.items()}
    return {k: v for k, v in (linear_weights() | values).items() if v is not ...}


REFUSED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "code": (lambda m: saved(state(fc_bias=Code(m))), "nothing in it was run"),
    "code, old format": (
        lambda m: saved(state(fc_bias=Code(m)), _use_new_zipfile_serialization=False),
        "nothing in it was run",
    ),
    "a whole model": (lambda m: saved(torch.nn.Linear(2, 2)), "nothing in it was run"),
    "truncated": (lambda m: saved(linear_weights())[:-50], "can't be read as tensors"),
    "empty": (lambda m: b"", "can't be read as tensors"),
    "text": (lambda m: b"sorry, not today\n", "can't be read as tensors"),
    "a list": (lambda m: saved([1, 2]), "holds a list, not a state dict"),
    "missing": (lambda m: saved(state(fc_bias=...)), "fc.bias is missing"),
    "extra": (lambda m: saved(state() | {"\x1b[2J": torch.zeros(1)}), "is not in the model"),
    "shape": (lambda m: saved(state(fc_bias=torch.zeros(9))), "fc.bias has shape"),
    "endless": (
        lambda m: saved(state(fc_bias=torch.zeros(1).expand(10**6, 10**6))),
        "fc.bias has shape",
    ),
    "dtype": (lambda m: saved(state(fc_bias=torch.zeros(10).half())), "fc.bias is torch.float16"),
    "NaN": (lambda m: saved(state(fc_bias=torch.full((10,), torch.nan))), "fc.bias holds NaN"),
    "inf": (lambda m: saved(state(fc_bias=torch.full((10,), torch.inf))), "holds infinite"),
    "no numbers": (
        lambda m: saved(state(fc_bias=torch.zeros(10, device="meta"))),
        "no plain tensor",
    ),
    "sparse": (lambda m: saved(state(fc_bias=torch.zeros(10).to_sparse())), "no plain tensor"),
    "bomb": (lambda m: recompressed(saved({"w": torch.zeros(2**20)})), "can't be read as tensors"),
    "too large": (lambda m: saved({"w": torch.zeros(2**20)}), "more than the"),
}


def spoil(path: Path, content: bytes) -> None:
    """The bytes as an update that has been there for a while (a young one may still be on its way)."""
    write_bytes(path, content)
    os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_update_is_waited_for_without_a_quorum(
    world: World, kind: str, tmp_path: Path
) -> None:
    make, says = REFUSED[kind]
    world.send(BOB, 1, 1.0)
    spoil(world.place.update(ALICE, 1), make(tmp_path / "marker"))
    events = world.advance()
    (wait,) = waits(events)
    assert wait.whom == ALICE
    assert "a sound update of round 1" in wait.what
    assert says in wait.remedy
    assert render(wait).isprintable()
    assert not (tmp_path / "marker").exists()
    assert not is_file(world.place.global_model(1))
    assert world.advance() == events
    world.send(ALICE, 1, 3.0)  # put right, the round ends
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_update_is_left_out_with_a_quorum(tmp_path: Path, kind: str) -> None:
    make, says = REFUSED[kind]
    world = World(tmp_path, participants=[ALICE, BOB, CAROL], min_participants=2).launch()
    world.ready()
    world.advance()
    world.send(BOB, 1, 1.0)
    world.send(CAROL, 1, 3.0)
    spoil(world.place.update(ALICE, 1), make(tmp_path / "marker"))
    events = world.advance()
    (refused,) = [event for event in events if isinstance(event, UpdateRefused)]
    assert (refused.participant, refused.round) == (ALICE, 1)
    assert says in refused.reason
    assert not (tmp_path / "marker").exists()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    (record,) = read_history(world.site).rounds
    assert dict(record.refused) == {ALICE: refused.reason}
    assert [part.participant for part in record.contributions] == [BOB, CAROL]
    assert is_file(world.box(ALICE).global_model(1))  # it may do better in the next round


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "2 GB", "linked folder"])
def test_an_update_that_is_no_file_is_refused(world: World, kind: str, tmp_path: Path) -> None:
    path = world.place.update(ALICE, 1)
    elsewhere = world.send(ALICE, 1, 1.0).rename(tmp_path / "elsewhere.pt")
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "2 GB":
        sparse_file(path, 2**31)
    else:
        inbox = world.place.inbox(ALICE)
        inbox.rename(tmp_path / "inbox")
        elsewhere.rename(tmp_path / "inbox" / path.name)
        inbox.symlink_to(tmp_path / "inbox")
    world.send(BOB, 1, 1.0)
    (wait,) = waits(world.advance())
    assert wait.whom == ALICE
    assert ALICE in wait.remedy
    assert not is_file(world.place.global_model(1))


def test_a_young_unreadable_update_may_still_be_on_its_way(world: World) -> None:
    """The real client rewrites in place: a reader may meet half a file."""
    world.send(BOB, 1, 1.0)
    path = world.send(ALICE, 1, saved(linear_weights())[:300])
    (wait,) = waits(world.advance())
    assert wait.whom == ALICE
    assert "sound" not in wait.what
    assert wait.seconds is not None  # somebody should look again
    os.utime(path, (time.time() - 60, time.time() - 60))
    (wait,) = waits(world.advance())
    assert "can't be read as tensors" in wait.remedy


def test_the_largest_numbers_of_float32_stop_nothing(world: World) -> None:
    """Finite, so they are averaged; what is written about them must be JSON all the same."""
    world.send(ALICE, 1, 3e38)
    world.send(BOB, 1, -3e38)
    assert problems(world.advance()) == []
    assert torch.equal(world.model(1)["fc.bias"], torch.zeros(10))
