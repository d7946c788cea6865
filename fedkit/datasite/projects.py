"""Which projects lie at an aggregator, running and done; and how a project moves from one folder to the other.

A project is a folder in its app's mailbox, on both sides: it appears in `running/`, and ends in `done/`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import (
    is_file,
    is_folder,
    is_link,
    read_object,
    refuse_links,
    remove,
    same_content,
)
from fedkit.base.names import folded
from fedkit.base.scratch import move, patiently
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject, Box
from fedkit.datasite.permissions import READY_FILES
from fedkit.datasite.tree import entries, folder_names, remove_empty_folders, walk

__all__ = [
    "back_to_running",
    "find_project",
    "follow_home",
    "launched_projects",
    "move_to_done",
    "other_spelling",
]


def launched_projects(site: Datasite) -> list[str]:
    """Names of the projects at this aggregator, running or done, the one launched last at the end."""
    box = site.aggregator()
    found = [p for p in entries(box.done) + entries(box.running) if _is_project(p)]
    return [p.name for p in sorted(found, key=_launched)]


def find_project(site: Datasite, project: str | None = None) -> AggregatorProject:
    """The folder of a project (default: the one launched last). Raises FedkitError if there is none."""
    names = launched_projects(site)
    if not names or (project is not None and project not in names):
        what = f"no project {project!r} was launched" if project else "no project was launched"
        known = f"one of {', '.join(names)}" if names else "call network.launch(config) first"
        raise FedkitError(what, file=site.aggregator().launch, remedy=known)
    name, box = project or names[-1], site.aggregator()
    running = box.project(name)
    return running if running.path.is_dir() else box.project(name, "done")


def other_spelling(box: Box, name: str) -> Path | None:
    """A project, running or done, whose folder is the one of `name` where upper and lower case do not count."""
    found = (path for folder in (box.running, box.done) for path in entries(folder))
    return next((p for p in found if p.name != name and folded(p.name) == folded(name)), None)


def _is_project(folder: Path) -> bool:
    """A copy such as `T (1)`, which a file manager or a sync makes, bears another name than its config, and is none."""
    if not is_file(folder / "fl_config.json"):
        return False
    name = read_object(folder / "fl_config.json").get("project_name")
    return not isinstance(name, str) or name == folder.name


def _launched(project: Path) -> tuple[int, str]:
    signs = [project / name for name in ("launch.json", "fl_config.json")]
    return next((p.stat().st_mtime_ns for p in signs if is_file(p)), 0), project.name


def move_to_done(site: Datasite, box: Box, name: str, opened: Iterable[Path]) -> None:
    """A project is over: from now on nobody else reads or writes in the folders that it `opened`.

    Raises FedkitError if something of that name is in `done/` already.
    """
    done = box.done / name
    if os.path.lexists(done):
        raise FedkitError(
            "is there already, so this project can't be moved to done/",
            file=done,
            remedy="move it away",
        )
    for path in (folder / file for folder in opened for file in READY_FILES):
        if path.is_symlink() or not is_folder(path):  # a folder of that name opens nothing
            with contextlib.suppress(Unreadable):  # nor does what lies behind a link
                remove(path, root=site.data_dir)
    try:
        done.parent.mkdir(parents=True, exist_ok=True)
        move(box.running / name, done)
        follow_home(site, box)
    except OSError as error:
        what = f"can't take a project ({error.strerror})"
        remedy = "make it a folder that you may write to"
        raise FedkitError(what, file=done.parent, remedy=remedy) from error


def follow_home(site: Datasite, box: Box) -> None:
    """Where what crosses lies apart from its project: what belongs to one that is done moves to `done/` after it.

    It does so at the end; after an end that was cut off; and where it came later, as others hear of an end later. What lies
    in `done/` already stays, and permission files open nothing there.
    """
    if box.home is None:
        return
    with contextlib.suppress(OSError, Unreadable):
        for folder in ("running", "done"):  # what lies behind a link is no part of a project
            refuse_links(box.path / folder, site.data_dir)
        for name in folder_names(box.path / "running"):
            left, done = box.path / "running" / name, box.path / "done" / name
            if (box.running / name).is_dir() or not (box.done / name).is_dir() or is_link(left):
                continue
            if not os.path.lexists(done):
                done.parent.mkdir(parents=True, exist_ok=True)
                move(left, done)
            else:
                _merge(left, done)


def _merge(left: Path, done: Path) -> None:
    """Move files after those that moved before; folders that are empty then go. Raises OSError."""
    for key, entry in list(walk(left)):
        if not entry.is_file(follow_symlinks=False):
            continue
        path, target = Path(entry.path), done / key
        if path.name in READY_FILES or same_content(path, target):
            patiently(path.unlink)
        elif not os.path.lexists(target):
            refuse_links(target.parent, done)
            target.parent.mkdir(parents=True, exist_ok=True)
            move(path, target)
    remove_empty_folders(left)


def back_to_running(box: Box, name: str) -> None:
    """A project that was over goes on, where it is in `done/` alone."""
    done, running = box.done / name, box.running / name
    if done.is_dir() and not running.exists():
        running.parent.mkdir(parents=True, exist_ok=True)
        move(done, running)
