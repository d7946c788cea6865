"""The key "dp": a promise without meaning is refused at the door, and so is what does not go with the rest."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from tests.support.helpers import tutorial

EXAMPLE = {"unit": "example", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}


def complaint(**changes: object) -> FedkitError:
    with pytest.raises(FedkitError) as caught:
        FLConfig.from_dict(tutorial(**changes))
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("dp", "field", "reason"),
    [
        ({**EXAMPLE, "epsilon": 2}, "dp", "both are given"),
        ({k: v for k, v in EXAMPLE.items() if k != "noise_multiplier"}, "dp", "neither is given"),
        ({k: v for k, v in EXAMPLE.items() if k != "clip"}, "dp.clip", "is missing"),
        ({**EXAMPLE, "clip": 0}, "dp.clip", "bounds nothing"),
        ({**EXAMPLE, "clip": 1e999}, "dp.clip", "bounds nothing"),
        ({**EXAMPLE, "delta": 0}, "dp.delta", "undefined"),
        ({**EXAMPLE, "delta": 1}, "dp.delta", "undefined"),
        ({**EXAMPLE, "noise_multiplier": 0}, "dp.noise_multiplier", "epsilon is infinite"),
        ({**EXAMPLE, "noise_multiplier": "1"}, "dp.noise_multiplier", "must be a number"),
        ({**EXAMPLE, "unit": "image"}, "dp.unit", "example"),
        ({**EXAMPLE, "sigma": 1}, "dp.sigma", "not permitted"),
        ({**EXAMPLE, "noise_at": "participants"}, "dp", "its own gradients"),
        ({**EXAMPLE, "colluders": 1}, "dp", "there are no shares"),
        ({**PARTICIPANT, "colluders": 1}, "dp", "there are no shares"),
        ({**PARTICIPANT, "noise_at": "participants", "colluders": -1}, "dp.colluders", "from 0"),
        ({**PARTICIPANT, "noise_at": "participants", "colluders": True}, "dp.colluders", "from 0"),
        (PARTICIPANT, "weighting", "equal"),
    ],
)
def test_a_promise_without_meaning_is_refused(dp: dict, field: str, reason: str) -> None:
    error = complaint(dp=dp)
    assert error.field == field
    assert reason in f"{error.what} {error.remedy}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"adjustable": ["epoch"], "dp": EXAMPLE}, "adjustable"),
        ({"adjustable": ["participants_per_round"], "dp": PARTICIPANT}, "adjustable"),
        ({"strategy": {"name": "krum"}, "dp": PARTICIPANT}, "strategy"),
        ({"strategy": {"name": "of_tomorrow"}, "dp": EXAMPLE}, "strategy"),
        ({"dp": {**PARTICIPANT, "delta": 0.5}}, "dp.delta"),
        (
            {"participants_per_round": 1, "dp": {**PARTICIPANT, "noise_at": "participants"}},
            "participants_per_round",
        ),
        ({"dp": PARTICIPANT, "secure_aggregation": {"threshold": 2}}, "dp.noise_at"),
        (
            {"dp": {**PARTICIPANT, "noise_at": "participants", "colluders": 2}},
            "dp.colluders",
        ),
        (
            {
                "dp": {**PARTICIPANT, "noise_at": "participants", "colluders": 1},
                "min_participants": 1,
            },
            "dp.colluders",
        ),
        ({"dp": {**PARTICIPANT, "adaptive_clip": {"count_noise": 0.5}}}, "dp"),
    ],
)
def test_what_does_not_go_with_the_rest_is_refused(changes: dict, field: str) -> None:
    assert complaint(weighting="equal", **changes).field == field


def test_what_was_written_is_written_again() -> None:
    config = FLConfig.from_dict(tutorial(dp=EXAMPLE))
    assert FLConfig.parse(config.to_json()) == config == config.replace()
    assert '"epsilon"' not in config.to_json()


def test_a_config_from_before_colluders_is_taken_as_it_is() -> None:
    """Even where a round of one is allowed, whose noise nobody but its maker could know."""
    dp = {**PARTICIPANT, "noise_at": "participants"}
    for fewest in (None, 1, 2):
        config = FLConfig.from_dict(tutorial(dp=dp, weighting="equal", min_participants=fewest))
        assert config.dp is not None
        assert config.dp.colluders is None
        assert "colluders" not in config.to_json()
