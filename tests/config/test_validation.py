"""The key "validation": how much is kept back, and what it does not go with."""

import json
from typing import Any

import pytest

from fedkit.config.fl_config import FLConfig
from fedkit.config.validation import kept
from tests.support.helpers import complaint, tutorial


def config(validation: Any, **changes: Any) -> FLConfig:
    return FLConfig.from_dict(tutorial(validation=validation, **changes))


def test_what_was_written_is_written_again() -> None:
    assert "validation" not in FLConfig.from_dict(tutorial()).to_json()
    written: list[dict[str, Any]] = [{}, {"share": 0.5}, {"share": 0.1, "patience": 3}]
    for values in written:
        there = config(values)
        assert json.loads(there.to_json())["validation"] == values
        assert FLConfig.parse(there.to_json()) == there == there.replace()
    assert config({"patience": None}).validation is not None


@pytest.mark.parametrize(
    ("validation", "field"),
    [
        ({"share": 0}, "validation.share"),
        ({"share": 1}, "validation.share"),
        ({"share": "0.2"}, "validation.share"),
        ({"share": float("nan")}, "validation.share"),
        ({"patience": 0}, "validation.patience"),
        ({"patience": 1.5}, "validation.patience"),
        ({"patience": True}, "validation.patience"),
        ({"patience": 10**400}, "validation.patience"),
        ({"shares": 0.2}, "validation.shares"),
        (0.2, "validation"),
    ],
)
def test_a_wrong_one_is_named_with_its_remedy(validation: Any, field: str) -> None:
    error = complaint(lambda: config(validation))
    assert error.field == field
    assert error.remedy


@pytest.mark.parametrize(
    "promise",
    [
        {"secure_aggregation": {"threshold": 2}},
        {"dp": {"unit": "example", "noise_multiplier": 1.0, "delta": 1e-4, "clip": 1.0}},
        {
            "dp": {"unit": "participant", "noise_multiplier": 1.0, "delta": 1e-4, "clip": 1.0},
            "weighting": "equal",
        },
    ],
)
def test_numbers_that_tell_what_is_hidden_are_refused(promise: dict[str, Any]) -> None:
    error = complaint(lambda: config({"share": 0.2}, **promise))
    assert error.field == "validation"
    assert next(iter(promise)) in error.what


def test_at_least_one_is_kept_and_one_is_left() -> None:
    assert [kept(0.2, n) for n in (2, 3, 10, 100)] == [1, 1, 2, 20]
    assert [kept(0.999, n) for n in (2, 3, 10)] == [1, 2, 9]
    assert all(0 < kept(share, n) < n for share in (1e-9, 0.5, 1 - 1e-9) for n in range(2, 50))
