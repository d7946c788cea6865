"""Who looks at a project: what each adversary gets to see, what stands between, and what is not covered against it.

The sentences of the privacy report that follow from a config alone; what holds formally is in `guarantees`. Somebody who
breaks the protocol stands beside those who only look, since not all that holds against the one holds against the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedkit.config.dp import DPSettings
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.mechanism import colluders, shares_of_noise
from fedkit.privacy.guarantees import AGGREGATOR, MODELS_ONLY, OTHERS, WORLD, Guarantee

__all__ = ["Adversary", "adversaries", "left_open"]


LIAR = "an aggregator that lies"
NETWORK = "whoever runs the network between the datasites"

_PUBLIC = "names and progress of the participants, accuracy after each round"


@dataclass(frozen=True)
class Adversary:
    """Somebody, what they get to see, what stands between them and the images, what holds, and what is not covered."""

    who: str
    sees: str
    between: str
    holds: tuple[Guarantee, ...]
    not_covered: tuple[str, ...]


def adversaries(config: FLConfig, promised: tuple[Guarantee, ...]) -> tuple[Adversary, ...]:
    """Everybody who sees something of the project. promised : what holds, as `guarantees` has it."""
    sees, between = _of_aggregator(config)
    models = _of_models(config)
    against = {
        who: tuple(row for row in promised if who in row.against.split(", "))
        for who in (AGGREGATOR, OTHERS, WORLD, MODELS_ONLY)
    }
    carried = "nothing: files are not encrypted for their receiver"
    if config.secure_aggregation is not None:
        carried = "masks on the updates; everything else as it is"
    if config.signed:
        carried += "; signatures, so that it can read and hold back, and neither alter nor forge"
    rows = [
        Adversary(AGGREGATOR, sees, between, against[AGGREGATOR], _looking(config)),
        Adversary(LIAR, f"the same, of models and lists of its own making; {sees}", _lies(config),
                  against[AGGREGATOR], _lying(config)),
        Adversary(OTHERS, f"the global model after every round; {_PUBLIC}", models,
                  against[OTHERS], _together(config)),
        Adversary(WORLD, f"{_PUBLIC}; the final model, if it is given away", models, against[WORLD], ()),
        Adversary(NETWORK, "every file that crosses, as it is", carried,
                  _crossing(config, against[AGGREGATOR]), _carrying(config)),
    ]  # fmt: skip
    if against[MODELS_ONLY]:
        rows.append(
            Adversary(MODELS_ONLY, "the global models, and no list of who is asked", models,
                      against[MODELS_ONLY], ("Whoever sees a list of a round: all participants do.",))
        )  # fmt: skip
    return tuple(rows)


def _of_aggregator(config: FLConfig) -> tuple[str, str]:
    """What it sees, and what stands between."""
    dp = config.dp
    update = "every participant's update of every round"
    said = "its numbers of images and steps, and its progress"
    if dp is not None and dp.unit == "participant":
        said = "its progress"
    if config.secure_aggregation is not None:
        update, said = "the sum of each round's updates", "who took part, and its progress"
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
    return f"{update}; {said}; all global models", between


def _of_models(config: FLConfig) -> str:
    """What stands between those who see global models, and the images."""
    if config.dp is None:
        return "what the average hides, which nothing bounds"
    of_updates = config.dp.unit == "example"
    return "the noise in every update" if of_updates else "the noise in each global model"


def _lies(config: FLConfig) -> str:
    """What stands between an aggregator that breaks the protocol, and the images."""
    pinned = "code and config are the approved bytes, whatever it sends later"
    if config.secure_aggregation is not None:
        pinned += (
            "; everybody signs which model and settings it trained from, no round and no model comes twice, and no list "
            "smaller than the threshold is answered"
        )
    if config.dp is not None and config.dp.unit == "example":
        pinned += "; the noise, which does not depend on what it sends"
    return pinned


def _looking(config: FLConfig) -> tuple[str, ...]:
    lines = []
    if config.secure_aggregation is not None:
        lines.append("The sum itself, a sum of very few, and who took part.")
    if config.dp is None:
        lines.append(
            "Labels, images, who was in the data: whatever it sees tells of them (notebook 08)."
        )
    return tuple(lines)


def _lying(config: FLConfig) -> tuple[str, ...]:
    masked = config.secure_aggregation is not None
    lines = []
    if config.dp is None:
        lines.append(
            "Models made to copy images into an update or a sum (notebook 08): `check_seed` knows some kinds."
        )
    if masked:
        lines.append(
            f"{config.secure_aggregation.threshold} participants who work with it; and participants that it invents, "  # type: ignore[union-attr]
            "where nobody compares fingerprints (`fedkit keys`)."
        )
    if config.dp is not None and config.dp.unit == "participant" and not masked:
        lines.append("Whom it asks, and how often it says that it has added the noise.")
    lines.append("What a person approves without reading it.")
    return tuple(lines)


def _together(config: FLConfig) -> tuple[str, ...]:
    dp, lines = config.dp, []
    if dp is not None and dp.noise_at == "participants" and shares_of_noise(config) > 1:
        lines.append(
            f"More than {colluders(config)} who put together what they know of their own noise."
        )
    if dp is None:
        lines.append(
            "What changes from one global model to the next, less one's own part: the others' updates."
        )
    return tuple(lines)


def _crossing(config: FLConfig, rows: tuple[Guarantee, ...]) -> tuple[Guarantee, ...]:
    """What holds against somebody who sees what the aggregator gets, in other words."""
    dp = config.dp
    if dp is None or dp.unit == "example" or dp.noise_at == "participants":
        return rows
    why = "it sees each update as it crosses, before the aggregator adds the noise"
    return tuple(replace(row, because=why) for row in rows)


def _carrying(config: FLConfig) -> tuple[str, ...]:
    lines = ["Files that it holds back: a round then waits, or ends without somebody."]
    if not config.signed:
        what = "Files" if config.secure_aggregation is None else "Files beside the masked messages"
        lines.append(f'{what} that it alters or forges: only with "signed": true would that show.')
    return tuple(lines)


def left_open(config: FLConfig) -> tuple[str, ...]:
    """What is covered against nobody."""
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
        total = "each round's number of images in all, " * (config.weighting == "samples")
        lines += [
            "Under the masks these go in the clear: names, who was there at each step and who left, public keys, the "
            f"progress, times and sizes of files, {total}and every global model.",
            "Whoever runs the network, or the aggregator, may put keys of its own in the place of somebody's in the first "
            "masked round: whose a key is, is believed when it is first seen, and kept from then on. Fingerprints that "
            "people compare by another road are what helps (`fedkit keys`).",
        ]
    lines += [
        "The test accuracy, which is published, is measured on the aggregator's own images without noise.",
        "A participant who sends nonsense, on purpose or not; and whoever gets at a participant's "
        "own machine, where its images lie.",
    ]
    return tuple(lines)


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
