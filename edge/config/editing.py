"""Change settings in a configuration file and leave every other character as it is.

The comments, order and layout are somebody's own. So a new value is put into the text where the
parser says that the old one stands, and the result is kept only if the product reads from it the
former settings with the wanted ones changed.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edge.config.loading import DocumentError, compose, parse_config
from edge.config.settings import Config, all_settings
from edge.errors import ConfigError, EnvironmentFault
from edge.private_files import write_file

_BOM = "\ufeff"
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")


def changed(data: bytes, file: Path, values: Mapping[str, str]) -> bytes:
    """The file's content with some settings changed; every other character is as it was.

    `values` are by path, such as `mqtt.tls.enabled`, and as `written` gives them.

    Raises:
        ConfigError: the content has mistakes, or is of a shape that cannot be changed safely.
    """
    former = parse_config(data, file)
    wanted = ", ".join(f"{path} to {value or 'nothing'}" for path, value in values.items())
    cannot = ConfigError(f"{file}: cannot be changed safely; set {wanted} by hand")
    new = data
    try:
        for path, value in values.items():
            new = _edit(new, path.split("."), value).encode("utf-8")
        after = parse_config(new, file)
    except (ConfigError, DocumentError, _Unfit):
        raise cannot from None
    for row in all_settings():
        if ".ID." in row.path or (row.is_section and not row.several):
            continue
        now = setting_of(after, row.path)
        if row.path not in values:
            right = now == setting_of(former, row.path)
        else:
            right = _is_meant(now, values[row.path], file)
        if not right:
            raise cannot
    return new


def written(value: bool | int | str | Path | None) -> str:
    """A value as it can stand in the file; nothing for None, which leaves a setting empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, int) or (_PLAIN.fullmatch(text) and isinstance(yaml.safe_load(text), str)):
        return text
    return json.dumps(text, ensure_ascii=False)


def setting_of(config: Config, path: str) -> Any:
    """The value of a setting by its path, such as `mqtt.tls.enabled`."""
    return functools.reduce(getattr, path.split("."), config)


def replace_file(file: Path, former: bytes, new: bytes) -> Path:
    """Replace a file's content in one step; the path of the former, kept beside it as `.bak`.

    Mode and owner stay, and so does a link, whose target is replaced.

    Raises:
        EnvironmentFault: it cannot be written, or was changed meanwhile; it is as it was.
    """
    file = Path(os.path.realpath(file))
    backup = file.with_name(file.name + ".bak")
    try:
        if not os.access(file, os.W_OK):
            raise EnvironmentFault(f"{file}: may not be written; run this as its owner")
        if file.read_bytes() != former:
            raise EnvironmentFault(f"{file}: was changed meanwhile; try again")
        status = file.stat()
        for path, content in ((backup, former), (file, new)):
            write_file(
                path,
                content,
                mode=stat.S_IMODE(status.st_mode),
                owner=(status.st_uid, status.st_gid),
                replace=True,
            )
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: cannot be changed ({error.strerror}); it is as it was, check its folder"
        ) from error
    return backup


class _Unfit(Exception):
    """The content has a shape in which no place for the value can be found."""


class _Splice(NamedTuple):
    """Replaces the text between two positions."""

    start: int
    end: int
    new: str


def _is_meant(now: Any, value: str, file: Path) -> bool:
    if str(now) == value:
        return True
    meant = yaml.safe_load(value)
    if isinstance(now, Path) and isinstance(meant, str):
        return now in (Path(meant), file.parent / meant)
    return bool(now == meant)


def _edit(data: bytes, path: list[str], value: str) -> str:
    text = data.decode("utf-8-sig")
    newline = "\r\n" if "\r\n" in text else "\n"
    root = compose(data)
    if root is not None and not isinstance(root, yaml.MappingNode) and _written(root):
        raise _Unfit
    splice = _splice(text, root, path, value, newline)
    mark = _BOM if data.startswith(_BOM.encode("utf-8")) else ""
    return mark + text[: splice.start] + splice.new + text[splice.end :]


def _splice(
    text: str, root: yaml.Node | None, path: list[str], value: str, newline: str
) -> _Splice:
    group = root
    for depth, name in enumerate(path):
        if not isinstance(group, yaml.MappingNode):
            break
        node = _value(group, name)
        rest = path[depth:]
        if node is None and group is root:
            return _at_the_end(text, group, rest, value, newline)
        if node is None:
            return _into_group(group, rest, value, newline)
        if len(rest) == 1:
            return _in_place(text, node, value)
        if not isinstance(node, yaml.MappingNode):  # empty, or the file had been refused
            return _in_empty_section(text, group, node, rest[1:], value, newline)
        group = node
    return _at_the_end(text, root, path, value, newline)


def _block(path: list[str], value: str, indent: str, newline: str) -> str:
    """Lines that give a setting, the first one without its indentation."""
    rows = [f"{indent}{'  ' * depth}{name}:" for depth, name in enumerate(path)]
    rows[-1] += f" {value}" if value else ""
    return newline.join(rows)[len(indent) :]


def _braces(path: list[str], value: str) -> str:
    entry = f"{path[-1]}: {value}"
    for name in reversed(path[:-1]):
        entry = f"{name}: {{{entry}}}"
    return entry


def _at_the_end(
    text: str, root: yaml.Node | None, path: list[str], value: str, newline: str
) -> _Splice:
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _into_braces(root, _braces(path, value))
    indent = " " * _column(root)
    before = newline if text and not text.endswith("\n") else ""
    if text.strip():
        before += newline
    lines = f"{before}{indent}{_block(path, value, indent, newline)}{newline}"
    return _Splice(len(text), len(text), lines)


def _into_group(group: yaml.MappingNode, path: list[str], value: str, newline: str) -> _Splice:
    if group.flow_style:
        return _into_braces(group, _braces(path, value))
    at, indent = int(group.start_mark.index), " " * _column(group)
    return _Splice(at, at, f"{_block(path, value, indent, newline)}{newline}{indent}")


def _in_place(text: str, node: yaml.Node, value: str) -> _Splice:
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if not _written(node):
        return _Splice(start, end, f" {value}" if value else "")
    if not value and text[start - 1 : start] == " ":
        start -= 1
    return _Splice(start, end, value)


def _in_empty_section(
    text: str, group: yaml.MappingNode, node: yaml.Node, path: list[str], value: str, newline: str
) -> _Splice:
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if _written(node):
        return _Splice(start, end, f"{{{_braces(path, value)}}}")
    if group.flow_style:
        return _Splice(start, end, f" {{{_braces(path, value)}}}")
    indent = f"{' ' * _column(group)}  "
    line = f"{indent}{_block(path, value, indent, newline)}{newline}"
    after = text.find("\n", start) + 1
    return _Splice(after, after, line) if after else _Splice(len(text), len(text), newline + line)


def _value(group: yaml.MappingNode, key: str) -> yaml.Node | None:
    for name, value in group.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            found: yaml.Node = value
            return found
    return None


def _written(node: yaml.Node) -> bool:
    """Whether a node has any text in the file; an empty value has none."""
    return int(node.end_mark.index) > int(node.start_mark.index)


def _column(node: yaml.Node | None) -> int:
    return int(node.start_mark.column) if isinstance(node, yaml.MappingNode) else 0


def _into_braces(node: yaml.MappingNode, entry: str) -> _Splice:
    at = int(node.start_mark.index) + 1
    return _Splice(at, at, entry + (", " if node.value else ""))
