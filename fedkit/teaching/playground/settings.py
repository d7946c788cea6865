"""All that decides a run of the playground, as one frozen value; and as a link, which a stranger may have written.

Settings(data="circles", strategy="fedprox", strength=0.1).link()     "data=circles&strategy=fedprox&strength=0.1"
Settings.of_link("http://127.0.0.1:8866/?data=circles")               the same settings, or words about what is wrong
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedkit.base.errors import FedkitError
from fedkit.base.text import nearest
from fedkit.config.fl_config import first_problem
from fedkit.learning.strategies.registry import STRATEGIES
from fedkit.rounds.clustered import Compared

__all__ = ["ATTACKS", "DATA", "SKEWS", "STRENGTHS", "UNITS", "Settings"]

Data = Literal["moons", "circles", "spirals", "blobs", "digits", "own"]
Skew = Literal["even", "labels", "single", "sizes", "swapped"]
Attack = Literal["sign-flipped", "scaled", "labels"]
Unit = Literal["participant", "example"]
DATA: tuple[str, ...] = get_args(Data)
SKEWS: tuple[str, ...] = get_args(Skew)
ATTACKS: tuple[str, ...] = get_args(Attack)
UNITS: tuple[str, ...] = get_args(Unit)
STRENGTHS = {
    "fedprox": "mu",
    "scaffold": "server_lr",
    "fedavgm": "momentum",
    "fedadagrad": "server_lr",
    "fedadam": "server_lr",
    "fedyogi": "server_lr",
    "trimmed_mean": "beta",
    "krum": "hostile",
    "multi_krum": "hostile",
    "norm_clip": "clip",
}
"""Strategy -> its parameter that `strength` sets; the others have none."""

_LONGEST = 2_000
"""Characters of a link that are looked at; all settings together take fewer than 500."""


def _whole(low: int, high: int) -> Any:
    return Field(ge=low, le=high)


def _number(low: float, high: float) -> Any:
    return Field(ge=low, le=high, allow_inf_nan=False)


class Settings(BaseModel):
    """One state of the playground. Frozen; every field has bounds, since a link can set it.

    data : "moons", "circles", "spirals", "blobs" (points in the plane), "digits" (MNIST's), or "own": a folder that
        `fedkit data import` wrote, and `own` the first 16 hex digits of its SHA-256.
    participants, samples : how many take part, and how many samples each has on average. spread : noise of the points.
    skew : "even", "labels" (each label dealt out by Dirichlet(alpha)), "single" (one label each), "sizes" (amounts by
        Dirichlet(alpha)), "swapped" (every second one calls the labels by each other's names, the first the last and so
        on). Data of one's own stay as they lie.
    strategy, strength : of the registry, and its parameter in `STRENGTHS`; None is the strategy's default.
    rounds, epoch, learning_rate, batch_size, seed : as in fl_config.json. per_round : `participants_per_round`, 0 for all.
    hidden, layers : units of a hidden layer of the model, and how many such layers.
    drop_out : probability that an update does not arrive. hostile, attack : so many of the participants send
        "sign-flipped" updates or "scaled" ones (by -10), or train on flipped "labels".
    noise, clip, unit : noise multiplier and clipping norm of differential privacy for a whole "participant" or an
        "example"; a noise of 0 promises nothing.
    groups, compare, split : after the round `split`, participants part into so many groups, by the "cosine" or the
        "distance" of their updates, and each group trains a global model of its own; 1 for one model of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Data = "moons"
    own: Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")] = ""
    participants: Annotated[int, _whole(2, 54)] = 10
    samples: Annotated[int, _whole(1, 400)] = 40
    spread: Annotated[float, _number(0, 0.5)] = 0.15
    skew: Skew = "even"
    alpha: Annotated[float, _number(0.05, 100)] = 0.3
    strategy: str = "fedavg"
    strength: Annotated[float, _number(0, 1e6)] | None = None
    rounds: Annotated[int, _whole(1, 200)] = 40
    epoch: Annotated[int, _whole(1, 50)] = 2
    learning_rate: Annotated[float, _number(1e-4, 100)] = 1.0
    batch_size: Annotated[int, _whole(1, 400)] = 16
    hidden: Annotated[int, _whole(2, 256)] = 16
    layers: Annotated[int, _whole(1, 3)] = 1
    per_round: Annotated[int, _whole(0, 54)] = 0
    drop_out: Annotated[float, _number(0, 0.9)] = 0.0
    hostile: Annotated[int, _whole(0, 10)] = 0
    attack: Attack = "sign-flipped"
    noise: Annotated[float, _number(0, 100)] = 0.0
    clip: Annotated[float, _number(0.001, 1000)] = 1.0
    unit: Unit = "participant"
    groups: Annotated[int, _whole(1, 4)] = 1
    compare: Compared = "cosine"
    split: Annotated[int, _whole(1, 200)] = 5
    seed: Annotated[int, _whole(0, 2**31 - 1)] = 0

    @field_validator("strategy")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in STRATEGIES:
            near = nearest(name, STRATEGIES)
            meant = f"; did you mean {near}?" if near else f"; take one of {', '.join(STRATEGIES)}"
            raise ValueError(f"{name[:40]!r} is no strategy{meant}")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.per_round > self.participants:
            raise ValueError(
                f"per_round: asks for {self.per_round} of {self.participants} participants; write 0 for all of them"
            )
        if self.hostile >= self.participants:
            raise ValueError(
                "hostile: leaves nobody honest; write fewer than there are participants"
            )
        if self.groups > self.participants:
            raise ValueError(
                f"groups: {self.groups} are more than the {self.participants} participants; take fewer"
            )
        if self.groups > 1 and self.noise and self.unit == "participant":
            raise ValueError(
                "groups: are made of single updates, and noise for a participant covers their mean alone; "
                "let the noise protect one example, or take one model for all"
            )
        if self.strength is not None and self.strategy not in STRENGTHS:
            raise ValueError(f"strength: {self.strategy} has no such parameter; leave it out")
        if self.own and self.data != "own":
            raise ValueError("own: names a folder of data, and data is another one; leave it out")
        return self

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Checked settings. Raises FedkitError that names the field and what to write."""
        return cls._checked(values, "settings")

    def changed(self, **changes: Any) -> Self:
        """A checked copy with some fields changed. Raises FedkitError."""
        values = self.model_dump() | changes
        if "strategy" in changes and "strength" not in changes:
            values["strength"] = None
        return self._checked(values, "settings")

    @classmethod
    def _checked(cls, values: dict[str, Any], where: str) -> Self:
        for name in values:
            if name not in cls.model_fields:
                near = nearest(name, cls.model_fields)
                raise FedkitError(
                    f"{name[:40]!r} is no setting",
                    file=where,
                    remedy=f"did you mean {near}?" if near else "leave it out",
                )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise first_problem(error, where) from error

    def link(self) -> str:
        """What differs from the defaults, as the query of a URL; "" where nothing does."""
        return urlencode(self.model_dump(exclude_defaults=True))

    @classmethod
    def of_link(cls, link: str) -> Self:
        """The settings of a link, a whole URL or its query. Raises FedkitError; nothing else in it is looked at."""
        if not isinstance(link, str) or len(link) > _LONGEST:
            raise FedkitError(
                f"is no text of at most {_LONGEST:,} characters",
                file="link",
                remedy="copy the link of settings from a playground",
            )
        query = urlsplit(link).query if "://" in link else link.strip().removeprefix("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise FedkitError(
                f"{query[:60]!r} is no link of settings",
                file="link",
                remedy='it looks like "data=circles&strategy=fedprox&seed=3"',
            ) from None
        values = dict(pairs)
        if len(values) < len(pairs):
            twice = next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1)
            raise FedkitError(f"{twice[:40]!r} stands there twice", file="link", remedy="keep one")
        return cls._checked(dict(values), "link")
