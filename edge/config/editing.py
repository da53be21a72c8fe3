"""Change one setting in a configuration file and leave every other character as it is.

The file is text that somebody wrote: its comments, order and layout are theirs. So the new value
is put into the text where the parser says that the old one stands, and the result is kept only if
the product reads from it the former settings with that one changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional

import yaml

from edge.config.document import DocumentError, compose
from edge.config.loading import parse_config
from edge.errors import ConfigError, EnvironmentFault

_BOM = "\ufeff"


def changed(data: bytes, file: Path, section: str, key: str, value: str) -> bytes:
    """The file's content with one setting of one section changed.

    Args:
        data: the content.
        file: names it in messages, and anchors relative paths.
        section: name of a section at the top level, such as `security`.
        key: name of the setting in it.
        value: its new value as YAML writes it: a word, a number, a text in double quotes.

    Returns:
        The new content; every other character is as it was.

    Raises:
        ConfigError: the content has mistakes, or is of a shape that cannot be changed safely.
    """
    former = parse_config(data, file)
    cannot = ConfigError(
        f"{file}: cannot be changed safely; set {section}.{key} to {value} by hand"
    )
    try:
        new = _edit(data, section, key, value).encode("utf-8")
        after = parse_config(new, file)
    except (ConfigError, DocumentError, _Unfit):
        raise cannot from None
    row = getattr(after, section)
    expected = dataclasses.replace(former, **{section: row})
    kept = dataclasses.replace(row, **{key: getattr(getattr(former, section), key)})
    if after != expected or kept != getattr(former, section):
        raise cannot
    if str(getattr(row, key)) not in (value, str(yaml.safe_load(value))):
        raise cannot
    return new


def replace_file(file: Path, former: bytes, new: bytes) -> Path:
    """Put new content in a file's place, in one step, and keep the former beside it.

    Mode and owner stay. A link stays a link; what it leads to is replaced.

    Args:
        file: the file.
        former: what was read from it; if it holds something else by now, nothing is changed.
        new: what it shall hold.

    Returns:
        The copy of the former content, named like the file with `.bak` after it.

    Raises:
        EnvironmentFault: it cannot be written, or was changed meanwhile; it is as it was.
    """
    file = Path(os.path.realpath(file))
    backup = file.with_name(file.name + ".bak")
    try:
        if not os.access(file, os.W_OK):
            raise EnvironmentFault(f"{file}: may not be written; run this as its owner")
        if file.read_bytes() != former:
            raise EnvironmentFault(f"{file}: was changed by somebody else meanwhile; try again")
        _put(backup, former, like=file)
        _put(file, new, like=file)
        _sync_folder(file.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: cannot be changed ({error.strerror}); it is as it was, check its folder"
        ) from error
    return backup


class _Unfit(Exception):
    """The content has a shape in which no place for the value can be found."""


class _Splice(NamedTuple):
    """What stands between two places of a text shall be something else."""

    start: int
    end: int
    new: str


def _edit(data: bytes, section: str, key: str, value: str) -> str:
    text = data.decode("utf-8-sig")
    newline = "\r\n" if "\r\n" in text else "\n"
    root = compose(data)
    if root is not None and not isinstance(root, yaml.MappingNode) and _written(root):
        raise _Unfit
    entry = f"{key}: {value}"
    group = _value(root, section) if isinstance(root, yaml.MappingNode) else None
    if group is None:
        splice = _new_section(text, root, section, entry, newline)
    elif isinstance(group, yaml.MappingNode):
        splice = _in_section(group, key, value, newline)
    else:  # empty, or the file had been refused
        splice = _in_empty_section(text, root, group, entry, newline)
    mark = _BOM if data.startswith(_BOM.encode("utf-8")) else ""
    return mark + text[: splice.start] + splice.new + text[splice.end :]


def _new_section(
    text: str, root: Optional[yaml.Node], section: str, entry: str, newline: str
) -> _Splice:
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _into_braces(root, f"{section}: {{{entry}}}")
    indent = " " * _column(root)
    before = newline if text and not text.endswith("\n") else ""
    if text.strip():
        before += newline
    lines = f"{before}{indent}{section}:{newline}{indent}  {entry}{newline}"
    return _Splice(len(text), len(text), lines)


def _in_section(group: yaml.MappingNode, key: str, value: str, newline: str) -> _Splice:
    node = _value(group, key)
    if node is not None:
        start, end = int(node.start_mark.index), int(node.end_mark.index)
        return _Splice(start, end, value if _written(node) else f" {value}")
    if group.flow_style:
        return _into_braces(group, f"{key}: {value}")
    at = int(group.start_mark.index)
    return _Splice(at, at, f"{key}: {value}{newline}{' ' * _column(group)}")


def _in_empty_section(
    text: str, root: Optional[yaml.Node], group: yaml.Node, entry: str, newline: str
) -> _Splice:
    start, end = int(group.start_mark.index), int(group.end_mark.index)
    if _written(group):
        return _Splice(start, end, f"{{{entry}}}")
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _Splice(start, end, f" {{{entry}}}")
    line = f"{' ' * _column(root)}  {entry}{newline}"
    after = text.find("\n", start) + 1
    return _Splice(after, after, line) if after else _Splice(len(text), len(text), newline + line)


def _value(group: yaml.MappingNode, key: str) -> Optional[yaml.Node]:
    for name, value in group.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            found: yaml.Node = value
            return found
    return None


def _written(node: yaml.Node) -> bool:
    """Whether anything stands in the file for a node; nothing does for an empty value."""
    return int(node.end_mark.index) > int(node.start_mark.index)


def _column(node: Optional[yaml.Node]) -> int:
    return int(node.start_mark.column) if isinstance(node, yaml.MappingNode) else 0


def _into_braces(node: yaml.MappingNode, entry: str) -> _Splice:
    at = int(node.start_mark.index) + 1
    return _Splice(at, at, entry + (", " if node.value else ""))


def _put(path: Path, data: bytes, *, like: Path) -> None:
    """Write a file beside its place and move it there, with the mode and owner of another."""
    status = like.stat()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            shutil.copymode(like, temporary)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Bring the change of names to the disk, where the file system knows how to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
