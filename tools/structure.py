"""Prints how the code is laid out: modules, import cycles, names, spelling, settings, calls.

    python -m tools.structure [--against REVISION] [--json]

Counts the files known to git. With `--against` an earlier revision is counted beside it by the same
rules. `tools/trace_calls.py` traces how many functions a block of sound goes through in the real
service.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.benchmark_against import checked_out

_ROOT = Path(__file__).resolve().parent.parent
_SHORT = 60
"""Modules with fewer lines are short."""
_PASSED_OVER = (
    "tests/golden/", "tools/structure.py", "tools/trace_calls.py", "tests/unit/test_structure.py",
    "CHANGELOG.md", "LICENSE",
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


def counts(tree: Path) -> dict[str, Any]:
    """The figures of the code in a checkout; lists of names for some.

    Args:
        tree: the folder, with the git repository in or above it.
    """
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
    """Strongly connected groups of two nodes or more: Tarjan, SIAM J. Comput. 1, 1972.

    Args:
        graph: the successors of each node.
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


def traced(tree: Path) -> dict[str, int]:
    """The figures of `tools/trace_calls.py` for a checkout."""
    command = [sys.executable, str(_ROOT / "tools" / "trace_calls.py"), str(tree)]
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
    options = parser.parse_args(arguments)
    sides: dict[str, dict[str, Any]] = {}
    if options.against:
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
