"""Standardised samples: from each feature of a vector, each channel of an image, its mean is taken, and what stays is
divided by its standard deviation.

    x' = (x - mean) / std,   0 where std is 0

The task says whose numbers these are. "own": those that each participant trains on, and the test set's for the test set;
they stay where they are. "federated": everybody's together. They are the same as if all samples lay in one place,

    mean = sum_k s_k / sum_k n_k,   std^2 = sum_k q_k / sum_k n_k - mean^2

from each participant's `Moments` alone: n_k, s_k (sums) and q_k (sums of squares). These do leave a datasite, and so tell
its means and spreads; of one sample they tell all. They become numbers in `fl_config.json` before a launch, which everybody
reads and approves, and both worlds compute with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.config.fl_config import FLConfig, first_problem
from fedkit.config.task import Statistics, Task
from fedkit.data.shards import Shard, in_order

__all__ = [
    "Moments",
    "check_stated",
    "combine",
    "far_apart",
    "moments",
    "read_moments",
    "standardised",
    "stated",
]


_CONSTANT = 1e-12
"""A variance below this part of the mean square is rounding: float32 has 24 bits."""


class Moments(BaseModel):
    """What a participant gives for federated statistics. Frozen.

    n : numbers summed for each feature (samples; of images, pixels). sums, squares : of them, one a feature or channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n: Annotated[int, Field(strict=True, ge=1, le=2**53)]
    sums: tuple[float, ...]
    squares: tuple[Annotated[float, Field(ge=0)], ...]


def moments(samples: Tensor, task: Task) -> Moments:
    """Of a participant's samples, summed in float64. Raises FedkitError for tokens, which are no amounts."""
    if task.samples == "tokens":
        raise FedkitError(
            "are numbers of words, and have no mean",
            field="tokens",
            remedy="embed them in the model",
        )
    # [N * pixels, features]; numpy sums in one thread, so that the bits hang on nothing else
    rows = samples.movedim(1, -1).flatten(0, -2).double().contiguous().numpy()
    sums, squares = rows.sum(0), np.square(rows).sum(0)
    return Moments(n=len(rows), sums=tuple(sums.tolist()), squares=tuple(squares.tolist()))


def combine(parts: Sequence[Moments]) -> Statistics:
    """Mean and standard deviation of everybody's samples together, in any order to the same bits. Raises FedkitError."""
    lengths = {len(values) for part in parts for values in (part.sums, part.squares)}
    if len(lengths) != 1:
        raise FedkitError(
            f"are of {' and '.join(map(str, sorted(lengths))) or 'no'} features",
            field="statistics",
            remedy="give those of participants of one task",
        )
    n = sum(part.n for part in parts)
    means, stds = list[float](), list[float]()
    for sums, squares in zip(
        zip(*(part.sums for part in parts), strict=True),
        zip(*(part.squares for part in parts), strict=True),
        strict=True,
    ):
        mean, square = math.fsum(sums) / n, math.fsum(squares) / n
        variance = square - mean * mean
        means.append(mean)
        stds.append(math.sqrt(variance) if variance > _CONSTANT * square else 0.0)
    return Statistics(mean=tuple(means), std=tuple(stds))


def standardised(shard: Shard, task: Task, by: Tensor | None = None) -> Shard:
    """The shard as the task's model sees it: the same where the task standardises nothing, else with new samples, float32.

    by : the samples whose statistics "own" ones are, where some of the shard are only tried and none may shape a model; by
    default the shard's. Raises FedkitError where "federated" is not yet numbers, or numbers so small divide that the
    samples overflow.
    """
    if task.standardise is None:
        return shard
    check_stated(task)
    samples, labels = shard
    found = task.standardise
    if not isinstance(found, Statistics):
        found = combine([moments(samples if by is None else by, task)])
    shape = (-1, *[1] * (samples.dim() - 2))
    mean, std = (
        torch.tensor(n, dtype=torch.float64).reshape(shape) for n in (found.mean, found.std)
    )
    apart = (samples.double() - mean) / torch.where(std > 0, std, 1.0)
    seen = torch.where(std > 0, apart, 0.0).float()
    if not bool(torch.isfinite(seen).all()):
        raise FedkitError(
            "divides by numbers so small that samples overflow",
            field="task.standardise",
            remedy="write 0 as the std of what is constant",
        )
    return seen, labels


def stated(config: FLConfig, shards: Iterable[Shard]) -> FLConfig:
    """The config with the numbers that "federated" stands for; any other as it is. shards : everybody's."""
    task = config.task
    if task.standardise != "federated":
        return config
    found = combine([moments(in_order(shard, task)[0], task) for shard in shards])
    values = task.model_dump(mode="json") | {"standardise": found.model_dump(mode="json")}
    return config.replace(task=values)


def check_stated(task: Task) -> None:
    """Raises FedkitError where "federated" is not yet numbers: nobody could approve, or compute with, what is not there."""
    if task.standardise == "federated":
        raise FedkitError(
            'is "federated", and its numbers are not there yet',
            field="task.standardise",
            remedy="let each participant run `fedkit data statistics`, and write what `fedkit data combine` makes of it",
        )


def far_apart(samples: Tensor) -> bool:
    """Do the columns of vectors, float32 [N,F], differ in size more than a hundredfold? Constant ones don't count."""
    sizes = samples.double().square().mean(0).sqrt()
    sizes = sizes[samples.amax(0) > samples.amin(0)]
    return len(sizes) > 1 and bool(sizes.max() > 100 * sizes.min())


def read_moments(path: Path) -> Moments:
    """What `fedkit data statistics` printed, from a file. Raises FedkitError."""
    try:
        return Moments.model_validate_json(
            read_bytes(path, max_bytes=2**24, absent="check the path")
        )
    except ValidationError as error:
        raise first_problem(error, path) from error
