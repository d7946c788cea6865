"""Results that travel inside the executed notebook: a displayed output of a type of our own.

Papermill has no front end and keeps every output as it came, so what a cell displays can be read back from the
executed copy, by name. (papermill's own `record` is long gone; scrapbook did it this way.)
"""

from __future__ import annotations

import math
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import RECORD_MIME
from fedkit.pictures import publish

__all__ = ["record"]

Value = bool | int | float | str | list[Any]


def record(**values: Value) -> None:
    """Keep results of a notebook under their names: `fk.record(accuracy=0.875, rounds=3)`.

    Values are finite numbers, strings, or lists of them. The last value of a name counts. Raises FedkitError for
    anything else, and shows nothing outside a notebook.
    """
    if not values:
        raise FedkitError("nothing to record", remedy="name a value: fk.record(accuracy=0.875)")
    plain = {name: _plain(name, value) for name, value in values.items()}
    text = ", ".join(f"{name} = {value}" for name, value in plain.items())
    publish({RECORD_MIME: plain, "text/plain": f"Recorded: {text}"})


def _plain(name: str, value: object) -> Value:
    # the exact types: a numpy.float64 is a float, but says so only until somebody reads the JSON back
    if type(value) in (bool, int, str):
        return value  # type: ignore[return-value]
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) in (list, tuple):
        return [_plain(name, item) for item in value]  # type: ignore[attr-defined]
    described = repr(value) if type(value) is float else f"a {type(value).__name__}"
    raise FedkitError(
        f"{described} can't be recorded",
        field=name,
        why="A record holds finite numbers, strings and lists of them",
        remedy="convert it: float(x), int(x), x.tolist() or str(x)",
    )
