"""JSON that people, and strangers, write: refused in words, and in time that grows with its length alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.strict_json import parse_json_object


def wide(keys: int, last: str = "end") -> bytes:
    """An object with so many keys."""
    return json.dumps({**{f"k{n}": n for n in range(keys)}, last: 0}).encode()


def cpu_s(data: bytes) -> float:
    began = time.process_time()
    parse_json_object(data, "x.json")
    return time.process_time() - began


def test_ten_times_the_keys_cost_about_ten_times_the_time() -> None:
    few, many = (min(cpu_s(wide(keys)) for _ in range(3)) for keys in (5_000, 50_000))
    assert many < 50 * few  # compared with every other one, it would be a hundred


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "'a'"),
        ('{"x": {"b": 1, "b": 1}}', "'b'"),
        ('{"x": [{"c": 1, "c": 1}]}', "'c'"),
        ('{"a": 1, "\\u0061": 2}', "'a'"),
    ],
)
def test_a_key_that_stands_there_twice_is_named(text: str, key: str) -> None:
    with pytest.raises(FedkitError, match=f"the key {key} stands there twice"):
        parse_json_object(text, Path("x.json"))


def test_a_huge_key_is_not_repeated_whole() -> None:
    name = "k" * 10_000
    with pytest.raises(FedkitError, match="stands there twice") as caught:
        parse_json_object(f'{{"{name}": 1, "{name}": 2}}', "x.json")
    assert len(str(caught.value)) < 300
