"""All checks in order, each limited in time and isolated from the others."""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.config import find_config, load_config
from edge.doctor import (
    broker,
    configuration,
    machine,
    microphone,
    models,
    reported,
    service,
    storage,
)
from edge.doctor.context import Context, as_the_service
from edge.doctor.finding import Finding, red, skipped
from edge.errors import ConfigError

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
UNREAD = skipped(
    "examination.unread",
    "broker, microphone, state and keys are not checked until the configuration is valid",
)


@dataclass(frozen=True)
class Subject:
    """One check.

    Attributes:
        title: its subject, for people.
        check: yields its findings.
        limit_s: how long it may take, seconds.
        needs_settings: whether it makes no sense without a valid configuration.
    """

    title: str
    check: Callable[[Context], Iterator[Finding]]
    limit_s: float = 15.0
    needs_settings: bool = True


class Examination:
    """All checks.

    Args:
        file: the configuration; None for this machine's.
        quick: leave out what takes seconds: listening, and measuring the speed.
    """

    def __init__(self, file: Path | None = None, *, quick: bool = False) -> None:
        self._file = file
        self._quick = quick

    def findings(self) -> Iterator[Finding]:
        """The findings, as they are made."""
        context = Context(unit=service.ask_systemd())
        with as_the_service(context.unit):
            context.file = find_config(self._file)
            try:
                context.config = load_config(context.file)
            except ConfigError as error:
                context.problems = error.problems
            for subject in self._subjects():
                if not (context.problems and subject.needs_settings):
                    yield from run_check(subject, context)
            if context.problems:
                yield UNREAD()

    def _subjects(self) -> list[Subject]:
        quick = self._quick
        # The broker comes before the microphone, whose state the service reports there.
        return [
            Subject("user", configuration.check_user),
            Subject("configuration", configuration.check, needs_settings=False),
            Subject("service", lambda context: service.check(context.unit), needs_settings=False),
            Subject("clock", machine.check_clock, needs_settings=False),
            Subject("broker", broker.check, limit_s=40.0),
            Subject("service", reported.check_status),
            Subject("Home Assistant entities", reported.check_home_assistant),
            Subject(
                "microphone",
                microphone.skip if quick else microphone.check,
                limit_s=20.0,
            ),
            Subject("state", storage.check, limit_s=60.0),
            Subject("keys", configuration.check_secrets),
            Subject("metrics", reported.check_metrics),
            Subject(
                "models",
                functools.partial(models.check, quick=quick),
                limit_s=120.0,
                needs_settings=False,
            ),
            Subject("machine", machine.check, needs_settings=False),
        ]


def run_check(subject: Subject, context: Context) -> Iterator[Finding]:
    """The findings of one check; that it hangs or fails is a finding too."""
    found: queue.Queue[Finding | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            for finding in subject.check(context):
                found.put(finding)
        except Exception as error:  # noqa: BLE001 (it must not stop the others)
            _log.debug("the check of the %s failed", subject.title, exc_info=True)
            found.put(error)
        found.put(None)

    threading.Thread(target=work, name=f"doctor-{subject.title}", daemon=True).start()
    deadline = time.monotonic() + subject.limit_s
    while True:
        try:
            item = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            yield HUNG(subject=subject.title, limit=subject.limit_s)
            return
        if item is None:
            return
        if isinstance(item, Finding):
            yield item
        else:
            yield FAILED(subject=subject.title, kind=type(item).__name__)
