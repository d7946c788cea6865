"""`fedkit doctor`: a line a check, and a remedy for what is missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fedkit.cli import doctor
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from tests.support import ROOT
from tests.support.cli import fedkit
from tests.support.helpers import ALICE


def test_doctor_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.6", "pyyaml>=6.0.1", "ipython"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = fedkit("doctor", "--port", port)
    assert f"note    port {port} is taken" in output
    assert "ok      the digits: 10,000 and 2,000" in output
    assert "ok      torch trains with 1 thread(s)" in output
    assert "fedkit can run here." in output
    assert all(line.startswith(("ok  ", "note  ")) for line in output.splitlines()[:-1])


def test_doctor_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=99.1", "not-there-at-all>=1"])
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    output = fedkit("doctor", code=1)
    missing = [line for line in output.splitlines() if line.startswith("MISSING")]
    assert len(missing) == 3
    assert all(" -> " in line for line in missing)
    assert "is older than 99.1" in missing[0]
    assert "not-there-at-all is not installed" in missing[1]
    assert "mnist_12k.npz" in missing[2]


def test_doctor_knows_every_requirement_by_the_name_to_import() -> None:
    """The names are found without importing, which would take long here."""
    from importlib.util import find_spec

    for line in doctor._requirements():
        name = line.split(">")[0].strip().lower()
        assert find_spec(doctor.IMPORT_NAMES.get(name, name.replace("-", "_"))), line


BROKEN = {
    "raises": (
        "raise OSError('libtorch.so: no such file')",
        "can't be imported (OSError: libtorch",
    ),
    "ends Python": ("import os\nprint('{}')\nos._exit(3)", "ends Python (exit code 3)"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_torch_is_reported_and_what_comes_after_it_too(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, said = BROKEN[how]
    (tmp_path / "torch.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.6", "pyyaml>=6.0.1"])
    lines = fedkit("doctor", code=1).splitlines()
    assert lines[1].startswith("MISSING torch")
    assert said in lines[1]
    assert lines[2].startswith("ok      pyyaml")
    assert lines[3].startswith("MISSING torch's threads")
    assert all(" -> " in line for line in lines if line.startswith("MISSING"))
    assert lines[-1].endswith("are missing.")


@pytest.mark.parametrize(
    ("line", "ok", "said"),
    [
        ("pyyaml>=6.0.1", True, "pyyaml "),
        ("PyYAML", True, "PyYAML "),
        ("pyyaml>=99.0rc1", False, "is older than 99.0rc1"),
        ("no such thing!", False, "(not understood)"),
    ],
)
def test_versions_are_compared_as_pip_does(line: str, ok: bool, said: str) -> None:
    finding = doctor.check_requirement(line)
    assert finding.ok is ok
    assert said in finding.what


def test_doctor_knows_the_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SyftBox it says who starts first, whatever was done before."""
    site = Datasite.create(tmp_path / "box", ALICE)
    ClientConfig(site.data_dir, ALICE).save(tmp_path / "config.json")
    monkeypatch.setenv("SYFTBOX_CLIENT_CONFIG_PATH", str(tmp_path / "config.json"))
    assert [finding.ok for finding in doctor._road()] == [True]
    write_road(site.data_dir, "syftbox")
    road, order = doctor._road()
    assert "syftbox; others can't write there" in road.what
    assert (road.ok, order.ok, order.essential) == (True, False, False)
    assert "remove the old folder" in order.what
    assert "private/" in order.remedy
    (site.data_dir / ".metadata.json").write_text("{}")
    assert [finding.ok for finding in doctor._road()] == [True, True]
    assert "above 10,485,760 bytes never arrive" in doctor._road()[1].what


def test_flower_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.43.1")
    for name, value in doctor.QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    version, *_, quiet = doctor._flower()
    assert not version.ok
    assert "made for 1.42" in version.remedy
    assert quiet.remedy.endswith("export FLWR_TELEMETRY_ENABLED=0")
    assert not any(finding.essential for finding in doctor._flower())
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.42.0")
    version, *_, quiet = doctor._flower()
    assert version.ok
    assert quiet.ok


def test_doctor_knows_a_synced_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    data = tmp_path / "data"
    write_road(data, "synced", ALICE)
    site = Datasite.create(data, ALICE)
    ClientConfig(data, ALICE).save(config)
    monkeypatch.setenv("SYFTBOX_CLIENT_CONFIG_PATH", str(config))
    said = " ".join(finding.what for finding in doctor._road() if finding.ok)
    assert f"{data} is {ALICE}'s alone, and not synced itself" in said
    assert "the sync has put nothing aside" in said
    assert all(finding.ok for finding in doctor._road())
    (site.public / "a.sync-conflict-20260102-030405-ABCDEF2.json").write_text("{}")
    (data / ".stfolder").mkdir()
    wrong = {finding.what: finding for finding in doctor._road() if not finding.ok}
    assert len(wrong) == 2
    (aside,) = [f for what, f in wrong.items() if "1 file that the sync has put aside" in what]
    assert not aside.essential
    (whole,) = [f for what, f in wrong.items() if "synced as a whole" in what]
    assert whole.essential
    assert "private/ and the data in it would be sent to everybody" in whole.what
