"""PySyft's road before anything is carried: what it needs, and whom it meets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes, write_json
from fedkit.cli import doctor_roads
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.federation.roads import pysyft
from tests.support.helpers import AGGREGATOR, ALICE, BOB, CAROL, PROJECT, posix, small

TOKEN = {"client_id": "a", "client_secret": "b", "refresh_token": "c"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Datasite:
    """Alice's, on PySyft's road, with PySyft as good as installed."""
    monkeypatch.setattr(pysyft, "check_installed", lambda: "0.10.0")
    monkeypatch.delenv(pysyft.TOKEN, raising=False)
    write_road(tmp_path / "alice", "pysyft")
    return Datasite.create(tmp_path / "alice", ALICE)


def test_windows_is_refused_with_the_reason() -> None:
    with pytest.raises(FedkitError, match="can't be taken on Windows") as caught:
        pysyft.check_installed("nt")
    assert "fcntl" in str(caught.value)


@posix
def test_where_the_token_lies(site: Datasite, tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="no token was found") as caught:
        pysyft.find_token(None, site, {})
    assert "SYFT_TOKEN_PATH" in str(caught.value)
    path = tmp_path / "token.json"
    for text, said in (("{", "no JSON"), ("[]", "it lacks client_id"), ("{}", "refresh_token")):
        path.write_text(text)
        with pytest.raises(FedkitError, match=said):
            pysyft.find_token(path, site, {})
    path.write_text(json.dumps(TOKEN))
    assert pysyft.find_token(path, site, {}) == path
    assert pysyft.find_token(None, site, {pysyft.TOKEN: str(path)}) == path
    shown = site.public / "token.json"
    write_bytes(shown, path.read_bytes())
    with pytest.raises(FedkitError, match="lies where it would be synced"):
        pysyft.find_token(shown, site, {})
    (tmp_path / "link").symlink_to(shown)
    with pytest.raises(FedkitError, match="lies where it would be synced"):
        pysyft.find_token(tmp_path / "link", site, {})


def test_the_drive_is_remembered(site: Datasite, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    assert pysyft.find_drive(site, folder) == (folder, None)
    assert folder.is_dir()
    assert pysyft.find_drive(site) == (folder, None)
    with pytest.raises(FedkitError, match="lies in this data dir"):
        pysyft.find_drive(site, site.public)
    (tmp_path / "file").touch()
    with pytest.raises(FedkitError, match="can't be made"):
        pysyft.find_drive(site, tmp_path / "file")
    assert pysyft.find_drive(site) == (folder, None)
    token = tmp_path / "token.json"
    write_json(token, TOKEN)
    assert pysyft.find_drive(site, None, token) == (None, token)
    assert pysyft.find_drive(site) == (None, token)


def test_the_doctor_knows_the_road(
    site: Datasite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_roads.Datasite, "load", lambda: site)

    monkeypatch.setattr(doctor_roads, "check_installed", lambda: "0.10.0")
    pysyft.find_drive(site, tmp_path / "drive")
    road, version, drive = doctor_roads.road()
    assert "road of alice@example.org: pysyft; others can write there" in road.what
    assert version.what == "PySyft 0.10.0; files above 67,108,864 bytes never arrive"
    assert drive.what == f"PySyft's drive: {tmp_path / 'drive'}"
    assert road.ok
    assert version.ok
    assert drive.ok
    (tmp_path / "drive").rmdir()
    _, _, drive = doctor_roads.road()
    assert not drive.ok
    assert not (tmp_path / "drive").exists()  # it looks only
    monkeypatch.undo()
    monkeypatch.setattr(doctor_roads.Datasite, "load", lambda: site)
    monkeypatch.setattr(doctor_roads, "check_installed", lambda: pysyft.check_installed("nt"))
    (site.data_dir / "private" / "pysyft" / "drive.json").unlink()
    _, version, drive = doctor_roads.road()
    assert "can't be taken on Windows (PySyft 0.10 locks its files with fcntl" in version.what
    assert "no token was found" in drive.what
    assert not version.ok


def test_whom_a_datasite_meets(site: Datasite) -> None:
    assert pysyft.people(site) == set()
    pysyft.keep_people(site, [BOB])
    pysyft.keep_people(site, [CAROL])
    assert pysyft.people(site) == {BOB, CAROL}
    with pytest.raises(FedkitError, match="no e-mail"):
        pysyft.keep_people(site, ["no e-mail"])
    (site.data_dir / "private" / "pysyft" / "peers.json").unlink()
    small(participants=[ALICE, BOB]).save(site.client().project(PROJECT).config)
    assert pysyft.people(site) == {AGGREGATOR}  # a star
    masked = small(
        project_name="MASKED",
        participants=[ALICE, BOB, CAROL],
        secure_aggregation={"threshold": 2},
    )
    masked.save(site.client().project("MASKED", "done").config)
    assert pysyft.people(site) == {AGGREGATOR, BOB, CAROL}
    small(project_name="MINE", aggregator=ALICE, participants=["eve@example.org"]).save(
        site.aggregator().project("MINE").config
    )
    assert pysyft.people(site) == {AGGREGATOR, BOB, CAROL, "eve@example.org"}
    # what others can write is asked nobody's name
    forged = site.client().path / "running" / "GIFT" / "fl_config.json"
    small(aggregator="mallory@example.org").save(forged)
    assert "mallory@example.org" not in pysyft.people(site)
    write_bytes(site.client().project("BROKEN").config, b"{")
    assert BOB in pysyft.people(site)
