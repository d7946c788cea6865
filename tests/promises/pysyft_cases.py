"""Tests that need PySyft itself: `test_over_pysyft.py` has them run by an interpreter that has it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from syft.sync.connections.drive.gdrive_transport import GDriveConnection
from syft.sync.connections.drive.mock_drive_service import MockDriveFile, MockDriveService

from fedkit.base.errors import FedkitError
from fedkit.base.events import FileRefused, Notice, Problem, Waiting
from fedkit.base.files import sha256_bytes, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import write_permissions
from fedkit.federation.roads import pysyft_messages, pysyft_sync
from fedkit.protocol.approval import approve_all
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    CAROL,
    EVE,
    PROJECT,
    launched,
    put_launch,
    small,
)
from tests.support.pysyft_network import OverPySyft

MASKED = {"secure_aggregation": {"threshold": 2}, "participants": [ALICE, BOB, CAROL]}


# ------------------------------------------------------------------------------ a whole project
@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"strategy": {"name": "scaffold"}}, marks=pytest.mark.slow),
        pytest.param(MASKED, marks=pytest.mark.slow),
    ],
    ids=["plain", "two-sided", "masked"],
)
def test_the_same_models_as_at_home(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = small(**changes)
    net = OverPySyft(tmp_path / "pysyft", config.participants)
    put_launch(net[AGGREGATOR], config)
    events = net.run()
    home = launched(tmp_path / "home", **changes)
    assert home.run(approve=approve_all).done
    own = models(home[AGGREGATOR].aggregator().project(PROJECT, "done"))
    assert models(net[AGGREGATOR].aggregator().project(PROJECT, "done")) == own, events
    for email in config.participants:
        assert models(net[email].client().project(PROJECT, "done")) == own
        foreign = [p for p in net[email].datasites.rglob("*.pt") if email not in p.parts]
        assert foreign == []  # nobody holds what others sent
    refused = [e for said in net.said.values() for e in said if not isinstance(e, Waiting | Notice)]
    assert refused == []
    # the drive has nothing but ciphertext, and who met whom
    for file in net.store.files.values():
        assert b"FLModel" not in file.content
        assert b"agg_weights" not in file.content


def models(place: Any) -> list[str]:
    return [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]


# ------------------------------------------------------------------------------ stones of PySyft's own sync
@pytest.fixture
def star(tmp_path: Path) -> OverPySyft:
    """The aggregator opens shared/ for Alice and Bob, who has become Mallory; all have met."""
    net = OverPySyft(tmp_path, [ALICE, BOB])
    write_permissions(net[AGGREGATOR].root / "shared", AGGREGATOR, write=[ALICE, BOB])
    write_permissions(net[AGGREGATOR].root / "alices", AGGREGATOR, write=[ALICE])
    write_bytes(net[AGGREGATOR].root / "public" / "before.bin", bytes(range(256)))
    for _ in range(3):
        net.sync()
    net.said = {email: [] for email in net.sites}
    return net


def put(net: OverPySyft, who: str, path: str, data: bytes, owner: str = AGGREGATOR) -> None:
    write_bytes(net[who].datasites / owner / path, data)


def got(net: OverPySyft, who: str, path: str, owner: str = AGGREGATOR) -> bytes | None:
    file = net[who].datasites / owner / path
    return file.read_bytes() if file.is_file() else None


def refusals(net: OverPySyft, who: str) -> str:
    return " | ".join(
        f"{e.email} {e.path}: {e.reason}" for e in net.said[who] if isinstance(e, FileRefused)
    )


def others_go_on(net: OverPySyft) -> None:
    put(net, ALICE, "shared/from_alice", b"a")
    put(net, BOB, "shared/from_bob", b"b")
    net.sync(ALICE, BOB, AGGREGATOR, ALICE, BOB)
    assert got(net, AGGREGATOR, "shared/from_alice") == b"a"
    assert got(net, AGGREGATOR, "shared/from_bob") == b"b"
    assert got(net, BOB, "shared/from_alice") == b"a"


def test_a_new_peer_gets_what_lay_there_before(star: OverPySyft) -> None:
    assert got(star, ALICE, "public/before.bin") == bytes(range(256))
    assert got(star, ALICE, "alices/syft.pub.yaml") is not None
    assert got(star, BOB, "alices/syft.pub.yaml") is None
    others_go_on(star)


def test_a_restart_sends_what_was_edited_and_changes_nothing_here(star: OverPySyft) -> None:
    put(star, AGGREGATOR, "public/before.bin", b"edited while nothing ran")
    put(star, ALICE, "shared/update.pt", b"\x80\x02 no text")
    star.start(AGGREGATOR)
    star.start(ALICE)
    star.sync(AGGREGATOR, ALICE, AGGREGATOR)
    assert got(star, AGGREGATOR, "public/before.bin") == b"edited while nothing ran"
    assert got(star, ALICE, "public/before.bin") == b"edited while nothing ran"
    assert got(star, AGGREGATOR, "shared/update.pt") == b"\x80\x02 no text"
    (star[AGGREGATOR].data_dir / "private" / "pysyft" / "sync.json").unlink()
    star.start(AGGREGATOR)
    star.sync(AGGREGATOR, ALICE, AGGREGATOR)
    others_go_on(star)
    assert "syftrejected" not in str(list(star[AGGREGATOR].data_dir.rglob("*")))


def test_a_conflict_ends_with_the_owners_version_and_both_hear_of_it(star: OverPySyft) -> None:
    put(star, AGGREGATOR, "shared/x", b"one")
    star.sync(AGGREGATOR, ALICE)
    put(star, AGGREGATOR, "shared/x", b"the owner's")
    put(star, ALICE, "shared/x", b"Alice's")
    star.sync(ALICE, AGGREGATOR, ALICE)
    assert got(star, AGGREGATOR, "shared/x") == got(star, ALICE, "shared/x") == b"the owner's"
    assert "the owner's version wins" in refusals(star, AGGREGATOR)
    assert f"{AGGREGATOR} did not take it" in refusals(star, ALICE)
    others_go_on(star)


def test_what_was_closed_meanwhile_is_refused_and_its_author_hears_of_it(star: OverPySyft) -> None:
    put(star, ALICE, "alices/late", b"late")
    star.sync(ALICE)
    write_permissions(star[AGGREGATOR].root / "alices", AGGREGATOR)
    star.sync(AGGREGATOR, ALICE)
    assert got(star, AGGREGATOR, "alices/late") is None
    assert got(star, ALICE, "alices/late") is None
    assert f"{ALICE} may not create it" in refusals(star, AGGREGATOR)
    assert f"{AGGREGATOR} did not take it" in refusals(star, ALICE)
    assert got(star, ALICE, "alices/syft.pub.yaml") is None  # closed to her, it is gone
    others_go_on(star)


def test_what_may_not_be_written_is_set_aside_before_it_is_sent(star: OverPySyft) -> None:
    put(star, BOB, "public/mine.txt", b"no")
    before = len(star.store.files)
    star.sync(BOB)
    assert len(star.store.files) == before
    assert f"{BOB} may not create it" in refusals(star, BOB)
    others_go_on(star)


def test_an_invalid_permission_file_closes_its_folder_and_nothing_else(star: OverPySyft) -> None:
    write_bytes(star[AGGREGATOR].root / "alices" / "syft.pub.yaml", b"rules: [{pattern: '{{'")
    star.sync(AGGREGATOR)
    (problem,) = [e for e in star.said[AGGREGATOR] if isinstance(e, Problem)]
    assert "alices/syft.pub.yaml: can't be read as rules" in str(problem.error)
    star.sync(AGGREGATOR)
    assert len([e for e in star.said[AGGREGATOR] if isinstance(e, Problem)]) == 1  # said once
    others_go_on(star)


def test_a_stranger_asks_in_vain(star: OverPySyft, tmp_path: Path) -> None:
    mallory = Datasite.create(tmp_path / EVE, EVE)
    from fedkit.federation.roads.pysyft import keep_people

    keep_people(mallory, [AGGREGATOR])
    theirs = pysyft_sync.PySyftSync(mallory, store=star.store)
    for _ in range(2):
        theirs.meeting.due = 0.0
        theirs()
        star.sync(AGGREGATOR)
    (notice,) = [e for e in star.said[AGGREGATOR] if isinstance(e, Notice)]
    assert notice.text == f"{EVE} asks to become a peer; if it may: --peer {EVE}"
    assert not (mallory.datasites / AGGREGATOR).exists()


def test_no_memory_but_ones_own_and_one_at_a_time(star: OverPySyft) -> None:
    private = star[ALICE].data_dir / "private" / "pysyft"
    keys = private / "crypto_keys.json"
    assert keys.stat().st_mode & 0o077 == 0
    assert not list(star[ALICE].datasites.rglob("*.json.lock"))
    names = {path.name for path in star[ALICE].datasites.iterdir()}
    assert names == {ALICE, AGGREGATOR}  # PySyft's version and caches lie elsewhere


# ------------------------------------------------------------------------------ Bob is Mallory now
def pack(values: Any, name: str = "proposed_file_changes.json") -> bytes:
    text, out = json.dumps(values).encode(), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


def proposal(path: str, data: bytes | None = b"evil", **changes: Any) -> dict[str, Any]:
    values = {
        "id": str(uuid4()),
        "path_in_datasite": path,
        "datasite_email": AGGREGATOR,
        "content": None if data is None else data.decode(),
        "content_type": "text",
        "old_hash": None,
        "new_hash": "0" * 64,
        "submitted_timestamp": time.time(),
        "is_deleted": False,
    }
    return values | changes


def mallory_proposes(
    net: OverPySyft, *changes: Any, sender: str = BOB, raw: bytes | None = None
) -> None:
    """As an approved peer, with its own key: anything, as a message to the aggregator."""
    sync = net.syncs[BOB]
    values = {"id": str(uuid4()), "sender_email": sender, "proposed_file_changes": list(changes)}
    data = sync._keys.encrypt(AGGREGATOR, raw if raw is not None else pack(values))
    name = f"msgv2_{sync._memory.now()}_{uuid4()}.tar.gz"
    sync._drive.watcher_send_raw_bytes_to_inbox(AGGREGATOR, name, data)


def mallory_tells(net: OverPySyft, *changes: Any) -> None:
    """The same, as news of its own datasite."""
    sync = net.syncs[BOB]
    events = [change | {"timestamp": time.time()} for change in changes]
    data = sync._keys.encrypt(AGGREGATOR, pack({"events": events}))
    name = f"syfteventsmessagev3_{sync._memory.now()}_{uuid4()}.tar.gz"
    sync._drive.owner_write_raw_bytes_to_outbox(AGGREGATOR, name, data)


def is_evil(net: OverPySyft) -> list[str]:
    everywhere = [p for site in net.sites.values() for p in site.data_dir.rglob("*")]
    return [str(p) for p in everywhere if p.is_file() and p.read_bytes() == b"evil"]


def test_a_forged_sender_is_refused_by_name(star: OverPySyft) -> None:
    mallory_proposes(star, proposal("alices/forged"), sender=ALICE)
    mallory_proposes(star, proposal("public/forged"), sender=AGGREGATOR)
    star.sync(AGGREGATOR)
    for who in (ALICE, AGGREGATOR):
        assert f"says that '{who}' sent it, and it lies in the folder of {BOB}" in refusals(
            star, AGGREGATOR
        )
    assert is_evil(star) == []
    others_go_on(star)


def test_a_forged_datasite_is_refused_by_name(star: OverPySyft) -> None:
    for whose in (ALICE, AGGREGATOR, "..", "", 7, "/etc"):
        gone = {"is_deleted": True, "content": None}
        mallory_tells(star, proposal("public/evil", datasite_email=whose))
        mallory_tells(star, proposal("public/before.bin", datasite_email=whose, **gone))
        if whose != AGGREGATOR:
            mallory_proposes(star, proposal("shared/evil", datasite_email=whose))
        star.sync(AGGREGATOR)
        said = refusals(star, AGGREGATOR)
        wanted = f"is said to lie in the datasite of {str(whose)!r}, not of {BOB}"
        assert f"{BOB} {BOB}/public/evil: {wanted}" in said
        assert f"{BOB} {BOB}/public/before.bin: {wanted}" in said
    assert is_evil(star) == []
    assert got(star, AGGREGATOR, "public/before.bin") is not None
    others_go_on(star)


PATHS = [
    "../evil",
    "../../private/evil",
    "/tmp/evil",
    "a/../../evil",
    "a//b",
    "./evil",
    "",
    "private/evil",
    "Private/evil",
    ".evil",
    "a/.ssh/evil",
    "x.tmp",
    "con",
    "a\\..\\evil",
    "a\x00b",
    "x" * 300,
    "d/" * 600 + "x",
]


def test_paths_stay_in_their_datasite(star: OverPySyft) -> None:
    for number, path in enumerate(PATHS):
        sound = f"shared/sound{number}"
        for send, whose in ((mallory_tells, BOB), (mallory_proposes, AGGREGATOR)):
            there = {"datasite_email": whose}
            send(star, proposal(path, **there), proposal(sound, b"s", **there))
        star.said[AGGREGATOR].clear()
        star.sync(AGGREGATOR)
        assert refusals(star, AGGREGATOR).count(f"{BOB} ") == 2, path
        assert got(star, AGGREGATOR, sound) == b"s"  # what else is in the message is taken
        assert got(star, AGGREGATOR, sound, BOB) == b"s"
    assert is_evil(star) == []
    others_go_on(star)


def test_what_is_already_there_is_not_written_over(star: OverPySyft) -> None:
    put(star, AGGREGATOR, "shared/x", b"theirs")
    put(star, AGGREGATOR, "shared/y", b"y")
    star.sync(AGGREGATOR, BOB)
    known = sha256_bytes(b"y")
    mallory_proposes(
        star,
        proposal("shared/x"),
        proposal("shared/y", old_hash=known, is_deleted=True, content=None),
    )
    mallory_proposes(star, proposal("shared/y", None, old_hash=known))
    mallory_proposes(star, proposal("shared/syft.pub.yaml", old_hash=None))
    mallory_proposes(star, proposal("SHARED/x"), proposal("shared/X"))
    star.sync(AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/x") == b"theirs"
    assert got(star, AGGREGATOR, "shared/y") == b"y"
    said = refusals(star, AGGREGATOR)
    assert "is to be deleted, and only its owner may do that" in said
    assert "has no content" in said
    assert f"syft.pub.yaml: {BOB} may not write it" in said
    assert "is, on many machines, one file with 'shared/x'" in said
    assert is_evil(star) == []
    others_go_on(star)


def test_proposals_may_be_repeated_and_may_be_many(
    star: OverPySyft, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = proposal("shared/again", b"same")
    for _ in range(3):
        mallory_proposes(star, again)
    star.sync(AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/again") == b"same"
    assert refusals(star, AGGREGATOR) == ""
    monkeypatch.setattr(pysyft_sync, "_MOST_MESSAGES", 3)
    for number in range(8):
        mallory_proposes(star, proposal(f"shared/{number}", b"n"))
    put(star, ALICE, "shared/in_time", b"a")
    star.sync(ALICE, AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/in_time") == b"a"
    assert got(star, AGGREGATOR, "shared/2") == b"n"
    assert got(star, AGGREGATOR, "shared/3") is None
    star.sync(AGGREGATOR, AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/7") == b"n"
    monkeypatch.setattr(
        pysyft_sync, "_MOST_FILES", len(star.syncs[AGGREGATOR]._memory.peer(BOB).known)
    )
    mallory_tells(star, proposal("public/one_more", datasite_email=BOB))
    star.sync(AGGREGATOR)
    assert "files of one datasite" in refusals(star, AGGREGATOR)


def test_what_is_huge_is_not_unpacked(star: OverPySyft, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pysyft_messages, "_MAX_TEXT", 2**20)
    monkeypatch.setattr(pysyft_sync, "MAX_PACKED", 2**20)
    mallory_proposes(star, raw=gzip.compress(bytes(2**24)))
    mallory_proposes(star, raw=pack(["x" * 2**22]))
    star.syncs[BOB]._drive.watcher_send_raw_bytes_to_inbox(
        AGGREGATOR, f"msgv2_{time.time()}_{uuid4()}.tar.gz", bytes(2**21)
    )
    monkeypatch.setattr(pysyft_messages, "MAX_FILE", 100)
    mallory_tells(star, proposal("public/large", b"x" * 200, datasite_email=BOB))
    star.sync(AGGREGATOR)
    said = refusals(star, AGGREGATOR)
    assert said.count("unpacks to more than 1,048,576 bytes") == 2
    assert "has 2097152 bytes; at most 1,048,576 are read" in said
    assert "has 200 bytes, more than the 100 that travel" in said
    others_go_on(star)


RAW = [
    b"",
    b"no archive",
    pack({}),
    pack([]),
    pack({"proposed_file_changes": "x", "sender_email": BOB}),
    pack({"proposed_file_changes": [None, 3, {}], "sender_email": BOB}),
    pack({"proposed_file_changes": [{"path_in_datasite": {"a": 1}, "datasite_email": AGGREGATOR}]}),
    pack({}, name="../../evil"),
    gzip.compress(b"[" * 100_000),
    pack([[]] * 600_000),
    gzip.compress(b"x" * 100)[:-4],
]


def test_what_is_no_message_is_dropped(star: OverPySyft) -> None:
    for raw in RAW:
        mallory_proposes(star, raw=raw)
        star.said[AGGREGATOR].clear()
        star.sync(AGGREGATOR)
        assert refusals(star, AGGREGATOR).startswith(f"{BOB} "), raw[:50]
        star.said[AGGREGATOR].clear()
        star.sync(AGGREGATOR)
        assert refusals(star, AGGREGATOR) == ""  # it is out of the way
    others_go_on(star)


def test_names_of_messages_are_not_believed(star: OverPySyft) -> None:
    sync = star.syncs[BOB]
    for name in (
        "msgv2_nan_x.tar.gz",
        "msgv2_inf_y.tar.gz",
        "evil",
        "msgv2_1e3_z.tar.gz",
        "a" * 400,
    ):
        data = sync._keys.encrypt(AGGREGATOR, pack({}))
        sync._drive.watcher_send_raw_bytes_to_inbox(AGGREGATOR, name, data)
    star.sync(AGGREGATOR)
    assert len([e for e in star.said[AGGREGATOR] if isinstance(e, FileRefused)]) == 5
    others_go_on(star)


def test_bytes_that_were_replaced_on_the_drive_are_refused(star: OverPySyft) -> None:
    put(star, ALICE, "shared/update", b"genuine")
    before = set(star.store.files)
    star.sync(ALICE)
    (number,) = set(star.store.files) - before
    sent = star.store.files[number]
    genuine = sent.content
    sent.content = genuine[:-1] + bytes([genuine[-1] ^ 1])
    star.sync(AGGREGATOR)
    assert f"is not encrypted and signed by {ALICE}" in refusals(star, AGGREGATOR)
    # whoever can write everywhere on the drive puts its own message into Alice's folder, in clear and sealed
    for data in (
        pack({"sender_email": ALICE, "proposed_file_changes": [proposal("alices/evil")]}),
        star.syncs[BOB]._keys.encrypt(
            AGGREGATOR,
            pack({"sender_email": ALICE, "proposed_file_changes": [proposal("alices/evil")]}),
        ),
    ):
        name = f"msgv2_{time.time()}_{uuid4()}.tar.gz"
        folder = star.syncs[AGGREGATOR]._drive._get_own_datasite_inbox_id(ALICE)
        owners = [{"emailAddress": ALICE}]
        star.store.add_file(MockDriveFile(name=name, parents=[folder], owners=owners, content=data))
    star.said[AGGREGATOR].clear()
    star.sync(AGGREGATOR)
    assert refusals(star, AGGREGATOR).count(f"is not encrypted and signed by {ALICE}") == 2
    assert is_evil(star) == []
    others_go_on(star)


def test_another_key_on_the_drive_is_refused_by_name(star: OverPySyft) -> None:
    forged = star.syncs[BOB]._keys.get_public_bundle()
    star.syncs[AGGREGATOR]._drive._update_peer_state(ALICE, "accepted", forged)
    others_go_on(star)  # what is noted on the drive is not asked
    shown = next(f for f in star.store.files.values() if f"{ALICE}_for_{AGGREGATOR}" in f.name)
    genuine, shown.content = (
        shown.content,
        json.dumps({"public_encryption_bundle": forged}).encode(),
    )
    star.sync(AGGREGATOR)
    (problem,) = [e for e in star.said[AGGREGATOR] if isinstance(e, Problem)]
    assert f"the drive has another key of {ALICE} than before" in str(problem.error)
    put(star, BOB, "shared/meanwhile", b"b")
    put(star, ALICE, "shared/later", b"a")
    star.sync(BOB, ALICE, AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/meanwhile") == b"b"
    assert got(star, AGGREGATOR, "shared/later") is None
    shown.content = genuine
    star.sync(AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/later") == b"a"


def test_a_second_folder_of_a_peers_is_that_peers_problem(star: OverPySyft) -> None:
    drive = star.syncs[BOB]._drive
    folder = drive._create_peer_datasite_folder(AGGREGATOR, "inbox")
    drive.add_permission(folder, AGGREGATOR, write=True)
    star.start(AGGREGATOR)  # nothing is known of folders
    star.sync(AGGREGATOR)
    (problem,) = [e for e in star.said[AGGREGATOR] if isinstance(e, Problem)]
    assert f"can't be synced with {BOB} now" in str(problem.error)
    put(star, ALICE, "shared/from_alice", b"a")
    star.sync(ALICE, AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/from_alice") == b"a"


def test_a_link_leads_nowhere(star: OverPySyft, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (star[AGGREGATOR].root / "shared" / "link").symlink_to(outside)
    mallory_proposes(star, proposal("shared/link/evil"), proposal("shared/sound", b"s"))
    star.sync(AGGREGATOR)
    assert "is a link" in refusals(star, AGGREGATOR)
    assert list(outside.iterdir()) == []
    assert got(star, AGGREGATOR, "shared/sound") == b"s"


# ------------------------------------------------------------------------------ PySyft's own client at the other end
def test_a_peer_that_runs_pysyft_itself_is_understood(star: OverPySyft, tmp_path: Path) -> None:
    from fedkit.federation.roads.pysyft import keep_people

    theirs = their_manager(tmp_path / "theirs", CAROL, star)
    keep_people(star[AGGREGATOR], [CAROL])
    write_permissions(star[AGGREGATOR].root / "shared", AGGREGATOR, write=[ALICE, BOB, CAROL])
    theirs.add_peer(AGGREGATOR, sync=False, verbose=False)
    star.sync(AGGREGATOR)
    theirs.load_peers()
    star.sync(AGGREGATOR)
    theirs.sync()
    assert (theirs.syftbox_folder / AGGREGATOR / "public/before.bin").read_bytes() == bytes(
        range(256)
    )
    theirs.datasite_watcher_syncer.on_file_change(f"{AGGREGATOR}/shared/hers", content=b"\xff\x00")
    star.sync(AGGREGATOR)
    assert got(star, AGGREGATOR, "shared/hers") == b"\xff\x00"
    own = theirs.syftbox_folder / CAROL
    write_bytes(
        own / "public" / "syft.pub.yaml",
        b"rules: [{pattern: '**', access: {read: ['*'], write: ['*']}}]",
    )
    write_bytes(own / "public" / "hello", b"hello")
    theirs.sync()
    star.sync(AGGREGATOR)
    assert got(star, AGGREGATOR, "public/hello", CAROL) == b"hello"
    put(star, AGGREGATOR, "public/ours", b"\x80ours", CAROL)
    star.sync(AGGREGATOR)
    theirs.sync()
    assert (own / "public" / "ours").read_bytes() == b"\x80ours"
    assert refusals(star, AGGREGATOR) == ""
    others_go_on(star)


def their_manager(root: Path, email: str, net: OverPySyft) -> Any:
    from syft.sync.syftbox_manager import SyftboxManager, SyftboxManagerConfig
    from syft.sync.sync.caches.datasite_owner_cache import DataSiteOwnerEventCacheConfig
    from syft.sync.sync.caches.datasite_watcher_cache import DataSiteWatcherCacheConfig
    from syft.sync.sync.datasite_owner_syncer import DatasiteOwnerSyncerConfig
    from syft.sync.sync.datasite_watcher_syncer import DatasiteWatcherSyncerConfig
    from syft.sync.version.peer_manager import PeerManagerConfig

    where: dict[str, Any] = {"email": email, "syftbox_folder": root}
    manager = SyftboxManager.from_config(
        SyftboxManagerConfig(
            **where,
            has_ds_role=True,
            has_do_role=True,
            use_in_memory_cache=False,
            datasite_owner_syncer_config=DatasiteOwnerSyncerConfig(
                **where,
                cache_config=DataSiteOwnerEventCacheConfig(**where, use_in_memory_cache=False),
            ),
            datasite_watcher_syncer_config=DatasiteWatcherSyncerConfig(
                **where,
                datasite_watcher_cache_config=DataSiteWatcherCacheConfig(
                    **where, use_in_memory_cache=False
                ),
            ),
            peer_manager_config=PeerManagerConfig(
                **where,
                has_do_role=True,
                has_ds_role=True,
                use_encryption=True,
                crypto_keys_path=root / "keys.json",
            ),
        )
    )
    service = MockDriveService(net.store, email)
    manager._add_connection(GDriveConnection.from_service(email, service))
    manager.peer_manager.write_own_version()
    return manager


# ------------------------------------------------------------------------------ whose drive it is
def test_the_drive_must_be_this_persons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from syft.sync.connections.drive.mock_drive_service import MockDriveBackingStore

    from fedkit.federation.roads.pysyft_drive import open_drive

    site = Datasite.create(tmp_path, ALICE)
    monkeypatch.setattr(GDriveConnection, "get_authenticated_email", lambda self: BOB)
    with pytest.raises(
        FedkitError, match=f"the token is {BOB}'s, and this is the datasite of {ALICE}"
    ):
        open_drive(site, store=MockDriveBackingStore())
    token = tmp_path / "token.json"
    token.write_text(
        '{"client_id": "a", "client_secret": "b", "refresh_token": "c", "token_uri": 3}'
    )
    with pytest.raises(FedkitError, match="the drive can't be reached"):
        open_drive(site, token=token)


def test_a_folder_plays_the_drive(tmp_path: Path) -> None:
    from fedkit.federation.roads.pysyft_drive import FolderDrive

    one, other = FolderDrive(tmp_path), FolderDrive(tmp_path)
    service = MockDriveService(one, ALICE)
    made = service.files().create(body={"name": "x"}, media_body=None).execute()
    assert other.files[made["id"]].name == "x"
    other.write_content(made["id"], b"bytes")
    assert one.files[made["id"]].content == b"bytes"
    assert one.files[made["id"]].to_metadata("id, size") == {"id": made["id"], "size": "5"}
    MockDriveService(other, ALICE).files().update(made["id"], addParents="p").execute()
    assert one.files[made["id"]].parents == ["p"]
    for name, text in (("half", ""), ("bad", "[]"), ("evil", '{"name": 3, "shared": 7}')):
        write_bytes(tmp_path / name / "meta.json", text.encode())
    (tmp_path / "link").symlink_to(tmp_path / made["id"])
    assert one.get_file("..") is None
    assert one.get_file("../x") is None
    assert made["id"] in one.files
    service.files().delete(made["id"]).execute()
    assert made["id"] not in other.files
