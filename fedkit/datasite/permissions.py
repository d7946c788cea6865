"""Who may do what with which file: SyftBox's two kinds of permission file, written together and both enforced.

`syft.pub.yaml` (Go SyftBox, syft-core >= 0.2.5): the nearest file upwards decides, unless one above it is terminal; in it
the most specific matching pattern; write implies read and create. `syftperm.yaml` (SyftBox 0.3/0.4 in Python): the rules
of all folders above add up, later ones win; create and write also need read. The kind that lies nearest to a file decides;
where both lie in the same folder, both must allow it; `_.syftperm`, which the tutorial's apps wrote (lists of e-mails
under `read` and `write`), decides where neither does. The owner of a datasite may do everything in it, and only an admin
may write permission files. Notebook 01 shows both, and a refused stranger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from wcmatch import glob

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes

__all__ = ["READY_FILES", "Permissions", "Right", "has_permission_file", "write_permissions"]


Right = Literal["read", "create", "write", "admin"]
NEW, OLD, OLDEST = "syft.pub.yaml", "syftperm.yaml", "_.syftperm"
READY_FILES = (NEW, OLD, OLDEST)
"""Any of these shows that a folder was opened on purpose. fedkit writes the first two, always both; the oldest real apps
wrote the last one."""

BROKEN = "broken"
"""What a permission file holds that can't be parsed."""

_EVERYONE = "*"
_FLAGS = glob.GLOBSTAR | glob.FORCEUNIX
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 30
_ALL: tuple[Right, ...] = ("admin", "create", "write", "read")


def write_permissions(
    folder: Path,
    owner: str,
    *,
    read: Iterable[str] = (),
    write: Iterable[str] = (),
    root: Path | None = None,
    keep: bool = False,
) -> None:
    """Write both permission files of a folder and all below it.

    read, write : e-mails, or "*" for everybody; `write` includes read and create. The owner is always admin.
    root : no link between it and `folder` is followed. Raises FedkitError.
    keep : leave a file that is there as it is: its owner may have written it, or SyftBox.
    """
    readers, writers = sorted(set(read) - set(write)), sorted(set(write))
    access = {"admin": [owner], "write": writers, "read": readers}
    new = {"rules": [{"pattern": "**", "access": access}]}
    old = [{"path": "**", "user": owner, "permissions": list(_ALL)}]
    old += [{"path": "**", "user": w, "permissions": ["create", "write", "read"]} for w in writers]
    old += [{"path": "**", "user": r, "permissions": ["read"]} for r in readers]
    for name, rules in ((NEW, new), (OLD, old)):
        if not (keep and (folder / name).is_file()):
            write_bytes(folder / name, yaml.safe_dump(rules, sort_keys=False).encode(), root=root)


def has_permission_file(folder: Path) -> bool:
    """Is one of the permission files in this folder? (An empty folder is no sign: peers keep those.)"""
    return any((folder / name).is_file() for name in READY_FILES)


@dataclass
class Permissions:
    """The permission files of one datasites folder, read once each.

    datasites : the folder that holds one folder per e-mail. Make a new object to see changed files.
    """

    datasites: Path
    _files: dict[str, Any] = field(default_factory=dict)

    def may(self, email: str, right: Right, path: str | PurePosixPath) -> bool:
        """May `email` do this with `path` (relative to the datasites folder, first part the owner's e-mail)?"""
        parts = str(path).split("/")
        if len(parts) < 2 or not all(part not in ("", ".", "..") for part in parts):
            return False
        if parts[0] == email:
            return True
        if parts[-1].casefold() in READY_FILES and right in ("create", "write"):
            right = "admin"
        if any(self._broken(parts[:depth]) for depth in range(1, len(parts))):
            return False
        for depth in range(len(parts) - 1, 0, -1):  # from the file upwards
            new, old = (self._rules(parts[:depth], kind) for kind in (NEW, OLD))
            if new is not None or old is not None:
                return (new is None or self._may_new(email, right, parts)) and (
                    old is None or self._may_old(email, right, parts)
                )
            oldest = self._rules(parts[:depth], OLDEST)
            if oldest is not None:
                return _may_oldest(oldest, email, right)
        return False

    @property
    def broken(self) -> list[str]:
        """The permission files seen so far that can't be parsed: below their folders, nobody but the owner may anything."""
        return sorted(name for name, rules in self._files.items() if rules is BROKEN)

    def _broken(self, folder: list[str]) -> bool:
        return any(self._rules(folder, kind) is BROKEN for kind in (NEW, OLD))

    def _rules(self, folder: list[str], kind: str) -> Any:
        """What the folder's file of this kind holds, None if there is none, BROKEN if it can't be read."""
        name = "/".join([*folder, kind])
        if name not in self._files:
            try:
                data = read_bytes(self.datasites / name, root=self.datasites, max_bytes=2**20)
                self._files[name] = _parse(data)
            except FileNotFoundError:
                self._files[name] = None
            except FedkitError:
                self._files[name] = BROKEN
        return self._files[name]

    def _may_new(self, email: str, right: Right, parts: list[str]) -> bool:
        nearest, file = 0, dict[str, Any]()
        for depth in range(1, len(parts)):  # from the datasite's root downwards
            held = self._rules(parts[:depth], NEW)
            if held is not None:
                nearest, file = depth, held if isinstance(held, dict) else {}
                if file.get("terminal") is True:
                    break
        rest = "/".join(parts[nearest:])
        rules = [rule for rule in _list(file.get("rules")) if isinstance(rule, dict)]
        for rule in sorted(rules, key=lambda rule: -_specificity(str(rule.get("pattern", "")))):
            if _matches(rest, str(rule.get("pattern", "")), _FLAGS | glob.DOTGLOB):
                return _has_right(rule.get("access"), email, right)
        return False

    def _may_old(self, email: str, right: Right, parts: list[str]) -> bool:
        held: dict[str, bool] = {}
        for depth in range(1, len(parts)):
            rest = "/".join(parts[depth:])
            for rule in _list(self._rules(parts[:depth], OLD)):
                if not isinstance(rule, dict) or rule.get("user") not in (email, _EVERYONE):
                    continue
                pattern = str(rule.get("path", "")).replace("{useremail}", email)
                if _matches(rest, pattern, _FLAGS):  # here, a * stands for no hidden file
                    names = rule.get("permissions")
                    for name in [names] if isinstance(names, str) else _list(names):
                        held[str(name).lower()] = rule.get("type") != "disallow"
        if held.get("admin"):
            return True
        if right in ("create", "write"):
            return bool(held.get("read") and held.get(right))
        return bool(held.get(right))


@lru_cache(maxsize=1024)
def _parse(data: bytes) -> Any:
    """The rules in a permission file, BROKEN where it can't be parsed; equal bytes are parsed once.

    Plain YAML only: a tag, an alias, or more than thirty levels, and the file allows nothing.
    """
    try:
        depth = 0
        for event in yaml.parse(data, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if (
                isinstance(event, yaml.AliasEvent)
                or getattr(event, "tag", None)
                or depth > _DEEPEST
            ):
                return BROKEN
        value = yaml.load(data, Loader=_Loader)
    except Exception:  # the parser, and what builds its dates and numbers, raise many kinds
        return BROKEN
    return [] if value is None else value


@lru_cache(maxsize=4096)
def _matches(path: str, pattern: str, flags: int) -> bool:
    """Does the pattern fit? One that no compiler takes fits nothing."""
    try:
        return bool(glob.globmatch(path, pattern, flags=flags))
    except Exception:  # wcmatch and re raise many kinds
        return False


def _has_right(access: Any, email: str, right: Right) -> bool:
    """Does the `access` part of a `syft.pub.yaml` rule give the right? admin implies write, which implies read."""
    if not isinstance(access, dict):
        return False
    held = {"admin": ("admin",), "read": ("admin", "write", "read")}
    enough = held.get(right, ("admin", "write"))
    return any(who in (email, _EVERYONE) for name in enough for who in _list(access.get(name)))


def _may_oldest(rules: Any, email: str, right: Right) -> bool:
    lists = rules if isinstance(rules, dict) else {}
    named = _list(lists.get("admin")) + _list(lists.get("write" if right == "create" else right))
    return email in named or "GLOBAL" in named


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _specificity(pattern: str) -> int:
    """Go SyftBox's order: long and deep patterns first, wildcards count against, `**` last."""
    if pattern in ("**", "**/*"):
        return -100 if pattern == "**" else -99
    score = 2 * len(pattern) + 10 * pattern.count("/")
    score -= sum(20 if place == 0 else 10 for place, c in enumerate(pattern) if c == "*")
    return score - 2 * sum(c in "?![{" for c in pattern)
