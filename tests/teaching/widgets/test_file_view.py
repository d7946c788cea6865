"""One file as a person sees it: weights, digits, JSON, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.federation.network import Network
from fedkit.teaching.widgets.file_view import view_file
from tests.support.helpers import ALICE, PROJECT, Code, saved
from tests.support.panels import OWN


def test_weights_are_a_picture_with_shapes_and_norms(tmp_path: Path) -> None:
    state = {"fc1.weight": torch.full((20, 784), 2.0), "fc1.bias": torch.tensor([3.0, 4.0])}
    fk.write_state(tmp_path / "w.pt", state)
    seen = view_file(tmp_path, "w.pt")
    assert seen.kind == "weights"
    assert seen.figure is not None
    assert seen.alt
    assert "15,682 numbers" in seen.facts
    (bias,) = [fact for fact in seen.facts if fact.startswith("fc1.bias")]
    assert "2, float32, norm 5" in bias
    (weight,) = [fact for fact in seen.facts if fact.startswith("fc1.weight")]
    assert "20 x 784" in weight
    assert f"norm {(20 * 784 * 4) ** 0.5:.4g}" in weight


@pytest.mark.parametrize(
    "state",
    [{}, {"n": torch.tensor(3)}, {"w": torch.full((2, 784), float("nan"))}, {"b": torch.ones(4)}],
)
def test_strange_weights_are_shown_too(tmp_path: Path, state: dict) -> None:
    fk.write_state(tmp_path / "w.pt", state)
    assert view_file(tmp_path, "w.pt").kind == "weights"


def test_digits_are_a_picture_with_counts(after_a_round: Network) -> None:
    files = sorted(p.name for p in after_a_round[ALICE].private_client.glob("*.pt"))
    seen = view_file(after_a_round[ALICE].data_dir, f"private/fl_client/{files[0]}")
    assert seen.kind == "images"
    assert seen.figure is not None
    assert "3 of 0" in seen.facts


def test_json_is_indented_and_permissions_are_named(after_a_round: Network) -> None:
    box = f"{OWN}/app_data/fl_client/running/{PROJECT}"
    seen = view_file(after_a_round[ALICE].data_dir, f"{box}/fl_config.json")
    assert seen.kind == "json"
    assert json.loads(seen.text)["project_name"] == PROJECT
    assert '\n  "rounds"' in seen.text
    assert view_file(after_a_round[ALICE].data_dir, f"{OWN}/syft.pub.yaml").kind == "permissions"
    model = view_file(after_a_round[ALICE].data_dir, f"{box}/model.py")
    assert model.kind == "text"
    assert "class FLModel" in model.text


def test_what_cannot_be_read_says_why_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.pt").write_bytes(saved(Code(marker)))
    (tmp_path / "half.pt").write_bytes(saved({"w": torch.ones(900)})[:700])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "link.txt").symlink_to(tmp_path / "broken.json")
    (tmp_path / "long.txt").write_text("x" * 100_000)
    for name in ("evil.pt", "half.pt", "noise.bin", "link.txt", "gone.txt"):
        seen = view_file(tmp_path, name)
        assert seen.kind == "unreadable", name
        assert seen.facts[-1].startswith("It "), name
        assert seen.text == ""
    assert not marker.exists()
    assert view_file(tmp_path, "broken.json").text == "{"
    assert len(view_file(tmp_path, "long.txt").text) < 25_000
    assert view_file(tmp_path, "../outside.txt").kind == "unreadable"
