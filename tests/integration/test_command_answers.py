"""`edge-voice command` where somebody else answers on the device's topics."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.cli.main import main
from tests.integration.broker import Broker
from tests.integration.test_commands import TOPIC, configured


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@contextmanager
def answering(broker: Broker, detail: dict[str, Any]) -> Iterator[None]:
    """Somebody who says "done" to every command, with details of their own."""
    ready = threading.Event()

    def answer(client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        result = {"id": json.loads(message.payload)["id"], "ok": True, "detail": detail}
        client.publish(f"{TOPIC}/result", json.dumps(result), qos=1)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = answer
    client.on_subscribe = lambda *_: ready.set()
    client.connect("localhost", broker.port)
    client.subscribe(TOPIC, 1)
    client.loop_start()
    try:
        assert ready.wait(60)
        yield
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("command", ["status", "ping", "disarm"])
def test_a_forged_enrollment_is_not_waited_for(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with configured(tmp_path, broker) as options, answering(broker, {"session": "11"}):
        assert main(["command", command, *options]) == 0
    assert capsys.readouterr().out == "hall: done\n  session: 11\n"


def test_details_are_shown_in_words(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {"listening": True, "locked": False, "enrolling": None, "doors": ["a", "b\x1b"]}
    with configured(tmp_path, broker) as options, answering(broker, detail):
        assert main(["command", "status", *options]) == 0
    assert capsys.readouterr().out == (
        "hall: done\n  listening: yes\n  locked: no\n  enrolling: none\n  doors: a, b?\n"
    )
