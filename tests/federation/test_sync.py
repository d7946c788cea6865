"""The sync: permissions enforced, the owner wins, nothing lost by a crash, and no file without its ledger line."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedkit.base import files
from fedkit.base.errors import Busy, FedkitError
from fedkit.base.events import Event, FileRefused, Problem
from fedkit.base.locks import exclusive
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.tree import travels
from fedkit.federation import sync as sync_module
from fedkit.federation.sync import Sync
from fedkit.federation.sync_rules import BRING, LOOK, OFFER, Rule, decide
from tests.support import helpers
from tests.support.helpers import ALICE, BOB, EVE, posix, snapshot
from tests.support.kills import OPEN, Killed

EMAILS = (ALICE, BOB, EVE)


class Net:
    """Three data dirs; the fields and methods are what the tests speak in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sites = {email: Datasite.create(root / email, email) for email in EMAILS}
        self.reopen()

    def reopen(self) -> None:
        self.sync = Sync(list(self.sites.values()), self.root / "ledger.jsonl")

    def path(self, holder: str, owner: str, path: str) -> Path:
        """Where `path` of the owner's datasite lies in the holder's data dir."""
        return self.sites[holder].datasites / owner / path

    def put(self, holder: str, owner: str, path: str, content: str = "x") -> Path:
        return write(self.path(holder, owner, path), content)

    def get(self, holder: str, owner: str, path: str) -> str | None:
        place = self.path(holder, owner, path)
        return place.read_text(encoding="utf-8") if place.is_file() else None

    def allow(self, owner: str, folder: str, **rights: list[str]) -> None:
        write_permissions(self.path(owner, owner, folder), owner, **rights)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture
def net(tmp_path: Path) -> Net:
    net = Net(tmp_path)
    net.allow(ALICE, "shared", read=["*"], write=[BOB])
    assert net.sync() == []
    return net


def refused(events: list[Event]) -> list[tuple[str, str]]:
    assert all(isinstance(event, FileRefused) for event in events), events
    return [(event.email, event.path) for event in events if isinstance(event, FileRefused)]


def crossed(net: Net) -> list[tuple[str, str, str]]:
    return [(e.sender, e.receiver, e.path) for e in net.sync.entries()]


# ----------------------------------------------------------------------------------- what travels
def test_a_file_reaches_everybody_who_may_read_it(net: Net) -> None:
    before = len(crossed(net))
    net.put(ALICE, ALICE, "shared/deep/x.txt", "hello")
    net.put(ALICE, ALICE, "closed/x.txt", "mine")
    assert net.sync() == []
    for email in (BOB, EVE):
        assert net.get(email, ALICE, "shared/deep/x.txt") == "hello"
        assert net.get(email, ALICE, "closed/x.txt") is None
    path = f"{ALICE}/shared/deep/x.txt"
    assert crossed(net)[before:] == [(ALICE, BOB, path), (ALICE, EVE, path)]


def test_the_ledger_says_who_what_how_much_and_when(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x.txt", "hello")
    net.sync()
    entry = net.sync.entries()[-1]
    assert (entry.sender, entry.receiver, entry.path) == (ALICE, EVE, f"{ALICE}/shared/x.txt")
    assert entry.size == 5
    assert entry.sha256 == files.sha256_bytes(b"hello")
    assert entry.time == pytest.approx(net.path(EVE, ALICE, "shared/x.txt").stat().st_mtime, abs=2)


def test_a_second_pass_carries_nothing_and_writes_nothing(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "1")
    net.put(BOB, ALICE, "shared/y", "2")
    net.sync()
    before = stamps(net.root)
    assert net.sync() == []
    net.reopen()
    assert net.sync() == []
    assert stamps(net.root) == before


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(root)): (p.stat().st_ino, p.stat().st_mtime_ns)
        for p in root.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize(
    "name", [".hidden", ".folder/x", "x.tmp", "deep/x.tmp", "x.syftrejected.txt", "__x.tmp/y"]
)
def test_what_no_real_network_carries_stays(net: Net, name: str) -> None:
    net.put(ALICE, ALICE, f"shared/{name}")
    assert net.sync() == []
    assert net.get(BOB, ALICE, f"shared/{name}") is None
    assert net.get(ALICE, ALICE, f"shared/{name}") == "x"


@posix
def test_links_pipes_and_empty_folders_stay(net: Net, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.txt", "secret")
    shared = net.path(ALICE, ALICE, "shared")
    (shared / "file.txt").symlink_to(secret)
    (shared / "folder").symlink_to(tmp_path)
    (shared / "self").symlink_to("self")
    (shared / "empty" / "deeper").mkdir(parents=True)
    os.mkfifo(shared / "pipe")
    (net.path(BOB, ALICE, "shared") / "mine.txt").symlink_to(secret)
    before = crossed(net)
    assert net.sync() == []
    assert crossed(net) == before
    assert sorted(p.name for p in net.path(BOB, ALICE, "shared").iterdir()) == [
        "mine.txt",
        "syft.pub.yaml",
        "syftperm.yaml",
    ]
    assert (shared / "empty" / "deeper").is_dir()  # the owner's folders are the owner's


def test_a_file_that_is_rewritten_within_the_clocks_tick_is_seen(net: Net) -> None:
    """Same size, same time, another file: a writer of whole files always makes a new one."""
    first = net.put(ALICE, ALICE, "shared/x", "old")
    net.sync()
    before = first.stat()
    files.write_bytes(first, b"new")
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    net.sync()
    assert net.get(BOB, ALICE, "shared/x") == "new"


def test_names_in_any_letters_travel(net: Net) -> None:
    names = ["caf\u00e9 \u4e2d\U0001f600.txt", "a'b c", "x;&$y", "-rf", "%41"]
    for name in names:
        net.put(ALICE, ALICE, f"shared/{name}", name.encode(errors="replace").decode())
    assert net.sync() == []
    net.reopen()
    for name in names:
        assert net.get(BOB, ALICE, f"shared/{name}") is not None
        (net.path(ALICE, ALICE, "shared") / name).unlink()
    assert net.sync() == []
    assert [net.get(BOB, ALICE, f"shared/{name}") for name in names] == [None] * len(names)
    assert {f"{ALICE}/shared/{name}" for name in names} <= {path for *_, path in crossed(net)}


# ------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize("folder", ["shared", "public", "closed", "app_data/fl_client/running/P"])
def test_a_strangers_write_is_refused_and_set_aside(net: Net, folder: str) -> None:
    net.put(EVE, ALICE, f"{folder}/x.tar.gz", "mischief")
    before = crossed(net)
    assert refused(net.sync()) == [(EVE, f"{ALICE}/{folder}/x.tar.gz")]
    assert net.get(EVE, ALICE, f"{folder}/x.tar.gz") is None
    assert net.get(EVE, ALICE, f"{folder}/x.tar.syftrejected.gz") == "mischief"
    assert net.get(ALICE, ALICE, f"{folder}/x.tar.gz") is None
    assert crossed(net) == before
    assert net.sync() == []  # said once


def test_a_strangers_change_is_refused_and_the_owners_file_comes_back(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "alice's")
    net.put(ALICE, ALICE, "shared/y", "alice's")
    net.sync()
    net.put(EVE, ALICE, "shared/x", "eve's")
    net.path(EVE, ALICE, "shared/y").unlink()
    assert refused(net.sync()) == [(EVE, f"{ALICE}/shared/x"), (EVE, f"{ALICE}/shared/y")]
    for email in EMAILS:
        assert net.get(email, ALICE, "shared/x") == "alice's"
        assert net.get(email, ALICE, "shared/y") == "alice's"
    assert net.get(EVE, ALICE, "shared/x.syftrejected") == "eve's"


@pytest.mark.parametrize("name", ["syft.pub.yaml", "syftperm.yaml"])
def test_nobody_opens_a_folder_for_himself(net: Net, name: str) -> None:
    """Bob may write into shared/, but not who else may."""
    for folder in ("shared", "shared/deep", "closed"):
        net.put(BOB, ALICE, f"{folder}/{name}", json.dumps({"rules": []}))
    assert len(refused(net.sync())) == 3
    net.put(BOB, ALICE, "closed/x", "x")
    assert refused(net.sync()) == [(BOB, f"{ALICE}/closed/x")]


@pytest.mark.parametrize("kept", ["syft.pub.yaml", "syftperm.yaml"])
def test_either_permission_file_alone_reaches_those_whom_it_lets_in(net: Net, kept: str) -> None:
    """That it arrives is the ready signal; PySyft's engine keeps `syft.pub.yaml` from readers, the Go server does not."""
    net.allow(ALICE, "inbox", write=[BOB])
    for name in {"syft.pub.yaml", "syftperm.yaml"} - {kept}:
        net.path(ALICE, ALICE, f"inbox/{name}").unlink()
    assert net.sync() == []
    assert net.get(BOB, ALICE, f"inbox/{kept}") == net.get(ALICE, ALICE, f"inbox/{kept}")
    assert net.get(EVE, ALICE, f"inbox/{kept}") is None
    net.allow(ALICE, "inbox", write=[EVE])  # closed to Bob: his copy goes
    assert net.sync() == []
    assert net.get(BOB, ALICE, f"inbox/{kept}") is None
    assert net.get(EVE, ALICE, f"inbox/{kept}") is not None


@pytest.mark.parametrize(
    "name", ["SYFT.PUB.YAML", "x.syft.pub.yaml", "syftperm.yaml/x", "_.Syftperm"]
)
def test_nobody_brings_what_some_system_takes_for_a_permission_file(net: Net, name: str) -> None:
    net.put(BOB, ALICE, f"shared/deep/{name}", "rules: []")
    assert len(refused(net.sync())) == 1
    assert net.get(ALICE, ALICE, f"shared/deep/{name}") is None


def test_who_may_write_writes_changes_and_deletes(net: Net) -> None:
    net.put(BOB, ALICE, "shared/x", "bob's")
    assert net.sync() == []
    assert net.get(ALICE, ALICE, "shared/x") == net.get(EVE, ALICE, "shared/x") == "bob's"
    net.put(BOB, ALICE, "shared/x", "bob's second")
    assert net.sync() == []
    assert net.get(ALICE, ALICE, "shared/x") == net.get(EVE, ALICE, "shared/x") == "bob's second"
    net.path(BOB, ALICE, "shared/x").unlink()
    assert net.sync() == []
    assert net.get(ALICE, ALICE, "shared/x") is net.get(EVE, ALICE, "shared/x") is None


def test_a_drop_box_is_not_readable(net: Net) -> None:
    """A right to write includes reading, but what Bob drops for Alice alone does not reach Eve."""
    net.allow(ALICE, "inbox/bob", write=[BOB])
    net.sync()
    net.put(BOB, ALICE, "inbox/bob/update.pt", "weights")
    assert net.sync() == []
    assert net.get(ALICE, ALICE, "inbox/bob/update.pt") == "weights"
    assert net.get(EVE, ALICE, "inbox/bob/update.pt") is None


# ------------------------------------------------------------------------------------- conflicts
def test_the_owner_wins_a_conflict(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "first")
    net.sync()
    net.put(ALICE, ALICE, "shared/x", "alice's")
    net.put(BOB, ALICE, "shared/x", "bob's")
    net.put(ALICE, ALICE, "shared/new", "alice's")
    net.put(BOB, ALICE, "shared/new", "bob's")
    assert refused(net.sync()) == [(BOB, f"{ALICE}/shared/new"), (BOB, f"{ALICE}/shared/x")]
    for email in EMAILS:
        assert net.get(email, ALICE, "shared/x") == "alice's"
        assert net.get(email, ALICE, "shared/new") == "alice's"
    assert net.get(BOB, ALICE, "shared/x.syftrejected") == "bob's"


def test_what_the_owner_deleted_stays_deleted(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "first")
    net.sync()
    net.path(ALICE, ALICE, "shared/x").unlink()
    net.put(BOB, ALICE, "shared/x", "bob's")
    assert refused(net.sync()) == [(BOB, f"{ALICE}/shared/x")]
    assert [net.get(email, ALICE, "shared/x") for email in EMAILS] == [None] * 3
    assert net.get(BOB, ALICE, "shared/x.syftrejected") == "bob's"


def test_a_deletion_loses_against_the_owners_change(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "first")
    net.sync()
    net.path(BOB, ALICE, "shared/x").unlink()
    net.put(ALICE, ALICE, "shared/x", "second")
    assert refused(net.sync()) == [(BOB, f"{ALICE}/shared/x")]
    assert [net.get(email, ALICE, "shared/x") for email in EMAILS] == ["second"] * 3


def test_whoever_may_not_read_learns_nothing_by_guessing(net: Net) -> None:
    net.put(ALICE, ALICE, "closed/answer", "42")
    net.put(EVE, ALICE, "closed/answer", "42")
    assert refused(net.sync()) == [(EVE, f"{ALICE}/closed/answer")]


def test_equal_changes_are_no_conflict(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "same")
    net.put(BOB, ALICE, "shared/x", "same")
    before = len(crossed(net))
    assert net.sync() == []
    assert len(crossed(net)) == before + 1  # to Eve alone


# ---------------------------------------------------------------- permissions that change, and shapes
def test_a_right_that_is_taken_away_takes_the_copy_along(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "1")
    net.sync()
    net.allow(ALICE, "shared", read=[BOB])
    assert net.sync() == []
    assert net.get(BOB, ALICE, "shared/x") == net.get(ALICE, ALICE, "shared/x") == "1"
    assert not net.path(EVE, ALICE, "shared").exists()
    net.put(BOB, ALICE, "shared/y", "2")
    assert refused(net.sync()) == [(BOB, f"{ALICE}/shared/y")]


def test_a_right_that_is_given_brings_what_is_there(net: Net) -> None:
    net.put(ALICE, ALICE, "closed/x", "1")
    net.sync()
    net.allow(ALICE, "closed", read=[EVE])
    assert net.sync() == []
    assert net.get(EVE, ALICE, "closed/x") == "1"
    assert net.get(BOB, ALICE, "closed/x") is None


def test_a_folder_becomes_a_file_and_back(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x/deep", "1")
    net.sync()
    net.path(ALICE, ALICE, "shared/x/deep").unlink()
    net.path(ALICE, ALICE, "shared/x").rmdir()
    net.put(ALICE, ALICE, "shared/x", "2")
    assert net.sync() == []
    assert net.get(EVE, ALICE, "shared/x") == "2"
    net.path(ALICE, ALICE, "shared/x").unlink()
    net.put(ALICE, ALICE, "shared/x/deep", "3")
    assert net.sync() == []
    assert net.get(EVE, ALICE, "shared/x/deep") == "3"


def test_a_project_that_moves_moves_everywhere(net: Net) -> None:
    for number in range(3):
        net.put(ALICE, ALICE, f"shared/running/P/{number}", str(number))
    net.sync()
    net.path(ALICE, ALICE, "shared/done").mkdir()
    net.path(ALICE, ALICE, "shared/running/P").rename(net.path(ALICE, ALICE, "shared/done/P"))
    assert net.sync() == []
    assert net.get(EVE, ALICE, "shared/done/P/2") == "2"
    assert not net.path(EVE, ALICE, "shared/running").exists()


# ----------------------------------------------------------------------------- strange things on disk
@posix
@pytest.mark.parametrize("linked", ["own", "copy", "tree"])
def test_a_datasite_that_is_a_link_is_said_and_left_alone(net: Net, linked: str) -> None:
    """Whatever lies behind it must not travel, and what was there must not count as deleted."""
    elsewhere = net.root / "elsewhere"
    net.put(ALICE, ALICE, "shared/x", "1")
    net.put(EVE, EVE, "public/y", "1")
    net.sync()
    place = {
        "own": net.path(ALICE, ALICE, ""),
        "copy": net.path(BOB, ALICE, ""),
        "tree": net.sites[ALICE].datasites,
    }[linked]
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    write(elsewhere / "public" / "secret", "secret")
    (elsewhere / "empty").mkdir()
    net.put(EVE, EVE, "public/y", "2")
    before = snapshot(elsewhere)
    events = net.sync()
    assert {type(event) for event in events} == {Problem}
    assert all("link" in str(event.error) for event in events if isinstance(event, Problem))
    assert snapshot(elsewhere) == before
    assert net.get(EVE, ALICE, "public/secret") is None
    assert net.get(EVE, ALICE, "shared/x") == "1"
    if linked != "tree":
        assert net.get(BOB, EVE, "public/y") == "2"  # the others go on
    place.unlink()
    elsewhere.rename(place)
    net.sync()
    assert net.get(EVE, ALICE, "shared/x") == "1"


def test_two_gigabytes_neither_travel_nor_stop_the_others(net: Net) -> None:
    helpers.sparse_file(net.path(ALICE, ALICE, "shared/large"), 2**31)
    helpers.sparse_file(net.path(BOB, ALICE, "shared/larger"), 2**31)
    net.put(ALICE, ALICE, "shared/x", "1")
    assert net.sync() == []
    assert net.get(BOB, ALICE, "shared/x") == "1"
    assert not net.path(BOB, ALICE, "shared/large").exists()
    assert not net.path(ALICE, ALICE, "shared/larger").exists()


@posix
def test_names_as_long_as_the_disk_allows(net: Net) -> None:
    """255 bytes cross; a mark in the name would make it too long, so a hash stands for it."""
    net.put(EVE, ALICE, f"shared/{'x' * 250}", "mischief")
    net.put(EVE, EVE, f"public/{'y' * 255}", "long")
    assert [type(event) for event in net.sync()] == [FileRefused]
    assert net.get(BOB, EVE, f"public/{'y' * 255}") == "long"
    assert net.get(ALICE, ALICE, f"shared/{'x' * 250}") is None
    aside = [p for p in net.path(EVE, ALICE, "shared").iterdir() if "syftrejected" in p.name]
    assert [path.read_text() for path in aside] == ["mischief"]
    assert net.sync() == []


def test_what_did_not_arrive_has_not_crossed(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader's disk that takes no such name: the ledger tells of the others alone."""
    write_bytes = files.write_bytes

    def refuse(path: Path, data: bytes, **options: Any) -> None:
        if path.name == "y" and BOB in path.parts[path.parts.index("datasites") - 1]:
            raise FedkitError(
                "can't be written (File name too long)", file=path, remedy="rename it"
            )
        write_bytes(path, data, **options)

    before = len(net.sync.entries())
    net.put(EVE, EVE, "public/y", "1")
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "write_bytes", refuse)
        assert [(e.email, type(e)) for e in net.sync()] == [(BOB, Problem)]
    assert [e.receiver for e in net.sync.entries()[before:]] == [ALICE]
    assert net.sync() == []
    assert [e.receiver for e in net.sync.entries()[before:]] == [ALICE, BOB]
    assert net.get(BOB, EVE, "public/y") == "1"


def test_a_damaged_memory_loses_nothing(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "1")
    net.put(BOB, ALICE, "shared/y", "2")
    net.sync()
    before = snapshot(net.root)
    for email in EMAILS:
        memory = net.sites[email].own / "sync.json"
        for content in ("", "[]", "{", json.dumps({ALICE: {"shared/x": [1, 2]}, BOB: 3}), None):
            if content is None:
                memory.unlink()
            else:
                memory.write_text(content, encoding="utf-8")
            net.reopen()
            assert net.sync() == []
    assert snapshot(net.root) == before


def test_a_ledger_whose_last_line_was_cut_off_goes_on(net: Net) -> None:
    whole = net.sync.entries()
    with net.sync.ledger_path.open("ab") as file:
        file.write(b'{"sender": "al')
    net.put(ALICE, ALICE, "shared/x", "1")
    net.sync()
    assert net.sync.entries()[: len(whole)] == whole
    assert [e.receiver for e in net.sync.entries()[len(whole) :]] == [BOB, EVE]


def test_a_disk_that_is_full_is_said_and_made_up_for(net: Net, tmp_path: Path) -> None:
    """Bob's disk is full: Eve gets hers, Bob gets his when there is room, in the same session."""
    with helpers.disk(net.path(BOB, ALICE, "shared/large"), "16k"):
        net.put(ALICE, ALICE, "shared/large/x", "x" * 50_000)
        net.put(ALICE, ALICE, "shared/y", "y")
        (problem,) = net.sync()
        assert isinstance(problem, Problem)
        assert problem.email == BOB
        assert "free some space" in str(problem.error.remedy)
        assert str(problem.error.file).endswith("x")
        assert net.get(EVE, ALICE, "shared/large/x") == "x" * 50_000
        assert net.get(BOB, ALICE, "shared/y") == "y"
    assert net.sync() == []
    assert net.get(BOB, ALICE, "shared/large/x") == "x" * 50_000


def test_nothing_crosses_while_the_ledger_cannot_be_written(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.put(ALICE, ALICE, "shared/x", "1")
    ledger = net.sync.ledger_path
    net.sync.ledger_path = net.root / "nowhere" / "ledger.jsonl"
    events = net.sync()
    assert [type(event) for event in events] == [Problem, Problem]
    assert net.get(BOB, ALICE, "shared/x") is net.get(EVE, ALICE, "shared/x") is None
    net.sync.ledger_path = ledger
    assert net.sync() == []
    assert net.get(BOB, ALICE, "shared/x") == net.get(EVE, ALICE, "shared/x") == "1"


# ------------------------------------------------------------------------------- cut off anywhere
def busy(root: Path) -> Net:
    """A network in which a pass has something of everything to do."""
    net = Net(root)
    net.allow(ALICE, "shared", read=["*"], write=[BOB])
    net.allow(EVE, "box", read=["*"])
    for name in ("kept", "changed", "gone"):
        net.put(ALICE, ALICE, f"shared/{name}", name)
        net.put(EVE, EVE, f"box/{name}", name)
    net.sync()
    net.put(ALICE, ALICE, "shared/changed", "changed by alice")
    net.path(ALICE, ALICE, "shared/gone").unlink()
    net.put(BOB, ALICE, "shared/deep/bob", "bob's")
    net.put(EVE, ALICE, "shared/kept", "mischief")
    net.put(BOB, ALICE, "shared/changed", "too late")
    net.allow(EVE, "box", read=[ALICE])
    net.path(BOB, EVE, "box/kept").unlink()
    return net


def check_ledger(net: Net, arrivals: list[tuple[Path, bytes]]) -> None:
    """Each arrival has its line: the receiver, the path, the bytes."""
    lines = {
        (str(net.path(entry.receiver, "", entry.path)), entry.sha256)
        for entry in net.sync.entries()
    }
    for path, data in arrivals:
        if path.is_relative_to(net.root):
            assert (str(path), files.sha256_bytes(data)) in lines, path


def contents(root: Path) -> dict[str, str]:
    """Every file but the ledger; empty folders do not count."""
    found = snapshot(root, skip=lambda path: path == "ledger.jsonl")
    return {path: value for path, value in found.items() if value != "folder"}


def twin(root: Path, target: Path) -> Net:
    """The same network elsewhere: the very same files (whoever writes makes a new one), but a ledger of its own."""
    shutil.copytree(root, target, copy_function=os.link)
    (target / "ledger.jsonl").unlink()
    shutil.copy(root / "ledger.jsonl", target)
    return Net(target)


@pytest.mark.parametrize("number", [-1, errno.ENOSPC], ids=["killed", "disk full"])
def test_a_pass_that_is_cut_off_anywhere_ends_as_if_it_had_not_been(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrivals: list[tuple[Path, bytes]],
    number: int,
) -> None:
    """At every single change of the disk; then once more (after a kill in a new process, else in the same one)."""
    busy(tmp_path / "start")
    whole = twin(tmp_path / "start", tmp_path / "whole")
    whole.sync()
    wanted = contents(whole.root)
    lines = len(whole.sync.entries())
    for place in range(1000):
        net = twin(tmp_path / "start", tmp_path / str(place))
        count = 0

        def step(real: Callable[..., Any], place: int = place) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal count
                if real is OPEN and not args[1] & os.O_CREAT:  # to read
                    return real(*args, **options)
                count += 1
                if count == place + 1:
                    raise Killed if number < 0 else OSError(number, os.strerror(number))
                return real(*args, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "mkdir", "rmdir", "open"):
                patch.setattr(os, name, step(getattr(os, name)))
            try:
                net.sync()
            except Killed:
                net.reopen()
            except FedkitError:
                pytest.fail("an error of one file ended the pass")
        check_ledger(net, arrivals)
        for _ in range(2):
            net.sync()
        assert contents(net.root) == wanted, place
        check_ledger(net, arrivals)
        assert arrivals
        assert len(net.sync.entries()) <= lines + 1  # a line for a file that did not cross, at most
        if count <= place:
            assert place > 30
            return
    pytest.fail("a pass has no end")


@pytest.mark.parametrize("place", range(6))
def test_a_pass_that_a_person_interrupts_is_made_up_for_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Ctrl-C in a notebook, and the cell again: the same object goes on, with nothing noted that did not happen."""
    busy(tmp_path / "start")
    whole = twin(tmp_path / "start", tmp_path / "whole")
    whole.sync()
    net = twin(tmp_path / "start", tmp_path / "net")
    calls = iter(range(100))

    def interrupt(path: Path, data: bytes, **options: Any) -> None:
        if next(calls) == place:
            raise KeyboardInterrupt
        files.write_bytes(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "write_bytes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            net.sync()
    net.sync()
    assert contents(net.root) == contents(whole.root)


@posix
def test_what_came_while_a_copy_could_not_be_looked_at_is_brought_afterwards(net: Net) -> None:
    net.put(ALICE, ALICE, "shared/x", "0")
    net.sync()
    place = net.path(EVE, ALICE, "")
    place.rename(net.root / "elsewhere")
    place.symlink_to(net.root / "elsewhere")
    net.put(ALICE, ALICE, "shared/new", "1")
    net.sync()
    place.unlink()
    (net.root / "elsewhere").rename(place)
    net.sync()
    assert net.get(EVE, ALICE, "shared/new") == "1"


# --------------------------------------------------------------------- the tables, line by line
def cut_off(net: Net) -> None:
    """A file reaches everybody, and the pass ends before anybody has noted it."""
    net.put(ALICE, ALICE, "shared/new", "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sync_module, "write_json", lambda *_, **how: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            net.sync()
    net.reopen()


def behind_a_link(net: Net) -> None:
    place = net.path(ALICE, ALICE, "")
    place.rename(net.root / "elsewhere")
    place.symlink_to(net.root / "empty")


def both(net: Net, *contents: str | None) -> None:
    """Alice, the owner, and Bob, who may write, each leave this in shared/x."""
    for email, content in zip((ALICE, BOB), contents, strict=True):
        if content is None:
            net.path(email, ALICE, "shared/x").unlink()
        else:
            net.put(email, ALICE, "shared/x", content)


X, NEW = "shared/x", "shared/new"
Scene = tuple[Callable[[Net], object], str, tuple[str | None, str | None, str | None]]
SCENES: dict[str, Scene] = {
    # why: (what is done, of which file, what Alice, Bob and Eve then have of it)
    LOOK[0].why: (behind_a_link, X, (None, "0", "0")),
    LOOK[1].why: (lambda net: None, X, ("0", "0", "0")),
    LOOK[2].why: (
        lambda net: net.put(ALICE, ALICE, "shared/syft.pub.yaml", ""),
        X,
        ("0", "0", "0"),
    ),
    LOOK[3].why: (lambda net: net.put(ALICE, ALICE, NEW, "1"), NEW, ("1", "1", "1")),
    OFFER[0].why: (lambda net: both(net, None, None), X, (None, None, None)),
    OFFER[1].why: (cut_off, NEW, ("1", "1", "1")),
    OFFER[2].why: (lambda net: both(net, "1", "1"), X, ("1", "1", "1")),
    OFFER[3].why: (lambda net: net.put(EVE, ALICE, NEW, "3"), NEW, (None, None, None)),
    OFFER[4].why: (lambda net: both(net, "1", "2"), X, ("1", "1", "1")),
    OFFER[5].why: (lambda net: net.put(BOB, ALICE, X, "2"), X, ("2", "2", "2")),
    OFFER[6].why: (lambda net: net.path(BOB, ALICE, X).unlink(), X, (None, None, None)),
    BRING[0].why: (lambda net: net.put(ALICE, ALICE, NEW, "1"), X, ("0", "0", "0")),
    BRING[1].why: (lambda net: net.allow(ALICE, "shared", read=[BOB]), X, ("0", "0", None)),
    BRING[2].why: (lambda net: net.put(ALICE, ALICE, NEW, "1"), NEW, ("1", "1", "1")),
    BRING[3].why: (lambda net: net.allow(ALICE, "shared", read=[EVE]), X, ("0", None, "0")),
    BRING[4].why: (
        lambda net: (both(net, None, None), net.put(ALICE, ALICE, "closed/x", "1")),
        "closed/x",
        ("1", None, None),
    ),
}


@posix
@pytest.mark.parametrize("rule", [*LOOK, *OFFER, *BRING], ids=lambda rule: rule.why)
def test_each_line_of_the_tables_decides_what_it_says(
    net: Net, monkeypatch: pytest.MonkeyPatch, rule: Rule
) -> None:
    """Done for real; the line that is meant is among those that decide, and the files are as it says."""
    net.put(ALICE, ALICE, X, "0")
    net.sync()
    change, path, held = SCENES[rule.why]
    change(net)
    decided: list[Rule] = []

    def noting(*question: Any) -> Rule:
        decided.append(decide(*question))
        return decided[-1]

    monkeypatch.setattr(sync_module, "decide", noting)
    events, before = net.sync(), len(crossed(net))
    assert rule in decided
    assert tuple(net.get(email, ALICE, path) for email in EMAILS) == held
    reasons = [event.reason for event in events if isinstance(event, FileRefused)]
    who = EVE if "{who}" in rule.why else BOB
    said = rule.why.format(who=who, right="create")
    assert reasons == ([said] if rule.then == "refuse" else [])
    place = net.path(who, ALICE, path)
    assert place.with_name(f"{place.name}.syftrejected").is_file() is (rule.then == "refuse")
    net.sync()
    assert len(crossed(net)) == before, "and that is the end of it"


def test_the_tables_have_a_scene_for_each_line_and_an_answer_for_everything() -> None:
    assert set(SCENES) == {rule.why for rule in (*LOOK, *OFFER, *BRING)}
    assert [table[-1].when for table in (LOOK, BRING)] == [{}, {}]
    assert [rule.when for rule in OFFER[-2:]] == [{"here": True}, {"here": False}]


# -------------------------------------------------------------------- any sequence of changes: a model
FOLDERS = ("public", "shared", "closed", "box")
NAMES = ("a", "b", "deep/c")
CHANGES = st.tuples(
    st.sampled_from(EMAILS),  # who
    st.sampled_from(FOLDERS),
    st.sampled_from(NAMES),
    st.sampled_from(["1", "2", "33", None]),  # content, None: deleted
)
GRANTS = st.tuples(
    st.sampled_from(FOLDERS),
    st.sets(st.sampled_from([BOB, EVE, "*"]), max_size=2),
    st.sets(st.sampled_from([BOB, EVE]), max_size=2),
)
STEPS = st.lists(
    st.tuples(st.lists(GRANTS, max_size=1), st.lists(CHANGES, max_size=5)), min_size=1, max_size=4
)


class Model:
    """Alice's datasite as dictionaries: her files, each one's copy, and who may read and write in each folder."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.readers = {folder: {"*"} if folder == "public" else set() for folder in FOLDERS}
        self.writers: dict[str, set[str]] = {folder: set() for folder in FOLDERS}

    def copy_of(self, email: str) -> dict[str, str]:
        return {
            path: content
            for path, content in self.files.items()
            if email == ALICE or self.may_read(email, path)
        }

    def may_read(self, email: str, path: str) -> bool:
        folder = path.split("/")[0]
        return bool({email, "*"} & (self.readers[folder] | self.writers[folder]))

    def pass_over(
        self, local: dict[str, dict[str, str]], before: dict[str, dict[str, str]], touched: set[Any]
    ) -> set[tuple[str, str]]:
        """Take everybody's changes in the order of e-mails; returns the refused ones."""
        lost, mine = set(), local[ALICE]
        fresh = {p for e, p in touched if e == ALICE and (p in mine or p in before[ALICE])}
        for email in (BOB, EVE):
            for path in sorted({p for e, p in touched if e == email}):
                here, there = local[email].get(path), mine.get(path)
                unchanged = here is None and path not in before[email]
                if unchanged or (here == there and (here is None or self.may_read(email, path))):
                    continue
                unseen = there is not None and (path not in before[email])
                if email not in self.writers[path.split("/")[0]] or path in fresh or unseen:
                    lost.add((email, f"{ALICE}/{path}"))
                elif here is None:
                    del mine[path]
                else:
                    mine[path] = here
                    fresh.add(path)  # whoever comes later did not know of it
        self.files = mine
        return lost


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_any_sequence_of_changes_leaves_the_owners_files_and_what_each_may_read(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    net, model = Net(tmp_path_factory.mktemp("net")), Model()
    for folder in FOLDERS:
        net.allow(ALICE, folder, read=sorted(model.readers[folder]))
    net.sync()
    for grants, changes in steps:
        before = {email: model.copy_of(email) for email in EMAILS}
        local = {email: dict(copy) for email, copy in before.items()}
        for folder, readers, writers in grants:
            net.allow(ALICE, folder, read=sorted(readers), write=sorted(writers))
            model.readers[folder], model.writers[folder] = set(readers), set(writers)
        touched = set()
        for email, folder, name, content in changes:
            path = f"{folder}/{name}"
            place = net.path(email, ALICE, path)
            if content is None:
                place.unlink(missing_ok=True)
                local[email].pop(path, None)
            else:
                files.write_bytes(place, content.encode())
                local[email][path] = content
            touched.add((email, path))
        lost = model.pass_over(local, before, touched)
        assert set(refused(net.sync())) == lost
        for email in EMAILS:
            held = {
                f"{folder}/{path.relative_to(net.path(email, ALICE, folder)).as_posix()}": path
                for folder in FOLDERS
                for path in net.path(email, ALICE, folder).rglob("*")
                if path.is_file() and travels(path.name) and path.suffix != ".yaml"
            }
            assert {k: p.read_text(encoding="utf-8") for k, p in held.items()} == model.copy_of(
                email
            )
        entries = len(net.sync.entries())
        assert net.sync() == []
        assert len(net.sync.entries()) == entries


# ------------------------------------------------------------------------------ not seen is not gone
@pytest.mark.parametrize("depth", ["the folder", "the whole copy"])
def test_a_folder_that_can_not_be_looked_into_deletes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str
) -> None:
    alice, bob = (Datasite.create(tmp_path / email, email) for email in (ALICE, BOB))
    inbox = alice.root / "inbox"
    write_permissions(inbox, ALICE, write=[BOB])
    sync = Sync([alice, bob], tmp_path / "ledger.jsonl")
    sync()
    copy = bob.datasites / ALICE / "inbox"
    (copy / "update.pt").write_bytes(b"weights")
    sync()
    assert (inbox / "update.pt").read_bytes() == b"weights"

    closed = copy if depth == "the folder" else bob.datasites / ALICE
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).is_relative_to(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        for again in (sync, Sync([alice, bob], tmp_path / "ledger.jsonl")):
            events = again()
            assert (inbox / "update.pt").read_bytes() == b"weights"
            assert any(isinstance(e, Problem) and "looked into" in str(e.error) for e in events)
    sync()
    assert (inbox / "update.pt").read_bytes() == b"weights"
    (copy / "update.pt").unlink()  # seen to be gone: now it is
    sync()
    assert not (inbox / "update.pt").exists()


def test_a_broken_permission_file_is_named_once_and_stops_nobody(tmp_path: Path) -> None:
    alice, bob, eve = (Datasite.create(tmp_path / email, email) for email in (ALICE, BOB, EVE))
    sync = Sync([alice, bob, eve], tmp_path / "ledger.jsonl")
    sync()
    bad = alice.public / "inner" / "syftperm.yaml"
    bad.parent.mkdir()
    bad.write_bytes(b"- {path: x, user: !!bool x}")
    (bad.parent / "secret.txt").write_text("mine", encoding="utf-8")
    (bob.public / "news.txt").write_text("for all", encoding="utf-8")
    named = [e for e in sync() if isinstance(e, Problem)]
    assert [str(bad) in str(e.error) for e in named] == [True]
    assert (eve.datasites / BOB / "public" / "news.txt").is_file()
    assert not (eve.datasites / ALICE / "public" / "inner" / "secret.txt").exists()
    (alice.public / "more.txt").write_text("x", encoding="utf-8")
    assert sync() == []  # said once
    assert (eve.datasites / ALICE / "public" / "more.txt").is_file()
    bad.write_bytes(b"- {path: y, user: !!bool y}")  # another one: said again
    assert len(sync()) == 1


# ------------------------------------------------------------------------- several processes
def test_a_pass_of_another_process_is_no_change_of_the_receivers(net: Net) -> None:
    """Two kernels on one network, in turns; each must see what the other has carried."""
    other = Sync(list(net.sites.values()), net.root / "ledger.jsonl")
    for number in range(3):
        for sync in (net.sync, other):
            net.put(BOB, ALICE, "shared/x", f"{number} {id(sync)}")
            net.put(ALICE, ALICE, f"shared/new {number}", "1")
            assert sync() == []
            assert {net.get(email, ALICE, "shared/x") for email in EMAILS} == {
                f"{number} {id(sync)}"
            }
    assert list(net.root.rglob("*syftrejected*")) == []


def test_a_pass_that_another_process_did_not_end_is_gone_on_with(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died with files at their places, and in nobody's memory but the ledger."""
    other = Sync(list(net.sites.values()), net.root / "ledger.jsonl")
    net.put(ALICE, ALICE, "shared/new", "1")
    with monkeypatch.context() as patch:
        patch.setattr(sync_module, "write_json", lambda *_, **how: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            other()
    assert net.get(EVE, ALICE, "shared/new") == "1"
    assert net.sync() == []
    assert net.get(EVE, ALICE, "shared/new") == "1"


SYNCING = """
import sys
from pathlib import Path
from fedkit.datasite.datasite import Datasite
from fedkit.federation.sync import Sync

root, emails = Path(sys.argv[1]), sys.argv[2:]
sync = Sync([Datasite(root / email, email) for email in emails], root / "ledger.jsonl")
print("ready", flush=True)
while not (root / "enough").exists():
    for event in sync():
        print(event, flush=True)
"""


def test_two_processes_sync_one_network_at_the_same_time(net: Net) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", SYNCING, str(net.root), *EMAILS]
    others = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) for _ in range(2)
    ]
    try:
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
        for number in range(40):
            files.write_bytes(net.path(BOB, ALICE, "shared/x"), b"%d" % number)
            files.write_bytes(net.path(ALICE, ALICE, f"shared/new {number % 5}"), b"%d" % number)
            assert net.sync() == []
        (net.root / "enough").touch()
        said = [other.communicate(timeout=60)[0] for other in others]
    finally:
        for other in others:
            other.kill()
    assert said == ["", ""]
    assert net.sync() == []
    for email in EMAILS:
        assert net.get(email, ALICE, "shared/x") == "39"
        assert net.get(email, ALICE, "shared/new 4") == "39"
    assert list(net.root.rglob("*syftrejected*")) == []


def test_who_syncs_for_longer_than_a_moment_is_named(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_module, "_A_MOMENT_S", 0.05)
    with exclusive(net.sync._lock, "is being synced", at=net.root):
        with pytest.raises(Busy) as caught:
            net.sync()
        assert caught.value.file == net.root
        assert f"process {os.getpid()} " in str(caught.value.why)
    assert net.sync() == []


# ------------------------------------------------------------------------------------- clocks
def test_an_empty_permission_file_that_is_dated_ahead_is_waited_for_no_longer_than_others(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the clock was set back: by the clock on the wall it would be new for years."""
    rules = net.put(ALICE, ALICE, "shared/syft.pub.yaml", "")
    os.utime(rules, (time.time() + 10**8,) * 2)
    net.put(ALICE, ALICE, "shared/x", "1")
    assert net.sync() == []
    assert net.get(BOB, ALICE, "shared/x") is None
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    net.sync()
    net.put(ALICE, ALICE, "public/z", "1")
    net.sync()
    assert net.get(BOB, ALICE, "public/z") == "1"
