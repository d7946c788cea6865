"""The drive under PySyft's own connection: Google's, or a folder that plays it, for several processes and no account.

In the folder each object of the drive is a folder of its own: `<id>/meta.json`, and `<id>/content` if it has any. PySyft's
mock of the drive asks a store for its objects; here that store is on disk, so that each process sees what the others did.
Nobody checks there who is who: what protects the files is PySyft's encryption, and fedkit's signatures.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syft.sync.connections.drive.gdrive_transport import GDriveConnection
from syft.sync.connections.drive.grdrive_config import GdriveConnectionConfig
from syft.sync.connections.drive.mock_drive_service import MockDriveService, MockPermission
from syft.sync.version.peer_manager import PeerManager, PeerManagerConfig

from fedkit.base.errors import FedkitError
from fedkit.base.files import MAX_STRANGERS_JSON_BYTES, read_bytes, write_bytes
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.tree import Stamp, entries, stamp
from fedkit.federation.roads.pysyft import own_folder

__all__ = ["FolderDrive", "open_drive"]


logging.getLogger("syft").setLevel(logging.ERROR)  # what matters, this package says itself

_KEPT = (
    "name",
    "mimeType",
    "parents",
    "owners",
    "appProperties",
    "trashed",
    "modifiedTime",
)


class _DriveFile:
    """An object of the drive: what PySyft's mock asks of one, its content read from the disk when it is asked for."""

    drive: FolderDrive
    id: str
    shared: list[Any]

    def __init__(self, drive: FolderDrive, number: str, values: dict[str, Any]) -> None:
        shared = [MockPermission(**one) for one in values["shared"]]
        self.__dict__.update(drive=drive, id=number, shared=shared)
        self.__dict__.update({key: values[key] for key in _KEPT})

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "content":
            self.drive.write_content(self.id, value)
        else:
            self.__dict__[name] = value
        self.drive.save(self)

    @property
    def content(self) -> bytes:
        """Its bytes; none for a folder."""
        return self.drive.content(self.id)

    def to_metadata(self, fields: str | None = None) -> dict[str, Any]:
        """As Google's answer: the fields that were asked for, all without a question."""
        values = {"id": self.id, **{key: self.__dict__[key] for key in _KEPT}}
        values["size"] = str(self.drive.size(self.id))
        asked = [field.strip() for field in fields.split(",")] if fields else list(values)
        return {key: values[key] for key in asked if key in values}


class FolderDrive:
    """The store behind PySyft's mock drive, in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: dict[str, tuple[Stamp, _DriveFile]] = {}

    @property
    def files(self) -> dict[str, _DriveFile]:
        """Id -> object, of all that can be read."""
        found = (self.get_file(path.name) for path in entries(self.root))
        return {file.id: file for file in found if file is not None}

    @property
    def permissions(self) -> dict[str, list[Any]]:
        """Id -> who may see it."""
        return {number: file.shared for number, file in self.files.items()}

    def get_file(self, number: str) -> _DriveFile | None:
        """An object of the drive, None where there is none, or none that can be read."""
        if Path(number).name != number:
            return None
        path = self.root / number / "meta.json"
        try:
            seen = stamp(path.lstat())
            if number in self._seen and self._seen[number][0] == seen:
                return self._seen[number][1]
            values = json.loads(read_bytes(path, max_bytes=MAX_STRANGERS_JSON_BYTES))
            file = _DriveFile(self, number, values)
        except (OSError, FedkitError, ValueError, TypeError, KeyError, RecursionError):
            return None
        self._seen[number] = seen, file
        return file

    def add_file(self, file: Any) -> None:
        """Put what PySyft has made into the drive, owned by whom it names."""
        owner = file.owners[0]["emailAddress"] if file.owners else None
        shared = [{"type": "user", "role": "owner", "emailAddress": owner}]
        if file.content:
            self.write_content(file.id, file.content)
        self.save(_DriveFile(self, file.id, {**vars(file), "shared": shared}))

    def delete_file(self, number: str) -> None:
        """Take an object out of the drive."""
        if Path(number).name == number:
            shutil.rmtree(self.root / number, ignore_errors=True)
        self._seen.pop(number, None)

    def add_permission(self, number: str, permission: Any) -> None:
        """Let somebody see it."""
        file = self.get_file(number)
        if file is not None:
            file.shared = [*file.shared, permission]

    def get_permissions(self, number: str) -> list[Any]:
        """Who may see it."""
        file = self.get_file(number)
        return [] if file is None else file.shared

    def content(self, number: str) -> bytes:
        """The bytes of an object; none where there are none."""
        try:
            return read_bytes(self.root / number / "content")
        except FileNotFoundError:
            return b""

    def size(self, number: str) -> int:
        """How many bytes an object has."""
        with contextlib.suppress(OSError):
            return (self.root / number / "content").lstat().st_size
        return 0

    def write_content(self, number: str, data: bytes) -> None:
        """Its bytes, whole or not at all."""
        write_bytes(self.root / number / "content", data)

    def save(self, file: _DriveFile) -> None:
        """What is known of an object, last: without this it is not there."""
        shared = [one.model_dump() for one in file.shared]
        values = {key: file.__dict__[key] for key in _KEPT} | {"shared": shared}
        values["modifiedTime"] = datetime.now(UTC).isoformat()
        path = self.root / file.id / "meta.json"
        write_bytes(path, json.dumps(values).encode())
        self._seen[file.id] = stamp(path.lstat()), file


def open_drive(site: Datasite, *, store: Any = None, token: Path | None = None) -> PeerManager:
    """PySyft's peers, keys and connection for this datasite; encryption is always on.

    store : what plays the drive, a `FolderDrive` or PySyft's own `MockDriveBackingStore`. token : else, the file of
    Google's token. Raises FedkitError where the drive can't be reached, or is somebody else's.
    """
    home = own_folder(site)
    home.mkdir(parents=True, exist_ok=True)
    keys, connections = home / "crypto_keys.json", list[GdriveConnectionConfig]()
    if store is None:
        connections = [GdriveConnectionConfig(email=site.email, token_path=token)]
    try:
        manager = PeerManager.from_config(
            PeerManagerConfig(
                syftbox_folder=home,  # it writes a version there, which is nobody else's
                email=site.email,
                connection_configs=connections,
                has_do_role=True,
                has_ds_role=True,
                use_encryption=True,
                crypto_keys_path=keys,
            )
        )
        if store is not None:
            service = MockDriveService(store, site.email)
            manager.connection_router.add_connection(
                GDriveConnection.from_service(site.email, service)
            )
        os.chmod(keys, 0o600)  # noqa: PTH101 (PySyft leaves them to all)
        account = manager.connection_router.get_authenticated_email()
        if account != site.email:
            what = f"the token is {account}'s, and this is the datasite of {site.email}"
            raise FedkitError(what, file=token, remedy="take that person's own token")
        manager.write_own_version()
    except FedkitError:
        raise
    except Exception as error:  # Google's packages and PySyft raise anything
        what = f"the drive can't be reached ({type(error).__name__}: {str(error)[:200]})"
        remedy = "check the network, the token and the folder, then run the same command again"
        raise FedkitError(what, file=token, remedy=remedy) from error
    return manager
