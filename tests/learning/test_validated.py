"""What a participant says that it has measured: nothing in it is believed that makes no sense."""

import json
import math
from dataclasses import asdict
from typing import Any

import pytest

from fedkit.config.task import DIGITS, Task
from fedkit.learning.validated import Validated, believed, most_text, validated

SAID: dict[str, Any] = {
    "num_samples": 5,
    "received": {"loss": 2.5, "accuracy": 0.2},
    "trained": {"loss": 1, "accuracy": 1},
}
RECALLS = Task(outputs=10, metrics=("recall", "recall", "auc"))


def test_what_is_told_is_believed_and_survives_its_file() -> None:
    told = validated(DIGITS, 5, ({"accuracy": 0.2}, 1 / 3), ({"accuracy": 1.0}, 1e-300))
    assert believed(json.loads(json.dumps(asdict(told))), DIGITS) == told
    assert believed(SAID, DIGITS) == Validated(5, SAID["received"], SAID["trained"])


def test_what_is_undefined_or_infinite_is_not_told() -> None:
    told = validated(RECALLS, 5, ({"recall 3": 0.5}, math.inf), ({"auc": math.nan}, math.nan))
    assert told == Validated(5, {"recall 3": 0.5}, {})
    assert believed(asdict(told), RECALLS) == told


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "good",
        {},
        {**SAID, "more": 1},
        {**SAID, "num_samples": 0},
        {**SAID, "num_samples": True},
        {**SAID, "num_samples": 1.5},
        {**SAID, "num_samples": 10**400},
        {**SAID, "received": None},
        {**SAID, "received": [1]},
        *(
            {**SAID, "trained": {"accuracy": value}}
            for value in (math.nan, math.inf, 10**400, -0.1, 1.1, "1", None, True, [1], {})
        ),
        *({**SAID, "trained": {"loss": value}} for value in (math.nan, -math.inf, 10**400, False)),
        {**SAID, "trained": {"auc": 0.5}},
        {**SAID, "trained": {"recall 3": 0.5}},
        {**SAID, "trained": {f"x{k}": 0.5 for k in range(1000)}},
    ],
    ids=lambda said: str(said)[:60],
)
def test_a_strangers_claims_that_make_no_sense_are_none(said: Any) -> None:
    assert believed(said, DIGITS) is None


def test_errors_of_numbers_may_be_anything_finite() -> None:
    task = Task(samples="vectors", shape=(2,), loss="mse", metrics=("r2",))
    told = {"num_samples": 1, "received": {"r2": -7.5}, "trained": {"loss": 1e300}}
    assert believed(told, task) is not None


def test_however_many_classes_there_are_the_text_stays_small() -> None:
    many = Task(
        outputs=100_000,
        metrics=("recall",),
        class_names=tuple("\U0001f600" * 60 for _ in range(100_000)),
    )
    told = validated(
        many, 5, ({f"recall {c}": 0.5 for c in many.names}, -math.pi * 1e-300), ({}, 0.1)
    )
    for task in (many, RECALLS, DIGITS):
        assert most_text(task) < 2**20
    assert len(json.dumps(asdict(told))) <= most_text(many)
    numbered = Task(outputs=100_000, metrics=("recall",))
    scores = {f"recall {c}": -math.pi * 1e-300 for c in numbered.names}, -math.pi * 1e-300
    assert len(validated(numbered, 5, scores, scores).trained) == 500
    assert len(json.dumps(asdict(validated(numbered, 5, scores, scores)))) <= most_text(numbered)
