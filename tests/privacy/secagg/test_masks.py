"""What secure aggregation stands on: keys against the RFCs' vectors, masks against another ChaCha20, shares by property."""

from __future__ import annotations

import contextlib
import hmac
import itertools
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fedkit as fk
from fedkit.base import keys
from fedkit.base.errors import FedkitError
from fedkit.privacy.secagg import masks, shamir

SECRET_A = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
PUBLIC_A = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
SECRET_B = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
COMMON = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


# --------------------------------------------------------------------------------------- keys
def test_the_agreement_is_x25519_then_hkdf_as_in_their_rfcs() -> None:
    """RFC 7748, section 6.1; RFC 5869, section 2, written out with HMAC."""
    assert keys.public_key(SECRET_A) == PUBLIC_A
    pseudo_random = hmac.digest(bytes(32), COMMON, "sha256")
    wanted = hmac.digest(pseudo_random, b"masks" + b"\x01", "sha256")
    assert keys.agree(SECRET_A, keys.public_key(SECRET_B), b"masks") == wanted
    assert keys.agree(SECRET_B, PUBLIC_A, b"masks") == wanted
    assert keys.agree(SECRET_B, PUBLIC_A, b"seals") != wanted


def test_secrets_are_new_each_time_whatever_the_seed() -> None:
    drawn = set()
    for _ in range(50):
        fk.generator(0, "same seed")
        drawn.add(keys.new_secret())
    assert len(drawn) == 50
    assert {len(secret) for secret in drawn} == {32}


@pytest.mark.parametrize("point", [bytes(32), b"short", b""])
def test_what_is_no_public_key_is_refused(point: bytes) -> None:
    with pytest.raises(FedkitError, match="public key"):
        keys.agree(SECRET_A, point, b"")


def test_what_is_sealed_opens_unchanged_for_the_right_key_and_purpose_alone() -> None:
    key, content = keys.new_secret(), b"two shares"
    sealed = keys.seal(key, content, b"round 1, alice to bob")
    assert content not in sealed
    assert len(sealed) == len(content) + 16
    assert keys.unseal(key, sealed, b"round 1, alice to bob") == content
    flipped = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    wrong = [(key, bad, b"round 1, alice to bob") for bad in (*flipped, sealed[:-1], b"")]
    wrong += [(key, sealed, b"round 2, alice to bob"), (keys.new_secret(), sealed, b"round 1")]
    for other_key, bad, about in wrong:
        with pytest.raises(FedkitError, match="unsealed"):
            keys.unseal(other_key, bad, about)


def test_signatures_are_ed25519_as_in_its_rfc() -> None:
    """RFC 8032, section 7.1, test 1."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert keys.signing_key(secret) == key
    signature = keys.sign(secret, b"")
    assert signature.hex().startswith(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    )
    assert keys.is_signed(key, signature, b"")
    assert not keys.is_signed(key, signature, b"x")
    assert not keys.is_signed(keys.signing_key(SECRET_A), signature, b"")
    assert not keys.is_signed(key, signature[:-1], b"")
    assert not keys.is_signed(b"no key", signature, b"")


# -------------------------------------------------------------------------------------- masks
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


# ------------------------------------------------------------------------------------- shares
SECRETS = st.binary(min_size=32, max_size=32)


@given(secret=SECRETS, data=st.data(), count=st.integers(1, 12))
@example(secret=b"\xff" * 32, data=None, count=3)
@example(secret=bytes(32), data=None, count=3)
def test_any_t_shares_give_the_secret_back(secret: bytes, data: st.DataObject, count: int) -> None:
    threshold = data.draw(st.integers(1, count)) if data else 2
    shares = shamir.split_secret(secret, threshold, range(1, count + 1))
    assert {len(share) for share in shares.values()} == {shamir.SHARE_BYTES}
    order = data.draw(st.permutations(sorted(shares))) if data else [3, 1, 2]
    for size in (threshold, count):
        assert shamir.join_shares({x: shares[x] for x in order[:size]}) == secret


@given(secret=SECRETS, other=SECRETS, threshold=st.integers(2, 6))
def test_fewer_shares_fit_every_secret_alike(secret: bytes, other: bytes, threshold: int) -> None:
    """t - 1 shares and any other secret: there is a t-th share with which exactly that one comes out."""
    shares = shamir.split_secret(secret, threshold, range(1, threshold + 1))
    known = {x: int.from_bytes(s, "big") for x, s in shares.items() if x < threshold}
    weights = shamir.weights_at_zero(tuple(shares))
    rest = int.from_bytes(other, "big") - sum(weights[x] * value for x, value in known.items())
    last = rest * pow(weights[threshold], -1, shamir.PRIME) % shamir.PRIME
    shares[threshold] = last.to_bytes(shamir.SHARE_BYTES, "big")
    assert shamir.join_shares(shares) == other


def test_in_a_small_field_two_shares_say_nothing_about_a_secret_of_three() -> None:
    """Every polynomial of degree 2 over the field of 7: for each secret, each pair of shares is equally frequent."""
    prime = 7
    for secret in range(prime):
        seen = Counter(
            (shamir.evaluate([secret, b, c], 1, prime), shamir.evaluate([secret, b, c], 4, prime))
            for b in range(prime)
            for c in range(prime)
        )
        assert seen == Counter(itertools.product(range(prime), repeat=2))


def test_the_field_is_a_field_that_holds_every_secret() -> None:
    """Fermat's test with many bases; and no smaller number above 2^256 passes it."""
    assert all(pow(base, shamir.PRIME - 1, shamir.PRIME) == 1 for base in range(2, 60))
    below = range(2**256 + 1, shamir.PRIME, 2)
    assert all(pow(3, n - 1, n) != 1 for n in below)


def test_shares_are_as_random_as_their_seed() -> None:
    secret, places = keys.new_secret(), range(1, 4)
    seed = keys.new_secret()
    assert shamir.split_secret(secret, 2, places, seed) == shamir.split_secret(
        secret, 2, places, seed
    )
    assert shamir.split_secret(secret, 2, places) != shamir.split_secret(secret, 2, places)
    more = shamir.split_secret(secret, 2, range(1, 9), seed)
    assert {x: more[x] for x in places} == shamir.split_secret(secret, 2, places, seed)


@pytest.mark.parametrize(
    ("threshold", "positions", "field"),
    [
        (0, [1, 2], "threshold"),
        (3, [1, 2], "threshold"),
        (1, [0, 1], "positions"),
        (2, [1, 1], "pos"),
    ],
)
def test_what_can_not_be_shared_is_refused(
    threshold: int, positions: list[int], field: str
) -> None:
    with pytest.raises(FedkitError) as caught:
        shamir.split_secret(bytes(32), threshold, positions)
    assert str(caught.value.field).startswith(field)
    assert caught.value.remedy
    with pytest.raises(FedkitError, match="31 bytes"):
        shamir.split_secret(bytes(31), 1, [1])


def test_wrong_shares_give_something_else_or_are_refused() -> None:
    secret = keys.new_secret()
    shares = shamir.split_secret(secret, 3, range(1, 6))
    wrong = {1: shares[2], 2: shares[1], 3: shares[3]}
    with contextlib.suppress(FedkitError):  # now and then, what comes out is above 2^256
        assert shamir.join_shares(wrong) != secret
    with pytest.raises(FedkitError, match="do not fit together"):
        shamir.join_shares({1: (2**256 + 1).to_bytes(33, "big")})
