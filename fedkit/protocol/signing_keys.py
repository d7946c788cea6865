"""Whose signing key is whose: a participant keeps the key of everybody that it met in a masked round, from the first on.

What a datasite publishes passes through the hands of who runs the network, and whoever could put another key there could
speak for its owner. So the first key is kept (trust on first use, as in RFC 4251, section 4.1), another one is refused, and
people can compare the fingerprints of both sides by another way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from fedkit.base.errors import FedkitError
from fedkit.base.files import (
    MAX_STRANGERS_JSON_BYTES,
    is_file,
    read_bytes,
    read_json,
    read_object,
    read_own,
    write_bytes,
    write_json,
)
from fedkit.base.keys import KEY_BYTES, new_secret, signing_key
from fedkit.base.locks import exclusive
from fedkit.base.scratch import patiently
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite

__all__ = [
    "COMPARE",
    "fingerprint",
    "identity",
    "key_of",
    "known_keys",
    "published_key",
    "remember",
    "signers",
    "told_keys",
    "trust",
]


COMPARE = (
    "Keys of those who sign; compare them with their owners by another way, such as by telephone:"
)
_A_MOMENT_S = 20.0
_WHAT, _REMEDY = (
    "list of others' keys",
    "restore it; or remove it, then the keys of all count as new",
)


def identity(site: Datasite) -> bytes:
    """This datasite's signing key, one for whatever it signs, made and published where it isn't yet."""
    path, older = _secrets(site)
    if not is_file(path) and is_file(older):
        path.parent.mkdir(parents=True, exist_ok=True)
        patiently(lambda: older.replace(path))
    try:
        secret = read_bytes(path, max_bytes=KEY_BYTES)
    except FileNotFoundError:
        secret = new_secret()
        write_bytes(path, secret, mode=0o600)
    if len(secret) != KEY_BYTES:
        raise FedkitError(
            f"has {len(secret)} bytes, and a key has {KEY_BYTES}",
            file=path,
            remedy="restore it, or remove it: then a new one is made, which the others must trust: `fedkit keys`",
        )
    published = {"email": site.email, "ed25519": signing_key(secret).hex()}
    if read_json(_published(site, site.email)) != published:
        write_json(_published(site, site.email), published, root=site.data_dir)
    return secret


def _secrets(site: Datasite) -> tuple[Path, Path]:
    """Where this datasite's secret lies, and where it lay before, among folders of projects."""
    private = site.private_client
    return private / "keys" / f"{site.email}.key", private / "secagg" / site.email / "identity.key"


def _own_key(site: Datasite) -> bytes | None:
    """The public side of this datasite's secret, None where there is none yet; what lies in public is not asked."""
    for path in _secrets(site):
        try:
            secret = read_bytes(path, max_bytes=KEY_BYTES)
        except FileNotFoundError:
            continue
        return signing_key(secret) if len(secret) == KEY_BYTES else None
    return None


def published_key(site: Datasite, email: str) -> bytes | None:
    """The key that `email` has published in its own datasite, None where it is not there (yet)."""
    path = _published(site, email)
    values = read_object(path, root=site.data_dir, max_bytes=MAX_STRANGERS_JSON_BYTES)
    try:
        key = bytes.fromhex(values["ed25519"]) if values["email"] == email else b""
    except (TypeError, KeyError, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _published(site: Datasite, email: str) -> Path:
    return site.datasites / email / "public" / "keys" / "fl_client.json"


def fingerprint(key: bytes) -> str:
    """The first 128 bits of the key's SHA-256, in groups of four hex digits: what people read to each other."""
    digest = hashlib.sha256(key).hexdigest()[:32]
    return " ".join(digest[at : at + 4] for at in range(0, 32, 4))


def known_keys(site: Datasite) -> dict[str, bytes]:
    """The keys of those whom this participant has met, by e-mail. Raises FedkitError if something else lies there."""
    path = _path(site)
    values = read_own(path, _WHAT, _REMEDY)
    try:
        if not isinstance(values, dict | None):
            raise TypeError
        known = {who: bytes.fromhex(key) for who, key in (values or {}).items()}
        if any(len(key) != KEY_BYTES for key in known.values()):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise FedkitError(f"is no {_WHAT}", file=path, remedy=_REMEDY) from error
    return known


def key_of(site: Datasite, who: str, keys: Mapping[str, bytes] | None = None) -> bytes | None:
    """The key that `who` signs with: the one that is known; before, the one it publishes; None where there is none yet. Its
    own a datasite knows from its secret.

    keys : `known_keys`, where they are read already. Raises FedkitError where it publishes another one than is known.
    """
    if who == site.email:
        return _own_key(site)
    known = (known_keys(site) if keys is None else keys).get(who)
    published = published_key(site, who)
    if known is None:
        return published
    if published not in (None, known):
        assert published is not None
        both = f"{fingerprint(published)}, and known is {fingerprint(known)}"
        raise FedkitError(
            f"signs with another key than before (see `fedkit keys`): {both}",
            field=who,
            file=_path(site),
            why="It has lost its key, or somebody on the way has put another one in its place",
            remedy=f"ask {who} by another way; if it is the right one: `fedkit keys --trust {who}`",
        )
    return known


def signers(config: FLConfig) -> list[str]:
    """Whose signatures count in a project: of everybody under masks, the aggregator too where files are signed."""
    people = [config.aggregator] if config.signed else []
    masked = config.secure_aggregation is not None or config.signed
    people += config.participants if masked else ()
    return [who for who in dict.fromkeys(people) if who not in config.unsigned]


def told_keys(site: Datasite, people: Iterable[str]) -> list[tuple[str, str, str]]:
    """(e-mail, fingerprint, what is known of that key) of all of these people who have one; looks only."""
    known, rows = known_keys(site), []
    for who in people:
        published = published_key(site, who)
        kept = None if who == site.email else known.get(who)
        shown = kept or published
        if shown is None:
            continue
        state = "known" if kept else "this datasite's own" if who == site.email else "new here"
        if kept and published not in (None, kept):
            state = (
                f"known; it publishes another one now: `fedkit keys --trust {who}` if that is right"
            )
        rows.append((who, fingerprint(shown), state))
    return rows


def remember(site: Datasite, keys: Mapping[str, bytes]) -> None:
    """Keep the keys of those who are met for the first time; what is known stays as it is."""
    known = known_keys(site)
    if not keys.keys() - known.keys() - {site.email}:
        return
    with _one_at_a_time(site):
        known = known_keys(site)
        _write(site, {who: key for who, key in keys.items() if who != site.email} | known, known)


def trust(site: Datasite, who: str) -> bytes:
    """From now on, `who` signs with the key that it publishes now. Returns it; raises FedkitError where there is none."""
    published = published_key(site, who)
    if published is None:
        raise FedkitError(
            "publishes no key",
            field=who,
            remedy="check the e-mail; wait until its datasite has come",
        )
    with _one_at_a_time(site):
        known = known_keys(site)
        _write(site, known | {who: published}, known)
    return published


def _one_at_a_time(site: Datasite) -> AbstractContextManager[None]:
    """Who adds to the list holds it: a client that advances, a panel that looks at its seats."""
    lock = site.own / "known_keys.lock"
    return exclusive(lock, "keeps keys", at=site.data_dir, timeout_s=_A_MOMENT_S)


def _write(site: Datasite, keys: Mapping[str, bytes], before: Mapping[str, bytes]) -> None:
    if keys != before:
        text = json.dumps({who: key.hex() for who, key in sorted(keys.items())}, indent=2)
        write_bytes(_path(site), text.encode(), mode=0o600)


def _path(site: Datasite) -> Path:
    # beside the folders of people, where no project's name can lead
    return site.private_client / "secagg" / "peers" / f"{site.email}.json"
