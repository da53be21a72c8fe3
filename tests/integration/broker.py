"""A real Mosquitto on a loopback port of its own, to be killed, frozen and started again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.contract import complaint_about
from tests.integration.waiting import PATIENCE, settled


def require(*programs: str) -> None:
    """Skip where a program is missing; fail instead where CI=true promises that it is there."""
    for program in programs:
        if find(program) is None:
            text = f"{program} is not installed (Debian: apt install mosquitto openssl)"
            if os.environ.get("CI") == "true":
                pytest.fail(text)
            pytest.skip(text)


def find(program: str) -> str | None:
    """Path of a program, also of those in sbin, which are not on every user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


_kept: deque[socket.socket] = deque(maxlen=100)
"""Sockets bound to the last ports that were given out."""


def free_port() -> int:
    """A port that nobody else gets: neither another test nor a connection that needs one.

    A socket stays bound to it. It does not listen, so connections are refused, and it lets a server
    that may reuse addresses, as servers do, have the port.
    """
    probe = socket.socket()
    probe.bind(("127.0.0.1", 0))
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _kept.append(probe)
    return int(probe.getsockname()[1])


class Authority:
    """A throw-away certificate authority with one certificate, for localhost."""

    def __init__(self, folder: Path, name: str = "localhost", days: int = 2) -> None:
        require("openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / "ca.pem"
        self.cert_file = folder / "cert.pem"
        self.key_file = folder / "key.pem"
        ca_key, request = folder / "ca.key", folder / "cert.csr"
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._openssl(
            "req", "-x509", *curve, "-keyout", ca_key, "-out", self.ca_file,
            "-subj", "/CN=test authority", "-days", str(days),
        )  # fmt: skip
        self._openssl(
            "req", *curve, "-keyout", self.key_file, "-out", request, "-subj", f"/CN={name}"
        )
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", ca_key,
            "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", self.cert_file,
        )  # fmt: skip

    @staticmethod
    def _openssl(*arguments: object) -> None:
        command = ["openssl", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


class Broker:
    """Mosquitto with a configuration of its own.

    Use as a context manager; it listens when the block begins and is gone when it ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        login: tuple[str, str] | None = None,
        tls: Authority | None = None,
        acl: str = "",
        options: str = "",
    ) -> None:
        require("mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.login = login
        self.tls = tls
        self.log_file = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", options]
        if os.getuid() == 0:
            lines.append("user root")  # otherwise it changes user, and cannot read its files
        if login is not None:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            require("mosquitto_passwd")
            subprocess.run(
                [str(find("mosquitto_passwd")), "-b", str(passwords), *login],
                check=True,
                capture_output=True,
                timeout=PATIENCE,
            )
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        if acl:
            rules = folder / "acl"
            rules.write_text(acl)
            rules.chmod(0o600)
            lines.append(f"acl_file {rules}")
        if tls is not None:
            lines += [f"certfile {tls.cert_file}", f"keyfile {tls.key_file}"]
        self._config.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, on the same port each time, and wait until it listens."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [str(find("mosquitto")), "-c", str(self._config)], stdout=log, stderr=log
            )
        process = self._process
        settled(lambda: self._answers() or process.poll() is not None)
        if not self._answers():
            raise RuntimeError(f"mosquitto did not start: {self.log_file.read_text()}")

    def kill(self) -> None:
        """SIGKILL: no goodbye to anyone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was, and reads what has arrived meanwhile."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def unread(self) -> int:
        """Bytes that have arrived here and that it has not read, as while it is frozen."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = (line.split() for line in lines)
        ours = f"0100007F:{self.port:04X}"
        return sum(
            int(row[4].split(":")[1], 16) for row in rows if row[1] == ours and row[3] == "01"
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def connected(broker: AnyBroker, user: str = "") -> Iterator[paho.Client]:
    """Anybody on the network, who may say anything."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if user:
        client.username_pw_set(user, "")
    client.max_queued_messages_set(0)
    client.max_inflight_messages_set(20)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def send(client: paho.Client, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
    """Publish something as soon as there is a broker, and wait until it has it."""
    assert settled(client.is_connected), "no broker to publish to"
    client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE)


class AnyBroker(Protocol):
    """A broker on this machine, of whatever make."""

    port: int


class Received:
    """One message as a subscriber got it."""

    def __init__(self, message: paho.MQTTMessage) -> None:
        self.topic = message.topic
        self.text = message.payload.decode(errors="replace")
        self.retain = message.retain
        self.qos = message.qos
        self.at = time.monotonic()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Subscriber:
    """Listens at a broker and keeps what arrives; comes back when the broker does.

    What a device says is held against the schemas; `contract=False` is for tests in which somebody
    else speaks on the device's topics, or says what no device would.
    """

    def __init__(
        self,
        broker: AnyBroker,
        topic: str = "#",
        *,
        client_id: str = "",
        keep_session: bool = False,
        contract: bool = True,
    ) -> None:
        self.messages: list[Received] = []
        self._contract = contract
        self._checked = 0
        self._topic = topic
        self._arrived = threading.Condition()
        self._ready = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=not keep_session,
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        if isinstance(broker, Broker) and broker.login is not None:
            self._client.username_pw_set(*broker.login)
        if isinstance(broker, Broker) and broker.tls is not None:
            self._client.tls_set(ca_certs=str(broker.tls.ca_file))
        self._client.connect("localhost", broker.port)
        self._client.loop_start()

    def __enter__(self) -> Subscriber:
        assert self._ready.wait(PATIENCE), "the test's own subscriber could not subscribe"
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        if kind is None:
            with self._arrived:
                self._hold_against_contract()

    def ready_again(self) -> None:
        """Wait for the subscription after the broker came back; call `lost` before it does."""
        assert self._ready.wait(PATIENCE), "the test's own subscriber could not come back"

    def lost(self) -> None:
        self._ready.clear()

    def on(self, ending: str) -> list[Received]:
        """What came on topics that end like this."""
        with self._arrived:
            return [message for message in self.messages if message.topic.endswith(ending)]

    def wait_for(self, ending: str, check: Callable[..., bool] = lambda _: True) -> Received:
        """The first message on such a topic whose JSON passes the check."""
        deadline = time.monotonic() + PATIENCE
        with self._arrived:
            while True:
                self._hold_against_contract()
                for message in self.messages:
                    if message.topic.endswith(ending) and check(message.json):
                        return message
                left = deadline - time.monotonic()
                if left <= 0 or not self._arrived.wait(left):
                    seen = [(message.topic, message.text) for message in self.messages]
                    raise AssertionError(f"nothing on {ending}; got {seen}")

    def _hold_against_contract(self) -> None:
        """Look at what came since the last time; not in the client's thread, which hides errors."""
        while self._contract and self._checked < len(self.messages):
            message = self.messages[self._checked]
            self._checked += 1
            wrong = complaint_about(message.topic, message.text)
            assert wrong is None, f"{message.topic} breaks its schema: {wrong}; {message.text}"

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._arrived:
            self.messages.append(Received(message))
            self._arrived.notify_all()


def kept(broker: Broker, topic: str) -> dict[str, str]:
    """What the broker keeps on such topics, by topic, whoever said it."""
    with Subscriber(broker, contract=False) as listener, connected(broker) as client:
        send(client, "end/of/what/was/kept", "{}")
        listener.wait_for("end/of/what/was/kept")
    found = {each.topic: each.text for each in listener.messages if each.retain}
    return {each: text for each, text in found.items() if paho.topic_matches_sub(topic, each)}
