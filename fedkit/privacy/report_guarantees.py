"""What holds formally in a project, for which unit, against whom: from its config, by the accountant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp_account import epsilon_of
from fedkit.privacy.dp_plan import example_mechanism, participant_mechanism

__all__ = ["AGGREGATOR", "OTHERS", "WORLD", "Guarantee", "guarantees"]

AGGREGATOR, OTHERS, WORLD = "the aggregator", "the other participants", "everybody else"


@dataclass(frozen=True)
class Guarantee:
    """For one unit, against somebody: epsilon (infinite: nothing holds; None: no statement) at delta, and why."""

    unit: str
    against: str
    epsilon: float | None
    delta: float | None
    because: str


def guarantees(config: FLConfig, counts: Mapping[str, int]) -> tuple[Guarantee, ...]:
    """What holds formally. counts : images by participant, as they say."""
    dp = config.dp
    everyone = f"{AGGREGATOR}, {OTHERS}, {WORLD}"
    if dp is None:
        why = (
            "no noise: an update follows from the images and the config alone, and nothing bounds what "
            "one image does to it"
        )
        rows = [
            Guarantee(unit, everyone, math.inf, None, why) for unit in ("example", "participant")
        ]
        if config.secure_aggregation is not None:
            rows.append(
                Guarantee(
                    "example",
                    AGGREGATOR,
                    math.inf,
                    None,
                    (
                        "masks hide single updates, but the sum itself is exact and tells about every image in it"
                    ),
                )
            )
        return tuple(rows)
    if dp.unit == "example":
        return (
            _of_examples(config, counts, everyone),
            Guarantee(
                "participant",
                everyone,
                None,
                None,
                "noise made for one image does not cover all of a participant's",
            ),
        )
    return _of_participants(config)


def _of_examples(config: FLConfig, counts: Mapping[str, int], everyone: str) -> Guarantee:
    dp = config.dp
    assert dp is not None
    known = [count for count in counts.values() if count > 0]
    try:
        spent = [
            epsilon_of(example_mechanism(config, count), dp.delta) for count in sorted(set(known))
        ]
    except FedkitError as error:
        return Guarantee("example", everyone, None, dp.delta, str(error))
    worst = max(spent, default=dp.epsilon)
    how = (
        f"DP-SGD at each participant, all {config.rounds} rounds, Poisson sampling, clip {dp.clip:g}; "
        "PLD accountant"
    )
    if not known:
        how += "; as promised, since no number of images is known"
    return Guarantee("example", everyone, worst, dp.delta, how)


def _of_participants(config: FLConfig) -> tuple[Guarantee, ...]:
    dp = config.dp
    assert dp is not None
    mechanism = participant_mechanism(config)
    spent = epsilon_of(mechanism, dp.delta)
    outside, how = (
        f"{OTHERS}, {WORLD}",
        (f"clipped to {dp.clip:g}, Gaussian noise, all {config.rounds} rounds; PLD accountant"),
    )
    rows = []
    if dp.noise_at == "aggregator":
        rows.append(
            Guarantee(
                "participant",
                AGGREGATOR,
                math.inf,
                None,
                "it adds the noise itself, after it has seen each update",
            )
        )
        rows.append(
            Guarantee(
                "participant",
                outside,
                spent,
                dp.delta,
                f"noise on the mean, {how}" + _hidden_sample(mechanism.sampling_rate),
            )
        )
        if mechanism.sampling_rate < 1:
            known = epsilon_of(participant_mechanism(config, sample_is_secret=False), dp.delta)
            rows.append(
                Guarantee(
                    "participant",
                    (
                        f"{outside}, where they know who trained in which round (public progress files tell)"
                    ),
                    known,
                    dp.delta,
                    "the same without the credit for sampling",
                )
            )
        return tuple(rows)
    if config.secure_aggregation is None:
        rows.append(
            Guarantee(
                "participant",
                AGGREGATOR,
                None,
                dp.delta,
                "it sees single updates, each with one share of the noise only",
            )
        )
        rows.append(
            Guarantee(
                "participant",
                outside,
                spent,
                dp.delta,
                f"shares of noise add up in the mean, {how}",
            )
        )
    else:
        rows.append(
            Guarantee(
                "participant",
                f"{AGGREGATOR}, {outside}",
                spent,
                dp.delta,
                (
                    f"shares of noise add up under the masks, {how}; as long as the threshold holds and nobody "
                    "gives away its share"
                ),
            )
        )
    return tuple(rows)


def _hidden_sample(rate: float) -> str:
    return (
        ""
        if rate == 1
        else (f"; each takes part with probability {rate:g}, and nobody else knows when")
    )
