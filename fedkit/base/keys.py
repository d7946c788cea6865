"""Keys of secure aggregation: two people agree on a secret in public, seal what only one may read, and sign.

All of it is done by the package `cryptography`: X25519 (RFC 7748), HKDF with SHA-256 (RFC 5869),
ChaCha20-Poly1305 (RFC 8439), Ed25519 (RFC 8032). Secrets come from the operating system, never from a seed:
who knows the seed would know the secret.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedkit.base.errors import FedkitError

__all__ = [
    "KEY_BYTES",
    "agree",
    "derive_key",
    "is_signed",
    "new_secret",
    "public_key",
    "seal",
    "sign",
    "signing_key",
    "unseal",
]


KEY_BYTES = 32
"""Every secret and every public key here has so many bytes."""

_NONCE = bytes(12)  # each key seals one message, so the nonce may be the same


def new_secret() -> bytes:
    """32 random bytes from the operating system: a secret key, or a seed."""
    return secrets.token_bytes(KEY_BYTES)


def public_key(secret: bytes) -> bytes:
    """The X25519 public key (32 bytes) that belongs to a secret; anybody may know it."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agree(secret: bytes, other: bytes, purpose: bytes) -> bytes:
    """The 32 bytes that only the owners of the two keys can compute, each from its secret and the other's public key.

    purpose : whatever the bytes are for; another purpose gives other bytes. Raises FedkitError if `other` is no public key.
    """
    try:
        common = X25519PrivateKey.from_private_bytes(secret).exchange(
            X25519PublicKey.from_public_bytes(other)
        )
    except ValueError as error:  # of a wrong length, or one of the few points that hide nothing
        raise FedkitError(
            f"is no public key ({error})", field="public key", remedy="ask its owner for another"
        ) from error
    return derive_key(common, purpose)


def derive_key(material: bytes, purpose: bytes) -> bytes:
    """32 bytes from secret material, for one purpose (HKDF)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(material)


def seal(key: bytes, content: bytes, about: bytes) -> bytes:
    """Encrypt `content`: 16 bytes more, which nobody without the key can read, change, or pass off as something else.

    about : what it is about; whoever opens it must say the same. A key seals one message only.
    """
    return ChaCha20Poly1305(key).encrypt(_NONCE, content, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """The content that was sealed. Raises FedkitError if anything about it was changed on the way."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, about)
    except InvalidTag:
        raise FedkitError(
            "can't be unsealed",
            why="It was changed on the way, or sealed for somebody else or for another round",
            remedy="ask for it again",
        ) from None


def signing_key(secret: bytes) -> bytes:
    """The Ed25519 public key (32 bytes) with which others check what the owner of `secret` has signed."""
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def sign(secret: bytes, content: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes; the same content gives the same signature."""
    return Ed25519PrivateKey.from_private_bytes(secret).sign(content)


def is_signed(key: bytes, signature: bytes, content: bytes) -> bool:
    """Did the owner of this `signing_key` sign exactly this content?"""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
