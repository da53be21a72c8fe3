"""What was stored, exported and signed before names changed: readable, and the same today."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.crypto.signing import is_genuine
from tests.golden import renamed
from tests.golden.comparing import FILES, differences, golden
from tests.golden.make import SIGNING_KEYS, content, make_messages, make_state
from tests.golden.renamed import ADDED, NAMES, TOPICS, VALUES, Translation

STATE = ("store", "trail", "export")
KEYS = {key.algorithm: key for key in SIGNING_KEYS}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is read from the files that were kept."""
    folder = tmp_path_factory.mktemp("kept") / "state"
    folder.mkdir(mode=0o700)
    for file in (FILES / "state").iterdir():
        shutil.copyfile(file, folder / file.name)
        (folder / file.name).chmod(0o600)
    return content(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is read from files that are made now."""
    return make_state(tmp_path_factory.mktemp("made") / "state")


@pytest.mark.parametrize("what", STATE)
def test_kept_files_are_read_as_they_were(kept: dict[str, Any], what: str) -> None:
    wanted = Translation(values=False).of(golden(f"{what}.json"))
    assert differences(wanted, kept[what]) == []


@pytest.mark.parametrize("what", [*STATE, "state"])
def test_the_same_is_stored_today(made: dict[str, Any], what: str) -> None:
    wanted = Translation().of(golden(f"{what}.json"))
    # Entries of a new trail are authenticated with the key of a new store.
    assert differences(_without_macs(wanted), _without_macs(made[what])) == []


def test_the_same_is_signed_today(tmp_path: Path) -> None:
    wanted = [_signed_anew(line) for line in golden("messages.jsonl")]
    assert differences(wanted, make_messages(tmp_path)) == []


def test_what_was_signed_is_genuine() -> None:
    checked = 0
    for line in golden("messages.jsonl"):
        if line == _signed_anew(line) and line["domain"]:
            message = json.loads(line["text"])
            key = KEYS[message["signature"]["algorithm"]]
            assert is_genuine(message, line["domain"], key)
            assert not is_genuine({**message, "device": "back"}, line["domain"], key)
            checked += 1
    assert checked


def test_the_list_of_what_was_renamed_holds_nothing_else() -> None:
    translation = Translation()
    for file in FILES.glob("*.json*"):
        translation.of(golden(file.name))
    for line in golden("messages.jsonl"):
        translation.of(json.loads(line["text"]))
    assert {*NAMES, *VALUES, *TOPICS, *ADDED} - translation.used == set()


def test_what_was_renamed_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "NAMES", {"old": "new", "gone": None})
    monkeypatch.setattr(renamed, "VALUES", {"hat": "cap"})
    monkeypatch.setattr(renamed, "TOPICS", {"set/hat": "set/cap"})
    monkeypatch.setattr(renamed, "ADDED", {"new": {"more": 0}, "size": {"width": 3}})
    value = {
        "old": ["hat", "hats", 1],
        "gone": 2,
        "at": "edge-voice/test-door/set/hat",
        "size": {"height": 2},
    }
    translation = Translation()
    assert translation.of(value) == {
        "new": ["cap", "hats", 1],
        "at": "edge-voice/test-door/set/cap",
        "size": {"height": 2, "width": 3},
    }
    assert translation.used == {"old", "gone", "hat", "set/hat", "size"}
    assert Translation(values=False).of(value) == {
        "new": ["hat", "hats", 1],
        "at": "edge-voice/test-door/set/hat",
        "size": {"height": 2, "width": 3},
    }


def test_a_message_with_another_name_is_signed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "VALUES", {"granted": "open"})
    changed = [line for line in golden("messages.jsonl") if _signed_anew(line) != line]
    assert len(changed) == len(KEYS)
    for line in map(_signed_anew, changed):
        message = json.loads(line["text"])
        assert message["decision"] == "open"
        assert is_genuine(message, "decision", KEYS[message["signature"]["algorithm"]])


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"a": [1, "x"], "b": 2.5}, None),
        ({"a": [1, "x"], "b": 2.55}, None),
        ({"a": [1, "x"], "b": 2.9}, ".b: 2.9 instead of 2.5"),
        ({"a": [2, "x"], "b": 2.5}, ".a[0]: 2 instead of 1"),
        ({"a": [True, "x"], "b": 2.5}, ".a[0]: True instead of 1"),
        ({"a": [1], "b": 2.5}, ".a: 1 of 2"),
        ({"a": [1, "x"]}, ".b: missing"),
        ({"a": [1, "x"], "b": 2.5, "c": None}, ".c: not in the golden file"),
    ],
)
def test_a_difference_is_found(found: Any, line: Any) -> None:
    wanted = {"a": [1, "x"], "b": 2.5}
    assert differences(wanted, found, tolerance=0.1) == ([line] if line else [])


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({"noise_dbfs": -65.4, "snr_db": [{"a": 41}]}, []),
        ({"noise_dbfs": -65.6, "snr_db": [{"a": 41}]}, [".noise_dbfs: -65.6 instead of -62.5"]),
        ({"noise_dbfs": -60, "snr_db": [{"a": 41}]}, []),
        ({"noise_dbfs": None, "snr_db": [{"a": 41}]}, [".noise_dbfs: None instead of -62.5"]),
        ({"noise_dbfs": -62.5, "snr_db": [{"a": 42}]}, [".snr_db[0].a: 42 instead of 41"]),
    ],
)
def test_what_is_measured_may_differ_by_so_much(found: Any, lines: list[str]) -> None:
    wanted = {"noise_dbfs": -62.5, "snr_db": [{"a": 41}]}
    assert differences(wanted, found, measured={"noise_dbfs": 3.0}) == lines


def _signed_anew(line: dict[str, Any]) -> dict[str, Any]:
    """A line as it must be today: byte for byte the golden one where nothing in it was renamed."""
    translation = Translation()
    domain = translation.of(line["domain"])
    message = translation.of(json.loads(line["text"]))
    if not translation.used:
        return line
    signature = message.pop("signature", None)
    if signature is not None:
        algorithm, key_id = signature["algorithm"], signature["key_id"]
        head = f"edge-voice/1\n{domain}\n{algorithm}\n{key_id}\n"
        value = _signature(algorithm, (head + _compact(message, sort=True)).encode())
        message["signature"] = {**signature, "value": value}
    return {"domain": domain, "text": _compact(message, sort=signature is None)}


def _signature(algorithm: str, data: bytes) -> str:
    secret = bytes(range(32))
    if algorithm == "hmac-sha256":
        value = hmac.new(secret, data, hashlib.sha256).digest()
    else:
        value = Ed25519PrivateKey.from_private_bytes(secret).sign(data)
    return base64.b64encode(value).decode()


def _compact(message: Any, *, sort: bool) -> str:
    return json.dumps(message, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)


def _without_macs(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_macs(inner) for name, inner in value.items() if name != "mac"}
    return [_without_macs(inner) for inner in value] if isinstance(value, list) else value
