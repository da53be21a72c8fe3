"""The key that a store is locked with: where it comes from, and what it wraps.

A store has two secrets: the data key, which seals its rows, and the root, which other keys are
derived from. Both lie in the store, wrapped by a key that should lie elsewhere. Changing that key
rewrites some bytes; changing the data key rewrites every row.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge.config import StoreConfig
from edge.crypto.sealing import KEY_BYTES, SealBroken, Sealer, derive
from edge.errors import EdgeVoiceError, InputError, KeyFault, WrongPassphrase
from edge.private_files import (
    NotPrivate,
    erase,
    folder_owner,
    make_folder,
    overwrite,
    read_credential,
    read_file,
    reason,
    sync_folder,
    trusted_owners,
    write_file,
)

DEFAULT_FILE = "store.key"

MIN_CHARACTERS = 12
MAX_CHARACTERS = 1024
_SALT_BYTES = 16
_MAX_KEY_BYTES = 4096
_MOST_BLOCKS = 1 << 20
_MOST_WORK = 1 << 21
"""Of scrypt, whose costs a file may name: less than three times the work of those made here."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyStretching:
    """How a passphrase becomes a key, by scrypt; kept beside what the key locks, and not secret.

    Attributes:
        log2_n: binary logarithm of the cost, 10 to 17.
        r: block size, 1 to 16; it takes 128 * r * 2**log2_n bytes of memory, 128 MiB at most.
        p: how often it is done, 1 to 8; the time goes with r * p * 2**log2_n, 2**21 at most.
        salt: 16 random bytes.
    """

    log2_n: int
    r: int
    p: int
    salt: bytes

    def __post_init__(self) -> None:
        # What a file asks for must neither take all memory nor be worth nothing.
        if not (10 <= self.log2_n <= 17 and 1 <= self.r <= 16 and 1 <= self.p <= 8):
            raise ValueError("it asks for an impossible scrypt")
        blocks = self.r << self.log2_n
        if blocks > _MOST_BLOCKS or blocks * self.p > _MOST_WORK:
            raise ValueError("it asks for an impossible scrypt")
        if len(self.salt) != _SALT_BYTES:
            raise ValueError("its salt has the wrong size")

    @classmethod
    def fresh(cls) -> KeyStretching:
        """The usual cost with a new salt: 32 MiB, three times, a second on a Raspberry Pi.

        One of the settings that the OWASP password storage cheat sheet calls equal, the one for
        little memory.
        """
        return cls(15, 8, 3, os.urandom(_SALT_BYTES))

    def key_from(self, passphrase: str) -> bytes:
        """The 32 bytes that a passphrase stands for."""
        # The same letters arrive composed from one keyboard and decomposed from another.
        text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
        scrypt = Scrypt(salt=self.salt, length=KEY_BYTES, n=1 << self.log2_n, r=self.r, p=self.p)
        return scrypt.derive(text)


def check_passphrase(passphrase: str) -> None:
    """Raise `InputError` for a new passphrase that is too short, too long, or not printable."""
    if len(passphrase) < MIN_CHARACTERS:
        raise InputError(
            f"a passphrase needs at least {MIN_CHARACTERS} characters: take four words or more"
        )
    if len(passphrase) > MAX_CHARACTERS or not passphrase.isprintable():
        raise InputError(
            f"a passphrase is one line of up to {MAX_CHARACTERS} characters that print"
        )


def _text(content: bytes | None, what: str) -> str | None:
    try:
        return None if content is None else content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise KeyFault(f"the {what} is not UTF-8 text") from None


def ask_at_terminal(question: str) -> str:
    """Ask for a passphrase without showing it. Raises `KeyFault` where nobody can answer."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise KeyFault(f"not a terminal, cannot ask: {question}")
    try:
        return getpass.getpass(f"{question}: ")
    except EOFError:
        raise KeyFault(f"no answer was given: {question}") from None


@dataclass(frozen=True)
class Secrets:
    """The data key, which rotation replaces, and the root, which stays; 32 bytes each."""

    data: bytes = field(repr=False)
    root: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> Secrets:
        """New random ones."""
        return cls(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))

    def rotated(self) -> Secrets:
        """With a new data key."""
        return Secrets(os.urandom(KEY_BYTES), self.root)

    @property
    def data_id(self) -> str:
        """Identifies this data key without revealing anything of it."""
        return derive(self.data, "data key id", 8).hex()


@dataclass(frozen=True)
class Lock:
    """Wrapped secrets as they lie in a store; nothing in it is secret.

    Attributes:
        key_id: which key opens it, 16 hexadecimal digits.
        stretching: how a passphrase becomes that key; None for a key that is no passphrase.
    """

    key_id: str
    stretching: KeyStretching | None
    wrapped: bytes


@dataclass(frozen=True)
class WrappingKey:
    """A key that wraps secrets; without stretching where it was not made from a passphrase."""

    secret: bytes = field(repr=False)
    source: str
    stretching: KeyStretching | None = None

    @property
    def id(self) -> str:
        """Identifies this key without revealing anything of it."""
        return derive(self.secret, "wrapping key id", 8).hex()

    def wrap(self, secrets: Secrets) -> Lock:
        """Lock secrets with this key."""
        sealed = self._sealer().seal(secrets.data + secrets.root, "keyring", self.id)
        return Lock(self.id, self.stretching, sealed)

    def unwrap(self, lock: Lock) -> Secrets:
        """Open a lock that has this key's id. Raises `SealBroken` if it is damaged."""
        content = self._sealer().open(lock.wrapped, "keyring", self.id)
        if len(content) != 2 * KEY_BYTES:
            raise SealBroken("the wrapped keys have the wrong size")
        return Secrets(content[:KEY_BYTES], content[KEY_BYTES:])

    def _sealer(self) -> Sealer:
        return Sealer(derive(self.secret, "wrapping key"))


class KeySources:
    """Where the wrapping key of a store may be, in the order they are tried.

    A systemd credential; `store.key_file`; the key file in the store's folder; a passphrase, from
    a credential or from `ask`, which raises `KeyFault` when nobody is there. A store says which key
    it wants, so a wrong key does no harm.
    """

    def __init__(
        self, settings: StoreConfig, folder: Path, ask: Callable[[str], str] = ask_at_terminal
    ) -> None:
        self.settings = settings
        self.default_file = folder / DEFAULT_FILE
        self._folder = folder
        self._ask = ask
        self._known: WrappingKey | None = None

    def choose(self) -> WrappingKey:
        """The key for a new store. Raises `KeyFault` if the configured source has none."""
        settings = self.settings
        key = self._credential()
        if key is None and settings.key_file is not None:
            key = key_of_file(settings.key_file)
            if key is None:
                raise KeyFault(
                    f"store.key_file: there is no key file {settings.key_file}: put it there, or"
                    f" run 'edge-voice keys make {settings.key_file}'"
                )
        if key is None and settings.passphrase:
            key = self._new_passphrase()
        if key is None:
            key = key_of_file(self.default_file)
        if key is None:
            make_key_file(self.default_file)
            key = key_of_file(self.default_file)
            _log.warning(
                "made the key file %s beside the signatures: anyone who takes both, as with the"
                " whole card, can read them; 'edge-voice keys rewrap' moves it to a better place",
                self.default_file,
            )
        if key is None:
            raise KeyFault(f"the key file {self.default_file} is gone: try again")
        self._known = key
        return key

    def find(self, lock: Lock) -> WrappingKey:
        """The key that a lock wants. Raises `KeyFault` if it is not here, or others may read it."""
        if self._known is not None and self._known.id == lock.key_id:
            return self._known
        if lock.stretching is None:
            key = self._held(lock)
        else:
            key = self._by_passphrase(lock, lock.stretching)
        self._known = key
        return key

    def learn(self, key: WrappingKey) -> None:
        """Keep a key that the store has just been locked with."""
        self._known = key

    def files(self) -> list[Path]:
        """The key files that are looked for, in order."""
        configured = self.settings.key_file
        if configured is None or configured.absolute() == self.default_file.absolute():
            return [self.default_file]
        return [configured, self.default_file]

    def credential_key(self) -> WrappingKey:
        """The key in the systemd credential. Raises `KeyFault` if there is none."""
        key = self._credential()
        if key is None:
            raise KeyFault(
                f"there is no credential {self.settings.key_credential}: run this as the service"
                " is run, with LoadCredential="
            )
        return key

    def replace_file(self, file: Path, use: Callable[[WrappingKey], None]) -> None:
        """Replace the key in a file once `use` has locked the store with it; power may fail.

        Raises:
            KeyFault: the file cannot be written.
            StoreError: `use` failed; the former key still counts.
        """
        fresh = successor(file)
        make_key_file(fresh, replace=True)
        key = key_of_file(fresh)
        if key is None:
            raise KeyFault(f"the key file {fresh} is gone: try again")
        try:
            use(WrappingKey(key.secret, f"key file {file}"))
        except EdgeVoiceError:
            with contextlib.suppress(OSError):
                erase(fresh)
            raise
        with _logged(fresh, file):
            overwrite(file)
            fresh.replace(file)
            sync_folder(file.parent)

    def move(
        self, key: WrappingKey, use: Callable[[WrappingKey], None], name: Callable[[], None]
    ) -> None:
        """Have another key count once `use` has locked the store with it; power may fail.

        Until `name` has told the configuration where it is, a copy lies where a key is looked for
        in any case, and a service that runs finds it there.

        Raises:
            EdgeVoiceError: as the two; if `name` fails, the copy stays.
            KeyFault: the copy cannot be written.
        """
        copy = successor(self.default_file)
        _write_key(copy, key.secret, replace=True)
        try:
            use(key)
        except EdgeVoiceError:
            with contextlib.suppress(OSError):
                erase(copy)
            raise
        name()
        try:
            erase(copy)
        except OSError as error:
            _log.warning("the copy %s of the key cannot be erased: %s", copy, error)

    def forget_default_file(self, now: Path | None = None) -> None:
        """Erase the default key file unless it is in use: with it an old copy could be read.

        `now` is the file that the key is in, if it is in one.
        """
        file = self.default_file
        if now == file:
            return
        try:
            key = key_of_file(file)
            known = None if now is not None or self._known is None else self._known.id
            if key is not None and key.id != known:
                erase(file)
                _log.info("erased the former key file %s", file)
        except (KeyFault, OSError) as error:
            _log.warning("the former key file %s cannot be erased: %s", file, error)

    def _held(self, lock: Lock) -> WrappingKey:
        found = []
        credential = self._credential()
        if credential is not None:
            if credential.id == lock.key_id:
                return credential
            found.append(f"the {credential.source} holds {credential.id}")
        for file in self.files():
            key = key_of_file(file)
            if key is not None and key.id == lock.key_id:
                return key
            found.append(
                f"there is no key file {file}" if key is None else f"{file} holds {key.id}"
            )
            key = key_of_file(successor(file))
            if key is not None and key.id == lock.key_id:
                return self._take_over(file, key)
        raise KeyFault(
            f"the signatures in {self._folder} are locked with key {lock.key_id}, which is not"
            f" here ({', '.join(found)}): put that key back, nothing was changed"
        )

    def _take_over(self, file: Path, key: WrappingKey) -> WrappingKey:
        """Finish a change of the key inside one file that a power cut interrupted."""
        with _logged(successor(file), file):
            successor(file).replace(file)
            sync_folder(file.parent)
        return key

    def _by_passphrase(self, lock: Lock, stretching: KeyStretching) -> WrappingKey:
        name = self.settings.passphrase_credential
        source = f"passphrase (credential {name})"
        passphrase = _text(read_credential(name), source)
        if passphrase is None:
            source = "passphrase"
            if self._known is not None:
                # In the midst of its work a service cannot wait for somebody to type.
                raise KeyFault(
                    f"the signatures in {self._folder} were locked with another passphrase (key"
                    f" {lock.key_id}) meanwhile: start again to be asked for it"
                )
            try:
                passphrase = self._ask("Passphrase of the signature store")
            except KeyFault as error:
                raise KeyFault(
                    f"the signatures in {self._folder} are locked with a passphrase (key"
                    f" {lock.key_id}), and there is no credential {name}: {error}"
                ) from None
        key = WrappingKey(stretching.key_from(passphrase), source, stretching)
        if key.id != lock.key_id:
            raise WrongPassphrase(
                f"the signatures in {self._folder} are locked with another passphrase (key"
                f" {lock.key_id}) than the given one: nothing was changed"
            )
        return key

    def _new_passphrase(self) -> WrappingKey:
        name = self.settings.passphrase_credential
        source = f"passphrase (credential {name})"
        given = _text(read_credential(name), source)
        if given is not None:
            return key_of_passphrase(given, source)
        passphrase = self._ask("New passphrase for the signature store")
        if passphrase != self._ask("The same passphrase again"):
            raise InputError("the two passphrases differ: nothing was changed")
        return key_of_passphrase(passphrase)

    def _credential(self) -> WrappingKey | None:
        name = self.settings.key_credential
        content = read_credential(name)
        if content is None:
            return None
        return WrappingKey(_secret_in(content, f"the credential {name}"), f"credential {name}")


@contextlib.contextmanager
def _logged(fresh: Path, file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.warning("cannot rename %s to %s: %s", fresh, file, error.strerror)


def key_of_file(path: Path) -> WrappingKey | None:
    """The key in a file, whatever its form; None where there is no such file.

    It must belong to one of its `trusted_owners`.

    Raises:
        KeyFault: it cannot be read, has a wrong size or owner, or others may read it.
    """
    try:
        content = read_file(path, _MAX_KEY_BYTES, owners=trusted_owners(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotPrivate as error:
        raise KeyFault(f"the key file {path} {error}") from None
    except OSError as error:
        raise KeyFault(f"cannot read the key file {path}: {reason(error)}") from None
    return WrappingKey(_secret_in(content, f"the key file {path}"), f"key file {path}")


def _secret_in(content: bytes, what: str) -> bytes:
    """The key in a file or credential; 32 to `_MAX_KEY_BYTES` bytes, or it raises `KeyFault`."""
    # Text gets a line's end from every editor and shell; in random bytes each one counts.
    if content.isascii() and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in content):
        content = content.strip()
    if len(content) < KEY_BYTES:
        raise KeyFault(f"{what} holds no key: a key has at least {KEY_BYTES} bytes")
    if len(content) > _MAX_KEY_BYTES:
        raise KeyFault(f"{what} holds no key: it is longer than {_MAX_KEY_BYTES} bytes")
    return content


def make_key_file(path: Path, *, replace: bool = False) -> None:
    """Write a new random key to a file: 64 hexadecimal digits, mode 0600, durable on return.

    Made by root, it belongs to the owner of the folder, which is made if missing. If two processes
    make one at the same time, one of the two stays and counts. Without `replace` a file that is
    there stays.

    Raises:
        KeyFault: it cannot be written.
    """
    _write_key(path, os.urandom(KEY_BYTES).hex().encode() + b"\n", replace=replace)


def _write_key(path: Path, content: bytes, *, replace: bool) -> None:
    """As `make_key_file`, with content that is given."""
    try:
        make_folder(path.parent)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if replace or not path.exists():
                write_file(path, content, owner=folder_owner(path), replace=True)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyFault(f"cannot make the key file {path}: {reason(error)}") from None


def key_of_passphrase(passphrase: str, source: str = "passphrase") -> WrappingKey:
    """A new key from a passphrase. Raises `InputError` as `check_passphrase`."""
    check_passphrase(passphrase)
    stretching = KeyStretching.fresh()
    return WrappingKey(stretching.key_from(passphrase), source, stretching)


def successor(file: Path) -> Path:
    """Where the next key of a key file lies until the store is locked with it."""
    return file.with_name(f"{file.name}.next")
