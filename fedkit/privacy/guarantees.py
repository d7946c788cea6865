"""What a project promises formally: for which unit, against whom, with which epsilon by the accountant, and why.

None of it says that something is private without saying against whom. Notebook 09 reads it in a report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many
from fedkit.config.dp import DPSettings
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.account import NEIGHBOURS, Mechanism, epsilon_of
from fedkit.privacy.dp.mechanism import (
    colluders,
    example_mechanism,
    participant_mechanism,
    shares_of_noise,
)

__all__ = [
    "ADVERSARIES",
    "REHEARSAL",
    "Gone",
    "Guarantee",
    "as_spent",
    "guarantees",
    "headline",
    "in_short",
    "weakest",
]


REHEARSAL = (
    "This is a rehearsal: the noise derives from the seed in the config, and against anybody who has read the config it "
    "protects nothing."
)
AGGREGATOR, OTHERS, WORLD = "the aggregator", "the other participants", "everybody else"
OUTSIDE = f"{OTHERS}, {WORLD}"
MODELS_ONLY = "somebody outside who sees only the models"
EVERYONE = f"{AGGREGATOR}, {OUTSIDE}"

ADVERSARIES: dict[str, tuple[str, ...]] = {
    "aggregator": (AGGREGATOR, OTHERS, WORLD),
    "participants": (OTHERS, WORLD),
    "outside": (WORLD,),
}
"""Name in a datasite's policy -> all against whom something has to hold then; from the strictest on."""


@dataclass(frozen=True)
class Guarantee:
    """For one unit, against somebody: epsilon (infinite: nothing holds; None: no statement) at delta, and why.

    epsilon : of zero-out neighbours, when the project has come to its end. replace_one : the same of neighbours one of
    whose records is replaced by any other. so_far : the same as epsilon, of the rounds that have ended. sampling : who or
    what takes part in a step, and whether that is secret. rounds : that epsilon counts, those taken back included.
    """

    unit: str
    against: str
    epsilon: float | None
    delta: float | None
    because: str
    replace_one: float | None = None
    so_far: float | None = None
    sampling: str = ""
    rounds: int | None = None


@dataclass(frozen=True)
class Gone:
    """How a project went. ran : rounds that have ended, None where that is not asked. again : trained anew besides."""

    ran: int | None = None
    again: int = 0


def guarantees(
    config: FLConfig, counts: Mapping[str, int], gone: Gone | None = None
) -> tuple[Guarantee, ...]:
    """What holds formally. counts : images by participant, as they say. gone : how it went, for a project under way."""
    if config.dp is None:
        return _of_nobody(config)
    if config.dp.unit == "example":
        return _of_examples(config, config.dp, counts, gone or Gone())
    return _of_participants(config, config.dp, gone or Gone())


def _of_rounds(mechanism: Mechanism, config: FLConfig, rounds: int) -> Mechanism:
    """The mechanism of so many rounds instead of the config's."""
    return replace(mechanism, steps=math.ceil(mechanism.steps * rounds / config.rounds))


def _counted(config: FLConfig, gone: Gone) -> str:
    more = f" and {gone.again} taken back and trained anew, which count too" if gone.again else ""
    return (
        f"all {how_many(config.rounds, 'round')}{more}"
        if config.rounds > 1
        else f"the one round{more}"
    )


def weakest(rows: tuple[Guarantee, ...], unit: str, adversary: str) -> Guarantee:
    """Of what holds for a unit against each of an adversary's observers, that with the largest epsilon."""
    wanted = set(ADVERSARIES[adversary])
    about = [row for row in rows if row.unit == unit and wanted & {*row.against.split(", ")}]
    return max(about, key=lambda row: math.inf if row.epsilon is None else row.epsilon)


def in_short(config: FLConfig) -> list[str]:
    """What a config promises, a line for each against whom, for somebody who is asked to take part."""
    if config.dp is None:
        return []
    try:
        rows = [row for row in guarantees(config, {}) if row.unit == config.dp.unit]
    except FedkitError as error:
        return [f"can't be stated: {error}"]
    lines = []
    for row in rows:
        held = (
            "nothing"
            if row.epsilon == math.inf
            else "an epsilon that depends on your number of images"
        )
        if row.unit == "participant" and row.epsilon is None:
            held = f"no statement, since {row.because}"
        if row.epsilon is not None and row.epsilon < math.inf:
            held = f"epsilon {row.epsilon:.3g} (zero-out neighbours) at delta {config.dp.delta:g}"
            held += "" if row.replace_one is None else f"; for replace-one, {row.replace_one:.3g}"
        lines.append(f"for each {row.unit}, against {row.against}: {held}")
    return lines


def as_spent(
    promised: tuple[Guarantee, ...], unit: str, epsilon: float, delta: float, replace_one: float
) -> tuple[Guarantee, ...]:
    """The same, where the participants' own accounts say more than the config promises: rounds that were taken back count.

    unit, epsilon, delta, replace_one : of the participant that has spent most. What was promised stands if it is no less.
    """
    held = [row.epsilon for row in promised if row.unit == unit and row.epsilon is not None]
    most = max((value for value in held if value < math.inf), default=math.inf)
    if most == math.inf and unit == "example":  # nobody tells numbers of images: accounts know them
        told = f"{epsilon:.3g} by the participants' own accounts of the rounds that have ended"
        return tuple(
            replace(row, epsilon=epsilon, so_far=epsilon, replace_one=replace_one, because=f"{told}; {row.because}")
            if row.unit == unit and row.epsilon is None and row.rounds is not None
            else row
            for row in promised
        )  # fmt: skip
    if epsilon <= most * 1.01:  # two ways to add up the same rounds
        return promised
    more = f"{epsilon:.3g} by the participants' own accounts, not the {most:.3g} of the config"
    return tuple(
        replace(
            row,
            epsilon=epsilon,
            delta=delta,
            because=f"{more}; {row.because}",
            replace_one=replace_one,
        )
        if row.unit == unit and row.epsilon is not None and row.epsilon < math.inf
        else row
        for row in promised
    )


def _of_nobody(config: FLConfig) -> tuple[Guarantee, ...]:
    why = (
        "no noise: an update follows from the images and the config alone, and nothing bounds what "
        "one image does to it"
    )
    masked = (
        "masks hide single updates, but the sum itself is exact and tells about every image in it"
    )
    rows = [
        Guarantee(u, EVERYONE, math.inf, None, why, math.inf) for u in ("example", "participant")
    ]
    if config.secure_aggregation is not None:
        rows.append(Guarantee("example", AGGREGATOR, math.inf, None, masked, math.inf))
    return tuple(rows)


def _of_examples(
    config: FLConfig, dp: DPSettings, counts: Mapping[str, int], gone: Gone
) -> tuple[Guarantee, ...]:
    known = {count for count in counts.values() if count > 0}
    because = (
        f"DP-SGD at each participant, {_counted(config, gone)}, Poisson sampling, clip {dp.clip:g}, "
        f"{'discrete ' * dp.secure_noise}Gaussian noise; PLD accountant"
    )
    if not known:
        promised = "as promised, since " if dp.epsilon is not None else ""
        because += f"; {promised}no number of images is known"
    whole = "noise made for one image does not cover all of a participant's"
    nothing = Guarantee("participant", EVERYONE, None, None, whole)
    row = Guarantee("example", EVERYONE, dp.epsilon, dp.delta, because, rounds=config.rounds)
    try:
        each = [example_mechanism(config, n) for n in sorted(known)]
    except FedkitError as error:
        return replace(row, epsilon=None, because=str(error), rounds=None), nothing
    if not each:
        return row, nothing
    values = [_values(m, dp.delta, config, gone) for m in each]
    worst = max(values, key=lambda found: found["epsilon"] or 0.0)
    rates = sorted({m.sampling_rate for m in each})
    drawn = " to ".join(f"{rate:.3g}" for rate in dict.fromkeys((rates[0], rates[-1])))
    sampling = "all images in every step"
    if rates[0] < 1:
        sampling = f"an image is in a step with probability {drawn}, unseen by anybody"
    return replace(row, sampling=sampling, **worst), nothing


def _values(mechanism: Mechanism, delta: float, config: FLConfig, gone: Gone) -> dict[str, Any]:
    """The fields of a `Guarantee` that count. Raises FedkitError."""
    rounds = config.rounds + gone.again
    whole = _of_rounds(mechanism, config, rounds)
    epsilon, replaced = (epsilon_of(whole, delta, neighbours=by) for by in NEIGHBOURS)
    so_far = None
    if gone.ran is not None:
        so_far = epsilon_of(_of_rounds(mechanism, config, gone.ran + gone.again), delta)
    return {"epsilon": epsilon, "replace_one": replaced, "so_far": so_far, "rounds": rounds}


def _of_participants(config: FLConfig, dp: DPSettings, gone: Gone) -> tuple[Guarantee, ...]:
    drawn = participant_mechanism(config)
    known = participant_mechanism(
        config, sample_is_secret=False
    )  # the list of those asked goes to all
    masked_shares = dp.noise_at == "participants" and config.secure_aggregation is not None
    whole = dp.secure_noise and (masked_shares or dp.noise_at == "aggregator")
    kind = "discrete Gaussian noise on whole numbers" if whole else "Gaussian noise"
    how = f"clipped to {dp.clip:g}, {kind}, {_counted(config, gone)}; PLD accountant"
    if dp.mechanism is not None:
        turns, bands = dp.mechanism.turns(config), dp.mechanism.bands_of(config)
        how += f"; correlated over {bands} rounds, at most {turns} turns for each, in an order that all may know"
    rows: list[tuple[str, Mechanism | float | None, str]]
    if dp.noise_at == "participants":
        together = _of_shares(config, known, dp.delta)
        if shares_of_noise(config) == 1:
            rows = [(EVERYONE, known, f"all of the noise in each update, {how}")]
        elif masked_shares:
            because = f"shares of noise add up under the masks, {how}; as long as the threshold holds, and {together}"
            rows = [(EVERYONE, known, because)]
        else:
            alone = "it sees single updates, each with one share of the noise only"
            because = f"shares of noise add up in the mean, {how}; as long as {together}"
            rows = [(AGGREGATOR, None, alone), (OUTSIDE, known, because)]
    else:
        because, rate = f"noise on the mean, {how}", drawn.sampling_rate
        if rate < 1:
            because += "; no credit for sampling: the list of those asked goes to all"
        itself = "it adds the noise itself, after it has seen each update"
        rows = [(AGGREGATOR, math.inf, itself), (OUTSIDE, known, because)]
        if rate < 1:
            chance = f"noise on the mean, {how}; each takes part with probability {rate:g}, unseen by them"
            rows.append((MODELS_ONLY, drawn, chance))
    found = []
    for whom, held, because in rows:
        if isinstance(held, Mechanism):
            values = _values(held, dp.delta, config, gone) | {"sampling": _sampling(config, held)}
            row = Guarantee("participant", whom, None, dp.delta, because)
            found.append(replace(row, **values))
        else:
            delta = None if held else dp.delta
            found.append(Guarantee("participant", whom, held, delta, because, held))
    return tuple(found)


def _sampling(config: FLConfig, mechanism: Mechanism) -> str:
    dp = config.dp
    if dp is not None and dp.mechanism is not None:
        return "in turn, in an order that all may know"
    if config.participants_per_round is None:
        return "all in every round"
    if mechanism.sampling_rate == 1:
        return "some in each round, and all may know who: no credit"
    return f"each in a round with probability {mechanism.sampling_rate:.3g}, unseen"


def _of_shares(config: FLConfig, mechanism: Mechanism, delta: float) -> str:
    """Who may know which shares of the noise."""
    most, shares = colluders(config), shares_of_noise(config)
    if most == 0:
        return "nobody uses what it knows of its own share"
    more = mechanism.noise_multiplier * math.sqrt(config.quorum / shares)
    least = epsilon_of(replace(mechanism, noise_multiplier=more), delta)
    used = "nobody knows another one's share"
    if most > 1:
        used = f"no more than {most} participants put together what they know of their own shares"
    return (
        f"{used}; for somebody who knows no share there is more noise, and epsilon is {least:.3g}"
    )


def headline(config: FLConfig, promised: tuple[Guarantee, ...]) -> str:
    """The report in one or two sentences."""
    dp = config.dp
    if dp is None:
        text = (
            "There is no formal privacy against anybody here: images stayed where they are, but what "
            "updates and models tell about them is bounded by nothing."
        )
        if config.secure_aggregation is not None:
            text += (
                " Secure aggregation hides single updates against the aggregator; it does not bound what "
                "their sum tells."
            )
        return text
    best = [g for g in promised if g.epsilon is not None and g.epsilon < math.inf]
    if not best:
        return "The promise of the config can't be stated for these participants; see why below."
    text = (
        f"Differential privacy of unit {dp.unit!r} against {best[0].against}: epsilon "
        f"{best[0].epsilon:.3g} at delta {best[0].delta:g} for zero-out neighbours"
    )
    if best[0].replace_one is not None:
        text += f" ({best[0].replace_one:.3g} for replace-one)"
    text += ", under the assumptions below."
    if not dp.secure_noise:
        text += f" {REHEARSAL}"
    return text
