"""What is remembered of a run: each participant's contribution, each round, all of them as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, render
from fedkit.base.files import read_own, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.projects import find_project
from fedkit.learning.validated import Validated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Contribution", "History", "RoundRecord", "read_history", "read_records"]


_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""For what is read back from a file: no key that is unknown, no number that is none."""


@dataclass(frozen=True)
class Contribution:
    """One participant's part in a round, as the aggregator keeps it.

    weight : its share of the average, 0..1. norm : L2 norm of (update - global model). Both are None where secure
    aggregation hides them. seconds : of local training, None where unknown; it does not count when two are compared.
    sha256 : of the update's file. validation : what it says about samples of its own that it keeps back, None where it
    keeps none or says nothing.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    participant: str
    weight: float | None
    num_samples: int | None
    loss: float | None
    norm: float | None
    sha256: str
    seconds: float | None = field(default=None, compare=False)
    validation: Validated | None = None


@dataclass(frozen=True)
class RoundRecord:
    """One round: who took part, who was refused and why, and how good the global model was afterwards.

    diagnostics : what the strategy says about its step.
    learning_rate, local_epochs : what the round asked for.
    capped : who claimed more samples than the config believes, and how many.
    accuracy : 0..1 on the aggregator's test set; None where the task has none. loss : the task's mean loss, for digits the
    cross entropy in nats. Both None until evaluated. metrics : the task's other metrics, by name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    round: int
    contributions: tuple[Contribution, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float | None = None
    local_epochs: int | None = None
    accuracy: float | None = None
    loss: float | None = None
    capped: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def evaluated(self) -> bool:
        """Was its global model tried on the test set?"""
        return self.loss is not None

    def with_scores(self, metrics: Mapping[str, float], loss: float) -> RoundRecord:
        """The record of a model that was tried: the task's metrics by name, and its loss."""
        others = {name: value for name, value in metrics.items() if name != "accuracy"}
        return replace(self, accuracy=metrics.get("accuracy"), loss=loss, metrics=others)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; what nobody validated is not mentioned."""
        values = asdict(self)
        for part in values["contributions"]:
            if part["validation"] is None:
                del part["validation"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], file: Path | None = None) -> RoundRecord:
        """The inverse of `to_dict`. Raises FedkitError."""
        what, field = "is not complete", None
        try:
            record = _RECORD.validate_python(values)
            if values.keys() >= {"contributions", "absent"}:
                return record
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            what, field = first["msg"], ".".join(map(str, first["loc"])) or None
        raise FedkitError(
            f"is no record of a round ({what})", file=file, field=field, remedy="restore the file"
        )


_RECORD = TypeAdapter(RoundRecord)


@dataclass(frozen=True)
class History:
    """The rounds of one project, from the aggregator's records.

    waiting : where the run stopped before its end, the events that say for whom and what.
    """

    project: str
    rounds: tuple[RoundRecord, ...] = ()
    total_rounds: int = 0
    waiting: tuple[Event, ...] = ()

    @property
    def done(self) -> bool:
        """Did every round end, and does nobody wait in this project? (What concerns no project keeps none from its end.)"""
        ended = self.total_rounds > 0 and len(self.rounds) == self.total_rounds
        return ended and not any(event.project for event in self.waiting)

    @property
    def accuracies(self) -> list[float]:
        """Accuracy (0..1) after each evaluated round."""
        return [record.accuracy for record in self.rounds if record.accuracy is not None]

    @property
    def metrics(self) -> dict[str, list[float]]:
        """The task's other metrics by name, a number a round in which it was defined."""
        names = dict.fromkeys(name for record in self.rounds for name in record.metrics)
        return {n: [r.metrics[n] for r in self.rounds if n in r.metrics] for n in names}

    def __len__(self) -> int:
        return len(self.rounds)

    def __iter__(self) -> Iterator[RoundRecord]:
        return iter(self.rounds)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, a row a round: accuracy (0..1), loss (nats), participants, samples, refused, absent,
        and the task's other metrics.

        samples : of all contributions, missing where one of them does not tell (as under secure aggregation).
        """
        import pandas as pd

        rows = [
            {
                "round": record.round,
                "accuracy": record.accuracy,
                "loss": record.loss,
                "learning_rate": record.learning_rate,
                "local_epochs": record.local_epochs,
                "participants": len(record.contributions),
                "samples": _total([part.num_samples for part in record.contributions]),
                "refused": ", ".join(record.refused),
                "absent": ", ".join(record.absent),
                **record.metrics,
            }
            for record in self.rounds
        ]
        names = ["round", "accuracy", "loss", "learning_rate", "local_epochs"]
        names += ["participants", "samples", "refused", "absent"]
        names += list(self.metrics)
        return pd.DataFrame(rows, columns=names).set_index("round")

    def contributions_frame(self) -> pd.DataFrame:
        """A pandas table, a row a participant and round: weight, samples, loss, norm of the update, seconds.

        Where participants keep samples back, besides: `validation_samples`, and each number that they measured on them,
        as `received_loss` of the global model that they received, and `trained_loss` of their updates.
        """
        import pandas as pd

        rows = [
            {"round": r.round, **asdict(part), **_validation(part)}
            for r in self.rounds
            for part in r.contributions
        ]
        measured = dict.fromkeys(
            name for r in self.rounds for part in r.contributions for name in _validation(part)
        )
        own = [f.name for f in fields(Contribution) if f.name != "validation"]
        return pd.DataFrame(rows, columns=["round", *own, *measured])

    def save(self, path: Path) -> None:
        """Write the history as JSON."""
        rounds = [record.to_dict() for record in self.rounds]
        waiting = [render(event) for event in self.waiting]
        values = {"project": self.project, "total_rounds": self.total_rounds, "rounds": rounds}
        write_json(path, values | {"waiting": waiting})

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote (the waiting events are for people and stay text). Raises FedkitError."""
        values = read_own(path, "history", _SAVE)
        try:
            project, total, rounds = (values[key] for key in ("project", "total_rounds", "rounds"))
            if type(project) is not str or type(total) is not int or type(rounds) is not list:
                raise TypeError
        except (TypeError, KeyError):
            raise FedkitError("is no history", file=path, remedy=_SAVE) from None
        return cls(project, tuple(RoundRecord.from_dict(record, path) for record in rounds), total)

    def __str__(self) -> str:
        lines = [f"{self.project}: {len(self.rounds)} of {self.total_rounds} rounds"]
        for r in self.rounds:
            if r.loss is not None:
                scores = [] if r.accuracy is None else [f"accuracy {r.accuracy:.1%}"]
                scores += [f"{name} {value:.3f}" for name, value in r.metrics.items()]
                lines.append(f"  round {r.round}: {', '.join([*scores, f'loss {r.loss:.3f}'])}")
        lines += [f"  {render(event)}" for event in self.waiting]
        return "\n".join(lines)


_SAVE = "write it with history.save(path)"


def _validation(part: Contribution) -> dict[str, float]:
    """What a participant measured on its own samples, as columns."""
    own = part.validation
    if own is None:
        return {}
    models = {"received": own.received, "trained": own.trained}
    return {"validation_samples": own.num_samples} | {
        f"{model}_{name}": value for model, told in models.items() for name, value in told.items()
    }


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def read_history(site: Datasite, project: str | None = None) -> History:
    """The evaluated rounds of a project, from the aggregator's own records. Raises FedkitError if there is none."""
    place = find_project(site, project)
    config = FLConfig.load(place.config)
    records = [r for r in read_records(place, config.rounds) if r.evaluated]
    return History(config.project_name, tuple(records), config.rounds)


def read_records(place: AggregatorProject, rounds: int) -> list[RoundRecord]:
    """The round records that are there, in order."""
    records = []
    for n in range(1, rounds + 1):
        values = read_own(place.record(n), "record of a round", "restore the file")
        if values is None:
            break
        record = RoundRecord.from_dict(values, place.record(n))
        if record.round != n:
            what = f"is no record of a round {n}, but of {record.round}"
            raise FedkitError(what, file=place.record(n), field="round", remedy="restore the file")
        records.append(record)
    return records
