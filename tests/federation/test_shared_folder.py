"""A folder that is the same for everybody: the newest copy wins, and a project ends in the same bits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.federation.shared_folder import SharedFolder
from fedkit.protocol.approval import approve_all
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    EVE,
    LINEAR,
    final_model,
    held_out,
    launched,
    shard,
    small,
)


def sites(root: Path) -> list[Datasite]:
    return [Datasite.create(root / email, email) for email in (ALICE, BOB, EVE)]


def put(site: Datasite, name: str, text: str, second: int) -> Path:
    path = site.datasites / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (second, second))
    return path


def test_the_newest_copy_of_a_file_is_everybodys_whoever_wrote_it(tmp_path: Path) -> None:
    alice, _, eve = people = sites(tmp_path)
    folder = SharedFolder(people, tmp_path / "ledger.jsonl")
    put(alice, f"{ALICE}/note.txt", "Alice's", 1_000)
    put(eve, f"{ALICE}/note.txt", "Eve's", 2_000)
    folder()
    notes = [site.datasites / ALICE / "note.txt" for site in people]
    assert [path.read_text() for path in notes] == ["Eve's"] * 3
    assert {path.stat().st_mtime for path in notes} == {2_000}
    about_it = [e for e in folder.entries() if e.path == f"{ALICE}/note.txt"]
    assert {(e.sender, e.receiver, e.size) for e in about_it} == {(EVE, ALICE, 5), (EVE, BOB, 5)}
    count = len(folder.entries())
    folder()
    assert len(folder.entries()) == count, "what is the same everywhere does not cross again"


def test_hidden_and_unfinished_files_and_what_is_private_stay(tmp_path: Path) -> None:
    alice, bob, eve = people = sites(tmp_path)
    for name in (f"{ALICE}/.hidden", f"{ALICE}/half.tmp"):
        put(alice, name, "x", 1_000)
    (alice.private_client / "mnist_label_0.pt").write_bytes(b"x")
    SharedFolder(people, tmp_path / "ledger.jsonl")()
    for site in (bob, eve):
        found = {path.name for path in site.data_dir.rglob("*") if path.is_file()}
        assert not found & {".hidden", "half.tmp", "mnist_label_0.pt"}


def test_a_network_on_that_road_has_the_bits_of_home_and_its_projects_are_signed(
    tmp_path: Path,
) -> None:
    home = launched(tmp_path / "home")
    home.run(approve=approve_all)
    people = [ALICE, BOB, EVE]  # Eve has an account, and no part in the project
    net = Network.create(
        tmp_path / "net", aggregator=AGGREGATOR, participants=people, workers=1, road="synced"
    )
    for number, email in enumerate((ALICE, BOB)):
        net.give_data(email, shard([2 * number, 2 * number + 1]))
    net.give_test(*held_out())
    net.launch(small(), LINEAR)
    again = Network.open(tmp_path / "net", workers=1)
    assert again.run(approve=approve_all).done
    assert final_model(again) == final_model(home)
    names = [path.name for path in (again[EVE].datasites / AGGREGATOR).rglob("*.pt*")]
    assert {"trained_model_round_1.pt", "trained_model_round_1.pt.sig"} <= set(names)
    with pytest.raises(FedkitError, match="describes another network"):
        Network.create(tmp_path / "net", aggregator=AGGREGATOR, participants=people)


def test_other_roads_are_no_folders_of_one_disk(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="can't be taken on one machine's disk"):
        Network.create(tmp_path, aggregator=AGGREGATOR, participants=[ALICE], road="syftbox")
    assert not (tmp_path / ALICE).exists()
