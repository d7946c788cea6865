"""The summary of a batch: accuracies by round, as many of them as there is room for."""

from __future__ import annotations

import io
import re

from rich.console import Console

from fedkit.experiments.notebooks import RunResult
from fedkit.experiments.summary import accuracy_by_round, table


def test_accuracies_that_were_recorded_become_a_table_of_rounds():
    def result(name: str, **recorded: object) -> RunResult:
        return RunResult(name, "learner", "done", 1.0, None, None, recorded=recorded)

    both = [result("04_aggregate", accuracies=[0.5, 0.75]), result("00_start", accuracy=[0.25])]
    shown = io.StringIO()
    Console(file=shown, width=100).print(accuracy_by_round([*both, result("01", accuracy=0.9)]))
    text = shown.getvalue()
    assert "round 2" in text
    assert "50.0%" in text
    assert "75.0%" in text
    assert "01" not in text
    assert accuracy_by_round([result("02", bytes=3)]) is None
    assert accuracy_by_round([result("02", accuracies=["high", None])]) is None


def test_of_many_rounds_as_many_are_shown_as_there_is_room_for(tmp_path):
    def result(name, accuracies):
        return RunResult(
            name, "learner", "done", 1.0, None, None, recorded={"accuracies": accuracies}
        )

    both = [result("11", [n / 100 for n in range(18)]), result("06", [0.5, 0.75])]
    shown = io.StringIO()
    Console(file=shown, width=100).print(accuracy_by_round(both))
    assert re.findall(r"round (\d+)", shown.getvalue()) == ["1", "5", "9", "13", "18"]
    assert "17.0%" in shown.getvalue()
    Console(file=shown, width=100).print(table(both))
    assert "[0, ..., 0.17]" in shown.getvalue()
    assert "[0.5, 0.75]" in shown.getvalue()
