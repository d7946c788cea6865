"""What is usually wrong with data is named, and the line that puts it right does so when it is run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from fedkit.base.errors import FedkitError
from fedkit.config.task import DIGITS, Task
from fedkit.data.shards import check_dataset, pair_of
from tests.support.digits import seeded
from tests.support.tasks import KINDS

GREY = torch.rand(12, 1, 28, 28, generator=seeded(0)), torch.arange(12) % 10
COLOUR, TABLE, TEXT, TWO = (
    KINDS[name] for name in ("colour images", "a table", "text", "two numbers")
)
SMALL = Task(shape=(1, 16, 16))


class Pairs(Dataset[tuple[Tensor, int]]):
    """A data set that gives one image and its number at a time."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, n: int) -> tuple[Tensor, int]:
        return GREY[0][n], int(GREY[1][n])


def line_of(error: FedkitError) -> str:
    """The Python at the end of a remedy."""
    assert error.remedy is not None
    return error.remedy.rpartition(": ")[2]


PAIRS: dict[str, tuple[Task, Any]] = {
    "a TensorDataset": (DIGITS, TensorDataset(*GREY)),
    "a data set": (DIGITS, Pairs()),
    "arrays": (DIGITS, tuple(part.numpy() for part in GREY)),
    "lists": (DIGITS, [part.tolist() for part in GREY]),
    "lists of tokens": (TEXT.task, [part.tolist() for part in TEXT.test]),
    "a table's lists": (TABLE.task, [part.tolist() for part in TABLE.test]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_no_pair_becomes_one(name: str) -> None:
    task, shard = PAIRS[name]
    with pytest.raises(FedkitError, match="is no pair of tensors") as caught:
        pair_of(shard, task, "shard")
    names = {"shard": shard, "torch": torch}
    exec(line_of(caught.value), names)
    check_dataset(*pair_of(names["shard"], task, "shard"), "shard", task)


@pytest.mark.parametrize("shard", [None, GREY[0], (GREY[0],) * 3, {"images": 1}, range(2), "ab"])
def test_what_can_not_become_one_is_told_what_is_wanted(shard: object) -> None:
    with pytest.raises(FedkitError, match=r"give \(images float32"):
        pair_of(shard, DIGITS, "shard")
    with pytest.raises(FedkitError, match=r"give \(samples, labels\), two tensors"):
        pair_of(shard, TABLE.task, "shard")


Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
LINES: dict[str, tuple[Task, tuple[Tensor, Tensor], Change, str]] = {
    "bytes": (DIGITS, GREY, lambda x, y: ((x * 255).byte(), y), "divide bytes by 255"),
    "whole numbers": (DIGITS, GREY, lambda x, y: ((x * 255).long(), y), "divide bytes by 255"),
    "0..255": (DIGITS, GREY, lambda x, y: (x * 255, y), "divide bytes by 255"),
    "0..65535": (DIGITS, GREY, lambda x, y: (x * 65535, y), "by the largest"),
    "normalised": (DIGITS, GREY, lambda x, y: ((x - 0.1307) / 0.3081, y), "undo the normalisation"),
    "rounded": (DIGITS, GREY, lambda x, y: (x - x.min() - 1e-6, y), "rounding"),
    "infinite": (
        DIGITS,
        GREY,
        lambda x, y: (x / x.flatten(1)[:, :1].round()[..., None, None], y),
        "not finite",
    ),
    "half precision": (DIGITS, GREY, lambda x, y: (x.half(), y), "to(torch.float32)"),
    "double precision": (DIGITS, GREY, lambda x, y: (x.double(), y), "to(torch.float32)"),
    "colours": (DIGITS, GREY, lambda x, y: (x.repeat(1, 3, 1, 1), y), "in colour"),
    "colours and how opaque": (DIGITS, GREY, lambda x, y: (x.repeat(1, 4, 1, 1), y), "in colour"),
    "grey last": (DIGITS, GREY, lambda x, y: (x.permute(0, 2, 3, 1), y), "stand last"),
    "no channel": (DIGITS, GREY, lambda x, y: (x[:, 0], y), "reshape"),
    "flat": (DIGITS, GREY, lambda x, y: (x.flatten(1), y), "reshape"),
    "of another size": (SMALL, GREY, lambda x, y: (x, y), "another size"),
    "one-hot": (DIGITS, GREY, lambda x, y: (x, F.one_hot(y, 10)), "one-hot"),
    "one-hot floats": (DIGITS, GREY, lambda x, y: (x, F.one_hot(y, 10).float()), "one-hot"),
    "float labels": (DIGITS, GREY, lambda x, y: (x, y.float()), "to(torch.int64)"),
    "a column of labels": (DIGITS, GREY, lambda x, y: (x, y[:, None]), "reshape"),
    "labels from 1": (DIGITS, GREY, lambda x, y: (x, y + 1), "begin with 1"),
    "colours last": (
        COLOUR.task,
        COLOUR.test,
        lambda x, y: (x.permute(0, 2, 3, 1), y),
        "stand last",
    ),
    "grey for colours": (COLOUR.task, COLOUR.test, lambda x, y: (x[:, :1], y), "are grey"),
    "colours normalised": (
        COLOUR.task,
        COLOUR.test,
        lambda x, y: (x * 2 - 1, y),
        "task.range: null; else",
    ),
    "nine from 1": (
        COLOUR.task,
        (COLOUR.samples, COLOUR.labels),
        lambda x, y: (x, y + 1),
        "begin with 1",
    ),
    "float tokens": (TEXT.task, TEXT.test, lambda x, y: (x.float(), y), "to(torch.int64)"),
    "yes or no in two columns": (
        TABLE.task,
        TABLE.test,
        lambda x, y: (x, F.one_hot(y.long(), 2).float()),
        "second column",
    ),
    "1 and 2": (TABLE.task, TABLE.test, lambda x, y: (x, y + 1), "positive"),
    "-1 and 1": (TABLE.task, TABLE.test, lambda x, y: (x, 2 * y - 1), "positive"),
    "two numbers in a row": (TWO.task, TWO.test, lambda x, y: (x, y.flatten()), "reshape"),
}


@pytest.mark.parametrize("name", LINES)
def test_the_line_of_a_remedy_puts_it_right(name: str) -> None:
    task, right, change, cause = LINES[name]
    samples, labels = change(*right)
    with pytest.raises(FedkitError) as caught:
        check_dataset(samples, labels, "shard.pt", task)
    assert cause in str(caught.value.remedy)
    names = {task.samples: samples, "labels": labels, "torch": torch}
    exec(line_of(caught.value), names)
    check_dataset(names[task.samples], names["labels"], "shard.pt", task)
    if name not in ("infinite", "of another size", "grey for colours"):
        assert torch.equal(names["labels"], right[1])
    if name in ("normalised", "colours normalised", "0..255", "colours", "grey last", "no channel"):
        torch.testing.assert_close(names[task.samples], right[0], atol=1e-6, rtol=0)


NO_LINE: dict[str, tuple[Task, Tensor, Tensor, str]] = {
    "other features": (
        TABLE.task,
        TABLE.samples[:, :29],
        TABLE.labels,
        '"shape": \\[29\\] in "task"',
    ),
    "a table for digits": (
        DIGITS,
        TABLE.samples,
        TABLE.labels.long(),
        r"give \[1, 28, 28\] numbers for each image",
    ),
    "one number for two": (TWO.task, TWO.samples, TWO.labels[:, 0], "2 numbers for each vector"),
    "label 10": (DIGITS, GREY[0], GREY[1] + 5, "with its digit"),
    "class 12": (COLOUR.task, COLOUR.samples, COLOUR.labels + 5, "number the classes from 0"),
}


@pytest.mark.parametrize("name", NO_LINE)
def test_where_no_line_helps_none_is_offered(name: str) -> None:
    task, samples, labels, remedy = NO_LINE[name]
    with pytest.raises(FedkitError, match=remedy) as caught:
        check_dataset(samples, labels, "shard.pt", task)
    assert " = " not in str(caught.value.remedy)
