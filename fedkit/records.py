"""What travels between the parts of fedkit: updates, round records, histories and the ledger's entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = []
