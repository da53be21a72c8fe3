"""`edge-voice signing`: keys that others can use, and no way to lose one."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.crypto.command_keys import Role, read_command_keys
from edge.crypto.signing import is_genuine, key_in, read_signing_key, read_verifying_key, signed
from edge.errors import ConfigError


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
def test_a_new_key_is_private_and_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    file = tmp_path / "key"
    command = ["signing", "new-key", str(file), "--algorithm", algorithm, "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = read_signing_key(file, algorithm, "signing.key_file")
    assert told["key_id"] == key.key_id
    before = file.read_bytes()
    assert main(command) == 2
    assert file.read_bytes() == before
    assert "already exists" in capsys.readouterr().err
    assert main(["signing", "new-key", str(tmp_path / "no" / "key")]) == 3


def test_what_is_printed_is_all_that_a_keys_file_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    assert main(["signing", "new-key", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "PRIVATE" not in printed
    entry = printed.splitlines()[-1]
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"keys:\n{entry}\n")
    keys.chmod(0o600)
    ((name, row),) = read_command_keys(keys).items()
    assert row.role is Role.OPERATOR
    made = signed({"a": 1}, "command", key_in(file))
    assert made["signature"]["key_id"] == name
    assert is_genuine(made, "command", row.verifier)


def test_the_public_key_is_what_a_lock_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config = tmp_path / "key", tmp_path / "config.yaml"
    assert main(["signing", "new-key", str(file)]) == 0
    config.write_text("signing: {key_file: key}\n")  # taken from the folder of this file
    capsys.readouterr()
    assert main(["signing", "public-key", "--config", str(config)]) == 0
    public = capsys.readouterr().out
    (tmp_path / "public").write_text(public)
    verifier = read_verifying_key(tmp_path / "public")
    assert is_genuine(signed({"a": 1}, "decision", key_in(file)), "decision", verifier)
    assert main(["signing", "public-key", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["public_key"] == public.strip()
    config.write_text("")
    assert main(["signing", "public-key", "--config", str(config)]) == 2
    shared = tmp_path / "shared"
    assert main(["signing", "new-key", str(shared), "--algorithm", "hmac-sha256"]) == 0
    assert main(["signing", "public-key", str(shared)]) == 2
    assert read_verifying_key(shared).key_id == key_in(shared).key_id


def test_files_that_hold_no_key(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("nothing of use")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no key"):
        key_in(file)
    for text in ("nothing of use", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=!"):
        file.write_text(text)
        with pytest.raises(ConfigError, match="neither a public key"):
            read_verifying_key(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_verifying_key(tmp_path / "absent")
    assert main(["signing", "public-key", str(file)]) == 2
