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
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edge.errors import StoreError
from edge.store.device_state import DeviceState

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))

# A device as it runs: it numbers decisions and alarms, carries out commands, and writes both down.
# Each line is printed after what it tells has returned, so it is a promise. For each line of its
# input it lives once, in a process of its own, which is quicker than to start it anew.
DEVICE = """
import os, resource, sys, time
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
    id="8f14e45f", time=1e9, device="hall", outcome=Outcome.GRANTED, reason=ReasonCode.RECOGNIZED,
    confidence=Confidence.HIGH)
issuing.BLOCK = 3  # so that blocks are taken all the time
key = HmacKey(bytes(range(32)), "owner")
folder, dated = Path(sys.argv[1]), sys.argv[2] == "dated"

def live(highest, limit):
    state = DeviceState(folder / "state")
    trail = AuditTrail(folder / "state", bytes(32), state, AuditConfig())
    answers = []
    commands = CommandQueue(
        CommandsConfig(keys_file=folder / "keys.yaml"), "hall", state,
        {"lift_lockout": lambda _: None}, record=trail.record, answer=answers.append)

    def tell(counter):
        message = {**command_message("lift_lockout", {}, "hall", key), "counter": counter}
        commands.receive(Incoming("command", wire(signed(message, COMMAND, key)).encode(), False))
        if commands.work() and answers.pop()["ok"]:
            print("command", counter, flush=True)
        answers.clear()

    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    now = time.time if dated else lambda: None
    issuer = Issuer("hall", state, key, kinds=(DECISION, DURESS), now=now)
    for old in range(max(1, highest - 40), highest + 1):
        tell(old)
    for turn in range(1, 3000):
        issued = issuer.issue(DECISION_MADE)
        print("decision", issued.counter, flush=True)
        if turn % 3 == 0:
            issuer.sign_message(DURESS, {"decision": issued.id})
        if turn % 5 == 0:
            issuer.top_up()
        tell(highest + turn)
        trail.flush()

for order in sys.stdin:
    if not (child := os.fork()):
        print("open", os.getpid(), flush=True)
        try:
            live(*map(int, order.split()))
        except StoreError as error:
            print("failed", str(error).replace(" ", "_"), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


class Device:
    """A device that lives again and again, and never gives a number twice or out of order."""

    def __init__(self, folder: Path, *, dated: bool = False) -> None:
        row = {"id": "owner", "algorithm": "hmac-sha256", "key": KEY.hex(), "role": "owner"}
        keys = folder / "keys.yaml"
        keys.touch(mode=0o600)
        keys.write_text(yaml.safe_dump({"keys": [row]}))
        self._process = subprocess.Popen(
            [sys.executable, "-c", DEVICE, str(folder), "dated" if dated else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        self.highest = {"decision": 0, "command": 0}
        self.count = 0

    def live(self, *, limit: int = 0, killed_after: int | None = None) -> list[str]:
        """One life, ended after so many promises; returns why it failed, if it did."""
        orders, told = self._process.stdin, self._process.stdout
        assert orders is not None
        assert told is not None
        orders.write(f"{self.highest['command']} {limit}\n")
        orders.flush()
        failures, promises, process = [], 0, 0
        for line in iter(told.readline, "ended\n"):
            what, _, number = line.strip().partition(" ")
            if what == "open":
                process = int(number)
            elif what == "failed":
                failures.append(number)
            else:
                assert int(number) > self.highest[what], line
                self.highest[what] = int(number)
                promises += 1
                if promises == killed_after:
                    os.kill(process, signal.SIGKILL)
        self.count += promises
        return failures

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with contextlib.closing(Device(tmp_path)) as device:
        yield device


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.long)])
def test_killed_at_any_moment_no_number_comes_twice(
    tmp_path: Path, device: Device, rounds: int
) -> None:
    moments = random.Random(11)  # noqa: S311 (which moments are tried is no secret)
    met = 0  # kills that left a journal: without a transaction in flight they prove little
    for turn in range(50 * rounds):
        if turn >= rounds and met >= 3:
            break
        assert device.live(killed_after=moments.randrange(1, 30)) == []
        met += any((tmp_path / "state").glob("*-journal"))
    assert met >= 3
    assert device.highest["command"] > 10


@pytest.mark.parametrize("limit", [4096, 20_000])
def test_on_a_disk_that_takes_no_more_numbers_come_from_the_clock(
    tmp_path: Path, limit: int
) -> None:
    with contextlib.closing(Device(tmp_path, dated=True)) as device:
        for run in range(4):  # it fails and is started again, with room and without
            before = device.highest["decision"]
            if run % 2:
                (failure,) = device.live(limit=limit)  # of the audit trail
                # It is no damage: whoever moved the files away would begin to count anew.
                assert "damaged" not in failure
            else:
                assert device.live(killed_after=10) == []
            assert device.highest["decision"] > before
        assert device.count > 20


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
