"""What a project promises formally, and what it leaves open: the sentences of the privacy report, from a config alone.

Who sees what, what holds for which unit against whom (by the accountant), and what no line covers. None of it says that
something is private without saying against whom. Notebook 09 reads them in a report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedkit.base.errors import FedkitError
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
    "Guarantee",
    "Observer",
    "as_spent",
    "guarantees",
    "headline",
    "in_short",
    "left_open",
    "observers",
    "weakest",
]


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

    epsilon : of zero-out neighbours. replace_one : of neighbours one of whose records is replaced by any other.
    """

    unit: str
    against: str
    epsilon: float | None
    delta: float | None
    because: str
    replace_one: float | None = None


def guarantees(config: FLConfig, counts: Mapping[str, int]) -> tuple[Guarantee, ...]:
    """What holds formally. counts : images by participant, as they say."""
    if config.dp is None:
        return _of_nobody(config)
    if config.dp.unit == "example":
        return _of_examples(config, config.dp, counts)
    return _of_participants(config, config.dp)


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
    if epsilon <= most * 1.01:  # two ways to add up the same rounds
        return promised
    more = (
        f"{epsilon:.3g} by the participants' own accounts, not the {most:.3g} of the config: a round that was taken back "
        "and trained anew counts each time"
    )
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
    config: FLConfig, dp: DPSettings, counts: Mapping[str, int]
) -> tuple[Guarantee, ...]:
    known = {count for count in counts.values() if count > 0}
    because = (
        f"DP-SGD at each participant, all {config.rounds} rounds, Poisson sampling, clip {dp.clip:g}, "
        f"{'discrete ' * dp.secure_noise}Gaussian noise; PLD accountant"
    )
    if not known:
        because += "; as promised, since no number of images is known"
    worst, replaced = dp.epsilon, None
    try:
        each = [example_mechanism(config, n) for n in sorted(known)]
        if each:
            worst, replaced = (
                max(epsilon_of(m, dp.delta, neighbours=by) for m in each) for by in NEIGHBOURS
            )
    except FedkitError as error:
        worst, because = None, str(error)
    whole = "noise made for one image does not cover all of a participant's"
    return (
        Guarantee("example", EVERYONE, worst, dp.delta, because, replaced),
        Guarantee("participant", EVERYONE, None, None, whole),
    )


def _of_participants(config: FLConfig, dp: DPSettings) -> tuple[Guarantee, ...]:
    drawn = participant_mechanism(config)
    known = participant_mechanism(
        config, sample_is_secret=False
    )  # the list of those asked goes to all
    masked_shares = dp.noise_at == "participants" and config.secure_aggregation is not None
    whole = dp.secure_noise and (masked_shares or dp.noise_at == "aggregator")
    kind = "discrete Gaussian noise on whole numbers" if whole else "Gaussian noise"
    how = f"clipped to {dp.clip:g}, {kind}, all {config.rounds} rounds; PLD accountant"
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
    return tuple(_row(whom, held, dp.delta, because) for whom, held, because in rows)


def _row(whom: str, held: Mechanism | float | None, delta: float, because: str) -> Guarantee:
    """held : the mechanism that holds, else infinite or None, as in `Guarantee`."""
    if isinstance(held, Mechanism):
        epsilon, replaced = (epsilon_of(held, delta, neighbours=by) for by in NEIGHBOURS)
        return Guarantee("participant", whom, epsilon, delta, because, replaced)
    return Guarantee("participant", whom, held, None if held else delta, because, held)


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


@dataclass(frozen=True)
class Observer:
    """Somebody, what they get to see, and what stands between them and the images."""

    who: str
    sees: str
    between: str


def observers(config: FLConfig) -> tuple[Observer, ...]:
    """Everybody who sees something of the project."""
    dp, masked = config.dp, config.secure_aggregation is not None
    update = "every participant's update of every round"
    said = "its numbers of images and steps, and its progress"
    if dp is not None and dp.unit == "participant":
        said = "its progress"
    models = "what the average hides, which nothing bounds"
    if dp is not None:
        of_updates = dp.unit == "example"
        models = "the noise in every update" if of_updates else "the noise in each global model"
    if masked:
        update = "the sum of each round's updates"
        said = "who took part, and its progress"
        between = "masks: no single update, as long as the threshold holds"
        between += "" if dp is None else "; and the noise in the sum"
    elif dp is not None and dp.unit == "example":
        update += ", with noise in it"
        between = "each image's gradients were clipped and noised"
    elif dp is not None and dp.noise_at == "participants":
        update += ", clipped and with a share of the noise"
        between = "one share of the noise; all shares where updates are added up unseen"
        if shares_of_noise(config) == 1:
            between = "all of the noise, in each update"
    elif dp is not None:
        between = "nothing: an update is calculated from the images, and the noise comes later"
    else:
        said = "its number of images, its loss, its time and its progress"
        if config.validation is not None:
            said += ", how models do on the samples that it keeps back"
        between = "nothing: an update is calculated from the images"
    public = "names and progress of the participants, accuracy after each round"
    carried = "nothing: files are not encrypted for their receiver"
    if masked:
        carried = "masks on the updates; everything else as it is"
    rows = (
        (AGGREGATOR, f"{update}; {said}; all global models", between),
        (OTHERS, f"the global model after every round; {public}", models),
        (WORLD, f"{public}; the final model, if it is given away", models),
        (
            "whoever runs the network between the datasites",
            "every file that crosses, as it is",
            carried,
        ),
        (
            "each participant, of its own images",
            "its own images",
            "they stay in its own folder, which no sync reads",
        ),
    )
    return tuple(Observer(*row) for row in rows)


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
        text += (
            " This is a rehearsal: the noise derives from the seed in the config, and against anybody "
            "who has read the config it protects nothing."
        )
    return text


def _in_common(dp: DPSettings) -> str:
    """What a record that contributes nothing leaves as it is (Ponomareva et al. 2023, section 2.1)."""
    counts = "each participant's number of images, its steps, " if dp.unit == "example" else ""
    return f"{counts}names, and who takes part"


def _rounding(config: FLConfig, dp: DPSettings) -> str:
    if not dp.secure_noise:
        return "Rounding: the proof is about real numbers; floating point noise has low bits that tell more."
    if dp.noise_at == "participants" and config.secure_aggregation is None:
        return (
            "Rounding: shares of noise are added up as floating point numbers, and the proof is about real ones; under "
            "secure_aggregation they are whole numbers, which it covers."
        )
    return (
        "The time that a step takes, and the machine's memory. Rounding is covered: contributions are whole numbers on a "
        "grid, and the noise is discrete Gaussian."
    )


def left_open(config: FLConfig) -> tuple[str, ...]:
    """What no line above covers."""
    dp, lines = config.dp, list[str]()
    if dp is None:
        lines += [
            "Everything that an update or a model tells about images: labels, images themselves, who was "
            "in the data (notebook 08 shows how)."
        ]
    else:
        if not dp.secure_noise:
            lines += [
                'The noise: it derives from the seed in the config. Set "secure_noise": true where it is meant.'
            ]
        lines += [
            "Other projects on the same images: their epsilons add up; each datasite keeps its own "
            "account in its spent/ folder.",
            f"What zero-out neighbours have in common, which is told in the clear: {_in_common(dp)}.",
            "When files appear, and in which order: how long a training takes may depend on the images.",
            "Choices made by looking at results, such as the learning rate: they tell something too, and "
            "nobody counted it.",
            _rounding(config, dp),
        ]
        if dp.unit == "example":
            lines += [
                "Someone whose images are many: epsilon is for one image, and grows with their number."
            ]
    if config.secure_aggregation is not None:
        lines += [
            "Secure aggregation does not cover: the sum itself, a sum of very few, participants who work "
            "together with the aggregator, who took part."
        ]
    lines += [
        "The test accuracy, which is published, is measured on the aggregator's own images without noise.",
        "A participant who sends nonsense, on purpose or not; and whoever gets at a participant's "
        "own machine.",
    ]
    return tuple(lines)
