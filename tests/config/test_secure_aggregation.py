"""The key "secure_aggregation": a threshold, and what does not go together with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.config.secure_aggregation import SUM_IS_ENOUGH
from fedkit.learning.strategies.fedavg import fedavg
from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.learning.update import Update
from tests.support.helpers import ALICE, BOB, CAROL, tutorial


def config(**changes: Any) -> FLConfig:
    people = {"participants": [ALICE, BOB, CAROL, "dan@example.org"]}
    return FLConfig.from_dict(
        tutorial(**(people | {"secure_aggregation": {"threshold": 3}} | changes))
    )


def test_a_config_says_the_threshold_and_keeps_it() -> None:
    assert config().secure_aggregation is not None
    assert config().secure_aggregation.threshold == 3  # type: ignore[union-attr]
    again = FLConfig.parse(config().to_json())
    assert again == config()
    assert again.replace(rounds=5).secure_aggregation == config().secure_aggregation
    assert FLConfig.from_dict(tutorial()).secure_aggregation is None
    assert "secure_aggregation" not in FLConfig.from_dict(tutorial()).to_json()


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"secure_aggregation": {}}, "secure_aggregation.threshold", "is missing"),
        (
            {"secure_aggregation": {"threshold": "3"}},
            "secure_aggregation.threshold",
            "whole number",
        ),
        ({"secure_aggregation": {"threshold": 1}}, "secure_aggregation.threshold", "2"),
        ({"secure_aggregation": {"threshold": 3, "t": 3}}, "secure_aggregation.t", "not permitted"),
        ({"secure_aggregation": {"threshold": 2}}, "secure_aggregation.threshold", "2 of 4"),
        ({"secure_aggregation": {"threshold": 5}}, "secure_aggregation.threshold", "5 of 4"),
        ({"participants": [ALICE]}, "secure_aggregation", "a sum of one is that update"),
        ({"participants_per_round": 1}, "secure_aggregation", "a sum of one is that update"),
        ({"participants_per_round": 2}, "secure_aggregation.threshold", "3 of 2"),
        ({"min_participants": 2}, "min_participants", "3 (the threshold) must"),
        ({"adjustable": ["participants_per_round"]}, "adjustable", "approved for one number"),
        (
            {
                "dp": {"unit": "participant", "epsilon": 8, "delta": 1e-5, "clip": 1},
                "weighting": "equal",
            },
            "dp.noise_at",
            "secure_aggregation shows it none",
        ),
        ({"strategy": {"name": "krum"}}, "strategy.name", "'krum' looks at single updates"),
        ({"strategy": {"name": "median"}}, "strategy.name", "fedavg"),
    ],
)
def test_what_does_not_go_together_is_said_at_the_door(
    changes: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(FedkitError) as caught:
        config(**changes)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert caught.value.remedy


def test_which_strategies_work_is_no_guess() -> None:
    """Those that work give the same global model from their updates' mean as from the updates; all others are refused."""
    draw = torch.Generator().manual_seed(1)
    model = {"w": torch.randn(40, generator=draw)}
    updates = [Update(f"p{k}", 1, {"w": torch.randn(40, generator=draw)}, 3 + k) for k in range(5)]
    mean = [Update("sum", 1, fedavg(updates), 25)]
    for name, kind in STRATEGIES.items():
        if name in SUM_IS_ENOUGH:
            config(strategy={"name": name})
            rule = kind()
            one, _ = rule.apply(rule.init(model), updates)
            other, _ = rule.apply(rule.init(model), mean)
            assert torch.allclose(one.model["w"], other.model["w"], atol=1e-5), name
        else:
            with pytest.raises(
                FedkitError, match="at its participant" if name == "fedbn" else "single updates"
            ):
                config(strategy={"name": name})
