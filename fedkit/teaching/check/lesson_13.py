"""Checks of notebook 13, the capstone: a design for eight hospitals, run on patients, against attacks and with failures
that its designer has not seen.

The brief is here, and so are the patients: the table of notebook 14, dealt out anew for every seed.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.tensors import state_bytes
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.federation.network import Network
from fedkit.learning.models import seed_weights
from fedkit.learning.update import Update
from fedkit.privacy.guarantees import REHEARSAL, guarantees, weakest
from fedkit.protocol.approval import approve_all
from fedkit.rounds.history import History
from fedkit.rounds.hostile import flip_labels, poisoned
from fedkit.rounds.simulation import OnTheWay, simulate
from fedkit.teaching.check.answers import plain
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check
from fedkit.teaching.failures.faults import Fault, Faults

__all__ = ["BRIEF", "HOSPITALS", "MODEL", "configured", "hospitals", "models_cost", "trained"]


HOSPITALS = {
    "north": (110, 30),
    "east": (90, 50),
    "south": (80, 30),
    "west": (70, 25),
    "hill": (60, 20),
    "lake": (60, 25),
    "harbour": (50, 20),
    "valley": (49, 12),
}
"""Name -> patients, and how many of them have a malignant tumour; 569 and 212 in all."""

BRIEF = {
    "rounds": 15,  # at most: so many evenings a doctor starts the program
    "bytes": 400_000,  # at most, of all models sent and all updates returned
    "epsilon": 2.0,  # at most, for each patient, against the aggregator
    "delta": 1e-3,
    "absent": 1,  # so many hospitals may stay away from any round on
    "accuracy": 0.88,  # balanced, at least: on patients who are held out
    "attacked": 0.85,  # the same with one hostile hospital, or with one that is gone
}
"""What a design has to keep."""

MODEL = """
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(30, 1)

    def forward(self, vectors):
        return self.fc(vectors)
"""
_PUBLIC = {
    "mean": "14 19 92 650 .1 .1 .09 .05 .18 .06 .4 1.2 2.9 40 .007 "
    ".025 .03 .012 .02 .004 16 26 107 880 .13 .25 .27 .11 .29 .08",
    "std": "3.5 4.3 24 350 .014 .05 .08 .04 .027 .007 .28 .55 2 45 .003 "
    ".018 .03 .006 .008 .003 4.8 6 34 570 .023 .16 .2 .07 .06 .018",
}
"""Rough means and spreads of the columns, as a textbook has them: they hang on none of these patients."""
_TASK = {
    "samples": "vectors",
    "shape": [30],
    "loss": "bce_with_logits",
    "metrics": ["balanced_accuracy", "auc"],
    "class_names": ["benign", "malignant"],
    "standardise": {name: [float(x) for x in text.split()] for name, text in _PUBLIC.items()},
}
AGGREGATOR = "ana@example.org"
_TEST_SHARE = 0.3
_HELD_OUT, _ATTACKED, _GONE = (201, 202, 203), (301, 302, 303), 401
_LARGEST, _AWAY = "north@example.org", "lake@example.org"


# ------------------------------------------------------------------------------ hospitals, a run
def hospitals(seed: int) -> tuple[dict[str, Shard], Shard]:
    """Eight hospitals' patients and the held-out ones, 30 % of each: vectors float32 [N, 30], labels float32 [N].

    Another seed deals other patients to each hospital, and holds others out.
    """
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    vectors = torch.tensor(table.data, dtype=torch.float32)
    malignant = torch.tensor(1 - table.target, dtype=torch.float32)
    draw = np.random.default_rng(seed)
    ill, well = (draw.permutation(np.flatnonzero(malignant.numpy() == v)) for v in (1, 0))
    shards, tests = {}, []
    for name, (patients, of_them) in HOSPITALS.items():
        mine = np.concatenate([ill[:of_them], well[: patients - of_them]])
        ill, well = ill[of_them:], well[patients - of_them :]
        mine = draw.permutation(mine)
        cut = round(_TEST_SHARE * patients)
        tests.append(mine[:cut])
        kept = torch.from_numpy(mine[cut:])
        shards[f"{name}@example.org"] = (vectors[kept], malignant[kept])
    held_out = torch.from_numpy(np.concatenate(tests))
    return shards, (vectors[held_out], malignant[held_out])


def configured(*parts: Mapping[str, Any], seed: int = 0) -> FLConfig:
    """The brief's project with a design's parts in it. Raises FedkitError."""
    told: dict[str, Any] = {
        "project_name": "CAPSTONE",
        "aggregator": AGGREGATOR,
        "participants": [f"{name}@example.org" for name in HOSPITALS],
        "model_arch": "model.py",
        "model_weight": "weights.pt",
        "test_dataset": "held_out.pt",
        "task": _TASK,
        "seed": seed,
    }
    for part in parts:
        told |= dict(part)
    return FLConfig.from_dict(told)


def trained(
    config: FLConfig, seed: int, on_the_way: OnTheWay | None = None, liar: str = ""
) -> History:
    """A design on a seed's patients, in memory. liar : who has all labels the wrong way round."""
    shards, test = hospitals(seed)
    if liar:
        shards[liar] = flip_labels(shards[liar], 2)
    return simulate(config.replace(seed=seed), shards, test, model=MODEL, on_the_way=on_the_way)


@functools.cache
def _model_bytes() -> int:
    return len(state_bytes(seed_weights(MODEL, 0)))


def models_cost(config: FLConfig) -> int:
    """Bytes of all models that are sent and all updates that come back."""
    each = config.participants_per_round or len(config.participants)
    return 2 * config.rounds * each * _model_bytes()


# ---------------------------------------------------------------------------- what a design is made of
_KEYS = {
    "training": {
        "rounds",
        "epoch",
        "batch_size",
        "learning_rate",
        "participants_per_round",
        "optimizer",
        "schedule",
    },
    "promise": {"unit", "epsilon", "delta", "clip", "noise_multiplier", "added_by", "secure_noise"},
    "rule": {"strategy", "weighting", "max_update_norm", "max_samples"},
    "patience": {"min_participants", "round_timeout_s", "approval"},
}


def _part(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Wrong(f"`{name}` should be a dict: key, colon, value.")
    strange = sorted(str(key) for key in value if key not in _KEYS[name])
    if strange:
        raise Wrong(
            f"`{name}` has the key {strange[0]!r}. It may have {', '.join(sorted(_KEYS[name]))}."
        )
    given = plain(dict(value))  # numpy's and torch's numbers are numbers
    return {"dp": given} if name == "promise" else dict(given)


def _design(**parts: object) -> FLConfig:
    try:
        return configured(*(_part(name, value) for name, value in parts.items()))
    except FedkitError as error:
        raise Wrong(f"A project with your design is refused: {error}") from None


def _within_budget(config: FLConfig) -> None:
    if config.rounds > BRIEF["rounds"]:
        raise Wrong(
            f"{config.rounds} rounds are more than the {BRIEF['rounds']} evenings of the brief."
        )
    steps = (
        config.rounds
        * config.epoch
        * sum(-(-patients // config.batch_size) for patients, _ in HOSPITALS.values())
    )
    if steps > _STEPS:
        raise Wrong(
            f"Your hospitals make some {steps:,} training steps in all; the checks train designs of at most {_STEPS:,}. "
            "Fewer epochs or larger batches cost less epsilon, too."
        )
    cost = models_cost(config)
    if cost > BRIEF["bytes"]:
        raise Wrong(
            f"Your models and updates have {cost:,} bytes in all; the brief allows {BRIEF['bytes']:,}. "
            "Which of rounds and participants a round would you rather have fewer of?"
        )


_STEPS = 6_000


def _score(
    config: FLConfig,
    seed: int,
    case: str,
    on_the_way: OnTheWay | None = None,
    liar: str = "",
) -> float:
    """The balanced accuracy in which a design ends. case : where, in words, for a run that stops."""
    try:
        return trained(config, seed, on_the_way, liar).metrics["balanced_accuracy"][-1]
    except FedkitError as error:
        raise Wrong(f"{case} the run stops: {error}") from None


# ------------------------------------------------------------------------------------- five checks
@check(
    hint="Four keys at least: rounds, epoch, batch_size and learning_rate; participants_per_round if not all eight are "
    "asked in each round."
)
def design_budget(training: object) -> str:
    """The budget."""
    config = _design(training=training)
    for key in ("epoch", "rounds", "learning_rate", "batch_size"):
        if key not in dict(training):  # type: ignore[call-overload]
            raise Wrong(f"The key {key!r} is missing.")
    _within_budget(config)
    return (
        f"{how_many(config.rounds, 'round')} and {models_cost(config):,} bytes of models. Whether that is enough to "
        "learn something, the last check will tell."
    )


@check(
    hint="A unit, an epsilon, a delta and a clip, as in notebooks 09 and 14. Ask who adds the noise, and who sees what "
    "before it is added."
)
def design_promise(training: object, promise: object) -> str:
    """The promise to each patient."""
    if isinstance(promise, Mapping) and promise.get("unit") == "participant":
        raise Wrong(
            "The unit is a participant: that hides a hospital among hospitals. The brief asks for each patient, against an "
            "aggregator that looks at every update."
        )
    config = _design(training=training, promise=promise)
    if config.dp is not None and config.dp.delta > BRIEF["delta"]:
        raise Wrong(
            f"Your delta of {config.dp.delta:g} is larger than the brief's {BRIEF['delta']:g}."
        )
    shards, _ = hospitals(_HELD_OUT[0])
    counts = {email: len(labels) for email, (_, labels) in shards.items()}
    held = weakest(guarantees(config, counts), "example", "aggregator")
    if held.epsilon is None or held.epsilon > BRIEF["epsilon"] * 1.0001:
        said = "no statement at all" if held.epsilon is None else f"epsilon {held.epsilon:.3g}"
        raise Wrong(
            f"Against the aggregator, your design has {said} for a patient; the brief asks for {BRIEF['epsilon']:g}."
        )
    return (
        f"Epsilon {held.epsilon:.3g} at delta {held.delta:g} against {held.against}, by the accountant: each hospital adds "
        "its own noise, so nobody has to be trusted with it."
        + ("" if config.dp is not None and config.dp.secure_noise else f" {REHEARSAL}")
    )


@check(
    hint="Three attacks: an update that points the other way and is ten times as long, one that only points the other "
    "way, and labels that lie. Notebook 07 has rules that look at each coordinate's middle."
)
def design_under_attack(training: object, promise: object, rule: object) -> str:
    """One hostile hospital."""
    config = _design(training=training, promise=promise, rule=rule)
    _within_budget(config)
    attacks: tuple[tuple[str, str, OnTheWay | None, str], ...] = (
        (
            "north",
            "sends ten times its change, the other way",
            poisoned([_LARGEST], "scaled", -10.0),
            "",
        ),
        (
            "valley",
            "sends its change the other way",
            poisoned(["valley@example.org"], "sign-flipped"),
            "",
        ),
        ("hill", "has all its labels the wrong way round", None, "hill@example.org"),
    )
    found = []
    for seed, (name, does, on_the_way, liar) in zip(_ATTACKED, attacks, strict=True):
        score = _score(config, seed, f"Where {name} {does},", on_the_way, liar)
        if score < BRIEF["attacked"]:
            raise Wrong(
                f"Where {name} {does}, the balanced accuracy ends at {score:.3f}; the brief asks for {BRIEF['attacked']}."
            )
        found.append(score)
    return (
        f"The worst of three attacks leaves a balanced accuracy of {min(found):.3f}. None of this says anything of an "
        "attacker who knows your rule and works around it."
    )


@check(
    hint="With how many updates must a round be content, if one of eight may be gone for good? The key is min_participants."
)
def design_with_failures(training: object, promise: object, rule: object, patience: object) -> str:
    """One hospital that is gone."""
    config = _design(training=training, promise=promise, rule=rule, patience=patience)
    needed = config.min_participants or len(config.participants)
    if needed > len(config.participants) - BRIEF["absent"]:
        raise Wrong(
            f"A round of yours waits for {needed} of {len(config.participants)} hospitals, for ever."
        )
    if needed <= len(config.participants) // 2:
        raise Wrong(
            f"A quorum of {needed} lets a minority decide: then {needed // 2 + 1} hostile ones are the majority."
        )
    short = config.replace(rounds=2)
    with tempfile.TemporaryDirectory(prefix="fedkit-", ignore_cleanup_errors=True) as folder:
        history = _on_disk(short, Path(folder))
    if not history.done:
        waits = "; ".join(str(event) for event in history.waiting)[:200]
        raise Wrong(
            f"Between real folders, with one hospital gone after round 1, the project stands still: {waits}"
        )

    def without_north(_: object, updates: list[Update]) -> list[Update]:
        return [update for update in updates if update.participant != _LARGEST]

    score = _score(config, _GONE, "Without the largest hospital", without_north)
    if score < BRIEF["attacked"]:
        raise Wrong(
            f"Without the largest hospital, the balanced accuracy ends at {score:.3f}; the brief asks for "
            f"{BRIEF['attacked']}."
        )
    return (
        f"Between real folders, {_AWAY.split('@')[0]} went away after round 1 and the project came to its end; "
        f"without the largest hospital the balanced accuracy is {score:.3f}."
    )


def _on_disk(config: FLConfig, folder: Path) -> History:
    shards, test = hospitals(_GONE)
    network = Network.create(folder, aggregator=config.aggregator, participants=list(shards))
    for email, shard in shards.items():
        network.give_data(email, shard, config.task)
    network.give_test(*test, config.test_dataset)
    network.launch(config, MODEL)
    faults = Faults()
    faults.set(_AWAY, Fault("absent", from_round=2))
    return network.run(approve=approve_all, actor=faults.act)


@check(
    hint="All parts together, on three seeds that you have not seen. If it is not enough: is each step long enough, are "
    "there enough of them, is the noise larger than it has to be?"
)
def design_held_out(training: object, promise: object, rule: object, patience: object) -> str:
    """Patients held out."""
    config = _design(training=training, promise=promise, rule=rule, patience=patience)
    _within_budget(config)
    scores = [_score(config, seed, f"With seed {seed}") for seed in _HELD_OUT]
    if min(scores) < BRIEF["accuracy"]:
        told = ", ".join(f"{score:.3f}" for score in scores)
        raise Wrong(
            f"On three seeds of its own the design ends at a balanced accuracy of {told}; the brief asks for "
            f"{BRIEF['accuracy']} on each."
        )
    return f"Three seeds that nobody tuned on: a balanced accuracy from {min(scores):.3f} to {max(scores):.3f}."
