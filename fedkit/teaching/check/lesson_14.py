"""Checks of notebook 14: the task of a table, and everybody's mean and standard deviation from sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from fedkit.base.text import nearest
from fedkit.config.fl_config import first_problem
from fedkit.config.task import Task
from fedkit.data.standardise import combine, moments
from fedkit.teaching.check.answers import listed, plain, tensor
from fedkit.teaching.check.attempt import Open, Wrong, unfinished
from fedkit.teaching.check.base import check

_COLUMNS, _WIDE = 30, 4
_KEYS = ("samples", "shape", "loss", "metrics")


def _is_right(key: str, value: Any) -> bool:
    if key == "metrics":
        return isinstance(value, list | tuple) and {"balanced_accuracy", "auc"} <= set(value)
    return bool(
        value == {"samples": "vectors", "shape": [_COLUMNS], "loss": "bce_with_logits"}[key]
    )


_NO_IMAGE = "Each row is a list of numbers: not an image, and no words."


@check(
    hint="Four keys: samples, shape, loss and metrics. The text above has the value of each; a table of how many columns "
    "is it, without the diagnosis and the hospital?",
    parts=True,
)
def table_task(about: object) -> str:
    """The task of the table."""
    if isinstance(about, Task):
        about = about.model_dump(mode="json")
    about = plain(about)
    if about is ... or about is None or (isinstance(about, set) and (not about or ... in about)):
        raise Open
    if not isinstance(about, Mapping):
        raise Wrong('The answer should be a dict, such as {"samples": "vectors", ...}.')
    for key in about:
        if key not in Task.model_fields:
            near_key = nearest(str(key), Task.model_fields)
            guess = f" Did you mean {near_key!r}?" if near_key else ""
            raise Wrong(f"{str(key)!r:.60} is no key of a task.{guess}", sure=True)
    for key in _KEYS:
        if key not in about:
            raise Wrong(f"The key {key!r} is missing.")
    still_open = [key for key in _KEYS if unfinished(about[key])]
    if still_open:
        right = [key for key in _KEYS if _is_right(key, about[key])]
        if not right:
            raise Open
        raise Open(f"Right so far: {', '.join(right)}. Still open: {', '.join(still_open)}.")
    if about["samples"] in ("images", "tokens"):
        raise Wrong(_NO_IMAGE)
    for key in ("shape", "metrics"):
        if not isinstance(about[key], list | tuple):
            raise Wrong(f"{key!r} should be a list, with square brackets.")
    if len(about["shape"]) != 1:
        raise Wrong(
            "The shape has one number, how many values a patient has. The patients are not a part of it."
        )
    try:
        task = Task.model_validate(dict(about))
    except ValidationError as error:
        problem = first_problem(error, "task")
        raise Wrong(f"{problem.field}: {problem.what}. {problem.remedy}.") from None
    if task.samples != "vectors":
        raise Wrong(_NO_IMAGE)
    if task.shape != (_COLUMNS,):
        raise Wrong(
            f"Yours has {task.shape[0]} numbers in a sample. The patients are not a part of the shape, and neither are "
            "the columns of the diagnosis and the hospital."
        )
    if task.labels != "binary" or task.outputs != 1:
        raise Wrong(
            "The diagnosis is a yes or a no, answered with one logit. Which loss is for that?"
        )
    if not {"balanced_accuracy", "auc"} <= set(task.metrics):
        raise Wrong("Both metrics are wanted: balanced_accuracy and auc.")
    return "What is said once, here, is what checks, training, judging and every participant go by."


@check(
    hint="`sums.sum(0)` has everybody's sum of each column. Divided by n it is the mean. Do the same with the squares, "
    "take the square of the mean away, and end with a root.",
    takes="parts",
)
def mean_and_std(attempt: Callable[..., object]) -> str:
    """Everybody's mean and standard deviation."""
    draw = torch.Generator().manual_seed(14)
    sizes, places = (40, 10, 2), (0.0, 3.0, -5.0)  # so that whoever forgets the sizes is far off
    groups = [
        torch.randn(size, _WIDE, generator=draw, dtype=torch.float64)
        * torch.tensor([1.0, 2.0, 0.5, 3.0])
        + place
        for size, place in zip(sizes, places, strict=True)
    ]
    task = Task.model_validate({"samples": "vectors", "shape": [_WIDE], "loss": "mse"})
    parts = [moments(group, task) for group in groups]
    whole = combine(parts)
    mean, std = torch.tensor(whole.mean).double(), torch.tensor(whole.std).double()
    got_mean, got_std = _pair(attempt(parts))

    if _near(got_mean, std) and _near(got_std, mean):
        raise Wrong("The two are swapped: the mean comes first.")
    if _near(got_mean, torch.stack([group.mean(0) for group in groups]).mean(0)):
        raise Wrong(
            "Your mean is the mean of the hospitals' means: one with 2 patients counts as much as one with 40."
        )
    if _near(got_mean, mean * sum(sizes) / len(sizes)):
        raise Wrong("Your sums are divided by the number of hospitals, not of patients.")
    if _near(got_mean, mean * sum(sizes)):
        raise Wrong("Your mean is the sum of everybody's numbers. How many are they?")
    if not _near(got_mean, mean):
        raise Wrong(
            "The mean should be everybody's sum, divided by everybody's number of patients."
        )
    if _near(got_std, std**2):
        raise Wrong(
            "Your mean is right. Yours beside it is the variance, the square of the standard deviation."
        )
    if _near(got_std, (std**2 + mean**2).sqrt()) or _near(got_std, std**2 + mean**2):
        raise Wrong(
            "Your mean is right. In the standard deviation, the mean's square is still in it."
        )
    if _near(got_std, torch.stack([group.std(0, correction=0) for group in groups]).mean(0)):
        raise Wrong(
            "Your mean is right. A mean of standard deviations misses that hospitals differ in their means."
        )
    if _near(got_std, std * (sum(sizes) / (sum(sizes) - 1)) ** 0.5):
        raise Wrong(
            "Your mean is right. The formula divides by n, not by n - 1: these are all patients."
        )
    if not _near(got_std, std):
        raise Wrong(
            "Your mean is right. For the standard deviation, follow the formula: squares, n, mean, a root."
        )
    return "Three numbers a column from each hospital, and the result is that of all patients in one place."


def _pair(got: object) -> tuple[Tensor, Tensor]:
    form = "The answer should be two lists of numbers, one a column: mean, std."
    got = listed(got)
    if not (isinstance(got, tuple | list) or hasattr(got, "__array__")) or len(got) != 2:  # type: ignore[arg-type]
        raise Wrong(form)
    mean, std = (tensor(part, wrong=form) for part in got)  # type: ignore[attr-defined]
    for part in (mean, std):
        if part.shape != (_WIDE,) or part.is_complex():
            raise Wrong(f"{form} For {_WIDE} columns, yours have the shape {list(part.shape)}.")
    if not bool(torch.isfinite(mean).all()) or not bool(torch.isfinite(std).all()):
        raise Wrong(
            "Some of your numbers are NaN or infinite. Is there a root of something below 0, or a division by 0?"
        )
    return mean.double(), std.double()


def _near(got: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(got, wanted, rtol=1e-4, atol=1e-4)
