"""The figures for Prometheus, fetched from a running service."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.config import Config, DeviceConfig, MetricsConfig, MqttConfig
from edge.mqtt import MqttPublisher
from edge.mqtt.commands import unix
from edge.service.metrics import _MOST_READERS, Metrics
from tests.integration.broker import Broker, Subscriber, free_port
from tests.integration.house import House, is_listening, speak, stop
from tests.integration.waiting import PATIENCE, settled

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text: str = answer.read().decode()
    return text


def figures(text: str) -> Figures:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def plain(found: Figures) -> dict[str, float]:
    """Those of one door, and of the process."""
    alone = ((), (("device", "test-door"),))
    return {name: value for (name, labels), value in found.items() if labels in alone}


def decisions(found: Figures) -> dict[tuple[str, str], float]:
    return {
        (dict(labels)["outcome"], dict(labels)["reason"]): value
        for (name, labels), value in found.items()
        if name == "edge_voice_decisions_total"
    }


def listening_ports(process: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
    return {
        (each.laddr.ip, each.laddr.port)
        for each in psutil.Process(process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }


def test_what_a_service_tells(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    house = House(tmp_path, broker, {}, metrics={"enabled": True, "port": port})
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            assert settled(lambda: listening_ports(service))
            # This machine's own address, and no other.
            assert listening_ports(service) == {("127.0.0.1", port)}
            for number, name in enumerate(("ada_right_phrase", "stranger_other_phrase"), 1):
                speak(service, name)
                assert settled(lambda number=number: len(home.on("/decision")) == number)
            home.wait_for("/status", is_listening)
            reasons = [(d.json["decision"], d.json["reason"]) for d in home.on("/decision")]
            assert reasons == [("granted", "recognized"), ("denied", "no_match")]
            # Counted after they were published.
            assert settled(lambda: sum(decisions(figures(fetch(port))).values()) == 2.0)
            found = figures(fetch(port))
            counted = decisions(found)
            assert counted[("granted", "recognized")] == 1.0
            assert counted[("denied", "no_match")] == 1.0
            assert sum(counted.values()) == 2.0
            # Every reason is there before it happens, so that the first one is an increase.
            assert counted[("denied", "locked_out")] == 0.0
            told = plain(found)
            assert told["edge_voice_deciding_seconds_count"] == 2.0
            took = [d.json["timings_ms"]["decide"] / 1e3 for d in home.on("/decision")]
            assert told["edge_voice_deciding_seconds_sum"] == pytest.approx(sum(took), abs=2e-4)
            assert told["edge_voice_answer_seconds_count"] == 2.0
            answered = [
                max(0.0, (unix(d.json["issued_at"]) or 0.0) - (unix(d.json["time"]) or 0.0))
                for d in home.on("/decision")
            ]
            assert told["edge_voice_answer_seconds_sum"] == pytest.approx(sum(answered), abs=3e-3)
            states = {
                "listening": 1.0, "microphone_up": 1.0, "broker_connected": 1.0, "enrolled": 1.0,
                "locked_out": 0.0, "problem": 0.0, "lost_samples_total": 0.0,
                "dropped_decisions_total": 0.0, "late_decisions_total": 0.0,
                "broker_connections_total": 1.0, "confirmed_decisions_total": 2.0,
            }  # fmt: skip
            assert {name: told[f"edge_voice_{name}"] for name in states} == states
            assert "edge_voice_discarded_utterances_total" in told
            memory = psutil.Process(service.pid).memory_info().rss
            assert told["process_resident_memory_bytes"] == pytest.approx(memory, rel=0.3)
            text = fetch(port)
            assert 'edge_voice_info{device="test-door",version="' in text
            for secret in ("Ada", "what Ada says"):
                assert secret not in text
            broker.kill()
            assert settled(lambda: plain(figures(fetch(port)))["edge_voice_broker_connected"] == 0)
        finally:
            stop(service)


def test_off_by_default_and_the_package_not_even_loaded(broker: Broker, tmp_path: Path) -> None:
    house = House(tmp_path, broker, {})
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            home.wait_for("/status")
            assert listening_ports(service) == set()
        finally:
            stop(service)
    code = "import sys, edge.service; print('prometheus_client' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=house.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "False\n"


def test_the_door_goes_on_without_the_package(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "prometheus_client.py").write_text("raise ImportError('not here')\n")
    house = House(tmp_path, broker, {"PYTHONPATH": ""}, metrics={"enabled": True})
    house.environment["PYTHONPATH"] = f"{tmp_path}/without:{house.environment['PYTHONPATH']}"
    house.enroll_ada()
    with Subscriber(broker) as home:
        service = house.start("--input", "-")
        try:
            home.wait_for("/status")
            speak(service, "ada_right_phrase")
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)
    lines = [line for line in house.log.read_text().splitlines() if "prometheus" in line]
    assert len(lines) == 1
    assert "pip install 'edge-voice[metrics]'" in lines[0]
    assert "Traceback" not in house.log.read_text()


def test_a_port_that_is_taken_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        config = Config(
            metrics=MetricsConfig(enabled=True, port=port), mqtt=MqttConfig(enabled=False)
        )
        monkeypatch.setattr("edge.service.metrics._RETRY_S", 0.0)
        metrics = Metrics(config, MqttPublisher(config.mqtt, DeviceConfig()))
        metrics.tick()
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1
        place = f"metrics cannot be served at 127.0.0.1, port {port} "
        assert said[0] == f"{place}(address already in use); choose another metrics.port"
    metrics.tick()
    assert 'edge_voice_broker_connected{device="front-door"} 0.0' in fetch(port)
    metrics.close()
    assert settled(lambda: not _answers(port))


def test_a_reader_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.metrics._READER_S", 0.2)
    port = free_port()
    config = Config(metrics=MetricsConfig(enabled=True, port=port), mqtt=MqttConfig(enabled=False))
    metrics = Metrics(config, MqttPublisher(config.mqtt, DeviceConfig()))
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as silent:
            assert silent.recv(1) == b""
        assert "edge_voice_info" in fetch(port)
    finally:
        metrics.close()


def test_many_readers_take_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.metrics._READER_S", 60.0)
    port = free_port()
    config = Config(metrics=MetricsConfig(enabled=True, port=port), mqtt=MqttConfig(enabled=False))
    metrics = Metrics(config, MqttPublisher(config.mqtt, DeviceConfig()))
    before = threading.active_count()
    try:
        with contextlib.ExitStack() as silent:
            lines = [
                silent.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                for _ in range(40)
            ]
            assert all(line.recv(1) == b"" for line in lines[_MOST_READERS:])
            assert threading.active_count() <= before + _MOST_READERS
        assert settled(lambda: threading.active_count() <= before)
        assert "edge_voice_info" in fetch(port)
    finally:
        metrics.close()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
