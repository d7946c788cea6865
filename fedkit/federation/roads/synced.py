"""A synced or shared folder (Syncthing, a cloud folder, a network share): what a data dir must be like to lie beside one.

Only `datasites/` may be shared: who shares the data dir itself sends `private/` to everybody. And on this road a data dir
is one person's, since whoever shares it has that person's key and data too.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, is_link, read_object
from fedkit.datasite.road import road_file
from fedkit.datasite.tree import entries, left_by_a_sync

__all__ = [
    "SILENT",
    "file_system",
    "left_around",
    "refuse_unfit",
    "synced_with_it",
]


SILENT = ("9p", "afs", "ceph", "cifs", "fuse", "nfs", "smb", "vboxsf", "virtiofs", "vmhgfs")
"""File systems that tell nobody here of what others write there; by the beginnings of their names."""

_SIGNS = (
    *(".stfolder", ".stversions", ".dropbox.cache", ".tmp.drivedownload", ".owncloudsync.log"),
    *(".nextcloudsync.log", ".sync"),
)
"""What sync programs put into the folder that they carry."""

_MOST_LOOKED_AT = 100_000


def synced_with_it(data_dir: Path) -> Path | None:
    """The sign of a sync program in this folder, or in one above it: then all that lies here is carried."""
    for folder in (data_dir, *data_dir.parents):
        for name in _SIGNS:
            if os.path.lexists(folder / name):
                return folder / name
    return None


def refuse_unfit(data_dir: Path, email: str) -> None:
    """Raises FedkitError where a data dir can't be used by `email` on this road."""
    sign = synced_with_it(data_dir)
    if sign is not None:
        raise FedkitError(
            "lies in a folder that is synced as a whole",
            file=data_dir,
            field="DATA_DIR",
            why=f"{sign} is there, so private/ and the data in it would be sent to everybody who shares that folder",
            remedy="take a data dir outside of it, and share its datasites/ alone",
        )
    if is_link(data_dir / "datasites"):
        raise FedkitError(
            "is a link, and links are not followed",
            file=data_dir / "datasites",
            remedy="mount the shared folder there, or let the sync program keep this very folder",
        )
    other = _other_owner(data_dir, email)
    if other is not None:
        raise FedkitError(
            f"is the data dir of {other}, and on this road each person needs one",
            file=data_dir,
            field="DATA_DIR",
            why=f"Who can read it has the key with which {other} signs, and {other}'s private data",
            remedy=f"take another data dir for {email}; what people share is datasites/ alone",
        )


def _other_owner(data_dir: Path, email: str) -> str | None:
    """Somebody else whose private things lie in this data dir."""
    private, found = data_dir / "private", set[str]()
    owner = read_object(road_file(data_dir)).get("email")
    found |= {owner} if isinstance(owner, str) else set()
    keys = entries(private / "fl_client" / "keys")
    found |= {path.name.removesuffix(".key") for path in keys if path.suffix == ".key"}
    for app in ("fl_client", "fl_aggregator"):
        found |= {path.name for path in entries(private / app / "projects") if path.is_dir()}
    return min(found - {email}, default=None)


def left_around(datasites: Path) -> list[Path]:
    """What a sync has put aside below a folder: losers of conflicts, files that never came whole; of 100,000 names."""
    found = (Path(folder) / name for folder, _, names in os.walk(datasites) for name in names)
    looked_at = islice(found, _MOST_LOOKED_AT)
    return [path for path in looked_at if left_by_a_sync(path.name) and is_file(path)]


def file_system(path: Path) -> tuple[Path, str] | None:
    """Where the file system that a folder is on was mounted, and its kind, as Linux tells it; None where nobody does."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    place, found = path.resolve(), list[tuple[Path, str]]()
    for line in lines.splitlines():
        left, _, right = line.partition(" - ")
        # a space in it is written as \\040
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), left.split()[4]))
        if place.is_relative_to(mounted):
            found.append((mounted, right.split()[0]))
    # of two mounted in one place, the later one is seen
    return max(reversed(found), key=lambda pair: len(pair[0].parts), default=None)
