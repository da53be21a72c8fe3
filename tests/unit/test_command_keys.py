"""The file of the keys that may command: who is in it, with which role, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.cli.main import main
from edge.crypto.command_keys import Role, read_command_keys
from edge.errors import ConfigError
from tests.unit.ordering import KEYS, OWNER, keys_file

HEX = "ab" * 32


def row(**changes: str) -> str:
    members = {"id": "a", "algorithm": "hmac-sha256", "key": f"'{HEX}'", "role": "owner"}
    return ", ".join(f"{name}: {value}" for name, value in {**members, **changes}.items())


def keys_of(*rows: str) -> str:
    return "keys:\n" + "".join(f"  - {{{each}}}\n" for each in rows)


def written(folder: Path, text: str) -> Path:
    file = folder / "keys.yaml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_keys_with_their_roles(tmp_path: Path) -> None:
    keys = read_command_keys(keys_file(tmp_path))
    assert {name: key.role for name, key in keys.items()} == {
        "owner-phone": Role.OWNER, "panel": Role.OPERATOR, "display": Role.OBSERVER
    }  # fmt: skip
    for name, key in keys.items():
        assert (key.verifier.key_id, key.verifier.algorithm) == (
            name, KEYS[name].verifier.algorithm
        )  # fmt: skip
    assert keys["owner-phone"].verifier.genuine(b"data", OWNER.sign(b"data"))


def test_what_new_key_prints_fits_into_an_empty_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signing", "new-key", str(tmp_path / "ada.key")]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "role:" in each]
    for before in ("", "keys:\n", keys_of(row())):
        keys = read_command_keys(written(tmp_path, f"{before}{line}\n"))
        assert list(keys.values())[-1].role is Role.OPERATOR


@pytest.mark.parametrize("text", [None, "", "keys:", "keys: ~", "keys: null", "keys: []"])
def test_no_keys(tmp_path: Path, text: str | None) -> None:
    assert read_command_keys(None if text is None else written(tmp_path, text)) == {}


def test_each_role_may_what_those_below_it_may() -> None:
    roles = [Role.OWNER, Role.OPERATOR, Role.OBSERVER]
    assert [[role.may(needed) for needed in roles] for role in roles] == [
        [True, True, True], [False, True, True], [False, False, True],
    ]  # fmt: skip


def test_up_to_sixty_four_keys(tmp_path: Path) -> None:
    rows = [row(id=f"key-{number}") for number in range(65)]
    assert len(read_command_keys(written(tmp_path, keys_of(*rows[:64])))) == 64
    with pytest.raises(ConfigError, match="2: keys: more than 64"):
        read_command_keys(written(tmp_path, keys_of(*rows)))


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("keys: x", 1, "must be a list"),
        ("keys: {}", 1, "must be a list"),
        ("- x", 1, "must be a group with id, algorithm, key, role"),
        ("keys: []\n\nx: []", 3, "unknown or repeated key; give keys, each once"),
        ("key: []", 1, "unknown or repeated key; give keys, each once"),
        ("keys: []\nkeys: []", 2, "unknown or repeated key"),
        ("? [a]\n: b", 1, "unknown or repeated key"),
        ("keys:\n  - x", 2, "must be a group with id, algorithm, key, role"),
        ("keys:\n  - {id: a}", 2, "algorithm is missing; give id, algorithm, key, role"),
        (keys_of(row(), row(role="observer")), 3, "id: given to two keys"),
        (keys_of(row(algorithm="rsa")), 2, "algorithm: give ed25519 or hmac-sha256"),
        (keys_of(row(role="king")), 2, "role: give one of owner, operator, observer"),
        (keys_of(row(algorithm="ed25519", key="x")), 2, "cannot be used; a key is 64 to 128 hex"),
        (keys_of(row(algorithm="ed25519")), 2, "cannot be used"),
        (keys_of(row(key=f"'{HEX[2:]}'")), 2, "cannot be used"),
        (keys_of(row(id="a b")), 2, "cannot be used"),
        (keys_of(row(id="[]")), 2, "id: must be one line of text"),
        (keys_of(row(key="x" * 256)), 2, "cannot be used"),
        (keys_of(row(key="x" * 257)), 2, "key: must be one line of text"),
        ("keys: &x []", 1, "anchors"),
        ("keys: [", 1, "not YAML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, problem: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_command_keys(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert problem in str(caught.value)
    assert "abab" not in str(caught.value)


def test_a_file_that_others_may_read(tmp_path: Path) -> None:
    file = keys_file(tmp_path)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_command_keys(file)
