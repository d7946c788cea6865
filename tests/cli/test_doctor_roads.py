"""The road of the datasite that is found, as `fedkit doctor` tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkit.cli import doctor_roads
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from tests.support.helpers import ALICE


def test_doctor_knows_the_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SyftBox it says who starts first, whatever was done before."""
    site = Datasite.create(tmp_path / "box", ALICE)
    ClientConfig(site.data_dir, ALICE).save(tmp_path / "config.json")
    monkeypatch.setenv("SYFTBOX_CLIENT_CONFIG_PATH", str(tmp_path / "config.json"))
    assert [finding.ok for finding in doctor_roads.road()] == [True]
    write_road(site.data_dir, "syftbox")
    road, order = doctor_roads.road()
    assert "syftbox; others can't write there" in road.what
    assert (road.ok, order.ok, order.essential) == (True, False, False)
    assert "remove the old folder" in order.what
    assert "private/" in order.remedy
    (site.data_dir / ".metadata.json").write_text("{}")
    assert [finding.ok for finding in doctor_roads.road()] == [True, True]
    assert "above 10,485,760 bytes never arrive" in doctor_roads.road()[1].what


def test_flower_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_roads.metadata, "version", lambda name: "1.43.1")
    for name, value in doctor_roads.QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    version, *_, quiet = doctor_roads.flower()
    assert not version.ok
    assert "made for 1.42" in version.remedy
    assert quiet.remedy.endswith("export FLWR_TELEMETRY_ENABLED=0")
    assert not any(finding.essential for finding in doctor_roads.flower())
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setattr(doctor_roads.metadata, "version", lambda name: "1.42.0")
    version, *_, quiet = doctor_roads.flower()
    assert version.ok
    assert quiet.ok


def test_doctor_knows_a_synced_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    data = tmp_path / "data"
    write_road(data, "synced", ALICE)
    site = Datasite.create(data, ALICE)
    ClientConfig(data, ALICE).save(config)
    monkeypatch.setenv("SYFTBOX_CLIENT_CONFIG_PATH", str(config))
    said = " ".join(finding.what for finding in doctor_roads.road() if finding.ok)
    assert f"{data} is {ALICE}'s alone, and not synced itself" in said
    assert "the sync has put nothing aside" in said
    assert all(finding.ok for finding in doctor_roads.road())
    (site.public / "a.sync-conflict-20260102-030405-ABCDEF2.json").write_text("{}")
    (data / ".stfolder").mkdir()
    wrong = {finding.what: finding for finding in doctor_roads.road() if not finding.ok}
    assert len(wrong) == 2
    (aside,) = [f for what, f in wrong.items() if "1 file that the sync has put aside" in what]
    assert not aside.essential
    (whole,) = [f for what, f in wrong.items() if "synced as a whole" in what]
    assert whole.essential
    assert "private/ and the data in it would be sent to everybody" in whole.what
