"""What a participant measured on the samples that it keeps back, and what an aggregator believes of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from pydantic import ConfigDict

from fedkit.config.task import Task

__all__ = ["Validated", "believed", "most_text", "validated"]


_MOST = 500
"""So many numbers are told of a model: a recall for each of a hundred thousand classes would fill the wire."""


@dataclass(frozen=True)
class Validated:
    """The task's loss (as "loss") and metrics by name, on the samples that a participant keeps back.

    num_samples : how many these are. received : of the global model that its round began with. trained : of its update.
    What is undefined or infinite is left out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    num_samples: int
    received: Mapping[str, float]
    trained: Mapping[str, float]


Scores = tuple[Mapping[str, float], float]
"""Metrics by name, and the loss: what `judged` returns."""


def validated(task: Task, num_samples: int, received: Scores, trained: Scores) -> Validated:
    """What is told of both models."""

    def told(scores: Scores) -> dict[str, float]:
        values = {"loss": scores[1], **scores[0]}
        return {n: values[n] for n in _names(task) if math.isfinite(values.get(n, math.nan))}

    return Validated(num_samples, told(received), told(trained))


def believed(said: Any, task: Task) -> Validated | None:
    """What a stranger says it has measured; None where it says nothing, or anything in it makes no sense.

    Every name must be the task's, every number finite, and a metric of classes within 0..1.
    """
    if not isinstance(said, dict) or said.keys() != {f.name for f in fields(Validated)}:
        return None
    count, known = said["num_samples"], set(_names(task))
    if type(count) is not int or not 0 < count < 10**9:
        return None
    parts = [said["received"], said["trained"]]
    for part in parts:
        if not isinstance(part, dict) or not part.keys() <= known:
            return None
        if not all(_sound(name, value, task) for name, value in part.items()):
            return None
    received, trained = ({name: float(part[name]) for name in part} for part in parts)
    return Validated(count, received, trained)


def most_text(task: Task) -> int:
    """The most characters that `validated` takes as JSON, by the task alone."""
    a_number = len(str(-math.pi * 1e-300))
    names = sum(12 * len(name) + a_number + len('"": , ') for name in _names(task))
    return 2 * names + 128


def _names(task: Task) -> list[str]:
    """What may be told of a model."""

    def every() -> Iterator[str]:
        yield "loss"
        for name in dict.fromkeys(task.metrics):
            yield from (f"recall {c}" for c in task.names) if name == "recall" else [name]

    return list(itertools.islice(every(), _MOST))


def _sound(name: str, value: Any, task: Task) -> bool:
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return False
    within = name == "loss" or task.labels == "numbers" or 0 <= number <= 1
    return within and math.isfinite(number)
