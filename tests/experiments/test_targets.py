"""What a sweep may run: a notebook with its own parameters, a lesson by its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.spec import make_plan
from tests.support.sweeps import notebook


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"grid": {"round": [1]}}, "grid.round", "did you mean rounds?"),
        ({"grid": {"rounds": ["many"]}}, "rounds", "is no int"),
    ],
)
def test_a_notebook_has_its_own_parameters(
    tmp_path: Path, changes: dict[str, Any], field: str, said: str
) -> None:
    notebook(tmp_path / "mine.ipynb", "1")
    with pytest.raises(FedkitError) as caught:
        make_plan({"run": "mine.ipynb", **changes}, file=tmp_path / "s.yaml")
    assert caught.value.field == field
    assert said in str(caught.value)


def test_lessons_are_found_by_number() -> None:
    plan = make_plan({"run": 4, "grid": {"learning_rate": [0.1, 0.2]}, "seeds": 2})
    assert plan.target.name == "04_aggregate"
    assert [run.values["learning_rate"] for run in plan.runs] == [0.1, 0.2, 0.1, 0.2]
    without = make_plan({"run": 4})
    assert [run.seed for run in without.runs] == [0]
