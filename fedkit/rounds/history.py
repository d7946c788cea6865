"""What is remembered of a run: each participant's contribution, each round, all of them as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, render
from fedkit.base.files import read_json, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.projects import find_project

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Contribution", "History", "RoundRecord", "read_history", "read_records"]


@dataclass(frozen=True)
class Contribution:
    """One participant's part in a round, as the aggregator keeps it.

    weight : its share of the average, 0..1. norm : L2 norm of (update - global model). Both are None where secure
    aggregation hides them. seconds : of local training, None where unknown; it does not count when two are compared.
    sha256 : of the update's file.
    """

    participant: str
    weight: float | None
    num_samples: int | None
    loss: float | None
    norm: float | None
    sha256: str
    seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RoundRecord:
    """One round: who took part, who was refused and why, and how good the global model was afterwards.

    diagnostics : what the strategy says about its step.
    learning_rate, local_epochs : what the round asked for.
    capped : who claimed more samples than the config believes, and how many.
    accuracy : 0..1 on the aggregator's test set. loss : mean cross entropy in nats. Both None until evaluated.
    """

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], file: Path | None = None) -> RoundRecord:
        """The inverse of `dataclasses.asdict`. Raises FedkitError."""
        try:
            parts = tuple(Contribution(**part) for part in values["contributions"])
            return cls(**{**values, "contributions": parts, "absent": tuple(values["absent"])})
        except (TypeError, KeyError) as error:
            raise FedkitError(
                f"is no record of a round ({error})", file=file, remedy="restore the file"
            ) from error


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
        """Did every round end?"""
        return self.total_rounds > 0 and len(self.rounds) == self.total_rounds and not self.waiting

    @property
    def accuracies(self) -> list[float]:
        """Accuracy (0..1) after each evaluated round."""
        return [record.accuracy for record in self.rounds if record.accuracy is not None]

    def __len__(self) -> int:
        return len(self.rounds)

    def __iter__(self) -> Iterator[RoundRecord]:
        return iter(self.rounds)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, a row a round: accuracy (0..1), loss (nats), participants, samples, refused, absent.

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
            }
            for record in self.rounds
        ]
        names = ["round", "accuracy", "loss", "learning_rate", "local_epochs"]
        names += ["participants", "samples", "refused", "absent"]
        return pd.DataFrame(rows, columns=names).set_index("round")

    def contributions_frame(self) -> pd.DataFrame:
        """A pandas table, a row a participant and round: weight, samples, loss, norm of the update, seconds."""
        import pandas as pd

        rows = [{"round": r.round, **asdict(part)} for r in self.rounds for part in r.contributions]
        names = ["round", *Contribution.__dataclass_fields__]
        return pd.DataFrame(rows, columns=names)

    def save(self, path: Path) -> None:
        """Write the history as JSON."""
        rounds = [asdict(record) for record in self.rounds]
        waiting = [render(event) for event in self.waiting]
        values = {"project": self.project, "total_rounds": self.total_rounds, "rounds": rounds}
        write_json(path, values | {"waiting": waiting})

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote (the waiting events are for people and stay text). Raises FedkitError."""
        values = read_json(path)
        if not isinstance(values, dict) or "rounds" not in values:
            raise FedkitError("is no history", file=path, remedy="write it with history.save(path)")
        rounds = tuple(RoundRecord.from_dict(record) for record in values["rounds"])
        return cls(str(values["project"]), rounds, int(values["total_rounds"]))

    def __str__(self) -> str:
        lines = [f"{self.project}: {len(self.rounds)} of {self.total_rounds} rounds"]
        for r in self.rounds:
            if r.accuracy is not None and r.loss is not None:
                lines.append(f"  round {r.round}: accuracy {r.accuracy:.1%}, loss {r.loss:.3f}")
        lines += [f"  {render(event)}" for event in self.waiting]
        return "\n".join(lines)


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def read_history(site: Datasite, project: str | None = None) -> History:
    """The evaluated rounds of a project, from the aggregator's own records. Raises FedkitError if there is none."""
    place = find_project(site, project)
    config = FLConfig.load(place.config)
    records = [r for r in read_records(place, config.rounds) if r.accuracy is not None]
    return History(config.project_name, tuple(records), config.rounds)


def read_records(place: AggregatorProject, rounds: int) -> list[RoundRecord]:
    """The round records that are there, in order."""
    records = []
    for n in range(1, rounds + 1):
        values = read_json(place.record(n))
        if values is None:
            break
        records.append(RoundRecord.from_dict(values, place.record(n)))
    return records
