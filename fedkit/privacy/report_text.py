"""The sentences of the privacy report, from a config alone: who sees what, what holds against whom, what is left open."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedkit.config.fl_config import FLConfig
from fedkit.privacy.report_guarantees import AGGREGATOR, OTHERS, WORLD, Guarantee

__all__ = ["Observer", "headline", "left_open", "observers"]


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
