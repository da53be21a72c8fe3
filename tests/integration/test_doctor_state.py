"""The doctor at what is kept: folder, files, keys, store, audit trail, secrets."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge import resources
from edge.config import (
    CommandsConfig,
    Config,
    DeviceConfig,
    MqttConfig,
    SigningConfig,
    StoreConfig,
    TlsConfig,
)
from edge.config.settings import MicrophoneConfig
from edge.crypto.keys import make_key_file
from edge.crypto.signing import new_key
from edge.doctor import Finding, State
from edge.doctor.configuration import check_secrets
from edge.doctor.context import Context
from edge.doctor.storage import check
from edge.inference.card import read_card
from edge.store import open_store
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.types import AccessRule, Event, EventKind, ProfileKind
from tests.integration.doctor import as_nobody, codes, the
from tests.unit.stores import enroll, make_sample

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory as a service leaves it: Ada, an audit trail, the device's own state."""
    folder = tmp_path / "state"
    with open_store(folder) as store:
        enroll(store, "Ada", 1, 2, 3)
        key = store.derive_key(AUDIT_KEY)
    device = DeviceState(folder)
    with AuditTrail(folder, key, device, Config().audit) as trail:
        for _ in range(3):
            trail.record(Event(EventKind.STARTED, {"version": "1"}))
        trail.flush()
    device.close()
    return folder


def look(folder: Path, **store: Any) -> list[Finding]:
    return list(check(Context(Config(state_directory=folder, store=StoreConfig(**store)))))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {file.name: (file.stat().st_mode, file.read_bytes()) for file in folder.iterdir()}


def test_all_is_well_and_nothing_is_changed(state: Path) -> None:
    before = snapshot(state)
    found = look(state)
    assert codes(found) == [
        "state.private", "state_files.private", "store.opens", "key.beside", "audit.intact"
    ]  # fmt: skip
    # Without another key there is a remedy; all else is well.
    assert [f.code for f in found if f.state is not State.GREEN] == ["key.beside"]
    assert "edge-voice keys rewrap" in found[3].remedy
    assert "1 enrolled" in found[2].found
    assert "3 entries" in found[4].found
    assert "Ada" not in str(found)
    assert snapshot(state) == before


def test_who_was_enrolled_with_another_microphone(state: Path) -> None:
    with open_store(state) as store:
        for name, kind in (("Grace", "browser"), ("Zoë", "program ffmpeg"), ("Bob", "recording")):
            store.create(
                name, ProfileKind.PHRASE, required=1, samples=[make_sample()],
                speaker_model="8" * 64, phrase_model="9" * 64, microphone=kind,
            )  # fmt: skip
    context = Context(Config(state_directory=state), microphones={"front-door": "program ffmpeg"})
    found = {each.code: each for each in check(context)}["people.other_microphone"]
    assert found.found == ("enrolled with another microphone than this one (program ffmpeg): Grace")
    assert "edge-voice enroll NAME --more" in found.remedy
    # The service has the microphone, and has left word of it.
    assert "people.other_microphone" not in codes(look(state))
    with closing(DeviceState(state)) as device:
        device.put("microphone_kind", "microphone USB")
    found = {each.code: each for each in look(state)}["people.other_microphone"]
    assert found.found.endswith("(microphone USB): Grace, Zoë")


def test_who_was_enrolled_with_another_microphone_than_that_of_a_further_door(state: Path) -> None:
    with open_store(state) as store:
        for name, doors in (("Grace", ()), ("Zoë", ("front",)), ("Bob", ("back",))):
            profile = store.create(
                name, ProfileKind.PHRASE, required=1, samples=[make_sample()],
                speaker_model="8" * 64, phrase_model="9" * 64, microphone="microphone USB",
            )  # fmt: skip
            store.set_rule(profile.id, AccessRule(doors=doors))
    with closing(DeviceState(state)) as device:
        device.put("microphone_kind", "microphone USB")
        device.put("microphone_kind/back", "program ffmpeg")
    settings = Config(
        state_directory=state,
        device=DeviceConfig(id="front"),
        microphones={"back": MicrophoneConfig(), "shed": MicrophoneConfig()},
    )
    (found,) = (each for each in check(Context(settings)) if each.code == "people.other_microphone")
    assert found.found.startswith("back: enrolled with another microphone")
    assert found.found.endswith("(program ffmpeg): Grace, Bob")


def test_who_waits_and_who_has_two_names(state: Path) -> None:
    model = read_card(resources.models_directory() / "speaker_embedding.json").sha256
    with open_store(state) as store:
        for name, seeds, confirmed in (
            ("Zoë", (4, 5), False), ("Grace", (6, 7), True), ("Hopper", (6, 7), True),
            ("Robin", (8, 9), True),
        ):  # fmt: skip
            store.create(
                name, ProfileKind.PHRASE, required=2, samples=[make_sample(seed) for seed in seeds],
                speaker_model=model, phrase_model="9" * 64, confirmed=confirmed,
            )  # fmt: skip
    found = {each.code: each for each in look(state)}
    assert found["people.unconfirmed"].found == (
        "enrolled over MQTT and not confirmed, so it opens nothing: Zoë"
    )
    assert "edge-voice profiles confirm NAME" in found["people.unconfirmed"].remedy
    assert found["people.same_voice"].found == "Grace and Hopper have one voice"
    assert len([each for each in look(state) if each.code == "people.same_voice"]) == 1
    # Models without a card, or of one's own, are for another row to tell.
    other = Config(state_directory=state, models_directory=state)
    assert "people.same_voice" not in codes(list(check(Context(other))))


def test_nothing_is_there_yet_and_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert codes(look(folder)) == ["state.absent", "store.absent", "audit.absent"]
    assert not folder.exists()
    folder.mkdir(mode=0o700)
    assert codes(look(folder)) == [
        "state.private", "state_files.private", "store.absent", "audit.absent"
    ]  # fmt: skip
    assert list(folder.iterdir()) == []
    with open_store(folder):
        pass
    assert codes(look(folder))[2:] == ["store.nobody", "key.beside", "audit.absent"]


def test_who_is_not_fully_enrolled_is_not_counted(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with open_store(folder) as store:
        enroll(store, "Robin", 1, 2)
        assert codes(look(folder))[2] == "store.nobody"
        enroll(store, "Ada", 1, 2, 3)
    assert the("store.opens", look(folder)).found.endswith(": 1 enrolled")


def test_an_open_folder_and_an_open_file(state: Path) -> None:
    state.chmod(0o755)
    found = look(state)
    assert "(mode 755)" in the("state.open", found).found
    assert the("state.open", found).remedy == f"run: sudo chmod 700 {state}"
    assert codes(found)[1:] == [
        "state_files.private", "store.opens", "key.beside", "audit.intact"
    ]  # fmt: skip
    state.chmod(0o700)
    (state / "signatures.sqlite").chmod(0o644)
    found = look(state)
    assert codes(found) == [
        "state.private", "state_files.open", "store.not_opened", "audit.not_verified"
    ]  # fmt: skip
    assert f"chmod 600 {state}/signatures.sqlite" in found[1].remedy
    # It was not made private behind anybody's back.
    assert (state / "signatures.sqlite").stat().st_mode & 0o777 == 0o644


@ROOT
def test_a_file_of_another_user(state: Path) -> None:
    os.chown(state / "device.sqlite", 12345, 12345)
    foreign = the("state_files.foreign", look(state))
    assert "belongs to user 12345, its folder to root" in foreign.found
    assert foreign.remedy == f"run: sudo chown root: {state}/device.sqlite"


@ROOT
def test_a_medium_that_went_read_only(state: Path, small_disk: Path) -> None:
    shutil.copytree(state, small_disk / "state")
    (small_disk / "state").chmod(0o700)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    found = look(small_disk / "state")
    assert "read-only" in the("state.read_only", found).found
    assert "dmesg" in the("state.read_only", found).remedy


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, as those of tests are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@ROOT
def test_what_another_user_cannot_see(public: Path) -> None:
    (public / "state").mkdir(mode=0o700)
    found = as_nobody(lambda: look(public / "state"))
    assert codes(found) == ["state.unseen"]
    assert "Permission denied" in found[0].found


def test_a_key_from_elsewhere(tmp_path: Path) -> None:
    key = tmp_path / "key"
    make_key_file(key)
    folder = tmp_path / "state"
    with open_store(folder, settings=StoreConfig(key_file=key)):
        pass
    held = the("key.held", look(folder, key_file=key))
    assert held.found == f"the key comes from key file {key}"
    missing = the("store.unusable", look(folder))
    assert "which is not here" in missing.found
    assert "put that key back" in missing.remedy


def test_a_passphrase_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "store-passphrase").write_text("four words are enough\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    folder = tmp_path / "state"
    with open_store(folder, settings=StoreConfig(passphrase=True)):
        pass
    assert codes(look(folder))[2:] == ["store.nobody", "key.held", "audit.absent"]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert codes(look(folder))[2:] == ["store.passphrase", "audit.not_verified"]


def test_a_store_of_a_pre_release_version_is_left_alone(state: Path) -> None:
    with closing(sqlite3.connect(state / "signatures.sqlite")) as database:
        database.execute("PRAGMA user_version = 2")
    before = snapshot(state)
    found = look(state)
    assert codes(found)[2:] == ["store.unusable", "audit.not_verified"]
    assert "pre-release version" in the("store.unusable", found).found
    assert snapshot(state) == before


def test_a_damaged_store(state: Path) -> None:
    file = state / "signatures.sqlite"
    file.write_bytes(b"no database at all" * 100)
    file.chmod(0o600)
    found = look(state)
    assert "is not a signature store" in the("store.unusable", found).found
    file.write_bytes(b"")
    assert "remove the file to start anew" in the("store.unusable", look(state)).remedy


def test_a_trail_that_was_touched(state: Path) -> None:
    database = sqlite3.connect(state / "audit.sqlite")
    database.execute("UPDATE entry SET time_us = time_us + 1 WHERE seq = 2")
    database.commit()
    database.close()
    broken = the("audit.broken", look(state))
    assert "entry 2 is not as it was written" in broken.found
    assert "edge-voice audit verify" in broken.remedy
    (state / "audit.sqlite").write_bytes(b"rubbish" * 1000)
    damaged = the("audit.unusable", look(state))
    assert "is damaged" in damaged.found
    assert damaged.remedy.startswith("move it away")


def secrets(**sections: Any) -> list[Finding]:
    return list(check_secrets(Context(Config(**sections))))


def private(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_no_secret_at_all() -> None:
    assert codes(secrets()) == ["password.none", "signing_key.none", "command_keys.none"]
    silent = secrets(mqtt=MqttConfig(enabled=False))
    assert "signing_key.not_needed" in codes(silent)


def test_the_broker_s_password(tmp_path: Path) -> None:
    file = private(tmp_path / "password", "a secret\n")
    mqtt = MqttConfig(username="door", password_file=file)
    found = secrets(mqtt=mqtt)
    assert codes(found)[0] == "password.private"
    assert "a secret" not in str(found)
    file.chmod(0o644)
    opened = the("password.unusable", secrets(mqtt=mqtt))
    assert "open to other users (mode 644)" in opened.found
    assert opened.remedy.startswith(f"run: chmod o-rwx {file}")
    file.unlink()
    assert "cannot be read" in the("password.unusable", secrets(mqtt=mqtt)).found
    private(file, "\n")
    assert str(file) in the("password.empty", secrets(mqtt=mqtt)).remedy
    for pasted in ("\u201ca secret\u201d", "a secret ", "a\xa0secret", "'a secret'"):
        file.write_text(f"{pasted}\n")
        odd = the("password.odd", secrets(mqtt=mqtt))
        assert str(file) in odd.remedy
        assert "secret" not in odd.found


def test_the_key_of_the_device_s_certificate(tmp_path: Path) -> None:
    file = private(tmp_path / "key.pem", "key")
    mqtt = MqttConfig(tls=TlsConfig(enabled=True, key_file=file))
    assert "tls_key.private" in codes(secrets(mqtt=mqtt))
    file.chmod(0o640)
    assert the("tls_key.open", secrets(mqtt=mqtt)).remedy == f"run: chmod 600 {file}"


def test_the_key_that_signs(tmp_path: Path) -> None:
    key, content = new_key("ed25519")
    file = tmp_path / "signing-key"
    file.write_bytes(content)
    file.chmod(0o600)
    signing = SigningConfig(key_file=file)
    signed = the("signing_key.usable", secrets(signing=signing))
    assert key.key_id in signed.found
    file.chmod(0o644)
    opened = the("signing_key.unusable", secrets(signing=signing))
    assert opened.found.endswith("open to other users (mode 644)")
    assert opened.remedy.startswith(f"run: chmod 600 {file}")
    file.chmod(0o600)
    other = replace(signing, algorithm="hmac-sha256")
    assert "make one with" in the("signing_key.unusable", secrets(signing=other)).remedy


def test_the_keys_that_may_command(tmp_path: Path) -> None:
    key, _ = new_key("ed25519")
    public_key: Any = key
    rows = "".join(
        f"  - {{id: k{number}, algorithm: ed25519, key: {public_key.public.text}, role: {role}}}\n"
        for number, role in enumerate(("owner", "observer", "observer"))
    )
    file = private(tmp_path / "keys.yaml", "keys:\n" + rows)
    commands = CommandsConfig(keys_file=file)
    usable = the("command_keys.usable", secrets(commands=commands))
    assert usable.found == "command keys: 2 observer, 1 owner"
    file.chmod(0o604)
    assert "chmod 600" in the("command_keys.unusable", secrets(commands=commands)).remedy
    private(file, "keys:\n  - {id: x}\n")
    assert f"{file}:2: " in the("command_keys.unusable", secrets(commands=commands)).found
    private(file, "keys:\n")
    assert "command_keys.empty" in codes(secrets(commands=commands))
