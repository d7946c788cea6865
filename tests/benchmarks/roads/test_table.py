"""The table of all roads: each module keeps to the contract, own sync runs, and models that differ are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.roads.measure import Result, write_project
from benchmarks.roads.own import run_on_own
from benchmarks.roads.table import main, names, road, table


@pytest.mark.parametrize("name", names())
def test_a_road_is_three_names_or_four(name: str) -> None:
    module = road(name)
    assert module.SEES
    assert all(folder and who for who, folder in getattr(module, "PARTIES", {}).items())
    assert callable(module.missing)
    assert callable(getattr(module, f"run_on_{name}"))


def test_own_sync_and_its_row(tmp_path: Path) -> None:
    write_project(tmp_path / "project", rounds=1, each=8)
    result = run_on_own(tmp_path / "project", tmp_path / "out")
    assert len(result["sha256"]) == 2
    # to each of three the model twice, and an update back
    assert 9 * 407_000 < result["bytes"] < 16 * 420_000
    assert min(result["seconds"], result["memory_mb"]) > 0
    other = json.loads(json.dumps(result))
    other["sha256"][-1] = "0" * 64
    assert "bit for bit" in table({"own": result}, {}, "")
    differing: dict[str, Result] = {"own": result, "flower": other}
    page = table(differing, {"nvflare": "not here"}, "")
    assert "THE GLOBAL MODELS DIFFER" in page
    assert "Not run: nvflare (not here)." in page
    assert "| `000000000000` |" in page


def test_a_road_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no road pigeon"):
        main(["--only", "pigeon"])
