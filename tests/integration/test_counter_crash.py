"""Counters under SIGKILL, on a full disk and on one that may only be read: none ever goes back.

A decision's number that came twice would open a door twice; a command's that was forgotten would be
carried out again.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edge.errors import StoreError
from edge.store.device_state import DeviceState
from tests.integration.power import cut, lines_of

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))

# A device as it runs: it numbers decisions and alarms, carries out commands, and writes both down.
# Each line is printed after what it tells has returned, so it is a promise.
DEVICE = """
import resource, sys
from pathlib import Path
from edge.access import issuing
from edge.access.issuing import Issuer
from edge.config import AuditConfig, CommandsConfig
from edge.crypto.canonical import wire
from edge.crypto.signing import COMMAND, DECISION, DURESS, HmacKey, signed
from edge.errors import StoreError
from edge.mqtt.command_queue import CommandQueue
from edge.mqtt.link import Incoming
from edge.mqtt.commands import command_message
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.types import AccessDecision, Confidence, Outcome, ReasonCode

DECISION_MADE = AccessDecision(
    id="8f14e45f", time=1e9, device="hall", outcome=Outcome.GRANTED, reason=ReasonCode.ACCEPTED,
    confidence=Confidence.HIGH)
folder, highest, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
issuing.BLOCK = 3  # so that blocks are taken all the time
key = HmacKey(bytes(range(32)), "owner")
state = DeviceState(folder / "state")
trail = AuditTrail(folder / "state", bytes(32), state, AuditConfig())
answers = []
commands = CommandQueue(
    CommandsConfig(keys_file=folder / "keys.yaml"), "hall", state, {"lift_lockout": lambda _: None},
    record=trail.record, answer=answers.append)

def tell(counter):
    message = {**command_message("lift_lockout", {}, "hall", key), "counter": counter}
    commands.receive(Incoming("command", wire(signed(message, COMMAND, key)).encode(), False))
    if commands.work() and answers.pop()["ok"]:
        print("command", counter, flush=True)
    answers.clear()

issuer = Issuer("hall", state, key, kinds=(DECISION, DURESS))
print("open", flush=True)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    for old in range(max(1, highest - 40), highest + 1):
        tell(old)
    for turn in range(1, 100000):
        issued = issuer.issue(DECISION_MADE)
        print("decision", issued.counter, flush=True)
        if turn % 3 == 0:
            issuer.sign_message(DURESS, {"decision": issued.id})
        if turn % 5 == 0:
            issuer.top_up()
        tell(highest + turn)
        trail.flush()
        if limit and turn > 3000:
            sys.exit("nothing failed")
except StoreError as error:
    print("failed", str(error).replace(" ", "_"), flush=True)
"""


def _start(folder: Path, highest: int, limit: int = 0) -> subprocess.Popen[bytes]:
    keys = folder / "keys.yaml"
    if not keys.exists():
        row = {"id": "owner", "algorithm": "hmac-sha256", "key": KEY.hex(), "role": "owner"}
        keys.touch(mode=0o600)
        keys.write_text(yaml.safe_dump({"keys": [row]}))
    return subprocess.Popen(
        [sys.executable, "-c", DEVICE, str(folder), str(highest), str(limit)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


class Promised:
    """All numbers that were ever given out, and that none of them came twice or out of order."""

    def __init__(self) -> None:
        self.highest = {"decision": 0, "command": 0}
        self.count = 0

    def take(self, child: subprocess.Popen[bytes], said: bytes = b"") -> list[str]:
        """What a child that has ended said; returns why it failed, if it did."""
        assert child.stdout is not None
        rest = (said + child.stdout.read()).decode()
        child.wait()
        child.stdout.close()
        failures = []
        for line in rest.rpartition("\n")[0].splitlines():
            what, _, number = line.partition(" ")
            if what == "open":
                continue
            if what == "failed":
                failures.append(number)
                continue
            assert int(number) > self.highest[what], line
            self.highest[what] = int(number)
            self.count += 1
        return failures


@pytest.mark.parametrize("rounds", [6, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_any_moment_no_number_comes_twice(tmp_path: Path, rounds: int) -> None:
    moments = random.Random(11)  # noqa: S311 (which moments are tried is no secret)
    promised = Promised()
    for _ in range(rounds):
        child = _start(tmp_path, promised.highest["command"])
        assert child.stdout is not None
        said = lines_of(child, 3 + moments.randrange(20))
        assert said.startswith(b"open\n")
        cut(child, tmp_path / "state" / "device.sqlite-journal")
        assert promised.take(child, said) == []
    assert promised.count > rounds
    assert promised.highest["command"] > 0


@pytest.mark.parametrize("limit", [4096, 20_000])
def test_a_disk_that_takes_no_more_gives_no_number(tmp_path: Path, limit: int) -> None:
    promised = Promised()
    for run in range(4):  # it fails and is started again, with room and without
        child = _start(tmp_path, promised.highest["command"], limit if run % 2 else 0)
        said = b""
        if not run % 2:
            said = lines_of(child, 10)
            os.kill(child.pid, signal.SIGKILL)
        failures = promised.take(child, said)
        assert len(failures) == run % 2
        # It is no damage: whoever moved the files away would begin to count anew.
        assert not any("damaged" in failure for failure in failures), failures
    assert promised.count > 10


def test_a_disk_that_may_only_be_read_gives_no_number(small_disk: Path) -> None:
    state = DeviceState(small_disk)
    assert state.reserve("counter/decision", 10) == 1
    state.put("command/owner", "7")
    state.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        with pytest.raises(StoreError, match=r"read-only|cannot"):
            DeviceState(small_disk).reserve("counter/decision")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with contextlib.closing(DeviceState(small_disk)) as state:
        assert state.get("command/owner") == "7"
        assert state.reserve("counter/decision") == 11
