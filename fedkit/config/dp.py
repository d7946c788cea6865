"""The key `"dp"` of `fl_config.json`: what differential privacy a project promises, checked where it is written.

    "dp": {"unit": "example", "epsilon": 4, "delta": 1e-5, "clip": 1.0}

A promise whose epsilon would be undefined or would mean nothing is refused here, with the reason. Notebook 09.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from fedkit.base.strict_json import number_of
from fedkit.base.text import how_many
from fedkit.config.limits import LIMITS, within
from fedkit.config.part import NamedPart, Part
from fedkit.config.secure_aggregation import SUM_IS_ENOUGH

__all__ = ["AdaptiveClip", "Banded", "DPSettings"]


LARGEST_EPSILON = LIMITS["epsilon"].high
"""Beyond it, e^epsilon has 44 digits: a promise in name only."""

_ROBUST = {"median", "trimmed_mean", "krum", "multi_krum", "geometric_median", "norm_clip"}
"""Strategies that work on updates alone, so that noise inside the updates covers all of it. For noise on the mean alone,
only those will do that see nothing but the mean (`SUM_IS_ENOUGH`)."""
_USELESS = {
    "noise_multiplier": "is no noise, and without noise epsilon is infinite",
    "clip": "bounds nothing: without a bound on what one image or participant can change, no noise is large enough "
    "and epsilon is undefined",
}
"""What is wrong with a number here that is not finite or not above 0."""


_UNQUOTED = "write one without quotes"


def _epsilon(value: Any) -> float:
    number = number_of(value, _UNQUOTED)
    if not 0 < number <= LARGEST_EPSILON:
        raise ValueError(
            f"of {number:g} promises {'too little to mean anything' if number > 0 else 'nothing'}: "
            f"e^epsilon bounds how much likelier an outcome becomes; write a number above 0 and at most {LARGEST_EPSILON:g}"
        )
    return number


def _positive(value: Any, about: ValidationInfo) -> float:
    number = number_of(value, _UNQUOTED)
    if not 0 < number < math.inf:
        why = _USELESS[str(about.field_name)]
        raise ValueError(f"of {number:g} {why}; write a number above 0, such as 1.0")
    limit = LIMITS["dp.clip" if about.field_name == "clip" else "noise_multiplier"]
    if limit.wrong(number):
        raise ValueError(f"of {number:g} {limit.wrong(number)}; write one such as 1.0")
    return number


def _delta(value: Any) -> float:
    number = number_of(value, _UNQUOTED)
    if 0 < number < LIMITS["delta"].low:
        raise ValueError(f"of {number:g} {LIMITS['delta'].wrong(number)}; write one such as 1e-5")
    if not 0 < number < 1:
        reason = "with Gaussian noise" if number == 0 else "by its definition"
        raise ValueError(
            f"of {number:g} leaves epsilon undefined {reason}; write a number between 0 and 1, far below "
            "1 / (number of images or participants), such as 1e-5"
        )
    return number


class AdaptiveClip(BaseModel):
    """A clipping norm that follows a quantile of the updates' norms (Andrew et al. 2021).

    quantile : which share of the updates stays unclipped. learning_rate : how fast the norm follows (the paper's eta_C).
    count_noise : standard deviation of the noise on the count of unclipped updates, in participants; None (the default)
    takes the larger of the noise multiplier and a twentieth of those expected in a round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    learning_rate: Annotated[float, Field(gt=0, le=2)] = 0.2
    count_noise: (
        Annotated[float, Field(ge=LIMITS["count_noise"].low, le=LIMITS["count_noise"].high)] | None
    ) = None


class Banded(NamedPart):
    """Noise of the aggregator that later rounds take back in part, for participants who come in turn.

    bands : how many rounds a sum's noise is mixed over, from 2 to the rounds between two turns of one; None takes all.
    """

    example = "banded"
    name: Literal["banded"]
    bands: Annotated[int, Field(strict=True, ge=2, le=64)] | None = None

    def turns(self, config: Any) -> int:
        """How often a participant comes at most: ceil(T m / n) times in T rounds of m of n participants."""
        taken = int(config.rounds) * int(config.participants_per_round)
        return -(-taken // len(config.participants))

    def bands_of(self, config: Any) -> int:
        """p, at most the least number of rounds from one turn of a participant to its next."""
        between = len(config.participants) // int(config.participants_per_round)
        return min(self.bands or between, between, 64)

    def misfit(self, config: Any) -> str | None:
        """Why its config does not go with it, as "field: what; remedy", or None."""
        dp, count = config.dp, config.participants_per_round
        if dp.unit != "participant" or dp.noise_at != "aggregator" or dp.adaptive_clip:
            return (
                "dp.mechanism: is the noise of an aggregator on sums of participants with one clip; set unit to "
                '"participant", and leave out noise_at and adaptive_clip, or mechanism'
            )
        between = len(config.participants) // (count or len(config.participants))
        if between < 2:
            return (
                "dp.mechanism: takes noise back between two turns of a participant, and each comes in every round; set "
                "participants_per_round to at most half of them, or leave mechanism out"
            )
        if self.bands is not None and self.bands > between:
            return (
                f"dp.mechanism.bands: is {self.bands}, and a participant comes back after {how_many(between, 'round')}; "
                f"write at most {between}"
            )
        return None


class DPSettings(Part):
    """What a project promises. Frozen.

    unit : what one can't tell from the results: "example", whether one image was used (each participant adds noise to its
        gradients, nobody has to be trusted for that), or "participant", whether one participant took part.
    epsilon, noise_multiplier : one of them; the other follows. Epsilon is that of zero-out neighbours: one of them is
        replaced by one that contributes nothing, so how many there are is public (Ponomareva et al. 2023, section 2.1).
        The noise multiplier is the noise's standard deviation
        divided by the clipping norm.
    delta : what epsilon leaves over of an outcome's probability, far below 1 / (number of images or of participants).
    clip : L2 norm to which a gradient ("example") or an update ("participant") is cut.
    noise_at : for participants, who adds the noise: the "aggregator" (trusted with every update) or the "participants",
        each a share of it (which protects against the aggregator only where it sees nothing but sums).
    colluders : where participants add the noise, so many of them may put together what they know of their own shares: the
        others' shares alone make up the noise. None (the default) is 1, or 0 where there is one participant only, since
        everybody knows its own.
    adaptive_clip : for participants, let the clipping norm follow a quantile; `clip` is then where it starts.
    mechanism : for participants in turn, {"name": "banded"}: noise that is correlated over rounds (see `Banded`); None (the
        default) adds fresh noise in each.
    secure_noise : draw noise and samples from the operating system's randomness; the same seed then no longer gives the
        same bits. Without it they derive from the config's seed, which everybody can read: that is for learning.
    """

    unit: Literal["example", "participant"]
    epsilon: Annotated[float, BeforeValidator(_epsilon)] | None = None
    noise_multiplier: Annotated[float, BeforeValidator(_positive)] | None = None
    delta: Annotated[float, BeforeValidator(_delta)]
    clip: Annotated[float, BeforeValidator(_positive)]
    noise_at: Literal["aggregator", "participants"] = "aggregator"
    colluders: Annotated[int, BeforeValidator(within("colluders"))] | None = None
    adaptive_clip: AdaptiveClip | None = None
    mechanism: Banded | None = None
    secure_noise: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            given = "neither is given" if self.epsilon is None else "both are given"
            raise ValueError(
                f"epsilon and noise_multiplier: {given}, and each follows from the other; write one of them"
            )
        if self.unit == "example" and (self.noise_at != "aggregator" or self.adaptive_clip):
            raise ValueError(
                'unit: is "example", where each participant clips and adds noise to its own gradients; '
                'leave out noise_at and adaptive_clip, or choose "participant"'
            )
        if self.colluders is not None and self.noise_at != "participants":
            raise ValueError(
                "colluders: counts participants who know their own shares of the noise, and here there are no shares; "
                'leave it out, or, for unit "participant", set noise_at to "participants"'
            )
        if self.adaptive_clip and self.noise_at == "participants":
            raise ValueError(
                "adaptive_clip: needs an aggregator that counts who was clipped, and adds the noise to that; "
                'leave it out, or set noise_at to "aggregator"'
            )
        noise, count = self.noise_multiplier, self.adaptive_clip and self.adaptive_clip.count_noise
        if noise and count and noise >= 2 * count:
            raise ValueError(
                f"adaptive_clip: its count_noise of {count:g} spends all of the budget of noise multiplier {noise:g}; "
                f"write more than {noise / 2:g} (Andrew et al. 2021, theorem 1)"
            )
        return self

    def misfit(self, config: Any) -> str | None:
        """Why the rest of its config, an `FLConfig`, does not go with it, as "field: what; remedy", or None."""
        if self.mechanism is not None and (wrong := self.mechanism.misfit(config)):
            return wrong
        strategy = str((config.strategy or {}).get("name", "fedavg"))
        moving = {"example": "epoch", "participant": "participants_per_round"}[self.unit]
        if moving in config.adjustable:
            return (
                f"adjustable: lists {moving}, and epsilon depends on it; "
                "take it out: what participants approve is one fixed budget"
            )
        if config.task.standardise in ("own", "federated"):
            return (
                "task.standardise: takes means and deviations from the private samples, and epsilon does not cover those; "
                'leave it out, or write {"mean": [...], "std": [...]} that hang on nobody\'s samples'
            )
        fitting = {*SUM_IS_ENOUGH, *(_ROBUST if self.unit == "example" else ())}
        if strategy not in fitting:
            return (
                f"strategy: {strategy} sends or uses more than what the noise of unit {self.unit!r} covers, so epsilon is "
                f"undefined; take one of {', '.join(sorted(fitting))}"
            )
        if self.unit == "example":
            return None
        if config.weighting != "equal":
            return (
                'weighting: is "samples": the larger a participant says it is, the more it changes the mean, and clipping '
                'no longer bounds that; write "weighting": "equal"'
            )
        if self.delta >= 1 / (participants := len(config.participants)):
            return (
                f"dp.delta: of {self.delta:g} is not below 1 / {participants} participants: giving away one of them whole, "
                "picked at random, would pass; write a far smaller number, such as 1e-5"
            )
        if self.noise_at == "aggregator" and config.secure_aggregation is not None:
            return (
                "dp.noise_at: is the aggregator, who clips every update, and secure_aggregation shows it none; "
                'set noise_at to "participants"'
            )
        if self.noise_at == "participants" and config.participants_per_round is not None:
            return (
                "participants_per_round: leaves open how many shares of noise a round has; "
                'leave it out, or set noise_at to "aggregator"'
            )
        if self.colluders is not None and self.colluders >= config.quorum:
            least = how_many(config.quorum, "update")
            return (
                f"dp.colluders: is {self.colluders}, and a round may end with {least}: where so many know "
                f"the noise in them, no share is left that hides anybody; write at most {config.quorum - 1}"
            )
        return None
