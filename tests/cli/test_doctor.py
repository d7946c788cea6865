"""`fedkit doctor`: a line a check, and a remedy for what is missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedkit.base.distribution import EXTRAS, VERSION
from fedkit.cli import doctor
from tests.support import ROOT
from tests.support.cli import fedkit


def test_doctor_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.6", "pyyaml>=6.0.1", "ipython"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = fedkit("doctor", "--port", port)
        assert output.startswith(f"ok      fedkit {VERSION}\n"), (
            "what a report of a bug begins with"
        )
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
    assert lines[2].startswith("MISSING torch")
    assert said in lines[2]
    assert lines[3].startswith("ok      pyyaml")
    assert lines[4].startswith("MISSING torch's threads")
    assert all(" -> " in line for line in lines if line.startswith("MISSING"))
    assert lines[-1].endswith("are missing.")


def test_what_does_not_come_to_an_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([b'{"what": "a", "ok": true}\n', b""])

    def run(command: list[str], **words: object) -> SimpleNamespace:
        said = next(told, None)
        if said is not None:
            raise subprocess.TimeoutExpired(command, 300, output=said)
        asked = command[command.index("fedkit.cli.doctor") + 1 :]
        lines = "".join(f'{{"what": "{name}", "ok": true}}\n' for name in asked)
        return SimpleNamespace(returncode=0, stdout=lines.encode())

    monkeypatch.setattr(doctor.subprocess, "run", run)
    found = doctor._apart(["a", "b", "c", "d"])
    assert [(one.what, one.ok) for one in found] == [
        ("a", True),
        ("b has not ended after 300 s", False),
        ("c has not ended after 300 s", False),
        ("d", True),
    ]


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


class Namesake:
    """A distribution called `fedkit`, as importlib.metadata tells of it."""

    version = "0.4.1"

    def __init__(self, *commands: str) -> None:
        self.entry_points = [SimpleNamespace(value=command) for command in commands]


@pytest.mark.parametrize(
    ("commands", "essential", "said"),
    [
        ([], True, "another project called fedkit is installed (0.4.1)"),
        (["fedkit.cli.main:main"], False, "by its old name fedkit"),
    ],
)
def test_the_other_fedkit_is_named(
    monkeypatch: pytest.MonkeyPatch, commands: list[str], essential: bool, said: str
) -> None:
    monkeypatch.setattr(doctor.metadata, "distribution", lambda name: Namesake(*commands))
    (finding,) = doctor._namesake()
    assert (finding.ok, finding.essential) == (False, essential)
    assert said in finding.what
    assert "pip uninstall fedkit" in finding.remedy
    assert "install fedkit-course again" in finding.remedy


def test_without_a_namesake_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "distribution", none)
    assert doctor._namesake() == []


def test_extras_are_told_with_what_they_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    told = {f.what.split(":")[0]: f for f in doctor._extras()}
    assert list(told) == [f"extra [{name}]" for name in EXTRAS]
    privacy = told["extra [privacy]"]
    assert not privacy.ok
    assert not privacy.essential
    assert privacy.what.endswith("differential privacy (not installed: opacus)")
    assert privacy.remedy == 'pip install -e ".[privacy]" in the clone'
    assert told["extra [notebooks]"].ok


@pytest.mark.parametrize("can", [True, False])
def test_a_card_that_torch_can_not_use_is_named(monkeypatch: pytest.MonkeyPatch, can: bool) -> None:
    """Told by a stand-in for NVIDIA's library, and for the Python that asks torch."""
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetName=lambda handle: "NVIDIA T4",
        nvmlSystemGetDriverVersion=lambda: "550.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    answer = SimpleNamespace(returncode=0 if can else 1)
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: answer)
    (finding,) = doctor._card()
    assert (finding.ok, finding.essential) == (can, can)
    assert finding.what.startswith("NVIDIA T4, driver 550.1; ")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert doctor._card() == []
