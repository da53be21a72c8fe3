"""Prints how the code is laid out: modules, import cycles, names, spelling, settings, calls.

    python -m tools.structure [--against REVISION] [--json]

Counts the files known to git. With `--against` an earlier revision is counted beside it by the same
rules. The calls are the functions of edge/ that a block of sound goes through once its source has
handed it over: the real service, without MQTT, receives silence and then one of the demo's
people.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

_ROOT = Path(__file__).resolve().parent.parent
_SHORT = 60
"""Modules with fewer lines are short."""
_PASSED_OVER = (
    "tests/golden/", "tools/structure.py", "tests/unit/test_structure.py", "CHANGELOG.md",
    "LICENSE",
)  # fmt: skip
"""Files with British words on purpose."""
BRITISH = re.compile(
    r"""(?ix)
    (?: enrolment | enrol(?!l)
      | (?: behavi | col | fav | hon | lab | neighb | vap | flav | rum | harb ) our (?! ly | glass )
      | (?: author | character | customi | emphas | final | general | initial | local | maxim
          | minim | normal | optim | organ | quant | real | recogn | serial | special | summar
          | symbol | synchron | util | visual | categor | stabil | standard )
        is (?: e | ed | es | er | ing | ation ) (?![a-z])
      | (?: analy | paraly ) s (?: e | ed | ing ) (?![a-z])
      | (?: cancel | label | model | travel | signal | level | channel ) l (?: ed | ing )
      | (?<![a-z]) (?: centre | metre | theatre | fibre | grey | licence | artefact | catalogue
          | programme | practise | judgement | whilst | amongst | fulfil | instal | skilful ) s?
        (?![a-z])
    )"""
)


_RATE = 16_000
_SILENCE_S = 3.0
"""Seconds before speech, while the service reads the profiles, and after it."""
_COUNTED_S = 1.0
"""The part of the silence at the end that counts; before it the end-pointer waits."""


def counts(tree: Path) -> dict[str, Any]:
    """The figures of the code in a checkout, in a git repository; lists of names for some."""
    sources = {
        ".".join(path.relative_to(tree).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted((tree / "edge").rglob("*.py"))
    }
    lines = [len(text.splitlines()) for text in sources.values()]
    modules = {name.removesuffix(".__init__"): ast.parse(text) for name, text in sources.items()}
    imports = {name: set(_imports(name, parsed, modules)) for name, parsed in modules.items()}
    defined = [node for parsed in modules.values() for node in ast.walk(parsed)]
    settings = (tree / "docs/reference/configuration.md").read_text(encoding="utf-8")
    commands = (tree / "docs/reference/commands.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in commands.splitlines() if line.startswith("|"))
    return {
        "modules": len(lines),
        "lines": sum(lines),
        "lines a module, mean": round(sum(lines) / len(lines)),
        f"modules under {_SHORT} lines": sum(each < _SHORT for each in lines),
        "import cycles of modules": circles(imports),
        "import cycles of packages": circles(_packages(imports)),
        "class names used twice": _repeated(modules),
        "functions named take": sum(
            isinstance(node, ast.FunctionDef) and node.name.strip("_") == "take" for node in defined
        ),
        "British spellings": [
            f"{name}: {match[0]}"
            for name, text in _texts(tree)
            for match in BRITISH.finditer(f"{name}\n{text}")
        ],
        "settings": len(re.findall(r"^### `", settings, re.MULTILINE)),
        "commands": len(re.findall(r"^## `edge-voice ", commands, re.MULTILINE)),
        "options": len(set(re.findall(r"`(--[a-z-]+)", rows))),
    }


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of two nodes or more, from the successors of each node.

    Tarjan, SIAM J. Comput. 1, 1972.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(group for group in found if len(group) > 1)


def _imports(name: str, parsed: ast.Module, known: Mapping[str, Any]) -> Iterator[str]:
    """The modules that a module imports, anywhere in it; not itself."""
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # A name imported from a package may be a module in it.
            wanted = [
                inner if (inner := f"{node.module}.{alias.name}") in known else node.module
                for alias in node.names
            ]
        else:
            continue
        yield from (each for each in wanted if each in known and each != name)


def _packages(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, wanted in imports.items():
        room = _package(name)
        graph[room] |= {_package(other) for other in wanted} - {room}
    return graph


def _package(name: str) -> str:
    """The package under `edge` that a module is in, or the module itself if in none."""
    return ".".join(name.split(".")[:2])


def _repeated(modules: Mapping[str, ast.Module]) -> list[str]:
    """Class names that several modules define."""
    homes: dict[str, set[str]] = defaultdict(set)
    for module, parsed in modules.items():
        for node in ast.walk(parsed):
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(module)
    return sorted(name for name, where in homes.items() if len(where) > 1)


def _texts(tree: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of the text files known to git."""
    listed = subprocess.run(
        ["git", "-C", str(tree), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(_PASSED_OVER) or not (tree / name).is_file():
            continue
        try:
            yield name, (tree / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            yield name, ""  # a model, a recording


class Calls:
    """The called functions of a package, given by its folder, in order."""

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self._functions: list[tuple[str, str, int]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """For `sys.setprofile`."""
        code = frame.f_code
        # Comprehensions and class bodies are calls in some versions of Python only.
        comprehension = code.co_name.startswith("<") and code.co_name != "<lambda>"
        if event == "call" and code.co_filename.startswith(self._prefix) and not comprehension:
            file = code.co_filename.removeprefix(self._prefix)
            self._functions.append((file, code.co_name, code.co_firstlineno))

    def figures(self) -> dict[str, int]:
        """The numbers of calls, functions and files, and of changes from one to the next."""
        files = [file for file, _, _ in self._functions]
        rooms = [Path(file).parts[0] for file in files]
        return {
            "calls": len(files),
            "functions": len(set(self._functions)),
            "files": len(set(files)),
            "changes of file": _changes(files),
            "changes of package": _changes(rooms),
        }


class TracedSource:
    """A source of blocks; `blocks_done` has the calls in a package that each block caused."""

    def __init__(self, source: Any, package: Path) -> None:
        self._source = source
        self._package = package
        self.blocks_done: list[Calls] = []

    def __enter__(self) -> TracedSource:
        self._source.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._source.__exit__(*error)

    def close(self) -> None:
        """Have the source end, where it can be closed."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def blocks(self) -> Iterator[Any]:
        """The blocks of the source; traces the thread that takes them."""
        for block in self._source.blocks():
            calls = Calls(self._package)
            self.blocks_done.append(calls)
            sys.setprofile(calls)
            yield block
            sys.setprofile(None)


def trace(tree: Path, folder: Path) -> dict[str, dict[str, int]]:
    """The figures of a typical block of silence, and of the block with the decision.

    A person of the demo is enrolled in the empty folder, and let in by the service of the tree,
    from which `edge` is imported.

    Raises:
        RuntimeError: the person was not let in.
    """
    file_source = _found("edge.audio.sources:FileSource")
    load_config = _found("edge.config:load_config")
    # Present and former names of what makes the service.
    build_service = _found("edge.service:build_service", "edge.daemon:Daemon")

    recordings = tree / "edge" / "demo" / "recordings"
    person = next(recordings.glob("ada_enrol*_1.flac"))
    config = folder / "config.yaml"
    config.write_text(f"mqtt:\n  enabled: false\nstate_directory: {folder / 'state'}\n")
    said = sorted(map(str, recordings.glob(person.name.replace("_1.", "_?."))))
    command = [sys.executable, "-m", "edge.cli", "enroll", "Ada", "--config", str(config), *said]
    subprocess.run(command, check=True, cwd=tree, stdout=subprocess.DEVNULL)
    samples, _ = soundfile.read(recordings / "ada_right_phrase.flac", dtype="float32")
    sound = np.concatenate([_silence(), samples, _silence()])
    soundfile.write(folder / "sound.wav", sound, _RATE, subtype="PCM_16")

    source = TracedSource(file_source(folder / "sound.wav", realtime=True), tree / "edge")
    decided: list[tuple[int, Any]] = []
    service = build_service(
        load_config(config),
        source=source,
        on_decision=lambda decision: decided.append((len(source.blocks_done), decision)),
    )
    service.run()
    if not decided or not decided[0][1].granted:
        raise RuntimeError(f"a person of the demo was not let in: {decided}")
    per_second = len(source.blocks_done) / (len(sound) / _RATE)
    silent = source.blocks_done[-int(_COUNTED_S * per_second) :]
    by_calls = sorted((calls.figures() for calls in silent), key=lambda each: each["calls"])
    return {
        "silence": by_calls[len(by_calls) // 2],
        "decision": source.blocks_done[decided[0][0] - 1].figures(),
    }


def _found(*names: str) -> Any:
    """The first MODULE:NAME that exists in the traced tree."""
    for name in names:
        module, _, member = name.partition(":")
        if importlib.util.find_spec(module) is not None:
            return getattr(importlib.import_module(module), member)
    raise RuntimeError(f"there is none of {', '.join(names)}")


def _silence() -> Any:
    """Three seconds of a quiet room."""
    noise = np.random.default_rng(1).standard_normal(int(_SILENCE_S * _RATE))
    return (1e-3 * noise).astype(np.float32)


def _changes(values: list[str]) -> int:
    return sum(one != other for one, other in itertools.pairwise(values))


def traced(tree: Path) -> dict[str, int]:
    """The figures of `trace` by one name each, from a process that imports `edge` from the tree."""
    command = [sys.executable, __file__, "--trace", str(tree)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return {
        f"{block}: {name}": value for block, each in found.items() for name, value in each.items()
    }


def main(arguments: list[str]) -> int:
    """Count, trace and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.structure")
    parser.add_argument("--against", metavar="REVISION", help="also count this revision")
    parser.add_argument("--json", action="store_true", help="print JSON, with the names")
    parser.add_argument("--trace", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.trace:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(trace(options.trace, Path(folder))))
        return 0
    sides: dict[str, dict[str, Any]] = {}
    if options.against:
        # Not at the top: the process that traces has the other revision's `tools`.
        from tools.benchmark_against import checked_out  # noqa: PLC0415

        with checked_out(options.against) as tree:
            sides[options.against] = {**counts(tree), **traced(tree)}
    sides["now"] = {**counts(_ROOT), **traced(_ROOT)}
    if options.json:
        print(json.dumps(sides, indent=2))
        return 0
    table = Table("figure")
    for side in sides:
        table.add_column(side, justify="right")
    for name in sides["now"]:
        table.add_row(name, *(_shown(side[name]) for side in sides.values()))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    return 0


def _shown(value: Any) -> str:
    return f"{len(value) if isinstance(value, list) else value:,}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
