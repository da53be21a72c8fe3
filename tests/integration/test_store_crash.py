"""The store under SIGKILL: whatever had been committed is there, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.store import ProfileStore
from edge.types import ProfileStatus
from tests.conftest import let_others_in
from tests.integration.power import cut, lines_of
from tests.integration.waiting import settled
from tests.unit.stores import enroll, make_sample, same, seeds_of

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 12

# Prints a line only after the call that it reports has returned, so every line is a promise.
ENROLL_FOREVER = """
import sys, time
from pathlib import Path
import numpy as np
from edge.store import ProfileStore
from edge.types import EnrollmentSample, ProfileKind

def sample(seed):
    random = np.random.default_rng(seed)
    speaker = random.standard_normal(192).astype(np.float32)
    phrase = random.standard_normal((60, 96)).astype(np.float32)
    return EnrollmentSample(speaker / np.linalg.norm(speaker), phrase, 1.5, 20.0, float(seed))

store, run = ProfileStore(Path(sys.argv[1])), sys.argv[2]
print("open", flush=True)
for turn in range(1000):
    one, two = f"{run} guided {turn}", f"{run} whole {turn}"
    store.create(one, ProfileKind.PHRASE, required=3)
    print(f"create|{one}|0", flush=True)
    for number in range(3):
        store.add_sample(one, sample(number), "5" * 64, "9" * 64)
        print(f"sample|{one}|{number + 1}", flush=True)
    store.create(two, ProfileKind.PHRASE, required=3,
        samples=[sample(number) for number in range(3)],
        speaker_model="5" * 64, phrase_model="9" * 64)
    print(f"whole|{two}|3", flush=True)
    store.replace_samples(two, [sample(number + 10) for number in range(3)], "6" * 64, "8" * 64)
    print(f"replaced|{two}|3", flush=True)
    store.delete(one)
    print(f"deleted|{one}|-1", flush=True)
    if turn % 3:
        store.delete(two)
        print(f"deleted|{two}|-1", flush=True)
"""

ADAPT_FOREVER = """
import sys
from dataclasses import replace
from pathlib import Path
from edge.store import ProfileStore
from tests.unit.stores import make_sample

store, run = ProfileStore(Path(sys.argv[1])), int(sys.argv[2])
print("open", flush=True)
for turn in range(1000):
    seed = run * 1000 + turn + 100
    sample = replace(make_sample(seed, rows=60), adapted=True)
    store.adapt(store.get("Ada"), sample, most=3)
    print(f"learned|{seed}", flush=True)
    if turn % 5 == 4:
        store.forget_adaptation("Ada")
        print("reverted|0", flush=True)
"""


def _kill_after(path: Path, run: int, finished: int, script: str = ENROLL_FOREVER) -> list[str]:
    """Run a child and kill it in the midst of what it does after so many lines.

    Returns:
        Its finished lines.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(run)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    said = lines_of(child, finished)
    cut(child, path.with_name(path.name + "-journal"))
    rest = (said + child.stdout.read()).decode()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    return rest.rpartition("\n")[0].splitlines()


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "signatures.sqlite"
    moments = random.Random(2)  # noqa: S311 (which moments are tried is no secret)
    expected: dict[str, int] = {}
    for run in range(ROUNDS):
        for line in _kill_after(path, run, moments.randrange(12)):
            _, name, count = line.split("|")
            expected[name] = int(count)
        journal = path.with_name(path.name + "-journal")
        assert journal.stat().st_mode & 0o077 == 0

        with ProfileStore(path) as store:
            profiles = {profile.name: profile for profile in store.list()}
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        database.close()

        for name, samples in expected.items():
            # The child may have been one call further than its last line says.
            found = len(profiles[name].samples) if name in profiles else -1
            if " whole " in name:
                assert found in (3, -1)
                assert found == samples or (found == -1 and name == list(expected)[-1])
            elif samples == 3:
                assert found in (3, -1)
            else:
                assert found in ((samples, samples + 1) if samples >= 0 else (-1,))
            expected[name] = found
        for name, profile in profiles.items():
            numbers = [sample.created_at for sample in profile.samples]
            if " whole " in name:
                assert profile.status is ProfileStatus.ENROLLED
                models = {"5" * 64: [0.0, 1.0, 2.0], "6" * 64: [10.0, 11.0, 12.0]}
                assert numbers == models[profile.speaker_model]
            else:
                assert numbers == [float(number) for number in range(len(numbers))]
            expected.setdefault(name, len(profile.samples))
        expected = {name: found for name, found in expected.items() if found >= 0}
    assert any(" whole " in name for name in expected)


def test_killed_while_it_learns_the_enrollment_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "signatures.sqlite"
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1, 2, 3)
    expected: list[int] = []
    for run in range(8):
        for line in _kill_after(path, run, 1 + run % 4, ADAPT_FOREVER):
            what, seed = line.split("|")
            expected = [*expected, int(seed)][-3:] if what == "learned" else []
        with ProfileStore(path) as store:
            ada = store.get("Ada")
        assert all(same(sample, make_sample(1 + i)) for i, sample in enumerate(ada.enrolled))
        assert ada.status is ProfileStatus.ENROLLED
        found = seeds_of(ada.adapted)
        # The child may have been one call further than its last line says.
        assert found in (expected, []) or found[:-1] == expected[-2:]
        expected = found


def test_killed_while_it_is_created(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from edge.store import ProfileStore\n"
        "print('ready', flush=True)\n"
        "for turn in range(10000):\n"
        "    ProfileStore(Path(sys.argv[1]) / f'{turn}.sqlite').close()\n"
        "    print(turn, flush=True)\n"
    )
    moments = random.Random(3)  # noqa: S311
    made = 0
    for run in range(6):
        folder = tmp_path / str(run)
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert child.stdout is not None
        lines_of(child, 1 + run % 3)  # ready, and some made, however busy the machine is
        time.sleep(moments.uniform(0.0, 0.05))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for path in folder.glob("[0-9]*.sqlite"):
            made += 1
            with ProfileStore(path) as store:
                assert store.list() == []
    assert made > 0


def test_reader_and_writer_in_two_processes(tmp_path: Path) -> None:
    """The service reads while the command line enrolls: neither fails, every change is noticed."""
    path = tmp_path / "signatures.sqlite"
    with ProfileStore(path) as store:
        child = subprocess.Popen(
            [sys.executable, "-c", ENROLL_FOREVER, str(path), "x"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        marks, seen = {store.data_version()}, set()

        def changed_often() -> bool:
            marks.add(store.data_version())
            for profile in store.list():
                seen.add(len(profile.samples))
                if " whole " in profile.name:
                    assert len(profile.samples) == 3
            return len(marks) > 6

        assert settled(changed_often)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert seen


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from edge.errors import StoreError
from edge.store import ProfileStore
from edge.types import ProfileKind

path = Path(sys.argv[1])
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    with ProfileStore(path) as store:
        print(store.count(), flush=True)
        store.create("Grace", ProfileKind.PHRASE, required=3)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("exists", [True, False])
def test_folder_that_may_only_be_read(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "state"
    path = folder / "signatures.sqlite"
    folder.mkdir()
    if exists:
        ProfileStore(path).close()
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
            os.chown(folder / "store.key", 65534, 65534)
    let_others_in(tmp_path)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER_USER, str(path)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder.chmod(0o755)
    lines = done.stdout.splitlines()
    if exists:
        assert lines[0] == "0"
    assert len(lines) == 1 + exists
    assert str(path) in lines[-1]
    assert "read-only" in lines[-1] or "permission denied" in lines[-1]
    if exists:
        if os.geteuid() == 0:
            os.chown(folder / "store.key", 0, 0)
        with ProfileStore(path) as store:
            assert store.count() == 0
