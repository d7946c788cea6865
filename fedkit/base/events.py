"""Everything that can happen, or be waited for, in a project: one small frozen class each, rendered in one place.

`advance()` returns events; the terminal, the notebooks and the widgets show what `render()` makes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from fedkit.base.errors import FedkitError
from fedkit.base.text import how_many, is_hidden

__all__ = [
    "AGGREGATOR",
    "PARTICIPANT",
    "Approved",
    "ClaimCapped",
    "DataFound",
    "Declined",
    "Event",
    "FileRefused",
    "GlobalModelSent",
    "MailboxOpened",
    "Notice",
    "Problem",
    "Progress",
    "ProjectDone",
    "ProjectLaunched",
    "ProjectStopped",
    "RequestSent",
    "RoundAggregated",
    "RoundEvaluated",
    "RoundMeasured",
    "SecureStep",
    "Trained",
    "UpdateRefused",
    "UpdateShared",
    "UpdateValidated",
    "Waiting",
    "render",
]


AGGREGATOR, PARTICIPANT = "aggregator", "participant"
"""The two roles."""

Progress = Callable[[str, int, int, int, float], None]
"""(project, round, local epoch, local epochs, loss)"""


@dataclass(frozen=True)
class Event:
    """Something that happened at the datasite `email` in `project` ("" where it concerns no project).

    says : what is shown of it, with its fields in braces.
    """

    says: ClassVar[str]

    email: str
    project: str

    def __init_subclass__(cls, says: str) -> None:
        cls.says = says


@dataclass(frozen=True)
class ProjectLaunched(Event, says="launched: {rounds:round} with {participants}"):
    """The aggregator moved a launch into `running/`."""

    participants: tuple[str, ...]
    rounds: int


@dataclass(frozen=True)
class RequestSent(Event, says="request sent to {participant}"):
    """The aggregator put the config and the model into a participant's `request/`."""

    participant: str


@dataclass(frozen=True)
class Approved(Event, says="approved (model sha256 {sha256:.12}…)"):
    """A person at this datasite approved the project; `sha256` is the hash of the approved model file."""

    sha256: str


@dataclass(frozen=True)
class Declined(Event, says="declined: {reason}"):
    """A person at this datasite said no."""

    reason: str


@dataclass(frozen=True)
class MailboxOpened(Event, says="ready to take part"):
    """The participant is ready: its `agg_weights/` accepts global models."""


@dataclass(frozen=True)
class DataFound(Event, says="training data found: {num_samples:sample}"):
    """The participant found training data in its private folder."""

    num_samples: int


@dataclass(frozen=True)
class GlobalModelSent(Event, says="round {round}: global model sent to {participant}"):
    """The aggregator put the global model of `round` into a participant's mailbox."""

    participant: str
    round: int


@dataclass(frozen=True)
class Trained(
    Event,
    says="round {round}: trained on {num_samples:sample}, loss {loss:.3f}, {seconds:.2f} s",
):
    """The participant trained in `round`: mean loss of its last local epoch (nats), samples, seconds."""

    round: int
    loss: float
    num_samples: int
    seconds: float


@dataclass(frozen=True)
class UpdateValidated(
    Event,
    says="round {round}: on {num_samples:sample} kept back: the model received {received}; its update {trained}",
):
    """The participant tried both models on the samples that it keeps back: metrics and loss as text."""

    round: int
    num_samples: int
    received: str
    trained: str


@dataclass(frozen=True)
class UpdateShared(Event, says="round {round}: update shared"):
    """The participant put its update of `round` into the aggregator's folder."""

    round: int


@dataclass(frozen=True)
class UpdateRefused(Event, says="round {round}: update of {participant} refused: {reason}"):
    """The aggregator does not average an update, for a reason."""

    participant: str
    round: int
    reason: str


@dataclass(frozen=True)
class ClaimCapped(
    Event,
    says="round {round}: {participant} claims {claimed:sample}; no more than {counted:,} are believed",
):
    """An update claims to be made of more samples than the config believes."""

    participant: str
    round: int
    claimed: int
    counted: int


@dataclass(frozen=True)
class RoundAggregated(Event, says="round {round}: averaged {participants}"):
    """The aggregator averaged the updates of `participants` into the global model of `round`."""

    round: int
    participants: tuple[str, ...]


@dataclass(frozen=True)
class RoundEvaluated(
    Event, says="round {round}/{rounds}: accuracy {accuracy:.1%}, loss {loss:.3f}"
):
    """The global model of `round` on the aggregator's test set: accuracy in 0..1, loss in nats."""

    round: int
    rounds: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class SecureStep(Event, says="round {round}: secure aggregation: {text}"):
    """A step of the secure aggregation of `round` was taken here."""

    round: int
    text: str


@dataclass(frozen=True)
class ProjectDone(Event, says="done, as {role}"):
    """This side of the project lies in `done/`."""

    role: str


@dataclass(frozen=True)
class ProjectStopped(
    Event,
    says="stopped after round {round}: {left} left, and fewer remain than the {quorum} that were agreed on; the last "
    "global model stays",
):
    """The aggregator ends a project before its last round: `left` took their approval back."""

    round: int
    left: tuple[str, ...]
    quorum: int


@dataclass(frozen=True)
class Waiting(Event, says="waits for {whom} to {what}"):
    """Nothing can be done now: `whom` must do `what`.

    seconds : where the wait ends by itself, in how many seconds at the latest.
    """

    role: str
    whom: str
    what: str
    remedy: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Problem(Event, says="PROBLEM {error}"):
    """Something a person must put right before this project can go on; others go on meanwhile."""

    role: str
    error: FedkitError


@dataclass(frozen=True)
class Notice(Event, says="{text}"):
    """Worth knowing; nothing to be done."""

    text: str


@dataclass(frozen=True)
class RoundMeasured(Event, says="round {round}/{rounds}: {scores}, loss {loss:.3f}"):
    """As `RoundEvaluated`, for a task with other metrics than accuracy alone; scores : these in words."""

    round: int
    rounds: int
    scores: str
    loss: float


@dataclass(frozen=True)
class FileRefused(Event, says="REFUSED {path}: {reason}"):
    """The sync refused a change that `email` made in another datasite; the file was set aside."""

    path: str
    reason: str


class _Number(int):
    """A number in `says`: with a noun as its format, it is so many things ("1 sample", "60 samples")."""

    def __format__(self, spec: str) -> str:
        return (
            how_many(int(self), spec)
            if spec.isalpha() and len(spec) > 1
            else format(int(self), spec)
        )


def render(event: Event) -> str:
    """One line of plain text: who, project, what."""
    values = {
        name: ", ".join(value)
        if isinstance(value, tuple)
        else _Number(value)
        if type(value) is int
        else value
        for name, value in vars(event).items()
    }
    text = event.says.format(**values)
    if isinstance(event, Waiting) and event.remedy:
        text += f" -> {event.remedy}"
    head = f"[{event.email}] {event.project}: " if event.project else f"[{event.email}] "
    # names of folders and the like come from strangers: no line end, no terminal's escape sequence
    return "".join("\N{REPLACEMENT CHARACTER}" if is_hidden(c) else c for c in head + text)
