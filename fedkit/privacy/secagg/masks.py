"""Masks: noise that hides a vector completely, and that cancels in the sum of all.

(Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine learning", section 4.) Numbers are whole
and wrap around at 2^64, as on a clock: added to noise in which every value is equally likely, any number becomes noise in
which every value is equally likely. Notebook 10 builds these functions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

__all__ = ["Vector", "mask_stream", "pairwise_masks", "remove_masks"]


Vector = NDArray[np.uint64]
"""Whole numbers modulo 2^64, uint64 [D]."""


def mask_stream(key: bytes, count: int) -> Vector:
    """`count` numbers, each of 0 to 2^64 - 1 equally likely, from a key of 32 bytes: the key stream of ChaCha20 (RFC 8439).

    Who has the key gets the same numbers; who has not can't tell them from random ones. A key serves one vector only.
    """
    cipher = Cipher(ChaCha20(key, bytes(16)), mode=None)  # counter and nonce start at 0
    stream = cipher.encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)


def pairwise_masks(me: int, keys: Mapping[int, bytes], count: int) -> Vector:
    """The sum of the masks that participant `me` shares with each other one, uint64 [count].

    keys : for each other participant's number, the key that the two agreed on. Of each pair, the one with the smaller
    number adds the mask and the other one subtracts it.

    sum_{u<v} PRG(s_uv) - sum_{u>v} PRG(s_uv)   (Bonawitz et al. 2017, section 4.1)
    """
    total = np.zeros(count, dtype=np.uint64)
    for other, key in keys.items():
        if me < other:
            total += mask_stream(key, count)
        else:
            total -= mask_stream(key, count)
    return total


def remove_masks(total: Vector, dropped: int, keys: Mapping[int, bytes]) -> Vector:
    """The sum without the masks that survivors share with participant `dropped`, whose own vector never came.

    keys : for each survivor's number, the key that it shares with `dropped`. All masks of a pair add up to zero; so what is
    missing in the sum is the mask that `dropped` would have added.
    """
    return total + pairwise_masks(dropped, keys, len(total))
