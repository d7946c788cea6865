"""What a round asks for: learning rate, local epochs and who trains, fixed when the round begins.

The config says it for the whole project. A person at the aggregator may change it from the next round on
(`change_settings`), where the config that everybody approved says so in its key `adjustable`. What differs from the config
travels as a small file beside the global model, which the real apps ignore. A plan is written down before it is sent, so a
round that was cut off is the same round afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, read_object, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject

__all__ = [
    "RoundPlan",
    "change_settings",
    "current_settings",
    "read_plan",
    "received_plan",
    "write_plan",
]

_MAY_DIFFER = ("learning_rate", "epoch")
_FIXED = ("round", *_MAY_DIFFER, "participants")


@dataclass(frozen=True)
class RoundPlan:
    """One round, all that its training takes: step size of local SGD, local epochs, the e-mails of those who train; and,
    the same in all rounds, samples a batch, the seed that every shuffle derives from, how updates are weighted, and what is
    believed of them."""

    round: int
    learning_rate: float
    epoch: int
    participants: tuple[str, ...]
    batch_size: int = 64
    seed: int = 0
    weighting: str = "samples"
    max_samples: int | None = None
    max_update_norm: float | None = None

    @classmethod
    def of(cls, settings: FLConfig, n: int, participants: Sequence[str]) -> RoundPlan:
        """The plan of round n with the settings that hold then."""
        return cls(
            n,
            settings.learning_rate,
            settings.epoch,
            tuple(participants),
            settings.batch_size,
            settings.seed,
            settings.weighting,
            settings.max_samples,
            settings.max_update_norm,
        )

    def on_the_wire(self, config: FLConfig) -> dict[str, Any]:
        """What differs from the approved config; empty in an ordinary round."""
        settings = {key: getattr(self, key) for key in _MAY_DIFFER}
        differs = {key: v for key, v in settings.items() if v != getattr(config, key)}
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
    wish = read_object(place.settings)
    return config.replace(**wish) if wish else config


def write_plan(place: AggregatorProject, plan: RoundPlan) -> None:
    """Fix a round: what may differ between rounds, in a file of its own."""
    write_json(place.plan(plan.round), {name: getattr(plan, name) for name in _FIXED})


def read_plan(place: AggregatorProject, n: int, config: FLConfig | None = None) -> RoundPlan | None:
    """The plan of round n, None where the round has not begun. config : the project's, where it is read already."""
    values = read_json(place.plan(n))
    if not isinstance(values, dict):
        return None
    try:
        fixed = {name: values[name] for name in _FIXED}
        config = config or FLConfig.load(place.config)
        return replace(RoundPlan.of(config, n, fixed.pop("participants")), **fixed)
    except (TypeError, KeyError) as error:
        raise FedkitError(
            f"is no plan of a round ({error})", file=place.plan(n), remedy="remove it"
        ) from error


def received_plan(config: FLConfig, n: int, values: Any, path: Path) -> RoundPlan:
    """At the participant: round n by the approved config, with what the aggregator asks for (`values` of `path`).

    Raises FedkitError if a setting changes that the approved config does not list as adjustable.
    """
    values = values if isinstance(values, dict) else {}
    changes = {k: values[k] for k in _MAY_DIFFER if k in values}
    for name, value in changes.items():
        if value != getattr(config, name) and name not in config.adjustable:
            raise FedkitError(
                f"asks for {name} {value!r}, but {getattr(config, name)!r} was approved",
                file=path,
                field=name,
                why="The approved config does not list it as adjustable; this client does not train with it",
                remedy=f'ask the aggregator to launch with "adjustable": ["{name}"]',
            )
    chosen = values.get("participants")
    chosen = chosen if isinstance(chosen, list | tuple) else config.participants
    try:
        return RoundPlan.of(config.replace(**changes) if changes else config, n, chosen)
    except FedkitError as error:
        raise error.about(path) from error
