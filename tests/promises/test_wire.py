"""On the wire fedkit is SyftBox: every file of the protocol, in both roles, against peers that know nothing of fedkit.

The peers (peers.py) behave as the protocol says that the real apps do, bad manners included. What the real apps get
wrong has its own tests in test_wire_manners.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.files import read_state
from fedkit.protocol import advance as node
from tests.support.helpers import AGGREGATOR, ALICE, BOB, LINEAR, small, tutorial, waits
from tests.support.wire import (
    BOTH,
    KINDS,
    LEADER,
    TEST_SET,
    Approve,
    Wire,
    approved,
    check_the_end,
    copied,
    moved,
    public,
)

SHARED_OR_SYNCED = pytest.mark.parametrize("synced", [False, True], ids=["shared", "synced"])
# Who comes first, over which tree; the other two pairings teach nothing more.
ORDER = pytest.mark.parametrize(
    ("order", "synced"), [(1, True), (-1, False)], ids=["synced", "shared-backwards"]
)


# --------------------------------------------------------------------------- both roles, to the end
@ORDER
@pytest.mark.parametrize("kind", KINDS)
def test_a_fedkit_aggregator_leads_peers(
    tmp_path: Path, kind: str, order: int, synced: bool
) -> None:
    app_data = "api_data" if kind == "_.syftperm" else "app_data"
    wire = Wire(tmp_path, BOTH, synced=synced, kind=kind, app_data=app_data)
    check_the_end(wire.begin().run(order=order))
    assert not any(wire.sites[AGGREGATOR].aggregator().launch.iterdir())
    assert public(wire, "participants.json") == [
        {
            "Email": email,
            "Fl Client Installed": True,
            "Project Approved": True,
            "Added Private Data": True,
            "Round (current/total)": "3/3",
            "Training Progress": "Training Completed for Round 3",
        }
        for email in (ALICE, BOB)
    ]


@ORDER
@pytest.mark.parametrize("how", [copied, moved, approved])
def test_fedkit_clients_follow_a_peer(
    tmp_path: Path, how: Approve, order: int, synced: bool
) -> None:
    wire = Wire(tmp_path, LEADER, synced=synced, kind=KINDS[order])
    check_the_end(wire.begin().run(how, order))


@SHARED_OR_SYNCED
@pytest.mark.parametrize("role", ["aggregator", "participant"])
def test_one_email_in_both_roles_beside_a_peer(tmp_path: Path, role: str, synced: bool) -> None:
    config = small(aggregator=ALICE, participants=[ALICE, BOB], linger_s=30)
    wire = Wire(tmp_path, {(role, ALICE)}, synced=synced, config=config)
    check_the_end(wire.begin().run())


def test_peers_and_fedkit_clients_side_by_side(tmp_path: Path) -> None:
    check_the_end(Wire(tmp_path, {("participant", BOB)}).begin().run())


def test_two_aggregators_in_one_datasite_do_not_fight(tmp_path: Path) -> None:
    """A node plays both roles by default; a project that a peer launched is none of its own."""
    config = small(aggregator=ALICE, linger_s=30)
    wire = Wire(tmp_path, {("aggregator", ALICE)}, config=config).begin()
    for email in (ALICE, BOB):
        wire.parts["participant", email] = lambda e=email: node.advance(wire.sites[e])
    events = node.advance(wire.sites[ALICE])
    assert [e.whom for e in waits(events) if e.role == "aggregator"] == [ALICE]
    check_the_end(wire.run())
    assert not (wire.agg("done") / "rounds").exists()


# ----------------------------------------------------------------------------- each file on its way
def test_what_the_request_holds(tmp_path: Path) -> None:
    """Eight keys and one of somebody else's go in; the ten that the real aggregator wants, and that one, go on."""
    wire = Wire(tmp_path, BOTH)
    eight = tutorial(rounds=2, epoch=1, colour="blue")
    wire.launch()
    config = wire.sites[AGGREGATOR].aggregator().launch / "fl_config.json"
    config.write_text(json.dumps(eight), encoding="utf-8")
    wire.participants()
    wire.aggregator()
    for email in (ALICE, BOB):
        request = wire.cl(email, "request")
        assert sorted(p.name for p in request.iterdir()) == ["fl_config.json", "model.py"]
        for path in request.iterdir():
            assert path.read_bytes() == (wire.agg() / path.name).read_bytes()
        sent = json.loads((request / "fl_config.json").read_bytes())
        assert sent == eight | {"model_class_name": "FLModel", "test_dataset": TEST_SET}
    assert (wire.agg() / "model.py").read_text(encoding="utf-8") == LINEAR


def test_what_a_client_shows_of_itself(tmp_path: Path) -> None:
    wire = Wire(tmp_path, LEADER, config=small(participants=[ALICE]))
    data = [p.read_bytes() for p in sorted(wire.sites[ALICE].private_client.glob("*.pt"))]
    for path in wire.sites[ALICE].private_client.glob("*.pt"):
        path.unlink()
    wire.participant(ALICE)
    request = wire.sites[ALICE].client().request
    assert {p.name for p in request.iterdir()} == set(KINDS)
    wire.begin_and_approve().participant(ALICE)
    state = wire.cl(ALICE) / "state"
    assert {p.name for p in state.iterdir()} == {*KINDS[:2], "state.json"}
    said = json.loads((state / "state.json").read_bytes())
    assert said == {"dataset_added": False, "model_train_progress": None}
    assert {p.name for p in (wire.cl(ALICE) / "agg_weights").iterdir()} == set(KINDS[:2])
    # a name with a digit that says nothing of the labels inside, as the real client takes it
    (wire.sites[ALICE].private_client / "mnist_label_7.pt").write_bytes(data[0])
    wire.participant(ALICE)
    said = json.loads((state / "state.json").read_bytes())
    assert said == {"dataset_added": True, "model_train_progress": None, "num_samples": 3}


def test_the_words_of_a_round_under_way(tmp_path: Path) -> None:
    """The sentences that the dashboard shows, as others can read them meanwhile."""
    wire = Wire(tmp_path, LEADER, config=small(participants=[ALICE], epoch=2, rounds=1))
    wire.begin_and_approve().participant(ALICE)
    wire.aggregator()
    state, seen = wire.cl(ALICE) / "state" / "state.json", []

    def look(*_: Any) -> None:
        seen.append(json.loads(state.read_bytes())["model_train_progress"])

    node.advance(wire.sites[ALICE], roles=("participant",), on_epoch=look)
    look()
    assert seen == [
        "Training InProgress for Round 1 (Curr Epoc: 1/2)",
        "Training InProgress for Round 1 (Curr Epoc: 2/2)",
        "Training Completed for Round 1",
    ]
    log = (wire.cl(ALICE) / "logs" / "training_logs_round_1.txt").read_text(encoding="utf-8")
    assert sum("Loss = " in line for line in log.splitlines()) == 2


def test_peers_that_say_nothing_of_their_samples_weigh_the_same(tmp_path: Path) -> None:
    wire = Wire(tmp_path, BOTH).begin().run()
    for n in (1, 2, 3):
        states = [
            read_state(wire.agg("done") / "fl_clients" / email / f"trained_model_round_{n}.pt")
            for email in (ALICE, BOB)
        ]
        mean = read_state(wire.agg("done") / "agg_weights" / f"agg_model_round_{n}.pt")
        for name, value in mean.items():
            torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)
