"""Guided experiments: each can be set up and asks one question; what it promises holds over five seeds."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching.playground.dealt import config_of
from fedkit.teaching.playground.experiments import EXPERIMENTS, experiment
from fedkit.teaching.quiz import LETTERS

NUMBERS = range(1, len(EXPERIMENTS) + 1)


def test_there_are_eleven_and_each_can_be_set_up() -> None:
    assert len(EXPERIMENTS) == 11
    assert len({each.title for each in EXPERIMENTS}) == 11
    for each in EXPERIMENTS:
        assert each.answer in LETTERS[: len(each.options)]
        assert len(each.options) == 3
        assert len(each.runs) >= 2
        assert len({each.settings(run) for run in each.runs}) == len(each.runs)
        assert all(config_of(each.settings(run, 4)).rounds <= 40 for run in each.runs)
    assert len({each.answer for each in EXPERIMENTS}) == 3, "no letter is right always"


def test_an_experiment_or_a_run_that_is_none_is_said() -> None:
    for number in (0, 12, True):
        with pytest.raises(FedkitError, match="from 1 to 11"):
            experiment(number)
    with pytest.raises(FedkitError, match="one of FedAvg, FedProx"):
        experiment(1).settings("FedSomething")


def test_what_is_measured_is_said_in_numbers_of_this_run() -> None:
    """The quickest of them, whole; the others below."""
    guided = experiment(9)
    outcomes = guided.outcomes(3)
    assert guided.holds(outcomes)
    assert "1 point each: 100.0%" in guided.measured(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_what_an_experiment_promises_holds_over_five_seeds(number: int) -> None:
    guided = experiment(number)
    measured = {seed: guided.outcomes(seed) for seed in range(5)}
    failed = {s: guided.measured(o) for s, o in measured.items() if not guided.holds(o)}
    assert failed == {}
