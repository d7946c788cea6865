"""A room of learners: an invitation is a stranger's text, a seat is one person's, and the panel says who waits for what."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_json
from fedkit.base.keys import new_secret, sign, signing_key
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.federation.invitations import Invitation, invitation_of, read_invitation
from fedkit.federation.seats import look, open_room, take_seat
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all
from fedkit.protocol.signing_keys import fingerprint, identity, known_keys
from fedkit.teaching.widgets import ClassRoom
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, PROJECT, put_launch, small
from tests.support.synced import Synced

PEOPLE = [ALICE, BOB, CAROL]


def teacher(root: Path) -> Datasite:
    write_road(root, "synced")
    return Datasite.create(root, AGGREGATOR)


def opened(site: Datasite, people: list[str] = PEOPLE) -> list[Invitation]:
    return [invitation for invitation, _ in open_room(site, "PHYSICS", PROJECT, people)]


def text_of(values: dict[str, Any], secret: bytes) -> str:
    body = json.dumps(values).encode()
    return "fedkit-seat-1." + base64.urlsafe_b64encode(sign(secret, body) + body).decode()


def test_an_invitation_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    site = teacher(tmp_path)
    for invitation, text in open_room(site, "PHYSICS", PROJECT, PEOPLE):
        assert read_invitation(f"\n {text[:50]}\n{text[50:]} \n") == invitation  # as mails break it
        (tmp_path / "seat.txt").write_text(text)
        assert invitation_of(str(tmp_path / "seat.txt")) == invitation_of(text) == invitation
    again = open_room(site, "PHYSICS", PROJECT, PEOPLE)
    assert [text for _, text in again] == [
        text for _, text in open_room(site, "PHYSICS", PROJECT, PEOPLE)
    ]
    assert again[0][0].fingerprint == fingerprint(signing_key(identity(site)))


def test_every_altered_sign_is_refused(tmp_path: Path) -> None:
    ((_, text), *_) = open_room(teacher(tmp_path), "PHYSICS", PROJECT, PEOPLE)
    for at in range(0, len(text), 7):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(FedkitError, match="is no invitation"):
            read_invitation(text[:at] + other + text[at + 1 :])
    for cut in ("", text[:-9], text + text, "x" * 5000, "fedkit-seat-1.é", "fedkit-seat-1.[[[["):
        with pytest.raises(FedkitError, match="is no invitation"):
            read_invitation(cut)


@pytest.mark.parametrize(
    "change",
    [
        {"room": "../../home"},
        {"project": "/etc/cron"},
        {"email": "../x@example.org"},
        {"aggregator": "nobody"},
        {"room": "A" * 65},
        {"seat": 0},
        {"seat": True},
        {"seat": "1"},
        {"road": "own"},
        {"road": ["synced"]},
        {"secret": "00"},
        {"secret": 7},
        {"key": "00"},
        {"more": 1},
        {"room": None},
    ],
    ids=str,
)
def test_a_stranger_may_sign_what_they_like(tmp_path: Path, change: dict[str, Any]) -> None:
    """A genuine signature, of a key of their own: no name becomes a path unchecked."""
    secret = new_secret()
    ((good, _), *_) = open_room(teacher(tmp_path), "PHYSICS", PROJECT, PEOPLE)
    values = vars(good) | {"key": signing_key(secret).hex()}
    assert read_invitation(text_of(values, secret)).room == "PHYSICS"
    with pytest.raises(FedkitError, match="is no invitation"):
        read_invitation(text_of(values | change, secret))


@pytest.mark.parametrize(
    ("open_it", "said"),
    [
        (lambda s: open_room(s, "../X", PROJECT, PEOPLE), "room"),
        (lambda s: open_room(s, "X", PROJECT, []), "has no seats"),
        (lambda s: open_room(s, "X", PROJECT, [ALICE, ALICE]), "more than one seat for"),
        (lambda s: open_room(s, "PHYSICS", PROJECT, [ALICE]), "is open already"),
        (lambda s: open_room(s, "PHYSICS", "OTHER", PEOPLE), "is open already"),
        (lambda s: look(s, "../X"), "no room"),
        (lambda s: look(s, "NONE"), "no room"),
    ],
)
def test_a_room_that_can_not_be(
    tmp_path: Path, open_it: Callable[[Datasite], object], said: str
) -> None:
    site = teacher(tmp_path)
    opened(site)
    with pytest.raises(FedkitError) as caught:
        open_it(site)
    assert said in str(caught.value)


def test_a_room_needs_a_road(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="reaches no other machine"):
        open_room(Datasite.create(tmp_path, AGGREGATOR), "PHYSICS", PROJECT, PEOPLE)


def test_a_class_from_the_first_seat_to_done(tmp_path: Path) -> None:
    net = Synced(tmp_path, PEOPLE)
    board = net[AGGREGATOR]
    invitations = opened(board)

    def told() -> dict[str, str]:
        return {seat.email: seat.what for seat in look(board, "PHYSICS")}

    assert set(told().values()) == {"sit down: `fedkit class join` with its invitation"}
    for invitation in invitations:
        take_seat(net[invitation.email], invitation)
    net.sync()
    assert set(told().values()) == {"launch the project"}
    assert set(known_keys(board)) == set(PEOPLE)
    put_launch(board, small(participants=PEOPLE))
    net.run(policy=None)
    assert set(told().values()) == {"approve the request"}
    panel = ClassRoom(board, "PHYSICS")
    assert "3 seats: 3 must act" in panel.text()
    for _ in range(3):
        for who in (ALICE, BOB):
            answer(net[who], approve_all)
            node.advance(net[who])
            net.sync()
    waits = "approve, so that round 1 can begin"
    assert told() == {ALICE: waits, BOB: waits, CAROL: "approve the request"}
    net.run()
    assert set(told().values()) == {"nothing: the project is done"}
    assert "3 seats: 3 are done" in panel.text()
    assert "nothing: the project is done" in panel.html()
    panel.again.click()
    assert "nothing: the project is done" in panel.rows.value
    panel.close()
    static = ClassRoom(board, "PHYSICS", interactive=False)
    assert static.html() == panel.html()


def test_times_are_the_aggregators_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Synced(tmp_path, PEOPLE)
    invitations = opened(net[AGGREGATOR])
    clock = [1_000_000.0]
    monkeypatch.setattr("fedkit.federation.seats.time.time", lambda: clock[0])
    assert {seat.since for seat in look(net[AGGREGATOR], "PHYSICS")} == {0.0}
    clock[0] += 90
    take_seat(net[ALICE], invitations[0])
    net.sync()
    assert [seat.since for seat in look(net[AGGREGATOR], "PHYSICS")] == [0.0, 90.0, 90.0]


def test_a_seat_is_used_once(tmp_path: Path) -> None:
    net = Synced(tmp_path, PEOPLE)
    invitation = opened(net[AGGREGATOR])[0]
    take_seat(net[ALICE], invitation)
    take_seat(net[ALICE], invitation)  # the same machine again
    net.sync()
    look(net[AGGREGATOR], "PHYSICS")
    mine = fingerprint(signing_key(identity(net[ALICE])))
    write_road(tmp_path / "other", "synced")
    other = Datasite.create(tmp_path / "other", ALICE)
    for key in ("fl_client.json",):
        path = net[ALICE].public / "keys" / key
        write_json(other.public / "keys" / key, json.loads(path.read_text()))
    with pytest.raises(FedkitError, match=rf"seat 1 of PHYSICS \({ALICE}\) is taken: .*{mine}"):
        take_seat(other, invitation)

    # one who has not seen the first one yet: the aggregator has
    write_road(tmp_path / "third", "synced")
    third = Datasite.create(tmp_path / "third", ALICE)
    take_seat(third, invitation)
    for path in (third.public / "class" / "PHYSICS.json", third.public / "keys" / "fl_client.json"):
        there = net[AGGREGATOR].datasites / path.relative_to(third.datasites)
        there.write_bytes(path.read_bytes())
    (seat, *_) = look(net[AGGREGATOR], "PHYSICS")
    assert seat.problem
    assert f"seat 1 of PHYSICS ({ALICE}) is taken: its key has the fingerprint {mine}" in seat.what
    assert known_keys(net[AGGREGATOR])[ALICE] == signing_key(identity(net[ALICE]))


def test_nobody_sits_down_without_the_invitation(tmp_path: Path) -> None:
    """Bob writes into Alice's datasite, with a key of his own: he has his own secret, not hers."""
    net = Synced(tmp_path, PEOPLE)
    site = net[AGGREGATOR]
    first, second, _ = opened(site)
    forged = replace(first, secret=second.secret)
    write_road(tmp_path / "mallory", "synced")
    mallory = Datasite.create(tmp_path / "mallory", ALICE)
    take_seat(mallory, forged)
    for path in (
        mallory.public / "class" / "PHYSICS.json",
        mallory.public / "keys" / "fl_client.json",
    ):
        there = site.datasites / path.relative_to(mallory.datasites)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    (seat, *_) = look(site, "PHYSICS")
    assert seat.problem
    assert "somebody else has written that they sit there" in seat.what
    assert ALICE not in known_keys(site)


def test_a_learner_believes_the_invitations_teacher_alone(tmp_path: Path) -> None:
    net = Synced(tmp_path, PEOPLE)
    invitation = opened(net[AGGREGATOR])[0]
    take_seat(net[ALICE], invitation)
    assert known_keys(net[ALICE])[AGGREGATOR] == signing_key(identity(net[AGGREGATOR]))
    other = replace(invitation, key=signing_key(new_secret()).hex())
    with pytest.raises(FedkitError, match="brings another key of"):
        take_seat(net[ALICE], other)
    with pytest.raises(FedkitError, match=f"the seat is that of {ALICE}"):
        take_seat(net[BOB], invitation)
