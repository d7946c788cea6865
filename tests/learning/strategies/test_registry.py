"""Names in the config become rules: no rule changes what it is given, and a wrong spec is answered."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies.registry import STRATEGIES, make_strategy
from tests.support.strategies import change, updates


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([*STRATEGIES]),
    st.lists(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4), min_size=5, max_size=8),
)
def test_no_rule_changes_what_it_is_given_and_order_hardly_matters(name: str, rows: list) -> None:
    enough = [f"p{k}@example.org" for k in range(8)]
    strategy = make_strategy(config(strategy={"name": name}, participants=enough))
    arrived = updates(*rows)
    before = [u.state["w"].clone() for u in arrived]
    one = change(strategy, arrived)
    assert all(torch.equal(u.state["w"], w) for u, w in zip(arrived, before, strict=True))
    assert torch.equal(one, change(strategy, arrived))
    if name not in ("krum", "multi_krum"):  # ties go to whoever comes first
        torch.testing.assert_close(one, change(strategy, arrived[::-1]), rtol=0, atol=1e-4)


def config(**more: object) -> FLConfig:
    return FLConfig.from_dict(
        {
            "project_name": "T",
            "aggregator": "a@example.org",
            "participants": ["b@example.org"],
            "rounds": 1,
            "epoch": 1,
            "learning_rate": 0.1,
            "model_arch": "model.py",
            "model_weight": "w.pt",
        }
        | more
    )


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"name": "fedproxx"}, "strategy.name", "did you mean 'fedprox'"),
        ({"name": "nonsense"}, "strategy.name", "fedavg, fedprox"),
        ({}, "strategy.name", "None is no strategy"),
        ({"name": "fedprox", "nu": 1}, "strategy.nu", "it has mu"),
        ({"name": "scafold"}, "strategy.name", "did you mean 'scaffold'"),
        ({"name": "scaffold", "population": 3}, "strategy.population", "it has server_lr"),
        ({"name": "scaffold", "server_lr": -1}, "strategy.server_lr", "from 0"),
        ({"name": "fednova", "tau": 3}, "strategy.tau", "it has none"),
        ({"name": "fedprox", "mu": -1}, "strategy.mu", "correct the parameter"),
        ({"name": "fedprox", "mu": float("nan")}, "strategy.mu", "not a number"),
        ({"name": "trimmed_mean", "beta": 0.5}, "strategy.beta", "below 0.5"),
        ({"name": "krum", "hostile": 1.5}, "strategy.hostile", "whole number"),
        ({"name": "fedavgm", "momentum": True}, "strategy.momentum", "not a number"),
    ],
)
def test_a_wrong_strategy_is_answered(spec: dict, field: str, words: str) -> None:
    with pytest.raises(FedkitError) as caught:
        make_strategy(config(strategy=spec))
    assert caught.value.field == field
    assert words in str(caught.value)
