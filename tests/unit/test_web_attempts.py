"""Verifications over HTTP are limited as attempts at the door are, and lock no door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.access.lockout import STATE_KEY as DOOR
from edge.access.lockout import LockOut
from edge.cli.main import main
from edge.config import LockOutConfig
from edge.store.device_state import DeviceState
from edge.types import Event, ReasonCode
from edge.web.attempts import STATE_KEY, Attempts
from edge.web.callers import STATE_KEY as CALLERS
from edge.web.refusal import Refused
from tests.unit.clocks import Clock

REJECTED = (ReasonCode.UNKNOWN_SPEAKER, ReasonCode.WRONG_PHRASE, ReasonCode.NO_MATCH)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[DeviceState]:
    made = DeviceState(tmp_path)
    yield made
    made.close()


class House:
    def __init__(self, state: DeviceState, config: LockOutConfig) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.state = state
        self.config = config
        self.attempts = self.restarted()
        self.door = LockOut(
            config,
            state,
            record=self.events.append,
            changed=lambda _: None,
            clock=self.clock.monotonic,
            boot="this start",
        )

    def restarted(self) -> Attempts:
        return Attempts(
            self.config,
            self.state,
            self.events.append,
            clock=self.clock.monotonic,
            boot="this start",
        )

    @property
    def left_s(self) -> float | None:
        try:
            self.attempts.require()
        except Refused as refusal:
            return refusal.retry_after_s if refusal.status == 429 else None
        return None


@pytest.fixture
def house(state: DeviceState) -> House:
    return House(state, LockOutConfig())


@pytest.mark.parametrize("by_phrase", [True, False])
@pytest.mark.parametrize("reason", REJECTED)
def test_five_rejections_lock_out_here_and_not_the_door(
    house: House, reason: ReasonCode, by_phrase: bool
) -> None:
    for _ in range(4):
        house.attempts.judged(reason, by_phrase=by_phrase)
    assert house.left_s is None
    house.attempts.judged(reason, by_phrase=by_phrase)
    assert house.left_s == 60.0
    assert not house.door.locked
    assert house.state.get(DOOR) is None
    assert [event.kind.value for event in house.events] == ["lock_out"]
    house.clock.now += 60
    assert house.left_s is None


@pytest.mark.parametrize(
    "reason", [ReasonCode.RECOGNIZED, ReasonCode.TOO_NOISY, ReasonCode.CLIPPED]
)
def test_what_was_not_rejected_counts_nothing(house: House, reason: ReasonCode) -> None:
    for _ in range(50):
        house.attempts.judged(reason, by_phrase=True)
    assert house.left_s is None


@pytest.mark.parametrize(("by_phrase", "locked"), [(True, 60.0), (False, None)])
def test_tries_of_a_phrase_use_up_the_budget_of_days_and_those_of_a_voice_do_not(
    house: House, by_phrase: bool, locked: float | None
) -> None:
    for _ in range(21):
        house.clock.now += 301
        house.attempts.judged(ReasonCode.UNKNOWN_SPEAKER, by_phrase=by_phrase)
    assert house.left_s == locked


def test_the_doors_lock_out_counts_here(house: House) -> None:
    for _ in range(5):
        house.door.rejected(ReasonCode.UNKNOWN_SPEAKER)
    house.clock.now += 20
    assert house.left_s == 40.0
    house.door.lift("an owner")
    assert house.left_s is None


def test_a_doors_record_that_cannot_be_read_is_a_lock_out(house: House) -> None:
    house.state.put(DOOR, "damaged")
    assert house.left_s == 60.0


def test_a_restart_does_not_end_it(house: House) -> None:
    for _ in range(5):
        house.attempts.judged(ReasonCode.NO_MATCH, by_phrase=True)
    house.clock.now += 10
    house.attempts = house.restarted()
    assert house.left_s == 50.0


def test_without_lock_outs_there_is_none(state: DeviceState) -> None:
    house = House(state, LockOutConfig(enabled=False))
    state.put(DOOR, "damaged")
    for _ in range(50):
        house.attempts.judged(ReasonCode.UNKNOWN_SPEAKER, by_phrase=True)
    assert house.left_s is None


@pytest.mark.usefixtures("config")
def test_the_command_line_lifts_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    state = DeviceState(folder)
    house = House(state, LockOutConfig())
    for _ in range(5):
        house.attempts.judged(ReasonCode.UNKNOWN_SPEAKER, by_phrase=True)
    state.put(CALLERS, "{}")
    assert main(["lockout", "lift"]) == 0
    assert state.get(STATE_KEY) is None
    assert state.get(CALLERS) is None
    house.attempts.tick()
    assert house.left_s is None
    state.close()
