"""JSON that people write by hand: where it breaks, which key stands there twice, how deep it may go, what is no number."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError

__all__ = ["not_too_deep", "number_of", "parse_json_object"]


_DEEPEST = 20  # no config needs more levels; thousands would overflow the stack


def parse_json_object(data: bytes | str, file: Path | str) -> dict[str, Any]:
    """A JSON object without repeated keys, at most 20 levels deep. Raises FedkitError that says where it breaks."""
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise FedkitError(
            f"is not valid JSON{where}: {reason}", file=file, remedy="correct it and save it again"
        ) from error
    if not isinstance(value, dict):
        raise FedkitError(
            f"holds a {type(value).__name__}, not a JSON object",
            file=file,
            remedy="write { ... } with the keys",
        )
    not_too_deep(value, file)
    return value


def not_too_deep(values: dict[str, Any], file: Path | str) -> None:
    """Raises FedkitError where lists and objects are nested more than 20 deep."""
    layer: list[Any] = [values]
    for _ in range(_DEEPEST + 1):
        layer = [x for v in layer for x in (v.values() if isinstance(v, dict) else v)]
        layer = [x for x in layer if isinstance(x, dict | list | tuple)]
    if layer:
        raise FedkitError(
            f"nests lists or objects more than {_DEEPEST} deep", file=file, remedy="flatten them"
        )


def number_of(value: Any, remedy: str) -> float:
    """A number that stands there as one, infinite where it is too large. Raises ValueError ("what; remedy")."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, not {value!r:.80}; {remedy}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice!r:.80} stands there twice")
    return found
