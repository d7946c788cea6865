"""Configuration: what people write by hand, checked once at the door.

`fl_config.json` describes an experiment (eight keys are enough, ten are written, fedkit's own settings are extra keys
that the real apps ignore). `config.json` describes a datasite's client. Notebook 02 writes both.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
from inspect import Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes
from fedkit.base.names import check_email, check_file_name, check_name
from fedkit.base.strict_json import not_too_deep, number_of, parse_json_object
from fedkit.base.text import nearest
from fedkit.config.dp import DPSettings
from fedkit.config.limits import LIMITS, within
from fedkit.config.optimizer import Optimizer
from fedkit.config.part import Slip
from fedkit.config.schedule import Schedule
from fedkit.config.secure_aggregation import SecureAggregation
from fedkit.config.task import DIGITS, Task
from fedkit.config.tutorial import tutorial_keys
from fedkit.config.validation import Validation

__all__ = ["TUTORIAL_KEYS", "FLConfig", "first_problem", "likely_key", "parse_json_object"]


TUTORIAL_KEYS = tuple(tutorial_keys())
"""The eight keys of the tutorial's `fl_config.json`; all of them must be there."""

_REMEDIES = {
    "missing": "add this key",
    "extra_forbidden": "leave it out, or correct its name",
    "bool_type": "write true or false, without quotes",
    "dict_type": "write an object, with braces",
    "model_type": "write an object, with braces",
    "int_type": "write a whole number, without quotes",
    "float_type": "write a number, without quotes",
    "string_type": "write a text in quotes",
    "list_type": "write a list",
    "tuple_type": "write a list",
}

_LISTS = {
    "participants": '["alice@example.org", "bob@example.org"]',
    "shape": "[3, 32, 32]",
    "metrics": '["accuracy", "auc"]',
    "class_names": '["benign", "malignant"]',
    "class_weights": "[1.0, 2.5]",
    "range": "[0, 1]",
    "betas": "[0.9, 0.999]",
    "adjustable": '["learning_rate"]',
}
"""What a list in the config looks like, by field."""


def _finite_number(value: Any, about: ValidationInfo) -> float:
    number = number_of(value, "write one without quotes, such as 0.1")
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"must be a finite number above 0, not {number}; write one such as 0.1")
    limit = LIMITS[str(about.field_name)]
    if limit.wrong(number):
        raise ValueError(f"of {number:g} {limit.wrong(number)}; write one such as 0.1")
    return number


def _not_too_many(value: Any) -> Any:
    """A stranger's list is counted before its e-mails are looked at, one by one."""
    most = LIMITS["participants"].high
    if isinstance(value, list | tuple) and len(value) > most:
        raise ValueError(f"names {len(value):,}; name at most {most:,}")
    return value


Name = Annotated[str, BeforeValidator(check_name)]
Email = Annotated[str, BeforeValidator(check_email)]
PythonFile = Annotated[str, BeforeValidator(lambda v: check_file_name(v, (".py",)))]
WeightFile = Annotated[str, BeforeValidator(lambda v: check_file_name(v, (".pt", ".pth")))]
Positive = Annotated[float, BeforeValidator(_finite_number)]
Count = Annotated[int, Field(strict=True, ge=1, le=int(LIMITS["rounds"].high))]


class _Invalid(FedkitError, ValueError):
    """What Python's own call gives; whoever catches ValueError, as pydantic's is one, goes on catching it."""


class _Told(type(BaseModel)):  # type: ignore[misc]
    """In a cell, FLConfig(...) says what is wrong as a file does, and names the keys that it does not know."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        if args:
            raise _Invalid(
                f"takes its keys by name, and got a {type(args[0]).__name__}",
                field="FLConfig",
                remedy="write FLConfig(rounds=3, ...); FLConfig.from_dict takes a dict, FLConfig.load a file",
            )
        try:
            config = super().__call__(**_plain(values))
        except ValidationError as error:
            told = first_problem(error, "")
            raise _Invalid(told.what, field=told.field, why=told.why, remedy=told.remedy) from None
        _warn_of(config.unknown)
        return config


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers of numpy and torch, as a loop over an array gives them, are numbers like others."""

    def plain(value: Any) -> Any:
        return value.item() if getattr(value, "shape", None) == () else value

    return {key: plain(value) for key, value in values.items()}


def _warn_of(unknown: Iterable[str]) -> None:
    """A warning for each key, at the line that calls FLConfig."""
    for key in unknown:
        near = likely_key(key)
        guess = f"did you mean {near!r}?" if near else "it stays in the config, and changes nothing"
        warnings.warn(f"fedkit does not know the key {key!r}: {guess}", UserWarning, stacklevel=3)


def likely_key(key: str) -> str | None:
    """The key that was meant by one that fedkit does not know, if one is near."""
    low = key.lower().partition(".")[0]
    return _MEANT.get(low) or nearest(low, FLConfig.model_fields)


_MEANT = {
    **dict.fromkeys(("lr", "eta"), "learning_rate"),
    **dict.fromkeys(("privacy", "epsilon", "delta", "clip", "noise_multiplier"), "dp"),
    **dict.fromkeys(("momentum", "weight_decay"), "optimizer"),
    "mu": "strategy",
    "secagg": "secure_aggregation",
    "clients": "participants",
    "local_epochs": "epoch",
    "quorum": "min_participants",
    "name": "project_name",
    "weights": "model_weight",
}
"""What other people's code calls it, where the spelling is not near; or the key that it is a part of."""


class FLConfig(BaseModel, metaclass=_Told):
    """One experiment, as `fl_config.json` states it. Frozen; `replace()` gives a changed copy.

    The tutorial's keys: project_name, aggregator and participants (e-mails), rounds, epoch (local epochs a round),
    learning_rate, model_arch and model_weight (file names). The real aggregator's two more: model_class_name and
    test_dataset. fedkit's own, all optional:

    seed : every shuffle derives from it (default 0).
    batch_size : samples a batch (default 64).
    weighting : "samples" weights an update by its participant's sample count (an unknown one counts as the median of the
        others, and all alike where none is known), "equal" never does.
    min_participants : the quorum: a round may end with this many updates once nothing more is to be expected;
        None (the default) means all participants.
    max_samples : the most samples that an update may claim to be made of; what claims more counts as this many. None (the
        default) believes every claim, since honest datasites differ widely.
    max_update_norm : the largest L2 norm of (update - global model) that is averaged; a larger one is refused. None for
        any.
    round_timeout_s : seconds after which a round ends if the quorum is reached; None waits for ever.
    approval : "all" starts when every participant is ready, "quorum" as soon as `min_participants` are.
    participants_per_round : how many of them train in a round, drawn anew each time; None (the default) means all.
    strategy : the aggregation rule and its parameters, such as {"name": "fedprox", "mu": 0.01}; FedAvg by default.
    adjustable : settings that the aggregator may change between rounds, of "learning_rate", "epoch" and
        "participants_per_round"; none by default, since participants approve what stands here.
    secure_aggregation : {"threshold": t}: the aggregator sees a round's sum, and no single update; None by default.
    signed : every file that crosses in this project bears its sender's signature, else it is refused; False by default,
        and always true where others can write into the aggregator's datasite. unsigned : e-mails whose files are taken
        without one, since a real app, which signs nothing, runs there; none by default.
    linger_s : seconds that a participant leaves its finished project in place for a real aggregator (default 40).

    optimizer : what takes the steps of local training, such as {"name": "sgd", "momentum": 0.9} or {"name": "adam"} (see
        `Optimizer`); None (the default) is plain SGD.
    schedule : how the learning rate changes from round to round, such as {"name": "cosine"} (see `Schedule`); None (the
        default) keeps it.
    validation : what each participant keeps back of its samples to see how models do on them, and when its training ends
        early, such as {"share": 0.2, "patience": 3} (see `Validation`); None (the default) keeps nothing back.

    task : what samples and labels are, and how an answer is judged, such as {"samples": "vectors", "shape": [30],
        "loss": "bce_with_logits"} (see `Task`); the tutorial's digits by default.

    dp : the differential privacy that the project promises, such as
        {"unit": "example", "epsilon": 4, "delta": 1e-5, "clip": 1.0} (see `DPSettings`); None (the default) promises none.

    Any other key is kept as it is (`unknown` names them).
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    project_name: Name
    aggregator: Email
    participants: Annotated[tuple[Email, ...], BeforeValidator(_not_too_many)]
    rounds: Count
    model_arch: PythonFile
    model_weight: WeightFile
    epoch: Count
    learning_rate: Positive
    model_class_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)] = (
        "FLModel"
    )
    test_dataset: WeightFile = "mnist_test_dataset.pt"
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    batch_size: Count = 64
    weighting: Literal["samples", "equal"] = "samples"
    min_participants: Count | None = None
    round_timeout_s: Positive | None = None
    max_samples: (
        Annotated[int, Field(strict=True, ge=1, le=int(LIMITS["max_samples"].high))] | None
    ) = None
    max_update_norm: Positive | None = None
    approval: Literal["all", "quorum"] = "all"
    participants_per_round: Count | None = None
    strategy: dict[str, Any] | None = None
    adjustable: tuple[Literal["learning_rate", "epoch", "participants_per_round"], ...] = ()
    secure_aggregation: SecureAggregation | None = None
    signed: Annotated[bool, Field(strict=True)] = False
    unsigned: tuple[Email, ...] = ()
    linger_s: Annotated[float, BeforeValidator(within("linger_s"))] = 40.0
    dp: DPSettings | None = None
    task: Task = DIGITS
    optimizer: Optimizer | None = None
    schedule: Schedule | None = None
    validation: Validation | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.participants:
            raise ValueError("participants: is empty; name at least one e-mail")
        folded: set[str] = set()
        for email in self.participants:
            if email.casefold() in folded:
                raise ValueError(f"participants: names {email} twice; name it once")
            folded.add(email.casefold())
        if self.aggregator.casefold() in folded and self.aggregator not in self.participants:
            raise ValueError(
                "aggregator: differs from a participant in upper and lower case only; write both alike"
            )
        files = [self.model_arch, self.model_weight, self.test_dataset, "fl_config.json"]
        if len({name.casefold() for name in files}) < len(files):
            raise ValueError("model_weight: two files have the same name; give each its own")
        for name in ("min_participants", "participants_per_round"):
            asked = getattr(self, name)
            if asked is not None and asked > len(self.participants):
                raise ValueError(
                    f"{name}: asks for {asked} of {len(self.participants)} participants; "
                    "ask for at most as many as there are"
                )
        people = {self.aggregator, *self.participants}
        if strangers := [who for who in self.unsigned if who not in people]:
            raise ValueError(
                f"unsigned: names {strangers[0]}, who has no part in this project; name whose app signs nothing"
            )
        if self.approval == "quorum" and self.min_participants is None:
            raise ValueError('approval: is "quorum" without a quorum; set min_participants too')
        promises = (self.secure_aggregation, self.dp)
        for part in (*promises, self.optimizer, self.schedule, self.validation):
            if part is not None and (wrong := part.misfit(self)):
                raise ValueError(wrong)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises FedkitError: participants approve what stands here."""
        raise FedkitError(
            "is frozen: participants approve a config as it stands",
            field=name,
            remedy=f"take a changed copy, config = config.replace({name}=...)",
        )

    @property
    def quorum(self) -> int:
        """How many updates a round needs at least."""
        return self.min_participants or len(self.participants)

    @property
    def tells_counts(self) -> bool:
        """Does a participant say how many samples it has? Not where masks hide that, nor where differential privacy is to
        hide whether a whole participant is there."""
        whole = self.dp is not None and self.dp.unit == "participant"
        return self.secure_aggregation is None and not whole

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the keys that fedkit does not know, in the file's order."""
        return tuple(self.model_extra or ())

    @classmethod
    def parse(cls, data: bytes | str, *, file: Path | str = "fl_config.json") -> Self:
        """Check the content of an `fl_config.json`. Raises FedkitError with file, field and remedy."""
        return cls._checked(parse_json_object(data, file), file)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, file: Path | str = "fl_config.json") -> Self:
        """Check a config given as a dict. Raises FedkitError with file, field and remedy."""
        return cls._checked(values, file)

    @classmethod
    def _checked(cls, values: dict[str, Any], file: Path | str) -> Self:
        not_too_deep(values, file)
        try:
            return cls.model_validate(_plain(values))
        except ValidationError as error:
            raise first_problem(error, file) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check an `fl_config.json`. Raises FedkitError."""
        remedy = "create it, or check the path"
        return cls.parse(read_bytes(Path(path), max_bytes=2**20, absent=remedy), file=path)

    def to_json(self) -> str:
        """The ten keys, then whatever was set besides; what was left at its default is not written."""
        written = {*TUTORIAL_KEYS, "model_class_name", "test_dataset", *self.model_fields_set}
        values = self.model_dump(mode="json", include=written)
        return json.dumps(values, indent=4) + "\n"  # ASCII: any text survives

    def save(self, path: Path) -> None:
        """Write the config as JSON, whole or not at all."""
        write_bytes(Path(path), self.to_json().encode())

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some fields changed. Raises FedkitError."""
        _warn_of(key for key in changes if key not in {*type(self).model_fields, *self.unknown})
        values = self.model_dump(include=self.model_fields_set) | changes
        return self._checked(values, "fl_config.json")


def _in_plain_types(signature: Signature) -> Signature:
    """What `help(FLConfig)` shows: the types as a person writes them, not what pydantic makes of them."""
    hints = get_type_hints(FLConfig)
    named = signature.parameters.values()
    plain = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in named]
    return signature.replace(parameters=plain)


FLConfig.__signature__ = _in_plain_types(signature(FLConfig))


def first_problem(error: ValidationError, file: Path | str) -> FedkitError:
    """The first complaint of a pydantic model, as an error that names file, field and remedy."""
    detail = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    message = detail["msg"].removeprefix("Value error, ")
    if isinstance(slip := detail.get("ctx", {}).get("error"), Slip):
        field = f"{field}.{slip.key}".lstrip(".")
    if detail["type"] in ("list_type", "tuple_type"):
        message = f"is {str(detail['input'])!r:.40} and no list"
    if not field and ": " in message:
        field, message = message.split(": ", 1)
    if detail["type"] == "missing":
        message = "is missing"
    elif message.startswith(
        ("Input should", "String should", "Extra inputs")
    ):  # pydantic's own words
        named = detail["type"] == "extra_forbidden"
        message = (
            "is not permitted, as there is no such key" if named else f"is {detail['input']!r:.60}"
        )
    message, _, remedy = message.partition("; ")
    remedy = remedy or _remedy(dict(detail))
    return FedkitError(message, file=file, field=field or None, remedy=remedy)


def _remedy(detail: dict[str, Any]) -> str:
    """What to write instead, from what pydantic says was expected."""
    expected = detail.get("ctx") or {}
    bounds = {"ge": "of at least", "le": "of at most", "gt": "above", "lt": "below"}
    for bound, words in bounds.items():
        if bound in expected:
            return f"write a number {words} {expected[bound]:,}"
    if detail["type"] == "literal_error":
        return f"write one of {expected.get('expected')}"
    if detail["type"] == "string_pattern_mismatch":
        return "write a Python class name, such as FLModel"
    remedy = _REMEDIES.get(detail["type"], "correct it")
    field = str((detail.get("loc") or ("",))[-1])
    return f"{remedy}, such as {_LISTS[field]}" if field in _LISTS else remedy
