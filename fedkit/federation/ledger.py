"""The ledger: every file that crossed between two data dirs, of which kind it is, and how much it weighs.

The sync writes a line for each file before it crosses. `KINDS` says what kind a file is, from its place and its name;
notebook 05 shows the ledger as a table that can be filtered, and every lesson's "What the aggregator saw" counts from it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedkit.base.files import read_bytes
from fedkit.datasite.permissions import READY_FILES

__all__ = [
    "KINDS",
    "Crossing",
    "Filter",
    "LedgerEntry",
    "by_kind",
    "crossings",
    "kind_of",
    "read_ledger",
    "select",
    "total_bytes",
]


@dataclass(frozen=True)
class LedgerEntry:
    """One file that crossed from one data dir into another.

    sender, receiver : e-mails. path : relative to `datasites/`, with `/`.
    size : bytes. sha256 : of the content. time : seconds since 1970, UTC.
    """

    sender: str
    receiver: str
    path: str
    size: int
    sha256: str
    time: float


def read_ledger(path: Path) -> list[LedgerEntry]:
    """The entries of a ledger file, oldest first; a line that a crash cut off is left out. Raises FedkitError."""
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return []
    found = (_entry(line) for line in data.split(b"\n"))
    return [entry for entry in found if entry is not None]


def _entry(line: bytes) -> LedgerEntry | None:
    """What a line says, None where it is no line of a ledger."""
    try:
        values = json.loads(line)
        entry = LedgerEntry(**values)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (entry.sender, entry.receiver, entry.path, entry.sha256)
    sound = all(type(text) is str for text in texts) and type(entry.size) is int
    sound = sound and entry.size >= 0 and type(entry.time) in (int, float)
    return entry if sound and math.isfinite(entry.time) else None


UPDATES, GLOBAL, IMAGES = "model updates", "global models", "training images"
MASKED, KEYS, EXTRAS = "masked updates", "keys and shares", "beside the weights"
FACTS, PERMISSIONS, OTHER = "progress and counts", "permission files", "code, config, results"

KINDS = (UPDATES, MASKED, KEYS, EXTRAS, FACTS, PERMISSIONS, GLOBAL, OTHER, IMAGES)
"""Every kind, in the order of a table's rows."""

ALWAYS = (UPDATES, IMAGES)  # these rows are shown even where nothing crossed

_RULES = (
    (PERMISSIONS, "|".join(map(re.escape, READY_FILES))),
    (IMAGES, r"private(/.*)?|(mnist_|train-images|t10k-)[^/]*"),
    (MASKED, r"secagg_[^/]*_masked\.msg"),
    (KEYS, r"secagg_[^/]*|public/keys/fl_client\.json"),
    (FACTS, r"state\.json|fl_clients/.*\.json"),
    (EXTRAS, r"extra_round_[^/]*\.bin"),  # a strategy's own, such as SCAFFOLD's control variates
    (UPDATES, r"fl_clients/.*\.pt"),
    (GLOBAL, r".*\.pt"),
    (OTHER, r".*"),
)
"""The first line that matches the end of a path, from some folder on, says what kind the file is."""

_OF = [(kind, re.compile(f"(?:.*/)?(?:{end})", re.DOTALL)) for kind, end in _RULES]

_ROUND = re.compile(
    r"(?:^|/)(?:(?:trained_model_round|agg_model_round|extra_round|round)_(\d+)\.\w+|secagg_(\d+)_\w+\.\w+)$"
)


def kind_of(path: str) -> str:
    """What a file of the ledger is, from its place and its name."""
    return next(kind for kind, pattern in _OF if pattern.fullmatch(path))


@dataclass(frozen=True)
class Crossing:
    """One file that crossed. kind : one of `KINDS`.

    round : from the file's name: the round of an update or of a round's settings, the round that a global model ends (0:
    the seed weights); None where the name has none.
    """

    number: int
    entry: LedgerEntry
    kind: str
    round: int | None

    @property
    def name(self) -> str:
        """The path without the owner's e-mail and the app's folders that all paths have."""
        return "/".join(self.entry.path.split("/")[-3:])


@dataclass(frozen=True)
class Filter:
    """What is to be seen; None sees everything. participant : who sent or received it."""

    participant: str | None = None
    round: int | None = None
    kind: str | None = None

    def passes(self, crossing: Crossing) -> bool:
        """Is it to be seen?"""
        entry = crossing.entry
        return (
            self.participant in (None, entry.sender, entry.receiver)
            and self.round in (None, crossing.round)
            and self.kind in (None, crossing.kind)
        )


def crossings(ledger: Iterable[LedgerEntry]) -> list[Crossing]:
    """The ledger's entries with their kind and round, oldest first, numbered from 1."""
    return [
        Crossing(number, entry, kind_of(entry.path), _round(entry.path))
        for number, entry in enumerate(ledger, start=1)
    ]


def _round(path: str) -> int | None:
    found = _ROUND.search(path)
    return int(found[1] or found[2]) if found else None


def select(all_of_them: Iterable[Crossing], wanted: Filter) -> list[Crossing]:
    """Those that pass, in the same order."""
    return [crossing for crossing in all_of_them if wanted.passes(crossing)]


def total_bytes(some: Iterable[Crossing]) -> int:
    """How many bytes crossed; a file that crossed to three readers counts three times."""
    return sum(crossing.entry.size for crossing in some)


def by_kind(some: Sequence[Crossing]) -> list[tuple[str, int, int]]:
    """(kind, files, bytes) of every kind that occurs, and of training images always: their row is a promise."""
    of = {kind: [crossing for crossing in some if crossing.kind == kind] for kind in KINDS}
    return [
        (kind, len(found), total_bytes(found))
        for kind, found in of.items()
        if found or kind == IMAGES
    ]
