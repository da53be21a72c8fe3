"""The configuration is read again while the service runs: by command or SIGHUP."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edge.crypto.canonical import wire
from edge.crypto.signing import key_in, signed
from edge.monitor.client import connect
from edge.mqtt.commands import command_message
from tests.integration.broker import Broker, Subscriber, connected, free_port, send
from tests.integration.house import House, feed, is_listening, speak, stop
from tests.integration.test_service import as_wave
from tests.integration.test_signed_service import SignedHouse
from tests.integration.virtual_microphone import VirtualMicrophone
from tests.integration.waiting import PATIENCE, settled

Service = subprocess.Popen[bytes]


class Systemd:
    """Who the service tells how it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said: queue.Queue[list[str]] = queue.Queue()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._server.bind(str(path))
        self._server.settimeout(0.1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def next(self) -> list[str]:
        """The next message that is no sign of life, line by line."""
        return self._said.get(timeout=PATIENCE)

    def _listen(self) -> None:
        # All the time: what finds the line full is dropped.
        while not self._closed.is_set():
            with contextlib.suppress(OSError):
                lines = self._server.recv(4096).decode().splitlines()
                if lines != ["WATCHDOG=1"]:
                    self._said.put(lines)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._server.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listening = Systemd(tmp_path / "notify")
    yield listening
    listening.close()


@pytest.fixture
def house(broker: Broker, tmp_path: Path, systemd: Systemd) -> SignedHouse:
    house = SignedHouse(tmp_path, broker)
    house.enroll_ada()
    house.environment["NOTIFY_SOCKET"] = str(systemd.path)
    return house


def change(house: SignedHouse, edit: Callable[[dict[str, Any]], None]) -> None:
    settings = yaml.safe_load(house.config.read_text())
    edit(settings)
    house.config.write_text(yaml.safe_dump(settings))


def started(house: SignedHouse, home: Subscriber, systemd: Systemd) -> Service:
    service = house.start("--input", "-")
    feed(service, np.zeros(16_000))
    home.wait_for("/status", lambda s: s.get("microphone") == "listening")
    assert systemd.next() == ["READY=1"]
    return service


def reloaded(service: Service, systemd: Systemd) -> None:
    """systemd is told that it begins and that it is over, and never that the service stops."""
    reloading = systemd.next()
    assert reloading[0] == "RELOADING=1"
    name, _, when = reloading[1].partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(when) > 0
    feed(service, np.zeros(16_000))
    assert systemd.next() == ["READY=1"]


def test_a_new_configuration_by_a_command(
    broker: Broker, house: SignedHouse, systemd: Systemd
) -> None:
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            change(house, lambda settings: settings["device"].update(name="The red door"))
            done = house.tell("reload", "--device-key", str(house.public_key))
            assert done.returncode == 0, done.stderr
            reloaded(service, systemd)
            home.wait_for("/status", lambda s: s.get("name") == "The red door")
            assert service.poll() is None
            # The same pipe is listened to.
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
            # Whose commands it no longer accepts, and what it no longer does.
            (house.config.parent / "commanders.yaml").write_text("keys: []\n")
            service.send_signal(signal.SIGHUP)
            reloaded(service, systemd)
            refused = house.tell("ping")
            assert refused.returncode == 1
            assert "unknown_key" in refused.stderr
        finally:
            stop(service)
    assert systemd.next() == ["STOPPING=1"]


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_mistake_changes_nothing(
    broker: Broker, house: SignedHouse, systemd: Systemd, by: str
) -> None:
    wrong: list[tuple[Callable[[dict[str, Any]], None], str]] = [
        (lambda settings: settings.update(audoi={}), "unknown key"),
        (lambda settings: settings["signing"].update(key_file="gone.key"), "gone.key"),
        (lambda settings: settings["commands"].update(keys_file="gone.yaml"), "gone.yaml"),
        (lambda settings: settings["mqtt"].update(username="u", password_file="gone.txt"),  # noqa: S106
         "gone.txt"),
        (lambda settings: settings["mqtt"].update(tls={"enabled": True, "ca_file": "gone.pem"}),
         "gone.pem"),
    ]  # fmt: skip
    right = house.config.read_text()
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            for edit, problem in wrong:
                change(house, edit)
                if by == "command":
                    done = commanded(house, right)
                    assert done.returncode == 1
                    assert "bad_config" in done.stderr
                    assert problem in done.stderr
                    assert "nothing has changed" in done.stderr
                    assert len(done.stderr.splitlines()) == 1
                else:
                    service.send_signal(signal.SIGHUP)
                    assert settled(lambda problem=problem: problem in house.log.read_text())
                house.config.write_text(right)
            home.messages.clear()
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)
    assert systemd.next() == ["STOPPING=1"]
    text = house.log.read_text()
    assert ("keeping the previous configuration" in text) == (by == "signal")


def test_models_that_do_not_open_are_not_gone_on_with(
    broker: Broker, house: SignedHouse, systemd: Systemd, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            change(house, lambda settings: settings.update(models_directory="models"))
            assert house.tell("disarm").returncode == 0
            service.send_signal(signal.SIGHUP)
            reloaded(service, systemd)
            assert "keeping the previous configuration" in house.log.read_text()
            # Who disarmed it did not mean until the next reload.
            home.messages.clear()
            status = house.tell("status")
            assert "listening: no" in status.stdout
            assert house.tell("arm").returncode == 0
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)


def test_the_same_process_for_years(broker: Broker, house: SignedHouse, systemd: Systemd) -> None:
    """The models of the past are let go: 40 MB each would be too much for the unit's limit soon."""
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            sizes = []
            for _ in range(5):
                service.send_signal(signal.SIGHUP)
                reloaded(service, systemd)
                home.messages.clear()
                speak(service, "ada_right_phrase")
                assert home.wait_for("/decision").json["decision"] == "granted"
                pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            assert sizes[-1] - sizes[1] < 60.0, sizes
        finally:
            stop(service)


def test_those_who_watch_watch_on(
    broker: Broker, house: SignedHouse, systemd: Systemd, tmp_path: Path
) -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    change(house, lambda settings: settings.update(
        metrics={"enabled": True, "port": port}, homeassistant={"discovery": True}
    ))  # fmt: skip
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            home.wait_for("/config")
            for _ in range(2):
                service.send_signal(signal.SIGHUP)
                reloaded(service, systemd)
                with Subscriber(broker) as late:
                    late.wait_for("/status", lambda s: s.get("microphone") == "listening")
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE
                ) as page:
                    assert b"edge_voice" in page.read()
                assert settled((tmp_path / "state" / "monitor.sock").exists)
                with connect([tmp_path / "state" / "monitor.sock"]) as monitor:
                    monitor.settimeout(PATIENCE)
                    assert b'"type"' in monitor.recv(4096)
            change(house, lambda settings: settings.update(metrics={"enabled": False}))
            service.send_signal(signal.SIGHUP)
            reloaded(service, systemd)
            with pytest.raises(urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE)
        finally:
            stop(service)
    assert "failed" not in house.log.read_text()
    assert "there are no metrics" not in house.log.read_text()


def test_the_microphone_is_opened_again(
    microphone: VirtualMicrophone, broker: Broker, tmp_path: Path
) -> None:
    house = House(tmp_path, broker, microphone.environment)
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start()
        try:
            home.wait_for("/status", is_listening)
            house.config.write_text(
                house.config.read_text().replace("id: test-door", "id: test-door\n  name: Attic")
            )
            service.send_signal(signal.SIGHUP)
            home.wait_for("/status", lambda s: s.get("name") == "Attic" and is_listening(s))
            microphone.play(as_wave("ada_right_phrase", tmp_path))
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)


def test_no_command_that_follows_an_answer_is_lost(
    broker: Broker, house: SignedHouse, systemd: Systemd
) -> None:
    with Subscriber(broker) as home:
        service = started(house, home, systemd)
        try:
            for _ in range(3):
                for command in ("reload", "ping"):
                    done = house.tell(command, "--device-key", str(house.public_key))
                    assert done.returncode == 0, (command, done.stderr)
        finally:
            stop(service)


def test_no_command_of_anybody_is_lost_while_the_service_changes_hands(
    broker: Broker, house: SignedHouse, systemd: Systemd
) -> None:
    key = key_in(house.owner)
    with Subscriber(broker) as home, connected(broker) as client:
        service = started(house, home, systemd)
        try:
            first = time.time_ns() // 10**6
            sent: dict[str, str] = {}
            for number in range(3):
                if number:
                    change(house, lambda settings: settings["device"].update(name="The red door"))
                for name in ("ping", "reload", "ping", "list", "disarm", "arm"):
                    message = command_message(name, {}, "test-door", key)
                    # Two may be made in one millisecond.
                    message = signed({**message, "counter": first + len(sent)}, "command", key)
                    sent[message["id"]] = name
                    send(client, "edge-voice/test-door/command", wire(message))
                reloaded(service, systemd)
                for ended, name in sent.items():
                    said = home.wait_for("/command/result", lambda r, end=ended: r["id"] == end)
                    assert said.json["ok"], said.json
                    assert said.json["command"] == name
            states = {said.json["state"] for said in home.on("/status")}
            assert states == {"online"}
        finally:
            stop(service)


def commanded(house: SignedHouse, right: str) -> subprocess.CompletedProcess[str]:
    """Command a reload; the sender's own configuration is the one that is right."""
    other = house.config.parent / "sender.yaml"
    other.write_text(right)
    return house.tell("reload", config=other)


def test_a_hang_up_at_a_terminal_ends_it(broker: Broker, house: SignedHouse) -> None:
    main, terminal = os.openpty()
    with house.log.open("ab") as log, Subscriber(broker) as home:
        service = subprocess.Popen(
            house.command("run", "--device", "no such microphone"), env=house.environment,
            stdin=terminal, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        home.wait_for("/status", lambda s: s.get("state") == "online")
        service.send_signal(signal.SIGHUP)
        assert service.wait(PATIENCE) == -signal.SIGHUP
    os.close(main)
    os.close(terminal)
