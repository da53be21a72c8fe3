"""A person in an encrypted file: what goes through it, and what is refused."""

from __future__ import annotations

import base64
import copy
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cli.main import main
from edge.crypto.sealing import Sealer, derive
from edge.errors import EnvironmentFault, ProfileError
from edge.store import ProfileStore
from edge.store.records import as_dict, encode_sample, from_dict
from edge.store.transfer import (
    ExportedPerson,
    TransferError,
    parse_content,
    parse_person,
    read_person,
    write_person,
)
from edge.types import AccessRule, ProfileKind, Window
from tests.unit.commands import Capture, run_json
from tests.unit.stores import (
    CHEAP_STRETCHING,
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    learned,
    make_sample,
    plain_parts,
    same,
    seeds_of,
    stretch_in_a_moment,
    traces,
)

PASSPHRASE = "correct horse battery"  # noqa: S105 (of made-up files)
pytestmark = pytest.mark.usefixtures("cheap_passphrases")
SEALER = Sealer(derive(CHEAP_STRETCHING.key_from(PASSPHRASE), "profile file"))
RULE = AccessRule(
    doors=("front-door",),
    windows=(Window((0, 4), 480, 1020),),
    last_day=date(2030, 2, 28),
    challenge=True,
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


@pytest.mark.parametrize("kinds", ["browser", ["a"] * 9, [""], ["a" * 121], ["a\n"], [1], [[]]])
def test_microphones_go_through_if_they_are_some(kinds: object, tmp_path: Path) -> None:
    profile = _person(tmp_path).profile
    record = as_dict(replace(profile, microphones=("browser", "program ffmpeg")))
    assert from_dict(record).microphones == ("browser", "program ffmpeg")
    with pytest.raises(ValueError, match="a microphone it was enrolled with is not one"):
        from_dict({**record, "microphones": kinds})
    del record["microphones"]  # as older versions wrote it
    assert from_dict(record).microphones == ()


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
        (
            lambda data: data[:400] + bytes([data[400] ^ 1]) + data[401:],
            "another one, or the file is damaged",
        ),
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
        handle.truncate((32 << 20) + 1)
    with pytest.raises(
        TransferError, match="it is larger than 32 MiB, which no profile is; nothing"
    ):
        read_person(file, PASSPHRASE)
    with pytest.raises(ValueError, match="not an exported profile"):
        parse_person(bytes(32 << 20), PASSPHRASE)
    # Nobody is asked for the passphrase of a file that is not there.
    with pytest.raises(TransferError, match="cannot read"):
        read_person(tmp_path / "none", lambda: pytest.fail("asked"))


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "ada.profile"
    file.write_text("mine")
    person = _person(tmp_path)
    with pytest.raises(TransferError, match="already"):
        write_person(file, person, PASSPHRASE)
    assert file.read_text() == "mine"
    write_person(file, person, PASSPHRASE, replace=True)
    assert read_person(file, PASSPHRASE).profile.name == "Ada"
    with pytest.raises(EnvironmentFault, match="cannot write"):
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


def content_of(person: ExportedPerson, folder: Path) -> dict[str, Any]:
    """What is sealed in a person's file."""
    file = folder / "content.profile"
    write_person(file, person, PASSPHRASE, replace=True)
    head, sealed = file.read_bytes().split(b"\n", 1)
    content: dict[str, Any] = json.loads(SEALER.open(sealed, head.decode()))
    return content


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        stretch_in_a_moment(patch)
        return content_of(_person(folder), folder)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
        clean = replace(person.profile, samples=())
        again = from_dict(as_dict(clean))
        assert (again.name, again.rule) == (clean.name, clean.rule)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode() + b"\n..."))
def test_whatever_is_given_as_a_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_person(data, PASSPHRASE)
    with pytest.raises(ValueError, match="cannot be a profile"):
        parse_content(data)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be a profile"):
        parse_content(b"[" * 50_000)


@pytest.mark.parametrize("part", ["[],", "{},", "0,"])
def test_a_file_of_nothing_but_parts_is_not_taken_apart(part: str) -> None:
    parts = part * (50_001 // (2 - (part == "0,")))
    with pytest.raises(ValueError, match=r"cannot be a profile \(it has too many parts\)"):
        parse_content(f'{{"profile": [{parts}0]}}'.encode())


def test_the_first_line_that_is_damaged() -> None:
    head = '{"format": "edge-voice-profile", "version": 1, "scrypt": [10, 8, 1], "salt": "00"}'
    with pytest.raises(ValueError, match="first line"):
        parse_person(head.encode() + b"\n", PASSPHRASE)


def sealed_file(content: bytes, head: str) -> bytes:
    return head.encode() + b"\n" + SEALER.seal(content, head)


HEAD: dict[str, Any] = {
    "format": "edge-voice-profile",
    "version": 1,
    "scrypt": [10, 8, 1],
    "salt": "000102030405060708090a0b0c0d0e0f",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "what is in it cannot be a profile"),  # the passphrase is right, what is inside is not
        ({"version": 2}, r"newer version of Edge Voice \(format 2, this one knows 1\): upgrade"),
        ({"version": 0}, "its first line is damaged"),
        ({"version": "2"}, "its first line is damaged"),
        ({"scrypt": [10, 8, True]}, "its first line is damaged"),
        ({"scrypt": [10, 8, 1.0]}, "its first line is damaged"),
        ({"scrypt": [10, 8, 1, 1]}, "its first line is damaged"),
        ({"scrypt": None}, "its first line is damaged"),
        ({"scrypt": [18, 16, 8]}, "its first line is damaged"),  # half a gigabyte and ten seconds
        ({"salt": "0g"}, "its first line is damaged"),
        ({"salt": 7}, "its first line is damaged"),
        ({"format": "other"}, "not an exported profile"),
    ],
)
def test_the_first_line_is_as_it_was_written(changes: dict[str, Any], message: str) -> None:
    data = sealed_file(b'{"profile": 1}', json.dumps(HEAD | changes))
    with pytest.raises(ValueError, match=message):
        parse_person(data, PASSPHRASE)


def test_the_first_line_has_an_end(exported: dict[str, Any]) -> None:
    content = json.dumps(exported).encode()
    head = json.dumps(HEAD)
    assert parse_person(sealed_file(content, head.ljust(1023)), PASSPHRASE).profile.name == "Ada"
    with pytest.raises(ValueError, match="not an exported profile"):
        parse_person(sealed_file(content, head.ljust(1024)), PASSPHRASE)
    with pytest.raises(ValueError, match="not an exported profile"):
        parse_person(b"[]\n" + content, PASSPHRASE)


def _put(*place: Any) -> Callable[[dict[str, Any]], None]:
    """Exchange a part: where it is, and last what is put there."""

    def change(value: dict[str, Any]) -> None:
        inner: Any = value
        for key in place[:-2]:
            inner = inner[key]
        inner[place[-2]] = place[-1]

    return change


def _times(name: str, *counts: int) -> Callable[[dict[str, Any]], None]:
    """So many of each part of a list; the samples are three enrolled ones and one learned."""

    def change(value: dict[str, Any]) -> None:
        parts = value[name][-len(counts) :]
        value[name] = [part for part, count in zip(parts, counts) for _ in range(count)]

    return change


def _of_other_models(value: dict[str, Any]) -> None:
    other = replace(make_sample(3), speaker_embedding=np.ones(1, np.float32))
    value["samples"][0]["content"] = base64.b64encode(encode_sample(other)).decode()


IMPOSSIBLE = "it has an impossible number of samples"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_times("samples", 50, 20), None),
        (_times("samples", 50, 0), None),
        (_times("samples", 0, 0), None),
        (_times("samples", 51, 0), IMPOSSIBLE),
        (_times("samples", 49, 21), IMPOSSIBLE),
        (_times("samples", 0, 1), IMPOSSIBLE),
        (_times("samples", 51, 20), "a list in it is not one, or has more than 70 parts"),
        (_put("samples", {}), "a list in it is not one, or has more than 70 parts"),
        (_put("samples", 0, "adapted", 1), "a sample is neither enrolled nor learned"),
        (_put("samples", 0, "content", "AAA"), "a value in it is not base64"),
        (_put("samples", 0, "content", "A\nAAA"), "a value in it is not base64"),
        (_put("samples", 0, "content", "é"), "a value in it is not base64"),
        (_put("samples", 0, "content", None), "a value in it is no text"),
        (_put("samples", 0, "content", ""), "it is too short"),
        (_of_other_models, "its samples are of different models"),
        (_times("items", 200), None),
        (_times("items", 201), "a list in it is not one, or has more than 200 parts"),
        (_put("items", 0, "kind", "fingerprint"), "it has items that do not belong to a person"),
        (_put("items", 0, "kind", "digits"), None),
        (_put("items", 0, "created_at", 1), "an item's date is not one"),
        (_put("items", 0, "created_at", 1e12), "an item's date is not one"),
        (_put("items", 0, "created_at", -1e12), "an item's date is not one"),
        (_put("items", 0, "created_at", 0.999e12), None),
        (_put("items", 0, "created_at", float("nan")), "an item's date is not one"),
        (_put("items", 0, "payload", base64.b64encode(bytes(1 << 20)).decode()), None),
        (_put("items", 0, "payload", base64.b64encode(bytes((1 << 20) + 1)).decode()),
         "an item has more than 1048576 bytes"),
        (_times("duress", 8), None),
        (_times("duress", 9), "a list in it is not one, or has more than 8 parts"),
        (_put("duress", 0, "duress", [{}]), "a list in it is not one, or has more than 0 parts"),
        (_put("duress", 0, "profile", "duress_of", "x"), "it names an owner"),
        (_put("profile", "duress_of", "x"), "it names an owner"),
        (_put("profile", "confirmed", False), None),
        (_put("profile", "confirmed", "yes"), "it is neither confirmed nor not"),
        (_put("profile", "required", 50.0), None),
        (_put("profile", "required", 51.0),
         "an enrollment can require more than 0 and up to 50: 51.0"),
        (_put("profile", "speaker_model", "5" * 63), "a model's hash is not one"),
        (_put("profile", "speaker_model", "5" * 65), "a model's hash is not one"),
        (_put("profile", "speaker_model", "g" * 64), "a model's hash is not one"),
        (_put("profile", "phrase_model", "A" * 64), "a model's hash is not one"),
        (_put("profile", "speaker_model", ""), "a sample needs the model that made it"),
        (_put("profile", "name", "Ada "), "its name or phrase is not written as it is kept"),
        (_put("profile", "phrase", " open"), "its name or phrase is not written as it is kept"),
        (_put("profile", "name", "a" * 65), "a name may be 64 characters long at most, not 65"),
        (_put("profile", "kind", "x" * 300), "'" + "x" * 199),
        (lambda value: value.pop("items"), "a part of it is missing"),
    ],
)  # fmt: skip
def test_what_a_persons_file_may_hold(
    exported: dict[str, Any], tmp_path: Path,
    change: Callable[[dict[str, Any]], object], message: str | None,
) -> None:  # fmt: skip
    value = copy.deepcopy(exported)
    change(value)
    content = json.dumps(value).encode()
    if message is not None:
        with pytest.raises(ValueError, match=r"\w") as caught:
            parse_content(content)
        assert str(caught.value) == f"what is in it cannot be a profile ({message})"
        return
    person = parse_content(content)
    assert len(person.items) == len(value["items"])
    assert content_of(person, tmp_path) == value
    with ProfileStore(tmp_path / "to.sqlite") as store:
        names = iter("abcdefgh")
        duress = tuple(
            replace(each, profile=replace(each.profile, name=next(names))) for each in person.duress
        )
        profile = store.import_person(replace(person, duress=duress))
        assert len(profile.samples) == len(value["samples"])
        assert profile.confirmed is value["profile"]["confirmed"]


@pytest.mark.parametrize(
    ("former", "own", "name", "imported"),
    [
        ("Ada", "Ada (duress)", None, "Ada (duress)"),
        ("Ada", "Ada (duress)", "Grace", "Grace (duress)"),
        ("Ada", "Adelaide", "Grace", "Graceelaide"),
        ("Ada", "Ad", "Grace", "Grace"),
        ("Ada", "Panic", "Grace", "Panic"),
        ("Ada", "Ada (duress)", "G" * 64, "G" * 50 + " (duress)"),
        ("Ada", "Ada (duress)", "G" * 49 + " Hopper", "G" * 49 + " (duress)"),
    ],
)
def test_a_duress_phrase_is_named_after_its_person(
    tmp_path: Path, former: str, own: str, name: str | None, imported: str
) -> None:
    with ProfileStore(tmp_path / "from.sqlite") as store:
        store.create(former, ProfileKind.PHRASE, required=3)
        store.create(own, ProfileKind.PHRASE, required=3, duress_of=former)
        person = store.export(former)
    with ProfileStore(tmp_path / "to.sqlite") as store:
        if name == imported:
            with pytest.raises(ProfileError, match="already"):
                store.import_person(person, name)
            return
        profile = store.import_person(person, name)
        assert [each.name for each in store.list()] == [name or former, imported]
        assert store.get(imported).duress_of == profile.id


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
        assert main(["profiles", "export", "ada", str(file)]) == 2
        assert "not a terminal, cannot ask" in capsys.readouterr().err
        secret.write_text("short\n")
        assert main(["profiles", "export", "ada", str(file), "--passphrase-file", str(secret)]) == 2
        assert main(["profiles", "import", str(file), "--passphrase-file", str(secret)]) == 2
        assert not file.exists()
