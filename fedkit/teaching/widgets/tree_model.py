"""The data dirs of a network as a tree that can be opened: what changed with the last step, and who may read what.

A step is what happened between two looks: a pressed button, or whatever cells did in between. This is plain data for the
widget `DatasiteTree`, which notebook 05 shows; `fedkit.teaching.widgets.file_view` shows one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from fedkit.base.errors import FedkitError
from fedkit.datasite.permissions import Permissions, Right
from fedkit.datasite.tree import Tree, folder_names, scan, travels
from fedkit.federation.network import Network
from fedkit.teaching.plots.datasite import sign_of

__all__ = ["Line", "TreeModel"]


MOST = 12
"""Entries of a folder that are shown until one asks for all."""


@dataclass(frozen=True)
class Line:
    """One line of the tree.

    path : relative to the data dir, with "/". sign : "+" new, "~" rewritten, "-" gone, "" as it was (of a folder: "").
    changes : of a folder, how many files below it are new, rewritten, gone. size : bytes of a file, or of all below.
    may_read : who else may read it, in words; "" for a folder whose files differ. more : entries that are not shown; the
    line then stands for them.
    """

    path: str
    depth: int
    folder: bool = False
    open: bool = False
    sign: str = ""
    changes: tuple[int, int, int] = (0, 0, 0)
    size: int = 0
    files: int = 1
    may_read: str = ""
    more: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name


class TreeModel:
    """Whose data dir is looked at, which folders are open, and what has changed."""

    def __init__(self, network: Network, machine: str | None = None) -> None:
        self.network = network
        self.machine = self._known(machine or network.participants[0])
        self._wanted: dict[str, bool] = {}  # folders that a person opened or folded
        self._whole: set[str] = set()  # folders of which a person wants every entry
        self._now = self._scan()
        self._before: dict[str, Tree] | None = None  # None: no step has been seen yet
        self._permissions = self._ask_again()
        self._readers: dict[str, str] = {}  # path -> who else may read it; asking costs time

    def choose(self, machine: str) -> None:
        """Look at this person's data dir. Raises FedkitError if nobody here has that e-mail."""
        self.machine = self._known(machine)
        self._readers.clear()

    def begin(self) -> None:
        """A step begins: from now on, what changed is compared with the last look."""
        self._before = self._now

    def look(self, new_step: bool = True) -> bool:
        """Look at all data dirs again; is anything different from the last look?

        new_step : what changed is compared with the last look; without it, with what that one was compared with, so that
        many looks while something runs are one step.
        """
        found = self._scan()
        different = found != self._now
        if different:
            self._permissions = self._ask_again()
            self._readers.clear()
        if (new_step and different) or self._before is None:
            self._before = self._now
        self._now = found
        return different

    def toggle(self, path: str) -> None:
        """Open a folder, or fold it; a second press on its "more" line shows every entry."""
        line = next((line for line in self.lines() if line.path == path and line.folder), None)
        if line is not None and line.more:
            self._whole.add(path)
        elif line is not None:
            self._wanted[path] = not line.open

    def changes(self, machine: str | None = None, below: str = "") -> tuple[int, int, int]:
        """Files that are new, rewritten, gone since the last step, of one person or (None) of all."""
        signs = Counter[str]()
        for email in [machine] if machine else self.network.sites:
            signs.update(s for path, s in self._signs(email).items() if path.startswith(below))
        return signs["+"], signs["~"], signs["-"]

    def _signs(self, machine: str) -> dict[str, str]:
        """Every file that lies there, or lay there before the last step, and what has happened to it."""
        now, before = self._now[machine], (self._before or {}).get(machine)
        return {path: sign_of(path, before, now) for path in sorted({*now, *(before or {})})}

    def who_may(self, right: Right, path: str) -> list[str]:
        """The e-mails of the others who may do this with a file of the chosen data dir, as the owner's files say.

        Who may read is whom the sync brings it to."""
        owner = _owner(path)
        if owner is None:
            return []
        local = self._permissions[owner if owner in self._permissions else self.machine]
        place = path.removeprefix("datasites/")
        others = self._others(owner)
        if right == "read":
            return [email for email in others if local.reaches(email, place)]
        return [email for email in others if local.may(email, right, place)]

    def in_words(self, emails: list[str], path: str) -> str:
        """Those who may, as a person says it."""
        if not emails:
            return "nobody else"
        if len(emails) == len(self._others(_owner(path) or self.machine)):
            return "everybody"
        return ", ".join(email.partition("@")[0] for email in emails)

    def _others(self, owner: str) -> list[str]:
        return [email for email in self.network.sites if email != owner]

    def lines(self) -> list[Line]:
        """The tree as it is to be shown, from the top; the folders that nobody touched open where something changed."""
        return list(self._branch("", 0))

    def _branch(self, folder: str, depth: int) -> Iterator[Line]:
        signs, now = self._signs(self.machine), self._now[self.machine]
        below: dict[str, list[str]] = {name: [] for name in self._folders(folder)}
        for path in signs:
            if path.startswith(folder):
                below.setdefault(folder + path[len(folder) :].partition("/")[0], []).append(path)
        order = sorted(below, key=lambda path: (path in signs, path))
        shown = order if folder in self._whole or len(order) <= MOST + 1 else order[:MOST]
        for path in shown:
            if below[path] == [path]:
                size, words = now.get(path, (0,))[0], self._may_read(path)
                yield Line(path, depth, sign=signs[path], size=size, may_read=words)
                continue
            yield self._folder(path, depth, below[path])
            if self._is_open(path):
                yield from self._branch(f"{path}/", depth + 1)
        if len(shown) < len(order):
            yield Line(folder, depth, folder=True, more=len(order) - len(shown))

    def _folder(self, path: str, depth: int, files: list[str]) -> Line:
        now = self._now[self.machine]
        here = [now[file][0] for file in files if file in now]
        words = {self._may_read(file) for file in files}
        return Line(
            path,
            depth,
            folder=True,
            open=self._is_open(path),
            changes=self.changes(self.machine, f"{path}/"),
            size=sum(here),
            files=len(here),
            may_read=words.pop() if len(words) == 1 else "",
        )

    def _may_read(self, path: str) -> str:
        if path not in self._readers:
            self._readers[path] = self.in_words(self.who_may("read", path), path)
        return self._readers[path]

    def _is_open(self, path: str) -> bool:
        if path in self._wanted:
            return self._wanted[path]
        own = f"datasites/{self.machine}"
        if path in ("datasites", own, "private"):
            return True
        mine = path.startswith((f"{own}/", "private/"))
        return mine and any(self.changes(self.machine, f"{path}/"))

    def _folders(self, folder: str) -> list[str]:
        """Folders on disk, since empty ones are part of the picture."""
        place = self.network[self.machine].data_dir / folder
        names = [name for name in folder_names(place) if travels(name)]
        return [folder + name for name in names if not (place / name).is_symlink()]

    def _scan(self) -> dict[str, Tree]:
        return {email: scan(site.data_dir) for email, site in self.network.sites.items()}

    def _ask_again(self) -> dict[str, Permissions]:
        return {email: Permissions(site.datasites) for email, site in self.network.sites.items()}

    def _known(self, email: str) -> str:
        if email not in self.network.sites:
            raise FedkitError(
                f"{email!r} has no datasite here",
                field="machine",
                remedy=f"one of {', '.join(self.network.sites)}",
            )
        return email


def _owner(path: str) -> str | None:
    """Whose datasite a file of a data dir lies in; None outside of all of them."""
    parts = path.split("/")
    return parts[1] if parts[0] == "datasites" and len(parts) > 2 else None
