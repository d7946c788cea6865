"""A project as an NVFlare job: what is written, what is refused, and the same global models by its simulator."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.roads.nvflare import export_nvflare, site_of, why_not_nvflare
from fedkit.learning.models import load_model, state_of
from fedkit.rounds.simulation import simulate
from tests.support.cli import fedkit
from tests.support.helpers import ALICE, BOB, LINEAR, held_out, shard, small

SHARDS = {ALICE: shard([0, 1, 2], 4), BOB: shard([3, 4], 5)}
WEIGHTS = state_of(load_model(LINEAR))


def job(folder: Path, **changes: Any) -> Path:
    """An exported job."""
    export_nvflare(small(**changes), LINEAR.encode(), state_bytes(WEIGHTS), folder)
    return folder


def test_the_job_is_config_model_weights_and_two_files(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    inside = ["client.py", "fl_config.json", "model.py", "seed_weights.json"]
    assert names == ["README.md", *(f"app/{name}" for name in inside), "job.py"]
    assert (folder / "app" / "model.py").read_text() == LINEAR
    text = json.loads((folder / "app" / "seed_weights.json").read_text())
    assert base64.b64decode(text["torch.save"]) == state_bytes(WEIGHTS)
    readme = (folder / "README.md").read_text()
    assert "alice-at-example-org, bob-at-example-org" in readme
    for file in folder.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")
    with pytest.raises(FedkitError, match="is not empty"):
        job(folder)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strategy": {"name": "scaffold"}}, "strategy"),
        ({"secure_aggregation": {"threshold": 2}}, "secure_aggregation"),
        ({"dp": {"unit": "example", "epsilon": 4, "delta": 1e-3, "clip": 1.0}}, "dp"),
        ({"participants": ["a.b@example.org", "a-b@example.org"]}, "participants"),
    ],
)
def test_what_does_not_go_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    refused = why_not_nvflare(small(**changes))
    assert refused is not None
    assert refused.field == field
    assert refused.remedy
    with pytest.raises(FedkitError):
        job(tmp_path / "job", **changes)
    assert not (tmp_path / "job").exists()


def test_the_command(tmp_path: Path) -> None:
    assert "Wrote 6 files" in fedkit("export", "nvflare", tmp_path / "job", "--set", "rounds=1")
    config = json.loads((tmp_path / "job" / "app" / "fl_config.json").read_text())
    assert config["rounds"] == 1


def test_a_site_has_no_sign_that_nvflare_refuses() -> None:
    assert site_of("Al.Ice+x@Example.org") == "al-ice-x-at-example-org"


@pytest.mark.slow
def test_the_simulator_gives_the_same_global_models(tmp_path: Path) -> None:
    pytest.importorskip("nvflare", reason='NVFlare is not installed (pip install "nvflare>=2.9")')
    from fedkit.federation.roads.nvflare_job import simulate_job

    changes: dict[str, Any] = {"strategy": {"name": "fedadam"}, "rounds": 2}
    folder, out, own = job(tmp_path / "job", **changes), tmp_path / "out", list[str]()
    simulate(
        small(**changes),
        list(SHARDS.values()),
        held_out(),
        model=LINEAR,
        weights=WEIGHTS,
        exact=True,
        on_round=lambda _, state: own.append(sha256_bytes(state_bytes(state))),
    )
    for who, part in SHARDS.items():
        write_shard(tmp_path / "net" / who / "private" / "fl_client", part)
    write_dataset(tmp_path / "test.pt", *held_out())
    simulate_job(folder, tmp_path / "net", tmp_path / "test.pt", out)
    found = [sha256_bytes((out / f"agg_model_round_{n}.pt").read_bytes()) for n in (1, 2)]
    assert found == own
