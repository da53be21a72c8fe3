"""The keys that may command this device, each with a role.

A YAML file of mode 600:

    keys:
      - id: ada-phone            # 1 to 64 letters, digits, or - _ .
        algorithm: ed25519       # or hmac-sha256
        key: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=   # public key; hexadecimal for HMAC
        role: owner              # or operator, observer

`edge-voice signing new-key` prints such an entry.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import yaml

from edge.config.loading import MAX_BYTES, DocumentError, compose, line_of
from edge.crypto.signing import ALGORITHMS, Verifier, verifier
from edge.errors import ConfigError
from edge.private_files import read_secret

_MEMBERS = ("id", "algorithm", "key", "role")
_MOST_KEYS = 64


class Role(str, enum.Enum):
    """What a key may do; each may do what those after it may."""

    OWNER = "owner"
    OPERATOR = "operator"
    OBSERVER = "observer"

    def may(self, needed: Role) -> bool:
        """Whether this role includes another."""
        ranks = list(Role)
        return ranks.index(self) <= ranks.index(needed)


@dataclass(frozen=True)
class CommandKey:
    """What verifies the signatures of a key that may command, and its role."""

    verifier: Verifier
    role: Role


def read_command_keys(file: Path | None) -> dict[str, CommandKey]:
    """The keys by id; none without a file. Raises `ConfigError`, also if it is open to others."""
    if file is None:
        return {}
    data = read_secret(file, "commands.keys_file", MAX_BYTES)
    try:
        root = compose(data)
        return _keys(root)
    except DocumentError as error:
        raise ConfigError(f"{file}:{error.line}: {error}") from None


def _keys(root: yaml.Node | None) -> dict[str, CommandKey]:
    if root is None:
        return {}
    # What `signing new-key` prints is a list by itself in a file that was empty.
    rows = root
    if not isinstance(root, yaml.SequenceNode):
        rows = _members(root, ("keys",))["keys"]
    if isinstance(rows, yaml.ScalarNode) and rows.value in ("", "~", "null"):
        return {}
    if not isinstance(rows, yaml.SequenceNode):
        raise DocumentError(line_of(rows), "keys: must be a list; begin each key with `- id:`")
    if len(rows.value) > _MOST_KEYS:
        raise DocumentError(line_of(rows), f"keys: more than {_MOST_KEYS}")
    keys: dict[str, CommandKey] = {}
    for row in rows.value:
        members = _members(row, _MEMBERS)
        texts = {name: _text(members[name], name) for name in _MEMBERS}
        if texts["id"] in keys:
            raise DocumentError(line_of(row), "id: given to two keys; every key needs its own")
        if texts["algorithm"] not in ALGORITHMS:
            choices = " or ".join(ALGORITHMS)
            raise DocumentError(line_of(members["algorithm"]), f"algorithm: give {choices}")
        if texts["role"] not in [role.value for role in Role]:
            choices = ", ".join(role.value for role in Role)
            raise DocumentError(line_of(members["role"]), f"role: give one of {choices}")
        try:
            found = verifier(texts["algorithm"], texts["key"], texts["id"])
        except ValueError:
            what = "64 to 128 hexadecimal digits for hmac-sha256, base64 of 32 bytes for ed25519"
            raise DocumentError(
                line_of(row), f"id or key cannot be used; a key is {what}, an id 1 to 64 letters"
            ) from None
        keys[texts["id"]] = CommandKey(found, Role(texts["role"]))
    return keys


def _members(node: yaml.Node, names: tuple[str, ...]) -> dict[str, yaml.Node]:
    wanted = ", ".join(names)
    if not isinstance(node, yaml.MappingNode):
        raise DocumentError(line_of(node), f"must be a group with {wanted}")
    members: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name not in names or name in members:
            raise DocumentError(line_of(key), f"unknown or repeated key; give {wanted}, each once")
        members[name] = value
    missing = [name for name in names if name not in members]
    if missing:
        raise DocumentError(line_of(node), f"{missing[0]} is missing; give {wanted}")
    return members


def _text(node: yaml.Node, name: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or len(node.value) > 256:
        raise DocumentError(line_of(node), f"{name}: must be one line of text")
    return str(node.value)
