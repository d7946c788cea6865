"""An invitation to a seat: a signed line of text in a file, or a short code where a shared folder brings the rest.

It is data from a stranger to the learner: small, every name in it checked before it becomes a path, signed by the teacher's
key, which it brings along; its fingerprint is what the teacher writes on the board.

A code is 15 signs of Crockford's base32 and one that checks them (https://www.crockford.com/base32.html), 75 bits: 9 are
the seat, 26 begin the SHA-256 of the teacher's key and the room, 40 are secret. The rest lies in the shared folder, signed,
in the teacher's `public/class/open/ROOM.json`. Who reads that folder can try secrets against the proof that a learner
publishes there; scrypt (RFC 7914) makes a try as dear as it is for the learner, some 50 ms and 16 MiB, so that all 2^40
take a core more than a thousand years. 26 bits find a wrong room and a slip of the hand; whoever makes keys for an hour
finds one that begins alike, so that the fingerprint on the board decides here too.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import MAX_STRANGERS_JSON_BYTES, is_file, read_bytes, read_object, write_json
from fedkit.base.keys import KEY_BYTES, is_signed, sign, signing_key
from fedkit.base.names import check_email, check_name
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import ROADS
from fedkit.datasite.tree import entries
from fedkit.protocol.signing_keys import fingerprint

__all__ = [
    "FAR",
    "MOST_SEATS",
    "SECRET_BYTES",
    "Invitation",
    "invitation_of",
    "new_code",
    "publish_room",
    "read_invitation",
    "secret_of",
]


MOST_SEATS = 500
_PREFIX = "fedkit-seat-1."
_MOST_BYTES = 4096
_LONGEST_NAME = 255  # of a file, on most disks: what is longer was to be the text
_OPEN = Path("public/class/open")
SECRET_BYTES = 16
FAR = tuple(name for name in ROADS if name != "own")


@dataclass(frozen=True)
class Invitation:
    """What a learner needs to sit down. road : one of `ROADS`. key, secret : in hex, of the teacher and of the seat."""

    room: str
    seat: int
    email: str
    project: str
    aggregator: str
    road: str
    key: str
    secret: str

    @property
    def fingerprint(self) -> str:
        """Of the teacher's key: what stands on the board."""
        return fingerprint(bytes.fromhex(self.key))

    def to_text(self, teacher: bytes) -> str:
        """One line, signed with the teacher's secret key."""
        body = json.dumps(asdict(self), sort_keys=True).encode()
        return _PREFIX + base64.urlsafe_b64encode(sign(teacher, body) + body).decode()


def read_invitation(text: str, file: Path | None = None) -> Invitation:
    """An invitation as it was sent. Raises FedkitError where it is none, or was altered on its way."""

    def wrong(what: str) -> FedkitError:
        remedy = "copy it again, all of it; else ask the teacher for it once more"
        return FedkitError(f"is no invitation: it {what}", file=file, remedy=remedy)

    line = "".join(text.split()) if len(text) <= _MOST_BYTES else ""
    if not line.startswith(_PREFIX):
        begins = f"does not begin with {_PREFIX}"
        raise wrong(begins if line else f"is empty, or has more than {_MOST_BYTES:,} signs")
    try:
        data = base64.b64decode(line.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        signature, body = data[:64], data[64:]
        values = json.loads(body)
        key = bytes.fromhex(values["key"])
        if len(key) != KEY_BYTES or not is_signed(key, signature, body):
            raise wrong("was altered: the teacher has not signed this")
        if values.keys() != {field.name for field in fields(Invitation)}:
            raise wrong("is of another version")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise wrong("can't be read") from error
    try:
        return _checked(values)
    except (ValueError, TypeError) as error:
        raise wrong(f"names what can't be used ({str(error)[:200]})") from error


def _checked(values: Mapping[str, Any]) -> Invitation:
    """An invitation in which no name can do harm. Raises ValueError or TypeError."""
    for name in ("room", "project"):
        check_name(values[name])
    for name in ("email", "aggregator"):
        check_email(values[name])
    seat, secret = values["seat"], bytes.fromhex(values["secret"])
    if type(seat) is not int or not 1 <= seat <= MOST_SEATS or len(secret) != SECRET_BYTES:
        raise ValueError("seat and secret do not fit")
    if values["road"] not in FAR:
        raise ValueError(f"road must be one of {', '.join(FAR)}")
    return Invitation(**values)


def invitation_of(given: str, data_dir: Path | None = None) -> Invitation:
    """An invitation from what a person gives: its text, the file it lies in, or a code. Raises FedkitError.

    data_dir : for a code: where `datasites/` is the folder that the room shares.
    """
    code = given.upper().translate(_AS_READ)
    if len(code) == _SIGNS_OF_A_CODE and {*code} <= {*_DIGITS} and not is_file(Path(given)):
        return _by_code(code, data_dir)
    if given.startswith(_PREFIX) or (len(given) > _LONGEST_NAME and not {*given} & {*"/\\"}):
        return read_invitation(given)
    path = Path(given)
    try:
        data = read_bytes(path, max_bytes=_MOST_BYTES)
    except FileNotFoundError:
        raise FedkitError(
            "is not there, and is no invitation's text and no code either",
            file=path,
            remedy=f"give the file, or the text that begins with {_PREFIX}",
        ) from None
    return read_invitation(data.decode("ascii", errors="replace"), path)


# ------------------------------------------------------------------------------------------------ short codes
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_AS_READ = str.maketrans("OIL", "011", "- ")
_SIGNS_OF_A_CODE = 16
_KEY_BITS, _SECRET_BITS = 26, 40
_MOST_ROOMS = 1000


def new_code(key: bytes, room: str, seat: int) -> str:
    """A seat's code, with a new secret. key : the teacher's."""
    while True:
        secret = secrets.randbits(_SECRET_BITS)
        value = ((seat << _KEY_BITS | _begin(key, room)) << _SECRET_BITS) | secret
        if value % 37 < len(_DIGITS):  # Crockford's other five are hard to type
            signs = "".join(_DIGITS[value >> 5 * at & 31] for at in range(14, -1, -1))
            signs += _DIGITS[value % 37]
            return "-".join(signs[at : at + 4] for at in range(0, _SIGNS_OF_A_CODE, 4))


def secret_of(code: str, key: bytes, room: str, email: str) -> str:
    """The seat's secret, in hex, from its code: dear on purpose."""
    salt = json.dumps([room, email, key.hex()]).encode()
    signs = code.translate(_AS_READ).encode()
    return hashlib.scrypt(signs, salt=salt, n=2**14, r=8, p=1, dklen=SECRET_BYTES).hex()


def publish_room(
    site: Datasite, teacher: bytes, room: str, project: str, emails: Sequence[str]
) -> None:
    """Write what is no secret, signed, to where everybody in a shared folder reads it."""
    values = {"room": room, "project": project, "aggregator": site.email, "road": site.road.name}
    values |= {"key": signing_key(teacher).hex(), "emails": list(emails)}  # type: ignore[dict-item]
    signature = sign(teacher, _signed(values)).hex()
    path = site.root / _OPEN / f"{room}.json"
    write_json(path, {"room": values, "signature": signature}, root=site.data_dir)


def _by_code(code: str, data_dir: Path | None) -> Invitation:
    value = int("".join(f"{_DIGITS.index(sign):05b}" for sign in code[:-1]), 2)
    seat = value >> (_KEY_BITS + _SECRET_BITS)
    if value % 37 != _DIGITS.index(code[-1]) or not 1 <= seat <= MOST_SEATS:
        raise FedkitError(
            "was mistyped: its last sign does not fit the others",
            field=code,
            remedy="compare it, sign by sign; O and 0 are one sign, and so are I, L and 1",
        )
    if data_dir is None:
        remedy = "share the room's folder as DIR/datasites, then give --data-dir DIR"
        raise FedkitError("is a code, and the rest lies in a folder", field=code, remedy=remedy)
    begin, found = value >> _SECRET_BITS & 2**_KEY_BITS - 1, set[Invitation]()
    for whose in entries(data_dir / "datasites")[:_MOST_ROOMS]:
        for path in entries(whose / _OPEN)[:_MOST_ROOMS]:
            with contextlib.suppress(FedkitError, ValueError, TypeError, LookupError):
                found.add(_opened(path, whose.name, data_dir, code, seat, begin))
    if len(found) != 1:
        raise FedkitError(
            f"opens {len(found) or 'no'} rooms of those that lie here",
            file=data_dir / "datasites",
            field=code,
            why="This must be the folder that the room shares, and its files must have come",
            remedy="wait for them; or ask the teacher for the invitation's file",
        )
    return found.pop()


def _opened(path: Path, whose: str, data_dir: Path, code: str, seat: int, begin: int) -> Invitation:
    """What a code is to a room that somebody has published. Raises ValueError and the like where it does not fit."""
    values = read_object(path, root=data_dir, max_bytes=MAX_STRANGERS_JSON_BYTES)
    said, signature = values["room"], bytes.fromhex(values["signature"])
    key, room, email = bytes.fromhex(said["key"]), said["room"], said["emails"][seat - 1]
    fits = len(key) == KEY_BYTES and _begin(key, room) == begin and said["aggregator"] == whose
    if not fits or not is_signed(key, signature, _signed(said)):
        raise ValueError
    names = {name: said[name] for name in ("room", "project", "aggregator", "road", "key")}
    secret = secret_of(code, key, check_name(room), check_email(email))
    return _checked(names | {"seat": seat, "email": email, "secret": secret})


def _signed(values: Mapping[str, Any]) -> bytes:
    return b"fedkit-room-1." + json.dumps(values, sort_keys=True).encode()


def _begin(key: bytes, room: str) -> int:
    """The first bits of what a code stands for."""
    digest = hashlib.sha256(key + room.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> (32 - _KEY_BITS)
