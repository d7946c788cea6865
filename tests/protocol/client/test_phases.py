"""The participant's state machine, with an aggregator played by hand: what it writes, waits for and refuses."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.events import (
    Approved,
    DataFound,
    Event,
    MailboxOpened,
    ProjectDone,
    Trained,
    UpdateShared,
)
from fedkit.base.files import is_file, read_json, read_state, write_bytes, write_json, write_state
from fedkit.base.seeds import generator
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.learning.models import load_model
from fedkit.learning.training import train
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, pinned
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    linear_weights,
    problems,
    shard,
    small,
    snapshot,
    waits,
)

DONE = "Training Completed for Round {}"


class World:
    """One shared tree: a real client of Alice's, and an aggregator whose files the test writes."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.site = Datasite.create(root, ALICE)
        Datasite.create(root, AGGREGATOR)
        self.config = small(**({"participants": [ALICE, BOB]} | changes))
        write_shard(self.site.private_client, shard([0, 1]))

    def ask(self) -> "World":
        folder = self.site.client().project(PROJECT, "request").path
        write_bytes(folder / "model.py", LINEAR.encode())
        self.config.save(folder / "fl_config.json")
        inbox = self.theirs.inbox(ALICE)
        write_permissions(inbox, AGGREGATOR, write=[ALICE])
        return self

    def advance(self, **options: Any) -> list[Event]:
        return node.advance(self.site, roles=["participant"], **options)

    def send(self, n: int, seed: int = 0) -> None:
        write_state(self.place.global_model(n), linear_weights(seed))

    @property
    def place(self) -> ClientProject:
        return self.site.client().project(PROJECT)

    @property
    def done(self) -> ClientProject:
        return self.site.client().project(PROJECT, "done")

    @property
    def theirs(self) -> AggregatorProject:
        return self.site.aggregator(AGGREGATOR).project(PROJECT)

    def state(self) -> Any:
        return read_json(self.place.state)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Asked, approved, ready; no global model has come yet."""
    world = World(tmp_path).ask()
    approve(world.site, PROJECT)
    world.advance()
    return world


# ----------------------------------------------------------------------------- from the request to done
def test_a_request_waits_for_the_person(tmp_path: Path) -> None:
    world = World(tmp_path).ask()
    before = snapshot(tmp_path)
    (wait,) = waits(events := world.advance())
    assert len(events) == 1
    assert wait.whom == ALICE
    assert AGGREGATOR in wait.what
    assert "fedkit approve" in wait.remedy
    assert snapshot(tmp_path) == before


def test_after_the_approval_the_mailbox_is_open(tmp_path: Path) -> None:
    world = World(tmp_path).ask()
    approve(world.site, PROJECT)
    events = world.advance()
    assert [type(event) for event in events if isinstance(event, DataFound)] == [DataFound]
    for name in ("syft.pub.yaml", "syftperm.yaml"):
        assert is_file(world.place.agg_weights / name)
        assert is_file(world.place.state.parent / name)
    assert world.state() == {
        "dataset_added": True,
        "model_train_progress": None,
        "num_samples": 6,
    }
    assert [wait.whom for wait in waits(events)] == [AGGREGATOR]


def test_the_folder_under_way_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real aggregator copies into a missing agg_weights/ at once, and makes a file of that name."""
    world, seen = World(tmp_path).ask(), []
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        real(source, target)
        seen.append(sorted(p.name for p in Path(target).rglob("*") if p.is_file()))

    monkeypatch.setattr(os, "rename", rename)
    approve(world.site, PROJECT)
    permissions = ["syft.pub.yaml", "syftperm.yaml"]
    assert seen == [
        sorted(["fl_config.json", "model.py", "state.json", *permissions, *permissions])
    ]


def test_without_data_it_waits_for_data(tmp_path: Path) -> None:
    world = World(tmp_path).ask()
    for path in world.site.private_client.glob("*.pt"):
        path.rename(path.with_name("digits.pt"))  # a name that the real client does not take either
    approve(world.site, PROJECT)
    (wait,) = waits(world.advance())
    assert wait.whom == ALICE
    assert "private/fl_client" in wait.what
    assert world.state()["dataset_added"] is False
    world.send(0)
    assert not [event for event in world.advance() if isinstance(event, Trained)]
    write_shard(world.site.private_client, shard([5]))
    assert [event.num_samples for event in world.advance() if isinstance(event, DataFound)] == [3]
    assert world.state()["num_samples"] == 3


def test_a_round_trains_keeps_a_copy_and_shares_it(world: World) -> None:
    world.send(0)
    events = world.advance()
    assert [event.round for event in events if isinstance(event, Trained)] == [1]
    assert [event.round for event in events if isinstance(event, UpdateShared)] == [1]
    (wait,) = waits(events)
    assert (wait.whom, wait.what) == (AGGREGATOR, "aggregate round 1")
    assert world.place.trained(1).read_bytes() == world.theirs.update(ALICE, 1).read_bytes()
    assert sorted(p.name for p in world.place.trained(1).parent.iterdir()) == [
        "trained_model_round_1.pt"  # the real client counts every entry
    ]
    assert world.state()["model_train_progress"] == DONE.format(1)
    assert "Epoch 01" in world.place.training_log(1).read_text(encoding="utf-8")
    info = read_json(world.theirs.update_info(ALICE, 1))
    assert info["num_samples"] == 6
    assert info["round"] == 1


def test_the_update_is_what_training_by_hand_gives(world: World) -> None:
    """From the global model that was sent, with the shuffles of (seed, e-mail, round)."""
    world.send(0, seed=9)
    world.advance()
    wanted, _ = train(
        load_model(LINEAR),
        linear_weights(9),
        shard([0, 1]),
        epochs=1,
        learning_rate=0.1,
        batch_size=8,
        generator=generator(0, ALICE, 1),
    )
    got = read_state(world.theirs.update(ALICE, 1))
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_a_whole_project(world: World) -> None:
    for n in range(2):
        world.send(n, seed=n)
        world.advance()
    world.send(2)
    write_json(world.site.public_results(PROJECT, AGGREGATOR) / "history.json", {})
    events = world.advance()
    assert [event for event in events if isinstance(event, ProjectDone)]
    assert not world.place.path.exists()
    assert sorted(p.name for p in world.done.agg_weights.iterdir()) == [
        f"agg_model_round_{n}.pt" for n in range(3)
    ]
    assert is_file(world.done.trained(2))
    assert not is_file(world.done.state.parent / "syft.pub.yaml")
    assert pinned(world.site, PROJECT) is None
    before = snapshot(world.site.data_dir)
    assert world.advance() == []
    assert snapshot(world.site.data_dir) == before


def test_all_data_files_are_one_shard_and_new_data_counts_from_the_next_round(world: World) -> None:
    world.send(0)
    world.advance()
    write_shard(world.site.private_client, shard([7, 8, 9]))
    world.send(1)
    (trained,) = [event for event in world.advance() if isinstance(event, Trained)]
    assert trained.num_samples == 15
    assert read_json(world.theirs.update_info(ALICE, 2))["num_samples"] == 15
    assert world.state()["num_samples"] == 15


def test_each_epoch_is_reported_while_it_trains(tmp_path: Path) -> None:
    world = World(tmp_path, epoch=3).ask()
    approve(world.site, PROJECT)
    world.advance()
    world.send(0)
    seen, states = [], []

    def look(project: str, n: int, epoch: int, epochs: int, loss: float) -> None:
        seen.append((project, n, epoch, epochs))
        states.append(world.state()["model_train_progress"])

    world.advance(on_epoch=look)
    assert seen == [(PROJECT, 1, epoch, 3) for epoch in (1, 2, 3)]
    assert states == [f"Training InProgress for Round 1 (Curr Epoc: {e}/3)" for e in (1, 2, 3)]


def test_stopped_in_the_middle_nothing_is_kept_and_the_bits_are_the_same(tmp_path: Path) -> None:
    world = World(tmp_path, epoch=2).ask()
    approve(world.site, PROJECT)
    world.advance()
    world.send(0)
    asked = iter([False, True])
    world.advance(stop=lambda: next(asked, True))
    assert not is_file(world.place.trained(1))
    world.advance()
    other = World(tmp_path / "other", epoch=2).ask()
    approve(other.site, PROJECT)
    other.advance()
    other.send(0)
    other.advance()
    assert world.place.trained(1).read_bytes() == other.place.trained(1).read_bytes()


# ------------------------------------------------------------------------- rounds are read from names
def test_stray_files_shift_no_round(world: World) -> None:
    for folder in (world.place.agg_weights, world.place.trained(1).parent):
        (folder / ".ipynb_checkpoints").mkdir(parents=True)
        for name in (
            ".DS_Store",
            "agg_model_round_2.pt.bak",
            "agg_model_round_x.pt",
            "a.pt",
            "b.pt",
        ):
            (folder / name).write_bytes(b"x")
    (wait,) = waits(world.advance())
    assert "send the global model" in wait.what
    world.send(0)
    assert [event.round for event in world.advance() if isinstance(event, Trained)] == [1]


def test_a_late_joiner_trains_the_newest_round_only(world: World) -> None:
    world.send(0)
    world.send(1, seed=1)
    assert [event.round for event in world.advance() if isinstance(event, Trained)] == [2]
    assert not is_file(world.place.trained(1))


def test_a_model_that_skips_a_round_is_trained_from(world: World) -> None:
    """Absent for a round: the next global model is what counts."""
    world.send(1, seed=1)
    assert [event.round for event in world.advance() if isinstance(event, Trained)] == [2]


# ------------------------------------------------------------------------------- again after a crash
def test_an_update_that_was_not_shared_is_shared_again(world: World) -> None:
    world.send(0)
    world.advance()
    world.theirs.update(ALICE, 1).unlink()
    world.theirs.update_info(ALICE, 1).unlink()
    events = world.advance()
    assert [event.round for event in events if isinstance(event, UpdateShared)] == [1]
    assert not [event for event in events if isinstance(event, Trained)]
    assert world.place.trained(1).read_bytes() == world.theirs.update(ALICE, 1).read_bytes()
    assert is_file(world.theirs.update_info(ALICE, 1))


def test_an_update_that_arrived_in_part_is_shared_again(world: World) -> None:
    world.send(0)
    world.advance()
    path = world.theirs.update(ALICE, 1)
    path.write_bytes(path.read_bytes()[:100])
    world.advance()
    assert world.place.trained(1).read_bytes() == path.read_bytes()


def test_a_mailbox_that_was_closed_is_opened_again(world: World) -> None:
    for name in ("syft.pub.yaml", "syftperm.yaml"):
        (world.place.agg_weights / name).unlink()
    assert [event for event in world.advance() if isinstance(event, MailboxOpened)]
    assert is_file(world.place.agg_weights / "syft.pub.yaml")


def test_a_state_that_is_no_state_is_written_anew(world: World) -> None:
    for content in (b"", b"[]", b"{", b'{"dataset_added": false}'):
        world.place.state.write_bytes(content)
        world.advance()
        assert world.state()["num_samples"] == 6


def test_without_an_inbox_the_update_waits(world: World) -> None:
    inbox = world.theirs.inbox(ALICE)
    inbox.rename(inbox.with_name("away"))
    world.send(0)
    (wait,) = waits(world.advance())
    assert wait.whom == AGGREGATOR
    assert is_file(world.place.trained(1))
    assert not inbox.exists()
    inbox.with_name("away").rename(inbox)
    world.advance()
    assert is_file(world.theirs.update(ALICE, 1))


@pytest.mark.parametrize("secured", [False, True])
def test_an_empty_inbox_is_not_open(tmp_path: Path, secured: bool) -> None:
    """A sync keeps the folder when its permission file is not there yet, or not any more: what is put there is refused."""
    masked = {"secure_aggregation": {"threshold": 2}} if secured else {}
    world = World(tmp_path, **masked).ask()
    approve(world.site, PROJECT)
    inbox = world.theirs.inbox(ALICE)
    for path in inbox.iterdir():
        path.unlink()
    world.send(0)
    (wait,) = waits(world.advance())
    assert "open its folder" in wait.what
    assert list(inbox.iterdir()) == []
    write_permissions(inbox, AGGREGATOR, write=[ALICE])
    world.advance()
    assert len(list(inbox.iterdir())) > 2


@pytest.mark.parametrize("cut", ["file", "half"])
def test_a_global_model_that_came_too_early_becomes_one(tmp_path: Path, cut: str) -> None:
    """The real aggregator's copy into a missing folder: a file named agg_weights, or what a killed client made of it."""
    world = World(tmp_path).ask()
    folder = world.place.path
    for name in ("fl_config.json", "model.py"):
        write_bytes(folder / name, (world.site.client().request / PROJECT / name).read_bytes())
    early = folder / ("agg_weights" if cut == "file" else ".agg_weights.tmp")
    write_state(early, linear_weights())
    events = world.advance()
    assert is_file(world.place.global_model(0))
    assert [event.round for event in events if isinstance(event, Trained)] == [1]


def test_killed_at_its_very_end_it_still_knows_what_was_approved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then another request of the same name may lie there; that one is no reason to stop in the last step."""

    class Killed(BaseException):
        pass

    def cut(source: Any, target: Any) -> None:
        raise Killed

    write_json(world.site.public_results(PROJECT, AGGREGATOR) / "history.json", {})
    finished(world)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", cut)
        with pytest.raises(Killed):
            world.advance()
    (world.site.client().project(PROJECT, "request").path / "model.py").write_bytes(b"# another")
    events = world.advance()
    assert problems(events) == []
    assert not [event for event in events if isinstance(event, Approved)]
    assert world.done.path.is_dir()


# -------------------------------------------------------------------------- beside a real aggregator
def finished(world: World) -> None:
    for n in range(2):
        world.send(n, seed=n)
        world.advance()
    world.send(2)


def test_a_real_aggregator_has_time_to_finish(world: World) -> None:
    """It never ends when the folder is gone; it writes no history.json, and it keeps what was shared."""
    finished(world)
    (wait,) = waits(world.advance())
    assert wait.whom == AGGREGATOR
    assert wait.seconds is not None
    assert 30 < wait.seconds <= 40
    last = world.place.global_model(2)
    os.utime(last, (time.time() - 41,) * 2)
    world.advance()
    assert world.done.path.is_dir()


def test_how_long_it_lingers_is_a_setting(tmp_path: Path) -> None:
    world = World(tmp_path, linger_s=0).ask()
    approve(world.site, PROJECT)
    world.advance()
    finished(world)
    world.advance()
    assert world.done.path.is_dir()


def test_a_project_of_that_name_that_is_done_is_not_overwritten(world: World) -> None:
    world.done.path.mkdir(parents=True)
    (world.done.path / "precious").write_bytes(b"x")
    write_json(world.site.public_results(PROJECT, AGGREGATOR) / "history.json", {})
    finished(world)
    (text,) = problems(world.advance())
    assert "done" in text
    assert "move it away" in text
    assert world.place.path.is_dir()
    assert sorted(p.name for p in world.done.path.iterdir()) == ["precious"]
    (world.done.path / "precious").unlink()
    world.done.path.rmdir()
    world.advance()
    assert is_file(world.done.trained(2))


# ------------------------------------------------------------------------ what a round may ask for
@pytest.mark.parametrize(
    "wanted", [{"learning_rate": 5.0}, {"epoch": 99}, {"learning_rate": "x"}, {"epoch": None}]
)
def test_a_round_cannot_ask_for_more_than_was_approved(
    world: World, wanted: dict[str, Any]
) -> None:
    write_json(world.place.round_settings(1), wanted)
    world.send(0)
    (text,) = problems(world.advance())
    assert "round_1.json" in text
    assert "was approved" in text
    assert "fedkit did not expect" not in text
    assert not is_file(world.place.trained(1))


def test_a_round_may_ask_for_what_the_config_names_as_adjustable(tmp_path: Path) -> None:
    world = World(tmp_path, adjustable=["epoch"]).ask()
    approve(world.site, PROJECT)
    world.advance()
    write_json(world.place.round_settings(1), {"epoch": 3})
    world.send(0)
    world.advance()
    assert "Epoch 03" in world.place.training_log(1).read_text(encoding="utf-8")
    write_json(world.place.round_settings(2), {"epoch": 0})
    world.send(1)
    (text,) = problems(world.advance())
    assert "round_2.json" in text


@pytest.mark.parametrize("who", [[BOB], [], 3, None, "x", {"a": 1}])
def test_who_is_not_asked_does_not_train(world: World, who: Any) -> None:
    write_json(world.place.round_settings(1), {"participants": who})
    world.send(0)
    events = world.advance()
    assert problems(events) == []
    asked = not isinstance(who, list)  # what is no list says nothing
    assert is_file(world.place.trained(1)) == asked


# --------------------------------------------------------------------------------- several projects
def test_two_projects_at_once(world: World) -> None:
    second = small(project_name="Second", participants=[ALICE])
    folder = world.site.client().project("Second", "request").path
    write_bytes(folder / "model.py", LINEAR.encode())
    second.save(folder / "fl_config.json")
    world.send(0)
    events = world.advance()
    assert [event.project for event in events if isinstance(event, Trained)] == [PROJECT]
    assert {wait.project for wait in waits(events)} == {PROJECT, "Second"}
    approved = approve(world.site, "Second")
    assert isinstance(approved, Approved)
    write_state(world.site.client().project("Second").global_model(0), linear_weights())
    events = world.advance()
    assert [event.project for event in events if isinstance(event, Trained)] == ["Second"]


def test_a_loss_that_is_no_number_is_no_obstacle(tmp_path: Path) -> None:
    """A step far too large: the update is shared as it is, and the aggregator will refuse it."""
    world = World(tmp_path, learning_rate=1e38, epoch=3).ask()
    approve(world.site, PROJECT)
    world.advance()
    world.send(0)
    events = world.advance()
    assert problems(events) == []
    assert [event.round for event in events if isinstance(event, UpdateShared)] == [1]
    assert "loss" not in json.loads(world.theirs.update_info(ALICE, 1).read_bytes())
