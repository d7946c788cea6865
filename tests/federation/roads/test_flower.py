"""A project as a Flower app: the same global models, on a real SuperLink with a SuperNode for each participant."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.roads.flower import export_flower, why_not_flower
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

BIN = Path(sys.executable).parent
SHARDS = {ALICE: shard([0, 1, 2], 4), BOB: shard([3, 4], 5)}
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


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
    with pytest.raises(FedkitError, match="has no place in a Flower app"):
        app(tmp_path / "app", **changes)
    assert not (tmp_path / "app").exists()


def test_the_command(tmp_path: Path) -> None:
    said = fedkit("export", "flower", tmp_path / "app", "--set", "rounds=1")
    assert "Wrote 8 files" in said
    (config,) = (tmp_path / "app").glob("*/fl_config.json")
    assert json.loads(config.read_text())["rounds"] == 1
    assert "adjustable" in fedkit(
        "export", "flower", tmp_path / "other", "--set", 'adjustable=["epoch"]', code=1
    )


# ------------------------------------------------------------------------------- on a real SuperLink
def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def superlink(folder: Path, people: list[str]) -> Iterator[dict[str, str]]:
    """A SuperLink and a SuperNode a participant, on loopback; gives the environment in which `flwr run` finds them."""
    folder.mkdir(parents=True)
    home, port, started = folder / "flwr", free_port(), list[subprocess.Popen[bytes]]()
    environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    environment |= QUIET | {
        "FLWR_HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    root = Path(__file__).parents[3]
    environment["PYTHONPATH"] = str(root)
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )

    def spawn(name: str, *words: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [str(BIN / words[0]), *words[1:]],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    start_new_session=True,
                )
            )

    try:
        spawn("superlink", "flower-superlink", "--host", "127.0.0.1", "--port", str(port), "--isolation", "subprocess",
              "--insecure", "--disable-runtime-dependency-installation")  # fmt: skip
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        for who in people:
            data = folder / who / "private"
            spawn(who, "flower-supernode", "--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1",
                  "--port", str(free_port()), "--isolation", "subprocess", "--insecure",
                  "--node-config", f'email="{who}" data="{data}"')  # fmt: skip
        yield environment
    finally:
        for process in started[::-1]:
            process.terminate()
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def test_the_same_global_models_as_between_datasites(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"strategy": {"name": "fedadam"}, "rounds": 2}
    home = launched(tmp_path / "home", **changes)
    for who, part in SHARDS.items():
        home.give_data(who, part)
    home.run(approve=approve_all)
    place = home[AGGREGATOR].aggregator().project(PROJECT, "done")
    own = [sha256_bytes(place.global_model(n).read_bytes()) for n in range(3)]

    folder, out = app(tmp_path / "app", **changes), tmp_path / "out"
    network, test = tmp_path / "net", tmp_path / "test.pt"
    write_dataset(test, *held_out())
    with superlink(network, list(SHARDS)) as environment:
        for who, part in SHARDS.items():
            write_shard(network / who / "private", part)
        settings = f'test-set="{test}" out="{out}"'
        run = subprocess.run(
            [str(BIN / "flwr"), "run", str(folder), "here", "--stream", "--run-config", settings],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    logs = "\n".join(p.read_text(errors="replace")[-2000:] for p in sorted(network.glob("*.log")))
    said = f"{run.stdout[-3000:]}\n{run.stderr[-2000:]}\n{logs}"
    assert (out / "history.json").is_file(), said
    told = json.loads((out / "history.json").read_text())
    assert len(told["rounds"]) == 2, said
    found = [sha256_bytes((out / f"agg_model_round_{n}.pt").read_bytes()) for n in range(3)]
    assert found == own
