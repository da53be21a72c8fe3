"""Runs chosen tests against one mutant after the other, each in a process of its own.

    python tools/mutation/worker.py ROOT

ROOT is a copy of the repository, which is changed. A line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

_MEMORY = 2 << 30
"""Bytes of address space for a mutant that allocates without end."""
_PRELOADED = (
    "_pytest.assertion", "hypothesis", "hypothesis.strategies", "numpy", "soundfile", "soxr",
    "yaml", "pytest", "paho.mqtt.client", "cryptography.hazmat.primitives.ciphers.aead",
    "scipy.signal", "jsonschema", "psutil", "rich.console", "sqlite3", "ai_edge_litert.interpreter",
)  # fmt: skip
"""What most tests import, read once; nothing of the repository."""


def main() -> None:
    """Read what to run until the end of the input."""
    root = Path(sys.argv[1])
    os.chdir(root)
    # The copy comes before an editable installation of the original; processes that tests start
    # inherit that.
    sys.path[0] = str(root)
    os.environ["PYTHONPATH"] = str(root)
    for name in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    hypothesis = importlib.import_module("hypothesis")
    # The same examples each time, and no search for a smaller one after a failure.
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        database=None,
        derandomize=True,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        json.dump(_run(root, json.loads(line)), answers)
        answers.write("\n")
        answers.flush()


def _run(root: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Run tests with one module changed.

    The order has `module` and `mutated`, both null for the code as it is, `tests`, `all` (do not
    stop at the first failure) and `limit`, in seconds of processor time.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        module = root / order["module"] if order["module"] else None
        original = module.read_bytes() if module else b""
        if module:
            shutil.rmtree(module.parent / "__pycache__", ignore_errors=True)
            module.write_text(order["mutated"], encoding="utf-8")
        began = time.monotonic()
        report = Path(scratch) / "report.json"
        try:
            child = os.fork()
            if child == 0:
                _test(order, Path(scratch), report)
            status = _wait(child, order["limit"])
        finally:
            if module:
                module.write_bytes(original)
        results = json.loads(report.read_text()) if report.exists() else {}
        return {"status": status, "results": results, "seconds": time.monotonic() - began}


def _wait(child: int, limit: float) -> int | None:
    """The exit status; None if the child ran out of time."""
    # Of the clock, for one that waits for ever.
    deadline = time.monotonic() + 2 * limit + 30
    try:
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


class _Recorder:
    """A plug-in that notes each test's outcome and duration."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._results: dict[str, list[Any]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Sum up the phases of a test; a failure in one is a failure."""
        outcome, seconds = self._results.get(report.nodeid, ["passed", 0.0])
        if report.failed or (report.skipped and outcome == "passed"):
            outcome = report.outcome
        self._results[report.nodeid] = [outcome, seconds + report.duration]

    def pytest_sessionfinish(self) -> None:
        """Write what was noted."""
        self._report.write_text(json.dumps(self._results))


def _test(order: dict[str, Any], scratch: Path, report: Path) -> None:
    """Run the tests in this process, and end it."""
    os.setpgrp()
    sys.dont_write_bytecode = bool(order["module"])
    limit = int(order["limit"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    output: IO[str] = (scratch / "output").open("w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    pytest = importlib.import_module("pytest")
    arguments = [
        "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov",
        "--hypothesis-profile", "mutants", "--basetemp", str(scratch / "tests"),
        *([] if order["all"] else ["-x"]), *order["tests"],
    ]  # fmt: skip
    status = 70
    try:
        status = int(pytest.main(arguments, plugins=[_Recorder(report)]))
    finally:
        output.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
