"""The service: its systemd unit, and what it reports on MQTT, to Home Assistant and Prometheus."""

from __future__ import annotations

import importlib.util
import urllib.request
from collections.abc import Iterator

from edge.doctor.context import UNIT, Context, Unit, output_of
from edge.doctor.finding import Finding, green, red, skipped, yellow
from edge.mqtt.discovery import PROBLEMS, announcement
from edge.types import SAMPLE_RATE

_LONGEST = 200
_ANSWER_S = 3.0

NO_SYSTEMD = skipped("service.no_systemd", "no systemd here: {why}")
ABSENT = yellow(
    "service.absent",
    "there is no unit edge-voice: the service does not start by itself",
    "install the service with sudo tools/install, or start 'edge-voice run' yourself",
)
BROKEN = red(
    "service.broken",
    "systemd cannot read the unit edge-voice ({load})",
    "see the reason: systemctl status edge-voice",
)
INSTALLED = green("service.installed", "the unit edge-voice is installed")
ENABLED = green("service_start.enabled", "it starts at boot")
DISABLED = yellow(
    "service_start.disabled",
    "it does not start at boot ({state})",
    "run: sudo systemctl enable edge-voice",
)
ACTIVE = green("service_state.active", "it is running")
STARTING = yellow(
    "service_state.starting",
    "it is starting or stopping ({state}, {sub})",
    "wait a minute and check again; if that does not change: journalctl -u edge-voice -n 50",
)
FAILED = red(
    "service_state.failed",
    "it has failed ({result})",
    "see the reason: journalctl -u edge-voice -n 50",
)
INACTIVE = red(
    "service_state.inactive",
    "it is not running: nobody can open",
    "run: sudo systemctl start edge-voice",
)
NO_RESTARTS = green("service_restarts.none", "it has not been restarted by systemd")
WATCHDOG = yellow(
    "service_restarts.watchdog",
    "restarts by systemd: {count}; it hung, and the watchdog ended it",
    "see when: journalctl -b -u edge-voice",
)
RESTARTED = yellow(
    "service_restarts.some",
    "restarts by systemd: {count}",
    "see why it ended: journalctl -u edge-voice -n 200",
)

NO_STATUS = skipped("service_says.nothing", "the broker has no status from this device.id")
OFFLINE = skipped("service_says.offline", "the service is offline according to the broker")
CUT_OFF = red(
    "service_says.cut_off",
    "the service is running according to systemd, but offline according to the broker",
    "see what keeps it from the broker: journalctl -u edge-voice -n 50; another device with the"
    " same device.id disconnects it again and again",
)
PROBLEM = red(
    "service_says.problem",
    "it reports a problem: {problem}",
    "see the row that the problem is about, and: journalctl -u edge-voice -n 50",
)
NOT_LISTENING = yellow(
    "service_says.not_listening",
    "listening is switched off: nobody can open",
    "switch it on where it was switched off: in Home Assistant, or with edge-voice command arm",
)
LOCKED_OUT = yellow(
    "service_says.locked_out",
    "locked out after too many rejections",
    "wait, or run: edge-voice lockout lift",
)
LOSSES = yellow(
    "service_says.losses",
    "{seconds:.0f} s of audio lost since its start: it could not keep up",
    "see the row 'speed', and what else is running (top)",
)
ONLINE = green("service_says.online", "online; microphone: {microphone}; {enrolled} enrolled")

DISCOVERY_OFF = skipped("home_assistant.off", "homeassistant.discovery is off")
ANNOUNCED = green("home_assistant.announced", "{count} entities are announced below {prefix}")
MISSING = yellow(
    "home_assistant.missing",
    "{missing} of {count} entities are not announced below {prefix}",
    "restart the service, which announces them: sudo systemctl restart edge-voice; if they are"
    " still missing, let its user write {prefix}/# in the broker's access list",
)
LEFT_OVER = yellow(
    "home_assistant.left_over",
    "homeassistant.discovery is off, but {count} entities are still announced below {prefix}",
    "run: edge-voice discovery remove",
)

METRICS_OFF = skipped("metrics.off", "metrics.enabled is off: no metrics for Prometheus")
NO_PACKAGE = yellow(
    "metrics.no_package",
    "metrics.enabled needs the package prometheus-client, which is not installed",
    "run, in the environment of this software: pip install 'edge-voice[metrics]'",
)
SERVED = green("metrics.answers", "metrics are served at {url}")
NOT_SERVED = yellow(
    "metrics.silent",
    "no metrics at {url}",
    "check that the service is running and that no other program uses the port: journalctl -u"
    " edge-voice -g metrics",
)


def check(unit: Unit) -> Iterator[Finding]:
    """Whether it is installed, enabled, running, and was not restarted."""
    if not unit.properties:
        yield NO_SYSTEMD(why=unit.why)
        return
    load, active, sub, result = (
        unit.properties.get(name, "") for name in ("LoadState", "ActiveState", "SubState", "Result")
    )
    if load == "not-found":
        yield ABSENT()
        return
    if load != "loaded":
        yield BROKEN(load=load)
        return
    yield INSTALLED()
    enabled = unit.properties.get("UnitFileState", "")
    yield ENABLED() if enabled.startswith("enabled") else DISABLED(state=enabled or "static")
    if active == "active":
        yield ACTIVE()
    elif active == "failed":
        yield FAILED(result=result)
    elif active == "inactive":
        yield INACTIVE()
    else:
        yield STARTING(state=active, sub=sub)
    count = unit.properties.get("NRestarts", "0")
    if count in ("", "0"):
        yield NO_RESTARTS()
    elif _hung():
        yield WATCHDOG(count=count)
    else:
        yield RESTARTED(count=count)


def _hung() -> bool:
    # Once it runs again, its `Result` is that of the new start.
    journal = output_of("journalctl", "--unit", UNIT, "--boot", "--output=cat", "--lines=5000")
    return "Watchdog timeout" in (journal or "")


def check_status(context: Context) -> Iterator[Finding]:
    """Every problem in the retained status, or a summary of it."""
    status = context.status
    if status is None:  # the broker's rows say why
        return
    if status.get("state") != "online":
        if not status:
            yield NO_STATUS()
        else:
            yield CUT_OFF() if context.unit.running else OFFLINE()
        return
    found = [PROBLEM(problem=str(status[name])[:_LONGEST]) for name in PROBLEMS if status.get(name)]
    if status.get("listening") is False:
        found.append(NOT_LISTENING())
    if status.get("locked_out"):
        found.append(LOCKED_OUT())
    lost = status.get("lost_samples")
    if isinstance(lost, int) and lost > SAMPLE_RATE:
        found.append(LOSSES(seconds=lost / SAMPLE_RATE))
    microphone = str(status.get("microphone", "unknown"))[:_LONGEST]
    enrolled = str(status.get("enrolled", "unknown"))[:_LONGEST]
    yield from found or [ONLINE(microphone=microphone, enrolled=enrolled)]


def check_home_assistant(context: Context) -> Iterator[Finding]:
    """Whether exactly the configured entities are announced."""
    config = context.config
    if context.status is None:
        return
    prefix = config.homeassistant.prefix
    if not config.homeassistant.discovery:
        left = len(context.announced)
        yield LEFT_OVER(count=left, prefix=prefix) if left else DISCOVERY_OFF()
        return
    wanted = {topic for topic, text in announcement(config).items() if text}
    missing = len(wanted - context.announced)
    if missing:
        yield MISSING(missing=missing, count=len(wanted), prefix=prefix)
    else:
        yield ANNOUNCED(count=len(wanted), prefix=prefix)


def check_metrics(context: Context) -> Iterator[Finding]:
    """Whether the metrics can be fetched."""
    metrics = context.config.metrics
    if not metrics.enabled:
        yield METRICS_OFF()
        return
    if importlib.util.find_spec("prometheus_client") is None:
        yield NO_PACKAGE()
        return
    host = f"[{metrics.address}]" if ":" in metrics.address else metrics.address
    url = f"http://{host}:{metrics.port}/metrics"
    try:
        # Directly, without a proxy from the environment.
        fetch = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with fetch(url, timeout=_ANSWER_S) as answer:
            ours = b"edge_voice" in answer.read(1_000_000)
    except (OSError, ValueError):
        ours = False
    yield SERVED(url=url) if ours else NOT_SERVED(url=url)
