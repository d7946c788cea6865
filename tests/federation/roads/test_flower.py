"""A project as a Flower app: the same global models, on a real SuperLink with a SuperNode for each participant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.roads.flower import export_flower, why_not_flower
from fedkit.federation.roads.flower_run import run_app, superlink
from fedkit.learning.models import load_model, state_of
from fedkit.protocol.approval import approve_all
from tests.support.cli import fedkit
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    held_out,
    launched,
    shard,
    small,
)

SHARDS = {ALICE: shard([0, 1, 2], 4), BOB: shard([3, 4], 5)}


def app(folder: Path, **changes: Any) -> Path:
    """An exported app."""
    export_flower(
        small(**changes), LINEAR.encode(), state_bytes(state_of(load_model(LINEAR))), folder
    )
    return folder


# ---------------------------------------------------------------------------------------- the export
def test_the_app_is_config_model_weights_and_two_lines(tmp_path: Path) -> None:
    folder = app(tmp_path / "app")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    inside = ["__init__", "client_app", "fl_config", "model", "seed_weights", "server_app"]
    assert [Path(name).stem for name in names if name.startswith("fl_mnist_fl/")] == inside
    assert names[0] == "README.md"
    assert "run.py" in names
    project = (folder / "pyproject.toml").read_text()
    assert 'dependencies = ["flwr>=1.42"]' in project
    assert "fedkit" not in project.split("dependencies")[1].split("]")[0]
    with pytest.raises(FedkitError, match="is not empty"):
        app(folder)


def test_large_weights_go_by_their_path(tmp_path: Path) -> None:
    weights = b"x" * 2**20
    export_flower(small(), LINEAR.encode(), weights, tmp_path / "app")
    assert not list((tmp_path / "app").rglob("seed_weights.json"))
    (beside,) = tmp_path.glob("app-*")
    assert beside.read_bytes() == weights
    assert beside.name in (tmp_path / "app" / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strategy": {"name": "scaffold"}}, "strategy"),
        ({"strategy": {"name": "fednova"}}, "strategy"),
        ({"strategy": {"name": "fedbn"}}, "strategy"),
        ({"secure_aggregation": {"threshold": 2}}, "secure_aggregation"),
        ({"dp": {"unit": "example", "epsilon": 4, "delta": 1e-3, "clip": 1.0}}, "dp"),
        ({"adjustable": ["epoch"]}, "adjustable"),
        ({"validation": {"share": 0.5}}, "validation"),
    ],
)
def test_what_does_not_go_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    refused = why_not_flower(small(**changes))
    assert refused is not None
    assert refused.field == field
    assert refused.why
    with pytest.raises(FedkitError, match="has no place in an app for Flower"):
        app(tmp_path / "app", **changes)
    assert not (tmp_path / "app").exists()


def test_the_command(tmp_path: Path) -> None:
    said = fedkit("export", "flower", tmp_path / "app", "--set", "rounds=1")
    assert "Wrote 9 files" in said
    (config,) = (tmp_path / "app").glob("*/fl_config.json")
    assert json.loads(config.read_text())["rounds"] == 1
    assert "adjustable" in fedkit(
        "export", "flower", tmp_path / "other", "--set", 'adjustable=["epoch"]', code=1
    )


# ------------------------------------------------------------------------------- on a real SuperLink
def test_the_same_global_models_as_between_datasites(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"strategy": {"name": "fedadam"}, "rounds": 2}
    home = launched(tmp_path / "home", **changes)
    for who, part in SHARDS.items():
        home.give_data(who, part)
    home.run(approve=approve_all)
    place = home[AGGREGATOR].aggregator().project(PROJECT, "done")
    own = [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]

    folder, out = app(tmp_path / "app", **changes), tmp_path / "out"
    test = tmp_path / "test.pt"
    write_dataset(test, *held_out())
    with superlink(tmp_path / "net") as link:
        for who, part in SHARDS.items():
            write_shard(tmp_path / who / "private", part)
            link.supernode(who, tmp_path / who / "private")
        run_app(folder, {"test-set": str(test), "out": str(out)}, at=link, limit_s=300)
    told = json.loads((out / "history.json").read_text())
    assert len(told["rounds"]) == 2
    found = [sha256_bytes((out / f"agg_model_round_{n}.pt").read_bytes()) for n in range(3)]
    assert found == own
