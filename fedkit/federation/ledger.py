"""The ledger as a table that can be filtered: what crossed between whom, of which kind, in which round, and how much.

Plain data for the widget `LedgerView`; notebook 05 shows it, and every lesson's "What the aggregator saw" counts from it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedkit.datasite.permissions import READY_FILES

__all__ = [
    "Crossing",
    "Filter",
    "LedgerEntry",
    "by_kind",
    "crossings",
    "read_ledger",
    "select",
    "total_bytes",
]


UPDATES, GLOBAL, IMAGES = "model updates", "global models", "training images"
MASKED, KEYS = "masked updates", "keys and shares"
FACTS, PERMISSIONS, OTHER = "progress and counts", "permission files", "code, config, results"

_ROUND = re.compile(
    r"(?:^|/)(?:(?:trained_model_round|agg_model_round|extra_round|round)_(\d+)\.\w+|secagg_(\d+)_\w+\.\w+)$"
)


@dataclass(frozen=True)
class Crossing:
    """One file that crossed. kind : as in `fk.plots.what_crossed`.

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


def select(all_of_them: Iterable[Crossing], wanted: Filter) -> list[Crossing]:
    """Those that pass, in the same order."""
    return [crossing for crossing in all_of_them if wanted.passes(crossing)]


def total_bytes(some: Iterable[Crossing]) -> int:
    """How many bytes crossed; a file that crossed to three readers counts three times."""
    return sum(crossing.entry.size for crossing in some)


def by_kind(some: Sequence[Crossing]) -> list[tuple[str, int, int]]:
    """(kind, files, bytes) of every kind that occurs, and of training images always: their row is a promise."""
    rows = []
    for kind in KINDS:
        of_it = [crossing for crossing in some if crossing.kind == kind]
        if of_it or kind == KINDS[-1]:
            rows.append((kind, len(of_it), total_bytes(of_it)))
    return rows


def _round(path: str) -> int | None:
    found = _ROUND.search(path)
    return int(found[1] or found[2]) if found else None


EXTRAS = "beside the weights"  # a strategy's own, such as SCAFFOLD's control variates
KINDS = (UPDATES, MASKED, KEYS, EXTRAS, FACTS, PERMISSIONS, GLOBAL, OTHER, IMAGES)
ALWAYS = (UPDATES, IMAGES)  # these rows are shown even where nothing crossed


def kind_of(path: str) -> str:
    """What a file of the ledger is, from its place and its name."""
    place = PurePosixPath(path)
    if place.name in READY_FILES:
        return PERMISSIONS
    if "private" in place.parts or place.name.startswith(("mnist_", "train-images", "t10k-")):
        return IMAGES
    if place.name.startswith("secagg_") or place.parts[-3:] == ("public", "keys", "fl_client.json"):
        return MASKED if place.name.endswith("_masked.msg") else KEYS
    if place.name == "state.json" or (place.suffix == ".json" and "fl_clients" in place.parts):
        return FACTS
    if place.suffix == ".bin" and place.name.startswith("extra_round_"):
        return EXTRAS
    if place.suffix == ".pt" and "fl_clients" in place.parts:
        return UPDATES
    return GLOBAL if place.suffix == ".pt" else OTHER


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
    """The entries of a ledger file, oldest first; a line that a crash cut off is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            entries.append(LedgerEntry(**json.loads(line)))
    return entries
