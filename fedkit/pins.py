"""What a person approved is pinned: the SHA-256 of config and model, under `private/`, out of everybody's reach."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fedkit.base.files import read_json, remove, write_json
from fedkit.datasite.datasite import Datasite

__all__ = ["pin", "pin_path", "pinned", "unpin"]


def pin_path(site: Datasite, project: str) -> Path:
    """Where the hashes of an approved project are kept: a person's own, where several share a data dir."""
    return site.private_client / "approvals" / site.email / f"{project}.json"


def pin(site: Datasite, project: str, hashes: Mapping[str, str]) -> None:
    """Remember the hashes (by file name) of what was approved."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    values = {"project": project, "sha256": dict(hashes), "approved": when}
    write_json(pin_path(site, project), values)


def pinned(site: Datasite, project: str) -> dict[str, str] | None:
    """The hashes of what was approved, by file name, or None."""
    values = read_json(pin_path(site, project))
    hashes = values.get("sha256") if isinstance(values, dict) else None
    return hashes if isinstance(hashes, dict) else None


def unpin(site: Datasite, project: str) -> None:
    """Forget an approval: the project is over, or its folder was taken away and may be approved anew."""
    remove(pin_path(site, project))
