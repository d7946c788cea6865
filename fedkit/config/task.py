"""The key `"task"` of `fl_config.json`: what the samples and labels of a project are, and how an answer is judged.

    "task": {"samples": "images", "shape": [3, 32, 32], "outputs": 9, "metrics": ["accuracy", "balanced_accuracy"]}

Without it a project is about the tutorial's digits. Whatever looks at data or at answers asks the task: checks, training,
evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from fedkit.config.part import Part

__all__ = ["DIGITS", "METRICS", "Labels", "Loss", "Samples", "Statistics", "Task"]


Samples = Literal["images", "vectors", "tokens"]
Labels = Literal["classes", "binary", "numbers"]
Loss = Literal["cross_entropy", "bce_with_logits", "mse", "l1", "huber"]

_LABELS_OF: dict[Loss, Labels] = {
    "cross_entropy": "classes",
    "bce_with_logits": "binary",
    "mse": "numbers",
    "l1": "numbers",
    "huber": "numbers",
}
METRICS: dict[Labels, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy", "recall", "auc"),
    "binary": ("accuracy", "balanced_accuracy", "recall", "auc"),
    "numbers": ("mae", "rmse", "r2"),
}
"""Which metrics there are for each kind of label; the first is the default. `recall` is one number a class."""

_DIMS = {"images": 3, "vectors": 1, "tokens": 1}
_SHAPE = {"images": "[channels, height, width]", "vectors": "[features]", "tokens": "[length]"}
_MOST = 2**24
"""Numbers in one sample."""

Size = Annotated[int, Field(strict=True, ge=1, le=_MOST)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=1e6)]
Title = Annotated[str, Field(min_length=1, max_length=60)]
Amount = Annotated[float, Field(ge=-1e30, le=1e30)]


class Statistics(BaseModel):
    """Mean and standard deviation of each feature of a vector, or each channel of an image; a std of 0 is of a constant."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[Amount, ...]
    std: tuple[Annotated[Amount, Field(ge=0)], ...]


def _numbers_or_name(value: Any) -> str:
    return f"function-{'numbers' if isinstance(value, dict | Statistics) else 'name'}"


Standardise = Annotated[  # what an error says is of the one that was meant; `first_problem` leaves these tags out
    Annotated[Literal["own", "federated"], Tag("function-name")]
    | Annotated[Statistics, Tag("function-numbers")],
    Discriminator(_numbers_or_name),
]


class Task(Part):
    """What the data of a project are. Frozen; each default is the tutorial's digits.

    samples : "images" float32 [N,C,H,W], "vectors" float32 [N,F], or "tokens" int64 [N,L]. shape : of one sample.
    labels : "classes" int64 [N] from 0, "binary" float32 [N] (or [N,outputs]) of 0 and 1, "numbers" float32 [N] (or
        [N,outputs]); follows from the loss where it is left out, and the loss from it.
    outputs : numbers in one answer of the model: the classes, or the columns of labels.
    loss : "cross_entropy", "bce_with_logits", "mse", "l1" or "huber", by torch's names.
    range : least and largest number in a sample, [0, 1] for images; null for any finite number.
    vocabulary, padding : of tokens: how many there are, and which one fills up what is too short; null for none.
    class_names, class_weights : one for each class; weights of the loss (for "binary": of the ones, one a column).
    metrics : what is kept of each round beside the loss, of `METRICS`.
    standardise : what is done with samples before any model, attack or trial step sees them, by feature or channel: "own"
        takes mean and standard deviation of what each participant trains on (and of the test set, for the test
        set), {"mean": [...], "std": [...]} these.
        "federated" stands for those of all participants together, and becomes such numbers before a
        launch (see `fedkit.data.standardise`). `range` is of the samples as they lie there.
    """

    samples: Samples = "images"
    shape: Annotated[tuple[Size, ...], Field(max_length=3)] = (1, 28, 28)
    labels: Labels = "classes"
    outputs: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 10
    loss: Loss = "cross_entropy"
    range: tuple[Finite, Finite] | None = (0.0, 1.0)
    vocabulary: Size | None = None
    padding: Annotated[int, Field(strict=True, ge=0)] | None = None
    class_names: tuple[Title, ...] | None = None
    class_weights: tuple[Weight, ...] | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    standardise: Standardise | None = None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What was written, and not its many defaults."""
        return [(name, getattr(self, name)) for name in self.model_fields_set]

    @model_validator(mode="before")
    @classmethod
    def _what_follows(cls, values: Any) -> Any:
        """Labels follow from the loss, the loss from the labels, metrics and range from what there is."""
        if not isinstance(values, dict):
            return values
        if any(not isinstance(values.get(key, ""), str) for key in ("loss", "labels", "samples")):
            return values  # the fields themselves say what is wrong
        values = dict(values)
        if "loss" in values and "labels" not in values:
            values["labels"] = _LABELS_OF.get(values["loss"], "classes")
        if "labels" in values and "loss" not in values:
            kinds = {labels: loss for loss, labels in reversed(_LABELS_OF.items())}
            values["loss"] = kinds.get(values["labels"], "cross_entropy")
        if values.get("labels", "classes") in ("binary", "numbers"):
            values.setdefault("outputs", 1)
            values.setdefault("metrics", METRICS[values["labels"]][:1])
        if values.get("samples", "images") != "images":
            values.setdefault("range", None)
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for wrong in (self._wrong_samples(), self._wrong_labels(), self._wrong_statistics()):
            if wrong:
                raise ValueError(wrong)
        return self

    def _wrong_samples(self) -> str | None:
        if len(self.shape) != _DIMS[self.samples]:
            return f"shape: {list(self.shape)} is not one of {self.samples}; write {_SHAPE[self.samples]}"
        if math.prod(self.shape) > _MOST:
            return f"shape: asks for more than {_MOST:,} numbers in a sample; write a smaller one"
        if self.range is not None and not self.range[0] < self.range[1]:
            return "range: does not begin below its end; write [0, 1], or null for any number"
        if self.samples == "tokens" and self.vocabulary is None:
            return "vocabulary: is missing; write how many different tokens there are"
        if self.samples != "tokens" and (self.vocabulary or self.padding is not None):
            return "vocabulary: and padding are of tokens; leave them out"
        if self.padding is not None and self.padding >= (self.vocabulary or 0):
            return f"padding: is no token below {self.vocabulary}; write one that is"
        return None

    def _wrong_statistics(self) -> str | None:
        if self.standardise is not None and self.samples == "tokens":
            return "standardise: is of amounts, and tokens are numbers of words; leave it out"
        if isinstance(self.standardise, Statistics):
            of = "channels" if self.samples == "images" else "features"
            for name, values in self.standardise:
                if len(values) != self.shape[0]:
                    return f"standardise.{name}: are {len(values)} for {self.shape[0]} {of}; write one for each"
        return None

    def _wrong_labels(self) -> str | None:
        if _LABELS_OF[self.loss] != self.labels:
            fitting = [loss for loss, labels in _LABELS_OF.items() if labels == self.labels]
            return f"loss: {self.loss} does not go with {self.labels}; take {' or '.join(fitting)}"
        if self.labels == "classes" and self.outputs < 2:
            return "outputs: is 1, and a choice needs two classes; write how many there are"
        if self.labels == "numbers" and (self.class_names or self.class_weights):
            return "class_names: and class_weights are of classes; leave them out"
        wanted = {
            "class_names": (self.classes, "classes"),
            "class_weights": (self.outputs, "outputs"),
        }
        for field, (count, of) in wanted.items():
            given = getattr(self, field)
            if given is not None and len(given) != count:
                of = of if self.labels == "binary" else "classes"
                return f"{field}: are {len(given)} for {count} {of}; write one for each"
        known = METRICS[self.labels]
        for name in self.metrics:
            if name not in known:
                return (
                    f"metrics: {name!r:.40} is not one for {self.labels}; take {', '.join(known)}"
                )
        return None

    @property
    def classes(self) -> int:
        """How many classes there are; 2 for "binary", 0 for "numbers"."""
        return {"classes": self.outputs, "binary": 2, "numbers": 0}[self.labels]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names, or their numbers."""
        return self.class_names or tuple(map(str, range(self.classes)))

    @property
    def one(self) -> str:
        """What a single sample is called."""
        return {"images": "image", "vectors": "vector", "tokens": "sequence"}[self.samples]

    @property
    def is_digits(self) -> bool:
        """Are these data like the tutorial's: images [1,28,28] in 0..1, of ten classes?"""
        return (self.samples, self.shape, self.labels, self.outputs) == (
            "images",
            (1, 28, 28),
            "classes",
            10,
        )


DIGITS = Task()
"""The tutorial's: handwritten digits, float32 [N,1,28,28] in 0..1, labels 0 to 9."""
