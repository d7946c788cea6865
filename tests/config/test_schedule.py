"""The key "schedule": formulas, torch's own schedulers as oracles, and what is refused."""

import json
import math
from typing import Any

import pytest
import torch

from fedkit.config.fl_config import FLConfig
from fedkit.config.schedule import Schedule
from tests.support.helpers import complaint, tutorial


def config(schedule: Any, **changes: Any) -> FLConfig:
    return FLConfig.from_dict(tutorial(schedule=schedule, **changes))


def rates(written: dict[str, Any], rounds: int = 12) -> list[float]:
    schedule = Schedule.model_validate(written)
    return [0.2 * schedule.share(n, rounds) for n in range(1, rounds + 1)]


def test_without_one_nothing_is_written() -> None:
    assert FLConfig.from_dict(tutorial()).schedule is None
    assert "schedule" not in FLConfig.from_dict(tutorial()).to_json()
    assert rates({"name": "constant"}) == [0.2] * 12


@pytest.mark.parametrize(
    ("written", "make"),
    [
        (
            {"name": "step", "every": 3, "factor": 0.5},
            lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=3, gamma=0.5),
        ),
        ({"name": "step", "every": 5}, lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=5)),
        ({"name": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=12)),
        (
            {"name": "cosine", "final": 0.1},
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=12, eta_min=0.02),
        ),
        (
            {"name": "warmup", "rounds": 4},
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=4),
        ),
        (
            {"name": "warmup", "rounds": 20, "start": 0.5},
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=20),
        ),
    ],
    ids=lambda part: str(part) if isinstance(part, dict) else "",
)
def test_the_rates_are_those_of_torchs_scheduler(written: dict[str, Any], make: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    scheduler, theirs = make(optimizer), []
    for _ in range(12):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(written) == pytest.approx(theirs, rel=1e-9)


def test_the_rates_by_hand() -> None:
    assert rates({"name": "step", "every": 2, "factor": 0.5}, 5) == [0.2, 0.2, 0.1, 0.1, 0.05]
    assert rates({"name": "cosine"}, 2) == pytest.approx([0.2, 0.1])
    assert rates({"name": "cosine", "final": 1}, 3) == pytest.approx([0.2] * 3)
    thirds = [0.2 * (1 + math.cos(math.pi * k / 3)) / 2 for k in range(3)]
    assert rates({"name": "cosine"}, 3) == thirds
    assert rates({"name": "warmup", "rounds": 2, "start": 0.5}, 4) == pytest.approx(
        [0.1, 0.15, 0.2, 0.2]
    )


@pytest.mark.parametrize(
    "written",
    [
        {"name": "constant"},
        {"name": "step", "every": 3},
        {"name": "cosine", "final": 0.5},
        {"name": "warmup", "rounds": 3, "start": 0.2},
    ],
)
def test_what_was_written_is_written_again(written: dict[str, Any]) -> None:
    there = config(written)
    assert json.loads(there.to_json())["schedule"] == written
    assert FLConfig.parse(there.to_json()) == there == there.replace()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"name": "exponential"}, "'constant', 'step', 'cosine' or 'warmup'"),
        ({}, "is missing"),
        ("cosine", 'write {"name": "cosine"}'),
        ([1], "schedule"),
        ({"name": "constant", "every": 3}, "no parameter"),
        ({"name": "cosine", "factor": 0.5}, "it has final"),
        ({"name": "step", "final": 0.5, "every": 2}, "it has every, factor"),
        ({"name": "warmup", "start": 0.5}, '"rounds": 5'),
        ({"name": "step"}, '"every": 5'),
        ({"name": "step", "every": 0}, "schedule.every"),
        ({"name": "step", "every": 1.5}, "schedule.every"),
        ({"name": "step", "every": 10**400}, "schedule.every"),
        ({"name": "step", "every": 1, "factor": 0}, "schedule.factor"),
        ({"name": "step", "every": 1, "factor": 2}, "schedule.factor"),
        ({"name": "step", "every": 1, "factor": float("nan")}, "schedule.factor"),
        ({"name": "cosine", "final": "0"}, "schedule.final"),
        ({"name": "warmup", "rounds": 3, "start": 0}, "schedule.start"),
        ({"name": "cosine", "T_max": 3}, "schedule.T_max"),
    ],
)
def test_a_wrong_one_is_named_with_its_remedy(written: Any, says: str) -> None:
    error = complaint(lambda: config(written))
    assert says in str(error)
    assert str(error.field).startswith("schedule")
    assert error.remedy


def test_a_rate_that_goes_to_nothing_is_refused() -> None:
    tiny = {"name": "step", "every": 1, "factor": 0.001}
    assert "nothing is learned" in complaint(lambda: config(tiny, rounds=400)).what
    assert config({"name": "cosine"}, rounds=1_000_000).schedule is not None
