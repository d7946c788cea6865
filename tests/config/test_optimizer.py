"""The key "optimizer": what it may say, what belongs to which name, and what it does not go with."""

import json
from typing import Any

import pytest
import torch

from fedkit.config.fl_config import FLConfig
from tests.support.helpers import complaint, tutorial

DP = {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-4, "clip": 1.0}
NOT_PLAIN: list[dict[str, Any]] = [
    {"name": "sgd", "momentum": 0.9},
    {"name": "sgd", "weight_decay": 0.1},
    {"name": "sgd", "clip_norm": 1.0},
    {"name": "adam"},
    {"name": "adamw"},
]


def config(optimizer: Any, **changes: Any) -> FLConfig:
    return FLConfig.from_dict(tutorial(optimizer=optimizer, **changes))


def test_without_one_nothing_is_written() -> None:
    plain = FLConfig.from_dict(tutorial())
    assert plain.optimizer is None
    assert "optimizer" not in plain.to_json()


@pytest.mark.parametrize(
    "written",
    [
        {"name": "sgd", "momentum": 0.9, "nesterov": True},
        {"name": "sgd", "momentum": 0.5, "dampening": 0.5, "weight_decay": 1e-4, "clip_norm": 3},
        {"name": "adam", "betas": [0.8, 0.9], "eps": 1e-6},
        {"name": "adamw", "weight_decay": 0.05},
    ],
)
def test_what_was_written_is_written_again(written: dict[str, Any]) -> None:
    there = config(written)
    assert json.loads(there.to_json())["optimizer"] == written
    assert FLConfig.parse(there.to_json()) == there == there.replace()


def test_the_defaults_are_torchs() -> None:
    names = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    for name, kind in names.items():
        optimizer = config({"name": name}).optimizer
        assert optimizer is not None
        theirs = kind([torch.zeros(1, requires_grad=True)], lr=0.1).defaults
        assert {key: theirs[key] for key in optimizer.options} == optimizer.options


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"name": "lion"}, "'sgd', 'adam' or 'adamw'"),
        ({}, "is missing"),
        ("adam", 'write {"name": "adam"}'),
        (3, "optimizer"),
        ({"name": "adam", "momentum": 0.9}, "it has betas, eps, weight_decay, clip_norm"),
        ({"name": "sgd", "betas": [0.9, 0.99]}, "it has momentum, dampening, nesterov"),
        ({"name": "sgd", "eps": 1e-8}, "eps: sgd has none"),
        ({"name": "sgd", "lr": 0.1}, "optimizer.lr"),
        ({"name": "sgd", "nesterov": True}, "write a momentum above 0"),
        ({"name": "sgd", "nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        ({"name": "sgd", "nesterov": 1, "momentum": 0.9}, "optimizer.nesterov"),
        ({"name": "sgd", "momentum": 1}, "below 1"),
        ({"name": "sgd", "momentum": "0.9"}, "without quotes"),
        ({"name": "sgd", "momentum": True}, "optimizer.momentum"),
        ({"name": "sgd", "momentum": float("nan")}, "optimizer.momentum"),
        ({"name": "sgd", "dampening": 2}, "optimizer.dampening"),
        ({"name": "sgd", "weight_decay": -1}, "optimizer.weight_decay"),
        ({"name": "sgd", "weight_decay": 10**400}, "optimizer.weight_decay"),
        ({"name": "sgd", "clip_norm": 0}, "optimizer.clip_norm"),
        ({"name": "adam", "eps": 0}, "optimizer.eps"),
        ({"name": "adam", "betas": [0.9]}, "optimizer.betas"),
        ({"name": "adam", "betas": [0.9, 1]}, "optimizer.betas"),
        ({"name": "adam", "betas": 0.9}, "optimizer.betas"),
    ],
)
def test_a_wrong_one_is_named_with_its_remedy(written: Any, says: str) -> None:
    error = complaint(lambda: config(written))
    assert says in str(error)
    assert str(error.field).startswith("optimizer")
    assert error.remedy


@pytest.mark.parametrize("written", NOT_PLAIN, ids=str)
@pytest.mark.parametrize("name", ["scaffold", "fednova"])
def test_a_strategy_that_counts_steps_of_plain_sgd_says_why(
    name: str, written: dict[str, Any]
) -> None:
    error = complaint(lambda: config(written, strategy={"name": name}))
    assert error.field == "optimizer"
    assert "20" in error.what  # the paper
    assert config({"name": "sgd"}, strategy={"name": name}).optimizer is not None


@pytest.mark.parametrize("written", NOT_PLAIN, ids=str)
@pytest.mark.parametrize("name", ["fedavg", "fedprox", "fedadam", "fedavgm", "median", "krum"])
def test_the_others_take_what_training_sends(name: str, written: dict[str, Any]) -> None:
    assert config(written, strategy={"name": name}).optimizer is not None


def test_a_promise_of_privacy_cuts_single_gradients_itself() -> None:
    error = complaint(lambda: config({"name": "adam", "clip_norm": 1.0}, dp=DP))
    assert error.field == "optimizer.clip_norm"
    assert "dp.clip" in error.what
    assert config({"name": "adam"}, dp=DP).optimizer is not None
    participant = DP | {"unit": "participant"}
    assert config({"name": "adam", "clip_norm": 1.0}, dp=participant, weighting="equal").dp
