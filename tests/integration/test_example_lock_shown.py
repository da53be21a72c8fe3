"""What Home Assistant is shown of the reference lock, and that it cannot be opened from there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from edge.access.issuing import Issuer
from edge.crypto.signing import HmacKey
from edge.store.device_state import DeviceState
from tests.conftest import REPOSITORY
from tests.integration.broker import Broker, Subscriber, connected, send
from tests.integration.home import DEVICE, decision, publisher
from tests.integration.waiting import PATIENCE, settled

STATUS = "edge-voice-lock/hall/status"
CONFIG = "homeassistant/binary_sensor/edge_voice_lock_hall/lock/config"


def test_it_is_shown_and_not_commanded(tmp_path: Path, broker: Broker) -> None:
    key = HmacKey(bytes(range(32)))
    (tmp_path / "key").write_text(bytes(range(32)).hex())
    opened = tmp_path / "opened"
    issuer = Issuer(DEVICE.id, DeviceState(tmp_path / "state"), key)
    command = [
        sys.executable, str(REPOSITORY / "tools" / "example_lock.py"), "--device", "hall",
        "--key", str(tmp_path / "key"), "--state", str(tmp_path / "counter"),
        "--port", str(broker.port), "--home-assistant", "homeassistant", "--open-s", "2",
        "--open-command", f"sh -c 'printf x >> {opened}'",
    ]  # fmt: skip
    listening = Subscriber(broker, contract=False)  # somebody forges, and a lock has its own topics
    with listening as listener, connected(broker) as client, publisher(broker.port) as device:
        lock = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            listener.wait_for(STATUS, lambda said: said["lock"] == "locked")
            config = listener.wait_for(CONFIG).json
            assert "command_topic" not in config
            assert config["device_class"] == "lock"
            assert config["off_delay"] == 2
            assert config["state_topic"] == config["availability_topic"] == STATUS
            # Everything that somebody could try from there.
            for topic in (STATUS, "edge-voice-lock/hall/set", "edge-voice/hall/set/lock"):
                for word in ('"UNLOCK"', '"OPEN"', '{"state":"offline","lock":"open"}'):
                    send(client, topic, word)
            forged = json.loads(decision().to_json())
            send(client, "edge-voice/hall/decision", json.dumps(forged))
            said_last = listener.wait_for(
                STATUS, lambda said: "last_refused" in said and said["last_refused"] == "unsigned"
            ).json
            assert not opened.exists()
            device.publish_decision(issuer.issue(decision()))
            shown = listener.wait_for(STATUS, lambda said: said == {**said_last, "lock": "open"})
            # Not kept: whoever comes later must not be told that it is open.
            assert not shown.retain
            assert settled(lambda: opened.exists() and opened.read_text() == "x")
            with Subscriber(broker, STATUS, contract=False) as later:
                assert later.wait_for(STATUS).json["lock"] == "locked"
        finally:
            lock.terminate()
            assert lock.wait(PATIENCE) == 0
        listener.wait_for(STATUS, lambda said: said == {"state": "offline"})
