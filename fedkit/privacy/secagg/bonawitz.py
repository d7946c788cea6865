"""Secure aggregation: the aggregator learns the sum of a round's updates, and nothing else about any of them.

Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine learning", figure 4. Each step is a
function of plain data; `secure_round.py` of the protocol's client and of its aggregator put them into files.

1. *keys*: everybody publishes two public keys, and a commitment to the seed of its self mask.
2. *deal*: everybody shares two secrets with the others (Shamir), each share sealed for the one who is to hold it.
3. *mask*: everybody sends  y_u = x_u + PRG(b_u) + sum_{v>u} PRG(s_uv) - sum_{v<u} PRG(s_uv)  (mod 2^64).
4. *agree*: everybody signs who has sent one, so that all see the same list.
5. *reveal*: everybody sends, of each who has sent one, its share of b; of each who has not, its share of the mask key.
   Never both of one person: with both, the aggregator could unmask it alone. That is why step 4 is there.
6. *unmask*: the aggregator joins the shares, takes the masks out of the sum of all y_u, and has the sum of all x_u.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from fedkit.base.errors import FedkitError
from fedkit.base.keys import agree, derive_key, new_secret, public_key, seal, unseal
from fedkit.privacy.secagg.fixedpoint import fixed_point_sum
from fedkit.privacy.secagg.masks import Vector, mask_stream, pairwise_masks, remove_masks
from fedkit.privacy.secagg.shamir import SHARE_BYTES, join_shares, split_secret

__all__ = ["Group", "PublicKeys", "Secrets", "deal", "mask", "open_shares", "reveal", "unmask"]


_TRIES = 500
"""So many sets of t shares are tried where some of them are wrong."""


@dataclass(frozen=True)
class Group:
    """One execution of the protocol.

    context : bytes that make it unlike every other one; keys agreed in it are good for nothing else.
    threshold : how many must answer to the end. numbers : each participant's number, from 1.
    """

    context: bytes
    threshold: int
    numbers: Mapping[str, int]

    def purpose(self, what: str, *who: str) -> bytes:
        """What a key is for, within this execution."""
        numbers = ".".join(str(self.numbers[name]) for name in who)
        return self.context + f"/{what}/{numbers}".encode()

    def enough(self, who: Collection[str], what: str) -> None:
        """Raises FedkitError if there are fewer than the threshold, or one of them does not belong here."""
        strangers = [name for name in who if name not in self.numbers]
        if strangers or len(who) < self.threshold:
            reason = f"names {strangers[0]!r:.80}" if strangers else f"has {len(who)}"
            raise FedkitError(
                f"{reason}, and {self.threshold} of the {len(self.numbers)} participants are needed",
                field=what,
                remedy="wait for more of them; nothing is told to fewer",
            )


@dataclass(frozen=True)
class PublicKeys:
    """What everybody may know of a participant: the keys for sealing and for masks, and a commitment to its self mask."""

    seal: bytes
    mask: bytes
    own: bytes


@dataclass(frozen=True)
class Secrets:
    """What nobody else may know of a participant, drawn anew for every execution: 32 bytes each.

    seal, mask : secret keys. own : the seed b of its self mask. dealing : the seed of the polynomials of its shares.
    """

    seal: bytes
    mask: bytes
    own: bytes
    dealing: bytes

    @classmethod
    def new(cls) -> Secrets:
        """Drawn by the operating system."""
        return cls(new_secret(), new_secret(), new_secret(), new_secret())

    def public(self) -> PublicKeys:
        """What may be published of them."""
        return PublicKeys(public_key(self.seal), public_key(self.mask), _commitment(self.own))


def deal(
    group: Group, me: str, secrets: Secrets, roster: Mapping[str, PublicKeys]
) -> dict[str, bytes]:
    """Step 2: for each other one of the roster, a share of the mask key and one of the self mask's seed, sealed for it.

    Raises FedkitError if the roster has other keys of mine, one key twice, or fewer than the threshold.
    """
    group.enough(roster, "roster")
    if roster.get(me) != secrets.public():
        raise FedkitError(
            f"has other keys of {me} than its own", field="roster", remedy="take no part in it"
        )
    every = [key for keys in roster.values() for key in (keys.seal, keys.mask)]
    if len(set(every)) < len(every):
        raise FedkitError("has one key twice", field="roster", remedy="take no part in it")
    mine = _own_shares(group, secrets)
    return {
        other: seal(
            agree(secrets.seal, keys.seal, group.purpose("seal", me, other)),
            mine[other],
            group.purpose("shares", me, other),
        )
        for other, keys in roster.items()
        if other != me
    }


def mask(
    group: Group,
    me: str,
    secrets: Secrets,
    roster: Mapping[str, PublicKeys],
    dealers: Collection[str],
    vector: Vector,
) -> Vector:
    """Step 3: the vector under its masks, uint64 [D]. dealers : who has dealt its shares, me among them.

    One execution masks one vector: two under the same masks show their difference. Raises FedkitError.
    """
    group.enough(dealers, "dealers")
    keys = {
        group.numbers[other]: _pair_key(group, secrets.mask, roster[other].mask)
        for other in dealers
        if other != me
    }
    masks = pairwise_masks(group.numbers[me], keys, len(vector))
    return vector + masks + mask_stream(_own_key(group, secrets.own), len(vector))


def open_shares(
    group: Group,
    me: str,
    secrets: Secrets,
    roster: Mapping[str, PublicKeys],
    sealed: Mapping[str, bytes],
) -> dict[str, tuple[bytes, bytes]]:
    """Shares by dealer (of its mask key, of its self mask's seed), mine among them. Raises FedkitError."""
    opened = {me: _own_shares(group, secrets)[me]}
    for dealer, content in sealed.items():
        key = agree(secrets.seal, roster[dealer].seal, group.purpose("seal", dealer, me))
        try:
            opened[dealer] = unseal(key, content, group.purpose("shares", dealer, me))
        except FedkitError as error:
            raise FedkitError(
                f"shares of {dealer} {error.what}", why=error.why, remedy="take no part in it"
            ) from error
    return {who: (both[:SHARE_BYTES], both[SHARE_BYTES:]) for who, both in opened.items()}


def reveal(
    group: Group, shares: Mapping[str, tuple[bytes, bytes]], survivors: Collection[str]
) -> dict[str, bytes]:
    """Step 5: one share of each dealer: of its self mask's seed if it survived, else of its mask key.

    Raises FedkitError if the survivors are too few.
    """
    group.enough(survivors, "survivors")
    return {who: own if who in survivors else mask for who, (mask, own) in shares.items()}


def unmask(
    group: Group,
    roster: Mapping[str, PublicKeys],
    dealers: Collection[str],
    masked: Mapping[str, Vector],
    answers: Mapping[str, Mapping[str, bytes]],
) -> Vector:
    """Step 6: the sum of the survivors' vectors, uint64 [D].

    masked : by survivor, what it sent. answers : by participant, what it revealed (a share by dealer); any t will do.
    Wrong shares are noticed and passed over. Raises FedkitError if there are too few, or too few that fit.
    """
    group.enough(masked, "survivors")
    group.enough(answers, "answers")
    total, count = fixed_point_sum(list(masked.values())), len(next(iter(masked.values())))
    for who in masked:
        own = _join(group, who, answers, _commitment, roster[who].own)
        total -= mask_stream(_own_key(group, own), count)
    for who in dealers:
        if who not in masked:
            key = _join(group, who, answers, public_key, roster[who].mask)
            keys = {group.numbers[v]: _pair_key(group, key, roster[v].mask) for v in masked}
            total = remove_masks(total, group.numbers[who], keys)
    return total


def _own_shares(group: Group, secrets: Secrets) -> dict[str, bytes]:
    """For everybody of the group, its share of the mask key and its share of the self mask's seed."""
    places = list(group.numbers.values())
    of_mask, of_own = (
        split_secret(
            secret, group.threshold, places, derive_key(secrets.dealing, group.purpose(what))
        )
        for secret, what in ((secrets.mask, "mask"), (secrets.own, "own"))
    )
    return {who: of_mask[number] + of_own[number] for who, number in group.numbers.items()}


def _join(
    group: Group,
    who: str,
    answers: Mapping[str, Mapping[str, bytes]],
    public: Callable[[bytes], bytes],
    known: bytes,
) -> bytes:
    """The secret of `who` from the first t shares that give one whose public side is known."""
    shares = {
        group.numbers[e]: a[who] for e, a in answers.items() if len(a.get(who, b"")) == SHARE_BYTES
    }
    for places in itertools.islice(itertools.combinations(sorted(shares), group.threshold), _TRIES):
        try:
            secret = join_shares({x: shares[x] for x in places})
        except FedkitError:
            continue
        if public(secret) == known:
            return secret
    raise FedkitError(
        f"do not fit the keys of {who}", field="answers", remedy="wait for more answers"
    )


def _pair_key(group: Group, secret: bytes, other: bytes) -> bytes:
    return agree(secret, other, group.purpose("pair"))


def _own_key(group: Group, own: bytes) -> bytes:
    return derive_key(own, group.purpose("own"))


def _commitment(own: bytes) -> bytes:
    return hashlib.sha256(own).digest()
