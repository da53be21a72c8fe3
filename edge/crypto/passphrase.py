"""Keys from passphrases, by scrypt (RFC 7914)."""

from __future__ import annotations

import getpass
import os
import sys
import unicodedata
from dataclasses import dataclass

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge.crypto.sealing import KEY_BYTES
from edge.errors import InputError, KeyFault

MIN_CHARACTERS = 12
MAX_CHARACTERS = 1024
_SALT_BYTES = 16


@dataclass(frozen=True)
class Stretching:
    """How a passphrase becomes a key; kept beside what the key locks, and no secret.

    Attributes:
        log2_n: binary logarithm of scrypt's cost, 10 to 18.
        r: its block size, 1 to 16; it takes 128 * r * 2**log2_n bytes of memory.
        p: how often it is done, 1 to 8.
        salt: 16 random bytes.
    """

    log2_n: int
    r: int
    p: int
    salt: bytes

    def __post_init__(self) -> None:
        # What a file asks for must neither take all memory nor be worth nothing.
        if not (10 <= self.log2_n <= 18 and 1 <= self.r <= 16 and 1 <= self.p <= 8):
            raise ValueError("it asks for an impossible scrypt")
        if len(self.salt) != _SALT_BYTES:
            raise ValueError("its salt has the wrong size")

    @classmethod
    def fresh(cls) -> Stretching:
        """The usual cost with a new salt.

        32 MiB, three times over: one of the settings that the OWASP password storage cheat sheet
        calls equal, and the one among them for little memory. A Raspberry Pi takes a second.
        """
        return cls(15, 8, 3, os.urandom(_SALT_BYTES))

    def key_from(self, passphrase: str) -> bytes:
        """The 32 bytes that a passphrase stands for."""
        # The same letters arrive composed from one keyboard and decomposed from another.
        text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
        scrypt = Scrypt(salt=self.salt, length=KEY_BYTES, n=1 << self.log2_n, r=self.r, p=self.p)
        return scrypt.derive(text)


def check_passphrase(passphrase: str) -> None:
    """Raise `InputError` for a new passphrase that would not hold, or that none can type."""
    if len(passphrase) < MIN_CHARACTERS:
        raise InputError(
            f"a passphrase needs at least {MIN_CHARACTERS} characters: take four words or more"
        )
    if len(passphrase) > MAX_CHARACTERS or not passphrase.isprintable():
        raise InputError(
            f"a passphrase is one line of up to {MAX_CHARACTERS} characters that print"
        )


def ask_at_terminal(question: str) -> str:
    """Ask for a passphrase without showing it.

    Raises:
        KeyFault: nobody is there to answer.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise KeyFault(f"nobody is there to be asked: {question}")
    try:
        return getpass.getpass(f"{question}: ")
    except EOFError:
        raise KeyFault(f"no answer was given: {question}") from None
