"""tools/setup.py: what it does with an environment that is right, broken, half made or foreign.

pip and venv are played by a stand-in that leaves the same traces and can be killed in the middle.
"""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.kills import Killed


class Machine:
    """Plays the programs that set-up starts, and keeps what was asked of them."""

    def __init__(self, setup: ModuleType) -> None:
        self.setup = setup
        self.calls: list[str] = []
        self.killed_at: str | None = None
        self.failing: set[str] = set()
        self.driver_starts = True
        self.packages: list[str] = []

    def run(self, command: list[str], **_: Any) -> SimpleNamespace:
        """One program: a fake interpreter works when its file holds the word for what is asked."""
        words = " ".join(command[1:])
        kind = next((k for k in ("-m venv", "-m pip", "apt-get", "-I -c") if k in words), words)
        if command[0] == "apt-get":
            kind = f"apt-get {command[1]}"
            self.packages += [word for word in command[2:] if not word.startswith("-")]
        if kind == "-I -c":
            python = Path(command[0])
            has = python.read_text(encoding="utf-8") if python.exists() else ""
            wanted = "pip" if words.endswith("import pip") else "fedkit"
            if "playwright" in words:
                wanted = "driver"
            return SimpleNamespace(returncode=0 if wanted in has else 1)
        self.calls.append(kind)
        if kind == "-m venv":
            venv = Path(command[-1])
            assert (venv / self.setup.PARTIAL).exists(), "killed now, nobody would know"
            (venv / "pyvenv.cfg").write_text("home = somewhere", encoding="utf-8")
            self.die(kind)
            self.setup.venv_python(venv).parent.mkdir(parents=True, exist_ok=True)
            self.setup.venv_python(venv).write_text("pip", encoding="utf-8")
        if kind == "-m pip":
            driver = "driver" if self.driver_starts else ""
            Path(command[0]).write_text(
                f"pip, half of fedkit's packages, {driver}", encoding="utf-8"
            )
            self.die(kind)
        return SimpleNamespace(returncode=1 if kind in self.failing else 0)

    def die(self, kind: str) -> None:
        """Is killed here, once, if that is the plan."""
        if self.killed_at == kind:
            self.killed_at = None
            raise Killed


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, at work on a checkout in a folder of the test's own."""
    spec = importlib.util.spec_from_file_location("fedkit_setup", ROOT / "tools" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text("[project]", encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("FEDKIT_NO_APT", "1")
    return module


@pytest.fixture
def machine(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    played = Machine(setup)
    fake = SimpleNamespace(run=played.run, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(setup, "subprocess", fake)
    return played


def run(setup: ModuleType, machine: Machine, *args: str) -> list[str]:
    """Runs the script to a good end; what it started, without looking."""
    machine.calls.clear()
    before = sys.argv
    sys.argv = ["setup.py", *args]
    try:
        assert setup.main() == 0
    finally:
        sys.argv = before
    return list(machine.calls)


FRESH = ["-m venv", "-m pip"]


def test_a_fresh_clone_is_set_up_once(setup: ModuleType, machine: Machine) -> None:
    assert run(setup, machine) == FRESH
    assert run(setup, machine) == []


def test_the_test_tools_come_on_top(setup: ModuleType, machine: Machine) -> None:
    run(setup, machine)
    assert run(setup, machine, "--dev") == ["-m pip"]
    assert run(setup, machine) == []
    assert run(setup, machine, "--dev") == []


@pytest.mark.parametrize(("summary", "calls"), [("A teaching kit", 2), ("An app for Django", 1)])
def test_the_old_name_goes_and_a_namesake_stays(
    setup: ModuleType, machine: Machine, summary: str, calls: int
) -> None:
    run(setup, machine)
    about = setup.ROOT / ".venv" / "lib" / "python3.12" / "site-packages" / "fedkit-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Name: fedkit\nSummary: {summary}\n", encoding="utf-8")
    (setup.ROOT / "pyproject.toml").write_text("[project]\nname = 'x'", encoding="utf-8")
    assert run(setup, machine) == ["-m pip"] * calls


def test_what_is_installed_are_extras_that_exist(setup: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    assert {*setup.EXTRAS.split(","), setup.DEV_EXTRAS} <= extras


def test_a_changed_pyproject_installs_again(setup: ModuleType, machine: Machine) -> None:
    run(setup, machine)
    (setup.ROOT / "pyproject.toml").write_text("[project]\nname = 'x'", encoding="utf-8")
    assert run(setup, machine) == ["-m pip"]


@pytest.mark.parametrize("moment", FRESH)
def test_killed_in_the_middle_is_made_anew(
    setup: ModuleType, machine: Machine, moment: str
) -> None:
    machine.killed_at = moment
    with pytest.raises(Killed):
        run(setup, machine)
    assert run(setup, machine) == FRESH
    assert run(setup, machine) == []


def test_killed_while_the_old_one_goes_is_made_anew(
    setup: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = setup.ROOT / ".venv"
    for name in ("bin", "lib", "share"):
        (venv / name).mkdir(parents=True)
        (venv / name / "file").touch()
    (venv / "pyvenv.cfg").touch()

    def killed(path: Path) -> None:
        (venv / "pyvenv.cfg").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(setup.shutil, "rmtree", killed)
        with pytest.raises(Killed):
            run(setup, machine)
    assert run(setup, machine) == FRESH
    assert not (venv / "share").exists()


def test_a_failed_installation_says_what_to_do(
    setup: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.failing = {"-m pip"}
    with pytest.raises(AssertionError):
        run(setup, machine)
    assert "network" in capsys.readouterr().err
    machine.failing = set()
    assert run(setup, machine) == FRESH


def test_an_environment_that_lost_its_packages_is_repaired(
    setup: ModuleType, machine: Machine
) -> None:
    run(setup, machine)
    setup.venv_python(setup.ROOT / ".venv").write_text("pip", encoding="utf-8")
    assert run(setup, machine) == ["-m pip"]


def test_an_environment_made_by_hand_keeps_its_packages(
    setup: ModuleType, machine: Machine
) -> None:
    """The way to a CPU build of one's own choice: install it first, then run make."""
    python = setup.venv_python(setup.ROOT / ".venv")
    python.parent.mkdir(parents=True)
    python.write_text("pip and a torch of one's own", encoding="utf-8")
    assert run(setup, machine) == ["-m pip"]


def test_a_folder_that_is_no_environment_is_left_alone(
    setup: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = setup.ROOT / "thesis" / "chapter.txt"
    precious.parent.mkdir()
    precious.write_text("years of work", encoding="utf-8")
    with pytest.raises(AssertionError):
        run(setup, machine, "--venv", "thesis")
    assert precious.read_text(encoding="utf-8") == "years of work"
    assert "left alone" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_the_environment_of_another_clone_is_left_alone(
    setup: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second working tree that borrows it by a link would take it from the first one."""
    other = setup.ROOT / "other"
    other.mkdir()
    run(setup, machine, "--venv", "other/.venv")
    stamp = other / ".venv" / setup.STAMP
    told = json.loads(stamp.read_text(encoding="utf-8"))
    stamp.write_text(json.dumps(told | {"checkout": str(other)}), encoding="utf-8")
    (setup.ROOT / ".venv").symlink_to(other / ".venv", target_is_directory=True)
    (other / "pyproject.toml").write_text("[project]", encoding="utf-8")
    with pytest.raises(AssertionError):
        run(setup, machine)
    assert machine.calls == []
    assert "is a link to the environment of" in capsys.readouterr().err


def test_a_torn_stamp_is_no_stamp(setup: ModuleType, machine: Machine) -> None:
    run(setup, machine)
    stamp = setup.ROOT / ".venv" / setup.STAMP
    stamp.write_text(json.dumps(json.loads(stamp.read_text()))[:20], encoding="utf-8")
    assert run(setup, machine) == ["-m pip"]


@pytest.mark.parametrize(("apt", "works"), [(False, False), (True, False), (True, True)])
def test_python_without_venv(
    setup: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    apt: bool,
    works: bool,
) -> None:
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(setup, "apt_available", lambda: apt)
    machine.failing = set() if works else {"apt-get install"}
    if works:
        assert run(setup, machine) == ["apt-get update", "apt-get install", *FRESH]
        return
    with pytest.raises(AssertionError):
        run(setup, machine)
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"apt-get install {package}" in capsys.readouterr().err
    assert "-m venv" not in machine.calls


def test_an_old_python_is_named(
    setup: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup, "OLDEST", (99, 0))
    with pytest.raises(AssertionError):
        run(setup, machine)
    assert "Python 99.0 or newer" in capsys.readouterr().err
    assert machine.calls == []


def test_no_browser_is_no_failure(
    setup: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    monkeypatch.delenv("FEDKIT_CHROMIUM", raising=False)
    assert run(setup, machine, "--browser") == FRESH
    assert "browser tests will be skipped" in capsys.readouterr().out


def test_root_gets_a_browser_by_apt(
    setup: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    monkeypatch.delenv("FEDKIT_CHROMIUM", raising=False)
    monkeypatch.setattr(setup, "apt_available", lambda: True)
    assert run(setup, machine, "--browser") == [*FRESH, "apt-get update", "apt-get install"]
    assert machine.packages == ["chromium", "fonts-liberation"]
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"bin/{name}")
    assert run(setup, machine, "--browser") == []


def test_syncthing_comes_by_apt_or_its_tests_are_skipped(
    setup: ModuleType,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None)
    assert run(setup, machine, "--syncthing") == FRESH
    assert "The tests over Syncthing will be skipped" in capsys.readouterr().out
    monkeypatch.setattr(setup, "apt_available", lambda: True)
    assert run(setup, machine, "--syncthing") == ["apt-get update", "apt-get install"]
    assert machine.packages == ["syncthing"]
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"bin/{name}")
    assert run(setup, machine, "--syncthing") == []


def test_the_book_gets_an_environment_of_its_own(setup: ModuleType, machine: Machine) -> None:
    project = "[project]\nname = 'x'\n[project.optional-dependencies]\nbook = ['sphinx>={}']\n"
    (setup.ROOT / "pyproject.toml").write_text(project.format(8), encoding="utf-8")
    assert run(setup, machine, "--book") == [*FRESH, *FRESH]
    book = setup.ROOT / "runs" / "book-venv"
    assert json.loads((book / setup.STAMP).read_text())["packages"] == ["sphinx>=8"]
    assert run(setup, machine, "--book") == []
    assert run(setup, machine) == []
    machine.killed_at = "-m pip"
    (book / setup.STAMP).unlink()
    with pytest.raises(Killed):
        run(setup, machine, "--book")
    assert run(setup, machine, "--book") == FRESH, "half made, so made anew"
    (setup.ROOT / "pyproject.toml").write_text(project.format(9), encoding="utf-8")
    assert run(setup, machine, "--book") == ["-m pip", "-m pip"]


def test_the_driver_of_the_browser_is_tried_too(
    setup: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.driver_starts = False
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"bin/{name}")
    monkeypatch.setattr(setup, "apt_available", lambda: True)
    run(setup, machine, "--browser")
    assert machine.packages == ["libatomic1"]
