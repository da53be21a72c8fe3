"""Where the store's key comes from, what happens without it, and how it is changed."""

from __future__ import annotations

import logging
import os
import pkgutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.cli.main import main
from edge.config import StoreConfig, load_config
from edge.crypto.keys import key_of_file, key_of_passphrase, make_key_file
from edge.errors import KeyFault, StoreError
from edge.store import ProfileStore
from tests.unit.commands import Capture, run_json
from tests.unit.stores import enroll, make_sample, same, sealed_rows, seeds_of, traces

KEY = b"k" * 32
PASSPHRASE = "correct horse battery"  # noqa: S105 (of made-up stores)
pytestmark = pytest.mark.usefixtures("cheap_passphrases")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "signatures.sqlite"


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def _fill(path: Path, settings: StoreConfig) -> None:
    with ProfileStore(path, settings=settings) as store:
        enroll(store, "Ada", 1, 2, 3)
        store.keep("digit", b"seven", profile="Ada")


def _is_whole(path: Path, settings: StoreConfig) -> str:
    """Where the key of a store came from that has everything in it."""
    with ProfileStore(path, settings=settings) as store:
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3]
        assert [item.payload for item in store.kept("digit")] == [b"seven"]
        return store.key_state().source


def test_a_key_file_is_made_once_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _fill(path, StoreConfig())
    file = path.parent / "store.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [record.getMessage().count(str(file)) for record in caplog.records] == [1]
    caplog.clear()
    assert _is_whole(path, StoreConfig()) == f"key file {file}"
    assert caplog.records == []
    assert file.read_text().strip() not in caplog.text


@pytest.mark.parametrize("source", ["credential", "file", "passphrase"])
@pytest.mark.parametrize("what", ["missing", "wrong"])
def test_a_wrong_or_missing_key_is_said_and_touches_nothing(
    path: Path, tmp_path: Path, credentials: Path, source: str, what: str
) -> None:
    file = tmp_path / "my.key"
    settings = {
        "credential": StoreConfig(),
        "file": StoreConfig(key_file=file),
        "passphrase": StoreConfig(passphrase=True),
    }[source]
    place = {
        "credential": credentials / "store-key",
        "file": file,
        "passphrase": credentials / "store-passphrase",
    }[source]
    place.write_bytes(b"the first one " * 3)
    place.chmod(0o600)
    _fill(path, settings)
    with ProfileStore(path, settings=settings) as store:
        key_id = store.key_state().key_id
    place.unlink()
    if what == "wrong":
        place.write_bytes(b"the other one " * 3)
        place.chmod(0o600)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    with pytest.raises(KeyFault, match=key_id) as caught:
        ProfileStore(path, settings=settings)
    assert "\n" not in str(caught.value)
    assert "the other one" not in str(caught.value)
    assert caught.value.exit_code == (2 if (source, what) == ("passphrase", "wrong") else 3)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


def test_what_is_no_key_is_refused(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "my.key"
    file.write_bytes(b"short")
    file.chmod(0o600)
    with pytest.raises(KeyFault, match="holds no key"):
        ProfileStore(path, settings=StoreConfig(key_file=file))
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_may_read_is_refused(path: Path, tmp_path: Path, mode: int) -> None:
    file = tmp_path / "my.key"
    make_key_file(file)
    settings = StoreConfig(key_file=file)
    _fill(path, settings)
    file.chmod(mode)
    with pytest.raises(KeyFault, match=f"mode {mode:03o}.*chmod 600"):
        ProfileStore(path, settings=settings)
    file.chmod(0o400)
    assert _is_whole(path, settings)


def test_a_configured_key_file_that_is_missing_is_not_made(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFault, match="keys make"):
        ProfileStore(path, settings=StoreConfig(key_file=tmp_path / "usb" / "my.key"))
    assert not path.exists()
    assert not (tmp_path / "usb").exists()


def test_rotation_reseals_everything_and_leaves_nothing_of_the_old(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(path, StoreConfig())
    caplog.set_level(logging.INFO)
    caplog.clear()
    with ProfileStore(path) as store, ProfileStore(path) as other:
        ada = store.get("Ada")
        before, root, mark = store.key_state(), store.derive_key("audit"), other.data_version()
        old = sealed_rows(path, ada.id)
        with sqlite3.connect(path) as database:
            old += database.execute("SELECT wrapped FROM keyring").fetchone()
        database.close()
        assert traces(path.parent, *old)
        store.rotate_key()
        assert traces(path.parent, *old) == []
        after = store.key_state()
        assert (after.key_id, after.source) == (before.key_id, before.source)
        assert after.data_id != before.data_id
        assert store.derive_key("audit") == root != store.derive_key("other")
        # Another process: it notices, and goes on with the new key.
        assert store.get("Ada").name == "Ada"
        assert caplog.records == []
        assert other.data_version() != mark
        assert other.get("Ada").name == other.get("ada").name == "Ada"
        noticed = f"{path}: its keys were changed by another process"
        assert [record.getMessage() for record in caplog.records] == [noticed]
        other.rename("Ada", "Augusta")
        assert store.get("augusta").id == ada.id
    with ProfileStore(path) as store:
        assert all(same(each, make_sample(1 + i)) for i, each in enumerate(ada.samples))
        assert store.derive_key("audit") == root


@pytest.mark.parametrize(
    "action",
    [
        lambda store: store.keep("digit", b"eight", profile="Ada"),
        lambda store: store.rename("Ada", "ADA"),
        lambda store: store.add_sample("Ada", make_sample(4), "5" * 64, "9" * 64),
    ],
    ids=["keep", "rename", "add a sample"],
)
def test_whatever_another_process_does_first_is_by_the_new_key(
    path: Path, action: Callable[[ProfileStore], object]
) -> None:
    _fill(path, StoreConfig())
    with ProfileStore(path) as store, ProfileStore(path) as other:
        store.rotate_key()
        action(other)
        assert seeds_of(store.get("Ada").samples)[:3] == [1, 2, 3]
        assert store.kept("digit")[0].payload == b"seven"
    assert ProfileStore(path).get("ada").enrolled


def test_another_key_locks_the_same_data(path: Path) -> None:
    _fill(path, StoreConfig())
    with ProfileStore(path) as store:
        before = store.key_state()
        store.lock_with(key_of_passphrase(PASSPHRASE))
        after = store.key_state()
        assert (after.source, after.data_id) == ("passphrase", before.data_id)
        assert after.key_id != before.key_id
        store.lock_with(key_of_passphrase(PASSPHRASE), rotate=True)
        assert store.key_state().data_id != before.data_id
        assert seeds_of(store.get("Ada").samples) == [1, 2, 3]


def test_who_cannot_unwrap_any_more_says_so(path: Path) -> None:
    """The service's part: nobody can open, and it is not asked for a passphrase in its work."""
    _fill(path, StoreConfig())
    with ProfileStore(path) as service:
        mark = service.data_version()
        with ProfileStore(path) as store:
            store.lock_with(key_of_passphrase(PASSPHRASE), rotate=True)
        assert service.data_version() != mark
        for _ in range(2):
            with pytest.raises(KeyFault, match=r"locked with (a|another) passphrase"):
                service.list()


def test_no_key_is_in_any_log_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        _fill(path, StoreConfig())
        keys = [(path.parent / "store.key").read_text().strip()]
        with ProfileStore(path) as store, ProfileStore(path) as other:
            secrets = [other._file.vault.secrets]
            store.rotate_key()
            other.list()
            secrets.append(other._file.vault.secrets)
            sources = store.key_sources
            sources.replace_file(sources.default_file, store.lock_with)
            keys.append((path.parent / "store.key").read_text().strip())
            other.list()
            store.lock_with(key_of_passphrase(PASSPHRASE))
            assert PASSPHRASE not in repr(sources.find(store._file.vault.lock))
        with pytest.raises(KeyFault) as caught:
            ProfileStore(path)
    said = caplog.text + str(caught.value) + repr(secrets) + repr(store._file.vault.lock)
    for secret in (*keys, *(each.data.hex() for each in secrets), secrets[0].root.hex(), "Ada"):
        assert secret not in said
    assert PASSPHRASE not in said
    assert repr(secrets[0].data) not in said


def test_damage_stops_a_rotation_and_nothing_changes(path: Path) -> None:
    _fill(path, StoreConfig())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE sample SET sealed = zeroblob(2000) WHERE position = 1")
    database.close()
    with ProfileStore(path) as store:
        before = store.key_state()
        rows = sealed_rows(path, store.find("Ada")[0])
        with pytest.raises(StoreError, match="nothing was changed"):
            store.rotate_key()
        assert store.key_state() == before
        assert sealed_rows(path, store.find("Ada")[0]) == rows


def test_a_change_of_the_key_in_its_file_survives_a_power_cut(path: Path) -> None:
    """Whether it hit before or after the store took the new key."""
    _fill(path, StoreConfig())
    file = path.parent / "store.key"
    following = path.parent / "store.key.next"
    make_key_file(following)
    assert _is_whole(path, StoreConfig())
    assert following.exists()
    key = key_of_file(following)
    assert key is not None
    with ProfileStore(path) as store:
        store.lock_with(key)
    assert _is_whole(path, StoreConfig()) == f"key file {following}"
    assert not following.exists()
    assert _is_whole(path, StoreConfig()) == f"key file {file}"


@pytest.mark.usefixtures("config", "store_path")
class TestCommand:
    """`edge-voice keys`."""

    def test_show_and_rotate(self, capsys: Capture, store_path: Path) -> None:
        code, before = run_json(capsys, "keys", "show")
        assert code == 0
        code, after = run_json(capsys, "keys", "rotate")
        assert code == 0
        assert after["keys"]["key_id"] == before["keys"]["key_id"]
        assert after["keys"]["data_key_id"] != before["keys"]["data_key_id"]
        assert main(["keys", "show"]) == 0
        shown = capsys.readouterr().out
        assert after["keys"]["key_id"] in shown
        assert (store_path.parent / "store.key").read_text().strip() not in shown

    @pytest.mark.parametrize("rotate", [False, True])
    def test_rewrap_in_place(self, capsys: Capture, store_path: Path, rotate: bool) -> None:
        file = store_path.parent / "store.key"
        old = file.read_bytes()
        _, before = run_json(capsys, "keys", "show")
        code, after = run_json(capsys, "keys", "rewrap", *(["--rotate"] if rotate else []))
        assert code == 0
        assert after["keys"]["key_id"] != before["keys"]["key_id"]
        assert (after["keys"]["data_key_id"] != before["keys"]["data_key_id"]) is rotate
        assert traces(store_path.parent, old[:64]) == []
        keys = [each.name for each in store_path.parent.iterdir() if ".key" in each.name]
        assert keys == ["store.key"]
        assert main(["profiles", "show", "Ada"]) == 0

    def test_rewrap_to_a_file_and_to_a_passphrase(
        self, capsys: Capture, store_path: Path, config: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "my.key"
        assert main(["keys", "rewrap", "--key-file", str(file)]) == 0
        assert "keep a copy elsewhere" in capsys.readouterr().err
        assert [each for each in store_path.parent.iterdir() if ".key" in each.name] == []
        assert load_config(config).store.key_file == file
        assert main(["profiles", "list"]) == 0
        secret = tmp_path / "passphrase"
        secret.write_text(PASSPHRASE + "\n")
        assert main(["keys", "rewrap", "--passphrase-file", str(secret)]) == 0
        assert main(["profiles", "list"]) == 3
        assert "not a terminal, cannot ask" in capsys.readouterr().err

    @pytest.mark.parametrize("configured", [False, True])
    @pytest.mark.parametrize(
        ("module", "step"),
        [
            ("edge.store.ProfileStore", "lock_with"),
            ("edge.cli.keys", "replace_file"),
            ("edge.crypto.keys", "erase"),
        ],
    )
    @pytest.mark.parametrize("done", [False, True])
    def test_the_store_opens_wherever_a_rewrap_is_cut_off(
        self,
        store_path: Path,
        config: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        configured: bool,
        module: str,
        step: str,
        done: bool,
    ) -> None:
        former = tmp_path / "former.key"
        if configured:
            assert main(["keys", "rewrap", "--key-file", str(former)]) == 0
        real = pkgutil.resolve_name(f"{module}.{step}")

        def cut(*args: Any, **options: Any) -> None:
            if done:
                real(*args, **options)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{step}", cut)
            assert main(["keys", "rewrap", "--key-file", str(tmp_path / "new.key")]) == 130
        assert main(["profiles", "show", "Ada"]) == 0
        assert main(["keys", "rewrap", "--key-file", str(tmp_path / "new.key")]) == 0
        assert load_config(config).store.key_file == tmp_path / "new.key"
        assert main(["profiles", "show", "Ada"]) == 0

    @pytest.mark.parametrize(
        ("prepare", "code", "said"),
        [
            ("os.access", 3, "config.yaml: may not be written, and store.key_file must name the"),
            ("edge.cli.keys.find_config", 2, "no configuration can name"),
        ],
    )
    def test_without_a_configuration_that_can_name_the_key_nothing_is_done(
        self,
        capsys: Capture,
        store_path: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        prepare: str,
        code: int,
        said: str,
    ) -> None:
        before = store_path.read_bytes()
        monkeypatch.setattr(prepare, lambda *_: None)
        assert main(["keys", "rewrap", "--key-file", str(tmp_path / "new.key")]) == code
        assert said in capsys.readouterr().err
        assert store_path.read_bytes() == before
        assert not (tmp_path / "new.key").exists()

    def test_a_passphrase_is_asked_for_at_the_terminal(
        self, capsys: Capture, store_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ProfileStore(store_path) as store:
            store.lock_with(key_of_passphrase(PASSPHRASE))
        answers = ["wrong wrong wrong", PASSPHRASE]
        monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        assert main(["profiles", "list"]) == 2
        assert "another passphrase" in capsys.readouterr().err
        assert main(["profiles", "list"]) == 0

    def test_mistakes_change_nothing(
        self, capsys: Capture, store_path: Path, tmp_path: Path
    ) -> None:
        before = store_path.read_bytes()
        short = tmp_path / "short"
        short.write_text("short\n")
        assert main(["keys", "rewrap", "--passphrase-file", str(short)]) == 2
        assert main(["keys", "rewrap", "--passphrase-file", str(tmp_path / "none")]) == 2
        assert main(["keys", "rewrap", "--credential"]) == 3
        assert main(["keys", "make", str(short)]) == 2
        assert store_path.read_bytes() == before
        assert main(["keys", "make", str(tmp_path / "new.key")]) == 0
        assert key_of_file(tmp_path / "new.key") is not None
        assert capsys.readouterr().err.count("error") == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_root_does_not_follow_another_users_link(path: Path, tmp_path: Path) -> None:
    _fill(path, StoreConfig())
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    os.chown(path.parent, 1234, 1234)
    with pytest.raises(StoreError, match="is a link, which root does not follow"):
        ProfileStore(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_root_may_use_the_services_key_in_the_services_folder(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, 1234, 1234)
    _fill(path, StoreConfig())
    for each in path.parent.iterdir():
        assert (each.stat().st_uid, each.stat().st_mode & 0o777) == (1234, 0o600)
    assert _is_whole(path, StoreConfig())
    assert main(["keys", "make", str(path.parent / "other.key")]) == 0
