"""Sealing: AES-256-GCM, each value bound to the place where it lies.

A sealed value is a version byte, a random nonce of 96 bits, the ciphertext and its tag of 128 bits
(NIST SP 800-38D). Among 2**32 values of one key two nonces meet with a chance of 2**-32; a device
seals some thousand in a year.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
OVERHEAD = len(_VERSION) + _NONCE_BYTES + _TAG_BYTES


class SealBroken(ValueError):
    """A sealed value was changed, moved to another place, or sealed under another key."""


class Sealer:
    """Seals and opens values under one random key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, content: bytes, *place: str) -> bytes:
        """Encrypt a value for one place (table, row, field), where alone it can be opened."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, content, _bound(place))

    def open(self, sealed: object, *place: str) -> bytes:
        """Decrypt a value that was sealed for this place. Raises `SealBroken` for any other."""
        if not isinstance(sealed, bytes) or len(sealed) < OVERHEAD or sealed[:1] != _VERSION:
            raise SealBroken("it is not sealed as it should be")
        nonce, content = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, content, _bound(place))
        except InvalidTag:
            raise SealBroken("its seal does not fit") from None


def derive(secret: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key for one purpose, by HKDF with SHA-256 (RFC 5869) from a secret as random as a key."""
    return HKDF(SHA256(), length, salt=None, info=b"edge-voice " + purpose.encode()).derive(secret)


def mark(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 of texts: equal for equal ones, and nothing else to anyone without the key."""
    return hmac.new(key, _bound(parts), hashlib.sha256).digest()


def _bound(parts: tuple[str, ...]) -> bytes:
    # Lengths beside the texts: ("ab", "c") and ("a", "bc") are two places.
    encoded = [part.encode() for part in parts]
    return b"".join(len(each).to_bytes(4, "big") + each for each in encoded)
