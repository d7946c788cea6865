"""Signed files: in a project with `"signed": true`, what crosses bears its sender's signature in a file beside it.

`X.sig` holds an Ed25519 signature (RFC 8032) in hex and, on the next line, what was signed: who wrote which file for whom,
in which round of which project and config, and its SHA-256. So a file that is forged, altered, or taken from another round,
project or mailbox is refused by name. With an update the line also says which global model it was trained from:
one of before a rewind is not today's. The key is the datasite's one identity; whose key is whose, `signing_keys` knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError, Forged
from fedkit.base.files import read_bytes, sha256_bytes, write_bytes
from fedkit.base.keys import is_signed, sign
from fedkit.base.tensors import MAX_STATE_BYTES
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.protocol.signing_keys import identity, key_of

__all__ = ["check_signed", "read_signed", "signature_of", "write_signed"]


_MOST = 4096
_MOST_KEPT = 10_000
_GENUINE: set[tuple[object, ...]] = set()
"""What `check_signed` has found genuine in this process."""


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(f"{path.name}.sig")


def write_signed(
    site: Datasite,
    config: FLConfig,
    path: Path,
    data: bytes,
    to: str,
    n: int,
    about: str,
    start: str = "",
) -> None:
    """Write a file that crosses; its signature first, where the project has its files signed.

    to : the receiver's e-mail. n : the round, 0 before the first. about : SHA-256 of the project's `fl_config.json`.
    start : SHA-256 of the global model that an update was trained from.
    """
    if config.signed:
        line = _line(config, path, data, site.email, to, n, about, start)
        text = sign(identity(site), line).hex().encode() + b"\n" + line
        write_bytes(signature_of(path), text, root=site.data_dir)
    write_bytes(path, data, root=site.data_dir)


def read_signed(
    site: Datasite,
    config: FLConfig,
    path: Path,
    sender: str,
    n: int,
    about: str,
    *,
    to: str | None = None,
    max_bytes: int = MAX_STATE_BYTES,
    start: str = "",
) -> bytes:
    """A file that crossed, if `sender` has signed exactly this for this datasite, round, project and config; an update, as
    trained from the global model `start` (SHA-256).

    Raises FileNotFoundError where it, or its signature, is not there (yet); Forged with the reason if it is not what its
    sender has signed; Unreadable if it can't be read.
    """
    data = read_bytes(path, root=site.data_dir, max_bytes=max_bytes)
    if not config.signed or sender in config.unsigned:
        return data
    signature, _, line = read_bytes(
        signature_of(path), root=site.data_dir, max_bytes=_MOST
    ).partition(b"\n")
    try:
        key = key_of(site, sender)
    except FedkitError as error:
        raise Forged(**vars(error)) from error
    if key is None:
        raise FileNotFoundError(f"{sender} has not published the key that it signs with")
    try:
        genuine = is_signed(key, bytes.fromhex(signature.decode("ascii")), line)
        said = dict(json.loads(line)) if genuine else {}
    except (ValueError, TypeError, RecursionError):
        genuine = False
    if not genuine:
        raise _refused(path, f"is not signed by {sender}", sender)
    wanted = json.loads(_line(config, path, data, sender, to or site.email, n, about, start))
    differs = next((name for name in wanted if said.get(name) != wanted[name]), None)
    if differs == "sha256":
        raise _refused(path, f"is not the file that {sender} has signed", sender)
    if differs == "model":
        raise _refused(path, f"was trained by {sender} from another global model", sender)
    if differs is not None:
        what = f"was signed by {sender} for {differs} {said.get(differs)!r:.80}, not {wanted[differs]!r:.80}"
        raise _refused(path, what, sender)
    return data


def check_signed(
    site: Datasite,
    config: FLConfig,
    path: Path,
    sender: str,
    n: int,
    about: str,
    *,
    to: str | None = None,
    start: str = "",
) -> None:
    """`read_signed` for who only looks: what was found genuine once is read again when it, its signature or the sender's
    key is another one. Whoever uses the content reads it. Raises as `read_signed` does."""
    try:
        versions = [_version(file) for file in (path, signature_of(path))]
        key = key_of(site, sender)
    except (OSError, FedkitError):
        versions, key = [], None  # what is wrong is said below
    seen = (path, *versions, key, config.project_name, sender, to or site.email, n, about, start)
    if key is not None and seen in _GENUINE:
        return
    read_signed(site, config, path, sender, n, about, to=to, start=start)
    if key is not None:
        if len(_GENUINE) >= _MOST_KEPT:
            _GENUINE.clear()
        _GENUINE.add(seen)


def _version(path: Path) -> tuple[int, ...]:
    """Which version of a file lies there; the time of its last change of any kind (ctime) is one that nobody can set."""
    info = path.lstat()
    return info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def _line(
    config: FLConfig,
    path: Path,
    data: bytes,
    sender: str,
    to: str,
    n: int,
    about: str,
    start: str,
) -> bytes:
    values: dict[str, Any] = {
        "project": config.project_name,
        "config": about,
        "round": n,
        "from": sender,
        "to": to,
        "file": path.name,
        "sha256": sha256_bytes(data),
    }
    if start:
        values["model"] = start
    return json.dumps(values).encode()


def _refused(path: Path, what: str, sender: str) -> Forged:
    return Forged(
        what,
        file=path,
        why="Somebody else wrote or altered it, or it has not come whole yet",
        remedy=f"ask {sender}, whose client sends it again; see also `fedkit keys`",
    )
