"""Secure aggregation in files: which message lies where, who signed it, and for which round of which project it is good.

A participant's messages lie in its inbox at the aggregator as `secagg_<round>_<step>.msg`, the aggregator's in the
participant's `agg_weights/` as `secagg_<round>_<list>.json`. No real app takes notice of either name: it
looks at `*.pt` there, and at `trained_model_round_<n>.pt`. That is why a masked update does not bear that name: read as
weights, it would be noise.

Everybody signs with a key that lies in its private folder and whose public side it publishes in its own `public/`, where
nobody else may write. So the aggregator, which carries all messages, can neither change one nor invent a participant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.files import remove
from fedkit.base.keys import is_signed, sign
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.secagg.bonawitz import Group, PublicKeys

__all__ = [
    "STEPS",
    "Message",
    "group_of",
    "hexed",
    "open_message",
    "remove_round",
    "roster_digest",
    "write_message",
]


STEPS = ("keys", "shares", "masked", "agreed", "revealed")
"""What a participant sends in a round, in this order."""

_SIGNATURE = 128  # of an Ed25519 signature in hex
_MAX_HEADER = 2**20


@dataclass(frozen=True)
class Message:
    """What a participant says in one step.

    about : what it refers to: what was trained from, the digest of the roster, the lists of those who have dealt and of
    those who survived.
    """

    sender: str
    about: Mapping[str, Any]
    body: bytes

    def values(self) -> dict[str, bytes]:
        """The body as bytes by name. Raises FedkitError."""
        try:
            return {str(k): bytes.fromhex(v) for k, v in json.loads(self.body).items()}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FedkitError(
                f"message of {self.sender} can't be read", remedy="ask for it again"
            ) from error


def hexed(values: Mapping[str, bytes]) -> dict[str, str]:
    """Bytes by name as JSON can hold them."""
    return {name: value.hex() for name, value in values.items()}


def group_of(config: FLConfig, config_sha256: str, n: int, asked: tuple[str, ...]) -> Group:
    """The execution of round n. Its context ties keys and signatures to the approved config, round and people."""
    assert config.secure_aggregation is not None
    context = json.dumps(["fedkit secure aggregation 1", config_sha256, n, list(asked)])
    numbers = {email: number for number, email in enumerate(config.participants, start=1)}
    return Group(
        hashlib.sha256(context.encode()).digest(),
        config.secure_aggregation.threshold,
        {email: numbers[email] for email in asked if email in numbers},
    )


def remove_round(folder: Path, n: int) -> None:
    """Remove what the secure aggregation of round n has left in a folder."""
    for path in folder.glob(f"secagg_{n}_*"):
        remove(path)


def write_message(secret: bytes, group: Group, n: int, step: str, message: Message) -> bytes:
    """Signature, header and body; the signature covers the header, which has the hash of the body."""
    header = {
        "about": dict(message.about),
        "body": hashlib.sha256(message.body).hexdigest(),
        "context": group.context.hex(),
        "from": message.sender,
        "round": n,
        "step": step,
    }
    line = json.dumps(header, sort_keys=True).encode()
    return sign(secret, line).hex().encode() + b"\n" + line + b"\n" + message.body


def open_message(data: bytes, key: bytes, group: Group, n: int, step: str, sender: str) -> Message:
    """The message, if `sender` signed exactly this for this step of this round. Raises FedkitError with the reason."""
    signature, _, rest = data.partition(b"\n")
    line, _, body = rest.partition(b"\n")
    try:
        fits = len(signature) == _SIGNATURE and len(line) < _MAX_HEADER
        if not (fits and is_signed(key, bytes.fromhex(signature.decode("ascii")), line)):
            raise ValueError
        header = json.loads(line)
        about = dict(header["about"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _refused(
            f"is not signed by {sender}", "It was altered, or somebody else wrote it"
        ) from None
    wanted = {"from": sender, "step": step, "round": n, "context": group.context.hex()}
    for name, value in wanted.items():
        if header.get(name) != value:
            what = {
                "context": "belongs to another project, config or set of participants",
                "round": f"belongs to round {header.get('round')}, not to round {n}",
            }.get(name, f"says {name} {header.get(name)!r:.60}, not {value!r}")
            raise _refused(what, "It is an old message, sent again")
    if header.get("body") != hashlib.sha256(body).hexdigest():
        raise _refused("was altered", "Its body is not the one that was signed")
    return Message(sender, about, body)


def roster_digest(roster: Mapping[str, PublicKeys]) -> str:
    """SHA-256 of who takes part with which keys; everybody must have the same."""
    rows = [[e, k.seal.hex(), k.mask.hex(), k.own.hex()] for e, k in sorted(roster.items())]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _refused(what: str, why: str) -> FedkitError:
    return FedkitError(what, why=why, remedy="ask its sender for the message of this round")
