"""Who may move a datasite: one process at a time, and one answer to a request at a time."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager

from fedkit.base.locks import exclusive
from fedkit.datasite.datasite import Datasite

__all__ = ["answering", "locked"]


_MOMENT_S = 10.0


def locked(site: Datasite, timeout_s: float = 0.0) -> AbstractContextManager[None]:
    """Exclude every other process (and thread) that would advance this datasite.

    Raises Busy if it is taken for longer than `timeout_s` seconds (below 0: waits for as long as it takes), FedkitError if
    it can't be made.
    """
    return _lock(site, "", "is being advanced", timeout_s)


def answering(site: Datasite) -> AbstractContextManager[None]:
    """Exclude everybody else who would say yes or no to a request here. That takes no time, so this waits for a moment.

    A lock of its own: whoever trains for an hour holds the other one, and a person may answer meanwhile. Raises as
    `locked` does.
    """
    return _lock(site, "-answers", "has a request answered", _MOMENT_S)


def _lock(site: Datasite, of: str, busy: str, timeout_s: float) -> AbstractContextManager[None]:
    name = hashlib.sha256(f"{site.email} {site.app_data}".encode()).hexdigest()[:16]
    return exclusive(site.own / f"{name}{of}.lock", busy, at=site.root, timeout_s=timeout_s)
