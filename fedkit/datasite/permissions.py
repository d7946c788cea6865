"""Who may do what with which file: SyftBox's two kinds of permission file, written together and both enforced.

`syft.pub.yaml` (today's SyftBox server in Go, and PySyft): of the files in the folders above, the nearest one decides,
unless one further up is terminal, and in it the most specific rule that fits. Write implies read and create. In the lists
of people `*` and `USER` are whoever asks and `*@example.org` is a whole domain; in a pattern, `{{.UserEmail}}` is the
e-mail of who asks.

`syftperm.yaml` (SyftBox 0.3/0.4 in Python): the rules of all folders above add up, from the datasite's root downwards,
later ones win; create and write also need read. `allow: false`, or `type: disallow`, takes rights away; in a path,
`{useremail}` is the e-mail of who asks.

The kind that lies nearest to a file decides; where both lie in the same folder, both must allow it; `_.syftperm`, which
the tutorial's apps wrote (lists of e-mails under `read` and `write`), decides where neither does. The owner of a datasite
may do everything in it, and only an admin may write permission files. A file that one of its engines refuses to load
allows nobody but the owner anything below its folder. Notebook 01 shows both kinds, and a refused stranger.

Where the engines judge alike, so does this. Where they differ, the stricter one holds:

    | `syft.pub.yaml`                         | PySyft              | Go server          | here            |
    | which rule wins, of those that fit      | by parts of a path  | by length          | both must allow |
    | hidden names under `*`, `?`, `**`       | not meant           | meant              | both must allow |
    | `{a,b}/**`                              | a folder `{a,b}`    | a or b             | both must allow |
    | `a/**` for what has the name a          | not meant           | meant              | both must allow |
    | brackets, in a pattern or an e-mail     | their package's way | their package's    | both must allow |
    | reading what ends in `syft.pub.yaml`    | admin               | read               | admin; synced to readers |
    | `{{.UserHash}}`, dates, other templates | refused, or as text | filled in          | refused         |
    | `read: null`; a number for a text       | refused             | taken              | refused         |
    | an empty pattern; a key twice           | taken               | refused            | refused         |
    | `terminal: 1`, `terminal: "true"`       | taken               | refused            | refused         |

    | `syftperm.yaml`                         | SyftBox 0.4                                | here            |
    | its list of files and its answers       | take `{useremail}` differently             | both must allow |
    | rules of several folders                | list: by depth; answers: as they came      | by depth        |
    | a file that it can't load               | what it held before stays in force         | allows nothing  |
    | `permissions: [2]`, `allow: 1`          | taken                                      | refused         |

    | both kinds                              | all engines                                | here            |
    | a name that some system, or the other   | is written by who may write                | needs admin     |
    |   kind, takes for a permission file's   |                                            |                 |
    | a path with `//`, `.` or `..`           | is made plain, or taken as it is           | refused         |
    | tags, aliases, over 64 KiB or 1000 rules, | taken                                    | refused         |
    |   over 1024 signs in a pattern          |                                            |                 |
    | what `patterns` calls unclear           | each in its way                            | refused         |
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, is_link, read_bytes, write_bytes
from fedkit.base.names import PERMISSION_FILES, names_permission_file
from fedkit.datasite.rules import BROKEN, MAX_BYTES, OldRule, Right, RuleFile, load

__all__ = ["READY_FILES", "Permissions", "Right", "has_permission_file", "write_permissions"]


READY_FILES = PERMISSION_FILES
"""Any of these shows that a folder was opened on purpose. fedkit writes the first two, always both; the oldest real apps
wrote the last one."""
NEW, OLD, OLDEST = READY_FILES

_ALL: tuple[Right, ...] = ("admin", "create", "write", "read")
_SORTED = 12
"""Go sorts fewer rules than these so that the first of equal ones stays first; of more, any may win."""


def write_permissions(
    folder: Path,
    owner: str,
    *,
    read: Iterable[str] = (),
    write: Iterable[str] = (),
    shown: Sequence[str] = (),
    root: Path | None = None,
    keep: bool = False,
) -> None:
    """Write both permission files of a folder and all below it.

    read, write : e-mails, or "*" for everybody; `write` includes read and create. The owner is always admin.
    shown : patterns of what everybody may read besides, such as "public/**". Said here, further up, it needs no permission
    file down there, which would be one more that everybody gets.
    root : no link between it and `folder` is followed. Raises FedkitError.
    keep : leave a file that is there as it is: its owner may have written it, or SyftBox.
    """
    readers, writers = sorted(set(read) - set(write)), sorted(set(write))
    access = {"admin": [owner], "write": writers, "read": readers}
    rules = [{"pattern": "**", "access": access}]
    for pattern in shown:
        rules += [{"pattern": pattern, "access": {"admin": [owner], "write": [], "read": ["*"]}}]
    old = [{"path": "**", "user": owner, "permissions": list(_ALL)}]
    old += [{"path": "**", "user": w, "permissions": ["create", "write", "read"]} for w in writers]
    old += [{"path": "**", "user": r, "permissions": ["read"]} for r in readers]
    old += [{"path": pattern, "user": "*", "permissions": ["read"]} for pattern in shown]
    for name, content in ((NEW, {"rules": rules}), (OLD, old)):
        if not (keep and (folder / name).is_file()):
            write_bytes(folder / name, yaml.safe_dump(content, sort_keys=False).encode(), root=root)


def has_permission_file(folder: Path) -> bool:
    """Is one of the permission files in this folder? (An empty folder is no sign: peers keep those.)"""
    return any(is_file(folder / name) for name in READY_FILES)


@dataclass
class Permissions:
    """The permission files of one datasites folder, read once each.

    datasites : the folder that holds one folder per e-mail. Make a new object to see changed files.
    """

    datasites: Path
    _files: dict[str, Any] = field(default_factory=dict)
    _folders: dict[tuple[str, ...], _Above] = field(default_factory=dict)
    _linked: dict[tuple[str, ...], bool] = field(default_factory=dict)

    def may(self, email: str, right: Right, path: str | PurePosixPath) -> bool:
        """May `email` do this with `path` (relative to the datasites folder, first part the owner's e-mail)?"""
        return self._may(email, right, str(path), "admin" if str(path).endswith(NEW) else right)

    def reaches(self, email: str, path: str | PurePosixPath) -> bool:
        """Does a sync bring `path` to `email`? What may be read; and as Go SyftBox does, a `syft.pub.yaml` to all those
        whom its rules let read it: that it arrives is the sign that a folder is open."""
        if str(path).endswith(f"/{NEW}"):
            return self._may(email, "read", str(path), "read")
        return self.may(email, "read", path)

    def readers(self, people: Set[str], path: str) -> set[str]:
        """Those of `people` whom `path` reaches. Whoever is named by no rule that counts is as any other such one, so the
        work grows with those who are named, not with those who are there."""
        parts = path.split("/")
        above = self._above(tuple(parts[:-1]))
        _, _, oldest = self._nearest(above, parts) or (None, None, None)
        lists = oldest.values() if isinstance(oldest, dict) else ()
        by_oldest = {who for names in lists for who in _list(names) if type(who) is str}
        named = _joined([{parts[0]}, by_oldest, above.named, _named(self._rules(parts, NEW))])
        if named is None:
            return {email for email in people if self.reaches(email, path)}
        found = {email for email in named if email in people and self.reaches(email, path)}
        stranger = next((email for email in people if email not in named), None)
        if stranger is not None and self.reaches(stranger, path):
            found |= people - named
        return found

    @property
    def broken(self) -> list[str]:
        """The permission files seen so far that can't be loaded: below their folders, nobody but the owner may anything."""
        return sorted(name for name, rules in self._files.items() if rules is BROKEN)

    def _may(self, email: str, right: Right, path: str, by_new: Right) -> bool:
        """by_new : the right that is needed by the rules of a `syft.pub.yaml`."""
        parts = path.split("/")
        if len(parts) < 2 or not all(part not in ("", ".", "..") for part in parts):
            return False
        if parts[0] == email:
            return True
        if right in ("create", "write") and any(map(names_permission_file, parts[1:])):
            right = by_new = "admin"
        above = self._above(tuple(parts[:-1]))
        news = [*above.news, self._rules(parts, NEW)]  # the path may be a folder
        if any(held is BROKEN for held in (*news, *above.olds)):
            return False
        if news[-1] is not None:
            return _may_new(news, email, by_new, parts)
        nearest = self._nearest(above, parts)
        if nearest is None:
            return False
        new, old, oldest = nearest
        if oldest is not None:
            return _may_oldest(oldest, email, right)
        return (new is None or _may_new(news, email, by_new, parts)) and (
            old is None or _may_old(above.olds, email, right, parts)
        )

    def _nearest(self, above: _Above, parts: Sequence[str]) -> tuple[Any, Any, Any] | None:
        """What the nearest folder with permission files holds: of the oldest kind, only where it is alone there."""
        for depth in range(len(parts) - 1, 0, -1):
            new, old = above.news[depth - 1], above.olds[depth - 1]
            if new is not None or old is not None:
                return new, old, None
            oldest = self._rules(parts[:depth], OLDEST)
            if oldest is not None:
                return None, None, oldest
        return None

    def _above(self, folder: tuple[str, ...]) -> _Above:
        """What the permission files hold from the datasite's root down to this folder; looked up once a folder."""
        if folder not in self._folders:
            new, old = self._rules(folder, NEW), self._rules(folder, OLD)
            over = self._above(folder[:-1]) if len(folder) > 1 else _Above((), (), set())
            named = _joined([over.named, _named(new), _named(old)])
            self._folders[folder] = _Above((*over.news, new), (*over.olds, old), named)
        return self._folders[folder]

    def _rules(self, folder: Sequence[str], kind: str) -> Any:
        """What the folder's file of this kind holds, None if there is none, BROKEN if it can't be loaded."""
        name = "/".join([*folder, kind])
        if name not in self._files:
            path = f"{self.datasites}/{name}"
            try:
                if not os.path.lexists(path) and not self._links(tuple(folder)):
                    raise FileNotFoundError
                data = read_bytes(Path(path), root=self.datasites, max_bytes=MAX_BYTES)
                self._files[name] = load(data, kind)
            except FileNotFoundError:
                self._files[name] = None
            except FedkitError:
                self._files[name] = BROKEN
        return self._files[name]

    def _links(self, folder: tuple[str, ...]) -> bool:
        """Does a link lead there? Looked up once a folder."""
        if folder not in self._linked:
            above = len(folder) > 1 and self._links(folder[:-1])
            self._linked[folder] = above or is_link(f"{self.datasites}/{'/'.join(folder)}")
        return self._linked[folder]


class _Above(NamedTuple):
    """Of each folder, from the datasite's root downwards: its file of each kind. named : as for `_named`, of all."""

    news: tuple[RuleFile | None, ...]
    olds: tuple[list[OldRule] | None, ...]
    named: Set[str] | None


def _named(held: Any) -> Set[str] | None:
    """Whom a permission file of the newer kinds names, None where the spelling of an e-mail counts."""
    return _joined([rule.named for rule in getattr(held, "rules", _list(held))])


def _joined(parts: Sequence[Set[str] | None]) -> Set[str] | None:
    known = [people for people in parts if people is not None]
    return set[str]().union(*known) if len(known) == len(parts) else None


def _may_new(files: Sequence[RuleFile | None], email: str, right: Right, parts: list[str]) -> bool:
    """By the `syft.pub.yaml` of each folder, from the datasite's root downwards: what wins in each engine must allow it."""
    nearest, rules = 0, list[Any]()
    for depth, file in enumerate(files, start=1):
        if file is not None:
            nearest, rules = depth, file.rules
            if file.terminal:
                break
    path, rest = "/".join(parts), "/".join(parts[nearest:])
    folder = path.removesuffix(rest) if rest else f"{path}/"
    fitting = [rule for rule in rules if rule.fits(rest, email, "PySyft")]
    fitting_go = [rule for rule in rules if rule.fits(path, email, "Go", folder)]
    if not fitting or not fitting_go:
        return False
    best = max(rule.rank("Go") for rule in fitting_go)
    first = [rule for rule in fitting_go if rule.rank("Go") == best]
    if len(rules) < _SORTED:
        first = first[:1]
    return max(fitting, key=lambda rule: rule.rank("PySyft")).allows(email, right, "PySyft") and (
        all(rule.allows(email, right, "Go") for rule in first)
    )


def _may_old(
    files: Sequence[list[OldRule] | None], email: str, right: Right, parts: list[str]
) -> bool:
    """By the `syftperm.yaml` of each folder from the datasite's root downwards.

    SyftBox 0.4 lists the files that one may read, and answers who asks for one; a file that is not listed is not asked for.
    """
    asked, listed = dict[Right, bool](), dict[Right, bool]()
    for depth, rules in enumerate(files, start=1):
        rest = "/".join(parts[depth:])
        for rule in rules or ():
            meant = rule.user in (email, "*")
            if meant and rule.fits(rest, email):
                asked |= rule.gives
            named = rule.names(rest)
            if named is not None and (meant or named == email):
                listed |= rule.gives
    if right == "admin":
        return asked.get("admin", False)
    reads = all(held.get("admin") or held.get("read") for held in (asked, listed))
    return bool(reads and (asked.get("admin") or asked.get(right)))


def _may_oldest(rules: Any, email: str, right: Right) -> bool:
    lists = rules if isinstance(rules, dict) else {}
    right = "write" if right == "create" else right
    named = [who for name in ("admin", right) for who in _list(lists.get(name))]
    return email in named or "GLOBAL" in named


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
