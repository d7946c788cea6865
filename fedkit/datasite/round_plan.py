"""What a round asks for: learning rate, local epochs and who trains, fixed when the round begins.

The config says it for the whole project. A person at the aggregator may change it from the next round on
(`change_settings`), where the config that everybody approved says so in its key `adjustable`. What differs from the config
travels as a small file beside the global model, which the real apps ignore. A plan is written down before it is sent, so a
round that was cut off is the same round afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_own, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.config.optimizer import Optimizer
from fedkit.config.task import DIGITS, Task
from fedkit.config.validation import Validation
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject

__all__ = [
    "RoundPlan",
    "always_planned",
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
    the same in all rounds, samples a batch, the seed that every shuffle derives from, how updates are weighted, what is
    believed of them, what the data are, what takes the steps where it is not plain SGD, and what participants keep back.

    unscaled : the step size before the config's schedule scaled it; None where there is no schedule.
    """

    round: int
    learning_rate: float
    epoch: int
    participants: tuple[str, ...]
    batch_size: int = 64
    seed: int = 0
    weighting: str = "samples"
    max_samples: int | None = None
    max_update_norm: float | None = None
    task: Task = DIGITS
    optimizer: Optimizer | None = None
    unscaled: float | None = None
    validation: Validation | None = None

    @classmethod
    def of(cls, settings: FLConfig, n: int, participants: Sequence[str]) -> RoundPlan:
        """The plan of round n with the settings that hold then."""
        rate, schedule = settings.learning_rate, settings.schedule
        return cls(
            n,
            rate if schedule is None else rate * schedule.share(n, settings.rounds),
            settings.epoch,
            tuple(participants),
            settings.batch_size,
            settings.seed,
            settings.weighting,
            settings.max_samples,
            settings.max_update_norm,
            settings.task,
            settings.optimizer,
            None if schedule is None else rate,
            settings.validation,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What may differ between rounds, by its name in the config."""
        rate = self.learning_rate if self.unscaled is None else self.unscaled
        return {"learning_rate": rate, "epoch": self.epoch}

    def started_from(self, model: str) -> dict[str, Any]:
        """What an update follows from beside its samples and the approved config: SHA-256 of the global model, and what may
        differ between rounds. Under masks everybody signs it."""
        return {"model": model, **self.settings}

    def on_the_wire(self, config: FLConfig) -> dict[str, Any]:
        """What differs from the approved config; empty in an ordinary round. In a project with signed files, whose road may
        bring them in any order, all of it wherever it could differ."""
        whole = config.signed and always_planned(config)
        differs = {k: v for k, v in self.settings.items() if whole or v != getattr(config, k)}
        if whole or self.participants != config.participants:
            differs["participants"] = list(self.participants)
        return differs


def always_planned(config: FLConfig) -> bool:
    """May rounds differ from the approved config?"""
    return bool(config.adjustable) or config.participants_per_round is not None


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
    path, remedy = place.settings, "remove it: then the approved config holds"
    wish = read_own(path, "settings for the next rounds", remedy)
    if wish is None:
        return config
    if not isinstance(wish, dict) or not wish.keys() <= set(config.adjustable):
        what = f"may hold only what the config lists as adjustable ({', '.join(config.adjustable)})"
        raise FedkitError(what, file=path, remedy=remedy)
    try:
        return config.replace(**wish)
    except FedkitError as error:
        raise error.about(path) from error


def write_plan(place: AggregatorProject, plan: RoundPlan) -> None:
    """Fix a round: what may differ between rounds, in a file of its own."""
    fixed = {"round": plan.round, **plan.settings, "participants": plan.participants}
    write_json(place.plan(plan.round), fixed)


def read_plan(place: AggregatorProject, n: int, config: FLConfig | None = None) -> RoundPlan | None:
    """The plan of round n, None where the round has not begun. config : the project's, where it is read already.

    Raises FedkitError if something else lies there.
    """
    path, remedy = place.plan(n), "remove it: the round is planned anew, with the same people"
    values = read_own(path, "plan of a round", remedy)
    if values is None:
        return None
    config = config or FLConfig.load(place.config)
    try:
        fixed = {name: values[name] for name in _FIXED}
        differs = {k: fixed[k] for k in _MAY_DIFFER if fixed[k] != getattr(config, k)}
        settings = config.replace(**differs) if differs else config
        chosen = fixed["participants"]
        # a draw in private may be empty
        nobody = not chosen and (config.dp is None or config.participants_per_round is None)
        if fixed["round"] != n or not isinstance(chosen, list) or nobody:
            raise ValueError(f"of round {n}, with participants")
        unknown = [who for who in chosen if who not in config.participants]
        if unknown or len(set(chosen)) < len(chosen):
            raise ValueError(f"its participants are not those of {place.config.name}")
    except (TypeError, KeyError, ValueError, FedkitError) as error:
        what = error.what if isinstance(error, FedkitError) else str(error)
        field = error.field if isinstance(error, FedkitError) else None
        raise FedkitError(
            f"is no plan of a round ({what:.200})", file=path, field=field, remedy=remedy
        ) from error
    return RoundPlan.of(settings, n, chosen)


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
    if not isinstance(chosen, list | tuple) or not all(isinstance(who, str) for who in chosen):
        chosen = config.participants
    try:
        return RoundPlan.of(config.replace(**changes) if changes else config, n, chosen)
    except FedkitError as error:
        raise error.about(path) from error
