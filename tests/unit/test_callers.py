"""Who may call the HTTP server, and what becomes of those who try wrong keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from edge.errors import StoreError
from edge.store.api_keys import ApiRole
from edge.types import Event
from edge.web.addresses import network_of
from edge.web.callers import HEADER, LIFT_KEY, STATE_KEY, Callers, Refused, waiting_as
from edge.web.context import WebContext
from tests.unit.clocks import Clock
from tests.unit.web import close_context, make_context

WRONG = "f" * 32
HERE, THERE = "192.168.1.7", "192.168.1.8"


def request(key: str = "", host: str = HERE) -> HTTPConnection:
    headers = [(HEADER.lower().encode(), key.encode())] if key else []
    return HTTPConnection({"type": "http", "headers": headers, "client": (host, 40000)})


@pytest.fixture
def context(tmp_path: Path) -> Iterator[WebContext]:
    made = make_context(tmp_path, None)
    yield made
    close_context(made)


class House:
    """Callers with a clock, and what they recorded."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.clock = Clock()
        self.events: list[Event] = []
        self.right = context.keys.new("Phone", ApiRole.ENROLL)
        self.callers = self.restarted()

    def restarted(self, boot: str = "this start") -> Callers:
        return Callers(
            self.context.keys,
            self.context.state,
            self.events.append,
            clock=self.clock.monotonic,
            boot=boot,
        )

    def status(self, key: str, host: str = HERE, callers: Callers | None = None) -> int:
        try:
            (callers or self.callers).check(request(key, host), ApiRole.VERIFY)
        except Refused as refusal:
            return refusal.status
        return 200


@pytest.fixture
def house(context: WebContext) -> House:
    return House(context)


def test_a_key_may_what_its_role_may(house: House) -> None:
    assert house.callers.check(request(house.right), ApiRole.ENROLL).name == "Phone"
    with pytest.raises(Refused, match="'Phone' has the role enroll, this needs manage") as refusal:
        house.callers.check(request(house.right), ApiRole.MANAGE)
    assert refusal.value.status == 403


def test_no_key_is_no_attempt(house: House) -> None:
    assert [house.status("") for _ in range(20)] == [401] * 20
    assert house.status(house.right) == 200


def test_wrong_keys_lock_their_address_out_and_no_other(house: House) -> None:
    assert [house.status(WRONG) for _ in range(7)] == [401] * 5 + [429] * 2
    assert house.status(house.right) == 429
    assert house.status("") == 429
    assert house.status(house.right, THERE) == 200
    with pytest.raises(Refused) as refusal:
        house.callers.check(request(WRONG), ApiRole.VERIFY)
    assert refusal.value.retry_after_s == 60.0


def test_a_thousand_wrong_keys_are_a_line_in_the_trail_and_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [house.status(f"{number:032x}") for number in range(1000)]
    assert answers.count(401) == 5
    assert answers.count(429) == 995
    (event,) = house.events
    assert event.kind.value == "command_refused"
    assert event.detail == {"by": "http", "reason": "wrong_keys", "from": HERE, "seconds": 60.0}
    assert caplog.messages == ["wrong keys from 192.168.1.7: locked out for 60 s"]


def test_each_lock_out_is_longer_up_to_an_hour(house: House) -> None:
    lengths = []
    for _ in range(8):
        answers = [house.status(WRONG) for _ in range(6)]
        assert answers == [401] * 5 + [429]
        with pytest.raises(Refused) as refusal:
            house.callers.check(request(WRONG), ApiRole.VERIFY)
        assert refusal.value.retry_after_s is not None
        lengths.append(refusal.value.retry_after_s)
        house.clock.now += refusal.value.retry_after_s
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    house.clock.now += 3600
    for _ in range(5):
        house.status(WRONG)
    house.clock.now += 59
    assert house.status(house.right) == 429
    house.clock.now += 1
    assert house.status(house.right) == 200


def test_a_mistake_now_and_then_is_forgotten(house: House) -> None:
    answers = []
    for _ in range(50):
        answers.append(house.status(WRONG))
        house.clock.now += 60
    assert answers == [401] * 50


def test_of_many_addresses_each_has_one_wrong_key(house: House) -> None:
    hosts = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(2000)]
    first = [house.status(WRONG, host) for host in hosts]
    assert first == [401] * 2000
    # The hundred before had five.
    assert house.status(WRONG, hosts[50]) == 401
    assert house.status(WRONG, hosts[-1]) == 429
    assert house.status(house.right, THERE) == 200
    assert house.events == []
    assert len(house.callers._known) == 1024


def test_a_network_of_ipv6_is_one_address(house: House) -> None:
    for number in range(5):
        house.status(WRONG, f"2001:db8:1:2::{number:x}")
    assert house.status(house.right, "2001:db8:1:2:ffff::1") == 429
    assert house.status(house.right, "2001:db8:1:3::1") == 200


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_counts_as_one_address(host: str, network: str) -> None:
    assert network_of(host) == network


def test_a_restart_does_not_end_a_lock_out(house: House) -> None:
    for _ in range(5):
        house.status(WRONG)
    house.callers.tick()
    house.clock.now += 20
    again = house.restarted()
    assert house.status(house.right, callers=again) == 429
    house.clock.now += 40
    assert house.status(house.right, callers=again) == 200
    # Another start of the machine: its clock began anew.
    house.clock.now = 10
    later = house.restarted("the next start")
    assert house.status(house.right, callers=later) == 429


def test_of_a_machine_without_an_id_no_time_counts_as_gone(house: House) -> None:
    before = house.restarted("")
    for _ in range(5):
        house.status(WRONG, callers=before)
    before.tick()
    house.clock.now += 50
    again = house.restarted("")
    house.clock.now += 50
    assert house.status(house.right, callers=again) == 429
    house.clock.now += 10
    assert house.status(house.right, callers=again) == 200


def test_what_cannot_be_stored_is_stored_the_next_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        house.status(WRONG)
    with monkeypatch.context() as full:
        full.setattr(house.context.state, "put", raising)
        house.callers.tick()
    assert house.context.state.get(STATE_KEY) is None
    house.callers.tick()
    assert house.context.state.get(STATE_KEY) is not None


def raising(*_: object) -> None:
    raise StoreError("the disk is full")


def test_what_is_stored_of_an_attack_is_bounded(house: House) -> None:
    for number in range(2000):
        house.status(WRONG, f"10.1.{number // 250}.{number % 250 + 1}")
    house.callers.tick()
    text = house.context.state.get(STATE_KEY)
    assert text is not None
    assert len(json.loads(text)["locked"]) == 256
    house.clock.now += 60
    house.callers._unwritten = True
    house.callers.tick()
    assert house.context.state.get(STATE_KEY) is None


@pytest.mark.parametrize("text", ["", "[]", '{"locked": {"a": "b"}}', '{"boot": 1, "locked": []}'])
def test_a_damaged_record_is_no_lock_out(house: House, text: str) -> None:
    house.context.state.put(STATE_KEY, text)
    assert house.status(house.right, callers=house.restarted()) == 200


def test_the_command_line_lifts_it(house: House) -> None:
    for _ in range(5):
        house.status(WRONG)
    house.callers.tick()
    house.context.state.put(LIFT_KEY, "command line")
    house.callers.tick()
    assert house.status(house.right) == 200
    assert house.context.state.get(LIFT_KEY) is None
    assert house.context.state.get(STATE_KEY) is None


def test_machines_with_one_key_wait_for_themselves(house: House) -> None:
    (key,) = house.context.keys.list()
    assert waiting_as(request(host=HERE), key) == f"{key.id} 192.168.1.7"
    assert waiting_as(request(host=THERE), key) != waiting_as(request(host=HERE), key)
