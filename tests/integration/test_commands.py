"""Commands over a real broker: into a publisher with a queue, by hand and by the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.access.issuing import Issuer
from edge.cli.main import main
from edge.config import CommandsConfig, DeviceConfig, MqttConfig, UnsignedConfig
from edge.crypto.canonical import wire
from edge.crypto.signing import PrivateKey, signed
from edge.mqtt import CommandQueue, MqttPublisher
from edge.mqtt.command_queue import FloodLog
from edge.mqtt.commands import command_message
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind
from edge.types.decision import utc
from tests.integration.attacks import Attacker
from tests.integration.broker import AnyBroker, Broker, Subscriber, connected, send
from tests.integration.home import DEVICE, decision
from tests.integration.waiting import PATIENCE, settled

OWNER = PrivateKey(bytes(range(32)), "owner-phone")
DEVICE_KEY = PrivateKey(b"d" * 32)
TOPIC = "edge-voice/hall/command"


class Device:
    """A publisher and a command queue, and a main thread that works it off."""

    def __init__(self, folder: Path, port: int, **settings: Any) -> None:
        protocol = settings.pop("protocol", "auto")
        folder.mkdir(parents=True, exist_ok=True)
        keys = folder / "command-keys.yaml"
        keys.write_text(
            "keys:\n"
            f"  - {{id: owner-phone, algorithm: ed25519, key: {OWNER.public.text}, role: owner}}\n"
        )
        keys.chmod(0o600)
        self.done: list[tuple[str, Any]] = []
        self.events: list[Event] = []
        self.state = DeviceState(folder)
        self.issuer = Issuer(DEVICE.id, self.state, DEVICE_KEY)
        self.publisher = MqttPublisher(MqttConfig(port=port, protocol=protocol), DEVICE)
        self.queue = CommandQueue(
            CommandsConfig(keys_file=keys, unsigned=UnsignedConfig(**settings)),
            DEVICE.id,
            self.state,
            {
                "arm": lambda _: self.done.append(("listening", True)),
                "disarm": lambda _: self.done.append(("listening", False)),
                "delete": lambda given: self.done.append(("delete", given["person"])),
                "status": lambda _: {"listening": True},
                "enroll_start": self._enroll,
            },
            record=self.events.append,
            answer=self._answer,
            refusals=FloodLog(summary_s=1.0),
        )
        self.publisher.listen(self.queue.filters, self.queue.receive)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _enroll(self, given: Any) -> dict[str, Any]:
        self.done.append(("enroll", given["person"]))
        return {"session": "this-one", "person": given["person"]}

    def tell(self, domain: str = "enrollment", **fields: Any) -> None:
        """Say how an enrollment goes."""
        text = self.issuer.sign_message(domain, fields, lifetime_s=60.0)
        self.publisher.publish("enrollment", text, lifetime_s=60.0)

    def _answer(self, fields: Any) -> None:
        text = self.issuer.sign_message("result", fields, lifetime_s=60.0)
        self.publisher.publish("command/result", text, lifetime_s=60.0)

    def _work(self) -> None:
        while not self._stop.wait(0.05):
            self.queue.work()

    def __enter__(self) -> Device:
        self.publisher.start()
        self._thread.start()
        assert settled(lambda: self.publisher.announced)  # and subscribed, which comes first
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self.publisher.close()
        self.queue.close()

    @property
    def refused(self) -> int:
        events = [event for event in self.events if event.kind is EventKind.COMMAND_REFUSED]
        return sum(int(event.detail.get("messages") or 1) for event in events)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", options="max_queued_messages 0") as running:
        yield running


def genuine(counter: int, issued_at: float, device: str) -> dict[str, Any]:
    return {
        "id": f"attack-{counter}",
        "command": "delete",
        "arguments": {"person": "Ada"},
        "device": device,
        "counter": counter,
        "issued_at": utc(issued_at),
        "expires_at": utc(issued_at + 20),
    }


def same_id(wanted: str, got: Any) -> bool:
    return bool(got["id"] == wanted)


def hold_against(tmp_path: Path, broker: Broker, count: int) -> None:
    with (
        Device(tmp_path / "device", broker.port) as device,
        connected(broker) as client,
        Subscriber(broker, "edge-voice/hall/command/result") as listener,
    ):
        heard = [wire(command_message("disarm", {}, "hall", OWNER))]
        send(client, TOPIC, heard[0])
        assert settled(lambda: device.done == [("listening", False)])
        first = json.loads(heard[0])["counter"] + 1
        night = Attacker(
            "command", OWNER, genuine, heard, first=first, now=time.time(), device="hall"
        )
        tried: Counter[str] = Counter()
        last = None
        for number, attack in enumerate(night.attacks(count)):
            tried[attack.kind] += 1
            last = client.publish(TOPIC, attack.payload, qos=1, retain=attack.retain)
            if number % 500 == 499:
                # No faster than they are looked at, or a busy machine keeps minutes of them.
                last.wait_for_publish(PATIENCE)
                least = number + 1 - tried["large"]
                assert settled(lambda least=least: device.refused >= least)
        assert last is not None
        last.wait_for_publish(PATIENCE)
        # A busy machine takes its time with them, and a command that waited for too long is late.
        assert settled(lambda: device.refused >= count - tried["large"])
        # And the owner is still obeyed.
        message = command_message("arm", {}, "hall", OWNER)
        send(client, TOPIC, wire(message))
        listener.wait_for("/result", lambda got: got["id"] == message["id"] and got["ok"])
        assert device.done == [("listening", False), ("listening", True)]
    # Every single one is in the trail, by itself or counted. MQTT 5 lets the broker keep back
    # what is larger than this device takes.
    assert count - tried["large"] <= device.refused <= count
    assert len(device.events) < 400
    assert len(tried) == 19


def test_hundreds_of_attacks_command_nothing(tmp_path: Path, broker: Broker) -> None:
    hold_against(tmp_path, broker, 380)


@pytest.mark.slow
@pytest.mark.long
def test_ten_thousand_attacks_command_nothing(tmp_path: Path, broker: Broker) -> None:
    hold_against(tmp_path, broker, 10_000)


def test_a_flood_holds_up_no_decision(tmp_path: Path, broker: Broker) -> None:
    with (
        Device(tmp_path / "device", broker.port) as device,
        connected(broker) as client,
        Subscriber(broker, "edge-voice/hall/decision") as listener,
    ):
        stop = threading.Event()

        def flood() -> None:
            message = wire(signed(genuine(1, time.time(), "hall"), "command", DEVICE_KEY))
            while not stop.is_set():
                for _ in range(100):
                    client.publish(TOPIC, message, qos=0)
                # As fast as the broker takes them, and no faster.
                send(client, TOPIC, message)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for number in range(1, 11):
                assert settled(lambda count=100 * number: device.refused > count)
                # One that does not arrive while it is good is dropped.
                made = device.issuer.issue(decision())
                device.publisher.publish_decision(made)
                listener.wait_for("/decision", partial(same_id, made.id))
        finally:
            stop.set()
            thread.join()
    assert device.refused > 1000


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_retained_commands_are_not_obeyed(tmp_path: Path, broker: Broker, protocol: str) -> None:
    with connected(broker) as client:
        kept = wire(command_message("disarm", {}, "hall", OWNER))
        send(client, TOPIC, kept, retain=True)
        send(client, "edge-voice/hall/set/listening", "OFF", retain=True)
        with Device(tmp_path / "d", broker.port, protocol=protocol, listening=True) as device:
            send(client, "edge-voice/hall/set/listening", "ON")
            assert settled(lambda: ("listening", True) in device.done)
            assert device.done == [("listening", True)]
    # MQTT 5 does not even send them.
    assert device.refused == (2 if protocol == "3.1.1" else 0)


def test_switches_of_home_assistant_are_off_by_default(tmp_path: Path, broker: Broker) -> None:
    with Device(tmp_path / "d", broker.port) as device, connected(broker) as client:
        for suffix, payload in (("listening", "OFF"), ("lift_lockout", "PRESS"), ("x", "y")):
            send(client, f"edge-voice/hall/set/{suffix}", payload)
        assert settled(lambda: device.refused == 3)
        assert device.done == []


def test_the_broker_comes_back_and_commands_with_it(tmp_path: Path, broker: Broker) -> None:
    with Device(tmp_path / "d", broker.port) as device:
        broker.kill()
        assert settled(lambda: not device.publisher.connected)
        broker.start()
        assert settled(lambda: device.publisher.announced)
        with connected(broker) as client:
            message = wire(command_message("arm", {}, "hall", OWNER))
            send(client, TOPIC, message)
            assert settled(lambda: device.done == [("listening", True)])


def test_a_message_without_end_is_not_taken_in(
    tmp_path: Path, broker: Broker, let_pass: Callable[[float], None]
) -> None:
    with (
        Device(tmp_path / "d", broker.port, protocol="3.1.1") as device,
        connected(broker) as client,
        Subscriber(broker) as listener,
    ):
        before = device.publisher.counters.connections
        # The broker sends it again to everybody who subscribes.
        send(client, TOPIC, b"x" * 30_000_000, retain=True)
        assert settled(lambda: device.publisher.counters.connections > before)
        assert settled(lambda: device.publisher.connected)
        made = device.issuer.issue(decision())
        device.publisher.publish_decision(made)
        listener.wait_for("/decision", lambda got: got["id"] == made.id)
        assert device.publisher.counters.connections == before + 1
        send(client, TOPIC, b"", retain=True)
        # A minute later it hears commands again, before it publishes anything.
        let_pass(60.1)
        device.publisher.set_status(microphone="listening")
        listener.wait_for("/status", lambda status: status.get("microphone") == "listening")
        message = wire(command_message("arm", {}, "hall", OWNER))
        send(client, TOPIC, message)
        assert settled(lambda: device.done == [("listening", True)])


def test_other_messages_do_not_keep_decisions_waiting(broker: Broker, tmp_path: Path) -> None:
    with (
        Device(tmp_path / "d", broker.port) as device,
        Subscriber(broker, "edge-voice/hall/decision") as listener,
    ):
        # Nobody listens to these, and MQTT 5 says so.
        for _ in range(20):
            device.publisher.publish("duress", "{}", lifetime_s=600.0)
        made = device.issuer.issue(decision())
        device.publisher.publish_decision(made)
        got = listener.wait_for("/decision")
        assert got.text == made.to_json()
        with Subscriber(broker, "edge-voice/hall/duress", contract=False) as late:
            late.wait_for("/duress")
            assert not late.on("/duress")[0].retain
        assert device.publisher.counters.dropped == 0


def test_retained_state_of_other_parts(broker: Broker, tmp_path: Path) -> None:
    with Device(tmp_path / "d", broker.port) as device:
        device.publisher.publish("lockout", '{"locked":true}', retain=True)
        with Subscriber(broker, "edge-voice/hall/lockout") as listener:
            assert listener.wait_for("/lockout").json == {"locked": True}
            listener.lost()
            broker.kill()
            device.publisher.publish("lockout", '{"locked":false}', retain=True)
            broker.start()
            listener.ready_again()
            listener.wait_for("/lockout", lambda got: got == {"locked": False})
        for wrong in ("decision", "status", "command", "set/x", "a/+", "#", "", "/x", "x" * 40):
            with pytest.raises(ValueError, match="cannot publish on"):
                device.publisher.publish(wrong, "{}", retain=True)
        with pytest.raises(ValueError, match="lifetime"):
            device.publisher.publish("duress", "{}")


@contextmanager
def configured(folder: Path, broker: AnyBroker) -> Iterator[list[str]]:
    config = folder / "config.yaml"
    config.write_text(
        f"device: {{id: hall}}\nmqtt: {{port: {broker.port}}}\nsigning: {{key_file: device.key}}\n"
    )
    for name, key in (("owner.key", bytes(range(32))), ("device.key", b"d" * 32)):
        (folder / name).write_bytes(key)
        (folder / name).chmod(0o600)
    (folder / "device.pub").write_text(DEVICE_KEY.public.text + "\n")
    mine = ["--key", str(folder / "owner.key"), "--key-id", "owner-phone"]
    yield ["--config", str(config), *mine, "--timeout", str(PATIENCE)]


def test_the_command_line(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        configured(tmp_path, broker) as options,
        Device(tmp_path / "device", broker.port) as device,
    ):
        trusting = [*options, "--device-key", str(tmp_path / "device.pub")]
        assert main(["command", "ping", *trusting]) == 0
        assert main(["command", "status", *trusting, "--json"]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["answer"]["detail"] == {
            "listening": True
        }
        assert main(["command", "disarm", *options]) == 0
        assert main(["command", "delete", "--person", "Zoë", *options]) == 0
        assert device.done == [("listening", False), ("delete", "Zoë")]
        assert main(["command", "lock_out", *options]) == 1
        assert "unsupported" in capsys.readouterr().err
        # Another key under the same name.
        assert main(["command", "ping", *options, "--key", str(tmp_path / "device.key")]) == 1
        assert "bad_signature" in capsys.readouterr().err
        assert main(["command", "open", *options]) == 2
        assert main(["command", "delete", *options]) == 2
        assert main(["command", "ping", "--person", "x", *options]) == 2
        assert main(["command", "ping", *options, "--to", "shed", "--timeout", "0.5"]) == 3
        # An answer that somebody else gives is not waited for.
        assert main(["command", "ping", *options, "--device-key", str(tmp_path / "other.pub")]) == 2
        (tmp_path / "other.pub").write_text(OWNER.public.text)
        other = ["--device-key", str(tmp_path / "other.pub"), "--timeout", "0.5"]
        assert main(["command", "ping", *options, *other]) == 3
        assert main(["command", "ping", *options[:2], "--key", str(tmp_path / "config.yaml")]) == 2


def following(options: list[str], *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge.cli", "command", "enroll_start", "--person", "Ada"]
    return subprocess.Popen(
        [*command, *options, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_line_follows_what_the_device_says(tmp_path: Path, broker: Broker) -> None:
    with (
        configured(tmp_path, broker) as options,
        Device(tmp_path / "device", broker.port) as device,
    ):
        asked = following(options, "--device-key", str(tmp_path / "device.pub"), "--json")
        assert settled(lambda: device.done == [("enroll", "Ada")])
        device.tell(id="another", state="complete", message="somebody else")
        device.tell("result", id="this-one", state="complete", message="of another domain")
        forged = signed(
            {"id": "this-one", "state": "complete", "device": "hall"}, "enrollment", OWNER
        )
        device.publisher.publish("enrollment", wire(forged), lifetime_s=60.0)
        device.tell(id="this-one", state="accepted", message="1 of 3")
        device.tell(id="this-one", state="timed_out", message="nobody spoke")
        said, _ = asked.communicate(timeout=PATIENCE)
        assert asked.returncode == 1  # not complete
        events = json.loads(said)["events"]
        assert [event["message"] for event in events] == ["1 of 3", "nobody spoke"]
        # Without the device's key anything is believed, but nothing is obeyed.
        asked = following(options)
        assert settled(lambda: len(device.done) == 2)
        device.tell(id="this-one", state="accepted", message="1\x1b[2J")
        device.tell(id="this-one", state="complete", message="done")
        said, _ = asked.communicate(timeout=PATIENCE)
        assert asked.returncode == 0
        assert said.splitlines() == ["hall: done", "  1?[2J", "  done"]
        # Ctrl-C leaves it going on.
        asked = following(options)
        assert settled(lambda: len(device.done) == 3)
        device.tell(id="this-one", state="accepted", message="1 of 3")
        assert asked.stdout is not None
        assert asked.stdout.readline() == "hall: done\n"
        assert asked.stdout.readline() == "  1 of 3\n"
        asked.send_signal(signal.SIGINT)
        _, complaint = asked.communicate(timeout=PATIENCE)
        assert asked.returncode == 130
        assert "the enrollment goes on; 'edge-voice command enroll_cancel' ends it" in complaint
        # And so does a broker that is gone.
        asked = following(options)
        assert settled(lambda: len(device.done) == 4)
        assert asked.stdout is not None
        assert asked.stdout.readline() == "hall: done\n"
        broker.kill()
        _, complaint = asked.communicate(timeout=PATIENCE)
        assert asked.returncode == 3
        assert "the connection broke; the command may still be carried out" in complaint


def test_the_command_line_without_a_broker(tmp_path: Path, broker: Broker) -> None:
    with configured(tmp_path, broker) as options:
        broker.kill()
        assert main(["command", "ping", *options]) == 3


def test_the_version_3_broker_of_the_demo(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    from edge.demo.parts import DemoBroker

    with DemoBroker() as old:
        device = MqttPublisher(MqttConfig(host=old.host, port=old.port), DeviceConfig(id="hall"))
        taken: list[Any] = []
        device.listen(("command",), taken.append)
        device.start()
        try:
            assert settled(lambda: device.announced)
            with connected(old) as client:
                send(client, TOPIC, b"hello")
            assert settled(lambda: len(taken) == 1)
        finally:
            device.close()
    assert taken[0].payload == b"hello"
