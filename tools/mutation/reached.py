"""Which tests reach which lines, from one run of the tests with coverage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import parso
from coverage import CoverageData

from tools.mutation.mutants import Mutant, definition_at


@dataclass(frozen=True)
class Reached:
    """Tests by the lines that they reach; by text, so that it holds when lines move."""

    lines: dict[str, dict[str, list[str]]]
    """Module, then the text of a line: tests."""
    definitions: dict[str, dict[str, list[str]]]
    """Module, then a function or class: tests."""
    seconds: dict[str, float]
    """How long each test took that passed."""

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant; for a module's constant, those of the module."""
        if mutant.definition:
            found = self.lines.get(mutant.module, {}).get(mutant.source_line)
            if found:
                return found
            found = self.definitions.get(mutant.module, {}).get(mutant.definition)
            if found:
                return found
        by_line = self.lines.get(mutant.module, {}).values()
        return sorted({test for tests in by_line for test in tests})

    def shares(self) -> dict[tuple[str, str], float]:
        """By test file and module: how much of what the file reaches is in the module, 0 to 1."""
        counts: Counter[tuple[str, str]] = Counter()
        for module, lines in self.lines.items():
            for tests in lines.values():
                counts.update({(test.partition("::")[0], module) for test in tests})
        totals: Counter[str] = Counter()
        for (file, _), count in counts.items():
            totals[file] += count
        return {(file, module): n / totals[file] for (file, module), n in counts.items()}


def note_reached(root: Path, tests: list[str], workers: int) -> Reached:
    """Run tests with coverage in `root`."""
    data_file, report = root / ".coverage-reached", root / ".tests.xml"
    subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "loadfile",
            "-p", "no:cacheprovider", "--basetemp", str(root / ".tests"), "--cov=edge",
            "--cov-context=test", "--cov-report=", f"--junitxml={report}",
            "-o", "junit_family=xunit1", *tests,
        ],
        cwd=root, check=False, stdout=sys.stderr,
        env={**os.environ, "PYTHONPATH": str(root), "COVERAGE_FILE": str(data_file)},
    )  # fmt: skip
    data = CoverageData(str(data_file))
    data.read()
    lines: dict[str, dict[str, list[str]]] = {}
    definitions: dict[str, dict[str, list[str]]] = {}
    for path in data.measured_files():
        module = Path(path).resolve().relative_to(root.resolve()).as_posix()
        code = Path(path).read_text(encoding="utf-8")
        texts, tree = code.splitlines(), parso.parse(code)
        by_line: dict[str, set[str]] = defaultdict(set)
        by_definition: dict[str, set[str]] = defaultdict(set)
        for line, contexts in data.contexts_by_lineno(path).items():
            reaching = {context.rpartition("|")[0] for context in contexts if context}
            if reaching and 0 < line <= len(texts):
                by_line[texts[line - 1].strip()] |= reaching
                by_definition[definition_at(tree, line)] |= reaching
        lines[module] = {text: sorted(found) for text, found in by_line.items()}
        definitions[module] = {name: sorted(found) for name, found in by_definition.items()}
    return Reached(lines, definitions, _seconds(report))


def _seconds(report: Path) -> dict[str, float]:
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (made by our own tests)
        if not any(child.tag in {"failure", "error", "skipped"} for child in case):
            found[f"{case.get('file')}::{case.get('name')}"] = float(case.get("time", 0.0))
    return found


def load_reached(path: Path) -> Reached:
    """What an earlier run has saved."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    return Reached(saved["lines"], saved["definitions"], saved["seconds"])


def save_reached(reached: Reached, path: Path) -> None:
    """Keep it for a later run."""
    path.write_text(json.dumps(asdict(reached)), encoding="utf-8")
