"""Where others can write: one write by a member stops nobody for good, and nobody's own files are believed unsigned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, read_state, remove, write_bytes, write_json
from fedkit.base.keys import new_secret, sign, signing_key
from fedkit.base.tensors import state_bytes
from fedkit.datasite.projects import move_to_done
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve
from fedkit.protocol.signatures import signature_of
from tests.promises.test_others_can_write import done_models, problems, start, stopped_before
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    LINEAR,
    PROJECT,
    small,
)
from tests.support.synced import Synced


def moved(path: Path) -> None:
    """Other numbers, of the same size."""
    path.write_bytes(state_bytes({k: v + 1 for k, v in read_state(path).items()}))


def test_an_aggregators_own_update_is_believed_with_its_signature_only(tmp_path: Path) -> None:
    net = start(tmp_path, participants=[BOB, AGGREGATOR])
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    stopped_before(net, lambda net: place.update(BOB, 1))
    moved(place.update(AGGREGATOR, 1))
    node.advance(net[AGGREGATOR], roles=["aggregator"])
    assert not place.record(1).is_file()
    assert problems(net.run()) == ""
    assert len(done_models(net[BOB])) == 3


def test_a_request_in_ones_own_name_must_be_ones_own(tmp_path: Path) -> None:
    """Mallory asks Alice in Alice's name, and puts her own key where Alice's is published."""
    net, secret = Synced(tmp_path, [ALICE, BOB]), new_secret()
    site = net[ALICE]
    config = small(project_name="MINE", aggregator=ALICE, participants=[ALICE], signed=True)
    place = site.client().project("MINE", "request")
    write_bytes(place.config, config.to_json().encode())
    write_bytes(place.path / "model.py", LINEAR.encode())
    with pytest.raises(FedkitError, match=f"is not signed by {ALICE}"):
        approve(site, "MINE")
    forged = {"email": ALICE, "ed25519": signing_key(secret).hex()}
    write_json(site.public / "keys" / "fl_client.json", forged)
    for path in (place.config, place.path / "model.py"):
        write_bytes(signature_of(path), sign(secret, b"{}").hex().encode() + b"\n{}")
    with pytest.raises(FedkitError, match=f"is not signed by {ALICE}"):
        approve(site, "MINE")


Where = Callable[[Synced], Path]

ONE_WRITE: dict[str, tuple[dict[str, Any], Where]] = {
    "a model's signature": (
        {},
        lambda net: signature_of(net[ALICE].client().project(PROJECT).global_model(0)),
    ),
    "a plan": (
        {"adjustable": ["learning_rate"]},
        lambda net: net[ALICE].client().project(PROJECT).round_settings(1),
    ),
    "what the strategy sends": (
        {"strategy": {"name": "scaffold"}},
        lambda net: net[ALICE].client().project(PROJECT).extra_for(1),
    ),
    "an update's signature": (
        {},
        lambda net: signature_of(net[AGGREGATOR].aggregator().project(PROJECT).update(BOB, 1)),
    ),
    "what an update says": (
        {},
        lambda net: net[AGGREGATOR].aggregator().project(PROJECT).update_info(BOB, 1),
    ),
    "a request's signature": (
        {},
        lambda net: signature_of(net[ALICE].client().project(PROJECT, "request").config),
    ),
    "a masked message": (
        {"secure_aggregation": {"threshold": 2}, "participants": [ALICE, BOB, CAROL]},
        lambda net: net[AGGREGATOR].aggregator().project(PROJECT).message(BOB, 1, "keys"),
    ),
    "a list of a masked round": (
        {"secure_aggregation": {"threshold": 2}, "participants": [ALICE, BOB, CAROL]},
        lambda net: net[ALICE].client().project(PROJECT).secure_list(1, "roster"),
    ),
}


@pytest.mark.parametrize("what", ONE_WRITE)
def test_one_write_stops_nobody_for_good(tmp_path: Path, what: str) -> None:
    changes, where = ONE_WRITE[what]
    net = start(tmp_path, **changes)
    path = stopped_before(net, where)
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes(byte ^ 1 for byte in data[-9:]))  # of the same size
    net.sync()
    assert problems(net.run()) == ""
    assert len(done_models(net[ALICE])) == 3


@pytest.mark.parametrize("gone", ["what it says", "its signature", "another's words"])
def test_an_update_counts_with_what_its_sender_says_of_it_or_not_yet(
    tmp_path: Path, gone: str
) -> None:
    """Whoever takes that away would change how much it counts; and files may come in any order."""
    net = start(tmp_path)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    stopped_before(net, lambda net: place.update(BOB, 1))
    info = place.update_info(BOB, 1)
    if gone == "another's words":
        info.write_bytes(info.read_bytes().replace(b'"num_samples": 8', b'"num_samples": 9'))
    else:
        remove(info if gone == "what it says" else signature_of(info))
    node.advance(net[AGGREGATOR])
    assert not place.record(1).is_file()
    net.sync()
    assert problems(net.run()) == ""
    home = net[AGGREGATOR].aggregator().project(PROJECT, "done")
    told = read_json(home.record(1))["contributions"]
    assert [part["num_samples"] for part in told] == [6, 8]


@pytest.mark.parametrize("how", ["another key", "another update"])
def test_who_was_forged_is_waited_for_and_stops_nobody(tmp_path: Path, how: str) -> None:
    """With a quorum, a forged file neither ends the round without its sender at once nor stops the others."""
    people = [ALICE, BOB, CAROL]
    net = start(tmp_path, participants=people, min_participants=2, round_timeout_s=600)
    place = net[AGGREGATOR].aggregator().project(PROJECT)
    stopped_before(net, lambda net: place.update(CAROL, 1))
    if how == "another key":
        path = net[AGGREGATOR].datasites / BOB / "public" / "keys" / "fl_client.json"
        write_json(path, {"email": BOB, "ed25519": signing_key(new_secret()).hex()})
    else:
        moved(place.update(BOB, 1))
    events = node.advance(net[AGGREGATOR])
    assert problems(events) == ""
    assert not place.record(1).is_file()
    assert f"{BOB}: is" in str(events) or f"{BOB}: signs" in str(events)
    late = node.advance(net[AGGREGATOR], patient=False)  # the time is up
    assert problems(late) == ""
    assert BOB in read_json(place.record(1))["refused"]


def test_who_says_nonsense_stops_nobody(tmp_path: Path) -> None:
    """Bob signs that his words are `[`: he is refused, and the others go on."""
    people = [ALICE, BOB, CAROL]
    net = start(tmp_path, participants=people, min_participants=2)
    place = net[AGGREGATOR].aggregator().project(PROJECT)

    stopped_before(net, lambda net: place.update(BOB, 1))
    (own,) = net[BOB].private_client.rglob("training_round_1.json")
    own.write_bytes(b"[")
    remove(net[BOB].aggregator(AGGREGATOR).project(PROJECT).update_info(BOB, 1))
    node.advance(net[BOB])
    net.sync()
    assert place.update_info(BOB, 1).read_bytes() == b"["
    node.advance(net[CAROL])
    net.sync()
    node.advance(net[AGGREGATOR])
    assert "is not valid JSON" in read_json(place.record(1))["refused"][BOB]


@pytest.mark.parametrize("at", ["running", "done"])
def test_finishing_moves_nothing_through_a_link(tmp_path: Path, at: str) -> None:
    """Mallory makes a folder of the mailbox a link: what has the project's name behind it stays there."""
    net = Synced(tmp_path / "net", [ALICE])
    site, mine = net[ALICE], tmp_path / "home"
    box = site.client()
    write_bytes(mine / PROJECT / "diary.txt", b"dear diary")
    write_bytes(box.running / PROJECT / "fl_config.json", b"{}")
    write_bytes(box.path / "running" / PROJECT / "state" / "state.json", b"{}")
    (box.path / "done").mkdir(exist_ok=True)
    (box.path / at).rename(tmp_path / "aside")
    (box.path / at).symlink_to(mine)
    before = sorted(mine.rglob("*"))
    move_to_done(site, box, PROJECT, ())
    assert (box.done / PROJECT).is_dir()
    assert sorted(mine.rglob("*")) == before
    assert not list(site.root.rglob("diary.txt")) or at == "done"
