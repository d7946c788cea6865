"""`fedkit approve`: it shows what would run, asks, and approves exactly what was shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedkit.cli import approve as cli_approve
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, LINEAR, PROJECT, put_launch, small, snapshot, solo


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Datasite, Path]:
    """A datasite with a pending request, and its config.json."""
    site = solo(tmp_path / "data")
    put_launch(site)
    node.advance(site)
    path = tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    return site, path


def test_approve_shows_what_would_run(asked: tuple[Datasite, Path]) -> None:
    site, path = asked
    output = fedkit("approve", PROJECT, "--config_path", path, "--yes")
    digests = {
        p.name: snapshot(p.parent)[p.name]
        for p in (site.client().running / PROJECT).iterdir()
        if p.is_file()
    }
    for name in ("fl_config.json", "model.py"):
        assert f"sha256 {digests[name]}  {name}" in output
    for line in LINEAR.strip().splitlines():
        assert line in output
    for text in ("rounds", "batch_size", "learning_rate", ALICE):
        assert text in output
    assert (site.client().running / PROJECT / "agg_weights" / "syft.pub.yaml").is_file()
    again = fedkit("approve", PROJECT, "--config_path", path, "--yes", code=1)
    assert "was approved before and is under way" in again


def test_approve_says_what_privacy_holds_against_whom(asked: tuple[Datasite, Path]) -> None:
    site, path = asked
    config = site.client().request / PROJECT / "fl_config.json"
    dp = {"unit": "example", "epsilon": 2, "delta": 1e-3, "clip": 1.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dp": dp}))
    output = " ".join(fedkit("approve", PROJECT, "--config_path", path, "--yes").split())
    whom = "against the aggregator, the other participants, everybody else"
    assert f"for each example, {whom}: epsilon 2 (zero-out neighbours) at delta 0.001." in output


def test_what_a_stranger_wrote_is_no_markup(asked: tuple[Datasite, Path]) -> None:
    """A closing tag that opens nothing would end the command."""
    site, path = asked
    config = site.client().request / PROJECT / "fl_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"[red]a": "[/b] [bold]"}))
    output = fedkit("approve", PROJECT, "--config_path", path, "--yes")
    assert "[red]a" in output
    assert "[/b] [bold]" in output


def test_approve_without_a_terminal_asks_for_yes(asked: tuple[Datasite, Path]) -> None:
    site, path = asked
    for stdin in ("", "y\n", None):
        output = fedkit("approve", PROJECT, "--config_path", path, stdin=stdin, code=2)
        assert f"fedkit approve {PROJECT} --yes" in output
    assert not (site.client().running / PROJECT).exists()


@pytest.mark.parametrize("name", ["MNIST", "", "..", "../request", "/", "MNIST_FL/"])
def test_approve_names_what_is_pending(asked: tuple[Datasite, Path], name: str) -> None:
    site, path = asked
    before = snapshot(site.data_dir)
    output = fedkit("approve", "--config_path", path, "--yes", "--", name, code=1)
    assert f"waiting for an answer: {PROJECT}" in output
    assert snapshot(site.data_dir) == before


def test_approve_approves_what_was_shown_not_what_lies_there_by_then(
    asked: tuple[Datasite, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, path = asked
    request = site.client().request / PROJECT / "model.py"
    shown = request.read_bytes()

    def meanwhile(text: str, **options: Any) -> bool:
        request.write_bytes(shown + b"\nimport os  # slipped in while the person reads\n")
        return True

    monkeypatch.setattr(cli_approve.typer, "confirm", meanwhile)
    monkeypatch.setattr(cli_approve, "_is_there_a_terminal", lambda: True)
    fedkit("approve", PROJECT, "--config_path", path)
    assert (site.client().running / PROJECT / "model.py").read_bytes() == shown


def test_a_no_changes_nothing(
    asked: tuple[Datasite, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, path = asked
    before = snapshot(site.data_dir)
    monkeypatch.setattr(cli_approve, "_is_there_a_terminal", lambda: True)
    output = fedkit("approve", PROJECT, "--config_path", path, stdin="n\n", code=1)
    assert "Not approved" in output
    assert "no answer" in fedkit("approve", PROJECT, "--config_path", path, stdin="", code=2)
    assert snapshot(site.data_dir) == before
    fedkit("approve", PROJECT, "--config_path", path, stdin="y\n")
    assert (site.client().running / PROJECT).is_dir()


def test_approve_shows_what_a_terminal_would_hide(tmp_path: Path) -> None:
    site = solo(tmp_path / "data")
    hidden = "# harmless\x1b[2K\x1b[1A \u202e \u2066\rimport os\n"
    config = small(aggregator=ALICE, participants=[ALICE]).replace(note="a\x1b[31mb")
    put_launch(site, config, LINEAR + hidden)
    node.advance(site)
    ClientConfig(site.data_dir, ALICE).save(tmp_path / "config.json")
    output = fedkit("approve", PROJECT, "--config_path", tmp_path / "config.json", "--yes")
    assert not {"\x1b", "\u202e", "\u2066", "\r"} & set(output)
    assert r"# harmless\x1b[2K\x1b[1A \u202e \u2066" in output
    assert "\nimport os" in output  # to Python, \r alone ends a line
    assert r"a\x1b[31mb" in output
    assert "does not know this key" in output
