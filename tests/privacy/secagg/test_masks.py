"""Masks against another ChaCha20: a key stream each, and together they add up to nothing."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedkit.base import keys
from fedkit.privacy.secagg import masks


def chacha20_block(key: bytes, counter: int) -> bytes:
    """RFC 8439, section 2.3, in plain Python; the nonce is zero."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<8I", key)]
    start += [counter, 0, 0, 0]
    state = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) % 2**32
            mixed = state[z] ^ state[x]
            state[z] = (mixed << turn | mixed >> (32 - turn)) % 2**32

    for _ in range(10):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            shifted = ((column + step) % 4 for step in (1, 2, 3))
            b, c, d = shifted
            quarter(column, 4 + b, 8 + c, 12 + d)
    return struct.pack("<16I", *((x + y) % 2**32 for x, y in zip(state, start, strict=True)))


def test_the_oracle_is_the_one_of_the_rfc() -> None:
    """RFC 8439, appendix A.1, test vector 1."""
    assert chacha20_block(bytes(32), 0)[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"


@given(key=st.binary(min_size=32, max_size=32), count=st.integers(0, 40))
def test_a_mask_is_the_key_stream_of_chacha20(key: bytes, count: int) -> None:
    stream = b"".join(chacha20_block(key, block) for block in range(count // 8 + 1))
    wanted = struct.unpack(f"<{count}Q", stream[: 8 * count])
    got = masks.mask_stream(key, count)
    assert got.dtype == np.uint64
    assert got.tolist() == list(wanted)


def agreed(count: int) -> dict[int, dict[int, bytes]]:
    """A key for each pair of participants 1 to `count`."""
    pairs = {pair: keys.new_secret() for pair in itertools.combinations(range(1, count + 1), 2)}
    return {
        u: {v: pairs[min(u, v), max(u, v)] for v in range(1, count + 1) if v != u}
        for u in range(1, count + 1)
    }


@pytest.mark.parametrize("count", [2, 3, 7])
def test_all_pairwise_masks_add_up_to_zero(count: int) -> None:
    shared = agreed(count)
    all_of_them = [masks.pairwise_masks(u, shared[u], 50) for u in shared]
    assert all(mask.any() for mask in all_of_them)
    assert not sum(all_of_them).any()


@given(gone=st.sets(st.integers(1, 6), max_size=5))
@example(gone=set())
def test_masks_of_those_who_dropped_out_can_be_taken_out(gone: set[int]) -> None:
    shared, staying = agreed(6), [u for u in range(1, 7) if u not in gone]
    inputs = {u: np.arange(20, dtype=np.uint64) * np.uint64(u) for u in shared}
    total = sum(inputs[u] + masks.pairwise_masks(u, shared[u], 20) for u in staying)
    wanted = sum(inputs[u] for u in staying)
    assert bool((total != wanted).any()) == bool(gone)
    for v in gone:
        total = masks.remove_masks(total, v, {u: shared[v][u] for u in staying})
    assert total.tolist() == wanted.tolist()
