"""All checks in order, each limited in time and isolated from the others."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.config import Config, find_config, load_config
from edge.doctor import (
    broker,
    configuration,
    machine,
    microphone,
    server,
    service,
    storage,
)
from edge.doctor.context import Context, as_the_service, ask_systemd
from edge.doctor.finding import Finding, State, from_error, red, skipped
from edge.errors import ConfigError, EdgeVoiceError

_log = logging.getLogger(__name__)

HUNG = red(
    "examination.hung",
    "the check of the {subject} was stopped after {limit:g} s",
    "a device or service does not respond: look at dmesg, then check again",
)
FAILED = red(
    "examination.failed",
    "the check of the {subject} failed: unexpected {kind}",
    "run it again with -vv and report the output",
)
PREVENTED = red("examination.prevented")
UNREAD = skipped(
    "examination.unread",
    "broker, microphone, state and keys are not checked until the configuration is valid",
)


@dataclass(frozen=True)
class DoctorCheck:
    """One check, of at most `limit_s` seconds; it may need a valid configuration."""

    subject: str
    run: Callable[[Context], Iterator[Finding]]
    limit_s: float = 15.0
    needs_settings: bool = True


CHECKS = (
    DoctorCheck("user", configuration.check_user),
    DoctorCheck("configuration", configuration.check, needs_settings=False),
    DoctorCheck("service", lambda context: service.check(context.unit), needs_settings=False),
    DoctorCheck("clock", machine.check_clock, needs_settings=False),
    # The broker comes before the microphone, whose state the service reports there.
    DoctorCheck("broker", broker.check, limit_s=40.0),
    DoctorCheck("service", service.check_status),
    DoctorCheck("Home Assistant entities", service.check_home_assistant),
    DoctorCheck("microphone", microphone.check, limit_s=60.0),
    DoctorCheck("state", storage.check, limit_s=60.0),
    DoctorCheck("keys", configuration.check_secrets),
    DoctorCheck("metrics", service.check_metrics),
    DoctorCheck("HTTP server", server.check),
    DoctorCheck("models", machine.check_models, limit_s=120.0, needs_settings=False),
    DoctorCheck("machine", machine.check, needs_settings=False),
)


def examine(file: Path | None = None, *, quick: bool = False) -> Iterator[Finding]:
    """Findings as they are made; None is this machine's settings, `quick` skips what takes long."""
    context = Context(unit=ask_systemd(), quick=quick)
    with as_the_service(context.unit):
        context.file = find_config(file)
        try:
            context.config = load_config(context.file)
        except ConfigError as error:
            context.problems = error.problems
        for check in CHECKS:
            if not (context.problems and check.needs_settings):
                yield from run_check(check, context)
        if context.problems:
            yield UNREAD()


def faults(config: Config) -> Iterator[Finding]:
    """What keeps a service with these settings from being heard and from hearing, if anything."""
    context = Context(config=config, unit=ask_systemd())
    for check in CHECKS:
        if check.run in (broker.check, microphone.check):
            for finding in run_check(check, context):
                if finding.state is State.RED:
                    yield finding


def run_check(check: DoctorCheck, context: Context) -> Iterator[Finding]:
    """The findings of one check; that it hangs or fails is a finding too."""
    found: queue.Queue[Finding | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            for finding in check.run(context):
                found.put(finding)
        except Exception as error:  # noqa: BLE001 (it must not stop the others)
            _log.debug("the check of the %s failed", check.subject, exc_info=True)
            found.put(error)
        found.put(None)

    threading.Thread(target=work, name=f"doctor-{check.subject}", daemon=True).start()
    deadline = time.monotonic() + check.limit_s
    while True:
        try:
            item = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield HUNG(subject=check.subject, limit=check.limit_s)
            return
        if item is None:
            return
        if isinstance(item, Finding):
            yield item
        elif isinstance(item, EdgeVoiceError):
            yield from_error(PREVENTED, item, f"the check of the {check.subject} cannot be done: ")
        else:
            yield FAILED(subject=check.subject, kind=type(item).__name__)
