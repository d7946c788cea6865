"""A short code: what a learner types, where the rest of the invitation lies in the folder that a room shares."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_json
from fedkit.base.keys import new_secret, signing_key
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.federation.invitations import invitation_of, publish_room
from fedkit.federation.seats import codes_of, open_room, take_seat
from fedkit.protocol.signing_keys import identity
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, PROJECT, complaint

PEOPLE = [ALICE, BOB, CAROL]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("opened")
    write_road(root, "synced")
    site = Datasite.create(root, AGGREGATOR)
    for room in ("PHYSICS", "MATHS"):
        open_room(site, room, PROJECT, PEOPLE)
    return root


@pytest.fixture
def site(opened: Path, tmp_path: Path) -> Datasite:
    """A teacher's datasite in a folder that everybody shares, with two rooms."""
    shutil.copytree(opened, tmp_path, dirs_exist_ok=True)
    return Datasite(tmp_path, AGGREGATOR)


def board(site: Datasite, room: str = "PHYSICS") -> Path:
    return site.public / "class" / "open" / f"{room}.json"


def refused(site: Datasite, code: str) -> str:
    return str(complaint(lambda: invitation_of(code, site.data_dir)))


def test_a_code_is_worth_its_file(site: Datasite) -> None:
    for room in ("PHYSICS", "MATHS"):
        codes = codes_of(site, room)
        for invitation, text in open_room(site, room, PROJECT, PEOPLE):  # the same ones again
            code = codes[invitation.email]
            sloppy = code.lower().replace("0", "o").replace("1", "l").replace("-", " ")
            for typed in (code, sloppy, code.replace("-", "")):
                assert invitation_of(typed, site.data_dir) == invitation_of(text) == invitation
    assert len({*codes_of(site, "PHYSICS").values(), *codes_of(site, "MATHS").values()}) == 6


def test_a_slip_of_the_hand_is_noticed(site: Datasite) -> None:
    code = codes_of(site, "PHYSICS")[BOB]
    signs = code.replace("-", "")
    for at in range(16):
        other = "A" if signs[at] != "A" else "B"
        assert "mistyped" in refused(site, signs[:at] + other + signs[at + 1 :])
    for at in range(14):
        swapped = signs[:at] + signs[at + 1] + signs[at] + signs[at + 2 :]
        if swapped != signs:
            assert "mistyped" in refused(site, swapped)
    with pytest.raises(FedkitError, match="is a code, and the rest lies in a folder"):
        invitation_of(code)
    with pytest.raises(FedkitError, match="no code either"):
        invitation_of(signs[:-1])


@pytest.mark.parametrize(
    "change", [{"project": "OTHER"}, {"emails": [CAROL, BOB, ALICE]}, {"aggregator": BOB}], ids=str
)
def test_an_altered_room_is_not_believed(site: Datasite, change: dict[str, Any]) -> None:
    values = json.loads(board(site).read_text())
    write_json(board(site), values | {"room": values["room"] | change})
    assert "opens no rooms" in refused(site, codes_of(site, "PHYSICS")[ALICE])


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 9999, b'{"room": [], "signature": "00"}', bytes(2**21)]
)
def test_whatever_lies_there_is_data(site: Datasite, content: bytes) -> None:
    board(site).write_bytes(content)
    (site.datasites / "x").write_bytes(content)
    assert "opens no rooms" in refused(site, codes_of(site, "PHYSICS")[ALICE])
    assert invitation_of(codes_of(site, "MATHS")[ALICE], site.data_dir).room == "MATHS"


def test_another_teacher_opens_no_seat_of_a_code(site: Datasite) -> None:
    """Mallory writes into the shared folder: a room with a key of her own, and the teacher's own room under her name."""
    code = codes_of(site, "PHYSICS")[ALICE]
    wanted = invitation_of(code, site.data_dir)
    there = site.datasites / CAROL / "public" / "class" / "open" / "PHYSICS.json"
    there.parent.mkdir(parents=True)
    shutil.copy2(board(site), there)
    assert invitation_of(code, site.data_dir) == wanted
    publish_room(site, new_secret(), "PHYSICS", "MINE", PEOPLE)
    assert "opens no rooms" in refused(site, code)


def test_two_rooms_for_one_code_are_none(
    site: Datasite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys that begin alike can be found: then nobody chooses for the learner."""
    code = codes_of(site, "PHYSICS")[ALICE]
    begin = invitation_of.__globals__["_begin"](signing_key(identity(site)), "PHYSICS")
    monkeypatch.setattr("fedkit.federation.invitations._begin", lambda key, room: begin)
    board(site, "MATHS").unlink()
    assert invitation_of(code, site.data_dir).room == "PHYSICS"
    publish_room(Datasite(tmp_path, BOB), new_secret(), "PHYSICS", "MINE", PEOPLE)
    assert "opens 2 rooms" in refused(site, code)


def test_other_roads_have_no_codes(tmp_path: Path) -> None:
    write_road(tmp_path, "syftbox")
    site = Datasite.create(tmp_path, AGGREGATOR)
    open_room(site, "PHYSICS", PROJECT, PEOPLE)
    assert codes_of(site, "PHYSICS") == {}
    assert not board(site).exists()


def test_a_seat_by_code_is_a_seat(site: Datasite, tmp_path: Path) -> None:
    invitation = invitation_of(codes_of(site, "PHYSICS")[ALICE], site.data_dir)
    write_road(tmp_path / "alice", "synced")
    take_seat(Datasite.create(tmp_path / "alice", ALICE), invitation)
