"""Metrics of the service for Prometheus, served on this machine alone.

They are counts and times, without names, profiles and phrases; a silent alarm counts as the grant
that it looks like.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import edge
from edge.access.decider import Judgment
from edge.config import Config
from edge.errors import EnvironmentFault
from edge.mqtt import MqttPublisher
from edge.mqtt.discovery import PROBLEMS
from edge.service.observers import Observer
from edge.types import Outcome, ReasonCode

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_DECIDE_S = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0)
_ANSWER_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Fine around 900 ms, within which a decision should come."""
_READER_S = 5.0
"""A silent reader is disconnected after this: each one costs a thread."""
_MOST_READERS = 4
"""At a time. The service may have so many threads, which no local user must use up."""
_RETRY_S = 60.0
_DEVICE = ("device",)
"""The label that says at which door."""
_NOT_DECIDED = (ReasonCode.RECOGNIZED, ReasonCode.REPEATED)

_GAUGES = {
    "listening": "Whether the device listens.",
    "microphone_up": "Whether sound arrives from the microphone.",
    "enrolled": "People who can open.",
    "locked_out": "Whether the door is locked out after too many rejections.",
    "problem": "Whether the store, the audit trail, the challenge, clock or state has a problem.",
    "broker_connected": "Whether the broker has accepted the present connection.",
}
_COUNTERS = {
    "lost_samples": "Audio samples that were lost, 16,000 a second.",
    "discarded_utterances": "Sounds that were too short to be speech.",
    "late_decisions": "Decisions dropped because they came too late.",
    "dropped_decisions": "Decisions that the broker never confirmed in time.",
    "confirmed_decisions": "Decisions that the broker has taken.",
    "broker_connections": "Connections to the broker.",
}

_log = logging.getLogger(__name__)


class Metrics(Observer):
    """An observer that counts, and serves Prometheus from a thread of its own.

    Raises:
        EnvironmentFault: the package is missing.
    """

    def __init__(self, config: Config, publisher: MqttPublisher) -> None:
        try:
            import prometheus_client as prometheus  # noqa: PLC0415 (only where it is asked for)
        except ImportError:
            raise EnvironmentFault(
                "metrics.enabled needs the package prometheus-client; run, in the environment of"
                " this software: pip install 'edge-voice[metrics]', or set metrics.enabled to false"
            ) from None
        registry = prometheus.CollectorRegistry()
        self._decisions = prometheus.Counter(
            "edge_voice_decisions",
            "Decisions by what was decided, and why.",
            (*_DEVICE, "outcome", "reason"),
            registry=registry,
        )
        self._deciding = prometheus.Histogram(
            "edge_voice_deciding_seconds",
            "Time to decide, from the utterance to the decision.",
            _DEVICE,
            buckets=_DECIDE_S,
            registry=registry,
        )
        self._answering = prometheus.Histogram(
            "edge_voice_answer_seconds",
            "Time from the end of the speech to the decision handed to MQTT.",
            _DEVICE,
            buckets=_ANSWER_S,
            registry=registry,
        )
        info = prometheus.Info("edge_voice", "Which device and version.", registry=registry)
        info.info({"version": edge.__version__, "device": config.device.id})
        self._state = _State()
        registry.register(self._state)
        prometheus.ProcessCollector(registry=registry)
        address, port = config.metrics.address, config.metrics.port
        self._serve: Callable[[], Any] = lambda: prometheus.start_http_server(
            port, address, registry
        )
        self._place = f"{address}, port {port}"
        self._server: Any = None
        self._tried_at = float("-inf")
        self._device = config.device.id
        self._count(self._device, publisher)
        self.tick()

    def _count(self, device: str, publisher: MqttPublisher) -> None:
        """Begin to count at a door: all from the beginning, so that the first is an increase."""
        self._decisions.labels(device, Outcome.GRANTED.value, ReasonCode.RECOGNIZED.value)
        for reason in ReasonCode:
            if reason not in _NOT_DECIDED:
                self._decisions.labels(device, Outcome.DENIED.value, reason.value)
        self._deciding.labels(device)
        self._answering.labels(device)
        self._state.publishers[device] = publisher

    def of_door(self, config: Config, publisher: MqttPublisher) -> Observer:
        """An observer that counts at a further door."""
        self._count(config.device.id, publisher)
        return _DoorMetrics(self, config.device.id)

    def decided(self, judgment: Judgment) -> None:
        """Count a decision."""
        self.decided_at(self._device, judgment)

    def decided_at(self, device: str, judgment: Judgment) -> None:
        """Count a decision of one door."""
        decision = judgment.decision
        self._decisions.labels(device, decision.outcome.value, decision.reason.value).inc()
        took_ms = decision.timings_ms.get("decide")
        if took_ms is not None:
            self._deciding.labels(device).observe(took_ms / 1e3)
        if judgment.utterance.speech_ended_at > 0.0 and decision.issued_at is not None:
            answered_s = max(0.0, decision.issued_at - decision.time)
            self._answering.labels(device).observe(answered_s)

    def tick(self) -> None:
        """Start to serve; a port that is taken is tried again later."""
        if self._server is not None or time.monotonic() - self._tried_at < _RETRY_S:
            return
        first, self._tried_at = self._tried_at < 0.0, time.monotonic()
        try:
            server, _ = self._serve()
        except OSError as error:
            if first:
                _log.error(
                    "metrics cannot be served at %s (%s); choose another metrics.port",
                    self._place,
                    (error.strerror or str(error)).lower(),
                )
            return
        handler: Any = server.RequestHandlerClass
        server.RequestHandlerClass = type("Handler", (handler,), {"timeout": _READER_S})
        _bound(server)
        self._server = server

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            # The port at once, for the service after a reload; the rest takes half a second.
            with contextlib.suppress(OSError):
                self._server.socket.shutdown(socket.SHUT_RDWR)
            self._server.socket.close()
            threading.Thread(target=_end, args=(self._server,), daemon=True).start()


def _bound(server: Any) -> None:
    """Have a server refuse more readers at a time than `_MOST_READERS`."""
    free = threading.BoundedSemaphore(_MOST_READERS)
    serve, work = server.process_request, server.process_request_thread

    def process_request(request: Any, address: Any) -> None:
        if not free.acquire(blocking=False):
            server.shutdown_request(request)
            return
        try:
            serve(request, address)
        except BaseException:  # there was no thread to be had
            free.release()
            raise

    def process_request_thread(request: Any, address: Any) -> None:
        try:
            work(request, address)
        finally:
            free.release()

    server.process_request, server.process_request_thread = process_request, process_request_thread


def _end(server: Any) -> None:
    server.shutdown()
    server.server_close()


class _DoorMetrics(Observer):
    """Counts at a further door."""

    def __init__(self, metrics: Metrics, device: str) -> None:
        self._metrics = metrics
        self._device = device

    def decided(self, judgment: Judgment) -> None:
        """Count a decision."""
        self._metrics.decided_at(self._device, judgment)


class _State:
    """The state of each door, when Prometheus asks.

    Attributes:
        publishers: by the id of the door.
    """

    def __init__(self) -> None:
        self.publishers: dict[str, MqttPublisher] = {}

    def collect(self) -> Iterator[Metric]:
        """All metrics that are states."""
        from prometheus_client.core import (  # noqa: PLC0415 (as above)
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        found = {device: _values(each) for device, each in list(self.publishers.items())}
        kinds = ((GaugeMetricFamily, _GAUGES), (CounterMetricFamily, _COUNTERS))
        for kind, texts in kinds:
            for name, text in texts.items():
                family = kind(f"edge_voice_{name}", text, labels=_DEVICE)
                for device, values in found.items():
                    family.add_metric((device,), float(values.get(name) or 0))
                yield family


def _values(publisher: MqttPublisher) -> dict[str, Any]:
    status, sent = publisher.status, publisher.counters
    return {
        **status,
        "microphone_up": status.get("microphone") == "listening",
        "problem": any(status.get(name) for name in PROBLEMS),
        "broker_connected": publisher.connected,
        "dropped_decisions": sent.dropped,
        "confirmed_decisions": sent.confirmed,
        "broker_connections": sent.connections,
    }
