"""The keys of the HTTP server: made, found, withdrawn, and nowhere in any file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.errors import InputError, ProfileError, StoreError
from edge.store import ProfileStore
from edge.store.api_keys import MAX_KEYS, ApiKeys, ApiRole
from tests.unit.commands import Capture, run_json


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(tmp_path / "store.sqlite")


@pytest.fixture
def keys(store: ProfileStore) -> ApiKeys:
    return ApiKeys(store)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (ApiRole.VERIFY, [True, False, False]),
        (ApiRole.ENROLL, [True, True, False]),
        (ApiRole.MANAGE, [True, True, True]),
    ],
)
def test_a_role_may_what_those_before_it_may(role: ApiRole, may: list[bool]) -> None:
    assert [role.may(other) for other in ApiRole] == may


def test_a_key_is_found_by_its_digits_alone(keys: ApiKeys) -> None:
    text = keys.new("Phone", ApiRole.MANAGE)
    keys.new("Sensor", ApiRole.VERIFY)
    assert len(text) == 32
    found = keys.find(f" {text.upper()}\n")
    assert found is not None
    assert (found.name, found.role) == ("Phone", ApiRole.MANAGE)
    assert [key.name for key in keys.list()] == ["Phone", "Sensor"]
    last = "0" if text[-1] != "0" else "1"
    for wrong in (
        "",
        "Phone",
        found.id,
        text[:-1],
        text + "0",
        text[:-1] + last,
        "\x00",
        "\u0131" * 32,
    ):
        assert keys.find(wrong) is None


def test_a_withdrawn_key_stops_at_once_in_every_process(tmp_path: Path, keys: ApiKeys) -> None:
    text = keys.new("Phone", ApiRole.VERIFY)
    other = ApiKeys(ProfileStore(tmp_path / "store.sqlite"))
    assert other.find(text) is not None
    assert keys.revoke("PHONE").name == "Phone"
    assert other.find(text) is None
    with pytest.raises(InputError, match="no key 'Phone'"):
        other.revoke("Phone")


def test_it_is_withdrawn_by_its_id_too(keys: ApiKeys) -> None:
    keys.new("Phone", ApiRole.VERIFY)
    (key,) = keys.list()
    keys.revoke(key.id)
    assert keys.list() == []


def test_names_are_names_and_each_is_there_once(keys: ApiKeys) -> None:
    keys.new("Phone", ApiRole.VERIFY)
    with pytest.raises(InputError, match="already"):
        keys.new("phone", ApiRole.MANAGE)
    with pytest.raises(ProfileError, match="print"):
        keys.new("a\nb", ApiRole.VERIFY)


def test_there_may_be_so_many(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_KEYS == 100
    monkeypatch.setattr("edge.store.api_keys.MAX_KEYS", 1)
    keys.new("Phone", ApiRole.VERIFY)
    with pytest.raises(InputError, match="which is the most"):
        keys.new("Tablet", ApiRole.VERIFY)


def test_no_file_holds_a_key(tmp_path: Path, keys: ApiKeys) -> None:
    text = keys.new("Phone", ApiRole.VERIFY)
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert text.encode() not in content
        assert bytes.fromhex(text) not in content


def test_a_damaged_one_is_an_error_not_a_key(store: ProfileStore, keys: ApiKeys) -> None:
    store.keep("api-key", b'{"name": "Phone", "role": "everything"}')
    with pytest.raises(StoreError, match="damaged"):
        keys.find("0" * 32)


@pytest.mark.usefixtures("config")
class TestCommands:
    def test_a_new_key_is_shown_once_and_every_step_audited(self, capsys: Capture) -> None:
        code, made = run_json(capsys, "keys", "api", "new", "Phone", "--role", "enroll")
        assert (code, made["name"], made["role"]) == (0, "Phone", "enroll")
        assert len(made["key"]) == 32
        code, listed = run_json(capsys, "keys", "api", "list")
        (row,) = listed["keys"]
        assert row == {name: value for name, value in made.items() if name != "key"}
        assert main(["keys", "api", "revoke", "phone"]) == 0
        assert main(["audit", "show", "--json"]) == 0
        shown = capsys.readouterr().out
        assert made["key"] not in shown
        assert "Phone" not in shown.partition("revoked")[2]
        entries = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
        text = json.dumps(entries)
        assert "api key made" in text
        assert "api key revoked" in text
        assert text.count(made["id"]) == 2

    def test_for_people(self, capsys: Capture) -> None:
        assert main(["keys", "api", "list"]) == 0
        assert "no key yet" in capsys.readouterr().out
        assert main(["keys", "api", "new", "Phone", "--role", "verify"]) == 0
        key, words = capsys.readouterr().out.splitlines()
        assert len(key) == 32
        assert words.startswith("This is the key of 'Phone', for verify")
        assert main(["keys", "api", "list"]) == 0
        title, row = capsys.readouterr().out.splitlines()
        assert title.split() == ["NAME", "ROLE", "MADE", "ID"]
        assert row.split()[:2] == ["Phone", "verify"]

    @pytest.mark.parametrize(
        "arguments",
        [
            ["new", "Phone"],
            ["new", "Phone", "--role", "owner"],
            ["revoke", "Phone"],
            ["new", "a\nb", "--role", "verify"],
        ],
    )
    def test_bad_input_is_2(self, capsys: Capture, arguments: list[str]) -> None:
        assert main(["keys", "api", *arguments]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith("edge-voice: error: ")
