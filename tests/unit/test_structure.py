"""What `python -m tools.structure` counts, in a made-up tree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tools.structure import BRITISH, Calls, circles, counts

TREE: dict[str, str | bytes] = {
    "edge/__init__.py": "",
    "edge/errors.py": "class Fault(Exception): ...\n" * 60,
    "edge/audio/__init__.py": "",
    "edge/audio/vad.py": "import edge.store.rows\n\nclass Gate: ...\n",
    "edge/store/__init__.py": "",
    "edge/store/rows.py": (
        "from edge.audio import vad\n\n"
        "class Gate:\n"
        "    def take(self): ...\n"
        "    def _take(self): ...\n"
        "    def take_all(self): ...\n"
    ),
    "edge/store/tables.py": "def later():\n    from edge import errors\n",
    "docs/reference/configuration.md": "## `audio`\n\n### `audio.device`\n\n### `audio.ring_s`\n",
    "docs/reference/commands.md": (
        "## `edge-voice run`\n\nWhere `--input` is left out\n\n"
        "| `--input`, `--file FILE` | sound |\n### `edge-voice run now`\n| `--input` | sound |\n"
    ),
    "docs/colours.md": "An enrolment.\n",
    "docs/picture.png": b"\xff\xfe",
    "tests/golden/kept.json": "enrolment",
    "of nobody.md": "enrolment",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout; its last file is unknown to git."""
    for name, content in TREE.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    known = list(TREE)[:-1]
    subprocess.run(["git", "-C", tmp_path, "add", *known], check=True)
    return tmp_path


def test_counts(tree: Path) -> None:
    assert counts(tree) == {
        "modules": 7,
        "lines": 71,
        "lines a module, mean": 10,
        "modules under 60 lines": 6,
        "import cycles of modules": [["edge.audio.vad", "edge.store.rows"]],
        "import cycles of packages": [["edge.audio", "edge.store"]],
        "class names used twice": ["Gate"],
        "functions named take": 2,
        "British spellings": ["docs/colours.md: colour", "docs/colours.md: enrolment"],
        "settings": 2,
        "commands": 1,
        "options": 2,
    }


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}}, []),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, [["b", "c"]]),
        ({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_circles(graph: dict[str, set[str]], found: list[list[str]]) -> None:
    assert circles(graph) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("enrol enrols enrolling Enrolment enrolled", 2 + 1),
        ("enroll enrolls enrollment", 0),
        ("COLOUR behaviours labour", 3),
        ("color four hour our pour colorful", 0),
        ("recognise recognising normalisation", 3),
        ("recognize promise precise exercise otherwise rise noise", 0),
        ("cancelled labelling", 2),
        ("canceled cancellation called filled", 0),
        ("grey centre metres", 3),
        ("gray center install installed parameter greyhound", 0),
    ],
)
def test_british_words(text: str, found: int) -> None:
    assert len(BRITISH.findall(text)) == found


def test_calls_and_changes_of_place(tmp_path: Path) -> None:
    files = ("audio/a.py", "audio/b.py", "elsewhere.py", "store/c.py")
    first, second, outside, third = (
        _function(tmp_path / ("edge" if file != "elsewhere.py" else "other") / file)
        for file in files
    )
    calls = Calls(tmp_path / "edge")
    sys.setprofile(calls)
    try:
        for function in (first, second, outside, second, third, first):
            function()
    finally:
        sys.setprofile(None)
    assert calls.figures() == {
        "calls": 5,
        "functions": 3,
        "files": 3,
        "changes of file": 3,
        "changes of package": 2,
    }


def _function(file: Path) -> Callable[[], None]:
    """A function that lies in a file, as a profiler sees it."""
    names: dict[str, Any] = {}
    exec(compile("def step(): return [each for each in 'ab']", file, "exec"), names)  # noqa: S102
    return cast("Callable[[], None]", names["step"])
