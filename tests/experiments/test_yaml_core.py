"""YAML's core schema, scalar by scalar, beside the table of the standard (YAML 1.2.2, section 10.3.2)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from fedkit.experiments.yaml_core import plain, read_yaml, write_yaml

READ: list[tuple[str, Any]] = [
    *[(text, text) for text in ("on", "off", "yes", "No", "y", "12:30", "1:2:3", "1_000", "0b11")],
    *[
        (text, text)
        for text in ("2024-01-31", "1e", ".", "+", "nul", "0o8", "0xG", "1.2.3", "-0x1")
    ],
    *[(text, 0.001) for text in ("1e-3", "1E-3", "0.001", "+.1e-2", "1.e-3")],
    *[(text, 7) for text in ("7", "+7", "007", "0o7", "0x7")],
    *[(text, None) for text in ("", "~", "null", "Null", "NULL")],
    *[(text, True) for text in ("true", "True", "TRUE")],
    *[(text, math.inf) for text in (".inf", "+.INF")],
    ("-12", -12),
    ("010", 10),
    ("0o10", 8),
    ("false", False),
    ("-.Inf", -math.inf),
    ("'007'", "007"),
    ('"true"', "true"),
    ("!!str 1", "1"),
    ("!!int '3'", 3),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_a_scalar_is_what_the_standard_says(text: str, value: Any) -> None:
    read = plain(read_yaml(f"[{text}]") if text else read_yaml("- "))
    assert read == [value]
    assert type(read[0]) is type(value)


def test_not_a_number_is_one_kind_of_number() -> None:
    assert math.isnan(plain(read_yaml(".NaN")))


@pytest.mark.parametrize("text", ["007", "12:30", "1e-3", "true", "0x1F"])
def test_where_a_text_is_asked_for_it_stays_as_it_stands(text: str) -> None:
    assert plain(read_yaml(text), text=True) == text
    assert plain(read_yaml(f"[{text}]"), text=True) == [plain(read_yaml(text))]
    assert type(plain(read_yaml(text), text=True)) is str
    assert plain(read_yaml("~"), text=True) is None


@pytest.mark.parametrize("text", ["a: 1\na: 2", "[1, 2]: 3", "!!int many", "!!bool 3", "a: ["])
def test_what_says_nothing_clear_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


def test_keys_are_texts_and_parts_may_be_merged() -> None:
    read = plain(read_yaml("base: &b {1: a, on: 2}\nmore: {<<: *b, 3: 4}"))
    assert read == {"base": {"1": "a", "on": 2}, "more": {"1": "a", "on": 2, "3": 4}}


@pytest.mark.parametrize(("_", "value"), READ)
def test_what_is_written_is_read_back(_: str, value: Any) -> None:
    back = plain(read_yaml(write_yaml({"a": [value]})))["a"]
    assert back == [value]
    assert type(back[0]) is type(value)
