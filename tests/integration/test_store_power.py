"""The sealed store under SIGKILL, on a full disk and on one that may only be read.

Enrollment, rotation, deletion and import each happen whole or not at all; what was sealed anew or
removed is in no file afterwards, also when power failed before it could be overwritten.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.integration.power import cut, lines_of
from tests.integration.waiting import settled
from tests.unit.stores import traces

REPOSITORY = Path(__file__).resolve().parents[2]

# Some are enrolled (a name, three samples), some imported (with two digits and a duress phrase).
# Each line is printed after what it tells has returned, so it is a promise.
PEOPLE = """
import random, resource, sys
from pathlib import Path
from edge.errors import StoreError
from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, make_sample

MODELS = dict(speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL)
path, run, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = ProfileStore(path)
moves = random.Random(run)

def samples(name):
    return [make_sample(sum(name.encode()) + number, rows=40) for number in range(3)]

def person(name):
    with ProfileStore(path.parent.parent / "elsewhere" / f"{run}.sqlite") as other:
        one = other.create(
            name, ProfileKind.PHRASE, required=3, samples=samples(name), **MODELS)
        two = other.create(name + " duress", ProfileKind.PHRASE, required=3, duress_of=name)
        for digit in (b"one", b"two"):
            other.keep("digit", digit * 200, profile=name)
        exported = other.export(name)
        other.delete(name)
    return exported

people = [profile.name for profile in store.list() if profile.duress_of is None]
ready = [person(f"{run} {turn}") for turn in range(4)]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("open", flush=True)
try:
    for turn in range(100000):
        move = moves.choice(["enroll", "rotate", "delete", "import", "rewrap"])
        name = f"{run} {turn}"
        if move == "enroll":
            store.create(
                name, ProfileKind.PHRASE, required=3, samples=samples(name), **MODELS)
            people.append(name)
        elif move == "rotate":
            store.rotate_key()
        elif move == "rewrap":
            sources = store.key_sources
            sources.replace_file(sources.default_file, lambda key: store.lock_with(key))
        elif move == "import":
            if not ready:
                continue
            given = ready.pop()
            name = given.profile.name + " imported"
            store.import_person(given, name)
            people.append(name)
        elif len(people) <= 2:
            continue
        else:
            name = people.pop(moves.randrange(len(people)))
            store.delete(name)
        print(f"{move}|{name}", flush=True)
except StoreError as error:
    print(f"failed|{error}", flush=True)
"""


ON_A_READ_ONLY_DISK = """
import sys
from pathlib import Path
from edge.errors import StoreError
from edge.store import ProfileStore
from edge.types import ProfileKind

with ProfileStore(Path(sys.argv[1])) as store:
    sources = store.key_sources
    for change in (
        lambda: store.create("Ada", ProfileKind.PHRASE, required=3),
        lambda: store.delete(store.list()[0].id),
        store.rotate_key,
        lambda: sources.replace_file(sources.default_file, lambda key: store.lock_with(key)),
    ):
        try:
            change()
        except StoreError as error:
            print("refused" if "read-only" in str(error) else error)
"""


def _start(path: Path, run: int, limit: int = 0) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", PEOPLE, str(path), str(run), str(limit)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    return child


def _lines(child: subprocess.Popen[bytes], said: bytes = b"") -> list[list[str]]:
    """What it has said by its end, after what was read before."""
    assert child.stdout is not None
    rest = (said + child.stdout.read()).decode()
    child.wait()
    child.stdout.close()
    return [line.split("|", 1) for line in rest.rpartition("\n")[0].splitlines()]


def _everything_is_whole(path: Path) -> dict[str, int]:
    """Names in the store, with the number of digits; fails if anybody is there by half."""
    with ProfileStore(path) as store:
        profiles = {profile.id: profile for profile in store.list()}
        digits = [item.profile_id for item in store.kept("digit")]
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    found = {}
    for profile in profiles.values():
        imported = "imported" in profile.name
        if profile.duress_of is not None:
            assert profile.name == profiles[profile.duress_of].name + " duress"
            continue
        number = sum(profile.name.removesuffix(" imported").encode())
        base = 1_700_000_000.25 + number
        assert [each.created_at - base for each in profile.samples] == [0, 1, 2]
        assert digits.count(profile.id) == (2 if imported else 0)
        duress = [each for each in profiles.values() if each.duress_of == profile.id]
        assert len(duress) == imported
        found[profile.name] = digits.count(profile.id)
    assert len(digits) == sum(found.values())
    return found


def _sealed(path: Path) -> set[bytes]:
    database = sqlite3.connect(path)
    rows = {
        bytes(row[0])
        for query in (
            "SELECT wrapped FROM keyring",
            "SELECT sealed FROM profile",
            "SELECT sealed FROM sample",
            "SELECT sealed FROM item",
        )
        for row in database.execute(query)
    }
    database.close()
    return rows


@pytest.mark.parametrize("rounds", [8, pytest.param(200, marks=pytest.mark.long)])
def test_killed_at_any_moment_nobody_is_there_by_half(tmp_path: Path, rounds: int) -> None:
    path = tmp_path / "state" / "signatures.sqlite"
    moments = random.Random(7)  # noqa: S311 (which moments are tried is no secret)
    expected: set[str] = set()
    before: set[bytes] = set()
    journal = path.with_name(path.name + "-journal")
    done: set[str] = set()
    for run in range(rounds):
        child = _start(path, run)
        said = lines_of(child, moments.randrange(8))
        cut(child, journal)
        lines = _lines(child, said)
        for move, name in lines:
            done.add(move)
            if move in ("enroll", "import"):
                expected.add(name)
            elif move == "delete":
                expected.discard(name)
        found = set(_everything_is_whole(path))
        # The child may have been one call further than its last line says.
        assert len(found ^ expected) <= 1
        expected = found
        assert not journal.exists()
        now = _sealed(path)
        assert traces(path.parent, *(row[40:64] for row in before - now)) == []
        before = now
    assert done == {"enroll", "rotate", "delete", "import", "rewrap"}


def test_a_rotation_by_the_command_is_noticed_by_who_runs(tmp_path: Path) -> None:
    path = tmp_path / "signatures.sqlite"
    config = tmp_path / "config.yaml"
    config.write_text(f"state_directory: {tmp_path}\n")
    with ProfileStore(path) as service:
        service.create("Ada", ProfileKind.PHRASE, required=3)
        for action in ("rotate", "rewrap"):
            mark = service.data_version()
            subprocess.run(
                [sys.executable, "-m", "edge.cli", "keys", action, "--config", str(config)],
                cwd=REPOSITORY,
                check=True,
                capture_output=True,
            )
            assert service.data_version() != mark
            assert [profile.name for profile in service.list()] == ["Ada"]
            service.rename("Ada", "ADA" if action == "rotate" else "Ada")
            service.rename("ada", "Ada")


@pytest.mark.parametrize("run", [1, 2, 3])
def test_a_full_disk_loses_nobody(small_disk: Path, run: int) -> None:
    path = small_disk / "signatures.sqlite"
    child = _start(path, run)
    filler = small_disk / "filler"
    # 600 KiB are left, for the store, its journal, and the copy that rebuilds it.
    filler.write_bytes(bytes(400 << 10))
    _fill(child, path)
    found = set(_everything_is_whole(path))
    filler.unlink()
    with ProfileStore(path) as store:
        store.rotate_key()
        for name in list(found)[:2]:
            store.delete(name)
    assert len(_everything_is_whole(path)) == max(0, len(found) - 2)


def _fill(child: subprocess.Popen[bytes], path: Path) -> None:
    """Let the child go on until something fails; it takes that with one line."""
    filler = path.with_name("more")

    def fill() -> bool:
        with contextlib.suppress(OSError), filler.open("ab") as file:
            file.write(bytes(8 << 10))
        return child.poll() is not None

    settled(fill)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    lines = _lines(child)
    filler.unlink()
    assert lines[-1][0] == "failed"
    assert str(path.parent) in lines[-1][1]


@pytest.mark.parametrize("limit_kib", [64, 160, 256])
def test_a_file_that_cannot_grow_loses_nobody(tmp_path: Path, limit_kib: int) -> None:
    """As on a full disk, where no disk of one's own can be mounted."""
    path = tmp_path / "state" / "signatures.sqlite"
    child = _start(path, 5, limit_kib << 10)
    lines = _lines(child)
    assert lines[-1][0] == "failed"
    expected: set[str] = set()
    for move, name in lines[:-1]:
        if move in ("enroll", "import"):
            expected.add(name)
        elif move == "delete":
            expected.discard(name)
    assert set(_everything_is_whole(path)) == expected


def test_a_disk_that_may_only_be_read_can_be_read(small_disk: Path) -> None:
    path = small_disk / "signatures.sqlite"
    child = _start(path, 9)
    lines_of(child, 5)
    os.kill(child.pid, signal.SIGKILL)
    _lines(child)
    found = set(_everything_is_whole(path))
    before = {each.name: each.read_bytes() for each in small_disk.iterdir() if each.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        assert set(_everything_is_whole(path)) == found
        done = subprocess.run(
            [sys.executable, "-c", ON_A_READ_ONLY_DISK, str(path)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines() == ["refused"] * 4
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert {
        each.name: each.read_bytes() for each in small_disk.iterdir() if each.is_file()
    } == before
