"""Strategies by name: what `"strategy": {"name": ..., parameters}` in `fl_config.json` stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.config.fl_config import FLConfig
from fedkit.learning.strategies import fedavg, fednova, robust, scaffold, server
from fedkit.learning.strategies.base import Strategy

__all__ = ["STRATEGIES", "make_strategy"]


STRATEGIES: dict[str, type[Any]] = {
    "fedavg": fedavg.FedAvg,
    "fedprox": fedavg.FedProx,
    "scaffold": scaffold.Scaffold,
    "fednova": fednova.FedNova,
    "fedavgm": server.FedAvgM,
    "fedadagrad": server.FedAdagrad,
    "fedadam": server.FedAdam,
    "fedyogi": server.FedYogi,
    "median": robust.Median,
    "trimmed_mean": robust.TrimmedMean,
    "krum": robust.Krum,
    "multi_krum": robust.MultiKrum,
    "geometric_median": robust.GeometricMedian,
    "norm_clip": robust.NormClip,
}
"""Name in the config -> class; a class's fields are its parameters."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "momentum": (0, 1),
    "beta1": (0, 1),
    "beta2": (0, 1),
    "beta": (0, 0.5),
    "keep": (1, math.inf),
    "iterations": (1, 10_000),
}
"""Of the parameters that may not be any number from 0."""

_GIVEN: dict[str, Callable[[FLConfig], Any]] = {
    "weighting": lambda config: config.weighting,
    "population": lambda config: len(config.participants),
}
"""Fields that the rest of the config gives, and no parameter of `strategy`."""

_KEEPS = {"geometric_median": {"weighting"}}
"""Fields that stay at their default all the same."""


def make_strategy(config: FLConfig) -> Strategy:
    """The strategy that a config names, by default FedAvg. Raises FedkitError with the list and the nearest name."""
    spec = dict({"name": "fedavg"} if config.strategy is None else config.strategy)
    name = spec.pop("name", None)
    if name not in STRATEGIES:
        near = nearest(str(name), STRATEGIES)
        meant = f"; did you mean {near!r}?" if near else ""
        raise FedkitError(
            f"{name!r} is no strategy{meant}",
            field="strategy.name",
            remedy=f"one of {', '.join(STRATEGIES)}",
        )
    kind = STRATEGIES[name]
    known = {field.name: field for field in fields(kind) if field.name not in _GIVEN}
    for key, value in spec.items():
        if key not in known:
            raise FedkitError(
                f"{name} has no parameter {key!r}",
                field=f"strategy.{key}",
                remedy=f"it has {', '.join(known) or 'none'}",
            )
        _check(name, key, value, whole=key in ("hostile", "keep", "iterations"))
    takes = {field.name for field in fields(kind)} - _KEEPS.get(name, set())
    given = {key: value(config) for key, value in _GIVEN.items() if key in takes}
    strategy: Strategy = kind(**spec, **given)
    return strategy


def _check(name: str, key: str, value: Any, whole: bool) -> None:
    low, high = _BOUNDS.get(key, (0, math.inf))
    number = isinstance(value, int) if whole else isinstance(value, int | float)
    fits = number and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
    if not fits or (high in (1, 0.5) and value == high):
        kind = "a whole number" if whole else "a number"
        raise FedkitError(
            f"{value!r} is not {kind} from {low} to {'any' if high == math.inf else f'below {high}'}",
            field=f"strategy.{key}",
            remedy=f"correct the parameter of {name}",
        )
