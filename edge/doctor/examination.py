"""All checks, one after the other, each bounded in time and none able to stop the others."""

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
    clock,
    configuration,
    figures,
    machine,
    microphone,
    models,
    secrets,
    service,
    storage,
    told,
)
from edge.doctor.context import Context, as_the_service
from edge.doctor.finding import Finding, red, skipped
from edge.errors import ConfigError

_log = logging.getLogger(__name__)

HUNG = red(
    "examination.hung",
    "looking at the {subject} took longer than {limit:g} s and was given up",
    "something below it does not answer: look at dmesg, then again",
)
FAILED = red(
    "examination.failed",
    "looking at the {subject} failed: unexpected {kind}",
    "run it again with -vv and report what it says",
)
UNREAD = skipped(
    "examination.unread",
    "broker, microphone, state and keys are not looked at before the configuration is right",
)


@dataclass(frozen=True)
class Subject:
    """One thing that is looked at.

    Attributes:
        title: what, for people.
        look: looks at it.
        limit_s: how long that may take, seconds.
        by_the_settings: whether it makes no sense with settings that are not the real ones.
    """

    title: str
    look: Callable[[Context], Iterator[Finding]]
    limit_s: float = 15.0
    by_the_settings: bool = True


class Examination:
    """One look at everything.

    Args:
        file: the configuration; None for that of this machine.
        quick: leave out what takes seconds: listening, and measuring the speed.
    """

    def __init__(self, file: Path | None = None, *, quick: bool = False) -> None:
        self._file = file
        self._quick = quick

    def findings(self) -> Iterator[Finding]:
        """What is found, as it is found."""
        context = Context(unit=service.ask_systemd())
        with as_the_service(context.unit):
            context.file = find_config(self._file)
            try:
                context.config = load_config(context.file)
            except ConfigError as error:
                context.problems = error.problems
            for subject in self._subjects():
                if not (context.problems and subject.by_the_settings):
                    yield from looked_at(subject, context)
            if context.problems:
                yield UNREAD()

    def _subjects(self) -> list[Subject]:
        quick = self._quick
        # The broker comes before the microphone: it knows what the service says of it.
        return [
            Subject("user", configuration.check_user),
            Subject("configuration", configuration.check, by_the_settings=False),
            Subject("service", lambda context: service.check(context.unit), by_the_settings=False),
            Subject("clock", clock.check, by_the_settings=False),
            Subject("broker", broker.check, limit_s=40.0),
            Subject("service", told.check_reported),
            Subject("entities of Home Assistant", told.check_home_assistant),
            Subject(
                "microphone",
                (lambda _: microphone.left_out()) if quick else microphone.check,
                limit_s=20.0,
            ),
            Subject("state", storage.check, limit_s=60.0),
            Subject("keys", secrets.check),
            Subject("metrics", figures.check),
            Subject(
                "models",
                functools.partial(models.check, quick=quick),
                limit_s=120.0,
                by_the_settings=False,
            ),
            Subject("machine", machine.check, by_the_settings=False),
        ]


def looked_at(subject: Subject, context: Context) -> Iterator[Finding]:
    """What one subject's check finds; that it hangs or fails is a finding too."""
    found: queue.Queue[Finding | BaseException | None] = queue.Queue()

    def look() -> None:
        try:
            for finding in subject.look(context):
                found.put(finding)
        except Exception as error:  # noqa: BLE001 (it must not stop the others)
            _log.debug("looking at the %s failed", subject.title, exc_info=True)
            found.put(error)
        found.put(None)

    threading.Thread(target=look, name=f"doctor-{subject.title}", daemon=True).start()
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
