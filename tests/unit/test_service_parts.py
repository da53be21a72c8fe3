"""Parts of the service at their limits: what comes too late, fails, or waits for the store."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge.access.decider import Judgment
from edge.challenge.challenge import Prompt
from edge.config import Config, EnrollmentConfig, MqttConfig, StoreConfig
from edge.crypto.keys import key_of_file, make_key_file
from edge.errors import ConfigError, ProfileError, StoreError
from edge.service import profile_cache
from edge.service.context import ListeningSwitch, RunControl, SignedMessages
from edge.service.decisions import DecisionPublisher, SilentAlarms
from edge.service.door import Door
from edge.service.observers import Observer, Observers
from edge.service.profile_cache import ProfileCache
from edge.service.service import Service
from edge.store import ProfileStore
from edge.types import (
    AccessDecision,
    AudioBlock,
    Confidence,
    Event,
    EventKind,
    Profile,
    ProfileKind,
    ReasonCode,
)
from tests.unit.judgments import judgment_of

WRONG = ReasonCode.UNKNOWN_SPEAKER


class Publisher:
    """Notes what is published."""

    def __init__(self) -> None:
        self.statuses: list[dict[str, Any]] = []
        self.sent: list[tuple[str, str, float]] = []
        self.silent: list[str] = []
        self.decisions: list[tuple[AccessDecision, float]] = []

    def set_status(self, **fields: Any) -> None:
        self.statuses.append(fields)

    def publish(
        self,
        topic: str,
        text: str,
        *,
        lifetime_s: float,
        silent: bool = False,
        expendable: bool = False,
    ) -> None:
        del expendable
        self.sent.append((topic, text, lifetime_s))
        self.silent += [topic] * silent

    def publish_decision(self, decision: AccessDecision, age: float) -> None:
        self.decisions.append((decision, age))
        self.sent.append(("decision", decision.reason.value, 0.0))


# --- decisions ---


class Desk:
    """Publishes decisions, and notes what the audit trail is told."""

    def __init__(
        self, *, counters: bool = True, checks: Sequence[Any] = (), mqtt: MqttConfig | None = None
    ) -> None:
        self.counters = counters
        self.events: list[Event] = []
        self.told: list[AccessDecision] = []
        self.publisher = Publisher()
        context: Any = SimpleNamespace(
            config=Config(mqtt=mqtt or MqttConfig()),
            publisher=self.publisher,
            trail=SimpleNamespace(record=self.events.append),
        )
        issuer: Any = SimpleNamespace(issue=self._issue)
        self.alarms = SilentAlarms(
            lambda event: self.publisher.sent.append(("duress", str(event.profile_id), 0.0))
        )
        self.decisions = DecisionPublisher(context, checks, issuer, self.alarms, self.told.append)

    def _issue(self, decision: AccessDecision) -> AccessDecision:
        if not self.counters:
            raise StoreError("the disk is full")
        return replace(decision, counter=7)


@pytest.mark.parametrize(("age", "sent"), [(0.0, True), (2.0, True), (2.01, False), (60.0, False)])
def test_a_decision_is_published_while_it_may_be_acted_on(
    monkeypatch: pytest.MonkeyPatch, age: float, sent: bool
) -> None:
    monkeypatch.setattr("edge.service.decisions.age_of", lambda _: age)
    desk = Desk()
    judgment = judgment_of(ReasonCode.RECOGNIZED)
    judgment = replace(judgment, decision=replace(judgment.decision, lifetime_s=2.0))
    published = desk.decisions.publish(judgment)
    assert (published is not None) is sent
    assert [(each.counter, at) for each, at in desk.publisher.decisions] == [(7, age)] * sent
    assert [each.counter for each in desk.told] == [7] * sent
    assert desk.decisions.late == (not sent)
    (event,) = desk.events
    assert (event.kind, event.detail["sent"], event.detail["outcome"]) == (
        EventKind.DECISION, sent, "granted",
    )  # fmt: skip


def test_what_the_checks_make_of_it_is_published_and_their_time_makes_nothing_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    age = [0.1]
    monkeypatch.setattr("edge.service.decisions.age_of", lambda _: age[0])
    order: list[str] = []

    class Slow:
        def __init__(self, reason: ReasonCode) -> None:
            self.reason = reason

        def review(self, judgment: Judgment) -> Judgment:
            order.append(judgment.decision.reason.value)
            age[0] = 9.0
            return judgment_of(self.reason)

    desk = Desk(checks=[Slow(ReasonCode.NOT_NOW), Slow(ReasonCode.LOCKED_OUT)])
    published = desk.decisions.publish(judgment_of(ReasonCode.RECOGNIZED))
    assert published is not None
    assert published.decision.reason is ReasonCode.LOCKED_OUT
    assert order == ["recognized", "not_now"]
    assert [at for _, at in desk.publisher.decisions] == [0.1]
    assert [event.detail["reason"] for event in desk.events] == ["locked_out"]


def test_a_decision_without_a_counter_is_dropped() -> None:
    desk = Desk(counters=False)
    assert desk.decisions.publish(judgment_of(ReasonCode.RECOGNIZED)) is None
    assert (desk.publisher.decisions, desk.told, desk.decisions.late) == ([], [], 0)
    assert [event.detail["sent"] for event in desk.events] == [False]


@pytest.mark.parametrize("reason", [ReasonCode.RECOGNIZED, WRONG])
@pytest.mark.parametrize("user", [None, "ada"])
def test_scores_and_the_phrase_go_to_whom_the_configuration_names(
    reason: ReasonCode, user: str | None
) -> None:
    desk = Desk(mqtt=MqttConfig(details_for=user))
    judgment = judgment_of(reason)
    published = desk.decisions.publish(judgment)
    ((sent, _),) = desk.publisher.decisions
    assert (sent.phrase, sent.scores) == (None, {})
    # How near a denied attempt was is not told either.
    near = Confidence.NORMAL if sent.granted else Confidence.HIGH
    assert (judgment.decision.confidence, sent.confidence) == (Confidence.NORMAL, near)
    details = [(topic, json.loads(text)) for topic, text, _ in desk.publisher.sent[1:]]
    assert details == [("details/ada", judgment.decision.details())] * (user is not None)
    assert judgment.decision.details()["phrase"] == "mellon"
    # What stays on the device has all of it.
    assert published is not None
    kept = published.decision
    assert (kept.phrase, kept.scores, kept.counter) == ("mellon", {"voice": 1.0}, 7)
    assert desk.told == [kept]


def test_where_nothing_was_compared_there_are_no_details() -> None:
    desk = Desk(mqtt=MqttConfig(details_for="ada"))
    judgment = judgment_of(ReasonCode.LOCKED_OUT)
    desk.decisions.publish(replace(judgment, decision=replace(judgment.decision, scores={})))
    assert [topic for topic, _, _ in desk.publisher.sent] == ["decision"]


def test_what_is_only_checked_is_neither_published_nor_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.service.decisions.age_of", lambda _: 60.0)
    seen: list[Judgment] = []

    class Check:
        def review(self, judgment: Judgment) -> Judgment:
            seen.append(judgment)
            return judgment

    desk = Desk(checks=[Check()])
    judgment = replace(judgment_of(WRONG), published=False)
    assert desk.decisions.publish(judgment) is None
    assert seen == [judgment]
    assert (desk.publisher.sent, desk.told, desk.events, desk.decisions.late) == ([], [], [], 0)


# --- the silent alarm ---


class Forced:
    """A check that raises the alarm where Ada is let in."""

    def __init__(self) -> None:
        self.raise_alarm: Any = None

    def review(self, judgment: Judgment) -> Judgment:
        if judgment.decision.granted:
            self.raise_alarm(Event(EventKind.DURESS, {"decision": "an id"}, "ada"))
        return judgment


def forced_desk(**options: Any) -> Desk:
    check = Forced()
    desk = Desk(checks=[check], **options)
    check.raise_alarm = desk.alarms.add
    return desk


@pytest.mark.parametrize("published", [True, False])
def test_an_alarm_holds_no_decision_up(published: bool) -> None:
    """The decision goes first, as without one; where nothing is published the alarm goes alone."""
    desk = forced_desk()
    desk.decisions.publish(replace(judgment_of(ReasonCode.RECOGNIZED), published=published))
    topics = [topic for topic, _, _ in desk.publisher.sent]
    assert topics == ["decision"] * published + ["duress"]


@pytest.mark.parametrize("fault", ["no counter", "late"])
def test_it_is_raised_also_where_the_decision_is_dropped(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("edge.service.decisions.age_of", lambda _: 99.0 * (fault == "late"))
    desk = forced_desk(counters=fault != "no counter")
    desk.decisions.publish(judgment_of(ReasonCode.RECOGNIZED))
    assert [topic for topic, _, _ in desk.publisher.sent] == ["duress"]
    assert [event.kind for event in desk.events] == [EventKind.DURESS]


def test_the_trail_grows_by_one_entry_with_an_alarm_and_without() -> None:
    """During a lock-out it is the entry on the answer to the utterance, which follows."""
    usual, forced, locked = Desk(), forced_desk(), forced_desk()
    usual.decisions.publish(judgment_of(ReasonCode.RECOGNIZED))
    forced.decisions.publish(judgment_of(ReasonCode.RECOGNIZED))
    locked.decisions.publish(replace(judgment_of(ReasonCode.RECOGNIZED), published=False))
    assert locked.events == []
    locked.decisions.publish(judgment_of(ReasonCode.LOCKED_OUT))
    for desk in (forced, locked):
        (event,) = desk.events
        assert (event.kind, event.profile_id) == (EventKind.DURESS, "ada")
        assert event.detail.keys() == usual.events[0].detail.keys()
        desk.decisions.publish(judgment_of(ReasonCode.NO_MATCH))
        assert [each.kind for each in desk.events] == [EventKind.DURESS, EventKind.DECISION]
        desk.decisions.close()
        assert len(desk.events) == 2


def test_an_alarm_that_no_decision_follows_is_recorded_at_the_stop() -> None:
    desk = forced_desk()
    desk.decisions.publish(replace(judgment_of(ReasonCode.RECOGNIZED), published=False))
    for _ in range(2):
        desk.decisions.close()
    assert [(event.kind, event.profile_id) for event in desk.events] == [(EventKind.DURESS, "ada")]


# --- who is enrolled ---


class Cache:
    """A cache of profiles over a store that fails when it is told to."""

    def __init__(self) -> None:
        self.version = 1
        self.failing: Exception | None = None
        self.stored: list[Any] = []
        self.people = [Profile.begin("Ada"), Profile.begin("Robin")]
        self.known: list[list[str]] = []
        store: Any = SimpleNamespace(
            data_version=self._data_version, list=lambda: list(self.people), adapt=self._adapt
        )
        replay: Any = SimpleNamespace(use=self.known.append, load=lambda _: None)
        engine: Any = SimpleNamespace(fits=lambda profile: profile.name != "Zoë")
        self.told: list[str | None] = []
        self.cache = ProfileCache(store, engine, EnrollmentConfig(), replay, self.told.append)

    def _data_version(self) -> int:
        if self.failing is not None:
            raise self.failing
        return self.version

    def _adapt(self, profile: Profile, sample: Any, *, most: int) -> Profile:
        if self.failing is not None:
            raise self.failing
        self.stored.append((profile.name, sample, most))
        return profile

    def names(self) -> list[str]:
        self.cache.refresh()
        return [profile.name for profile in self.cache.profiles]


def test_profiles_are_read_again_only_after_a_change() -> None:
    here = Cache()
    assert here.names() == ["Ada", "Robin"]
    before = here.cache.profiles
    here.people.pop()
    here.cache.refresh()
    assert here.cache.profiles is before
    here.version = 2
    assert here.names() == ["Ada"]
    assert [len(ids) for ids in here.known] == [2, 1]


def test_a_busy_store_locks_nobody_out_and_a_broken_one_everybody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = Cache()
    here.cache.refresh()
    for _ in range(2):  # what was counted is forgotten once it can be read
        here.failing = StoreError("cannot be read")
        for _ in range(3):
            assert here.names() == ["Ada", "Robin"]
        here.failing = None
        assert here.names() == ["Ada", "Robin"]
    assert here.told == []
    here.failing = StoreError("cannot be read")
    assert [len(here.names()) for _ in range(6)] == [2, 2, 2, 0, 0, 0]
    assert here.told == ["cannot be read"]
    assert [r.getMessage() for r in caplog.records] == ["nobody can open: cannot be read"]
    assert here.known[-1] == []
    here.failing = None
    assert here.names() == ["Ada", "Robin"]
    assert here.told[1:] == [None]


@pytest.mark.parametrize("mistake", [False, True])
def test_a_key_that_the_configuration_names_meanwhile_is_found(
    tmp_path: Path, mistake: bool
) -> None:
    """As after `keys rewrap`; where the file has a mistake, the key is looked for as before."""
    keys = [tmp_path / f"{number}.key" for number in range(3)]
    for key in keys:
        make_key_file(key)
    names = iter(keys[1:])
    told: list[str | None] = []

    def reread() -> Config:
        if mistake:
            raise ConfigError("line 3: no")
        return Config(store=StoreConfig(key_file=next(names)))

    with ProfileStore(tmp_path / "store", settings=StoreConfig(key_file=keys[0])) as store:
        store.create("Ada", ProfileKind.PHRASE, required=3)
        cache = ProfileCache(
            store,
            cast("Any", SimpleNamespace(fits=lambda _: True)),
            EnrollmentConfig(),
            cast("Any", SimpleNamespace(use=lambda _: None, load=lambda _: None)),
            told.append,
            reread,
        )
        cache.refresh()
        for before, key in itertools.pairwise(keys):
            with ProfileStore(store.path, settings=StoreConfig(key_file=before)) as other:
                wrapping = key_of_file(key)
                assert wrapping is not None
                other.lock_with(wrapping, rotate=True)
            for _ in range(6):
                cache.refresh()
            assert [profile.name for profile in cache.profiles] == ([] if mistake else ["Ada"])
    assert len(told) == (1 if mistake else 0)


def test_who_was_enrolled_with_another_model_is_named_and_a_duress_phrase_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = Cache()
    zoe = Profile.begin("Zoë")
    here.people = [zoe, replace(zoe, id="other", duress_of=zoe.id)]
    here.cache.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        "Zoë was enrolled with another model and is ignored: reset and enroll again"
    ]


def test_what_was_learned_waits_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Cache()
    lessons = iter(range(100))
    monkeypatch.setattr(
        profile_cache, "adaptation_from", lambda *_: (here.people[0], next(lessons))
    )
    judgment = judgment_of(ReasonCode.RECOGNIZED)
    for _ in range(10):
        here.cache.learn(judgment)
    here.failing = StoreError("locked")
    here.cache.store_adaptations()  # gives up at the first
    here.failing = None
    here.cache.store_adaptations()
    assert here.stored == [("Ada", number, 5) for number in range(3, 10)]
    for _ in range(2):
        here.cache.learn(judgment)
    here.failing = ProfileError("deleted")
    here.cache.store_adaptations()  # each is tried
    here.failing = None
    here.cache.store_adaptations()
    assert len(here.stored) == 7
    monkeypatch.setattr(profile_cache, "adaptation_from", lambda *_: None)
    here.cache.learn(judgment)
    here.cache.store_adaptations()
    assert len(here.stored) == 7


# --- messages ---


class Signed:
    """Signs messages, unless it is told not to."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.signs = True
        self.asked: list[tuple[Any, ...]] = []
        publisher: Any = self.publisher
        issuer: Any = SimpleNamespace(sign_message=self._sign)
        self.messages = SignedMessages(publisher, issuer)

    def _sign(self, kind: str, fields: dict[str, Any], lifetime_s: float | None = None) -> str:
        if not self.signs:
            raise StoreError("the disk is full")
        self.asked.append((kind, fields, lifetime_s))
        return "signed"


def test_how_long_each_message_may_wait_for_the_broker() -> None:
    here = Signed()
    here.messages.command_result({"id": "1"})
    here.messages.enrollment({"id": "2"})
    here.messages.duress(Event(EventKind.DURESS, {"decision": "3"}, "ada"))
    here.messages.challenge(None)
    here.messages.challenge(Prompt("4", "4172", time.time() + 100.0))
    here.messages.challenge(Prompt("5", "4172", time.time() - 5.0))
    assert [(kind, fields) for kind, fields, _ in here.asked] == [
        ("result", {"id": "1"}),
        ("enrollment", {"id": "2"}),
        ("duress", {"decision": "3", "profile_id": "ada"}),
        ("challenge", {"id": None, "digits": None}),
        ("challenge", {"id": "4", "digits": "4172"}),
        ("challenge", {"id": "5", "digits": "4172"}),
    ]
    assert [topic for topic, _, _ in here.publisher.sent] == [
        "command/result", "enrollment", "duress", "challenge", "challenge", "challenge",
    ]  # fmt: skip
    assert here.publisher.silent == ["duress"]
    lifetimes = [lifetime for _, _, lifetime in here.publisher.sent]
    assert lifetimes[:4] == [10.0, 10.0, 600.0, 10.0]
    assert lifetimes[4:] == pytest.approx([100.0, 0.5], abs=5.0)
    assert lifetimes[5] == 0.5
    # An alarm never expires, and what else is signed expires when it is no longer sent.
    assert [limit for _, _, limit in here.asked] == [
        None if topic == "duress" else lifetime for topic, _, lifetime in here.publisher.sent
    ]


def test_what_cannot_be_signed_is_not_sent_and_an_alarm_stays_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = Signed()
    here.signs = False
    with caplog.at_level(logging.INFO):
        here.messages.duress(Event(EventKind.DURESS, {}, "ada"))
        assert caplog.records == []
        here.messages.enrollment({"id": "1"})
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert here.publisher.sent == []


def test_whether_it_listens_is_published() -> None:
    publisher: Any = Publisher()
    switch = ListeningSwitch(publisher)
    assert switch.on
    for on in (False, True):
        switch.set(on)
        assert switch.on is on
    assert publisher.statuses == [{"listening": False}, {"listening": True}]


# --- reloading ---


def test_a_reload_stops_the_service_once_the_file_can_be_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files: list[Any] = [ConfigError("config.yaml:3: audoi: unknown key"), Config()]

    def reread() -> Config:
        found = files.pop(0)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    control = RunControl(reread)
    control.reload_if_requested()
    assert len(files) == 2, "nobody has asked"
    control.request_reload()
    assert control.wake.wait(0)
    control.reload_if_requested()
    control.reload_if_requested()
    assert (control.successor, control.stopping, len(files)) == (None, False, 1)
    assert "unknown key; keeping the previous configuration" in caplog.text
    control.request_reload()
    control.reload_if_requested()
    assert control.successor == Config()
    assert control.stopping


def test_without_a_file_there_is_nothing_to_reload() -> None:
    control = RunControl()
    assert not control.can_reload
    control.reload()
    assert (control.successor, control.stopping) == (None, False)
    control.stop()
    assert control.stopping
    assert control.wake.wait(0)


def test_a_signal_may_come_at_any_moment() -> None:
    """Thousands of them, in a process of its own: one that waits for itself never ends."""
    code = (
        "import signal; from edge.service.context import RunControl; control = RunControl()\n"
        "signal.signal(signal.SIGALRM, lambda *_: control.stop())\n"
        "signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)\n"
        "for _ in range(3000): control.wake.wait(1e-5)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(control.stopping)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=180
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_flood_is_bounded_and_what_was_said_last_is_kept() -> None:
    seen: list[int] = []

    class Counting(Observer):
        def decided(self, judgment: Any) -> None:
            seen.append(judgment)

    observers = Observers([Counting()])
    for number in range(600):
        observers.decisions.append(number)  # type: ignore[arg-type]
    observers.update()
    assert seen == list(range(88, 600))


# --- the clock ---


@pytest.mark.parametrize(
    ("slept_s", "ended_at", "sent"),
    [(0.4, 99.0, True), (0.6, 99.0, False), (3600.0, 99.0, False), (3600.0, 100.5, True)],
)
def test_what_was_said_before_a_suspend_opens_nothing(
    monkeypatch: pytest.MonkeyPatch, slept_s: float, ended_at: float, sent: bool
) -> None:
    """The monotonic clock stands still in suspend, and somebody else may be at the door."""
    now, up = [100.0], [500.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("edge.service.door.time", clock)
    monkeypatch.setattr("edge.service.door.uptime", lambda: up[0])
    monkeypatch.setattr("edge.access.decider.time", clock)
    canceled: list[bool] = []
    desk = Desk()
    anything = _Anything()
    context: Any = SimpleNamespace(
        config=Config(), publisher=anything, control=anything, profiles=anything,
        listening=anything,
    )  # fmt: skip
    parts: Any = SimpleNamespace(
        context=context, decisions=desk.decisions, observers=Observers([]),
        challenge=_Anything(cancel=lambda: canceled.append(True)),
    )  # fmt: skip
    source: Any = anything
    door = Door(parts, source)
    up[0] += slept_s
    door._notice_suspend()
    now[0], up[0] = 101.0, up[0] + 1.0
    judgment = judgment_of(ReasonCode.RECOGNIZED)
    utterance = replace(judgment.utterance, speech_ended_at=ended_at)
    door._decide(replace(judgment, utterance=utterance))
    assert bool(desk.publisher.decisions) == sent
    assert desk.decisions.late == (not sent)
    assert canceled == [True] * (slept_s > 0.5)


def test_the_trail_says_when_the_time_is_unknown() -> None:
    events: list[Event] = []
    anything = _Anything()
    clock: Any = _Anything(problem=None)
    parts: Any = SimpleNamespace(
        control=anything, profiles=anything, clock=clock,
        trail=SimpleNamespace(record=events.append),
    )  # fmt: skip
    service = Service(parts, [])
    for problem in ("never set", "never set", None, None):  # also from the beginning
        clock.problem = problem
        service._watch_clock()
    assert [(event.kind, event.detail) for event in events] == [
        (EventKind.CLOCK, {"known": False, "problem": "never set"}),
        (EventKind.CLOCK, {"known": True, "problem": None}),
    ]


# --- the watchdog ---


class Driver(Observer):
    """Moves the clock at every tick, and ends the service after the last time."""

    def __init__(self, script: list[tuple[float, bool]]) -> None:
        self.now = 100.0
        self.alive = True
        self.fed = threading.Event()
        self.over = threading.Event()
        self.control = RunControl()
        self._script = script

    def tick(self) -> None:
        assert self.fed.wait(30.0)
        self.now, self.alive = self._script.pop(0)
        self.control.wake.set()
        if not self._script:
            self.control.stop()


@pytest.mark.parametrize("microphone_at", [0.0, 105.0])
def test_the_watchdog_is_fed_while_blocks_come_and_mqtt_is_alive(
    monkeypatch: pytest.MonkeyPatch, microphone_at: float
) -> None:
    """A lost microphone that is tried again counts as a block."""
    moved_at = max(100.0, microphone_at)
    driver = Driver([
        (moved_at, True), (moved_at + 9.9, True), (moved_at + 10.0, True), (moved_at, False),
        (moved_at + 5.0, True), (moved_at + 3600.0, True),
    ])  # fmt: skip
    fed: list[float] = []

    class Sound:
        tried_at = microphone_at
        kind = ""

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Sound:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            driver.over.set()

        def blocks(self) -> Iterator[AudioBlock]:
            yield AudioBlock(np.zeros(512, np.float32), 0.0, 0.0)
            assert driver.over.wait(30.0)

    class Line(_Anything):
        @property
        def alive(self) -> bool:
            return driver.alive

    def feed(_: AudioBlock) -> list[Judgment]:
        driver.fed.set()
        return []

    anything = _Anything()
    profiles = _Anything(profiles=[], adapts=False)
    context: Any = SimpleNamespace(
        config=Config(), publisher=Line(), control=driver.control, listening=_Anything(on=True),
        profiles=profiles,
    )  # fmt: skip
    shared: Any = SimpleNamespace(
        control=driver.control, profiles=profiles, trail=_Anything(problem=None),
        **dict.fromkeys(("store", "clock", "state", "files"), anything),
    )  # fmt: skip
    parts: Any = SimpleNamespace(
        context=context,
        pipeline=_Anything(listener=_Anything(feed=feed, flush=list)),
        enrollment=_Anything(wants_blocks=False),
        lockout=_Anything(as_dict=dict),
        observers=Observers([driver]),
        **dict.fromkeys(
            (
                "decisions",
                "challenge",
                "commands",
                "issuer",
                "identification",
                "microphone_kind",
            ),
            anything,
        ),
    )
    notifier = _Anything(watchdog=lambda: fed.append(driver.now - moved_at))
    clock = SimpleNamespace(monotonic=lambda: driver.now)
    monkeypatch.setattr("edge.service.service.time", clock)
    monkeypatch.setattr("edge.service.door.time", clock)
    monkeypatch.setattr("edge.service.service.Notifier", lambda: notifier)
    monkeypatch.setattr("edge.service.door.ReconnectingMicrophone", Sound)
    source: Any = None if microphone_at else Sound()
    Service(shared, [Door(parts, source)]).run()
    assert fed == pytest.approx([0.0, 9.9, 5.0])


class _Anything:
    """Stands for a part of the service that this test does not look at."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        return _Anything()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return None
