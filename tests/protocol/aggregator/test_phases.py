"""The aggregator's state machine from launch to done, with participants played by hand, and again after a crash."""

import json
from pathlib import Path

import pytest
import torch

from fedkit.base.events import RoundAggregated
from fedkit.base.files import is_file, read_json, sha256_bytes, write_json, write_state
from fedkit.datasite.permissions import write_permissions
from fedkit.learning.models import load_model
from fedkit.learning.training import evaluate
from fedkit.rounds.history import read_history
from tests.support.aggregator import World, filled, quorum
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    held_out,
    linear_weights,
    put_launch,
    saved,
    small,
    snapshot,
    waits,
)


# ------------------------------------------------------------------------------------ from launch to done
def test_a_whole_project(world: World) -> None:
    for email in (ALICE, BOB):
        assert world.box(email).global_model(0).read_bytes() == saved(linear_weights())
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.full((10,), 2.0))
    world.send(ALICE, 2, 4.0)
    world.send(BOB, 2, 6.0)
    events = world.advance()
    assert not world.site.aggregator().project(PROJECT).path.exists()
    assert torch.equal(world.model(2)["fc.bias"], torch.full((10,), 5.0))
    assert [e.round for e in events if isinstance(e, RoundAggregated)] == [2]
    for email in (ALICE, BOB):
        for n in range(3):
            sent = world.box(email).global_model(n)
            assert sent.read_bytes() == world.place.global_model(n).read_bytes()
        assert not is_file(
            world.place.inbox(email) / "syft.pub.yaml"
        )  # nobody writes here any more
    assert sorted(p.name for p in world.place.agg_weights.iterdir()) == [
        f"agg_model_round_{n}.pt" for n in range(3)
    ]
    before = snapshot(world.site.data_dir)
    assert world.advance() == []
    assert snapshot(world.site.data_dir) == before


def test_done_does_not_depend_on_the_participants_folders(world: World) -> None:
    """The real aggregator looks into them first, and seldom ends."""
    for n in (1, 2):
        world.send(ALICE, n)
        world.send(BOB, n)
        world.advance(until_round=n)
    for email in (ALICE, BOB):
        box = world.site.client(email)
        (box.running / PROJECT).rename(box.done / PROJECT)
    world.advance()
    assert world.site.aggregator().project(PROJECT, "done").path.is_dir()


def test_what_is_published_has_the_real_apps_form(world: World) -> None:
    """And its accuracy is the one that a direct evaluation of the global model gives."""
    folder = world.site.public_results(PROJECT)
    assert read_json(folder / "accuracy_metrics.json") == [{"accuracy": 0, "round": 0}]
    write_json(
        world.box(ALICE).state,
        {"dataset_added": True, "model_train_progress": "Training Completed for Round 1"},
    )
    world.send(ALICE, 1, linear_weights(3))
    assert world.advance()
    rows = read_json(folder / "participants.json")
    assert rows[0] == {
        "Email": ALICE,
        "Fl Client Installed": True,
        "Project Approved": True,
        "Added Private Data": True,
        "Round (current/total)": "1/2",
        "Training Progress": "Training Completed for Round 1",
    }
    assert rows[1]["Round (current/total)"] == "0/2"
    assert rows[1]["Training Progress"] == "N/A"
    world.send(BOB, 1, linear_weights(4))
    world.advance()
    accuracy, _ = evaluate(load_model(LINEAR), world.model(1), *held_out())
    assert read_json(folder / "accuracy_metrics.json") == [
        {"accuracy": 0, "round": 0},
        {"round": 1, "accuracy": accuracy},
    ]
    text = (folder / "history.json").read_text(encoding="utf-8")
    assert ALICE not in text  # nothing per participant
    for row in read_json(folder / "participants.json"):
        assert set(row) == set(rows[0])


def test_stray_files_shift_no_round(world: World) -> None:
    for folder in (world.place.agg_weights, world.place.inbox(ALICE), world.box(ALICE).agg_weights):
        (folder / ".ipynb_checkpoints").mkdir()
        for name in (
            ".DS_Store",
            "agg_model_round_9.pt.bak",
            "trained_model_round_1.pt.tmp",
            "x.pt",
        ):
            (folder / name).write_bytes(b"x")
    (wait,) = waits(world.advance())
    assert wait.whom == f"{ALICE}, {BOB}"
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 1.0)
    world.advance()
    assert torch.equal(world.model(1)["fc.bias"], torch.ones(10))


def test_two_projects_go_on_side_by_side(world: World) -> None:
    second = small(project_name="Second", rounds=1)
    put_launch(world.site, second)
    world.advance()
    for email in (ALICE, BOB):
        write_permissions(
            world.site.client(email).project("Second").agg_weights, email, write=[AGGREGATOR]
        )
    world.advance()
    for email in (ALICE, BOB):
        write_state(world.site.aggregator().project("Second").update(email, 1), filled(1))
    world.advance()
    assert world.site.aggregator().project("Second", "done").path.is_dir()
    assert {wait.project for wait in waits(world.advance())} == {PROJECT}


# -------------------------------------------------------------------------------- again after a crash
def test_a_global_model_that_was_not_sent_is_sent_again(world: World) -> None:
    world.send(ALICE, 1)
    world.send(BOB, 1)
    world.advance()
    world.box(BOB).global_model(1).unlink()
    world.box(ALICE).global_model(0).unlink()
    world.advance()
    assert is_file(world.box(BOB).global_model(1))
    assert is_file(world.box(ALICE).global_model(0))


def test_a_round_whose_record_was_written_averages_the_same_updates(tmp_path: Path) -> None:
    """Killed between the record and the model; meanwhile somebody who was absent has sent an update."""
    world = quorum(tmp_path)
    world.send(ALICE, 1, 1.0)
    world.send(BOB, 1, 3.0)
    world.advance(patient=False, until_round=1)
    good = world.place.global_model(1).read_bytes()
    record = json.loads(world.place.record(1).read_bytes())
    world.place.global_model(1).unlink()
    for email in (ALICE, BOB, CAROL):
        world.box(email).global_model(1).unlink(missing_ok=True)
    world.send(CAROL, 1, 99.0)
    world.advance()
    assert world.place.global_model(1).read_bytes() == good
    again = json.loads(world.place.record(1).read_bytes())
    assert [p["participant"] for p in again["contributions"]] == [
        p["participant"] for p in record["contributions"]
    ]
    assert again["absent"] == [CAROL]


def test_the_record_says_who_gave_what(world: World) -> None:
    one = world.send(ALICE, 1, 1.0, {"num_samples": 100, "loss": 0.5, "seconds": 2.0})
    world.send(BOB, 1, 3.0, {"num_samples": 100, "loss": 0.25, "seconds": 1.0})
    digest = sha256_bytes(one.read_bytes())
    world.advance()
    first, second = read_history(world.site).rounds[0].contributions
    assert (first.participant, first.num_samples, first.loss, first.seconds) == (
        ALICE,
        100,
        0.5,
        2.0,
    )
    assert first.sha256 == digest
    assert second.weight == 0.5
    flat = torch.cat([v.flatten() for v in linear_weights().values()])
    assert first.norm == pytest.approx(float((torch.ones(flat.numel()) - flat).norm()), rel=1e-5)
