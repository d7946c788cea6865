"""Driving a network without a front end: what the buttons do, and that nothing is lost, doubled or left behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.events import RoundEvaluated
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve, approve_all, decline, why_declined
from fedkit.teaching.control.control import Control
from fedkit.teaching.control.snapshot import Snapshot
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    final_model,
    launched,
    network,
    small,
)
from tests.support.panels import ADJUSTABLE, SLOW

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def controlled(root: Path, model: str = LINEAR, **changes: Any) -> Control:
    return Control(launched(root, model, **changes), approve_all)


def uninterrupted(root: Path, model: str = LINEAR, **changes: Any) -> bytes:
    net = launched(root, model, **changes)
    assert net.run(approve=approve_all).done
    return final_model(net)


class Listener:
    """Remembers every snapshot; `when(now)` may act on one of them."""

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []

    def __call__(self, now: Snapshot) -> None:
        self.seen.append(now)


# ------------------------------------------------------------------------------------- what it says
def test_says_for_whom_it_waits(tmp_path: Path) -> None:
    control = Control(launched(tmp_path))
    assert control.now.status.startswith(f"waits for {ALICE}, {BOB} to approve the request")
    assert [row.approved for row in control.now.rows] == [False, False]
    approve(control.network[ALICE], PROJECT)
    control.refresh()
    assert control.now.status.startswith(f"waits for {BOB} to approve")
    assert [row.approved for row in control.now.rows] == [True, False]
    approve(control.network[BOB], PROJECT)
    assert control.refresh().status == "ready for round 1 of 2"


def test_a_run_that_waits_says_so_too(tmp_path: Path) -> None:
    control = Control(launched(tmp_path))
    control.run_all()
    now = control.wait()
    assert not now.busy
    assert now.status.startswith(f"waits for {ALICE}, {BOB} to approve")
    assert len(now.history) == 0


def test_a_no_reaches_the_aggregator(tmp_path: Path) -> None:
    control = Control(launched(tmp_path))
    home = control.network[AGGREGATOR]
    decline(control.network[BOB], PROJECT, "not my kind of data")
    assert why_declined(home, PROJECT, BOB) is None
    control.refresh()
    assert why_declined(home, PROJECT, BOB) == "not my kind of data"
    assert control.now.rows[1].declined == "not my kind of data"
    approve(control.network[ALICE], PROJECT)
    assert "not my kind of data" in control.refresh().status


def test_nothing_launched(tmp_path: Path) -> None:
    control = Control(network(tmp_path))
    assert control.now.status == "nothing launched yet"
    control.run_round()
    assert "no project was launched" in control.wait().error
    with pytest.raises(FedkitError, match="no project"):
        control.change(learning_rate=0.5)


def test_a_launch_that_is_not_valid_is_said(tmp_path: Path) -> None:
    net = launched(tmp_path)
    (net[AGGREGATOR].aggregator().launch / "model.py").write_text("class Net: pass\n")
    control = Control(net)
    assert control.now.status.startswith(f"{AGGREGATOR}: ")
    assert "FLModel" in control.now.status


# ------------------------------------------------------------------------------------------ rounds
def test_round_by_round_gives_the_same_bits_as_a_run(tmp_path: Path) -> None:
    control = controlled(tmp_path / "a", rounds=3)
    for n in (1, 2, 3):
        control.run_round()
        now = control.wait()
        assert len(now.history) == n
        assert now.status == (f"paused after round {n} of 3" if n < 3 else "done: 3 rounds")
    assert final_model(control.network) == uninterrupted(tmp_path / "b", rounds=3)


def test_run_all_tells_what_happened(tmp_path: Path) -> None:
    control, listener = controlled(tmp_path, epoch=3), Listener()
    control.subscribe(listener)
    control.run_all()
    now = control.wait()
    assert now is listener.seen[-1]
    assert listener.seen[0].busy
    assert not now.busy
    assert [e.round for e in now.events if isinstance(e, RoundEvaluated)] == [1, 2]
    assert now.history == control.network.history()
    assert [row.num_samples for row in now.rows] == [6, 6]
    assert all(row.loss and row.norm and row.seconds is not None for row in now.rows)


def test_bytes_are_those_of_the_ledger(tmp_path: Path) -> None:
    control = controlled(tmp_path)
    control.run_all()
    now, ledger = control.wait(), control.network.ledger()
    for row in now.rows:
        assert row.up == sum(e.size for e in ledger if e.sender == row.participant)
        assert row.down == sum(e.size for e in ledger if e.receiver == row.participant)


def test_epochs_are_told_with_their_participant(tmp_path: Path) -> None:
    control, listener = controlled(tmp_path, SLOW, epoch=30, batch_size=8), Listener()
    control.subscribe(listener)
    control.run_round()
    control.wait()
    told = [(s.who, s.epoch) for s in listener.seen if s.busy and s.epoch]
    assert {who for who, _ in told} == {ALICE, BOB}
    assert all(0 < epoch <= 30 for _, epoch in told)
    assert len(set(told)) > 2  # while it trained, not only afterwards


def test_pressed_twice_is_pressed_once(tmp_path: Path) -> None:
    control = controlled(tmp_path, SLOW, rounds=2)
    control.run_round()
    control.run_round()
    control.run_all()
    assert len(control.wait().history) == 1


def test_pressed_at_the_moment_of_the_end(tmp_path: Path) -> None:
    """The thread that tells of the end is still alive then; the button works all the same."""
    control, ended = controlled(tmp_path, rounds=2), threading.Event()

    def press_again(now: Snapshot) -> None:
        if not now.busy and len(now.history) == 1:
            control.run_round()
        if now.history.done and not now.busy:
            ended.set()

    control.subscribe(press_again)
    control.run_round()
    assert ended.wait(60)
    control.wait()


# ------------------------------------------------------------------------------------------- pause
def paused_in_round(control: Control, n: int) -> Snapshot:
    """Let it run, and pause as soon as somebody has trained an epoch of round n."""

    def act(now: Snapshot) -> None:
        if now.busy and f"round {n}: " in now.status and "trains" in now.status:
            control.pause()

    end = control.subscribe(act)
    control.run_all()
    now = control.wait()
    end()
    return now


def test_a_pause_cuts_a_round_off_and_loses_nothing(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epoch": 12, "batch_size": 1}
    control = controlled(tmp_path / "a", SLOW, **settings)
    now = paused_in_round(control, 2)
    assert now.status == "paused in round 2 of 2"
    assert len(now.history) == 1
    place = control.network[BOB].client().project(PROJECT)
    assert not place.trained(2).exists()
    control.run_all()
    assert control.wait().history.done
    assert final_model(control.network) == uninterrupted(tmp_path / "b", **settings)


def test_a_pause_keeps_what_holds_for_the_round_under_way(tmp_path: Path) -> None:
    control = controlled(tmp_path, SLOW, epoch=12, batch_size=1, rounds=3, adjustable=ADJUSTABLE)
    paused_in_round(control, 2)
    control.change(learning_rate=0.05, epoch=1)
    control.run_all()
    records = list(control.wait().history)
    assert [r.learning_rate for r in records] == [0.1, 0.1, 0.05]
    assert [r.local_epochs for r in records] == [12, 12, 1]


def test_pause_where_nothing_runs(tmp_path: Path) -> None:
    control = controlled(tmp_path)
    control.pause()
    control.run_round()
    assert len(control.wait().history) == 1


# ---------------------------------------------------------------------------------------- settings
def test_a_change_acts_from_the_next_round_on(tmp_path: Path) -> None:
    control = controlled(tmp_path, rounds=3, adjustable=ADJUSTABLE)
    control.run_round()
    control.wait()
    control.change(learning_rate=0.01, epoch=4, participants_per_round=1)
    settings = control.now.settings
    assert settings is not None
    assert (settings.learning_rate, settings.epoch, settings.participants_per_round) == (0.01, 4, 1)
    control.run_all()
    records = list(control.wait().history)
    assert [r.learning_rate for r in records] == [0.1, 0.01, 0.01]
    assert [r.local_epochs for r in records] == [1, 4, 4]
    assert [len(r.contributions) for r in records] == [2, 1, 1]


def test_what_was_not_approved_may_not_change(tmp_path: Path) -> None:
    control = controlled(tmp_path, adjustable=["epoch"])
    with pytest.raises(FedkitError) as caught:
        control.change(learning_rate=0.5)
    assert caught.value.field == "adjustable"
    with pytest.raises(FedkitError) as caught:
        control.change(epoch=0)
    assert caught.value.field == "epoch"
    assert control.now.settings is not None
    assert control.now.settings.epoch == 1


def test_a_change_while_it_runs(tmp_path: Path) -> None:
    control = controlled(tmp_path, SLOW, rounds=3, epoch=6, batch_size=1, adjustable=ADJUSTABLE)
    changed = threading.Event()

    def act(now: Snapshot) -> None:
        if now.busy and "trains" in now.status and not changed.is_set():
            changed.set()
            control.change(epoch=1)

    control.subscribe(act)
    control.run_all()
    epochs = [r.local_epochs for r in control.wait().history]
    assert changed.is_set()
    assert epochs[0] == 6
    assert epochs[-1] == 1


# ------------------------------------------------------------------------------------------- reset
def test_reset_goes_back_and_runs_again_to_the_same_bits(tmp_path: Path) -> None:
    control = controlled(tmp_path, rounds=2, adjustable=ADJUSTABLE)
    control.run_all()
    control.wait()
    first = final_model(control.network)
    control.reset()
    now = control.wait()
    assert (len(now.history), now.status) == (0, "ready for round 1 of 2")
    assert all(row.approved for row in now.rows)
    control.change(learning_rate=0.5)
    control.run_round()
    control.wait()
    control.reset()
    assert control.wait().settings == small(rounds=2, adjustable=ADJUSTABLE)
    control.run_all()
    control.wait()
    assert final_model(control.network) == first


def test_reset_to_a_round(tmp_path: Path) -> None:
    control = controlled(tmp_path, rounds=3)
    control.run_all()
    first = control.wait().history
    control.reset(to_round=2)
    assert control.wait().status == "paused after round 2 of 3"
    control.run_all()
    assert control.wait().history == first
    control.reset(to_round=7)
    assert "round 7 has not been reached" in control.wait().error


# ------------------------------------------------------------------------------------------ errors
def test_an_error_of_the_worker_is_shown_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = controlled(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(control.network, "run", lambda **_: 1 / 0)
        control.run_all()
        now = control.wait()
    assert now.error == "stopped on ZeroDivisionError: division by zero"
    assert not now.busy
    control.run_all()
    now = control.wait()
    assert now.error == ""
    assert now.history.done


def test_a_broken_panel_stops_neither_the_work_nor_the_others(tmp_path: Path) -> None:
    control, listener, called = controlled(tmp_path), Listener(), []

    def broken(now: Snapshot) -> None:
        called.append(now)
        raise KeyError("gone")

    control.subscribe(broken)
    control.subscribe(listener)
    control.run_all()
    now = control.wait()
    assert now.history.done
    assert len(called) == 1
    assert "a panel stopped on KeyError" in now.error
    assert listener.seen[-1].history.done


def test_missing_data_is_a_wait_with_a_remedy(tmp_path: Path) -> None:
    net = launched(tmp_path)
    for path in net[BOB].private_client.glob("*.pt"):
        path.unlink()
    control = Control(net, approve_all)
    control.run_all()
    assert f"waits for {BOB} to send its update of round 1" in control.wait().status


# -------------------------------------------------------------------------------- one for a network
def test_one_control_a_network(tmp_path: Path) -> None:
    net = launched(tmp_path)
    control = Control.of(net)
    assert Control.of(net) is control
    assert Control.of(net, approve_all).approve is approve_all
    assert Control.watching(net[ALICE]) is control
    other = network(tmp_path.with_name("other"))
    assert Control.watching(other[ALICE]) is None


def test_a_network_made_anew_in_the_same_folder_ends_the_old_control(tmp_path: Path) -> None:
    old, listener = Control.of(launched(tmp_path, SLOW, epoch=50), approve_all), Listener()
    old.subscribe(listener)
    old.run_all()
    new = Control.of(Network.open(tmp_path))
    assert new is not old
    assert not old.now.busy
    old.run_all()  # as its panels' buttons would
    assert not old.now.busy
    assert "made anew" in old.now.error
    assert "made anew" in listener.seen[-1].error
    assert Control.watching(new.network[BOB]) is new


def test_a_listener_that_ended_hears_nothing(tmp_path: Path) -> None:
    control, listener = controlled(tmp_path), Listener()
    end = control.subscribe(listener)
    assert control.followed
    end()
    end()
    control.run_all()
    control.wait()
    assert listener.seen == []
    assert not control.followed


def test_an_aggregator_that_takes_part_trains_only_when_asked(tmp_path: Path) -> None:
    net = launched(tmp_path, participants=[AGGREGATOR, CAROL])
    for email in (AGGREGATOR, CAROL):
        Control.of(net)
        approve(net[email], PROJECT)
    control = Control.of(net)
    assert control.refresh().status == "ready for round 1 of 2"
    control.run_round()
    assert len(control.wait().history) == 1
    assert Control(net).now.status == "paused after round 1 of 2"  # a new look moves nothing
    control.run_all()
    assert control.wait().history.done
