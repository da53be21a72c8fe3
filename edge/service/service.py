"""The daemon: listens without pause, decides, publishes, and watches that it still does.

One worker thread takes blocks from the source, cuts utterances and decides on them; the MQTT
client has a thread of its own; the main thread looks after health and the service manager.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from edge.access.decider import Decider, Judgment
from edge.access.listener import Listener
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.reconnecting import MicrophoneState, ReconnectingMicrophone
from edge.audio.sources import Source
from edge.config import Config
from edge.errors import EdgeVoiceError
from edge.mqtt import MqttPublisher
from edge.notify import Notifier
from edge.recognition import Engine
from edge.service.build import Protection
from edge.service.monitoring import Parts, Watch, observers_of
from edge.service.profile_cache import ProfileCache
from edge.store import open_store
from edge.types import AccessDecision, AudioBlock

_TICK_S = 0.5
_WORKER_GRACE_S = 0.6
"""How long a stop waits for the worker; with the MQTT farewell it stays within 2 s."""
_HANDOVER_S = 5.0
"""How long a reload waits for it: a decision may be on its way."""
_STORE_BUSY_S = 0.25
"""How long a reading of the store waits for a writer; a stop must not wait for it."""
_STALLED_S = 10.0
"""A worker that did nothing for this long hangs; the supervisor of the microphone acts in 3 s."""

_log = logging.getLogger(__name__)


class Service:
    """Everything put together.

    Args:
        config: all settings.
        source: where sound comes from; None for the microphone that the configuration names,
            kept open through loss and return.
        on_decision: called in the worker thread with every decision, after it was handed to MQTT.
        reread: gives what the configuration file says now, or raises `EdgeVoiceError` where that
            cannot be used; None where there is no such file to go on with.
        listening: whether it listens to begin with; a command arms and disarms it.

    Attributes:
        successor: the settings with which another daemon is to go on, once `run` has returned;
            None where it was just to stop.

    Raises:
        EdgeVoiceError: if a model, the store or a credential cannot be used.

    """

    def __init__(
        self,
        config: Config,
        *,
        source: Source | None = None,
        on_decision: Callable[[AccessDecision], None] | None = None,
        reread: Callable[[], Config] | None = None,
        listening: bool = True,
    ) -> None:
        self.successor: Config | None = None
        self._config = config
        self._reread = reread
        self._reload_asked = False
        self._wake = threading.Event()
        self._publisher = MqttPublisher(config.mqtt, config.device)
        self._store = open_store(config.state_path, busy_s=_STORE_BUSY_S, settings=config.store)
        self._engine = Engine.open(config)
        self._decider = Decider(self._engine, config)
        self._endpointer = EndPointer(EndPointSettings.of(config.audio, rolling=True))
        self._household = ProfileCache(
            self._store,
            self._engine,
            config.enrollment,
            lambda problem: self._publisher.set_status(problem=problem),
        )
        self._protection = Protection(
            config,
            store=self._store,
            household=self._household,
            engine=self._engine,
            publisher=self._publisher,
            endpointer=self._endpointer,
            wake=self._wake.set,
            on_decision=on_decision,
            reload=None if reread is None else self._reload,
            listening=listening,
        )
        self._listener = Listener(
            self._endpointer,
            self._engine,
            self._decider,
            inside=config.access.in_running_speech,
            answers=self._protection.challenge,
        )
        self._watch = Watch(
            observers_of(
                Parts(
                    config,
                    self._publisher,
                    self._household,
                    self._endpointer,
                    self._engine,
                    self._protection.challenge,
                )
            )
        )
        self._microphone: ReconnectingMicrophone | None = None
        if source is None:
            source = self._microphone = ReconnectingMicrophone(
                config.audio.device, ring_s=config.audio.ring_s, on_change=self._microphone_changed
            )
        self._source: Source = source
        self._lost_samples = 0
        self._moved_at = time.monotonic()
        self._notifier = Notifier()
        self._settled = False
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._worker = threading.Thread(target=self._work, name="recognizer", daemon=True)

    def run(self) -> None:
        """Listen until `stop` is called or the source ends.

        Raises:
            EdgeVoiceError: if the worker met something that it cannot go on from.

        """
        self._publisher.start()
        try:
            self._household.refresh()
            self._protection.start()
            self._publish_health()
            self._worker.start()
            while not self._stop.is_set():
                self._wake.wait(_TICK_S)
                self._wake.clear()
                self._household.refresh()
                self._protection.work()
                self._publish_health()
                self._household.store_lessons()
                self._watch.tick()
                if self._reload_asked:
                    self._reload_if_right()
                if self._alive():
                    self._notifier.watchdog()
        finally:
            if self.successor is None:
                self._notifier.stopping()
            else:
                self._notifier.reloading()
            self._shut_down()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Make `run` return within 2 s; may be called from any thread or a signal handler."""
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Have `run` return with a `successor`, if what the configuration file says now is right.

        May be called from any thread or a signal handler. Where it is wrong, or there is none, a
        warning says so, and everything goes on as it was.
        """
        self._reload_asked = True
        self._wake.set()

    @property
    def listening(self) -> bool:
        """Whether it is armed."""
        return self._protection.ear.listening

    def _reload(self) -> None:
        if self._reread is not None:
            self.successor = self._reread()
            _log.info("going on with the configuration as it is now")
            self.stop()

    def _reload_if_right(self) -> None:
        self._reload_asked = False
        try:
            self._reload()
        except EdgeVoiceError as error:
            _log.warning("%s; going on with the configuration as it was", error)

    def _work(self) -> None:
        try:
            with self._source:
                if self._stop.is_set():
                    return
                for block in self._source.blocks():
                    self._take(block)
                    if self._stop.is_set():
                        return
                for judgment in self._listener.flush():
                    self._publish(judgment)
        except EdgeVoiceError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - nothing may end the worker unseen
            _log.debug("the recognizer failed", exc_info=True)
            self._failure = error
        finally:
            self.stop()

    def _take(self, block: AudioBlock) -> None:
        self._moved_at = time.monotonic()
        self._settle()
        self._lost_samples += block.lost_samples
        self._watch.block(block)
        challenge = self._protection.challenge
        if not self._protection.ear.listening or self._protection.enrolling.hear(block):
            challenge.cancel()
            self._moved_at = time.monotonic()
            return
        challenge.use(self._household.profiles)
        self._listener.use(self._household.profiles)
        for judgment in self._listener.feed(block):
            self._publish(judgment)

    def _settle(self) -> None:
        """Report once that the start is over: sound arrives, or it is known that none does."""
        if self._settled:
            return
        self._settled = True
        if self._microphone is None:
            self._publisher.set_status(microphone="listening")
        self._notifier.ready()

    def _publish(self, judgment: Judgment) -> None:
        decided = self._protection.door.decide(judgment)
        if decided is not None:
            # After the decision is on its way; the main thread stores it, which may take a second.
            self._household.learn(decided)
            self._watch.decided(decided)
        self._moved_at = time.monotonic()

    def _microphone_changed(self, state: MicrophoneState) -> None:
        self._publisher.set_status(
            microphone="listening" if state.listening else "lost", reason=state.reason or None
        )
        self._settle()

    def _publish_health(self) -> None:
        self._publisher.set_status(
            enrolled=sum(
                profile.duress_of is None
                for profile in self._decider.eligible(self._household.profiles)
            ),
            lost_samples=self._lost_samples,
            discarded_utterances=self._endpointer.discarded,
            late_decisions=self._protection.door.late,
        )

    def _alive(self) -> bool:
        """Whether blocks arrive and are worked on, or a lost microphone is really being sought."""
        if not self._publisher.alive:
            return False
        moved_at = self._moved_at
        if self._microphone is not None:
            moved_at = max(moved_at, self._microphone.tried_at)
        return time.monotonic() - moved_at < _STALLED_S

    def _shut_down(self) -> None:
        with contextlib.suppress(EdgeVoiceError):
            self._source.close()
        if self._worker.is_alive():
            # Whoever comes next must not share the models' processor with a worker of the past.
            self._worker.join(_WORKER_GRACE_S if self.successor is None else _HANDOVER_S)
        self._watch.close()
        self._protection.stop()
        self._publisher.close()
        if not self._worker.is_alive():  # else the time that a stop may take is used up
            self._household.store_lessons()
        self._protection.close()
        self._store.close()
