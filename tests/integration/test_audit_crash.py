"""The audit trail under SIGKILL, on a full disk and on one that may only be read."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from edge.config import AuditConfig
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from tests.conftest import let_others_in
from tests.integration.waiting import PATIENCE

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))
MOST = 200
"""Entries that retention keeps."""
UNTOLD = 8
"""Entries that two writers had stored and not said so, at most."""

# Prints a line only after the entries that it names are on the disk, so every line is a promise.
WRITE_FOREVER = """
import sys
from pathlib import Path
from edge.config import AuditConfig
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind

folder, who = Path(sys.argv[1]), sys.argv[2]
trail = AuditTrail(folder, bytes(range(32)), DeviceState(folder, busy_s=30), AuditConfig(),
                   busy_s=30)
print("open", flush=True)
for turn in range(100000):
    for part in range(turn % 4 + 1):
        trail.record(Event(EventKind.CHANGE, {"turn": f"{who} {turn} {part}"}, "somebody"))
    trail.flush()
    for part in range(turn % 4 + 1):
        print(f"{who} {turn} {part}", flush=True)
    if turn % 10 == 9 and who.endswith("a"):
        trail._opened().prune(expired=0, most_entries=int(sys.argv[3]), most_bytes=10**9)
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def _start(folder: Path, who: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(folder), who, str(MOST)],
        stdout=subprocess.PIPE,
        bufsize=0,  # so that waiting for a line sees it
        env=_environment(),
    )


def _kill_two(folder: Path, rounds: int, seed: int) -> None:
    moments = random.Random(seed)  # noqa: S311 (which moments are tried is no secret)
    journals = acknowledged = newest = 0
    for run in range(rounds):
        children = [_start(folder, f"{run}{which}") for which in "ab"]
        lines = []
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"open\n"
        # However busy the machine is, one of them is in the midst of it.
        assert wait([child.stdout.fileno() for child in children if child.stdout], PATIENCE)
        time.sleep(moments.uniform(0.0, 0.25))
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
        for child in children:
            assert child.stdout is not None
            lines += child.stdout.read().decode().rpartition("\n")[0].splitlines()
            assert child.wait() == -signal.SIGKILL
            child.stdout.close()
        journals += (folder / "audit.sqlite-journal").exists()
        with AuditTrail(folder, KEY, DeviceState(folder), AuditConfig()) as trail:
            verdict = trail.verify()
            entries = trail.entries()
        assert verdict.findings == ()
        assert verdict.head.seq >= newest
        newest = verdict.head.seq
        turns = [entry.details().get("turn") for entry in entries]
        if entries and entries[0].seq == 1:
            assert set(lines) <= set(turns)
        else:  # what retention removed is the oldest, never what was just acknowledged
            kept = set(turns)
            newest_kept = sum(line in kept for line in lines)
            assert newest_kept >= min(len(lines), int(0.9 * MOST) - UNTOLD)
            for which in "ab":
                # One of the two may have waited while the other wrote all that is kept.
                own = [line in kept for line in lines if line.startswith(f"{run}{which} ")]
                assert own == sorted(own)
            assert len(entries) >= 0.9 * MOST  # a twentieth more goes, for the next ones
        acknowledged += len(lines)
        assert verdict.head.seq >= acknowledged  # each has a number of its own
    # Kills that never met a transaction in flight would prove nothing.
    assert acknowledged >= rounds
    assert journals > 0 or rounds < 20


def test_two_processes_killed_at_any_moment_keep_one_chain(tmp_path: Path) -> None:
    _kill_two(tmp_path, rounds=4, seed=6)


@pytest.mark.long
def test_two_processes_killed_at_any_moment_many_times(tmp_path: Path) -> None:
    _kill_two(tmp_path, rounds=100, seed=7)


FULL_DISK = """
import sys
from pathlib import Path
from edge.config import AuditConfig
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind

folder = Path(sys.argv[1])
trail = AuditTrail(folder, bytes(range(32)), DeviceState(folder), AuditConfig())
event = Event(EventKind.CHANGE, {str(part): "x" * 200 for part in range(8)})
trail.record(event)
trail.work()
assert trail.problem is None, trail.problem
filler = folder / "filler"
with filler.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
for _ in range(5000):
    trail.record(event)
trail.work()
print(trail.problem)
assert trail.verify().intact
filler.unlink()
trail._failed_at = 0.0
trail.work()
assert trail.problem is None, trail.problem
verdict = trail.verify()
last = trail.entries()[-1]
print(verdict.findings, verdict.entries, last.kind, last.details()["count"])
"""


def test_a_full_disk_is_said_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=24m tmpfs "$1" && exec {sys.executable} -c "$2" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), FULL_DISK],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip("a small disk can only be made by root")
    assert done.returncode == 0, done.stderr
    problem, verdict = done.stdout.splitlines()
    assert "disk is full" in problem
    assert verdict == "() 4098 unwritten 904"


READ_ONLY = """
import os, sys
from pathlib import Path
from edge.config import AuditConfig
from edge.store.audit import AuditTrail
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind

folder = Path(sys.argv[1])
state = DeviceState(folder)
if os.geteuid() == 0:
    os.seteuid(65534)
folder.chmod(0o500)
trail = AuditTrail(folder, bytes(range(32)), state, AuditConfig())
trail.record(Event(EventKind.CHANGE))
trail.work()
print(trail.problem)
"""


def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    let_others_in(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(folder)],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "read-only" in done.stdout or "permission denied" in done.stdout
