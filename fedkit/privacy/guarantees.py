"""What holds formally in a project, for which unit, against whom: from its config, by the accountant.

The sentences of the privacy report, from a config alone: who sees what, what holds against whom, what is left open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fedkit.base.errors import FedkitError
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.account import epsilon_of
from fedkit.privacy.dp.mechanism import example_mechanism, participant_mechanism

__all__ = [
    "AGGREGATOR",
    "OTHERS",
    "WORLD",
    "Guarantee",
    "Observer",
    "guarantees",
    "headline",
    "left_open",
    "observers",
]


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
    said = "its number of images and its progress"
    if dp is not None and dp.unit == "example":
        update, between = (
            f"{update}, with noise in it",
            "each image's gradients were clipped and noised",
        )
    elif dp is not None and dp.noise_at == "participants":
        update, between = (
            f"{update}, clipped and with a share of the noise",
            "one share of the noise; all shares where updates are added up unseen",
        )
    else:
        between = "nothing: an update is calculated from the images"
        said = "its number of images, its loss, its time and its progress"
    if masked:
        update, between = (
            "the sum of each round's updates",
            "masks: no single update, as long as the threshold holds",
        )
        if dp is not None:
            between += "; and the noise in the sum"
        said = "who took part, and its progress"
    central = dp is not None and dp.unit == "participant"
    models = (
        "the noise in each global model"
        if central
        else "what the average hides, which nothing bounds"
    )
    if dp is not None and dp.unit == "example":
        models = "the noise in every update"
    public = "names and progress of the participants, accuracy after each round"
    return (
        Observer(AGGREGATOR, f"{update}; {said}; all global models", between),
        Observer(OTHERS, f"the global model after every round; {public}", models),
        Observer(WORLD, f"{public}; the final model, if it is given away", models),
        Observer(
            "whoever runs the network between the datasites",
            "every file that crosses, as it is",
            "nothing: files are not encrypted for their receiver"
            if not masked
            else "masks on the updates; everything else as it is",
        ),
        Observer(
            "each participant, of its own images",
            "its own images",
            "they stay in its own folder, which no sync reads",
        ),
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
        f"{best[0].epsilon:.3g} at delta {dp.delta:g}, under the assumptions below."
    )
    if not dp.secure_noise:
        text += (
            " This is a rehearsal: the noise derives from the seed in the config, and against anybody "
            "who has read the config it protects nothing."
        )
    return text


def left_open(config: FLConfig) -> tuple[str, ...]:
    """What no line above covers."""
    dp, lines = config.dp, []
    if dp is None:
        lines.append(
            "Everything that an update or a model tells about images: labels, images themselves, who was "
            "in the data (notebook 08 shows how)."
        )
    else:
        if not dp.secure_noise:
            lines.append(
                'The noise: it derives from the seed in the config. Set "secure_noise": true where it is '
                "meant."
            )
        lines.append(
            "Other projects on the same images: their epsilons add up; each datasite keeps its own "
            "account in its spent/ folder."
        )
        lines.append("Numbers of images, names, and who takes part are told in the clear.")
        lines.append(
            "Choices made by looking at results, such as the learning rate: they tell something too, and "
            "nobody counted it."
        )
        lines.append(
            "Rounding: the proofs are about real numbers; the computer's are not (`secure_noise` makes "
            "the known attack on low bits impractical)."
        )
        if dp.unit == "example":
            lines.append(
                "Someone whose images are many: epsilon is for one image, and grows with their number."
            )
    if config.secure_aggregation is not None:
        lines.append(
            "Secure aggregation does not cover: the sum itself, a sum of very few, participants who work "
            "together with the aggregator, who took part."
        )
    lines.append(
        "The test accuracy, which is published, is measured on the aggregator's own images without "
        "noise."
    )
    lines.append(
        "A participant who sends nonsense, on purpose or not; and whoever gets at a participant's "
        "own machine."
    )
    return tuple(lines)
