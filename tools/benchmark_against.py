"""Speed and memory of the working tree and of an earlier revision, side by side.

    python -m tools.benchmark_against REVISION [--rounds N] [--json FILE]

The revision is checked out into a temporary folder. Both run `tools.benchmark` in turn, so that
other load on the machine affects both alike. Needs git, and packages that suit both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """The revision's files in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        git = ["git", "-C", str(_ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def benchmark(tree: Path, report: Path) -> dict[str, float]:
    """Benchmark the software in a folder: figures by name, with units."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "tools.benchmark", "--json", str(report)]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    figures = {f"{name}, ms": float(value) for name, value in found["stages_ms"].items()}
    for name, text in (found.get("service") or found["daemon"]).items():
        value, _, unit = str(text).partition(" ")
        figures[f"{name}, {unit}"] = float(value)
    return figures


def main(arguments: list[str]) -> int:
    """Measure both and print the figures side by side."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark_against")
    parser.add_argument("revision", help="the revision to compare with: a commit, tag or branch")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    rounds: dict[str, list[dict[str, float]]] = {"before": [], "after": []}
    with checked_out(options.revision) as tree, tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.rounds):
            for name, folder in (("before", tree), ("after", _ROOT)):
                rounds[name].append(benchmark(folder, Path(scratch) / "report.json"))
    medians = {
        side: {name: statistics.median(one[name] for one in found) for name in found[0]}
        for side, found in rounds.items()
    }
    table = Table("figure", title=f"Medians of {options.rounds} rounds, the two sides in turn")
    table.add_column(options.revision, justify="right")
    table.add_column("now", justify="right")
    for name, value in medians["after"].items():
        before = medians["before"].get(name)
        table.add_row(name, "-" if before is None else f"{before:.2f}", f"{value:.2f}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    if options.json:
        options.json.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
