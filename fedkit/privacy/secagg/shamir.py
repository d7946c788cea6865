"""Shamir's secret sharing: a secret in n shares, of which any t give it back, and fewer say nothing about it.

(Shamir 1979, "How to share a secret".) The secret is the value at 0 of a random polynomial of degree t - 1 over a prime
field; a share is its value at one of 1, 2, ..., n. Through t points goes one such polynomial, and so does one through any
t - 1 of them and any other secret.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedkit.base.errors import FedkitError
from fedkit.base.keys import KEY_BYTES, new_secret

__all__ = ["PRIME", "SHARE_BYTES", "evaluate", "join_shares", "split_secret", "weights_at_zero"]


PRIME = 2**256 + 297
"""The smallest prime above 2^256: every secret of 32 bytes is a number below it."""

SHARE_BYTES = 33
_DRAW_BYTES = 48  # 128 bits more than the field, so that the remainder is as good as even


def split_secret(
    secret: bytes, threshold: int, positions: Iterable[int], seed: bytes | None = None
) -> dict[int, bytes]:
    """A share (33 bytes) for each position (a number from 1); any `threshold` of them give the 32 bytes of `secret` back.

    seed : 32 secret bytes that the polynomial derives from, so that the same call gives the same shares; None draws them.
    Raises FedkitError if the positions are not distinct numbers from 1, or fewer than the threshold.
    """
    places = list(positions)
    if len(set(places)) < len(places) or min(places, default=0) < 1:
        raise FedkitError(
            f"{places} are no distinct numbers from 1", field="positions", remedy="count from 1"
        )
    if not 1 <= threshold <= len(places):
        raise FedkitError(
            f"{threshold} of {len(places)} shares can't be asked for",
            field="threshold",
            remedy=f"choose one from 1 to {len(places)}",
        )
    if len(secret) != KEY_BYTES:
        raise FedkitError(
            f"has {len(secret)} bytes", field="secret", remedy=f"share {KEY_BYTES} bytes"
        )
    numbers = _numbers(seed or new_secret(), threshold - 1)
    polynomial = [int.from_bytes(secret, "big"), *numbers]
    return {x: evaluate(polynomial, x).to_bytes(SHARE_BYTES, "big") for x in places}


def join_shares(shares: Mapping[int, bytes]) -> bytes:
    """The secret (32 bytes) from shares by position: as many as the threshold was, or more.

    With fewer, or with wrong ones, something else comes out. Raises FedkitError where that can't be a secret at all.
    """
    weights = weights_at_zero(tuple(sorted(shares)))
    total = sum(weights[x] * int.from_bytes(share, "big") for x, share in shares.items()) % PRIME
    if total >= 2 ** (8 * KEY_BYTES):
        raise FedkitError(
            "do not fit together", field="shares", remedy="leave out the one that is wrong"
        )
    return total.to_bytes(KEY_BYTES, "big")


def evaluate(polynomial: Sequence[int], x: int, prime: int = PRIME) -> int:
    """a_0 + a_1 x + a_2 x^2 + ... modulo the prime (Horner's rule)."""
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * x + coefficient) % prime
    return value


@lru_cache(maxsize=256)
def weights_at_zero(positions: tuple[int, ...], prime: int = PRIME) -> dict[int, int]:
    """Lagrange's weights: f(0) = sum_x weight_x f(x), weight_x = prod_{y != x} y / (y - x), modulo the prime."""
    weights = {}
    for x in positions:
        others = [y for y in positions if y != x]
        below = math.prod(y - x for y in others) % prime
        weights[x] = math.prod(others) * pow(below, -1, prime) % prime
    return weights


def _numbers(seed: bytes, count: int) -> list[int]:
    """`count` numbers of the field from a seed."""
    cipher = Cipher(ChaCha20(seed, bytes(16)), mode=None)
    stream = cipher.encryptor().update(bytes(_DRAW_BYTES * count))
    parts = (stream[i : i + _DRAW_BYTES] for i in range(0, len(stream), _DRAW_BYTES))
    return [int.from_bytes(part, "big") % PRIME for part in parts]
