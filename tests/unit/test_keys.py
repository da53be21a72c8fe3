"""Sealing, the keys that wrap what seals, and where they come from."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.config import StoreConfig
from edge.crypto import keys as keys_module
from edge.crypto.keys import (
    KeySources,
    KeyStretching,
    Lock,
    Secrets,
    WrappingKey,
    ask_at_terminal,
    check_passphrase,
    key_of_file,
    key_of_passphrase,
    make_key_file,
    successor,
)
from edge.crypto.sealing import SealBroken, Sealer, derive, mark
from edge.errors import InputError, KeyFault, StoreError
from edge.private_files import write_file

KEY = bytes(range(32))
SECRETS = Secrets(b"d" * 32, b"r" * 32)
QUICK = KeyStretching(10, 1, 1, b"s" * 16)
SPOKEN = "correct horse battery"


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256 and no salt, one block."""
    return hmac.new(
        hmac.new(bytes(32), secret, "sha256").digest(), info + b"\x01", "sha256"
    ).digest()


# --- sealing ---


def test_a_sealed_value_is_as_it_is_written_down() -> None:
    place = b"\x00\x00\x00\x05table\x00\x00\x00\x03r\xc3\xb6"
    sealed = b"\x01" + b"n" * 12 + AESGCM(KEY).encrypt(b"n" * 12, b"seven", place)
    assert Sealer(KEY).open(sealed, "table", "rö") == b"seven"
    fresh = [Sealer(KEY).seal(b"seven", "table", "rö") for _ in range(2)]
    assert [len(each) for each in fresh] == [34, 34]
    assert fresh[0] != fresh[1]
    for each in fresh:
        assert each[:1] == b"\x01"
        assert AESGCM(KEY).decrypt(each[1:13], each[13:], place) == b"seven"
    assert Sealer(KEY).open(Sealer(KEY).seal(b"", "x"), "x") == b""


def test_no_altered_byte_and_no_other_place_or_key_opens() -> None:
    sealed = Sealer(KEY).seal(b"seven", "ab", "c")
    for at in range(len(sealed)):
        altered = bytes(byte ^ (at == where) for where, byte in enumerate(sealed))
        with pytest.raises(SealBroken):
            Sealer(KEY).open(altered, "ab", "c")
    for size in range(len(sealed)):
        problem = "not sealed as it should be" if size < 29 else "does not fit"
        with pytest.raises(SealBroken, match=problem):
            Sealer(KEY).open(sealed[:size], "ab", "c")
    for other in ("text", None, bytearray(sealed)):
        with pytest.raises(SealBroken, match="not sealed as it should be"):
            Sealer(KEY).open(other, "ab", "c")
    for place in (("a", "bc"), ("abc",), ("ab", "c", ""), ("ab", "C"), ()):
        with pytest.raises(SealBroken, match="does not fit"):
            Sealer(KEY).open(sealed, *place)
    with pytest.raises(SealBroken):
        Sealer(bytes(32)).open(sealed, "ab", "c")


def test_derived_keys_and_marks() -> None:
    assert derive(KEY, "x") == hkdf(KEY, b"edge-voice x")
    assert derive(KEY, "x", 8) == hkdf(KEY, b"edge-voice x")[:8]
    data = b"\x00\x00\x00\x02ab\x00\x00\x00\x01c"
    assert mark(KEY, "ab", "c") == hmac.new(KEY, data, hashlib.sha256).digest()


# --- from a passphrase ---


@pytest.mark.parametrize(
    ("log2_n", "r", "p", "salt", "good"),
    [
        (10, 1, 1, 16, True), (10, 16, 8, 16, True), (17, 8, 1, 16, True), (17, 8, 2, 16, True),
        (16, 8, 4, 16, True), (15, 16, 4, 16, True),
        (17, 9, 1, 16, False), (17, 8, 3, 16, False), (16, 8, 5, 16, False), (15, 16, 5, 16, False),
        (9, 1, 1, 16, False), (18, 1, 1, 16, False), (10, 0, 1, 16, False), (10, 17, 1, 16, False),
        (10, 1, 0, 16, False), (10, 1, 9, 16, False), (10, 1, 1, 15, False), (10, 1, 1, 17, False),
    ],
)  # fmt: skip
def test_what_a_file_may_ask_of_scrypt(log2_n: int, r: int, p: int, salt: int, good: bool) -> None:
    if good:
        KeyStretching(log2_n, r, p, b"s" * salt)
        return
    with pytest.raises(ValueError, match=r"scrypt|salt"):
        KeyStretching(log2_n, r, p, b"s" * salt)


def test_a_passphrase_is_stretched_as_it_ever_was() -> None:
    fresh, other = KeyStretching.fresh(), KeyStretching.fresh()
    assert (fresh.log2_n, fresh.r, fresh.p, len(fresh.salt)) == (15, 8, 3, 16)
    assert fresh.salt != other.salt
    stretching = KeyStretching(11, 2, 3, bytes(range(16)))
    expected = hashlib.scrypt(
        "Zoë".encode(), salt=bytes(range(16)), n=2048, r=2, p=3, dklen=32
    )  # fmt: skip
    assert stretching.key_from("Zo\u00eb") == stretching.key_from("Zoe\u0308") == expected
    stretching.key_from("\udcff")  # what a terminal gives that is not UTF-8


@pytest.mark.parametrize(
    ("passphrase", "problem"),
    [
        ("x" * 11, "at least 12 characters"), ("x" * 12, None), ("é" * 12, None),
        ("x" * 1024, None), ("x" * 1025, "up to 1024"), ("x" * 12 + "\n", "one line"),
    ],
)  # fmt: skip
def test_which_passphrases_are_taken(
    passphrase: str, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyStretching, "fresh", lambda: QUICK)
    if problem is None:
        check_passphrase(passphrase)
        key = key_of_passphrase(passphrase, "somewhere")
        assert (key.source, key.stretching) == ("somewhere", QUICK)
        assert key.secret == QUICK.key_from(passphrase)
        assert key_of_passphrase(passphrase).source == "passphrase"
        return
    for check in (check_passphrase, key_of_passphrase):
        with pytest.raises(InputError, match=problem):
            check(passphrase)


def test_nobody_at_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(KeyFault, match="not a terminal, cannot ask: Who"):
        ask_at_terminal("Who")

    class Terminal:
        answers = True

        def isatty(self) -> bool:
            return self.answers

    def nothing(prompt: str) -> str:
        assert prompt == "Who: "
        raise EOFError

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", nothing)
    with pytest.raises(KeyFault, match="no answer was given: Who"):
        ask_at_terminal("Who")
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompt)
    assert ask_at_terminal("Who") == "Who: "
    monkeypatch.setattr(Terminal, "answers", False)
    with pytest.raises(KeyFault, match="not a terminal"):
        ask_at_terminal("Who")


# --- wrapping ---


def test_new_secrets() -> None:
    one, other = Secrets.fresh(), Secrets.fresh()
    assert {len(part) for each in (one, other) for part in (each.data, each.root)} == {32}
    assert len({one.data, one.root, other.data, other.root}) == 4
    rotated = one.rotated()
    assert (rotated.root, len(rotated.data)) == (one.root, 32)
    assert rotated.data != one.data


def test_a_lock_is_as_it_is_written_down() -> None:
    key = WrappingKey(KEY, "here", QUICK)
    assert key.id == hkdf(KEY, b"edge-voice wrapping key id")[:8].hex()
    assert SECRETS.data_id == hkdf(b"d" * 32, b"edge-voice data key id")[:8].hex()
    lock = key.wrap(SECRETS)
    assert (lock.key_id, lock.stretching) == (key.id, QUICK)
    sealer = Sealer(hkdf(KEY, b"edge-voice wrapping key"))
    assert sealer.open(lock.wrapped, "keyring", key.id) == b"d" * 32 + b"r" * 32
    assert key.unwrap(lock) == SECRETS
    for size in (63, 65):
        wrapped = sealer.seal(b"x" * size, "keyring", key.id)
        with pytest.raises(SealBroken, match="wrong size"):
            key.unwrap(Lock(key.id, None, wrapped))
    with pytest.raises(SealBroken):
        WrappingKey(b"o" * 32, "there").unwrap(lock)


def test_no_secret_is_printed() -> None:
    shown = repr(WrappingKey(b"k" * 32, "here")) + repr(SECRETS)
    for secret in ("kkkk", "dddd", "rrrr"):
        assert secret not in shown


# --- key files ---


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"a" * 32, b"a" * 32),
        (b" " + b"a" * 32 + b"\r\n\t", b"a" * 32),
        (b"\x7f" + b"a" * 31 + b"\n", b"\x7f" + b"a" * 31 + b"\n"),  # random bytes: each counts
        (b"\x00" * 31 + b"\n", b"\x00" * 31 + b"\n"),
        (b"\x1f" + b"a" * 31 + b"\n", b"\x1f" + b"a" * 31 + b"\n"),
        (b"a" * 4096, b"a" * 4096),
        (b"a" * 31 + b"\n", None),
        (b"\xff" * 31, None),
        (b"a" * 4097, None),
    ],
)
def test_what_is_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, secret: bytes | None
) -> None:
    path = written(tmp_path / "store-key", content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    sources = KeySources(StoreConfig(), tmp_path / "elsewhere")
    reads: list[tuple[Callable[[], WrappingKey | None], str, str]] = [
        (lambda: key_of_file(path), f"key file {path}", f"the key file {path}"),
        (sources.credential_key, "credential store-key", "the credential store-key"),
    ]
    for read, source, what in reads:
        if secret is None:
            with pytest.raises(KeyFault, match=f"^{what} holds no key"):
                read()
            continue
        key = read()
        assert key is not None
        assert (key.secret, key.source, key.stretching) == (secret, source, None)


def test_where_there_is_no_key_file(tmp_path: Path) -> None:
    file = written(tmp_path / "file", b"x")
    assert key_of_file(tmp_path / "absent") is None
    assert key_of_file(file / "below") is None
    with pytest.raises(KeyFault, match="is not a regular file"):
        key_of_file(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(KeyFault, match=r"cannot read the key file .*: too many levels"):
        key_of_file(loop)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize(
    ("folder_of", "file_of", "user", "good"),
    [
        (0, 0, 0, True), (1234, 1234, 0, True), (1234, 0, 0, True),
        (0, 1234, 0, False), (1234, 4321, 0, False),
        (0, 1234, 1234, True), (4321, 4321, 1234, False), (4321, 0, 1234, True),
    ],
)  # fmt: skip
def test_whose_key_files_are_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder_of: int,
    file_of: int,
    user: int,
    good: bool,
) -> None:
    path = written(tmp_path / "state.key", b"a" * 32)
    os.chown(tmp_path, folder_of, folder_of)
    os.chown(path, file_of, file_of)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if good:
        assert key_of_file(path) is not None
        return
    with pytest.raises(KeyFault, match=rf"belongs to another user \(uid {file_of}\)"):
        key_of_file(path)


def test_a_key_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "my.key"
    make_key_file(path)
    content = path.read_bytes()
    assert len(bytes.fromhex(content.decode())) == 32
    assert content[-1:] == b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    make_key_file(path)
    assert path.read_bytes() == content
    make_key_file(path, replace=True)
    assert path.read_bytes() != content
    with pytest.raises(KeyFault, match=r"cannot make the key file .*: "):
        make_key_file(path / "below")


def test_of_two_that_make_a_key_file_one_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing stays open or locked afterwards."""
    opened = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (as it is, without a handle of its own)

    def locked() -> bool:
        folder = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(folder)
        return False

    def look(*args: Any, **options: Any) -> None:
        assert locked()
        write_file(*args, **options)

    monkeypatch.setattr(keys_module, "write_file", look)
    make_key_file(tmp_path / "my.key")
    assert not locked()
    assert len(os.listdir("/proc/self/fd")) == opened  # noqa: PTH208


# --- where the key of a store comes from ---


class Folder:
    """A folder of a store, with sources that ask nobody."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.answers: list[str] = []
        self.asked: list[str] = []
        self.default = path / "store.key"
        self.settings = StoreConfig(**settings)

    @property
    def sources(self) -> KeySources:
        return KeySources(self.settings, self.path, self.ask)

    def ask(self, question: str) -> str:
        self.asked.append(question)
        if not self.answers:
            raise KeyFault("nobody is there")
        return self.answers.pop(0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "state").mkdir()
    return Folder(tmp_path / "state")


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "credentials"
    path.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path))
    return path


def lock_of(secret: bytes, stretching: KeyStretching | None = None) -> Lock:
    return WrappingKey(secret, "", stretching).wrap(SECRETS)


def test_files_are_looked_for_in_order(folder: Folder, tmp_path: Path) -> None:
    assert folder.sources.files() == [folder.default]
    folder.settings = StoreConfig(key_file=tmp_path / "my.key")
    assert folder.sources.files() == [tmp_path / "my.key", folder.default]
    folder.settings = StoreConfig(key_file=folder.default)
    assert folder.sources.files() == [folder.default]


def test_the_key_is_found_wherever_it_is(folder: Folder, tmp_path: Path, credentials: Path) -> None:
    folder.settings = StoreConfig(key_file=tmp_path / "my.key")
    written(credentials / "store-key", b"c" * 32)
    written(tmp_path / "my.key", b"m" * 32)
    written(folder.default, b"d" * 32)
    for secret, source in (
        (b"c", "credential store-key"),
        (b"m", f"key file {tmp_path / 'my.key'}"),
        (b"d", f"key file {folder.default}"),
    ):
        assert folder.sources.find(lock_of(secret * 32)).source == source
    folder.default.unlink()
    lock = lock_of(b"x" * 32)
    with pytest.raises(KeyFault) as caught:
        folder.sources.find(lock)
    ids = {each: WrappingKey(each * 32, "").id for each in (b"c", b"m")}
    assert str(caught.value) == (
        f"the signatures in {folder.path} are locked with key {lock.key_id}, which is not here (the"
        f" credential store-key holds {ids[b'c']}, {tmp_path / 'my.key'} holds {ids[b'm']}, there"
        f" is no key file {folder.default}): put that key back, nothing was changed"
    )


def test_a_key_that_is_known_is_not_looked_for_again(folder: Folder) -> None:
    sources = folder.sources
    written(folder.default, b"d" * 32)
    key = sources.find(lock_of(b"d" * 32))
    folder.default.unlink()
    assert sources.find(lock_of(b"d" * 32)) is key
    other = WrappingKey(b"o" * 32, "there")
    sources.learn(other)
    assert sources.find(lock_of(b"o" * 32)) is other
    with pytest.raises(KeyFault):
        sources.find(lock_of(b"d" * 32))


@pytest.mark.parametrize("right", [True, False])
def test_a_passphrase_as_a_credential(folder: Folder, credentials: Path, right: bool) -> None:
    secret = QUICK.key_from(SPOKEN)
    (credentials / "store-passphrase").write_text((SPOKEN if right else "another") + "\r\n")
    lock = lock_of(secret, QUICK)
    if not right:
        with pytest.raises(KeyFault, match=r"another passphrase .* than the given one"):
            folder.sources.find(lock)
        return
    key = folder.sources.find(lock)
    assert (key.secret, key.stretching) == (secret, QUICK)
    assert key.source == "passphrase (credential store-passphrase)"
    assert folder.asked == []


def test_a_passphrase_that_is_asked_for(folder: Folder, credentials: Path) -> None:
    lock = lock_of(QUICK.key_from(SPOKEN), QUICK)
    with pytest.raises(
        KeyFault,
        match=rf"passphrase \(key {lock.key_id}\), and there is no credential store-passphrase:"
        " nobody is there",
    ):
        folder.sources.find(lock)
    folder.answers = ["another", SPOKEN]
    sources = folder.sources
    with pytest.raises(KeyFault, match="another passphrase"):
        sources.find(lock)
    assert sources.find(lock).source == "passphrase"
    assert folder.asked == ["Passphrase of the signature store"] * 3
    with pytest.raises(KeyFault, match="meanwhile: start again"):
        sources.find(lock_of(QUICK.key_from("and another"), QUICK))
    assert len(folder.asked) == 3
    (credentials / "store-passphrase").write_bytes(b"\xff\xff")
    with pytest.raises(KeyFault, match=r"store-passphrase.* is not UTF-8 text"):
        folder.sources.find(lock)


def test_a_new_store_takes_the_first_that_there_is(
    folder: Folder,
    tmp_path: Path,
    credentials: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(KeyStretching, "fresh", lambda: QUICK)
    folder.settings = StoreConfig(key_file=tmp_path / "my.key", passphrase=True)
    written(credentials / "store-key", b"c" * 32)
    assert folder.sources.choose().source == "credential store-key"
    (credentials / "store-key").unlink()
    with pytest.raises(KeyFault, match=r"no credential store-key: .*LoadCredential="):
        folder.sources.credential_key()
    with pytest.raises(KeyFault, match=r"store\.key_file: there is no key file .*keys make"):
        folder.sources.choose()
    written(tmp_path / "my.key", b"m" * 32)
    assert folder.sources.choose().secret == b"m" * 32
    folder.settings = StoreConfig(passphrase=True)
    written(credentials / "store-passphrase", SPOKEN.encode())
    assert folder.sources.choose().source == "passphrase (credential store-passphrase)"
    (credentials / "store-passphrase").unlink()
    folder.answers = [SPOKEN, SPOKEN, SPOKEN, "another"]
    key = folder.sources.choose()
    assert (key.source, key.secret) == ("passphrase", QUICK.key_from(SPOKEN))
    with pytest.raises(InputError, match="the two passphrases differ"):
        folder.sources.choose()
    questions = ["New passphrase for the signature store", "The same passphrase again"]
    assert folder.asked == questions * 2
    folder.settings = StoreConfig()
    assert caplog.messages == []
    sources = folder.sources
    made = sources.choose()
    assert made.source == f"key file {folder.default}"
    assert f"made the key file {folder.default} beside the signatures" in caplog.text
    folder.default.unlink()
    assert sources.find(made.wrap(SECRETS)) is made
    monkeypatch.setattr(keys_module, "make_key_file", lambda _: None)
    with pytest.raises(KeyFault, match="is gone: try again"):
        folder.sources.choose()


# --- replacing a key in its file ---


def test_a_key_is_replaced_once_it_is_used(folder: Folder) -> None:
    old = written(folder.default, b"d" * 32).read_bytes()
    handle = folder.default.open("rb")
    used: list[WrappingKey] = []

    def use(key: WrappingKey) -> None:
        assert folder.default.read_bytes() == old
        assert key.secret == successor(folder.default).read_bytes().strip()
        used.append(key)

    left_behind = b"left behind by a power cut " * 2
    written(successor(folder.default), left_behind)
    folder.sources.replace_file(folder.default, use)
    assert used[0].secret != left_behind.strip()
    assert used[0].source == f"key file {folder.default}"
    assert [each.name for each in folder.path.iterdir()] == ["store.key"]
    assert folder.sources.find(used[0].wrap(SECRETS)).secret == used[0].secret
    assert handle.read() == bytes(32), "the old key can still be read"
    handle.close()


def test_a_key_that_was_not_used_is_erased(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: WrappingKey) -> None:
        raise StoreError("no space is left")

    written(folder.default, b"d" * 32)
    with pytest.raises(StoreError, match="no space"):
        folder.sources.replace_file(folder.default, fail)
    assert [each.name for each in folder.path.iterdir()] == ["store.key"]
    assert folder.default.read_bytes() == b"d" * 32
    monkeypatch.setattr(keys_module, "erase", _refuse)
    with pytest.raises(StoreError, match="no space"):
        folder.sources.replace_file(folder.default, fail)
    monkeypatch.setattr(keys_module, "make_key_file", lambda *_, **__: None)
    successor(folder.default).unlink()
    with pytest.raises(KeyFault, match=r"store\.key\.next is gone"):
        folder.sources.replace_file(folder.default, fail)


def _refuse(*_: object) -> None:
    raise OSError(5, "it is broken")


@pytest.mark.parametrize("synced", [True, False])
def test_a_replacement_that_was_interrupted_is_finished(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, synced: bool
) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(keys_module, "sync_folder", folders.append if synced else _refuse)
    written(folder.default, b"d" * 32)
    next_file = written(successor(folder.default), b"n" * 32)
    assert folder.sources.find(lock_of(b"d" * 32)).secret == b"d" * 32
    assert next_file.exists()
    key = folder.sources.find(lock_of(b"n" * 32))
    assert (key.secret, key.source) == (b"n" * 32, f"key file {next_file}")
    assert not next_file.exists()
    assert folder.default.read_bytes() == b"n" * 32
    if synced:
        assert (folders, caplog.messages) == ([folder.path], [])
    else:
        assert caplog.messages == [f"cannot rename {next_file} to {folder.default}: it is broken"]


def test_replacing_is_durable(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(keys_module, "sync_folder", folders.append)
    written(folder.default, b"d" * 32)
    folder.sources.replace_file(folder.default, lambda _: None)
    assert folders == [folder.path]


def test_the_default_file_is_forgotten_unless_it_is_used(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sources = folder.sources
    sources.forget_default_file()
    written(folder.default, b"d" * 32)
    sources.learn(WrappingKey(b"d" * 32, "the same"))
    sources.forget_default_file()
    assert folder.default.exists()
    sources.learn(WrappingKey(b"o" * 32, "another"))
    folder.default.chmod(0o640)
    sources.forget_default_file()
    assert f"the former key file {folder.default} cannot be erased" in caplog.messages[-1]
    folder.default.chmod(0o600)
    with monkeypatch.context() as patch:
        patch.setattr(keys_module, "erase", _refuse)
        sources.forget_default_file()
    assert caplog.messages[-1].endswith("it is broken")
    sources.forget_default_file()
    assert not folder.default.exists()
    assert caplog.messages[-1] == f"erased the former key file {folder.default}"
    written(folder.default, b"d" * 32)
    folder.sources.forget_default_file()  # nothing is known to be in use
    assert not folder.default.exists()
