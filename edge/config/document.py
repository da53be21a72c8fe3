"""From bytes to a YAML node tree that still knows its lines, with nothing dangerous in it.

Nodes are composed, never constructed: no tag is acted on, and what a plain word means is decided
by the setting that it is for, not by YAML 1.1's guesses (`on`, `012`, `1:30`, `1e3`).
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_BYTES = 64 * 1024
_MAX_DEPTH = 8


class DocumentError(Exception):
    """The text is no document that can be read; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Refuses what settings have no use for, and attackers have: aliases, tags, deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # as types-PyYAML has it
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DocumentError(line, "anchors (&) and aliases (*) are not allowed; write it out")
        if getattr(event, "tag", None):
            raise DocumentError(line, "tags (!) are not allowed; write the value alone")
        if self.depth >= _MAX_DEPTH:
            raise DocumentError(line, "nested too deeply; see the commented example")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def compose(data: bytes) -> yaml.Node | None:
    """Parse one YAML document.

    Args:
        data: the file's bytes, UTF-8, at most `MAX_BYTES`.

    Returns:
        The root node, or None for an empty document.

    Raises:
        DocumentError: it is too large, not UTF-8, not YAML, or uses what is refused.
    """
    if len(data) > MAX_BYTES:
        raise DocumentError(1, f"longer than {MAX_BYTES // 1024} KiB; this is no configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(line, "not UTF-8 text; save the file as UTF-8") from None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(line, "a control character; remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError(line, _explain(error)) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise DocumentError(1, "not YAML; see the commented example") from None
    return node


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join((error.problem or "cannot be read").split())[:120]
    if r"'\t'" in problem:
        return "a tab; YAML is indented with spaces"
    if "expected a single document" in (error.context or ""):
        return "a second document (---) begins; one file holds one"
    return f"not YAML: {problem}; check indentation, colons and quotes"
