"""A person in an encrypted file: what goes through it, and what is refused."""

from __future__ import annotations

import copy
import json
import stat
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cli.main import main
from edge.crypto.keys import KeyStretching
from edge.crypto.sealing import Sealer, derive
from edge.errors import ProfileError
from edge.store import ProfileStore
from edge.store.transfer import (
    MAX_FILE_BYTES,
    ExportedPerson,
    TransferError,
    _as_dict,
    parse_content,
    parse_person,
    read_person,
    write_person,
)
from edge.types import AccessRule, ProfileKind, Window
from tests.unit.commands import Capture, run_json
from tests.unit.stores import (
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    learned,
    make_sample,
    plain_parts,
    same,
    seeds_of,
    traces,
)

PASSPHRASE = "correct horse battery"  # noqa: S105 (of made-up files)
RULE = AccessRule(
    doors=("front-door",),
    windows=(Window((0, 4), 480, 1020),),
    last_day=date(2030, 2, 28),
    challenge=True,
)


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files whose passphrase is stretched in a moment."""
    monkeypatch.setattr(
        KeyStretching, "fresh", classmethod(lambda cls: cls(10, 8, 1, bytes(range(16))))
    )


def _fill(store: ProfileStore) -> None:
    store.adapt(store.get(enroll(store, "Ada", 1, 2, 3)), learned(9), most=2)
    store.set_rule("Ada", RULE)
    for digit in (b"one", b"two"):
        store.keep("digit", digit, profile="Ada")
    store.keep("fingerprint", b"of the device", profile="Ada")
    store.create(
        "Ada under duress",
        ProfileKind.PHRASE,
        required=3,
        samples=[make_sample(seed) for seed in (21, 22, 23)],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
        duress_of="Ada",
    )


def _person(folder: Path) -> ExportedPerson:
    with ProfileStore(folder / "from.sqlite") as store:
        _fill(store)
        return store.export("Ada")


def test_everything_of_a_person_goes_through(tmp_path: Path) -> None:
    file = tmp_path / "ada.profile"
    person = _person(tmp_path)
    write_person(file, person, PASSPHRASE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = [b"Ada under duress", b"front-door", *plain_parts(make_sample(2))]
    assert traces(tmp_path, *secrets) == []
    with ProfileStore(tmp_path / "to" / "signatures.sqlite") as store:
        ada = store.import_person(read_person(file, PASSPHRASE))
        assert (ada.name, ada.rule, ada.required) == ("Ada", RULE, 3)
        assert (ada.speaker_model, ada.phrase_model) == (SPEAKER_MODEL, PHRASE_MODEL)
        assert seeds_of(ada.enrolled) == [1, 2, 3]
        assert seeds_of(ada.adapted) == [9]
        assert all(same(one, two) for one, two in zip(ada.samples, person.profile.samples))
        assert ada.id != person.profile.id
        assert [item.payload for item in store.kept("digit", "Ada")] == [b"one", b"two"]
        assert store.kept("fingerprint") == []
        duress = store.get("Ada under duress")
        assert duress.duress_of == ada.id
        with pytest.raises(ProfileError, match="export Ada"):
            store.export("Ada under duress")
        store.delete("Ada")
        assert store.list() == []
        assert store.kept("digit") == []


def test_a_name_that_is_taken_leaves_nothing(tmp_path: Path) -> None:
    person = _person(tmp_path)
    with ProfileStore(tmp_path / "to.sqlite") as store:
        store.create("Ada under duress", ProfileKind.PHRASE, required=3)
        with pytest.raises(ProfileError, match="already"):
            store.import_person(person)
        assert store.count() == 1
        assert store.kept("digit") == []
        store.import_person(person, "Augusta")
        assert {each.name for each in store.list()} == {
            "Augusta",
            "Augusta under duress",
            "Ada under duress",
        }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "not an exported profile"),
        (lambda data: b"RIFF" + data, "not an exported profile"),
        (lambda data: b"x" * 5000, "not an exported profile"),
        (lambda data: data[:-1], "another one, or the file is damaged"),
        (lambda data: data + b"x", "another one, or the file is damaged"),
        (lambda data: data[:400] + b"~" + data[401:], "another one, or the file is damaged"),
        (lambda data: data.replace(b"[10,", b"[11,").replace(b"[10, ", b"[11, "), "damaged"),
        (lambda data: data.replace(b'"version": 1', b'"version": 2'), "newer version"),
        (lambda data: data.replace(b'"version": 1', b'"version": []'), "first line is damaged"),
        (lambda data: data.replace(b"[10, 8, 1]", b"[40, 8, 1]"), "first line is damaged"),
        (lambda data: data.replace(b"[10, 8, 1]", b"[10, 8]"), "first line is damaged"),
        (lambda data: data.replace(b"edge-voice", b"other-soft"), "not an exported profile"),
    ],
)
def test_what_is_no_such_file_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    file = tmp_path / "ada.profile"
    write_person(file, _person(tmp_path), PASSPHRASE)
    changed = change(file.read_bytes())
    assert changed != file.read_bytes()
    file.write_bytes(changed)
    with pytest.raises(TransferError, match=message) as caught:
        read_person(file, PASSPHRASE)
    assert "\n" not in str(caught.value)
    assert "nothing was imported" in str(caught.value)


def test_a_wrong_passphrase_and_a_huge_file(tmp_path: Path) -> None:
    file = tmp_path / "ada.profile"
    write_person(file, _person(tmp_path), PASSPHRASE)
    with pytest.raises(TransferError, match="passphrase is another one"):
        read_person(file, PASSPHRASE + "x")
    with file.open("ab") as handle:
        handle.truncate(MAX_FILE_BYTES + 10)
    with pytest.raises(TransferError, match="larger than"):
        read_person(file, PASSPHRASE)
    with pytest.raises(TransferError, match="cannot read"):
        read_person(tmp_path / "none", PASSPHRASE)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "ada.profile"
    file.write_text("mine")
    person = _person(tmp_path)
    with pytest.raises(TransferError, match="already"):
        write_person(file, person, PASSPHRASE)
    assert file.read_text() == "mine"
    write_person(file, person, PASSPHRASE, replace=True)
    assert read_person(file, PASSPHRASE).profile.name == "Ada"
    with pytest.raises(TransferError, match="cannot write"):
        write_person(tmp_path / "none" / "file", person, PASSPHRASE)
    assert [each for each in tmp_path.iterdir() if ".new" in each.name] == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    return [path, *(place for key, inner in parts for place in _places(inner, (*path, key)))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _as_dict(_person(tmp_path_factory.mktemp("exported")))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whoever_knows_the_passphrase_can_write_nothing_that_harms(
    exported: dict[str, Any], data: st.DataObject
) -> None:
    """Any part exchanged or left out: it is a person as the store takes it, or a `ValueError`."""
    value = copy.deepcopy(exported)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(value)[1:]))
        inner = value
        for key in place[:-1]:
            inner = inner[key]
        if data.draw(st.booleans()):
            inner[place[-1]] = data.draw(_JSON)
        else:
            del inner[place[-1]]
    refusal, person = "", None
    try:
        person = parse_content(json.dumps(value).encode())
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 300
    if person is not None:
        assert parse_content(json.dumps(_as_dict(person)).encode()).profile.name


@given(st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode() + b"\n..."))
def test_whatever_is_given_as_a_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_person(data, PASSPHRASE)
    with pytest.raises(ValueError, match="cannot be a profile"):
        parse_content(data)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be a profile"):
        parse_content(b"[" * 200_000)
    head = '{"format": "edge-voice-profile", "version": 1, "scrypt": [10, 8, 1], "salt": "00"}'
    with pytest.raises(ValueError, match="first line"):
        parse_person(head.encode() + b"\n", PASSPHRASE)


def test_a_sealed_file_of_rubbish_is_refused(tmp_path: Path) -> None:
    """The passphrase is right, what is inside is not."""
    file = tmp_path / "ada.profile"
    write_person(file, _person(tmp_path), PASSPHRASE)
    head = file.read_bytes().split(b"\n")[0]
    sealer = Sealer(derive(KeyStretching.fresh().key_from(PASSPHRASE), "profile file"))
    file.write_bytes(head + b"\n" + sealer.seal(b'{"profile": 1}', head.decode()))
    with pytest.raises(TransferError, match="cannot be a profile"):
        read_person(file, PASSPHRASE)


@pytest.mark.usefixtures("config", "store_path")
class TestCommand:
    """`edge-voice profiles export` and `import`."""

    def test_there_and_back(self, capsys: Capture, store_path: Path, tmp_path: Path) -> None:
        secret, file = tmp_path / "passphrase", tmp_path / "ada.profile"
        secret.write_text(PASSPHRASE + "\n")
        given = ["--passphrase-file", str(secret)]
        assert main(["profiles", "export", "ada", str(file), *given]) == 0
        assert "Ada exported to" in capsys.readouterr().out
        assert main(["profiles", "export", "ada", str(file), *given]) == 2
        assert "use --yes" in capsys.readouterr().err
        assert main(["profiles", "export", "ada", str(file), *given, "--yes"]) == 0
        assert main(["profiles", "import", str(file), *given]) == 2
        assert "--as NAME" in capsys.readouterr().err
        code, value = run_json(capsys, "profiles", "import", str(file), *given, "--as", "Augusta")
        assert (code, value["profile"]["name"]) == (0, "Augusta")
        secret.write_text("another passphrase\n")
        assert main(["profiles", "import", str(file), *given, "--as", "Third"]) == 2
        assert "another one" in capsys.readouterr().err
        with ProfileStore(store_path) as store:
            assert [each.name for each in store.list()] == ["Ada", "Grace", "Augusta"]
            assert seeds_of(store.get("Augusta").samples) == [1, 2, 3]

    def test_nobody_to_ask_and_weak_passphrases(self, capsys: Capture, tmp_path: Path) -> None:
        file, secret = tmp_path / "ada.profile", tmp_path / "passphrase"
        assert main(["profiles", "export", "ada", str(file)]) == 3
        assert "not a terminal, cannot ask" in capsys.readouterr().err
        secret.write_text("short\n")
        assert main(["profiles", "export", "ada", str(file), "--passphrase-file", str(secret)]) == 2
        assert main(["profiles", "import", str(file), "--passphrase-file", str(secret)]) == 2
        assert not file.exists()
