"""What the running service says of itself, and to Home Assistant, as the broker keeps it."""

from __future__ import annotations

from collections.abc import Iterator

from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, red, skipped, yellow
from edge.mqtt.discovery import announcement
from edge.types import SAMPLE_RATE

_PROBLEMS = ("problem", "audit_problem", "challenge_problem")
_LONGEST = 200

NOTHING = skipped(
    "service_says.nothing", "the broker shows nothing of a service with this device.id"
)
OFFLINE = skipped("service_says.offline", "the service is not running, says the broker")
CUT_OFF = red(
    "service_says.cut_off",
    "systemd says that the service runs, and the broker that it is offline",
    "see what keeps it from the broker: journalctl -u edge-voice -n 50; another device with the"
    " same device.id throws it out again and again",
)
PROBLEM = red(
    "service_says.problem",
    "it says that something is wrong: {problem}",
    "see the row of what it names, and: journalctl -u edge-voice -n 50",
)
DEAF = yellow(
    "service_says.not_listening",
    "listening is switched off: nobody can open",
    "switch it on where it was switched off: in Home Assistant, or with edge-voice command",
)
LOCKED = yellow(
    "service_says.locked_out",
    "nobody is let in at the moment, after too many rejections",
    "wait, or run: edge-voice lockout lift",
)
LOSSES = yellow(
    "service_says.losses",
    "{seconds:.0f} s of sound were lost since its start: it could not keep up",
    "see the row 'speed', and what else runs (top)",
)
FINE = green("service_says.online", "it is online; microphone: {microphone}; {enrolled} can open")

HIDDEN = skipped(
    "home_assistant.off", "homeassistant.discovery is off: Home Assistant is told nothing"
)
ANNOUNCED = green("home_assistant.announced", "{count} entities are announced below {prefix}")
MISSING = yellow(
    "home_assistant.missing",
    "{missing} of {count} entities are not announced below {prefix}",
    "the service announces them when it starts: sudo systemctl restart edge-voice; if they stay"
    " away, let its user write {prefix}/# in the broker's access list",
)
LEFT_OVER = yellow(
    "home_assistant.left_over",
    "homeassistant.discovery is off, but {count} entities are still announced below {prefix}",
    "run: edge-voice discovery remove",
)


def check_reported(context: Context) -> Iterator[Finding]:
    """Every trouble that it tells of; what else it is at where it tells of none."""
    status = context.status
    if status is None:  # the broker's rows say why
        return
    if status.get("state") != "online":
        if not status:
            yield NOTHING()
        else:
            yield CUT_OFF() if context.unit.running else OFFLINE()
        return
    found = [
        PROBLEM(problem=str(status[name])[:_LONGEST]) for name in _PROBLEMS if status.get(name)
    ]
    if status.get("listening") is False:
        found.append(DEAF())
    if status.get("locked_out"):
        found.append(LOCKED())
    lost = status.get("lost_samples")
    if isinstance(lost, int) and lost > SAMPLE_RATE:
        found.append(LOSSES(seconds=lost / SAMPLE_RATE))
    microphone = str(status.get("microphone", "unknown"))[:_LONGEST]
    enrolled = str(status.get("enrolled", "nobody known"))[:_LONGEST]
    yield from found or [FINE(microphone=microphone, enrolled=enrolled)]


def check_home_assistant(context: Context) -> Iterator[Finding]:
    """Whether the entities that the configuration wants are announced, and no others."""
    config = context.config
    if context.status is None:
        return
    prefix = config.homeassistant.prefix
    if not config.homeassistant.discovery:
        left = len(context.announced)
        yield LEFT_OVER(count=left, prefix=prefix) if left else HIDDEN()
        return
    wanted = {topic for topic, text in announcement(config).items() if text}
    missing = len(wanted - context.announced)
    if missing:
        yield MISSING(missing=missing, count=len(wanted), prefix=prefix)
    else:
        yield ANNOUNCED(count=len(wanted), prefix=prefix)
