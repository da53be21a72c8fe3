"""Puts a service together from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from edge.access.checks import Check, DuressCheck, PolicyCheck
from edge.access.clock import DoorClock, door_clock
from edge.access.issuing import Issuer, signing_key
from edge.access.lockout import LockOut, LockOutCount, LockOutGate
from edge.audio.sources import Source
from edge.challenge.challenge import Challenge
from edge.challenge.loudspeaker import DigitSpeaker
from edge.challenge.rounds import rounds_of
from edge.config import Config
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
    Handover,
    ListeningSwitch,
    RunControl,
    ServiceContext,
    SignedMessages,
    same_place,
)
from edge.service.enrollment import RemoteEnrollment
from edge.service.enrollment_requests import PURPOSE, EnrollmentRequests, RequestBox
from edge.service.home_assistant import HomeAssistant
from edge.service.identification import IdentificationSwitch, LiveIdentification, People
from edge.service.metrics import Metrics
from edge.service.monitoring import Monitoring
from edge.service.observers import Observer, Observers
from edge.service.profile_cache import ProfileCache
from edge.service.service import (
    DecisionPipeline,
    DecisionPublisher,
    Service,
    ServiceParts,
    SilentAlarms,
)
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
    before: Handover | None = None,
) -> Service:
    """Put a service together.

    Args:
        config: all settings.
        source: where sound comes from; None for the configured microphone, kept open through loss
            and return.
        on_decision: called in the worker's thread with each decision, after it was handed to MQTT.
        reread: reads the configuration file again; raises `EdgeVoiceError` where it cannot be
            used. None where there is no file.
        before: what the service before has left; None for the first one.

    Raises:
        EdgeVoiceError: a model, the store, a key or a credential cannot be used.
    """
    control = RunControl(reread)
    before = before or Handover()
    publisher = _publisher(config, before.publisher)
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
    clock = door_clock(state, config.access)
    issuer = Issuer(config.device.id, state, signing_key(config.signing), now=clock.known_s)
    replay = ReplayCheck(config.replay, Ages(state, "heard", config.replay.days))
    context = ServiceContext(
        config,
        store,
        engine,
        ProfileCache(store, engine, config.enrollment, replay, publisher, reread),
        publisher,
        SignedMessages(publisher, issuer),
        trail,
        ListeningSwitch(publisher, on=before.listening),
        control,
    )
    lockout = LockOut(
        config.lockout,
        state,
        record=trail.record,
        changed=lambda fields: publisher.set_status(**fields),
        same_voice=engine.models.speaker.card.threshold("enrollment"),
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
    identification = IdentificationSwitch(config.identification, publisher, state)
    unconfirmed = Unconfirmed(context, state)
    enrollment = RemoteEnrollment(context, pipeline.endpointer, unconfirmed)
    commands = CommandQueue(
        config.commands,
        config.device.id,
        state,
        CommandHandlers(context, lockout, enrollment, challenge.policy, identification).handlers(),
        record=trail.record,
        answer=lambda content: _answer(context, content),
        stopping=lambda: control.stopping,
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
        replay,
        policy,
        challenge,
        LockOutCount(lockout),
    ]
    parts = ServiceParts(
        context,
        pipeline,
        DecisionPublisher(context, checks, issuer, alarms, on_decision),
        challenge,
        enrollment,
        commands,
        lockout,
        clock,
        issuer,
        state,
        StateFiles(Continuity(store, state), state, trail),
        LiveIdentification(context, identification, lambda: lockout.locked),
        Observers(_observers(context, state, pipeline, challenge, enrollment)),
    )
    return Service(parts, source, before)


def _publisher(config: Config, before: MqttPublisher | None) -> MqttPublisher:
    """The publisher of the service before, where it fits, so that nothing is missed."""
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
    if successor is None or not same_place(successor, context.config):
        context.messages.command_result(content)  # the sender waits for it here
    else:
        context.control.answers.append(content)


def _observers(
    context: ServiceContext,
    state: DeviceState,
    pipeline: DecisionPipeline,
    challenge: Challenge,
    enrollment: RemoteEnrollment,
) -> list[Observer]:
    config, publisher, endpointer = context.config, context.publisher, pipeline.endpointer
    box = RequestBox(state, context.store.derive_key(PURPOSE))
    observers: list[Observer] = [EnrollmentRequests(box, enrollment, endpointer)]
    if config.monitor.enabled:
        observers.append(Monitoring(config, publisher, endpointer, challenge, enrollment))
    home_assistant = HomeAssistant(config, publisher, state, People(context).listed)
    if home_assistant.needed:
        observers.append(home_assistant)
    if config.metrics.enabled:
        try:
            observers.append(Metrics(config, publisher))
        except EnvironmentFault as error:  # the door comes first
            _log.error("there are no metrics: %s", error)
    return observers
