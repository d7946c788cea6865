"""A sweep's cells on a cluster: a cell there is what it is at home, and what is not the same there is said."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments import cluster
from fedkit.experiments.cluster import run_cell
from fedkit.experiments.local_code import code_version
from fedkit.experiments.sweep import sweep
from fedkit.experiments.trial import check_trial, run_trial
from tests.support.helpers import LINEAR
from tests.support.sweeps import notebook, spec

CELL = {"rounds": 1, "images": 60, "participants": 2}


def test_a_cell_is_what_it_is_at_home_and_brings_its_model(tmp_path: Path) -> None:
    here = f"{code_version()} {version('torch')}"
    (tmp_path / "m.py").write_text(LINEAR)
    values = CELL | {"model": str(tmp_path / "m.py")}
    at_home = run_trial(check_trial(values))
    there = values | {"model": "/nowhere/m.py"}  # a path of another machine
    try:
        assert run_cell(there, LINEAR, None, here)["recorded"] == at_home
        failed = run_cell(there | {"learning_rate": -1}, LINEAR, None, here)
        assert failed["status"] == "failed"
        other = run_cell(dict(CELL), None, None, f"{'0' * 64} {version('torch')}")
        assert "another fedkit or torch" in other["error"]
    finally:
        worker = cluster._mine.__dict__.pop("worker")
        worker.stop()
        worker.close()


def test_without_dask_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(FedkitError, match="distributed is not installed") as wrong:
        sweep(spec(), tmp_path / "out", engine="dask")
    assert "[dask]" in (wrong.value.remedy or "")


def test_other_engines_and_notebooks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="'spark'"):
        sweep(spec(), tmp_path / "out", engine="spark")
    with pytest.raises(FedkitError, match="names no engine"):
        sweep(spec(), tmp_path / "out", address="tcp://127.0.0.1:1")
    notebook(tmp_path / "n.ipynb", "rounds")
    with pytest.raises(FedkitError, match="simulate alone"):
        sweep({"run": str(tmp_path / "n.ipynb")}, tmp_path / "out", engine="dask")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_workers_of_a_cluster_give_the_local_table(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason='Dask is not installed (pip install -e ".[dask]")')
    (tmp_path / "model.py").write_text(LINEAR)
    asked = spec(seeds=2)
    asked["fixed"] = asked["fixed"] | {"model": str(tmp_path / "model.py")}
    local = sweep(asked, tmp_path / "local")
    there = sweep(asked, tmp_path / "there", engine="dask")
    assert (there["status"] == "done").all()
    pd.testing.assert_frame_equal(
        local.drop(columns="seconds"), there.drop(columns="seconds"), check_exact=True
    )
    rounds = [(tmp_path / name / "rounds.csv").read_bytes() for name in ("local", "there")]
    assert rounds[0] == rounds[1]
    for run in (tmp_path / "local" / "runs").iterdir():
        other = tmp_path / "there" / "runs" / run.name / "run.json"
        one, two = json.loads((run / "run.json").read_text()), json.loads(other.read_text())
        assert (one["run"], one["recorded"]) == (two["run"], two["recorded"])
