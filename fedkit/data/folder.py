"""Data of one's own as a folder: what the task is, a folder of shards for each participant, and a test set.

    DIR/task.json               the project's task, as `"task"` in fl_config.json
    DIR/shards/NAME/shard.pt    a participant's (samples, labels), saved with torch.save; NAME is an e-mail, or any name
    DIR/test.pt                 the aggregator's (samples, labels)

`fedkit data import` writes such a folder from a table, images or arrays; `fedkit run --data DIR` and a sweep's `data:` read
it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, read_dataset, sha256_bytes, write_dataset, write_json
from fedkit.base.names import check_email, unfit
from fedkit.base.scratch import appearing
from fedkit.base.strict_json import parse_json_object
from fedkit.config.fl_config import first_problem
from fedkit.config.task import DIGITS, Task
from fedkit.config.tutorial import tutorial_participants
from fedkit.data.shards import Shard, check_dataset, pair_of, read_shard, write_shard

__all__ = ["DataFolder", "checked_task", "digest_of", "read_data_folder", "write_data_folder"]


@dataclass(frozen=True)
class DataFolder:
    """What lies in a data folder. shards : by participant, in the order of their names. digest : SHA-256 of the files."""

    task: Task
    shards: Mapping[str, Shard]
    test: Shard
    digest: str

    @property
    def participants(self) -> list[str]:
        """An e-mail for each shard: its folder's name where all are e-mails, else the tutorial's, in their order."""
        return list(self.shards) if self.named else tutorial_participants(len(self.shards))

    @property
    def named(self) -> bool:
        """Are all folders called by e-mails?"""
        try:
            return all(check_email(name) for name in self.shards)
        except ValueError:
            return False


def read_data_folder(folder: Path, task: Task | None = None) -> DataFolder:
    """Read and check a data folder. task : what the config says, where it says something; else task.json, else digits.

    Raises FedkitError, naming the file, where something is missing or does not fit the task.
    """
    folder = Path(folder)
    if not folder.is_dir():
        remedy = "make it with `fedkit data import`, or check the path"
        raise FedkitError("is no folder", file=folder, remedy=remedy)
    written = _read_task(folder / "task.json")
    if task is not None and written is not None and task != written:
        raise FedkitError(
            "says something else than the config's task",
            file=folder / "task.json",
            remedy='leave "task" out of the config: then this file holds',
        )
    task = task or written or DIGITS
    try:
        found = (p for p in (folder / "shards").iterdir() if p.is_dir())
        names = sorted(path.name for path in found if not path.name.startswith("."))
    except OSError:
        names = []
    if not names:
        remedy = "give each participant a folder there, with a shard.pt in it"
        raise FedkitError("holds no participant's folder", file=folder / "shards", remedy=remedy)
    shards = {name: read_shard(folder / "shards" / name, task) for name in names}
    path = folder / "test.pt"
    try:
        test = read_dataset(path)
    except FileNotFoundError:
        remedy = "save the (samples, labels) on which models are judged there, with torch.save"
        raise FedkitError("is not there", file=path, remedy=remedy) from None
    check_dataset(*test, path, task)
    return DataFolder(task, shards, test, digest_of(folder))


def write_data_folder(folder: Path, task: Task, shards: Mapping[str, Shard], test: Shard) -> None:
    """Write a data folder, which appears whole or not at all.

    Raises FedkitError if it is not empty, or a shard does not fit the task.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FedkitError("is not empty", file=folder, remedy="name a new or an empty folder")
    folded: dict[str, str] = {}
    for name, shard in shards.items():
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            what = f"{other!r:.60} and {name!r:.60} differ in upper and lower case only"
            raise FedkitError(what, field="participant", remedy="write both alike, or otherwise")
        if (why := unfit(name)) or name.startswith("."):
            what = f"{name!r:.60} {why or 'is hidden'}"
            raise FedkitError(what, field="participant", remedy="name participants otherwise")
        check_dataset(*pair_of(shard, task, name), f"{folder / 'shards' / name}", task)
    test = pair_of(test, task, "test")
    check_dataset(*test, folder / "test.pt", task)
    aside = folder.absolute().with_name(f".{folder.absolute().name}.unfinished")
    with appearing(folder.absolute(), aside, "check the disk, then write it again") as unfinished:
        for name, shard in shards.items():
            write_shard(unfinished / "shards" / name, shard, task)
        write_dataset(unfinished / "test.pt", *test)
        write_json(unfinished / "task.json", task.model_dump(mode="json"))
        if folder.exists():  # an empty one
            folder.rmdir()


def _read_task(path: Path) -> Task | None:
    try:
        values: dict[str, Any] = parse_json_object(read_bytes(path, max_bytes=2**20), path)
    except FileNotFoundError:
        return None
    return checked_task(values, path)


def checked_task(values: dict[str, Any], path: Path) -> Task:
    """The task of these values. Raises FedkitError about `path`, with field and remedy."""
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        raise first_problem(error, path) from error


def digest_of(folder: Path) -> str:
    """SHA-256, in hex, over the names and contents of all files of a data folder; hidden ones do not count."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    digests = {
        p.relative_to(folder).as_posix(): sha256_bytes(read_bytes(p, max_bytes=2**31))
        for p in paths
    }
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()
