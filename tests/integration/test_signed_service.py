"""The service against forged messages, guessing, duress and replay, at a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edge.crypto.signing import ED25519, PrivateKey, new_key
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, REPOSITORY, House, feed, heard, speak, stop
from tests.integration.waiting import PATIENCE, settled

LOCKED = {"rejections": 3, "within_s": 600.0, "first_s": 600.0}


class SignedHouse(House):
    """A house whose device signs, and whose owner has a key to command with."""

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        *,
        unsigned: dict[str, bool] | None = None,
        **sections: Any,
    ) -> None:
        super().__init__(folder, broker, dict(os.environ))
        self.key, self.owner = folder / "signing.key", folder / "owner.key"
        made = []
        for path in (self.key, self.owner):
            key, content = new_key(ED25519)
            path.touch(mode=0o600)
            path.write_bytes(content)
            assert isinstance(key, PrivateKey)
            made.append(key)
        self.public_key = folder / "lock.key"
        self.public_key.write_text(made[0].public.text + "\n")
        entry = {
            "id": made[1].key_id,
            "algorithm": made[1].algorithm,
            "key": made[1].public.text,
            "role": "owner",
        }
        commanders = folder / "commanders.yaml"
        commanders.write_text(yaml.safe_dump({"keys": [entry]}))
        commanders.chmod(0o600)
        settings = yaml.safe_load(self.config.read_text())
        settings["signing"] = {"key_file": str(self.key)}
        settings["commands"] = {
            "keys_file": str(commanders),
            "unsigned": unsigned or {},
        }
        settings.update(sections)
        self.config.write_text(yaml.safe_dump(settings))

    def tell(self, *command: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        key = ("--key", str(self.owner), "--timeout", str(PATIENCE))
        return self.run("command", *command, *key, config=config)


def test_a_lock_opens_for_what_the_device_signed(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker)
    house.enroll_ada()
    opened, log = tmp_path / "opened", tmp_path / "lock.log"
    lock = subprocess.Popen(
        [
            sys.executable, str(REPOSITORY / "tools" / "example_lock.py"), "--device", "test-door",
            "--key", str(house.public_key), "--state", str(tmp_path / "lock.state"),
            "--open-command", f"touch {opened}", "--log", str(log), "--host", "127.0.0.1",
            "--port", str(broker.port), "--clock-allowance", "2",
        ],
        env=house.environment,
    )  # fmt: skip
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("enrolled") == 1)
            assert settled(lambda: log.exists() and "listening" in log.read_text())
            speak(service, "ada_wrong_phrase")
            home.wait_for("/decision", lambda d: d["reason"] == "wrong_phrase")
            assert not opened.exists()
            speak(service, "ada_right_phrase")
            home.wait_for("/decision", lambda d: d["decision"] == "granted")
            assert settled(opened.exists), log.read_text()
        finally:
            lock.terminate()
            lock.wait(PATIENCE)
            stop(service)


def test_a_guesser_is_locked_out_until_the_owner_lifts_it(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker, lockout=LOCKED)
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("locked_out") is False)
            for _ in range(LOCKED["rejections"]):  # type: ignore[call-overload]
                home.messages.clear()
                speak(service, "stranger_adas_phrase")
                home.wait_for("/decision", lambda d: d["reason"] == "unknown_speaker")
            home.wait_for("/status", lambda s: s.get("locked_out") is True)
            home.messages.clear()
            speak(service, "ada_right_phrase")
            refused = home.wait_for("/decision").json
            assert (refused["decision"], refused["reason"]) == ("denied", "locked_out")
            assert refused["name"] is None
            assert refused["scores"] == {}
        finally:
            stop(service)
        # The power is cut: the lock-out is not over for that.
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.messages.clear()
            home.wait_for("/status", lambda s: s.get("locked_out") is True)
            lifted = house.tell("lift_lockout")
            assert lifted.returncode == 0, lifted.stderr
            home.wait_for("/status", lambda s: s.get("locked_out") is False)
            home.messages.clear()
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)
    kinds = [entry["kind"] for entry in trail(house)]
    assert kinds.count("lock_out") == 1
    assert kinds.count("lock_out_over") == 1
    assert "command" in kinds


def test_a_duress_phrase_opens_and_raises_a_silent_alarm(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker)
    house.enroll_ada()
    # Whatever else Ada says three times will do; the demo has one other phrase in her voice.
    other = [str(DEMO / "ada_wrong_phrase.flac")]
    done = house.run("enroll", "Ada", "--duress", *varied(other[0], tmp_path))
    assert done.returncode == 0, done.stderr
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("microphone") == "listening")
            speak(service, "ada_right_phrase")
            usual = home.wait_for("/decision").json
            assert not home.on("/duress")
            home.messages.clear()
            speak(service, "ada_wrong_phrase")
            forced = home.wait_for("/decision").json
            alarm = home.wait_for("/duress").json
        finally:
            stop(service)
    assert usual.keys() == forced.keys()
    for member in ("decision", "reason", "profile_id", "name", "phrase", "device", "lifetime_s"):
        assert usual[member] == forced[member]
    assert forced["counter"] == usual["counter"] + 1
    assert alarm["profile_id"] == usual["profile_id"]
    assert alarm["decision"] == forced["id"]
    assert alarm["signature"]["key_id"] == forced["signature"]["key_id"]
    assert "duress" not in house.log.read_text()
    assert "duress" in [entry["kind"] for entry in trail(house)]


def test_the_owner_stops_listening_and_locks_out(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker)
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("enrolled") == 1)
            assert house.tell("disarm").returncode == 0
            home.wait_for("/status", lambda s: s.get("listening") is False)
            speak(service, "ada_right_phrase")
            heard(service)
            assert house.tell("arm").returncode == 0
            assert house.tell("disable", "--person", "Ada").returncode == 0
            speak(service, "ada_right_phrase")
            # The first decision: none came of what was said while it did not listen.
            assert home.wait_for("/decision").json["reason"] == "disabled"
            home.messages.clear()
            assert house.tell("enable", "--person", "Ada").returncode == 0
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
            assert house.tell("delete", "--person", "Ada").returncode == 0
            home.wait_for("/status", lambda s: s.get("enrolled") == 0)
            assert house.tell("delete", "--person", "Ada").returncode == 1
        finally:
            stop(service)
    assert house.run("audit", "verify").returncode == 0
    text = json.dumps(trail(house))
    assert "Ada" not in text


def test_what_was_heard_before_does_not_open_again(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker, replay={"enabled": True})
    house.enroll_ada()
    with Subscriber(broker) as home:
        for said, reason in (
            ("ada_enroll_1", "replay_suspected"),  # what was said to enroll
            ("ada_right_phrase", "recognized"),
            ("ada_right_phrase", "replay_suspected"),  # also over a restart
        ):
            home.messages.clear()
            service = house.start("--input", "-")
            try:
                feed(service, np.zeros(16_000))
                home.wait_for("/status", lambda s: s.get("enrolled") == 1)
                speak(service, said)
                assert home.wait_for("/decision").json["reason"] == reason
            finally:
                stop(service)


def trail(house: House) -> list[dict[str, Any]]:
    shown = house.run("audit", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    content = json.loads(shown.stdout)
    entries: list[dict[str, Any]] = content["entries"] if isinstance(content, dict) else content
    return entries


def varied(recording: str, folder: Path) -> list[str]:
    """Three repetitions of one recording, no two of the same length and pitch."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(recording, dtype="float32")
    files = []
    for number, speed in enumerate((1.0, 1.02, 0.98)):
        path = folder / f"repetition_{number}.wav"
        soundfile.write(path, soxr.resample(samples, rate * speed, rate), rate)
        files.append(str(path))
    return files
