"""Every number of a config has bounds: nothing that a stranger writes there costs more than a refusal."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.config.limits import LIMITS, Limit
from fedkit.learning.strategies.registry import STRATEGIES, make_strategy
from tests.support.helpers import tutorial

HUGE = 10**400
DP = {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 1.0}


def config(**changes: Any) -> FLConfig:
    return FLConfig.from_dict(tutorial(**changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"learning_rate": 1e300}, "learning_rate"),
        ({"learning_rate": HUGE}, "learning_rate"),
        ({"round_timeout_s": 1e300}, "round_timeout_s"),
        ({"linger_s": 1e300}, "linger_s"),
        ({"linger_s": math.nan}, "linger_s"),
        ({"rounds": 10**7}, "rounds"),
        ({"epoch": HUGE}, "epoch"),
        ({"batch_size": 10**9}, "batch_size"),
        ({"seed": 2**63}, "seed"),
        ({"dp": DP | {"noise_multiplier": 1e-300}}, "dp.noise_multiplier"),
        ({"dp": DP | {"noise_multiplier": 1e300}}, "dp.noise_multiplier"),
        ({"dp": DP | {"clip": 1e-300}}, "dp.clip"),
        ({"dp": DP | {"clip": 1e300}}, "dp.clip"),
        ({"dp": DP | {"delta": 1e-300}}, "dp.delta"),
        ({"dp": DP | {"delta": 5e-324}}, "dp.delta"),
    ],
)
def test_a_number_beyond_its_bounds_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(FedkitError) as caught:
        config(**changes)
    assert caught.value.field == field
    assert caught.value.remedy


BESIDE = {"weighting", "population"}  # what the rest of the config gives


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("value", [HUGE, -1, math.nan, math.inf, "1", True, None, [1]])
def test_a_parameter_beyond_its_bounds_is_refused_by_name(name: str, value: Any) -> None:
    for key in sorted(STRATEGIES[name].__dataclass_fields__.keys() - BESIDE):
        with pytest.raises(FedkitError) as caught:
            make_strategy(config(strategy={"name": name, key: value}))
        assert caught.value.field == f"strategy.{key}"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fedadam", "tau"),
        ("fedyogi", "tau"),
        ("fedadagrad", "tau"),
        ("geometric_median", "nu"),
        ("norm_clip", "clip"),
    ],
)
@pytest.mark.parametrize("value", [0, 0.0, 1e-300])
def test_what_is_divided_by_is_never_nothing(name: str, key: str, value: float) -> None:
    with pytest.raises(FedkitError, match="is not a number from 1e-12"):
        make_strategy(config(strategy={"name": name, key: value}))


def test_every_field_of_every_strategy_has_bounds() -> None:
    fields = {key for kind in STRATEGIES.values() for key in kind.__dataclass_fields__}
    assert fields - BESIDE <= LIMITS.keys()


def test_eight_thousand_participants_are_checked_in_linear_time() -> None:
    def cpu_s(count: int) -> float:
        emails = [f"p{n}@example.org" for n in range(count)]
        values = tutorial(participants=emails)
        began = time.process_time()
        FLConfig.from_dict(values)
        return time.process_time() - began

    cpu_s(10)  # the first call imports
    few, many = cpu_s(1_000), cpu_s(8_000)
    assert many < 24 * few  # eight times as many; compared with all others, it would be 64


@pytest.mark.parametrize(
    ("limit", "value", "fits"),
    [
        (Limit(0, 1), 0, True),
        (Limit(0, 1), 1, True),
        (Limit(0, 1, open_low=True), 0, False),
        (Limit(0, 1, open_high=True), 1, False),
        (Limit(0, 10, whole=True), 1.0, False),
        (Limit(0, 10, whole=True), 10, True),
        (Limit(0, math.inf), HUGE, True),
        (Limit(0, 1e9), HUGE, False),
        (Limit(0, 1), math.nan, False),
        (Limit(0, 1), True, False),
        (Limit(0, 1), "0", False),
    ],
)
def test_a_limit_holds_at_its_ends(limit: Limit, value: Any, fits: bool) -> None:
    assert (limit.wrong(value) is None) == fits
