"""A project as a Flower app: the same global models, on a real SuperLink with a SuperNode for each participant."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.network import Network
from fedkit.federation.roads.flower import export_flower, why_not_flower
from fedkit.federation.roads.flower_run import WANTED, Tls, run_app, simulate_app, superlink
from fedkit.federation.roads.flower_trial import over_flower
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

LIMIT_S = 600.0
"""So long may a slow one take: on a busy machine the start of Flower's programs alone takes minutes."""


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
def at_home(tmp_path: Path, **changes: Any) -> tuple[Network, list[str]]:
    """The project between datasites, done, and the SHA-256 of its global models."""
    home = launched(tmp_path / "home", **changes)
    for who, part in SHARDS.items():
        home.give_data(who, part)
    home.run(approve=approve_all)
    place = home[AGGREGATOR].aggregator().project(PROJECT, "done")
    return home, [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]


def settings(tmp_path: Path) -> dict[str, object]:
    """Samples for each participant and the test set; what the app has to know, with patience."""
    write_dataset(tmp_path / "test.pt", *held_out())
    for who, part in SHARDS.items():
        write_shard(private(tmp_path, who), part)
    out = (tmp_path / "out").as_posix()
    return {
        "test-set": (tmp_path / "test.pt").as_posix(),
        "out": out,
        "meet": 300.0,
        "timeout": 300.0,
    }


def private(tmp_path: Path, who: str) -> Path:
    return tmp_path / "network" / who / "private" / "fl_client"


def models(tmp_path: Path) -> list[str]:
    return [
        sha256_bytes((tmp_path / "out" / f"agg_model_round_{n}.pt").read_bytes()) for n in range(3)
    ]


def test_the_same_global_models_as_between_datasites(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"strategy": {"name": "fedadam"}, "rounds": 2}
    _, own = at_home(tmp_path, **changes)
    folder, told = app(tmp_path / "app", **changes), settings(tmp_path)
    with superlink(tmp_path / "net") as link:
        for who in SHARDS:
            link.supernode(who, private(tmp_path, who))
        run_app(folder, told, at=link, limit_s=300)
    assert len(json.loads((tmp_path / "out" / "history.json").read_text())["rounds"]) == 2
    assert models(tmp_path) == own


@pytest.mark.slow
def test_a_simulation_by_ray_gives_the_same_global_models(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=f'Ray is not installed (pip install "{WANTED}")')
    _, own = at_home(tmp_path)
    simulate_app(app(tmp_path / "app"), tmp_path / "network", settings(tmp_path), limit_s=LIMIT_S)
    assert models(tmp_path) == own


@pytest.mark.slow
def test_with_tls_and_node_keys_the_same_global_models(tmp_path: Path) -> None:
    if not (shutil.which("openssl") and shutil.which("ssh-keygen")):
        pytest.skip("openssl or ssh-keygen is not installed")
    _, own = at_home(tmp_path)
    folder, told = app(tmp_path / "app"), settings(tmp_path)
    with superlink(tmp_path / "net", tls=certificates(tmp_path / "tls"), keys=True) as link:
        for who in SHARDS:
            key = tmp_path / f"{who}.key"
            made("ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", key)
            link.register(Path(f"{key}.pub"))
            link.supernode(who, private(tmp_path, who), key)
        run_app(folder, told, at=link, limit_s=LIMIT_S)
    assert models(tmp_path) == own


@pytest.mark.slow
def test_a_supernode_that_dies_is_missed_by_name(tmp_path: Path) -> None:
    home, _ = at_home(tmp_path, quorum=2)
    with pytest.raises(FedkitError, match="round 2 has 1 sound update, and needs 2") as ended:
        over_flower(home, PROJECT, tmp_path / "flower", dies=(BOB, 1), patience_s=300.0)
    assert f"{BOB} has not answered" in str(ended.value)
    assert "smaller quorum" in str(ended.value)


def certificates(folder: Path) -> Tls:
    """A CA for two days, and what it has signed for localhost."""
    folder.mkdir()
    ca, key, asked, cert = (
        folder / name for name in ("ca.pem", "server.key", "server.csr", "server.pem")
    )
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
    made(*new, "-x509", "-days", 2, "-subj", "/CN=CA", "-keyout", folder / "ca.key", "-out", ca)
    made(*new, "-subj", "/CN=localhost", "-keyout", key, "-out", asked)
    signed = ["openssl", "x509", "-req", "-in", asked, "-CA", ca, "-CAkey", folder / "ca.key"]
    made(*signed, "-CAcreateserial", "-days", 2, "-extfile", names, "-out", cert)
    return Tls(ca, cert, key)


def made(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
