"""What a round asks for: learning rate, local epochs and who trains, fixed when the round begins.

The config says it for the whole project. A person at the aggregator may change it from the next round on
(`change_settings`), where the config that everybody approved says so in its key `adjustable`. What differs from the config
travels as a small file beside the global model, which the real apps ignore. A plan is written down before it is sent, so a
round that was cut off is the same round afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject

__all__ = ["RoundPlan", "apply_plan", "change_settings", "current_settings", "read_plan"]


@dataclass(frozen=True)
class RoundPlan:
    """One round: step size of local SGD, local epochs, and the e-mails of those who train."""

    round: int
    learning_rate: float
    epoch: int
    participants: tuple[str, ...]

    def on_the_wire(self, config: FLConfig) -> dict[str, Any]:
        """What differs from the approved config; empty in an ordinary round."""
        values = {"learning_rate": self.learning_rate, "epoch": self.epoch}
        differs: dict[str, Any] = {
            key: value for key, value in values.items() if value != getattr(config, key)
        }
        if self.participants != config.participants:
            differs["participants"] = list(self.participants)
        return differs


def change_settings(site: Datasite, project: str, **changes: Any) -> FLConfig:
    """Change `learning_rate`, `epoch` or `participants_per_round` from the next round on; returns what then holds.

    Raises FedkitError if the project is not under way here, a value is not valid, or the approved config does not
    name the setting in `adjustable`.
    """
    place = site.aggregator().project(project)
    config = FLConfig.load(place.config)
    for name in changes:
        if name not in config.adjustable:
            raise FedkitError(
                f"{name} may not change in this project",
                file=place.config,
                field="adjustable",
                why="The participants approved a config that does not list it",
                remedy=f'launch with "adjustable": ["{name}"]',
            )
    wished = current_settings(place, config).replace(**changes)
    write_json(place.settings, {name: getattr(wished, name) for name in config.adjustable})
    return wished


def current_settings(place: AggregatorProject, config: FLConfig) -> FLConfig:
    """The config with the changes that hold from the next round on."""
    wish = read_json(place.settings)
    return config.replace(**wish) if isinstance(wish, dict) and wish else config


def read_plan(place: AggregatorProject, n: int) -> RoundPlan | None:
    """The plan of round n, None where the round has not begun."""
    values = read_json(place.plan(n))
    if not isinstance(values, dict):
        return None
    try:
        plan = RoundPlan(**values)
        return replace(plan, participants=tuple(plan.participants))
    except TypeError as error:
        raise FedkitError(
            f"is no plan of a round ({error})", file=place.plan(n), remedy="remove it"
        ) from error


def apply_plan(config: FLConfig, values: Any, path: Path) -> FLConfig:
    """At the participant: the approved config with this round's settings.

    Raises FedkitError if a setting changes that the approved config does not list as adjustable.
    """
    changes = {k: values[k] for k in ("learning_rate", "epoch") if k in values}
    for name, value in changes.items():
        if value != getattr(config, name) and name not in config.adjustable:
            raise FedkitError(
                f"asks for {name} {value!r}, but {getattr(config, name)!r} was approved",
                file=path,
                field=name,
                why="The approved config does not list it as adjustable; this client does not train with it",
                remedy=f'ask the aggregator to launch with "adjustable": ["{name}"]',
            )
    try:
        return config.replace(**changes)
    except FedkitError as error:
        raise FedkitError(error.what, file=path, field=error.field, remedy=error.remedy) from error
