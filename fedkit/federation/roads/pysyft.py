"""PySyft 0.10: what this road needs on a machine, and who is met on it. Files travel over a drive; there is no server.

Light, since the doctor looks here too: PySyft itself is imported by `pysyft_sync` and `pysyft_drive`, where the road is
taken. The token of the drive comes from a file, never from the command line, which every process of a machine can read.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from fedkit.base.distribution import without
from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, is_folder, is_writable, read_bytes, read_own, write_json
from fedkit.base.names import check_email
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import folder_names

__all__ = [
    "TOKEN",
    "check_installed",
    "find_drive",
    "find_token",
    "keep_people",
    "own_folder",
    "people",
]


TOKEN = "SYFT_TOKEN_PATH"
"""PySyft's own setting: where the token's file lies."""
_NEWEST, _WANTED = (0, 11), (0, 10)
INSTALL = 'pip install "syft>=0.10,<0.11"'
_MAX_TOKEN = 2**16


def check_installed(system: str = os.name) -> str:
    """PySyft's version. Raises FedkitError where the road can't be taken on this machine, with the reason."""
    if system == "nt":
        raise FedkitError(
            "PySyft's road can't be taken on Windows",
            why="PySyft 0.10 locks its files with fcntl, which Windows has not",
            remedy="run it in WSL, or take another road: SyftBox, a synced folder",
        )
    try:
        there = metadata.version("syft")
    except metadata.PackageNotFoundError:
        raise without("syft", "PySyft's road") from None
    numbers = tuple(int(part) for part in there.split(".")[:2] if part.isdigit())
    if not _WANTED <= numbers < _NEWEST or importlib.util.find_spec("syft") is None:
        raise FedkitError(
            f"PySyft {there} is another one than this road was made for",
            field="syft",
            why="Its protocol changes with its second number",
            remedy=INSTALL,
        )
    return there


def find_token(
    named: Path | None, site: Datasite, environment: Mapping[str, str] = os.environ
) -> Path:
    """Where the token of the drive lies. Raises FedkitError where there is none, or where others would get it.

    named : by the person; without it `SYFT_TOKEN_PATH` is asked.
    """
    told = named or (Path(environment[TOKEN]) if environment.get(TOKEN) else None)
    if told is None:
        raise FedkitError(
            "no token was found",
            field=TOKEN,
            why="PySyft's files lie in each person's Google Drive",
            remedy=f"name its file with --token FILE or in ${TOKEN}; or --drive FOLDER, which plays the drive",
        )
    path = told.expanduser().absolute()
    if path.resolve().is_relative_to(site.datasites.resolve()):
        remedy = f"move it, for instance to {site.data_dir / 'private'}"
        raise FedkitError("lies where it would be synced to others", file=path, remedy=remedy)
    remedy = "make one as PySyft's docs/auth.md tells: the JSON of an authorized user"
    try:
        values = json.loads(read_bytes(path, max_bytes=_MAX_TOKEN, absent=remedy))
    except (ValueError, RecursionError) as error:
        raise FedkitError("is no token: it is no JSON", file=path, remedy=remedy) from error
    missing = {"client_id", "client_secret", "refresh_token"} - dict.fromkeys(values).keys()
    if not isinstance(values, dict) or missing:
        what = f"is no token: it lacks {', '.join(sorted(missing))}"
        raise FedkitError(what, file=path, remedy=remedy)
    return path


def check_drive(folder: Path, site: Datasite, *, make: bool = True) -> Path:
    """The folder that plays the drive, made where it is not there. Raises FedkitError where it can't be one."""
    path = folder.expanduser().absolute()
    if path.resolve().is_relative_to(site.data_dir.resolve()):
        remedy = "name a folder that the others see too, outside every data dir"
        raise FedkitError("lies in this data dir", file=path, field="--drive", remedy=remedy)
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what, remedy = f"can't be made ({error.strerror})", "name a folder that you may write to"
        raise FedkitError(what, file=path, field="--drive", remedy=remedy) from error
    if not (is_folder(path) and is_writable(path)):
        what, remedy = "is no folder that can be written to", "make it one, or name another --drive"
        raise FedkitError(what, file=path, field="--drive", remedy=remedy)
    return path


def find_drive(
    site: Datasite, folder: Path | None = None, token: Path | None = None, *, make: bool = True
) -> tuple[Path | None, Path | None]:
    """(the folder that plays the drive, None) or (None, the token's file): as named, else as the last time.

    make : make the folder where it is not there, and remember what was named. Raises FedkitError.
    """
    path = own_folder(site) / "drive.json"
    before = read_own(path, "note of the drive", "remove it, and name --drive or --token again")
    told = dict(before) if isinstance(before, dict) else {}
    if folder is None and token is None:
        folder = Path(str(told["folder"])) if told.get("folder") else None
        token = Path(str(told["token"])) if told.get("token") else None
    if folder is not None:
        folder, token = check_drive(folder, site, make=make), None
    else:
        token = find_token(token, site)
    values = {"folder": folder and str(folder), "token": token and str(token)}
    if make and values != told:
        write_json(path, values)
    return folder, token


def own_folder(site: Datasite) -> Path:
    """Keys, peers and memory of this road: private, and never synced."""
    return site.data_dir / "private" / "pysyft"


def keep_people(site: Datasite, people: Iterable[str]) -> None:
    """From now on these people are met too. Raises FedkitError for what is no e-mail."""
    kept = _kept(site)
    for who in people:
        try:
            kept.add(check_email(who))
        except ValueError as error:
            remedy = "give one e-mail for each --peer"
            raise FedkitError(str(error), field="--peer", remedy=remedy) from error
    if kept != _kept(site):
        write_json(_path(site), sorted(kept))


def people(site: Datasite) -> set[str]:
    """Whom this datasite meets: whom its person has named, and who has to do with the projects that lie here.

    A star: an aggregator meets its participants, these their aggregator; and where masks are made, these each other, since
    each must know the others' keys. Nobody else becomes a peer by asking.
    """
    found = _kept(site)
    mine, theirs = site.aggregator(), site.client()
    # a project that is done here goes on elsewhere: its last model is still to be sent
    for config in _configs(mine.running, mine.done):
        found |= set(config.participants)
    for config in _configs(theirs.running, theirs.done):
        masked = config.secure_aggregation is not None
        found |= {config.aggregator, *(config.participants if masked else ())}
    return found - {site.email}


def _configs(*folders: Path) -> Iterator[FLConfig]:
    for folder in folders:
        for name in folder_names(folder):
            path = folder / name / "fl_config.json"
            with contextlib.suppress(FedkitError):  # `advance` says what is wrong with it
                if is_file(path):
                    yield FLConfig.load(path)


def _kept(site: Datasite) -> set[str]:
    what, remedy = "list of peers", "restore it, or remove it and name the peers again"
    values = read_own(_path(site), what, remedy)
    if not isinstance(values, list | None) or not all(isinstance(who, str) for who in values or ()):
        raise FedkitError(f"is no {what}", file=_path(site), remedy=remedy)
    return set(values or ())


def _path(site: Datasite) -> Path:
    return own_folder(site) / "peers.json"
