"""Puts mistakes into the code, one at a time, and counts those that a test notices.

    python -m tools.mutation_test [ROOM or MODULE]... [--sample N] [--tests PATH...]

A mistake is a flipped comparison, a constant off by a fifth, a call or a lock left out and the
like (tools/mutation/operators.py); the code with it is a mutant, and a mutant is killed when a test
fails. First all the tests run once with coverage, then each mutant runs only those that reach it,
of the files that are most about it. It works on copies of the checkout, with what is not committed.
Mutants that no test can tell from the code are listed in tests/equivalent_mutants.yaml, with a
reason each.

All rooms take hours on two cores: `--sample` tries some of each, `--tests` runs only certain tests
(while writing them), `--reached FILE` keeps which test reaches what.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

from rich.console import Console
from rich.table import Table

from tools.mutation.equivalent import read_equivalent
from tools.mutation.mutants import Mutant, find_mutants
from tools.mutation.reached import Reached, load_reached, note_reached, save_reached

_ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("access", "audio", "challenge", "crypto", "mqtt", "recognition", "replay", "store")
_LONGEST, _MOST_FILES = 20.0, 5
"""Seconds of tests for a mutant, and in how many files."""
_REACHING = ["tests"]
"""What runs to see what reaches what: in it, tests that start processes reach little."""


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    outcome: str
    """`killed`, `timeout`, `survived` or `not reached`."""
    by: str = ""
    """The test that noticed."""


class _Worker:
    """A copy of the checkout, and a process that tests mutants in it."""

    def __init__(self, root: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, str(_ROOT / "tools/mutation/worker.py"), str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self._process = process
        self._orders, self._answers = cast(IO[str], process.stdin), cast(IO[str], process.stdout)

    def run(
        self, tests: Sequence[str], limit: float, mutant: Mutant | None = None
    ) -> dict[str, Any]:
        """Outcomes of the tests; without a mutant of all, else up to the first failure."""
        order = {
            "module": mutant.module if mutant else None,
            "mutated": mutant.mutated if mutant else None,
            "all": mutant is None,
            "tests": list(tests),
            "limit": limit,
        }
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._orders.close()
        self._process.wait()


def copy_checkout(root: Path, revision: str | None, target: Path) -> None:
    """Copy the files known to git, and new ones; or those of a revision."""
    if revision:
        archive = subprocess.run(
            ["git", "archive", revision], cwd=root, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(target)], input=archive, check=True)
        return
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)


def modules_of(root: Path, places: Iterable[str]) -> dict[str, list[str]]:
    """Modules by room, of rooms (`store`) and modules (`edge/store/audit.py`).

    Raises:
        ValueError: There is no such room or module.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for place in places:
        path = root / place if place.endswith(".py") else root / "edge" / place
        modules = [path] if path.is_file() else sorted(path.rglob("*.py"))
        if not modules:
            raise ValueError(f"there is no room or module {place}")
        for module in modules:
            name = module.relative_to(root).as_posix()
            found[name.split("/")[1].removesuffix(".py")].append(name)
    return dict(found)


def choose(root: Path, places: Iterable[str], sample: int | None, seed: int) -> list[Mutant]:
    """The mutants to try, of each room so many."""
    chosen: list[Mutant] = []
    for modules in modules_of(root, places).values():
        mutants = [mutant for module in modules for mutant in find_mutants(root, module)]
        if sample is not None and sample < len(mutants):
            mutants = random.Random(seed).sample(mutants, sample)  # noqa: S311 (no secret)
        chosen += sorted(mutants, key=lambda mutant: (mutant.module, mutant.line))
    return chosen


def try_mutants(
    mutants: Sequence[Mutant],
    reaching: Mapping[Mutant, list[str]],
    roots: Sequence[Path],
    seconds: Mapping[str, float] | None = None,
    shares: Mapping[tuple[str, str], float] = MappingProxyType({}),
) -> Iterable[Result]:
    """Run each mutant's tests, in several copies at a time.

    Args:
        reaching: files or tests for each mutant.
        seconds: how long each test takes; if None, all run once first.
        shares: as `Reached.shares`.
    """
    with ExitStack() as closing:
        workers: queue.Queue[_Worker] = queue.Queue()
        for root in roots:
            worker = _Worker(root)
            closing.callback(worker.close)
            workers.put(worker)
        pool = closing.enter_context(concurrent.futures.ThreadPoolExecutor(len(roots)))
        durations = _durations(workers.queue[0], reaching) if seconds is None else seconds

        def attempt(mutant: Mutant) -> Result:
            wanted = {name for test in reaching[mutant] for name in _expand(test, durations)}
            about = {
                file: share for (file, module), share in shares.items() if module == mutant.module
            }
            tests = _nearest(wanted, durations, about)
            if not tests:
                return Result(mutant, "not reached")
            worker = workers.get()
            try:
                limit = 5 * sum(durations[test] for test in tests) + 20
                answer = worker.run(tests, limit, mutant)
            finally:
                workers.put(worker)
            failed = [
                test for test, (outcome, _) in answer["results"].items() if outcome == "failed"
            ]
            if answer["status"] == 0:
                return Result(mutant, "survived")
            if answer["status"] is None or answer["status"] < 0:
                return Result(mutant, "timeout")
            return Result(mutant, "killed", failed[0] if failed else "the import of the tests")

        yield from pool.map(attempt, mutants)


def _durations(worker: _Worker, reaching: Mapping[Mutant, list[str]]) -> dict[str, float]:
    """How long each test takes that passes without a mistake."""
    needed = sorted({test for tests in reaching.values() for test in tests})
    results = worker.run(needed, 3600)["results"] if needed else {}
    for test, (outcome, _) in results.items():
        if outcome == "failed":
            print(f"note: fails without a mistake, passed over: {test}", file=sys.stderr)
    return {test: spent for test, (outcome, spent) in results.items() if outcome == "passed"}


def _nearest(
    tests: Collection[str], durations: Mapping[str, float], shares: Mapping[str, float]
) -> list[str]:
    """Of these tests those in the files that are most about the mutant, the shortest first.

    Each further file costs its imports and fixtures. Most about it are the files that reach little
    besides its module, and unit tests before those that need a broker.
    """
    reaching = Counter(test.partition("::")[0] for test in tests)

    def distance(file: str) -> tuple[bool, float, int]:
        return "integration" in file, -shares.get(file, 0.0), -reaching[file]

    chosen: list[str] = []
    total = 0.0
    for file in sorted(reaching, key=distance)[:_MOST_FILES]:
        of_file = (test for test in tests if test.partition("::")[0] == file)
        for test in sorted(of_file, key=lambda name: durations[name]):
            total += durations[test]
            if chosen and total > _LONGEST:
                return chosen
            chosen.append(test)
    return chosen


def _expand(test: str, seconds: Mapping[str, float]) -> list[str]:
    """The tests that a path or an id stands for."""
    if test in seconds:
        return [test]
    return [name for name in seconds if name.startswith((f"{test}::", f"{test.rstrip('/')}/"))]


def show(console: Console, results: Sequence[Result], listed: set[Mutant]) -> dict[str, float]:
    """Print the survivors and a table by room; the share killed of each, 0 to 1."""
    for result in results:
        if result.outcome in {"survived", "not reached"} and result.mutant not in listed:
            before, after = result.mutant.change
            where = f"{result.mutant.module}:{result.mutant.line}"
            console.print(
                f"{where}: in {result.mutant.definition or 'the module'}: {result.outcome}\n"
                f"    - {before}\n    + {after}",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
    table = Table()
    columns = ("room", "mutants", "killed", "of them time", "survived", "equivalent", "score")
    for column in columns:
        table.add_column(column, justify="left" if column == "room" else "right")
    scores: dict[str, float] = {}
    by_room: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_room[result.mutant.module.split("/")[1].removesuffix(".py")].append(result)
    for room, of_room in sorted(by_room.items()):
        equivalent = sum(
            result.outcome in {"survived", "not reached"} and result.mutant in listed
            for result in of_room
        )
        late = sum(result.outcome == "timeout" for result in of_room)
        killed = late + sum(result.outcome == "killed" for result in of_room)
        counted = len(of_room) - equivalent
        scores[room] = killed / counted if counted else 1.0
        table.add_row(
            room, str(len(of_room)), str(killed), str(late), str(counted - killed),
            str(equivalent), f"{100 * scores[room]:.1f} %",
        )  # fmt: skip
    console.print(table)
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a room is below `--least`."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", 1)[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(__doc__ or "").split("\n\n", 2)[2],
    )
    parser.add_argument("places", nargs="*", metavar="ROOM", help=f"default: {' '.join(ROOMS)}")
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants of each room")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another sample")
    parser.add_argument(
        "--tests", nargs="+", metavar="PATH", help="run these tests on every mutant"
    )
    parser.add_argument("--reached", type=Path, metavar="FILE", help="made if it is not there")
    parser.add_argument("--revision", help="the code and the tests of a revision")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--least", type=float, default=85.0, metavar="PERCENT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant's outcome")
    options = parser.parse_args(argv)
    console = Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edge-voice-mutants-") as folder:
        roots = [Path(folder) / str(number) for number in range(options.jobs)]
        for root in roots:
            root.mkdir()
            copy_checkout(_ROOT, options.revision, root)
        speech = _ROOT.parent / "shared" / "speech"
        os.environ.setdefault("EDGE_VOICE_SPEECH", str(speech))
        try:
            mutants = choose(roots[0], options.places or ROOMS, options.sample, options.seed)
            entries = read_equivalent(roots[0])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        seconds, shares = None, {}
        if options.tests:
            reaching = {mutant: list(options.tests) for mutant in mutants}
        else:
            reached = _reached(options.reached, roots[0], options.jobs)
            reaching = {mutant: reached.tests(mutant) for mutant in mutants}
            seconds, shares = reached.seconds, reached.shares()
        results = []
        for result in try_mutants(mutants, reaching, roots, seconds, shares):
            results.append(result)
            if len(results) % 50 == 0:
                spent = time.monotonic() - began
                print(f"{len(results)} of {len(mutants)} in {spent:.0f} s", file=sys.stderr)
        listed = {m for m in mutants if any(entry.matches(m) for entry in entries)}
    scores = show(console, results, listed)
    if options.json:
        options.json.write_text(json.dumps([_plain(result) for result in results], indent=1))
    print(f"{len(results)} mutants in {time.monotonic() - began:.0f} s")
    return 1 if any(100 * score < options.least for score in scores.values()) else 0


def _reached(path: Path | None, root: Path, workers: int) -> Reached:
    if path and path.exists():
        return load_reached(path)
    reached = note_reached(root, _REACHING, workers)
    if path:
        save_reached(reached, path)
    return reached


def _plain(result: Result) -> dict[str, Any]:
    before, after = result.mutant.change
    return {
        "module": result.mutant.module,
        "line": result.mutant.line,
        "in": result.mutant.definition,
        "before": before,
        "after": after,
        "outcome": result.outcome,
        "by": result.by,
    }


if __name__ == "__main__":
    sys.exit(main())
