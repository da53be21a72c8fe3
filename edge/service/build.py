"""Puts a service together from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.access.checks import Check, DuressCheck, PolicyCheck
from edge.access.clock import DoorClock, door_clock
from edge.access.issuing import Issuer, signing_key
from edge.access.lockout import LockOut, LockOutCount, LockOutGate, lockout_key
from edge.audio.sharing import SharedMicrophone
from edge.audio.sources import Source
from edge.challenge.challenge import Challenge
from edge.challenge.loudspeaker import DigitSpeaker
from edge.challenge.rounds import rounds_of
from edge.config import Config, doors_of, is_main
from edge.crypto.command_keys import read_command_keys
from edge.errors import EnvironmentFault
from edge.mqtt import MqttPublisher
from edge.mqtt.command_queue import CommandQueue
from edge.mqtt.connection import read_password, tls_context
from edge.recognition import Engine
from edge.replay.memory import ReplayCheck
from edge.service.command_handlers import CommandHandlers
from edge.service.confirmation import Unconfirmed
from edge.service.context import (
    DoorTrail,
    Handover,
    ListeningSwitch,
    RunControl,
    ServiceContext,
    SignedMessages,
    follows,
)
from edge.service.decisions import DecisionPipeline, DecisionPublisher, SilentAlarms
from edge.service.door import Door, DoorParts
from edge.service.enrollment import RemoteEnrollment
from edge.service.enrollment_requests import PURPOSE, EnrollmentRequests, RequestBox
from edge.service.home_assistant import HomeAssistant
from edge.service.identification import IdentificationSwitch, LiveIdentification, People
from edge.service.metrics import Metrics
from edge.service.microphone_kind import MicrophoneKind
from edge.service.monitoring import Monitoring
from edge.service.observers import Observer, Observers
from edge.service.profile_cache import ProfileCache
from edge.service.service import Service, ServiceParts
from edge.service.state_files import StateFiles
from edge.store import open_store
from edge.store.ages import Ages
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.continuity import Continuity
from edge.store.device_state import DeviceState
from edge.types import AccessDecision

_BUSY_S = 0.25
"""How long the main thread waits for another process that writes; a stop must not wait longer."""

_log = logging.getLogger(__name__)


def preflight(config: Config) -> None:
    """Read every key and credential of a configuration, as a new service would.

    Not the models, which take seconds; where those fail, the caller goes back.

    Raises:
        EdgeVoiceError: one of them cannot be used.
    """
    signing_key(config.signing)
    read_command_keys(config.commands.keys_file)
    if config.mqtt.enabled:
        if config.mqtt.password_file is not None:
            read_password(config.mqtt.password_file)
        tls_context(config.mqtt.tls)


def build_service(
    config: Config,
    *,
    source: Source | None = None,
    on_decision: Callable[[AccessDecision], None] | None = None,
    reread: Callable[[], Config] | None = None,
    before: Mapping[str, Handover] | None = None,
) -> Service:
    """Put a service together.

    Args:
        config: all settings.
        source: where sound comes from, at the main door alone; None for the configured
            microphones, kept open through loss and return.
        on_decision: called in the worker's thread with each decision, after it was handed to MQTT.
        reread: reads the configuration file again; raises `EdgeVoiceError` where it cannot be
            used. None where there is no file.
        before: what the doors before have left, by their ids, the main one first; None at first.

    Raises:
        EdgeVoiceError: a model, the store, a key or a credential cannot be used.
    """
    configs = doors_of(config) if source is None else [config]
    befores = _befores(configs, before or {})
    publishers = [_publisher(door, each.publisher) for door, each in zip(configs, befores)]
    control = RunControl(reread)
    store = open_store(config.state_path, busy_s=_BUSY_S, settings=config.store)
    engine = Engine.open(config)
    state = DeviceState(config.state_path, busy_s=_BUSY_S)
    trail = AuditTrail(
        config.state_path,
        store.derive_key(AUDIT_KEY),
        state,
        config.audit,
        busy_s=_BUSY_S,
        on_urgent=control.wake.set,
    )
    replay = ReplayCheck(config.replay, Ages(state, "heard", config.replay.days))

    def tell(problem: str | None) -> None:
        for publisher in publishers:
            publisher.set_status(problem=problem)

    profiles = ProfileCache(store, engine, config.enrollment, replay, tell, reread)
    files = StateFiles(Continuity(store, state), state, trail)
    clock = door_clock(state, config.access)
    parts = ServiceParts(control, store, profiles, trail, clock, state, files)
    metrics = _metrics(config, publishers[0])
    builder = _DoorBuilder(parts, engine, replay, metrics, on_decision)
    doors = [
        builder.door(door, publisher, each, source)
        for door, publisher, each in zip(configs, publishers, befores)
    ]
    return Service(parts, doors)


def _befores(configs: Sequence[Config], before: Mapping[str, Handover]) -> list[Handover]:
    """What each door goes on with; the main one under another id at least listens as it did."""
    main = next(iter(before.values()), Handover())
    befores = [before.get(config.device.id, Handover()) for config in configs]
    if configs[0].device.id not in before:
        befores[0] = Handover(main.listening)
    return befores


@dataclass(frozen=True)
class _DoorBuilder:
    """Makes doors, the main one first, of what they share."""

    shared: ServiceParts
    engine: Engine
    replay: ReplayCheck
    metrics: Metrics | None
    on_decision: Callable[[AccessDecision], None] | None

    def door(
        self,
        config: Config,
        publisher: MqttPublisher,
        before: Handover,
        source: Source | None,
    ) -> Door:
        """One door, of its own configuration."""
        shared, engine = self.shared, self.engine
        state, clock = shared.state, shared.clock
        main = is_main(config)
        name = None if main else config.device.id
        issuer = Issuer(config.device.id, state, signing_key(config.signing), now=clock.known_s)
        context = ServiceContext(
            config,
            shared.store,
            engine,
            shared.profiles,
            publisher,
            SignedMessages(publisher, issuer),
            DoorTrail(shared.trail, name),
            ListeningSwitch(publisher, on=before.listening),
            shared.control,
        )
        lockout = LockOut(
            config.lockout,
            state,
            record=context.trail.record,
            changed=lambda fields: publisher.set_status(**fields),
            same_voice=engine.models.speaker.card.threshold("enrollment"),
            key=lockout_key(name),
        )
        challenge = _challenge(context, clock)
        without_time = config.access.unknown_time == "allow"
        policy = PolicyCheck(config.device.id, clock, without_time=without_time)
        pipeline = DecisionPipeline(
            config,
            engine,
            challenge,
            locked=lambda: lockout.locked,
            may_open=lambda rule: policy.reason_against(rule) is None,
        )
        identification = IdentificationSwitch(config.identification, publisher, state, name)
        enrollment = RemoteEnrollment(context, pipeline.endpointer, Unconfirmed(context, state))
        commands = CommandQueue(
            config.commands,
            config.device.id,
            state,
            CommandHandlers(
                context, lockout, enrollment, challenge.policy, identification
            ).handlers(),
            record=context.trail.record,
            answer=lambda content: _answer(context, content),
            stopping=lambda: shared.control.stopping,
            now=clock.at_least,
        )
        publisher.listen(CommandQueue.filters, commands.receive)
        alarms = SilentAlarms(context.messages.duress)
        checks: list[Check] = [
            DuressCheck(
                lambda: context.profiles.profiles,
                engine.scorer,
                alarms.add,
            ),
            LockOutGate(lockout),
            self.replay,
            policy,
            challenge,
            LockOutCount(lockout),
        ]
        parts = DoorParts(
            context,
            pipeline,
            DecisionPublisher(context, checks, issuer, alarms, self.on_decision),
            challenge,
            enrollment,
            commands,
            lockout,
            issuer,
            LiveIdentification(
                context,
                identification,
                lambda: lockout.locked,
                config.device.id if config.microphones else None,
                pipeline.endpointer.detector,
            ),
            Observers(_observers(context, state, pipeline, challenge, enrollment, self.metrics)),
            MicrophoneKind(state, name),
        )
        return Door(parts, source, before, SharedMicrophone(config.state_path) if main else None)


def _publisher(config: Config, before: MqttPublisher | None) -> MqttPublisher:
    """The publisher of the door before, where it fits, so that nothing is missed."""
    if before is None or not before.fits(config.mqtt, config.device):
        return MqttPublisher(config.mqtt, config.device)
    before.renew(config.device)
    return before


def _challenge(context: ServiceContext, clock: DoorClock) -> Challenge:
    settings = context.config.challenge
    return Challenge(
        settings,
        context.engine,
        lambda profile_id: rounds_of(context.store, profile_id),
        context.messages.challenge,
        speak=DigitSpeaker(settings.language, settings.output) if settings.speak else None,
        now=clock.now,
    )


def _answer(context: ServiceContext, content: Mapping[str, Any]) -> None:
    successor = context.control.successor
    if successor is None or not follows(successor, context.config):
        context.messages.command_result(content)  # the sender waits for it here
    else:
        context.answers.append(content)


def _observers(
    context: ServiceContext,
    state: DeviceState,
    pipeline: DecisionPipeline,
    challenge: Challenge,
    enrollment: RemoteEnrollment,
    metrics: Metrics | None,
) -> list[Observer]:
    config, publisher, endpointer = context.config, context.publisher, pipeline.endpointer
    home_assistant = HomeAssistant(config, publisher, state, People(context).listed)
    if not is_main(config):
        further: list[Observer] = [home_assistant] if home_assistant.needed else []
        if metrics is not None:
            further.append(metrics.of_door(config, publisher))
        return further
    box = RequestBox(state, context.store.derive_key(PURPOSE))
    observers: list[Observer] = [EnrollmentRequests(box, enrollment, endpointer)]
    if config.monitor.enabled:
        observers.append(Monitoring(config, publisher, endpointer, challenge, enrollment))
    if home_assistant.needed:
        observers.append(home_assistant)
    if metrics is not None:
        observers.append(metrics)
    return observers


def _metrics(config: Config, publisher: MqttPublisher) -> Metrics | None:
    if not config.metrics.enabled:
        return None
    try:
        return Metrics(config, publisher)
    except EnvironmentFault as error:  # the door comes first
        _log.error("there are no metrics: %s", error)
        return None
