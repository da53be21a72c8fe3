"""Signatures of messages: who sent them, and that nothing in them was changed.

What is signed is

    edge-voice/1 LF domain LF algorithm LF key id LF canonical form

where the canonical form (edge/crypto/canonical.py) is that of the message without its member
`signature`. The domain says what kind of message it is, so that a signed status can never pass for
a signed decision; algorithm and key id are there so that neither can be exchanged. None of the
three holds a line feed. The signature is an object beside the other members:

    "signature": {"algorithm": "ed25519", "key_id": "3b1c...", "value": "base64"}

HMAC-SHA256 (RFC 2104) is the fastest and fits the smallest lock, but anyone who can verify can also
sign: a stolen lock reveals the key. With Ed25519 (RFC 8032) the lock only knows a public key.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.crypto.canonical import canonical
from edge.errors import ConfigError, EnvironmentFault, InputError
from edge.private_files import read_secret, reason, write_file

HMAC = "hmac-sha256"
ED25519 = "ed25519"
ALGORITHMS = (ED25519, HMAC)

DECISION = "decision"
DURESS = "duress"
CHALLENGE = "challenge"
COMMAND = "command"
RESULT = "result"
ENROLLMENT = "enrollment"
DOMAINS = (DECISION, DURESS, CHALLENGE, COMMAND, RESULT, ENROLLMENT)

_PREFIX = "edge-voice/1"
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_KEY_BYTES = 4096
_LEAST_HMAC_BYTES = 32
_MOST_HMAC_BYTES = 64


class Verifier(Protocol):
    """A key that can verify signatures."""

    key_id: str
    algorithm: str

    def genuine(self, data: bytes, value: bytes) -> bool:
        """Whether `value` is this key's signature of `data`."""
        ...


class HmacKey:
    """A key that both sides know, 32 to 64 bytes; without an id, a derived one reveals nothing."""

    algorithm = HMAC

    def __init__(self, secret: bytes, key_id: str | None = None) -> None:
        if not _LEAST_HMAC_BYTES <= len(secret) <= _MOST_HMAC_BYTES:
            raise ValueError("a shared key has 32 to 64 bytes")
        self._secret = secret
        derived = hmac.new(secret, b"edge-voice key id", hashlib.sha256).hexdigest()[:16]
        self.key_id = _checked_id(key_id or derived)

    def sign(self, data: bytes) -> bytes:
        """The 32 bytes of the signature."""
        return hmac.new(self._secret, data, hashlib.sha256).digest()

    def genuine(self, data: bytes, value: bytes) -> bool:
        """Whether `value` is this key's signature of `data`, compared in constant time."""
        return hmac.compare_digest(self.sign(data), value)


class PublicKey:
    """The half of an Ed25519 key, 32 bytes, that can only verify; `ValueError` for no such key."""

    algorithm = ED25519

    def __init__(self, raw: bytes, key_id: str | None = None) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.raw = raw
        self.key_id = _checked_id(key_id or hashlib.sha256(raw).hexdigest()[:16])

    @property
    def text(self) -> str:
        """The key as one line of base64."""
        return base64.b64encode(self.raw).decode("ascii")

    def genuine(self, data: bytes, value: bytes) -> bool:
        """Whether `value` is this key's signature of `data`."""
        try:
            self._key.verify(value, data)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """An Ed25519 key of 32 bytes that signs; without an id, one is derived from the public half."""

    algorithm = ED25519

    def __init__(self, raw: bytes, key_id: str | None = None) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw(), key_id)
        self.key_id = self.public.key_id

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(data)

    def genuine(self, data: bytes, value: bytes) -> bool:
        """Whether `value` is this key's signature of `data`."""
        return self.public.genuine(data, value)


class SigningKey(Verifier, Protocol):
    """A key that can sign."""

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes."""
        ...


def signed(message: Mapping[str, Any], domain: str, key: SigningKey) -> dict[str, Any]:
    """A message with its signature last, in place of a former one. Raises `MessageProblem`."""
    bare = {name: value for name, value in message.items() if name != "signature"}
    value = key.sign(_bytes_to_sign(bare, domain, key))
    signature = {
        "algorithm": key.algorithm,
        "key_id": key.key_id,
        "value": base64.b64encode(value).decode("ascii"),
    }
    return {**bare, "signature": signature}


def is_genuine(message: Mapping[str, Any], domain: str, key: Verifier) -> bool:
    """Whether a message has this key's signature for this domain; its key id is only compared."""
    parts = signature_of(message)
    if parts is None or parts[:2] != (key.algorithm, key.key_id):
        return False
    bare = {name: value for name, value in message.items() if name != "signature"}
    return key.genuine(_bytes_to_sign(bare, domain, key), parts[2])


def signature_of(message: Mapping[str, Any]) -> tuple[str, str, bytes] | None:
    """Algorithm, key id and value of a message's signature; None where it has no proper one."""
    signature = message.get("signature")
    if not isinstance(signature, Mapping) or set(signature) != {"algorithm", "key_id", "value"}:
        return None
    algorithm, key_id, value = (signature[name] for name in ("algorithm", "key_id", "value"))
    if algorithm not in ALGORITHMS or not isinstance(key_id, str) or not isinstance(value, str):
        return None
    try:
        content = base64.b64decode(value)
    except ValueError:
        return None
    # Other texts stand for the same bytes: with spaces, or with bits in the last one that none has.
    return (algorithm, key_id, content) if base64.b64encode(content).decode() == value else None


def read_signing_key(file: Path, algorithm: str, setting: str) -> SigningKey:
    """The key that signs, from a file of mode 600 or a systemd credential.

    For HMAC, 64 to 128 hexadecimal digits in one line; for Ed25519, PEM (PKCS #8, unencrypted) or
    its 32 bytes.

    Raises:
        ConfigError: the file cannot be read, is open to others, or holds no such key.
    """
    data = read_secret(file, setting, _MAX_KEY_BYTES)
    try:
        if algorithm == HMAC:
            return HmacKey(_hexadecimal(data))
        return _private_key(data)
    except ValueError:
        form = "64 to 128 hexadecimal digits" if algorithm == HMAC else "an unencrypted PEM key"
        raise ConfigError(
            f"{file}: {setting} holds no key for {algorithm} ({form}); "
            f"make one with: edge-voice signing new-key FILE --algorithm {algorithm}"
        ) from None


def key_in(file: Path, key_id: str | None = None) -> SigningKey:
    """A key that signs, of either algorithm, as `read_signing_key`; None derives its id."""
    data = read_secret(file, "the key", _MAX_KEY_BYTES)
    with contextlib.suppress(ValueError):
        return _private_key(data, key_id)
    with contextlib.suppress(ValueError):
        return HmacKey(_hexadecimal(data), key_id)
    raise ConfigError(
        f"{file}: holds no key, or the id cannot be used; "
        "make a key with: edge-voice signing new-key FILE"
    )


def read_verifying_key(file: Path) -> Verifier:
    """A key that verifies: a public key as base64, or a shared key. Raises `ConfigError`."""
    try:
        text = file.read_bytes()[:_MAX_KEY_BYTES].decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); check its name") from None
    with contextlib.suppress(ValueError):
        return PublicKey(base64.b64decode(text, validate=True))
    try:
        return HmacKey(_hexadecimal(text.encode()))
    except ValueError:
        raise ConfigError(
            f"{file}: holds neither a public key (edge-voice signing public-key) nor a shared one"
        ) from None


def verifier(algorithm: str, key: str, key_id: str) -> Verifier:
    """A verifying key from hexadecimal (shared) or base64 (public). Raises `ValueError`."""
    if algorithm == HMAC:
        return HmacKey(_hexadecimal(key.encode("utf-8")), key_id)
    if algorithm != ED25519:
        raise ValueError("no such algorithm")
    return PublicKey(base64.b64decode(key, validate=True), key_id)


def new_key(algorithm: str) -> tuple[SigningKey, bytes]:
    """A new random key, and the content of its file."""
    if algorithm == HMAC:
        secret = secrets.token_bytes(_LEAST_HMAC_BYTES)
        return HmacKey(secret), secret.hex().encode("ascii") + b"\n"
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - takes 1 MB

    private = Ed25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return PrivateKey(private.private_bytes_raw()), text


def write_key(file: Path, content: bytes) -> None:
    """Write a key to a new file of mode 600.

    Raises:
        InputError: the file exists.
        EnvironmentFault: it cannot be written.
    """
    try:
        write_file(file, content)
    except FileExistsError:
        raise InputError(
            f"{file}: already exists; a key is never replaced, name another file"
        ) from None
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: cannot be written ({reason(error)}); check its folder"
        ) from None


def _bytes_to_sign(bare: Mapping[str, Any], domain: str, key: Verifier) -> bytes:
    if domain not in DOMAINS:
        raise ValueError(f"no such domain: {domain}")
    head = "\n".join((_PREFIX, domain, key.algorithm, key.key_id, ""))
    return head.encode("ascii") + canonical(bare)


def _checked_id(key_id: str) -> str:
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError("a key's id has 1 to 64 letters, digits, or - _ .")
    return key_id


def _private_key(data: bytes, key_id: str | None = None) -> PrivateKey:
    return PrivateKey(data if len(data) == 32 else _private_bytes(data), key_id)


def _hexadecimal(data: bytes) -> bytes:
    text = data.decode("ascii").strip()
    if not re.fullmatch(r"[0-9A-Fa-f]+", text):
        raise ValueError("not hexadecimal")
    return bytes.fromhex(text)


def _private_bytes(data: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - takes 1 MB

    try:
        key = serialization.load_pem_private_key(data, password=None)
    except Exception:  # noqa: BLE001 (OpenSSL's words for it differ, and may quote the file)
        raise ValueError("not a PEM key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("another kind of key")  # noqa: TRY004 (a value in a file, not a type)
    return key.private_bytes_raw()
