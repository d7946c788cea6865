"""Shares by property: any t give the secret back, fewer say nothing about it."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedkit.base import keys
from fedkit.base.errors import FedkitError
from fedkit.privacy.secagg import shamir

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
