"""From a promise to noise and steps: a mechanism counts what is done."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism
from tests.support.helpers import tutorial

EXAMPLE = {"unit": "example", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}
PARTICIPANT = {"unit": "participant", "noise_multiplier": 1.1, "delta": 1e-4, "clip": 1.0}


def test_mechanisms_count_what_is_done() -> None:
    """One example: 130 images in batches of 64, 3 rounds of 10 epochs: 3 steps an epoch, each with a third of them."""
    config = FLConfig.from_dict(tutorial(dp=EXAMPLE))
    assert example_mechanism(config, 130) == Mechanism(1 / 3, 1.1, 90)
    with pytest.raises(FedkitError, match="not below 1 / 10,000"):
        example_mechanism(config, 10_000)
    config = FLConfig.from_dict(tutorial(dp=PARTICIPANT, weighting="equal"))
    assert participant_mechanism(config) == Mechanism(1.0, 1.1, 3)
    some = config.replace(participants_per_round=1)
    assert participant_mechanism(some) == Mechanism(0.5, 1.1, 3)
    assert participant_mechanism(some, sample_is_secret=False) == Mechanism(1.0, 1.1, 3)
    wanted = {k: v for k, v in EXAMPLE.items() if k != "noise_multiplier"} | {"epsilon": 2.0}
    mechanism = example_mechanism(FLConfig.from_dict(tutorial(dp=wanted)), 130)
    assert epsilon_of(mechanism, 1e-4) == pytest.approx(2.0, rel=5e-3)


def test_an_epsilon_is_kept_against_those_who_see_who_was_asked() -> None:
    """The noise of a sampled project is that of an unsampled one: everybody reads in round_n.json who trains."""
    wanted = {k: v for k, v in PARTICIPANT.items() if k != "noise_multiplier"} | {"epsilon": 4.0}
    config = FLConfig.from_dict(tutorial(dp=wanted, weighting="equal", participants_per_round=1))
    drawn = participant_mechanism(config)
    assert drawn.sampling_rate == 0.5
    assert epsilon_of(participant_mechanism(config, sample_is_secret=False), 1e-4) == pytest.approx(
        4.0, rel=5e-3
    )
    everybody = participant_mechanism(config.replace(participants_per_round=None))
    assert drawn.noise_multiplier == everybody.noise_multiplier
    assert epsilon_of(drawn, 1e-4) < 3.0
