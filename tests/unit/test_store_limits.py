"""The limits of names, records, samples and items: the last that is allowed, the first that is not.

Figures are written out here: they are what files and people rely on.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.crypto.sealing import Sealer, derive, mark
from edge.errors import ProfileError, StoreError
from edge.store import ProfileStore, open_store
from edge.store.names import clean_name, clean_phrase, did_you_mean, name_key
from edge.store.records import (
    as_dict,
    check_learned,
    check_required,
    check_rule,
    check_sample,
    decode,
    decode_sample,
    encode,
    encode_sample,
    from_dict,
)
from edge.store.sealed_file import StoreFile
from edge.types import EVERYTHING, AccessRule, EnrollmentSample, Profile, ProfileKind, Window
from tests.unit.stores import (
    PHRASE_MODEL,
    SPEAKER_MODEL,
    enroll,
    learned,
    make_sample,
    same,
    sealed_rows,
)

PHRASE, VOICE = ProfileKind.PHRASE, ProfileKind.VOICE
MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with open_store(tmp_path / "state") as store:
        yield store


def allowed(error: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except error:
        return False
    return True


def change(store: ProfileStore, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute(statement, values)


@pytest.mark.parametrize(
    ("kind", "required", "most"),
    [(PHRASE, 1e-9, True), (PHRASE, 0, False), (PHRASE, 50, True), (PHRASE, 50.1, False),
     (VOICE, 3600, True), (VOICE, 3600.1, False), (VOICE, float("nan"), False)],
)  # fmt: skip
def test_what_an_enrollment_may_require(kind: ProfileKind, required: float, most: bool) -> None:
    assert allowed(ProfileError, lambda: check_required(kind, required)) == most


def test_what_it_may_require_is_said() -> None:
    for kind, most in ((PHRASE, "50"), (VOICE, "3600")):
        with pytest.raises(ProfileError, match=f"more than 0 and up to {most}: 0"):
            check_required(kind, 0)


@pytest.mark.parametrize(
    ("kind", "phrase", "speaker_model", "phrase_model", "fits"),
    [(PHRASE, True, "s", "p", True), (PHRASE, True, "", "p", False),
     (PHRASE, True, "s", "", False), (PHRASE, False, "s", "p", False),
     (PHRASE, False, "s", "", False), (VOICE, False, "s", "", True),
     (VOICE, False, "", "", False), (VOICE, True, "s", "", False), (VOICE, False, "s", "p", False),
     (VOICE, True, "s", "p", False)],
)  # fmt: skip
def test_a_sample_fits_its_kind_of_profile(
    kind: ProfileKind, phrase: bool, speaker_model: str, phrase_model: str, fits: bool
) -> None:
    sample = make_sample(phrase=phrase)
    assert fits == allowed(
        ValueError, lambda: check_sample(kind, sample, speaker_model, phrase_model)
    )


@pytest.mark.parametrize(("most", "fits"), [(0, False), (1, True), (20, True), (21, False)])
def test_how_many_samples_may_be_learned(most: int, fits: bool) -> None:
    assert allowed(ValueError, lambda: check_learned(learned(1), most)) == fits
    assert not allowed(ValueError, lambda: check_learned(make_sample(1), most))


def speaker(size: int, length: float = 1.0) -> Any:
    array = np.zeros(size, np.float32)
    array[:1] = length
    return array


BASE = EnrollmentSample(speaker(192), np.ones((2, 3), np.float32), 1.5, 20.0, 1e9)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"speaker_embedding": speaker(1)}, True),
        ({"speaker_embedding": speaker(2048)}, True),
        ({"speaker_embedding": speaker(2049)}, False),
        ({"speaker_embedding": speaker(0)}, False),
        ({"speaker_embedding": speaker(192).reshape(2, 96)}, False),
        ({"speaker_embedding": speaker(192, 1.0009)}, True),
        ({"speaker_embedding": speaker(192, 0.9991)}, True),
        ({"speaker_embedding": speaker(192, 1.0011)}, False),
        ({"speaker_embedding": speaker(192, 0.9989)}, False),
        ({"speaker_embedding": speaker(192, float("nan"))}, False),
        ({"phrase_embedding": np.ones((4096, 1), np.float32)}, True),
        ({"phrase_embedding": np.ones((4097, 1), np.float32)}, False),
        ({"phrase_embedding": np.ones((1, 1024), np.float32)}, True),
        ({"phrase_embedding": np.ones((1, 1025), np.float32)}, False),
        ({"phrase_embedding": np.ones((0, 3), np.float32)}, False),
        ({"phrase_embedding": np.ones((3, 0), np.float32)}, False),
        ({"phrase_embedding": np.ones((1, 2, 3), np.float32)}, False),
        ({"phrase_embedding": np.full((2, 3), np.inf, np.float32)}, False),
        ({"phrase_embedding": None}, True),
        ({"phrase_embedding": None, "phrase_variants": (np.ones((2, 3), np.float32),)}, False),
        ({"phrase_variants": tuple(np.full((n, 3), n, np.float32) for n in range(2, 9))}, True),
        ({"phrase_variants": (np.ones((2, 3), np.float32),) * 8}, False),
        ({"phrase_variants": (np.full((2, 3), np.nan, np.float32),)}, False),
        ({"stretches": (speaker(192),) * 9}, True),
        ({"stretches": (speaker(192),) * 3, "phrase_embedding": None}, True),
        *(({"stretches": (speaker(192),) * count}, False) for count in (1, 2, 4, 10, 12)),
        ({"stretches": (speaker(191),) * 3}, False),
        ({"voice_variants": (speaker(192),) * 2}, True),
        ({"voice_variants": (speaker(192),) * 2, "stretches": (speaker(192),) * 3}, True),
        ({"voice_variants": (speaker(192),)}, False),
        ({"voice_variants": (speaker(192),) * 3}, True),
        ({"voice_variants": (speaker(192),) * 4}, False),
        ({"voice_variants": (speaker(192), speaker(191))}, False),
        ({"voice_variants": (speaker(192), speaker(192, 1.0011))}, False),
        ({"stretches": (speaker(192), speaker(192), speaker(192, 1.0011))}, False),
        ({"net_speech_s": 0.0}, True),
        ({"net_speech_s": -1e-9}, False),
        ({"net_speech_s": float("inf")}, False),
        ({"snr_db": -5.0}, True),
        ({"snr_db": float("nan")}, False),
        ({"created_at": float("inf")}, False),
    ],
)
def test_what_a_sample_may_be(changes: dict[str, Any], fits: bool) -> None:
    sample = replace(BASE, **changes)
    assert allowed(ValueError, lambda: encode_sample(sample)) == fits
    if fits:
        kept = decode_sample(encode_sample(sample), adapted=True)
        assert same(kept, replace(sample, adapted=True))
        for array in (kept.speaker_embedding, *kept.phrase_examples):
            assert array.dtype == np.float32
            assert not array.flags.writeable


@pytest.mark.parametrize(("numbers", "size"), [(1, 2048), (503, 2048), (504, 4096)])
def test_the_size_of_a_sample_tells_little(numbers: int, size: int) -> None:
    """28 bytes of figures, 4 of the shape and 4 for each number, in blocks of 2,048."""
    sample = replace(
        BASE, speaker_embedding=speaker(1), phrase_embedding=np.ones((1, numbers), np.float32)
    )
    assert len(encode_sample(sample)) == size


HEAD = struct.Struct("<BHB3d")


def stored(
    version: int = 1, size: int = 1, count: int = 0, speech: float = 1.5, rest: bytes = b"",
    padded: int = 2048,
) -> bytes:  # fmt: skip
    return (HEAD.pack(version, size, count, speech, 20.0, 1e9) + rest).ljust(padded, b"\0")


ONE = struct.pack("<f", 1.0)
SHAPE, TWO = struct.pack("<HH", 1, 1), struct.pack("<HH", 2, 1)
THREE, SHAPE_OF_4 = struct.pack("<HH", 3, 1), struct.pack("<HH", 4, 1)
NO_VARIANTS = "a sample has 3 variants of its voice, or none"
NO_STRETCHES = "a sample has 3 stretches, each 3 times at most, or none"
NEWER = "it was written by a newer version"
NEGATIVE = "a sample's figures must be finite, its speech not negative"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (stored(rest=ONE), None),
        (stored(rest=ONE, padded=0), None),
        (stored(count=8, rest=SHAPE * 8 + ONE * 9), None),
        (stored(rest=ONE, padded=28 + 4 + 2047), None),
        (stored(rest=ONE, padded=28 + 4 + 2048), "its embeddings have the wrong size"),
        (stored(rest=ONE, padded=0)[:-1], "its embeddings have the wrong size"),
        (stored(rest=ONE + b"\1"), "its embeddings have the wrong size"),
        (stored(rest=ONE)[:-1] + b"\1", "its embeddings have the wrong size"),
        (stored(version=2, rest=ONE), "its stretches or voices are missing"),
        (stored(version=3, rest=ONE), "its stretches or voices are missing"),
        (stored(version=4, count=1, rest=SHAPE + ONE * 2), "its stretches or voices are missing"),
        (stored(version=3, count=1, rest=TWO + ONE * 3), None),
        (stored(version=3, count=1, rest=SHAPE + ONE * 2), NO_VARIANTS),
        (stored(version=3, count=1, rest=SHAPE_OF_4 + ONE * 5), NO_VARIANTS),
        (stored(version=4, count=2, rest=THREE + TWO + ONE * 6), None),
        (stored(version=4, count=10, rest=SHAPE * 8 + THREE + TWO + ONE * 14), None),
        (stored(version=4, count=11, rest=SHAPE * 10 + TWO + ONE * 13), NEWER),
        (stored(version=2, count=1, rest=THREE + ONE * 4), None),
        (stored(version=2, count=1, rest=SHAPE_OF_4 + ONE * 5), NO_STRETCHES),
        (stored(version=2, count=9, rest=SHAPE * 8 + THREE + ONE * 12), None),
        (stored(version=2, count=10, rest=SHAPE * 10 + ONE * 11), NEWER),
        (stored(version=5, count=1, rest=SHAPE + ONE * 2), NEWER),
        (stored(version=0, rest=ONE), NEWER),
        (stored(count=9, rest=SHAPE * 9 + ONE * 10), NEWER),
        (stored(rest=ONE)[:27], "it is too short"),
        (stored(count=1, rest=SHAPE, padded=0)[:-1], "it is too short"),
        (stored(rest=ONE + ONE), "its embeddings have the wrong size"),
        (stored(speech=-1.0, rest=ONE), NEGATIVE),
    ],
)  # fmt: skip
def test_a_stored_sample_is_read_as_it_was_written_or_not_at_all(
    content: bytes, said: str | None
) -> None:
    if said is None:
        sample = decode_sample(content, adapted=False)
        assert sample.speaker_embedding.tolist() == [1.0]
        return
    with pytest.raises(ValueError, match=r"\w") as caught:
        decode_sample(content, adapted=False)
    assert str(caught.value) == said


RULE = AccessRule(
    enabled=False, doors=("shed",), windows=(Window((0, 6), 0, 1439),), challenge=True,
    first_day=date(2030, 2, 27), last_day=date(2030, 2, 28),
)  # fmt: skip
RECORD = Profile(
    id="", name="Ada", kind=PHRASE, phrase="open", speaker_model="s", phrase_model="p",
    required=3.0, samples=(), created_at=1e9, updated_at=2e9, rule=RULE, duress_of="x",
)  # fmt: skip


def test_a_record_comes_back_and_its_size_tells_little() -> None:
    assert decode(encode(RECORD)) == RECORD
    plain = replace(RECORD, rule=EVERYTHING, duress_of=None)
    assert decode(encode(plain)) == plain
    assert as_dict(plain)["rule"] is None
    bare = len(json.dumps(as_dict(replace(plain, phrase="")), separators=(",", ":")))
    for text, size in ((512 - bare, 512), (513 - bare, 1024)):
        assert len(encode(replace(plain, phrase="x" * text))) == size
    assert len(encode(replace(plain, phrase="\u00e4" * 200))) == 1024
    # What a newer version has added is passed over.
    assert from_dict(as_dict(RECORD) | {"mood": "good"}) == RECORD


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", 7, "a text is not one"),
        ("phrase", None, "a text is not one"),
        ("speaker_model", [], "a text is not one"),
        ("phrase_model", 7, "a text is not one"),
        ("kind", "song", "'song' is not a valid ProfileKind"),
        ("required", 3, "a figure is not one"),
        ("required", float("inf"), "a figure is not one"),
        ("required", 0.0, "it requires nothing"),
        ("required", 5e-324, None),
        ("created_at", "1", "a figure is not one"),
        ("updated_at", float("nan"), "a figure is not one"),
        ("duress_of", 7, "an id is not one"),
        ("rule", 7, "a part of its rule is missing"),
        ("rule", {}, "a part of its rule is missing"),
    ],
)
def test_a_record_is_of_its_types(name: str, value: Any, said: str | None) -> None:
    content = as_dict(RECORD) | {name: value}
    if said is None:
        from_dict(content)
        return
    with pytest.raises(ValueError, match=r"\w") as caught:
        from_dict(content)
    assert str(caught.value) == said
    del content[name]
    with pytest.raises(ValueError, match="a part of it is missing"):
        from_dict(content)
    with pytest.raises(ValueError, match="a part of it is missing"):
        from_dict([])


@pytest.mark.parametrize(
    "changes",
    [{"enabled": 1}, {"challenge": None}, {"windows": [[[0.0], 0, 60]]},
     {"windows": [[[0], 0.0, 60]]},
     {"windows": [[[0], 0, 60.0]]}, {"windows": [[[0], 0]]}, {"windows": [[[True], 0, 60]]},
     {"first_day": "30-1-1"}, {"first_day": 7}, {"last_day": "x"}, {"windows": 7}, {"doors": None}],
)  # fmt: skip
def test_a_rule_is_of_its_types(changes: dict[str, Any]) -> None:
    content = as_dict(RECORD)
    assert from_dict(content).rule == RULE
    with pytest.raises(ValueError, match=r"\w"):
        from_dict(content | {"rule": content["rule"] | changes})


def test_a_rule_of_other_types_is_not_kept(store: ProfileStore) -> None:
    enroll(store, "Ada", 1)
    with pytest.raises(ValueError, match="a rule's switch is neither on nor off"):
        store.set_rule("Ada", AccessRule(enabled=1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a rule's window is not of numbers"):
        check_rule(AccessRule(windows=(Window((0, 1), 0, 60.0),)))  # type: ignore[arg-type]
    assert store.get("Ada").rule == EVERYTHING


def test_names_and_phrases_may_have_a_length() -> None:
    assert clean_name("a" * 64) == "a" * 64
    assert clean_phrase("a" * 200) == "a" * 200
    assert clean_phrase("") == ""
    assert clean_phrase(" a  b ") == "a b"
    with pytest.raises(ProfileError, match=r"^a name may be 64 characters long at most, not 65$"):
        clean_name("a" * 65)
    with pytest.raises(
        ProfileError, match=r"^a phrase in writing may be 200 characters long at most, not 201$"
    ):
        clean_phrase("a" * 201)
    with pytest.raises(ProfileError, match=r"only characters that print, not U\+0007$"):
        clean_phrase("a\a")
    assert clean_name("a\u200cb") == "a\u200cb"
    assert name_key("\u200cA\u200d  b ") == "a b"


def test_a_hint_names_the_nearest_three() -> None:
    known = ["Anna", "Anne", "Ann", "Hanna", "Zoe"]
    assert did_you_mean("ann", ["Zoe", "ANN"]) == "did you mean ANN?"
    assert did_you_mean("Anna", known) == "did you mean Anna or Hanna or Ann?"
    # Three of five letters in common, and two of them.
    assert did_you_mean("abcde", ["abcxy"]) == "did you mean abcxy?"
    assert did_you_mean("abcdef", ["abcuvw"]) == "'edge-voice profiles list' shows who there is"
    assert did_you_mean("abc", []) == "nobody is enrolled yet"


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80), (81, "x" * 80 + "...")])
def test_what_was_asked_for_is_shown_in_part(store: ProfileStore, length: int, shown: str) -> None:
    with pytest.raises(ProfileError) as caught:
        store.get("x" * length)
    assert str(caught.value) == f"there is no profile '{shown}': nobody is enrolled yet"


def _others(store: ProfileStore, number: int) -> None:
    """People of whom nothing can be read; they count."""
    change(
        store,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO profile SELECT hex(randomblob(16)), randomblob(32), randomblob(32), x''"
        " FROM n",
        number,
    )


def test_how_many_people_there_may_be(store: ProfileStore) -> None:
    _others(store, 199)
    enroll(store, "Ada", 1)
    with pytest.raises(ProfileError) as caught:
        enroll(store, "Grace", 1)
    assert str(caught.value) == (
        "the store holds 200 profiles, which is the most: delete one that is no longer needed"
    )
    assert store.count() == 200


def test_how_many_samples_a_person_may_have(store: ProfileStore) -> None:
    enroll(store, "Ada", *range(49))
    store.adapt(store.get("Ada"), learned(60), most=20)
    store.add_sample("Ada", make_sample(50), SPEAKER_MODEL, PHRASE_MODEL)
    with pytest.raises(ProfileError) as caught:
        store.add_sample("Ada", make_sample(51), SPEAKER_MODEL, PHRASE_MODEL)
    assert str(caught.value) == (
        "Ada has 50 enrollment samples, which is the most: reset the profile to enroll anew"
    )
    with pytest.raises(ProfileError, match="50 enrollment samples"):
        store.replace_samples("Ada", [make_sample(1)] * 51, SPEAKER_MODEL, PHRASE_MODEL)
    assert len(store.get("Ada").samples) == 51


def test_how_many_items_there_may_be(store: ProfileStore) -> None:
    ada = enroll(store, "Ada", 1)
    change(
        store,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)"
        " INSERT INTO item (kind, sealed) SELECT 'other', x'' FROM n",
    )
    first = store.keep("seen", b"one", profile="Ada")
    assert first == 20_000
    with pytest.raises(StoreError, match="holds 20000 items, which is the most"):
        store.keep("seen", b"two", profile="Ada")
    with pytest.raises(StoreError, match="holds 20000 items, which is the most"):
        store.keep("seen", b"two", profile="Ada", most=2)
    assert store.keep("seen", b"two", profile="Ada", most=1) == 20_001
    assert [(item.id, item.profile_id, item.payload) for item in store.kept("seen")] == [
        (20_001, ada, b"two")
    ]


def test_how_large_an_item_may_be(store: ProfileStore) -> None:
    before = time.time()
    store.keep("x" * 32, bytes(MIB))
    (item,) = store.kept("x" * 32)
    assert item.payload == bytes(MIB)
    assert "payload" not in repr(item)
    assert before <= item.created_at <= time.time()
    with pytest.raises(ValueError, match="an item may have 1048576 bytes at most"):
        store.keep("seen", bytes(MIB + 1))
    for most in (0, -1):
        with pytest.raises(ValueError, match="at least one item must be allowed to stay"):
            store.keep("seen", b"", most=most)
    assert store.kept("seen") == []
    for kind in ("a", "a-b_9"):
        store.keep(kind, b"")
    for kind in ("9a", "-a", "x" * 33, "a\n", "aB"):
        for call in (store.kept, store.discard, lambda kind: store.keep(kind, b"")):
            with pytest.raises(ValueError, match="a kind of item cannot be called"):
                call(kind)


def test_items_of_others_do_not_count(store: ProfileStore) -> None:
    enroll(store, "Ada", 1)
    store.keep("seen", b"a", profile="Ada")
    store.keep("other", b"o")
    store.keep("seen", b"1")
    store.keep("seen", b"2", most=1)
    store.keep("seen", b"3", profile="Ada", most=5)
    assert [item.payload for item in store.kept("seen")] == [b"a", b"2", b"3"]
    assert [item.payload for item in store.kept("other")] == [b"o"]
    ids = [item.id for item in store.kept("seen", "Ada")]
    assert store.discard("seen", "Ada", [ids[1], ids[1], store.kept("other")[0].id]) == 1
    assert [item.payload for item in store.kept("seen")] == [b"a", b"2"]


@pytest.mark.parametrize("content", ["zeroblob(60)", "x''", "'text'"])
def test_a_damaged_item_is_said(store: ProfileStore, content: str) -> None:
    number = store.keep("seen", b"1")
    change(store, f"UPDATE item SET sealed = {content}")  # noqa: S608
    with pytest.raises(StoreError, match=rf"an item \(seen {number}\) in .* is damaged"):
        store.kept("seen")
    with pytest.raises(StoreError, match=r"a item of 1 is damaged .* nothing was changed"):
        store.rotate_key()
    assert store.discard("seen") == 1


@pytest.mark.parametrize("column", ["id = 7", "kind = 'other'", "profile_id = NULL"])
def test_an_item_is_bound_to_its_place(store: ProfileStore, column: str) -> None:
    enroll(store, "Ada", 1)
    store.keep("seen", b"1", profile="Ada")
    change(store, f"UPDATE item SET {column}")  # noqa: S608
    with pytest.raises(StoreError, match="damaged"):
        store.kept("other" if "kind" in column else "seen")


def test_what_is_written_to_a_file_is_what_later_versions_read(store: ProfileStore) -> None:
    """Each row is sealed for its place: names and labels that must not change."""
    ada = enroll(store, "Ada", 1)
    store.adapt(store.get("Ada"), learned(2), most=1)
    duress = store.create("Panic", PHRASE, required=3, duress_of="Ada").id
    of_ada, of_device = store.keep("seen", b"one", profile="Ada"), store.keep("seen", b"two")
    header = store.path.read_bytes()[:100]
    assert (header[60:64], header[68:72]) == (bytes([0, 0, 0, 3]), b"EdVC")
    with closing(StoreFile(store.path, 1.0, store.key_sources)) as file, file.reading():
        data = file.vault.secrets.data
        rows, marks = Sealer(derive(data, "rows")), derive(data, "marks")

        def sealed(statement: str, *place: str) -> bytes:
            (row,) = file.execute(f"SELECT sealed FROM {statement}").fetchone()  # noqa: S608
            return rows.open(row, *place)

        decode_sample(
            sealed("sample WHERE adapted = 0", "sample", ada, "0", "enrolled"), adapted=True
        )
        decode_sample(
            sealed("sample WHERE adapted = 1", "sample", ada, "1", "learned"), adapted=True
        )
        assert sealed(f"item WHERE id = {of_ada}", "item", str(of_ada), "seen", ada)[9:] == b"one"
        assert sealed(f"item WHERE id = {of_device}", "item", str(of_device), "seen", "")[0] == 1
        found = file.execute("SELECT id, name_mark, owner_mark, sealed FROM profile").fetchall()
    assert [(row[0], row[1]) for row in found] == [
        (ada, mark(marks, "name", "ada")), (duress, mark(marks, "name", "panic"))
    ]  # fmt: skip
    assert found[1][2] == mark(marks, "owner", ada)
    assert len(found[0][2]) == 32  # random, and to be told from the other by nobody
    assert json.loads(rows.open(found[1][3], "profile", duress))["duress_of"] == ada
    before = sealed_rows(store.path, ada)
    store.rotate_key()
    assert not set(before) & set(sealed_rows(store.path, ada))
    assert len(store.get("Ada").adapted) == 1
    assert [item.payload for item in store.kept("seen")] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\2" + bytes(9), NEWER),
        (b"\0" + bytes(9), NEWER),
        (b"\1" + bytes(7), "unpack_from requires a buffer of at least 9 bytes"),
    ],
)
def test_an_item_of_another_version_is_not_read(
    store: ProfileStore, content: bytes, said: str
) -> None:
    number = store.keep("seen", b"")
    with closing(StoreFile(store.path, 1.0, store.key_sources)) as file, file.writing():
        sealed = file.vault.rows.seal(content, "item", str(number), "seen", "")
        file.execute("UPDATE item SET sealed = ?", (sealed,))
    with pytest.raises(StoreError, match=rf"\(seen {number}\) in .* is damaged \({said}"):
        store.kept("seen")


@pytest.mark.parametrize("table", ["profile", "sample"])
def test_what_stops_a_rotation_is_named(store: ProfileStore, table: str) -> None:
    ada = enroll(store, "Ada", 1)
    change(store, f"UPDATE {table} SET sealed = x''")  # noqa: S608
    what = {"profile": f"the profile {ada}", "sample": f"a sample of {ada}"}[table]
    with pytest.raises(StoreError) as caught:
        store.rotate_key()
    assert f": {what} is damaged (it is not sealed as it should be); nothing" in str(caught.value)


def test_the_size_of_a_row_tells_little(store: ProfileStore) -> None:
    sizes = set()
    for name, phrase in (("A", ""), ("A much longer name", "with quite some phrase")):
        profile = store.create(name, PHRASE, phrase, required=3)
        sizes |= {len(row) for row in sealed_rows(store.path, profile.id)}
    assert sizes == {512 + 29}


def test_a_full_learned_part_makes_room_at_the_limit(store: ProfileStore) -> None:
    ada = store.get(enroll(store, "Ada", 1))
    for seed in range(100, 121):
        ada = store.adapt(ada, learned(seed), most=20)
    assert len(ada.adapted) == 20
    assert ada.adapted[0].created_at == learned(101).created_at


CHANGES = [
    "INSERT INTO profile VALUES ('x', x'00', x'00', x'00')",
    "UPDATE profile SET sealed = x'00'",
    "DELETE FROM profile",
    "INSERT INTO sample SELECT profile_id, 9, 0, sealed FROM sample",
    "UPDATE sample SET sealed = x'00'",
    "DELETE FROM sample",
    "UPDATE keyring SET salt = x'00'",
    "DELETE FROM keyring",
    "INSERT OR REPLACE INTO keyring SELECT * FROM keyring",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_every_change_is_noticed_by_who_waits_for_one(store: ProfileStore, statement: str) -> None:
    enroll(store, "Ada", 1)
    mark = store.data_version()
    change(store, "INSERT INTO item (kind, sealed) VALUES ('x', x'')")
    assert store.data_version() == mark
    change(store, statement)
    assert store.data_version() > mark
    change(store, "DELETE FROM revision")
    with pytest.raises(StoreError, match=r"damaged \(its revision is missing\)"):
        store.data_version()
