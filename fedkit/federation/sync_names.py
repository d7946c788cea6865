"""Names in the sync, the same on every file system: which files don't cross since some system could not hold them, and by
which name a file is known where its own system spells it otherwise.

A name that Windows cuts, refuses or takes for another file crosses nowhere, so that a project made on Linux works there
too; of two names that are one file where upper and lower case, or the ways to write an accent, do not count, the first one
crosses.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from fedkit.base.names import folded, unfit
from fedkit.datasite.tree import Tree

__all__ = ["as_known", "kept_back"]


def as_known(found: Tree, known: Collection[str], root: Path) -> Tree:
    """What lies in a copy, by the names under which it was synced: a Mac lists the names that it was given in another form.

    Whether two names are one file here, the file system itself says: where they are two, the one has been renamed.
    """
    new = [path for path in found if path not in known]
    gone = {folded(path): path for path in known if path not in found} if new else {}
    alike = {path: gone[key] for path in new if (key := folded(path)) in gone}
    alike = {path: name for path, name in alike.items() if os.path.lexists(root / name)}
    return {alike.get(path, path): version for path, version in found.items()}


def kept_back(new: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """The paths that don't cross, of those that are new in a copy, each with the reason. known : what lies there besides,
    and at the owner."""
    new = sorted(new)
    taken = {folded(path): path for path in known} if new else {}
    back = {}
    for path in new:
        first = taken.setdefault(folded(path), path)
        reasons = ((part, unfit(part)) for part in path.split("/"))
        why = next((f"the name {part!r:.80} {reason}" for part, reason in reasons if reason), None)
        if why is None and first != path:
            why = f"on many machines it is one file with {first!r:.200}"
        if why is not None:
            back[path] = why
    return back
