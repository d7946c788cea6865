"""Strategies by name: what `"strategy": {"name": ..., parameters}` in `fl_config.json` stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.config.fl_config import FLConfig
from fedkit.config.limits import LIMITS
from fedkit.learning.strategies import fedavg, fedbn, fednova, robust, scaffold, server
from fedkit.learning.strategies.base import Strategy

__all__ = ["STRATEGIES", "make_strategy"]


STRATEGIES: dict[str, type[Any]] = {
    "fedavg": fedavg.FedAvg,
    "fedprox": fedavg.FedProx,
    "scaffold": scaffold.Scaffold,
    "fednova": fednova.FedNova,
    "fedbn": fedbn.FedBN,
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
        _check(name, key, value)
    takes = {field.name for field in fields(kind)} - _KEEPS.get(name, set())
    given = {key: value(config) for key, value in _GIVEN.items() if key in takes}
    strategy: Strategy = kind(**spec, **given)
    _enough(config, strategy)
    return strategy


def _check(name: str, key: str, value: Any) -> None:
    wrong = LIMITS[key].wrong(value)
    if wrong is not None:
        raise FedkitError(
            f"{value!r:.80} {wrong}",
            field=f"strategy.{key}",
            remedy=f"correct the parameter of {name}",
        )


def _enough(config: FLConfig, strategy: Strategy) -> None:
    """Raises FedkitError where a round of this config may have fewer updates than the rule needs."""
    fewest = min(config.quorum, config.participants_per_round or config.quorum)
    if fewest < strategy.fewest_updates:
        raise FedkitError(
            f"needs {strategy.fewest_updates} updates a round, and a round of this project may have {fewest}",
            field="strategy",
            why="With fewer of them nothing is proven of it, and the round would never end",
            remedy="take more participants a round, or a strategy or parameters that need fewer updates",
        )
