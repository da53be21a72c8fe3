"""Issued decisions: numbers that never come twice, an end, a signature."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.access import issuing
from edge.access.issuing import Issuer, signing_key
from edge.config import SigningConfig
from edge.crypto.canonical import MessageProblem, read_message
from edge.crypto.signing import HmacKey, is_genuine, new_key
from edge.errors import ConfigError
from edge.types import AccessDecision, Confidence, Outcome, Quality, ReasonCode
from tests.unit.interleaving import Action, interleaved
from tests.unit.stores import Memory

KEY = HmacKey(bytes(32))


def decision(**changes: Any) -> AccessDecision:
    made = AccessDecision(
        id="one",
        time=1_700_000_000.123,
        device="hall",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.RECOGNIZED,
        confidence=Confidence.HIGH,
        name="Zoë",
        scores={"voice": 3.0, "phrase": -0.25},
        timings_ms={"decide": 12.04},
        quality=Quality(-23.456, -61.01, 37.55, 0.00012, 1.8449),
    )
    return replace(made, **changes)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_002.5)


def test_an_issued_decision_says_when_it_ends_and_who_says_so() -> None:
    issuer = Issuer("hall", Memory(), KEY)
    issued = issuer.issue(decision(device="back", signature={"value": "of before"}))
    message = read_message(issued.to_json().encode(), 4096)
    assert is_genuine(message, "decision", KEY)
    assert message["device"] == "hall"
    assert message["counter"] == 1
    assert message["issued_at"] == "2023-11-14T22:13:22.500Z"
    assert message["expires_at"] == "2023-11-14T22:13:25.123Z"  # from the end of the speech
    assert message["lifetime_s"] == 5
    assert message["scores"] == {"voice": 3, "phrase": -0.25}
    assert list(message)[-1] == "signature"
    assert issuer.key_id == KEY.key_id
    for name, value in (("decision", "denied"), ("device", "back"), ("counter", 2)):
        assert not is_genuine({**message, name: value}, "decision", KEY)


def test_without_a_key_it_is_numbered_only() -> None:
    issuer = Issuer("hall", Memory())
    for text in (issuer.issue(decision()).to_json(), issuer.sign_message("duress", {})):
        content = json.loads(text)
        assert content["counter"] == 1
        assert "signature" not in content
    assert issuer.key_id is None


def test_a_decision_that_was_not_issued_is_as_it_ever_was() -> None:
    content = decision().as_dict()
    assert not {"counter", "issued_at", "expires_at", "signature"} & set(content)


def test_figures_that_cannot_be_signed_do_not_keep_the_door_shut() -> None:
    issuer = Issuer("hall", Memory(), KEY)
    issued = issuer.issue(decision(scores={"voice": float("inf"), "phrase": 1e300}))
    message = read_message(issued.to_json().encode(), 4096)
    assert is_genuine(message, "decision", KEY)
    assert message["decision"] == "granted"
    assert (message["scores"], message["timings_ms"], message["quality"]) == ({}, {}, None)


def numbers_of(issuer: Issuer, count: int) -> list[int]:
    found = [issuer.issue(decision()).counter for _ in range(count)]
    return [number for number in found if number is not None]


def test_after_a_restart_the_rest_of_the_block_is_skipped() -> None:
    numbers = Memory()
    assert numbers_of(Issuer("hall", numbers), 1) == [1]
    assert numbers_of(Issuer("hall", numbers), 1002) == list(range(1001, 2003))
    assert numbers_of(Issuer("hall", numbers), 1) == [3001]


def test_a_block_is_reserved_early_and_once() -> None:
    """Each write wears the memory card, and a decision waits for none."""
    numbers = Memory()
    issuer = Issuer("hall", numbers, kinds=("decision",))
    for used, writes in ((499, 1), (1, 2), (999, 2), (1, 3)):
        numbers_of(issuer, used)
        issuer.top_up()
        issuer.top_up()
        assert numbers.writes == writes
    assert numbers_of(issuer, 1) == [1501]


class _Slow(Memory):
    """While a block is reserved something else happens."""

    meanwhile: Callable[[], object] | None = None

    def reserve(self, name: str, count: int = 1, least: int = 1) -> int:
        first = super().reserve(name, count, least)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return first


@pytest.mark.parametrize("count", [499, 500, 501, 1000, 1500, 1501])
def test_numbers_rise_however_long_a_block_takes(count: int) -> None:
    """Decisions use up what is left meanwhile, and then a later block, in part or whole."""
    numbers = _Slow()
    issuer = Issuer("hall", numbers, kinds=("decision",))
    seen = numbers_of(issuer, 500)
    numbers.meanwhile = lambda: seen.extend(numbers_of(issuer, count))
    issuer.top_up()
    seen += numbers_of(issuer, 2000)
    assert len(seen) == 2500 + count
    assert seen == sorted(set(seen))


def test_numbers_never_go_back_with_the_file() -> None:
    """As when an earlier copy of it is put in its place."""
    numbers = Memory()
    issuer = Issuer("hall", numbers, kinds=("decision",))
    seen = numbers_of(issuer, 1000)
    numbers.numbers.clear()
    assert numbers_of(issuer, 1) == [seen[-1] + 1]


def issuer_at(numbers: Memory, now: list[float | None]) -> Issuer:
    return Issuer("hall", numbers, kinds=("decision",), now=lambda: now[0])


def test_a_restored_backup_goes_on_from_the_clock() -> None:
    """A lock that has seen 1700000000999 accepts what comes next, whatever the backup says."""
    numbers = Memory()
    numbers.numbers["counter/decision"] = 4711
    assert numbers_of(issuer_at(numbers, [1_700_000_001.0]), 2) == [1700000001000, 1700000001001]
    # A clock that is behind what was given out changes nothing.
    assert numbers_of(issuer_at(numbers, [1_600_000_000.0]), 1) == [1700000002000]
    assert numbers_of(issuer_at(numbers, [None]), 1) == [1700000003000]


def test_numbers_follow_the_clock_once_it_is_known() -> None:
    now: list[float | None] = [None]
    numbers = Memory()
    issuer = issuer_at(numbers, now)
    assert numbers_of(issuer, 2) == [1, 2]
    issuer.top_up()
    now[0] = 1_700_000_000.0
    issuer.top_up()
    issuer.top_up()
    assert numbers_of(issuer, 2) == [1700000000000, 1700000000001]
    now[0] = 1_800_000_000.0
    issuer.top_up()
    assert numbers_of(issuer, 1) == [1700000000002]
    assert numbers.writes == 2


@pytest.mark.parametrize(
    ("now", "first", "again"), [(1_700_000_000.0, 1700000000000, 1700000000000), (None, 4712, 4712)]
)
def test_a_full_disk_does_not_keep_the_door_shut(
    now: float | None, first: int, again: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a clock the next start repeats numbers: a lock refuses those, at worst."""
    numbers = Memory()
    numbers.numbers["counter/decision"] = 4711
    numbers.broken = True
    for start in (first, again):
        issuer = issuer_at(numbers, [now])
        assert numbers_of(issuer, 1002) == [*range(start, start + 1002)]
    numbers.broken = False
    issuer.top_up()
    assert numbers_of(issuer, 1000) == [*range(first + 1002, first + 2002)]
    assert numbers.numbers["counter/decision"] > first + 2000
    caplog.clear()
    numbers.broken = True
    numbers_of(issuer, 900)
    for _ in range(3):
        issuer.top_up()
    assert caplog.messages == ["no counters could be reserved: no space is left"]


@pytest.mark.parametrize("first", ["issue", "top up"])
@pytest.mark.parametrize("second", ["issue", "top up"])
@pytest.mark.parametrize("used", [0, 2, 3])
def test_two_threads_get_no_number_twice(
    monkeypatch: pytest.MonkeyPatch, first: str, second: str, used: int
) -> None:
    monkeypatch.setattr(issuing, "BLOCK", 3)

    def prepare() -> tuple[Action, Action, Action]:
        issuer = Issuer("hall", Memory(), kinds=("decision",))
        before = numbers_of(issuer, used)
        mine: list[int] = []
        others: list[int] = []

        def act(name: str, found: list[int]) -> None:
            if name == "issue":
                found += numbers_of(issuer, 1 if found is mine else 4)
            else:
                issuer.top_up()

        def check() -> None:
            after = numbers_of(issuer, 4)
            for seen in (mine, others):
                found = before + seen + after
                assert found == sorted(set(found))
            assert not set(mine) & set(others)

        return lambda: act(first, mine), lambda: act(second, others), check

    interleaved(issuing, prepare)


def test_a_decision_waits_for_no_disk(caplog: pytest.LogCaptureFixture) -> None:
    numbers = Memory()
    issuer = Issuer("hall", numbers)
    numbers.broken = True
    assert numbers_of(issuer, 1000)[-1] == 1000
    assert caplog.messages == []
    assert numbers_of(issuer, 1) == [1001]
    assert caplog.messages == ["no counters could be reserved: no space is left"]


def test_a_silent_alarm_leaves_no_gap_among_the_decisions() -> None:
    issuer = Issuer("hall", Memory(), KEY)
    first = issuer.issue(decision()).counter
    alarm = read_message(issuer.sign_message("duress", {"who": "x"}).encode(), 4096)
    assert is_genuine(alarm, "duress", KEY)
    assert not is_genuine(alarm, "decision", KEY)
    assert (first, issuer.issue(decision()).counter) == (1, 2)


def test_other_messages() -> None:
    issuer = Issuer("hall", Memory(), KEY)
    text = issuer.sign_message("challenge", {"digits": "4711", "device": "x"}, lifetime_s=8.0)
    message = json.loads(text)
    assert is_genuine(message, "challenge", KEY)
    del message["signature"]
    expected = {
        "digits": "4711", "device": "hall", "counter": 1,
        "issued_at": "2023-11-14T22:13:22.500Z", "expires_at": "2023-11-14T22:13:30.500Z",
    }  # fmt: skip
    assert message == expected
    for kind in ("challenge", "duress", "result", "enrollment"):
        assert "expires_at" not in json.loads(issuer.sign_message(kind, {}))
    with pytest.raises(MessageProblem):
        issuer.sign_message("challenge", {"x": 1e-9})
    with pytest.raises(KeyError):
        issuer.sign_message("command", {})


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
def test_the_key_that_the_settings_name(tmp_path: Path, algorithm: str) -> None:
    key, content = new_key(algorithm)
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    found = signing_key(SigningConfig(file, algorithm))
    assert found is not None
    assert found.key_id == key.key_id
    assert signing_key(SigningConfig()) is None
    other = {"hmac-sha256": "ed25519", "ed25519": "hmac-sha256"}[algorithm]
    with pytest.raises(ConfigError, match="holds no key for"):
        signing_key(SigningConfig(file, other))
