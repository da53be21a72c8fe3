"""Issued decisions: numbers that never come twice, an end, a signature."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import edge.access.issuing
from edge.access.issuing import BLOCK, Issuer, signing_key
from edge.config import SigningConfig
from edge.crypto.canonical import MessageProblem, read_message
from edge.crypto.signing import HmacKey, is_genuine, new_key
from edge.errors import ConfigError, StoreError
from edge.store.device_state import DeviceState
from edge.types import AccessDecision, Confidence, Outcome, Quality, ReasonCode
from tests.conftest import REPOSITORY

KEY = HmacKey(bytes(32))


def decision(**changes: Any) -> AccessDecision:
    made = AccessDecision(
        id="one",
        time=1_700_000_000.123,
        device="hall",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.ACCEPTED,
        confidence=Confidence.HIGH,
        name="Zoë",
        scores={"voice": 3.0, "phrase": -0.25},
        timings_ms={"decide": 12.04},
        quality=Quality(-23.456, -61.01, 37.55, 0.00012, 1.8449),
    )
    return replace(made, **changes)


def test_an_issued_decision_says_when_it_ends_and_who_says_so(tmp_path: Path) -> None:
    issuer = Issuer("hall", DeviceState(tmp_path), KEY)
    before = time.time()
    issued = issuer.issue(decision())
    message = read_message(issued.to_json().encode(), 4096)
    assert is_genuine(message, "decision", KEY)
    assert message["counter"] == 1
    assert message["expires_at"] == "2023-11-14T22:13:25.123Z"  # from the end of the speech
    assert message["lifetime_s"] == 5
    assert issued.issued_at is not None
    assert before - 0.01 <= issued.issued_at <= time.time()
    assert list(message)[-1] == "signature"
    for name, value in (("decision", "denied"), ("device", "back"), ("counter", 2)):
        assert not is_genuine({**message, name: value}, "decision", KEY)


def test_without_a_key_it_is_numbered_only(tmp_path: Path) -> None:
    issuer = Issuer("hall", DeviceState(tmp_path))
    content = json.loads(issuer.issue(decision()).to_json())
    assert content["counter"] == 1
    assert "signature" not in content
    assert issuer.key_id is None


def test_a_decision_that_was_not_issued_is_as_it_ever_was() -> None:
    content = decision().as_dict()
    assert not {"counter", "issued_at", "expires_at", "signature"} & set(content)


def test_figures_that_cannot_be_signed_do_not_keep_the_door_shut(tmp_path: Path) -> None:
    issuer = Issuer("hall", DeviceState(tmp_path), KEY)
    issued = issuer.issue(decision(scores={"voice": float("inf"), "phrase": 1e300}))
    message = read_message(issued.to_json().encode(), 4096)
    assert is_genuine(message, "decision", KEY)
    assert message["decision"] == "granted"


def test_numbers_rise_over_restarts_and_blocks(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        state = DeviceState(tmp_path)
        issuer = Issuer("hall", state)
        for count in range(BLOCK + 10):
            if count % 100 == 0:
                issuer.top_up()
            number = issuer.issue(decision()).counter
            assert number is not None
            seen.append(number)
        state.close()
    assert seen == sorted(set(seen))


def test_a_decision_waits_for_no_disk(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    issuer = Issuer("hall", state)
    state.close()
    for _ in range(BLOCK):
        assert issuer.issue(decision()).counter
    issuer.top_up()  # logged, not raised
    with pytest.raises(StoreError):
        issuer.issue(decision())


def test_a_silent_alarm_leaves_no_gap_among_the_decisions(tmp_path: Path) -> None:
    issuer = Issuer("hall", DeviceState(tmp_path), KEY)
    first = issuer.issue(decision()).counter
    alarm = read_message(issuer.sign_message("duress", {"who": "x"}).encode(), 4096)
    assert is_genuine(alarm, "duress", KEY)
    assert not is_genuine(alarm, "decision", KEY)
    assert (first, issuer.issue(decision()).counter) == (1, 2)


def test_other_messages(tmp_path: Path) -> None:
    issuer = Issuer("hall", DeviceState(tmp_path), KEY)
    message = json.loads(issuer.sign_message("challenge", {"digits": "4711"}, lifetime_s=8.0))
    assert message["digits"] == "4711"
    assert message["device"] == "hall"
    assert message["issued_at"] < message["expires_at"]
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


CRASHING = """
import sys
from pathlib import Path
import edge.access.issuing as issuing
from edge.store.device_state import DeviceState
from tests.unit.test_issuing import decision
issuing.BLOCK = 3
issuer = issuing.Issuer("hall", DeviceState(Path(sys.argv[1])), kinds=("decision",))
while True:
    print(issuer.issue(decision()).counter, flush=True)
    issuer.top_up()
"""


def test_a_kill_takes_no_number_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    for round_ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", CRASHING, str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            seen.extend(int(process.stdout.readline()) for _ in range(20 + 7 * round_))
            process.send_signal(signal.SIGKILL)
            seen.extend(int(line) for line in process.stdout if line.endswith("\n"))
    monkeypatch.setattr(edge.access.issuing, "BLOCK", 3)
    assert seen == sorted(set(seen))
    last = Issuer("hall", DeviceState(tmp_path)).issue(decision()).counter
    assert last is not None
    assert last > seen[-1]
