"""Only plain values cross: what comes back is equal, and what is none comes back as the name of its type."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fedkit as fk
from fedkit.teaching.grade.wire import (
    Cut,
    Strange,
    changeable,
    pack,
    read_frame,
    unpack,
    write_frame,
)


def no_function(value: Any) -> Any:
    return ["function", 0, "file", "name"]


def over(value: object) -> Any:
    """A value sent through a pipe."""
    blob = bytearray()
    form = pack(value, blob, no_function)
    here, there = os.pipe()
    write_frame(there, form, bytes(blob))
    os.close(there)
    got = unpack(*read_frame(here, 5.0), lambda rest: ("function", *rest))
    os.close(here)
    return got


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, 10**400, -1.5, math.inf, "é\ud800\u202e", ..., b"\0\xff", [], {}, ()),
        *([1, (2, {3}, frozenset({4}))], {"a": {1: [None]}, 2: "b"}, np.float64(2.5), np.uint64(7)),
    ],
)
def test_a_plain_value_comes_back(value: object) -> None:
    got = over(value)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.int64, torch.bool, torch.bfloat16, torch.uint8]
)
def test_tensors_and_arrays_come_back(dtype: torch.dtype) -> None:
    for tensor in (
        torch.arange(6).reshape(2, 3).T.to(dtype),
        torch.zeros(0, 3, dtype=dtype),
        torch.tensor(1).to(dtype),
    ):
        got = over({"w": tensor})["w"]
        assert torch.equal(got, tensor)
        assert got.dtype == dtype
    assert np.array_equal(
        over(np.arange(4, dtype=np.uint64)[::2]), np.array([0, 2], dtype=np.uint64)
    )
    assert over(pd.Series({"a": 1.5})) == {"a": 1.5}
    assert math.isnan(over(math.nan))


def test_a_config_crosses_as_what_it_says() -> None:
    told = {"project_name": "P", "aggregator": "a@example.org", "participants": ["b@example.org"]}
    told |= {
        "rounds": 2,
        "epoch": 1,
        "learning_rate": 0.1,
        "model_arch": "m.py",
        "model_weight": "w.pt",
    }
    config = fk.FLConfig.from_dict(told)
    assert over(config) == config


class Mallory:
    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


def test_what_is_not_plain_crosses_as_a_name() -> None:
    for value, name in (
        (Mallory(), "Mallory"),
        (np.array([Mallory()]), "ndarray"),
        (Mallory, "type"),
    ):
        got = over(value)
        assert isinstance(got, Strange)
        assert type(got).__name__ == name
    assert over(lambda: 1) == ("function", 0, "file", "name")
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert over(deep) is not None


@pytest.mark.parametrize(
    "form",
    [
        *(
            None,
            1,
            [],
            ["="],
            ["list", 3],
            ["tensor", "float32", [10**12], 0, 4],
            ["tensor", "load", [1], 0, 4],
        ),
        *(["array", "O", [1], 0, 8, False], ["array", "<f8", [2], 0, 4, False], ["bytes", -1, 9]),
        *(["FLConfig", ["dict", []]], ["dict", [[["list", []], ["=", 1]]]], ["=", {"a": 1}]),
    ],
)
def test_a_forged_answer_is_cut(form: Any) -> None:
    with pytest.raises(Cut):
        unpack(form, b"\0" * 8, no_function)


def frames(data: bytes) -> Callable[[], Any]:
    here, there = os.pipe()
    os.write(there, data)
    os.close(there)
    return lambda: read_frame(here, 0.2)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ended"),
        (b"\xff" * 8, "64 MB"),
        (b"\0\0\0\x02\0\0\0\0{{", "can't be read"),
        (b"\0\0\0\x05\0\0\0\0{}", "ended"),
    ],
)
def test_a_broken_frame_is_cut(data: bytes, says: str) -> None:
    with pytest.raises(Cut, match=says):
        frames(data)()


def test_silence_is_cut() -> None:
    here, there = os.pipe()
    with pytest.raises(Cut, match="time"):
        read_frame(here, 0.05)
    os.close(there)


def test_what_a_call_may_change_is_found_in_one_order() -> None:
    model, draw = torch.nn.Linear(2, 1), torch.Generator()
    update = fk.Update("a@example.org", 1, {"w": torch.zeros(2)}, 3)
    found = list(changeable((model, [update], {"x": np.zeros(1)}, draw, 5)))
    assert [type(part).__name__ for part in found] == [
        "Parameter",
        "Parameter",
        "Tensor",
        "ndarray",
        "Generator",
    ]
