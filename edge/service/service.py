"""Runs a service: listens at its doors without pause, and watches its own health.

The main thread does what may wait for a disk, for all doors, and feeds the watchdog; the others are
those of `edge.service.door`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import edge
from edge.access.clock import DoorClock
from edge.notify import Notifier
from edge.service.context import Handover, RunControl
from edge.service.door import Door
from edge.service.observers import LIVE_S
from edge.service.profile_cache import ProfileCache
from edge.service.state_files import StateFiles
from edge.store import ProfileStore
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.types import Detail, Event, EventKind

_TICK_S = 0.5
_WORKER_GRACE_S = 0.6
"""How long a stop waits for the workers; with the MQTT farewell it stays within 2 s."""
_HANDOVER_S = 5.0
"""How long a reload waits for them: a decision may be on its way."""


@dataclass(frozen=True)
class ServiceParts:
    """What a service has once for all doors, as `edge.service.build.build_service` makes it."""

    control: RunControl
    store: ProfileStore
    profiles: ProfileCache
    trail: AuditTrail
    clock: DoorClock
    state: DeviceState
    files: StateFiles


class Service:
    """Listens and decides; made by `edge.service.build.build_service`.

    Attributes:
        control: stops and reloads it.
    """

    def __init__(self, parts: ServiceParts, doors: Sequence[Door]) -> None:
        self.control = parts.control
        self._parts = parts
        self._profiles = parts.profiles
        self._doors = doors
        for door in doors:
            door.on_ready = self._be_ready
        self._time_known = True
        self._notifier = Notifier()

    def run(self) -> None:
        """Listen until the service is stopped or a source ends.

        Raises:
            EdgeVoiceError: a worker cannot go on.
        """
        for door in self._doors:
            door.take_over()
        try:
            self._profiles.refresh()
            self._parts.trail.record(Event(EventKind.STARTED, {"version": edge.__version__}))
            self._watch_clock()
            self._parts.files.begin()
            for door in self._doors:
                door.begin_status()
            self._publish_status()
            for door in self._doors:
                door.start()
            self._watch()
        finally:
            if self.control.successor is None:
                self._notifier.stopping()
            else:
                self._notifier.reloading()
            self._shut_down()
        for door in self._doors:
            if door.failure is not None:
                raise door.failure

    def hand_over(self) -> dict[str, Handover]:
        """What each door leaves to its successor, by its id, once `run` has returned."""
        return {door.id: door.hand_over() for door in self._doors}

    def _be_ready(self) -> None:
        if all(door.ready for door in self._doors):
            self._notifier.ready()

    def _watch(self) -> None:
        due = 0.0
        every = [door.observers for door in self._doors]
        while not self.control.stopping:
            live = any(observers.live for observers in every)
            woken = self.control.wake.wait(LIVE_S if live else _TICK_S)
            for observers in every:
                observers.update()
            if woken or time.monotonic() >= due:
                due = time.monotonic() + _TICK_S - LIVE_S / 2
                self._tick()

    def _tick(self) -> None:
        """Do what may wait for a disk."""
        parts = self._parts
        self._profiles.refresh()
        for door in self._doors:
            door.work()
        self._watch_clock()
        parts.files.tick(self._profiles.revision)
        self._profiles.store_recordings()
        parts.trail.work()
        self._publish_status()
        self._profiles.store_adaptations()
        for door in self._doors:
            door.observers.tick()
        self.control.reload_if_requested()
        if all(door.alive for door in self._doors):
            self._notifier.watchdog()

    def _watch_clock(self) -> None:
        """Note in the audit trail when the time becomes unknown, and known again."""
        clock = self._parts.clock
        clock.tick()
        if self._time_known != (clock.problem is None):
            self._time_known = not self._time_known
            detail: dict[str, Detail] = {"known": self._time_known, "problem": clock.problem}
            self._parts.trail.record(Event(EventKind.CLOCK, detail))

    def _publish_status(self) -> None:
        parts = self._parts
        for door in self._doors:
            door.publish_status(
                audit_problem=parts.trail.problem,
                clock_problem=parts.clock.problem,
                state_problem=parts.files.problem,
            )

    def _shut_down(self) -> None:
        parts = self._parts
        for door in self._doors:
            door.silence()
        # The next service must not share the processor with these workers.
        wait_s = _WORKER_GRACE_S if self.control.successor is None else _HANDOVER_S
        deadline = time.monotonic() + wait_s
        for door in self._doors:
            door.join(max(0.0, deadline - time.monotonic()))
        for door in self._doors:
            door.finish()
        parts.clock.write()
        for door in self._doors:
            door.close()
        if not any(door.working for door in self._doors):  # else the time for a stop is used up
            self._profiles.store_adaptations()
        self._profiles.store_recordings()
        parts.trail.record(Event(EventKind.STOPPED))
        parts.trail.close()
        parts.state.close()
        parts.store.close()
