"""The reference lock as a real process, with a real broker, against whoever is on the network."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.access.issuing import Issuer
from edge.crypto.signing import HmacKey, PrivateKey, new_key, signed
from edge.store.device_state import DeviceState
from edge.types.decision import utc
from tests.conftest import REPOSITORY
from tests.integration.attacks import Attacker, Key
from tests.integration.broker import Broker, connected, require, send
from tests.integration.home import decision, publisher
from tests.integration.waiting import PATIENCE, settled

TOPIC = "edge-voice/hall/decision"


@dataclass
class RunningLock:
    """A lock and what it left behind."""

    log: Path
    opened: Path
    state: Path

    def lines(self, result: str) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line]
        return [line for line in lines if line["result"] == result]

    @property
    def times_opened(self) -> int:
        return len(self.opened.read_text()) if self.opened.exists() else 0


@contextmanager
def lock(folder: Path, broker: Broker, key: Key, *, wait: bool = True) -> Iterator[RunningLock]:
    folder.mkdir(exist_ok=True)
    key_file = folder / "key"
    if isinstance(key, PrivateKey):
        key_file.write_text(key.public.text + "\n")
    else:
        key_file.write_text(bytes(range(32)).hex() + "\n")
    running = RunningLock(folder / "log", folder / "opened", folder / "counter")
    before = len(running.lines("listening"))
    process = subprocess.Popen(
        [
            sys.executable, str(REPOSITORY / "tools" / "example_lock.py"),
            "--device", "hall", "--key", str(key_file), "--port", str(broker.port),
            "--state", str(running.state), "--log", str(running.log),
            "--open-command", f"sh -c 'printf x >> {running.opened}'",
        ],
    )  # fmt: skip
    try:
        assert settled(lambda: not wait or len(running.lines("listening")) > before)
        yield running
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def key_for(algorithm: str) -> Key:
    if algorithm == "hmac-sha256":
        return HmacKey(bytes(range(32)))
    key = new_key(algorithm)[0]
    assert isinstance(key, PrivateKey)
    return key


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    # Its queue for a slow receiver is without end, so that every message arrives.
    with Broker(tmp_path / "broker", options="max_queued_messages 0") as running:
        yield running


def hold_against(tmp_path: Path, broker: Broker, algorithm: str, count: int, seed: int) -> None:
    key = key_for(algorithm)
    issuer = Issuer("hall", DeviceState(tmp_path / "state"), key)
    with (
        publisher(broker.port) as device,
        lock(tmp_path / "lock", broker, key) as door,
        connected(broker) as client,
    ):
        heard = []
        for _ in range(3):  # the residents come home
            issued = issuer.issue(decision())
            heard.append(issued.to_json())
            device.publish_decision(issued)
        assert settled(lambda: door.times_opened == 3)

        def genuine(counter: int, issued_at: float, device_id: str) -> dict[str, Any]:
            made = replace(decision(), time=issued_at, counter=counter, issued_at=issued_at)
            return {**made.as_dict(), "device": device_id}

        night = Attacker(
            "decision", key, genuine, heard,
            first=4, now=time.time(), device="hall", seed=seed,
        )  # fmt: skip
        tried: Counter[str] = Counter()
        last: paho.MQTTMessageInfo | None = None
        for number, attack in enumerate(night.attacks(count)):
            tried[attack.kind] += 1
            last = client.publish(TOPIC, attack.payload, qos=1, retain=attack.retain)
            if number % 500 == 499:
                last.wait_for_publish(PATIENCE)
        assert last is not None
        last.wait_for_publish(PATIENCE)
        assert settled(lambda: len(door.lines("refused")) >= count)
        assert len(door.lines("refused")) == count  # every single one is in its log
        assert door.times_opened == 3
        assert len(tried) == 19
        reasons = Counter(line["reason"] for line in door.lines("refused"))
        assert "error" not in reasons
        assert {"bad_signature", "late", "not_yet", "repeated", "other_device"} <= set(reasons)
        assert {"unsigned", "too_large", "too_deep", "duplicate_member", "not_json"} <= set(reasons)
        # And the residents still come home.
        device.publish_decision(issuer.issue(decision()))
        assert settled(lambda: door.times_opened == 4)


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
def test_hundreds_of_attacks_open_nothing(tmp_path: Path, broker: Broker, algorithm: str) -> None:
    hold_against(tmp_path, broker, algorithm, count=380, seed=1)


@pytest.mark.slow
def test_ten_thousand_attacks_open_nothing(tmp_path: Path, broker: Broker) -> None:
    hold_against(tmp_path, broker, "ed25519", count=10_000, seed=2)


def test_a_genuine_decision_opens_once_also_after_a_restart(tmp_path: Path, broker: Broker) -> None:
    key = key_for("ed25519")
    issuer = Issuer("hall", DeviceState(tmp_path / "state"), key)
    payload = issuer.issue(decision(lifetime_s=50.0)).to_json().encode()
    later = issuer.issue(decision(lifetime_s=50.0)).to_json().encode()
    with lock(tmp_path / "lock", broker, key) as door, connected(broker) as client:
        send(client, TOPIC, payload)
        assert settled(lambda: door.times_opened == 1)
        send(client, TOPIC, payload)
        assert settled(lambda: len(door.lines("refused")) == 1)
    with lock(tmp_path / "lock", broker, key) as door, connected(broker) as client:
        send(client, TOPIC, payload)
        assert settled(lambda: len(door.lines("refused")) == 2)
        send(client, TOPIC, later)
        assert settled(lambda: door.times_opened == 2)
        # In the wrong order: the earlier one was withheld, and comes after the later one.
        send(client, TOPIC, payload)
        assert settled(lambda: len(door.lines("refused")) == 3)
    assert door.times_opened == 2
    assert [line["reason"] for line in door.lines("refused")] == ["repeated"] * 3


def test_what_the_broker_kept_does_not_open(tmp_path: Path, broker: Broker) -> None:
    key = key_for("ed25519")
    issuer = Issuer("hall", DeviceState(tmp_path / "state"), key)
    with connected(broker) as client:
        send(client, TOPIC, issuer.issue(decision(lifetime_s=50.0)).to_json().encode(), retain=True)
        with lock(tmp_path / "lock", broker, key) as door:
            assert settled(lambda: len(door.lines("refused")) == 1)
    assert door.lines("refused")[0]["reason"] == "retained"
    assert door.times_opened == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"decision": "denied"}, "denied"),
        ({"decision": "Granted"}, "not_granted"),
        ({"decision": True}, "not_granted"),
        ({"decision": None}, "not_granted"),
        ({"reason": "wrong_phrase"}, "not_granted"),
        ({"device": "hall2"}, "other_device"),
        ({"device": None}, "other_device"),
        ({"counter": "7"}, "bad_counter"),
        ({"counter": True}, "bad_counter"),
        ({"counter": 7.5}, "bad_counter"),
        ({"counter": -1}, "bad_counter"),
        ({"issued_at": 0}, "bad_time"),
        ({"expires_at": "2099-99-01T00:00:00.000Z"}, "bad_time"),
        ({"expires_at": "2099-01-01T00:00:00.000Z"}, "lives_too_long"),
        ({"expires_at": "2001-01-01T00:00:00.000Z"}, "late"),
    ],
)
def test_even_a_signed_message_must_say_exactly_the_right_thing(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    from tools.example_lock import Counter as Numbers
    from tools.example_lock import Key as LockKey
    from tools.example_lock import Lock, Refused

    key = key_for("hmac-sha256")
    door = Lock("hall", LockKey(bytes(range(32)).hex()), Numbers(tmp_path / "counter"), 1.0)
    now = time.time()
    message = {
        "device": "hall", "decision": "granted", "reason": "recognized", "counter": 7,
        "issued_at": utc(now), "expires_at": utc(now + 5),
    }  # fmt: skip
    text = json.dumps(signed({**message, **changes}, "decision", key)).encode()
    with pytest.raises(Refused, match=f"^{reason}$"):
        door.consider(text, retained=False)
    right = json.dumps(signed(message, "decision", key)).encode()
    assert door.consider(right, retained=False)["counter"] == 7


@given(st.one_of(st.binary(max_size=200), st.text(max_size=60).map(str.encode)))
def test_no_bytes_open_it(payload: bytes) -> None:
    from tools.example_lock import Counter as Numbers
    from tools.example_lock import Key as LockKey
    from tools.example_lock import Lock, Refused

    door = Lock("hall", LockKey(bytes(32).hex()), Numbers(Path("/nonexistent/counter")), 1.0)
    for wrapped in (payload, b'{"a":' + payload + b"}", b'{"signature":' + payload + b"}"):
        with pytest.raises(Refused):
            door.consider(wrapped, retained=False)


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
def test_another_implementation_agrees(tmp_path: Path, algorithm: str) -> None:
    """OpenSSL, on the bytes that any JSON library makes of a message as it was sent."""
    require("openssl")
    key = key_for(algorithm)
    made = replace(decision(), scores={"voice": 3.0, "phrase": -0.0001}, name='Zoë \u2028 \\ "')
    sent = Issuer("hall", DeviceState(tmp_path), key).issue(made).to_json()
    message = json.loads(sent)
    signature = message.pop("signature")
    head = f"edge-voice/1\ndecision\n{signature['algorithm']}\n{signature['key_id']}\n"
    text = json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data, value = tmp_path / "data", base64.b64decode(signature["value"])
    data.write_bytes((head + text).encode())
    if algorithm == "hmac-sha256":
        secret = f"hexkey:{bytes(range(32)).hex()}"
        command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", secret, str(data)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said.split()[-1] == value.hex()
        return
    assert isinstance(key, PrivateKey)
    public, file = tmp_path / "public", tmp_path / "signature"
    # RFC 8410: what stands before the 32 bytes of an Ed25519 key.
    public.write_bytes(bytes.fromhex("302a300506032b6570032100") + key.public.raw)
    file.write_bytes(value)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", str(public)]
    command += ["-rawin", "-in", str(data), "-sigfile", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "Verified Successfully" in said


def test_a_lock_that_cannot_remember_stays_shut(tmp_path: Path) -> None:
    from tools.example_lock import Counter as Numbers
    from tools.example_lock import Key as LockKey
    from tools.example_lock import Lock, Refused

    key = key_for("ed25519")
    assert isinstance(key, PrivateKey)
    folder = tmp_path / "gone"
    door = Lock("hall", LockKey(key.public.text), Numbers(folder / "counter"), 1.0)
    issuer = Issuer("hall", DeviceState(tmp_path / "state"), key)
    with pytest.raises(Refused, match="cannot_remember"):
        door.consider(issuer.issue(decision()).to_json().encode(), retained=False)
    damaged = tmp_path / "counter"
    damaged.write_text("not a number")
    with pytest.raises(ValueError, match="invalid literal"):
        Numbers(damaged)
