"""The tables of a sweep: a column for each value, and no name twice."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

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


def rows(*shown: dict[str, Any]) -> list[dict[str, Any]]:
    about = {"run": "a", "seed": 0, "status": "done", "error": None, "seconds": 1.0}
    more = {"folder": "runs/a", "recorded": {"x": 1.5, "losses": [0.5]}}
    return [{**about, **more, "shown": one} for one in shown]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (3, 4),
        (0.001, 0.5),
        (True, False),
        ("007", "12:30"),
        ("nan", "NA"),
        ("1e-3", "True"),
        (10, "all"),
    ],
)
@pytest.mark.parametrize("by_round", [False, True])
def test_a_parameter_comes_back_as_it_was_given_and_one_that_was_not_as_nothing(
    tmp_path: Path, one: Any, other: Any, by_round: bool
) -> None:
    write_tables(tmp_path, rows({"p": one}, {"q": 1, "p": other}, {"q": 2}))
    for name in ("results.csv", "rounds.csv"):
        with (tmp_path / name).open() as file:
            written = list(csv.DictReader(file))
        assert [row["p"] for row in written] == [str(one), str(other), ""]
        assert [row["q"] for row in written] == ["", "1", "2"]
    frame = fk.results(tmp_path, by_round=by_round)
    back = frame["p"].tolist()
    assert back[:2] == [one, other]
    assert [type(value) for value in back[:2]] == [type(one), type(other)]
    assert frame["p"].isna().tolist() == [False, False, True]
    assert frame["q"].tolist()[1:] == [1, 2]
    assert all(type(value) is int for value in frame["q"].tolist()[1:])
    assert "nan" not in str(frame[["p", "q"]].iloc[2 if one == "nan" else 0 :]).lower().split()


def test_a_table_without_a_gap_has_plain_columns(tmp_path: Path) -> None:
    write_tables(tmp_path, rows({"n": 1, "r": 0.1, "on": True}, {"n": 2, "r": 2, "on": False}))
    frame = fk.results(tmp_path)
    assert [str(frame[name].dtype) for name in ("n", "r", "on")] == ["int64", "float64", "bool"]


def test_a_table_of_before_is_read_as_ever(tmp_path: Path) -> None:
    write_tables(tmp_path, rows({"p": 1}, {"p": 2}))
    (tmp_path / "columns.json").unlink()
    assert fk.results(tmp_path)["p"].tolist() == [1, 2]
