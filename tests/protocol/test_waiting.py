"""Quorum, time-out, late and absent participants: how long a round waits, and for whom."""

import os
import time
from pathlib import Path

import pytest
import torch

from fedkit.base.files import is_file
from fedkit.protocol.waiting import age
from fedkit.rounds.history import read_history
from tests.support.aggregator import World, quorum
from tests.support.helpers import ALICE, BOB, CAROL, waits


def test_without_a_quorum_a_round_waits_for_everybody(world: World) -> None:
    world.send(ALICE, 1)
    for patient in (True, False):
        (wait,) = waits(world.advance(patient=patient))
        assert wait.whom == BOB
        assert "min_participants" in wait.remedy


def test_with_a_quorum_the_others_have_until_the_time_out(tmp_path: Path) -> None:
    world = quorum(tmp_path, round_timeout_s=100.0)
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    (wait,) = waits(world.advance())
    assert wait.whom == CAROL
    assert wait.seconds is not None
    assert 0 < wait.seconds <= 100
    os.utime(world.place.plan(1), (time.time() - 101,) * 2)  # as if the round had begun earlier
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    assert read_history(world.site).rounds[0].absent == (CAROL,)


def test_no_participant_can_turn_the_clock(tmp_path: Path) -> None:
    """Who rewrites its own copy of the global model again and again, or dates it ahead, gains no second."""
    world = quorum(tmp_path, round_timeout_s=100.0)
    world.send(ALICE, 1)
    world.send(BOB, 1)
    os.utime(world.place.plan(1), (time.time() - 101,) * 2)
    mine = world.box(CAROL).global_model(0)
    mine.write_bytes(mine.read_bytes())
    os.utime(mine, (time.time() + 10_000,) * 2)
    world.advance()
    assert read_history(world.site).rounds[0].absent == (CAROL,)


def test_a_clock_that_is_set_back_makes_nobody_wait_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{}")
    assert 0 <= age(path) < 5
    real, steady = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: real() - 100_000)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 50)
    assert 50 <= age(path) < 60
    os.utime(path, (real() + 10_000,) * 2)  # dated ahead: as old as when it was first seen
    assert age(path) == pytest.approx(0, abs=1)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 80)
    assert 25 <= age(path) < 35


def test_below_the_quorum_no_time_out_ends_a_round(tmp_path: Path) -> None:
    world = quorum(tmp_path, round_timeout_s=0.001)
    world.send(ALICE, 1)
    time.sleep(0.01)
    (wait,) = waits(world.advance(patient=False))
    assert wait.whom == f"{BOB}, {CAROL}"
    assert "1 of at least 2" in wait.remedy


def test_absent_in_the_middle_and_back_again(tmp_path: Path) -> None:
    world = quorum(tmp_path, rounds=3)
    for email, value in ((ALICE, 1.0), (BOB, 2.0), (CAROL, 3.0)):
        world.send(email, 1, value)
    world.advance()
    world.send(ALICE, 2, 1.0)
    world.send(CAROL, 2, 2.0)
    world.advance(patient=False)
    assert torch.equal(world.model(2)["fc.bias"], torch.full((10,), 1.5))
    assert is_file(world.box(BOB).global_model(2))
    world.send(BOB, 2, 99.0)  # too late for its round: nothing changes
    for email, value in ((ALICE, 1.0), (BOB, 2.0), (CAROL, 6.0)):
        world.send(email, 3, value)
    world.advance()
    assert torch.equal(world.model(3)["fc.bias"], torch.full((10,), 3.0))
    records = read_history(world.site).rounds
    assert [record.absent for record in records] == [(), (BOB,), ()]
    assert [len(record.contributions) for record in records] == [3, 2, 3]


def test_a_late_joiner_gets_what_was_sent_before(tmp_path: Path) -> None:
    world = World(
        tmp_path, participants=[ALICE, BOB], min_participants=1, approval="quorum", rounds=3
    ).launch()
    (wait,) = waits(world.advance())
    assert wait.whom == f"{ALICE}, {BOB}"
    world.ready(ALICE)
    world.advance()
    world.send(ALICE, 1, 1.0)
    world.advance(patient=False)
    assert is_file(world.place.global_model(1))
    world.ready(BOB)
    world.advance()
    for n in (0, 1):
        assert (
            world.box(BOB).global_model(n).read_bytes() == world.place.global_model(n).read_bytes()
        )
    world.send(ALICE, 2, 1.0)
    world.advance(patient=False)
    world.send(ALICE, 3, 1.0)
    world.send(BOB, 3, 3.0)
    world.advance()
    assert torch.equal(world.model(3)["fc.bias"], torch.full((10,), 2.0))


def test_approval_of_all_is_waited_for_even_with_a_quorum(tmp_path: Path) -> None:
    world = World(tmp_path, participants=[ALICE, BOB], min_participants=1).launch()
    world.ready(ALICE)
    (wait,) = waits(world.advance(patient=False))
    assert wait.whom == BOB
    assert not is_file(world.box(ALICE).global_model(0))
