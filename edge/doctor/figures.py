"""The figures for Prometheus, where they are asked for."""

from __future__ import annotations

import importlib.util
import urllib.request
from collections.abc import Iterator

from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, skipped, yellow

_ANSWER_S = 3.0

OFF = skipped("metrics.off", "no figures are served for Prometheus: metrics.enabled is off")
NO_PACKAGE = yellow(
    "metrics.no_package",
    "metrics.enabled needs the package prometheus-client, which is not here",
    "run, in the environment of this software: pip install 'edge-voice[metrics]'",
)
ANSWERS = green("metrics.answers", "figures are served at {place}")
SILENT = yellow(
    "metrics.silent",
    "nothing answers at {place}",
    "see that the service runs, and that nobody else has the port: journalctl -u edge-voice"
    " -g metrics",
)


def check(context: Context) -> Iterator[Finding]:
    """Whether the figures can be fetched."""
    metrics = context.config.metrics
    if not metrics.enabled:
        yield OFF()
        return
    if importlib.util.find_spec("prometheus_client") is None:
        yield NO_PACKAGE()
        return
    host = f"[{metrics.address}]" if ":" in metrics.address else metrics.address
    place = f"http://{host}:{metrics.port}/metrics"
    try:
        # Straight there: no proxy that the environment names.
        fetch = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with fetch(place, timeout=_ANSWER_S) as answer:
            ours = b"edge_voice" in answer.read(1_000_000)
    except (OSError, ValueError):
        ours = False
    yield ANSWERS(place=place) if ours else SILENT(place=place)
