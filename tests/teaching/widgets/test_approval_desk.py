"""The desk of a participant: it shows what would run, and approves or declines exactly that."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.keys import new_secret, signing_key
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.protocol.advance import status
from fedkit.protocol.approval import approve, pending_requests, pinned, why_declined
from fedkit.protocol.signing_keys import fingerprint, published_key
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.approval_desk import ApprovalDesk, config_html
from fedkit.teaching.widgets.round_control import RoundControl
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, LINEAR, PROJECT, launched, small
from tests.support.panels import SLOW, words
from tests.support.privacy import KINDS as KINDS_OF_PRIVACY
from tests.support.tasks import KINDS

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_the_desk_shows_what_would_run_and_approves_exactly_that(tmp_path: Path) -> None:
    net = launched(tmp_path)
    control = Control.of(net)
    desk = ApprovalDesk(net[ALICE])
    shown = net[ALICE].client().project(PROJECT, "request").path / "model.py"
    digest = desk._asked.hashes["model.py"] if desk._asked else ""
    assert digest in words(desk.source.value)
    assert "class FLModel (nn.Module):" in words(desk.source.value)
    assert "not a guarantee" in words(desk.hints.value)
    assert "learning rate 0.1" in words(desk.config.value)
    shown.write_text("import os\n")  # after it was painted, before the click
    desk.yes.click()
    assert (pinned(net[ALICE], PROJECT) or {})["model.py"] == digest
    running = net[ALICE].client().project(PROJECT).path / "model.py"
    assert running.read_text() == LINEAR
    assert "✓ Approved" in words(desk.answer.value)
    assert "No request waits" in words(desk.hints.value)
    assert desk.yes.disabled
    assert desk.no.disabled
    assert control.now.rows[0].approved  # the other panels know


@pytest.mark.parametrize("look", ["html", "text"])
def test_in_batch_what_the_picture_showed_is_approved(tmp_path: Path, look: str) -> None:
    net = launched(tmp_path)
    Control.of(net)
    desk = ApprovalDesk(net[ALICE], interactive=False)
    getattr(desk, look)()
    request = net[ALICE].client().project(PROJECT, "request").path
    shown = (request / "model.py").read_bytes()
    (request / "model.py").write_text("import os\n")  # after it was displayed
    shutil.copytree(request, request.with_name("AAA"))  # comes first, and was never displayed
    assert desk.approve().project == PROJECT
    running = net[ALICE].client().project(PROJECT).path
    assert (running / "model.py").read_bytes() == shown
    assert (pinned(net[ALICE], PROJECT) or {})["model.py"] == sha256_bytes(shown)


def test_what_data_are_asked_for_is_shown_where_they_are_no_digits() -> None:
    kind = KINDS["a regression"]
    assert "data vectors of 30; numbers (1), loss mse" in words(config_html(kind.config()))
    assert "data " not in words(config_html(small()))


def test_what_takes_the_local_steps_is_said() -> None:
    asked = words(config_html(small(optimizer={"name": "sgd", "momentum": 0.9})))
    assert "local steps sgd with momentum 0.9" in asked
    assert "local steps adam " in words(config_html(small(optimizer={"name": "adam"}))) + " "
    assert "local steps" not in words(config_html(small()))
    asked = words(config_html(small(schedule={"name": "cosine", "final": 0.1})))
    assert "learning rate by round cosine with final 0.1" in asked
    asked = words(config_html(small(validation={"share": 0.25, "patience": 1})))
    assert "kept back 0.25 of your samples; how models do on them is sent" in asked
    assert "ends early after 1 local epoch without" in asked


def test_what_privacy_is_promised_is_said_with_against_whom() -> None:
    asked = words(config_html(small(**KINDS_OF_PRIVACY["central"])))
    assert "differential privacy for each participant, against the aggregator: nothing;" in asked
    spent = epsilon_of(Mechanism(1.0, 1.0, 2), 1e-3)
    others = f"the other participants, everybody else: epsilon {spent:.3g} (zero-out neighbours) at delta 0.001;"
    assert others in asked
    assert "depends on your number" in words(config_html(small(**KINDS_OF_PRIVACY["example"])))
    assert "differential privacy none: nothing bounds" in words(config_html(small()))


def test_a_request_that_changes_is_shown_anew(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    desk = ApprovalDesk(net[ALICE])
    (net[ALICE].client().project(PROJECT, "request").path / "model.py").write_text(
        "import socket\n"
    )
    desk.repaint()
    assert "access to the network" in words(desk.hints.value)
    assert "▸1 import socket" in words(desk.source.value)


def test_declining_needs_a_reason_which_reaches_the_aggregator(tmp_path: Path) -> None:
    net = launched(tmp_path)
    panel = RoundControl(net)
    desk = ApprovalDesk(net[BOB])
    desk.no.click()
    assert "is empty" in words(desk.answer.value)
    assert pending_requests(net[BOB]) == [PROJECT]
    desk.reason.value = "<b>my</b> images are private"
    desk.no.click()
    assert why_declined(net[AGGREGATOR], PROJECT, BOB) == "<b>my</b> images are private"
    assert "<b>my" not in desk.answer.value
    assert "<b>my</b> images" in words(desk.answer.value)
    assert "declined: <b>my</b> images are private" in words(panel.table.value)
    assert desk.reason.value == ""


def test_a_no_can_be_taken_back_at_the_desk_and_becomes_a_yes(tmp_path: Path) -> None:
    net = launched(tmp_path)
    panel, desk = RoundControl(net, approve=None), ApprovalDesk(net[BOB])
    desk.reason.value = "not today"
    desk.no.click()
    assert desk.choice.label == f"{PROJECT} (declined)"
    assert desk.no.disabled
    assert "not today" in words(ApprovalDesk(net[BOB], interactive=False).html())
    approve(net[ALICE], PROJECT)
    panel.control.run_round()
    assert f"fedkit approve {PROJECT}" in panel.wait().status
    (row,) = [row for row in status(net[BOB]) if row.project == PROJECT]
    assert row.state == "declined"
    assert f"not today; `fedkit approve {PROJECT}` takes the no back" in row.text
    assert desk.back.layout.display is None
    desk.back.click()
    assert pending_requests(net[BOB]) == [PROJECT]
    assert why_declined(net[AGGREGATOR], PROJECT, BOB) is None
    assert desk.back.layout.display == "none"
    assert "waits for your answer again" in words(desk.answer.value)
    desk.reason.value = "no"
    desk.no.click()
    desk.yes.click()  # a yes replaces a no by itself, too
    panel.control.run_round()
    assert len(panel.wait().history) == 1
    with pytest.raises(FedkitError, match="was not declined"):
        desk.take_back(PROJECT)
    panel.close()


def test_a_request_that_can_not_be_read_can_only_be_declined(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    (net[BOB].client().project(PROJECT, "request").path / "fl_config.json").write_text("{")
    desk = ApprovalDesk(net[BOB])
    assert desk.yes.disabled
    assert not desk.no.disabled
    assert "can't be approved" in words(desk.hints.value)
    assert "can't be approved" in words(ApprovalDesk(net[BOB], interactive=False).html())
    with pytest.raises(FedkitError):
        desk.approve()
    desk.decline("I can't read it")
    assert pending_requests(net[BOB]) == []


def test_several_requests(tmp_path: Path) -> None:
    net = launched(tmp_path)
    Control.of(net)
    net.launch(small(project_name="ANOTHER"), LINEAR + "import os\n")
    desk = ApprovalDesk(net[ALICE])
    desk.again.click()
    assert desk.choice.options == ("ANOTHER", PROJECT)
    desk.choice.value = "ANOTHER"
    assert "imports os" in words(desk.hints.value)
    assert "</strong> ▸ 1 thing" in desk.hints.value
    desk.choice.value = PROJECT
    assert "nothing stands out" in words(desk.hints.value)
    desk.reason.value = "no"
    desk.no.click()
    assert pending_requests(net[ALICE]) == ["ANOTHER"]
    assert desk.choice.value == "ANOTHER"
    with pytest.raises(FedkitError):
        desk.approve("MISSING")


def test_a_desk_that_was_there_before_the_control(tmp_path: Path) -> None:
    net = launched(tmp_path)
    desk = ApprovalDesk(net[ALICE])
    assert "No request waits" in words(desk.hints.value)
    control = Control.of(net)
    desk.again.click()
    assert not desk.yes.disabled
    approve(net[ALICE], PROJECT)
    control.refresh()
    assert desk.yes.disabled


def test_a_decision_while_it_trains(tmp_path: Path) -> None:
    """The desk does not sync beside a running worker; the worker carries the answer."""
    net = launched(tmp_path, SLOW, epoch=40, batch_size=1, approval="quorum", min_participants=1)
    approve(net[ALICE], PROJECT) if pending_requests(net[ALICE]) else None
    panel = RoundControl(net)
    approve(net[ALICE], PROJECT)
    desk, trains = ApprovalDesk(net[BOB]), threading.Event()
    end = panel.control.subscribe(lambda now: trains.set() if now.epoch else None)
    panel.buttons["Run all"].click()
    assert trains.wait(60)
    desk.yes.click()
    assert panel.wait().error == ""
    end()
    assert [row.approved for row in panel.control.now.rows] == [True, True]
    assert len(list(panel.control.now.history)[-1].contributions) == 2


def test_the_keys_of_a_masked_project_stand_at_the_desk(tmp_path: Path) -> None:
    masked = {"participants": [ALICE, BOB, CAROL], "secure_aggregation": {"threshold": 2}}
    net = launched(tmp_path, **masked)
    net.run()
    digits = fingerprint(published_key(net[ALICE], BOB) or b"")
    desk = ApprovalDesk(net[ALICE])
    assert digits in words(desk.hints.value)
    assert "3 participants" not in words(desk.config.value)
    assert "with 2 participants it could open one update" in words(desk.config.value)
    still = ApprovalDesk(net[ALICE], interactive=False)
    assert digits in words(still.html())
    assert digits in still.text()
    other = signing_key(new_secret())
    path = net[ALICE].datasites / BOB / "public" / "keys" / "fl_client.json"
    path.write_text(json.dumps({"email": BOB, "ed25519": other.hex()}))
    desk.again.click()
    assert fingerprint(other) in words(desk.hints.value)


def test_the_desk_says_what_is_promised_and_what_is_not(tmp_path: Path) -> None:
    plain = words(config_html(small()))
    assert "differential privacy none: nothing bounds what your update tells" in plain
    assert "secure aggregation none: the aggregator sees your update as it is" in plain
    assert "aggregated by fedadam" in words(config_html(small(strategy={"name": "fedadam"})))
