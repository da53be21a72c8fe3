"""No secret, no embedding and no sound in anything that is said, at any level.

A house in which everything that can happen happens, as talkative as it can be made. All that the
service and the commands write, all that is on the broker and all that the audit trail exports is
searched, in every writing, for every key, passphrase, embedding and recording that was in use.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.publish
import pytest
import soundfile
import yaml

from edge.config import Config, load_config
from edge.crypto.canonical import wire
from edge.crypto.signing import COMMAND, ED25519, HMAC, new_key, signed
from edge.mqtt.commands import command_message
from edge.replay.memory import ACCEPTED, REFUSED
from edge.store import ProfileStore
from edge.store.audit import AUDIT_KEY
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, House, feed, speak, stop
from tests.integration.secrets import Array, figures, leaks, pieces, sound_pieces
from tests.integration.test_signed_service import varied

BROKER_PASSWORD = "correct-horse-battery-7731"  # noqa: S105 (the test's own)
STORE_PASSPHRASE = "Nine lanterns under a paper moon"  # noqa: S105
FILE_PASSPHRASE = "twelve quiet herons at the weir"  # noqa: S105
DURESS_WORDS = "the kettle is boiling over"
LOCKED = {"rejections": 3, "within_s": 60.0, "first_s": 30.0}


@dataclass
class Everything:
    """What was said, and what must not have been.

    Attributes:
        said: by source.
        secrets: by name.
        embeddings: all their values, one after the other.
    """

    said: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    embeddings: list[Array] = field(default_factory=list)

    def hear(self, source: str, *texts: str) -> None:
        self.said[source] = self.said.get(source, b"") + "".join(texts).encode()


class TalkativeHouse(House):
    """A house with every lock there is, where every command says all it can."""

    def __init__(self, folder: Path, broker: Broker, record: Everything) -> None:
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "store-passphrase").write_text(STORE_PASSPHRASE + "\n")
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(credentials)}
        super().__init__(folder, broker, environment)
        self.folder, self.record = folder, record
        self.commander, private = new_key(ED25519)
        self.operator, shared = new_key(HMAC)
        self.keys = folder / "owner.key", folder / "operator.key"
        files = {
            self.keys[0]: private,
            self.keys[1]: shared,
            folder / "broker.password": BROKER_PASSWORD.encode(),
            folder / "passphrase": FILE_PASSPHRASE.encode(),
            folder / "commanders.yaml": self._commanders(shared),
        }
        for path, content in files.items():
            path.touch(mode=0o600)
            path.write_bytes(content)
        assert broker.login is not None
        mqtt = {"username": broker.login[0], "password_file": str(folder / "broker.password")}
        self.configure(
            mqtt=mqtt,
            store={"passphrase": True},
            commands={"keys_file": str(folder / "commanders.yaml")},
            signing={"key_file": str(folder / "signing.key")},
            lockout=LOCKED,
            log_level="debug",
        )
        self.must("signing", "new-key", str(folder / "signing.key"))

    def _commanders(self, shared: bytes) -> bytes:
        public = self.commander.public.text  # type: ignore[attr-defined]
        rows = [
            {"id": self.commander.key_id, "algorithm": ED25519, "key": public, "role": "owner"},
            {"id": self.operator.key_id, "algorithm": HMAC, "key": shared.decode().strip(),
             "role": "operator"},
        ]  # fmt: skip
        return yaml.safe_dump({"keys": rows}).encode()

    def configure(self, **sections: Any) -> None:
        settings = yaml.safe_load(self.config.read_text())
        for name, value in sections.items():
            known = settings.get(name)
            settings[name] = {**known, **value} if isinstance(known, dict) else value
        self.config.write_text(yaml.safe_dump(settings))

    def run(self, *arguments: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        # A service has a process to itself.
        run = super().spawn if arguments[0] == "run" else super().run
        done = run(*arguments, "-vv")
        self.record.hear(" ".join(arguments[:2]), done.stdout, done.stderr)
        return done

    def must(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def note_keys(self, when: str) -> None:
        """Take down what the store is locked and sealed with now, and everything it holds."""
        config = load_config(self.config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CREDENTIALS_DIRECTORY", self.environment["CREDENTIALS_DIRECTORY"])
            self._note(config, when)

    def _note(self, config: Config, when: str) -> None:
        secrets = self.record.secrets
        with ProfileStore(config.state_path / "signatures.sqlite", settings=config.store) as store:
            vault = store._file.vault
            key = store.key_sources.find(vault.lock)
            secrets[f"data key, {when}"] = vault.secrets.data
            secrets[f"root key, {when}"] = vault.secrets.root
            secrets[f"wrapping key, {when}"] = key.secret
            secrets[f"audit key, {when}"] = store.derive_key(AUDIT_KEY)
            for profile in store.list():
                for number, sample in enumerate(profile.samples):
                    for array in (sample.speaker_embedding, sample.phrase_embedding):
                        if array is not None:
                            flat = np.asarray(array, np.float64).ravel()
                            self.record.embeddings.append(flat)
                            for name, piece in pieces(flat).items():
                                secrets[f"{when}, {profile.id} {number}, {name}"] = piece
            for item in store.kept(ACCEPTED) + store.kept(REFUSED):
                secrets[f"fingerprint {item.id}, {when}"] = item.payload[16:48]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    folder = tmp_path_factory.mktemp("house")
    record = Everything()
    with Broker(folder / "broker", login=("door", BROKER_PASSWORD)) as broker:
        house = TalkativeHouse(folder, broker, record)
        with Subscriber(broker) as home:
            _live(house, broker, home)
            for message in home.messages:
                record.hear("broker", message.topic, " ", message.text, "\n")
    record.said["service"] = house.log.read_bytes()
    _note_files(house)
    return record


def _live(house: TalkativeHouse, broker: Broker, home: Subscriber) -> None:
    """Everything that can happen, once; each step is seen to have happened."""
    must = house.must
    ada, robin = (
        [str(file) for file in sorted(DEMO.glob(f"{name}_enroll*"))] for name in ("ada", "robin")
    )
    must("enroll", "Ada", "--phrase", "what Ada says", *ada)
    must("enroll", "Robin", *robin)
    duress = varied(str(DEMO / "ada_wrong_phrase.flac"), house.folder)
    must("enroll", "Ada", "--duress", "--phrase", DURESS_WORDS, *duress)
    house.note_keys("enrolled")
    heard: list[str] = []
    service = house.start("--input", "-", "-vv")
    try:
        feed(service, np.zeros(16_000))
        home.wait_for("/status", lambda s: s.get("microphone") == "listening")

        def say(recording: str) -> None:
            count = len(home.on("/decision"))
            speak(service, recording)
            home.wait_for("/decision", lambda _: len(home.on("/decision")) > count)
            heard.append(home.on("/decision")[-1].json["reason"])

        say("ada_right_phrase")
        say("ada_wrong_phrase")
        home.wait_for("/duress")
        say("ada_right_phrase")
        forged = command_message("lift_lockout", {}, "test-door", new_key(ED25519)[0])
        stolen = {**forged, "signature": {**forged["signature"], "key_id": house.commander.key_id}}
        good = command_message("ping", {}, "test-door", house.operator)
        late = {**good, "issued_at": "2020-01-01T00:00:00.000Z"}
        topic = next(m.topic for m in home.messages if m.topic.endswith("/status"))
        topic = topic.replace("/status", "/command")
        for payload in (forged, stolen, good, good, late, signed(good, COMMAND, house.operator)):
            _publish(broker, topic, wire(payload))
        _publish(broker, topic, '{"command": "ping", "password": 1')
        _publish(broker, topic.replace("/command", "/set/listening"), "OFF")
        for key in house.keys:
            must("command", "ping", "--key", str(key))
        assert house.run("command", "delete", "--person", "Ada", "--key",
                         str(house.keys[1])).returncode == 1  # fmt: skip
        house.note_keys("heard")
        must("keys", "rotate")
        house.note_keys("rotated")
        for _ in range(3):
            say("stranger_adas_phrase")
        say("ada_right_phrase")
        home.wait_for("/status", lambda s: s.get("locked_out") is True)
        must("command", "lift_lockout", "--key", str(house.keys[0]))
        owner = str(house.keys[0])
        exported, secret = str(house.folder / "ada.profile"), str(house.folder / "passphrase")
        must("profiles", "export", "Ada", exported, "--passphrase-file", secret)
        must("profiles", "import", exported, "--as", "Augusta", "--passphrase-file", secret)
        assert house.run("profiles", "import", exported, "--passphrase-file",
                         str(house.folder / "broker.password")).returncode == 2  # fmt: skip
        must("access", "set", "Augusta", "--hours", "mon-fri 07:00-18:00")
        must("command", "disable", "--person", "Robin", "--key", owner)
        say("robin_right_phrase")
        must("profiles", "delete", "Augusta", "--yes")
    finally:
        stop(service)
    must("keys", "rewrap", "--key-file", str(house.folder / "store.key"), "--rotate")
    house.configure(store={"passphrase": False, "key_file": str(house.folder / "store.key")})
    house.note_keys("rewrapped")
    must("run", "--json", "--input", str(DEMO / "robin_near_phrase.flac"))
    for command in ("keys show", "profiles list", "profiles show Ada", "access show",
                    "audit verify", "audit show", "audit show --json", "audit export -",
                    "lockout show", "config check", "signing public-key"):  # fmt: skip
        house.run(*command.split())
    # Mistakes explain themselves; they must not quote the key that they are about.
    (house.folder / "commanders.yaml").write_bytes(house.keys[1].read_bytes() * 2)
    house.run("run", "--input", str(DEMO / "robin_near_phrase.flac"))
    (house.folder / "signing.key").write_bytes(house.keys[1].read_bytes())
    house.run("run", "--input", str(DEMO / "robin_near_phrase.flac"))
    (house.folder / "store.key").write_bytes(b"f" * 64)
    assert house.run("profiles", "list").returncode == 3
    assert {*heard} >= {"recognized", "unknown_speaker", "locked_out", "disabled"}
    kinds = {entry["kind"] for entry in map(json.loads, _trail(house)) if "kind" in entry}
    expected = "decision duress lock_out lock_out_over command command_refused enrollment export"
    assert kinds >= {*expected.split(), "import", "deletion", "keys", "change"}


def _trail(house: TalkativeHouse) -> list[str]:
    said = house.record.said["audit export"].decode()
    return [line for line in said.splitlines() if line.startswith("{")]


def _publish(broker: Broker, topic: str, payload: str) -> None:
    user, password = broker.login or ("", "")
    login: Any = {"username": user, "password": password}
    paho.mqtt.publish.single(topic, payload, qos=1, hostname="127.0.0.1", port=broker.port,
                             auth=login)  # fmt: skip


def _note_files(house: TalkativeHouse) -> None:
    secrets = house.record.secrets
    for name, text in {
        "broker password": BROKER_PASSWORD, "store passphrase": STORE_PASSPHRASE,
        "file passphrase": FILE_PASSPHRASE, "duress phrase": DURESS_WORDS,
    }.items():  # fmt: skip
        secrets[name] = text.encode()
    secrets["owner key"] = house.commander._key.private_bytes_raw()  # type: ignore[attr-defined]
    secrets["operator key"] = house.operator._secret  # type: ignore[attr-defined]
    secrets["operator key, as text"] = house.keys[1].read_bytes().strip()
    secrets["owner key, as text"] = house.keys[0].read_bytes().splitlines()[1][22:]
    for file in sorted(DEMO.glob("*.flac")):
        samples, _ = soundfile.read(file)
        for name, piece in sound_pieces(samples).items():
            secrets[f"{file.stem}, {name}"] = piece


def test_everything_was_said(everything: Everything) -> None:
    assert len(everything.said["service"].splitlines()) >= 15
    assert len(everything.said["broker"].splitlines()) > 30
    assert len(everything.said) > 15
    assert len(everything.secrets) > 200
    assert len(np.concatenate(everything.embeddings)) > 10_000


def test_no_secret_in_anything_that_was_said(everything: Everything) -> None:
    found = {source: leaks(said, everything.secrets) for source, said in everything.said.items()}
    assert {source: names for source, names in found.items() if names} == {}


def test_no_embedding_in_anything_that_was_said(everything: Everything) -> None:
    values = np.concatenate(everything.embeddings)
    found = {source: figures(said, values) for source, said in everything.said.items()}
    assert {source: runs for source, runs in found.items() if runs} == {}


def test_no_array_and_no_endless_line_in_the_log(everything: Everything) -> None:
    log = everything.said["service"].decode()
    assert "array(" not in log
    assert "[[" not in log
    assert "duress" not in log
    assert max(len(line) for line in log.splitlines()) < 1200


KEY = bytes(range(160, 192))


@pytest.mark.parametrize(
    "written",
    [
        KEY.hex(), KEY.hex().upper(), repr(KEY), str(list(KEY)), base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(b"xy" + KEY).decode(), KEY[:8].hex(":"), KEY[:8].hex(),
        base64.b64encode(b"k" + KEY[:8]).decode(), str(int.from_bytes(KEY, "big")), str(KEY[:8]),
    ],
)  # fmt: skip
def test_the_search_finds_a_key(written: str) -> None:
    assert leaks(f"x {written} x".encode(), {"key": KEY}) == ["key"]
    assert leaks(KEY[1:].hex().encode(), {"other": KEY[::-1]}) == []


def test_the_search_finds_figures() -> None:
    values = np.random.default_rng(1).standard_normal(400) * 0.07
    other = np.random.default_rng(2).standard_normal(400) * 0.07
    with np.printoptions(threshold=20):
        for text in (str(values[8:30]), repr(values), str(values.astype(np.float32)),
                     " ".join(f"{value:.3f}" for value in values[50:60]),
                     json.dumps(values[7:9].tolist())):  # fmt: skip
            assert figures(text.encode(), values)
            assert not figures(text.encode(), other)
