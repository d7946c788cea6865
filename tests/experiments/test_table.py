"""The tables of a sweep: a column for each value, and no name twice."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedkit as fk
from fedkit.base.errors import FedkitError
from fedkit.experiments.table import label, write_tables


def test_names_that_a_column_has_already_get_a_prefix(tmp_path: Path) -> None:
    row = {
        "run": "ab" * 32,
        "shown": {"rounds": 3, "strategy": {"name": "fedprox", "mu": 0.1}},
        "seed": None,
        "status": "done",
        "error": None,
        "seconds": 1.5,
        "folder": "runs/x",
        "recorded": {"rounds": 2, "seed": 9, "losses": [0.5, None], "words": ["a"], "ok": True},
    }
    write_tables(tmp_path, [row])
    frame = fk.results(tmp_path)
    assert frame.loc[0, ["rounds", "recorded.rounds", "recorded.seed"]].tolist() == [3, 2, 9]
    assert frame["strategy"][0] == "fedprox(mu=0.1)"
    assert frame["run"][0] == "ab" * 6
    assert fk.results(tmp_path, by_round=True)["loss"].tolist()[0] == 0.5
    assert label([1, 2]) == "[1, 2]"
    assert label({"name": "fedavg"}) == "fedavg"


def test_a_folder_without_results_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match=r"results.csv"):
        fk.results(tmp_path)
    row = {"run": "a", "shown": {}, "seed": 0, "status": "done", "error": None, "seconds": 1.0}
    write_tables(tmp_path, [row | {"folder": "runs/a", "recorded": {"x": 1}}])
    with pytest.raises(FedkitError, match="accuracies"):
        fk.results(tmp_path, by_round=True)
