"""What travels between the parts of fedkit: updates, round records, histories and the ledger's entries."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["LedgerEntry", "read_ledger"]


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
