"""Keys against the RFCs' vectors: agreed, sealed and signed by two, and by nobody else."""

from __future__ import annotations

import hmac

import pytest

import fedkit as fk
from fedkit.base import keys
from fedkit.base.errors import FedkitError

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
