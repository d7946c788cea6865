"""reveal.js is used as its hashes say, wherever it comes from."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.teaching.slides import packages
from fedkit.teaching.slides.reveal import FILES, reveal

CONTENT = {name: f"// {name}".encode() for name in FILES}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small files in place of reveal.js, and an empty cache."""
    for name, data in CONTENT.items():
        monkeypatch.setitem(FILES, name, sha256_bytes(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))


def folder(path: Path, **changed: bytes) -> Path:
    for name, data in CONTENT.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(changed.get(Path(name).stem, data))
    return path


def packed(path: Path, before: str) -> Path:
    """The files as npm or pip packs them."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as package:
            for name, data in CONTENT.items():
                package.writestr(before + name, data)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, data in CONTENT.items():
            info = tarfile.TarInfo(before + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_from_a_folder_or_a_package(tmp_path: Path) -> None:
    wanted = {name: data.decode() for name, data in CONTENT.items()}
    assert reveal(folder(tmp_path / "there")) == wanted
    assert reveal(packed(tmp_path / "r.tgz", "package/")) == wanted
    assert reveal(packed(tmp_path / "r.whl", "some/_static/revealjs/")) == wanted


def test_anything_else_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tgz").write_text("no package")
    for given, what in (
        (folder(tmp_path / "other", notes=b"evil"), "has another plugin/notes/notes.js"),
        (tmp_path / "empty", "has no dist/reveal.js"),
        (tmp_path / "text.tgz", "can't be read"),
        (tmp_path / "nowhere", "can't be read"),
    ):
        with pytest.raises(FedkitError, match=what) as error:
            reveal(given)
        assert "npm pack reveal.js@" in str(error.value)


def test_it_is_fetched_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def fetch(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append([str(word) for word in command])
        if "pack" not in command:  # npm is there and can't reach anything; pip can
            packed(Path(command[command.index("--dest") + 1]) / "r.whl", "x/")
        return subprocess.CompletedProcess(command, int("pack" in command), "", "no answer")

    monkeypatch.setattr(packages.subprocess, "run", fetch)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert reveal() == reveal()
    assert [command[1:3] for command in asked] == [["pack", "--silent"], ["-m", "pip"]]
    kept = next((tmp_path / "cache").rglob("notes.js"))
    kept.write_bytes(b"changed")
    reveal()
    assert len(asked) == 4
    assert kept.read_bytes() == CONTENT["plugin/notes/notes.js"]


def test_where_nothing_can_be_fetched_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "the network is down")

    monkeypatch.setattr(packages.subprocess, "run", fails)
    with pytest.raises(FedkitError, match="could not be fetched") as error:
        reveal()
    assert "the network is down" in str(error.value)
    assert "--reveal FILE" in str(error.value)
