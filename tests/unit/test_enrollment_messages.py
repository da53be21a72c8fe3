"""Every message that somebody sees while enrolling is one that a test expects.

Collected are the sentences in the modules that a person who enrolls hears from. Each has to be
recognized by a text in some test, one that no other message has in it.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MODULES = (
    "edge/enrollment/checks.py",
    "edge/enrollment/microphones.py",
    "edge/enrollment/room_noise.py",
    "edge/enrollment/process.py",
    "edge/enrollment/trial.py",
    "edge/cli/enroll.py",
    "edge/cli/enroll_digits.py",
    "edge/cli/enrolling.py",
    "edge/audio/quality.py",
)
BY_NAME = {
    "edge/recognition/engine.py": ("enroll", "require_fit", "require_models"),
    "edge/cli/utterances.py": ("utterance_from", "utterances"),
    "edge/challenge/rounds.py": (
        "make_example", "complete_round", "_check_quality", "_rejected_length", "DigitEnrollment",
    ),
}  # fmt: skip
GAP = "\0"
"""Stands where a message has a figure or a name in it."""
_SENTENCE = 12
_PIECE = 4
_LEAST = 10
"""Shorter texts are names and units; and a test that expects less recognizes nothing."""


def _text(node: ast.AST) -> str:
    """A string as it is written, with gaps."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.JoinedStr)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values
    )


def _strings(tree: ast.AST) -> Iterator[str]:
    """Every string below, but no documentation and no help of an option."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.keyword) and node.arg in ("help", "metavar", "what"):
            continue
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "HELP" for target in node.targets
        ):
            continue
        if isinstance(node, ast.FunctionDef) and node.name == "add_arguments":
            continue
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            yield _text(node)
        yield from _strings(node) if not isinstance(node, ast.JoinedStr) else _inner(node)


def _inner(node: ast.JoinedStr) -> Iterator[str]:
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            yield from _strings(part.value)


def _messages() -> list[str]:
    found: list[str] = []
    for module in (*MODULES, *BY_NAME):
        tree: ast.AST = ast.parse((REPOSITORY / module).read_text(encoding="utf-8"))
        only = BY_NAME.get(module)
        trees = [
            node
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and (only is None or node.name in only)
        ]
        found += (
            _without_figures(text)
            for part in (trees if only else [tree])
            for text in _strings(part)
            if " " in text.strip() and len(text.replace(GAP, "").strip(" .,:()")) >= _SENTENCE
        )
    return sorted(set(found))


@functools.cache
def _expected() -> tuple[str, ...]:
    """Every text of every other test."""
    texts: set[str] = set()
    for file in (REPOSITORY / "tests").rglob("test_*.py"):
        if file.name != Path(__file__).name:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            texts.update(_strings(tree))
    return tuple(_plain(text) for text in texts if len(text) >= _LEAST)


_BEFORE = re.compile(r"\^?(Rejected: |Not yet: |But |Trial: |edge-voice: \w+: )")
"""What comes before a message that is a part of a line."""


def _plain(text: str) -> str:
    """A text as a message has it, should it be a pattern."""
    text = re.sub(r"\\d[+?]?|\[\^\\n\][+*]", GAP, _BEFORE.sub("", text)).replace("\\", "")
    return _without_figures(text)


def _without_figures(text: str) -> str:
    return re.sub(rf"-?\d+(\.\d+)?|{GAP}+", GAP, text)


def _likeness(expected: str, message: str) -> float:
    """How much of a message is in a test's text, or the other way round; 0 for too little."""
    pieces = [piece for piece in message.split(GAP) if len(piece) >= _PIECE]
    there = sum(len(piece) for piece in pieces if piece in expected)
    shared = max([len(piece) for piece in expected.split(GAP) if piece in message], default=0)
    whole = there - 0.1 * (sum(map(len, pieces)) - there)
    return max(whole if there >= _LEAST else 0.0, shared if shared >= _LEAST else 0.0)


@functools.cache
def _reached() -> frozenset[str]:
    """The messages that some test has a text of which is of no other message as much."""
    messages = _messages()
    reached: set[str] = set()
    for expected in _expected():
        likeness = [_likeness(expected, message) for message in messages]
        most = max(likeness)
        if most > 0.0 and likeness.count(most) == 1:
            reached.add(messages[likeness.index(most)])
    return frozenset(reached)


@pytest.mark.parametrize("message", _messages(), ids=lambda text: text.replace(GAP, "…")[:60])
def test_a_message_is_expected_by_a_test(message: str) -> None:
    assert message in _reached(), f"no test expects: {message.replace(GAP, '…')}"


def test_messages_are_found_at_all() -> None:
    messages = _messages()
    assert "Nobody spoke: trial skipped." in messages
    assert any("lower the microphone's level or step back" in message for message in messages)
    assert len(messages) > 80
