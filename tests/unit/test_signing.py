"""Signed messages: their one form, keys, and that no altered byte passes."""

from __future__ import annotations

import base64
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge.crypto.canonical import MessageProblem, canonical, read_message, wire
from edge.crypto.signing import (
    ALGORITHMS,
    DOMAINS,
    ED25519,
    HMAC,
    HmacKey,
    PrivateKey,
    is_genuine,
    key_in,
    new_key,
    read_signing_key,
    read_verifying_key,
    signature_of,
    signed,
    verifier,
)
from edge.errors import ConfigError

Key = HmacKey | PrivateKey
KEYS: dict[str, Key] = {HMAC: HmacKey(bytes(range(32))), ED25519: PrivateKey(bytes(range(32)))}
OTHERS: dict[str, Key] = {HMAC: HmacKey(b"x" * 32), ED25519: PrivateKey(b"x" * 32)}

NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
NUMBERS = st.one_of(
    st.integers(-9007199254740991, 9007199254740991),
    st.floats(1e-4, 1e15),
    st.floats(-1e15, -1e-4),
    st.just(-0.0),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
MESSAGES = st.dictionaries(NAMES.filter(lambda name: name != "signature"), VALUES, max_size=5)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": 2, "B": 3}, '{"B":3,"a":2,"b":1}'),
        ({"x": 5.0, "y": -0.0, "z": 1e15}, '{"x":5,"y":0,"z":1000000000000000}'),
        ({"x": 0.1, "y": 0.0001, "z": 1 / 3}, '{"x":0.1,"y":0.0001,"z":0.3333333333333333}'),
        ({"x": 2**53 - 1, "y": 1 - 2.0**53}, '{"x":9007199254740991,"y":-9007199254740991}'),
        ({"x": 999999999999999.9}, '{"x":999999999999999.9}'),
        ({"x": -0.0001, " ~": ""}, '{" ~":"","x":-0.0001}'),
        ({"x": [[[[[[[1]]]]]]]}, '{"x":[[[[[[[1]]]]]]]}'),
        (
            {"x": {"x": {"x": {"x": {"x": {"x": {"x": {}}}}}}}},
            '{"x":{"x":{"x":{"x":{"x":{"x":{"x":{}}}}}}}}',
        ),
        ({"x": [True, None, {"n": (1, 2)}]}, '{"x":[true,null,{"n":[1,2]}]}'),
        ({"x": 'é"\\/\n\x1f\x7f'}, '{"x":"é\\"\\\\/\\n\\u001f\x7f"}'),
    ],
)
def test_the_canonical_form_is_that_of_rfc_8785(message: dict[str, Any], text: str) -> None:
    assert canonical(message).decode() == text
    assert json.loads(wire(message)) == read_message(text.encode(), 100) == json.loads(text)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"x": 2**53}, "bad_number"),
        ({"x": -(2.0**53)}, "bad_number"),
        ({"x": 0.00009999}, "bad_number"),
        ({"x": -0.00009999}, "bad_number"),
        ({"x": 1e15 + 0.5}, "bad_number"),
        ({"x": -1e15 - 0.5}, "bad_number"),
        ({"x": float("nan")}, "bad_number"),
        ({"x": float("inf")}, "bad_number"),
        ({"é": 1}, "bad_text"),
        ({"\x7f": 1}, "bad_text"),
        ({"x\n": 1}, "bad_text"),
        ({1: 1}, "bad_text"),
        ({"x": "\ud800"}, "bad_text"),
        ({"x": [object()]}, "not_json"),
        ({"x": b"bytes"}, "not_json"),
        ({"x": [[[[[[[[1]]]]]]]]}, "too_deep"),
        ({"x": {"x": {"x": {"x": {"x": {"x": {"x": {"x": {"x": 1}}}}}}}}}, "too_deep"),
    ],
)
def test_what_has_no_canonical_form(message: dict[str, Any], reason: str) -> None:
    for form in (canonical, wire):
        with pytest.raises(MessageProblem, match=f"^{reason}$") as caught:
            form(message)
        assert caught.value.reason == reason


def test_sent_members_keep_their_order() -> None:
    assert wire({"b": 1.0, "a": [-0.0]}) == '{"b":1,"a":[0]}'


@given(MESSAGES)
def test_any_json_library_comes_to_the_same_form(message: dict[str, Any]) -> None:
    sent = wire(message)
    naive = json.dumps(
        json.loads(sent), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    assert naive == canonical(message)
    assert canonical(read_message(sent.encode(), 10**6)) == canonical(message)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"\xff", "not_json"),
        (b"{", "not_json"),
        (b'{"a":1}x', "not_json"),
        (b"[]", "not_an_object"),
        (b"1", "not_an_object"),
        (b'{"a":1,"a":2}', "duplicate_name"),
        (b'{"x":{"a":1,"a":1}}', "duplicate_name"),
        (b'{"a":NaN}', "bad_number"),
        (b'{"a":-Infinity}', "bad_number"),
        (b'{"a":1e400}', "bad_number"),
        (b'{"a":' + b"1" * 33 + b"}", "bad_number"),
        (b'{"a":0.' + b"1" * 31 + b"}", "bad_number"),
        (b"[" * 9000, "too_deep"),
        (b'{"x":[[[[[[[[1]]]]]]]]}', "too_deep"),
        (b'{"a":[' + b"[]," * 62 + b"[]]}", "too_deep"),
        (b'{"a":[' + b"{}," * 62 + b"{}]}", "too_deep"),
        (b'{"a":"\\ud800"}', "bad_text"),
        (b" " * 9_999 + b"{}", "too_large"),
    ],
)
def test_what_comes_from_outside_is_read_strictly(data: bytes, reason: str) -> None:
    with pytest.raises(MessageProblem, match=f"^{reason}$"):
        read_message(data, 10_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b" " * 9_998 + b"{}", {}),
        (b'{"a":[' + b"[]," * 61 + b"[]]}", {"a": [[]] * 62}),
        (b'{"a":0.' + b"1" * 30 + b"}", {"a": 1 / 9}),
        (b'{"a":-9007199254740991}', {"a": -9007199254740991}),
        (b'{"a":[true,null,{"b":"\xc3\xa9"}]}', {"a": [True, None, {"b": "é"}]}),
    ],
)
def test_what_is_just_within_the_limits_is_read(data: bytes, message: dict[str, Any]) -> None:
    assert read_message(data, 10_000) == message


ANY = st.recursive(
    VALUES | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    data = bytearray(
        json.dumps(draw(MESSAGES | st.dictionaries(NAMES, ANY, max_size=3) | ANY)).encode()
    )
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(st.binary(max_size=200) | nearly_json())
def test_whatever_is_read_is_what_was_sent(data: bytes) -> None:
    try:
        message = read_message(data, 10**6)
    except MessageProblem:
        return
    assert json.loads(canonical(message)) == message == json.loads(data)


@given(MESSAGES, st.sampled_from(ALGORITHMS), st.sampled_from(DOMAINS))
def test_what_was_signed_is_genuine(message: dict[str, Any], algorithm: str, domain: str) -> None:
    key = KEYS[algorithm]
    made = signed(message, domain, key)
    arrived = read_message(wire(made).encode(), 10**6)
    assert is_genuine(arrived, domain, key)
    if isinstance(key, PrivateKey):
        assert is_genuine(arrived, domain, key.public)
    assert not is_genuine(arrived, domain, OTHERS[algorithm])
    for other in DOMAINS:
        assert is_genuine(arrived, other, key) is (other == domain)


@given(
    MESSAGES, st.sampled_from(ALGORITHMS), st.integers(0, 10**6), st.integers(1, 255), st.booleans()
)
def test_no_altered_byte_passes(
    message: dict[str, Any], algorithm: str, at: int, flip: int, insert: bool
) -> None:
    key = KEYS[algorithm]
    made = signed({**message, "decision": "denied"}, "decision", key)
    data = bytearray(wire(made).encode())
    where = at % len(data)
    if insert:
        data.insert(where, flip)
    else:
        data[where] ^= flip
    try:
        arrived = read_message(bytes(data), 10**6)
    except MessageProblem:
        return
    # A space between two members, or 0 for -0, changes nothing that anybody reads.
    assert not is_genuine(arrived, "decision", key) or arrived == made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "signature",
    [
        None,
        "text",
        {},
        {"algorithm": "none", "key_id": "x", "value": ""},
        {"algorithm": [], "key_id": "x", "value": ""},
        {"algorithm": ED25519, "key_id": 1, "value": ""},
        {"algorithm": ED25519, "key_id": "x", "value": "??"},
        {"algorithm": ED25519, "key_id": "x", "value": "é"},
        {"algorithm": ED25519, "key_id": "x", "value": "AA==\n"},
        {"algorithm": ED25519, "key_id": "x", "value": b"AA=="},
        {"algorithm": ED25519, "key_id": "x"},
        {"algorithm": ED25519, "key_id": "x", "value": "AA==", "more": 1},
    ],
)
def test_no_proper_signature(algorithm: str, signature: Any) -> None:
    message = {"a": 1, "signature": signature}
    assert signature_of(message) is None
    assert not is_genuine(message, "decision", KEYS[algorithm])


def test_a_proper_signature() -> None:
    for algorithm in ("ed25519", "hmac-sha256"):
        signature = {"algorithm": algorithm, "key_id": "x", "value": "AAE="}
        assert signature_of({"signature": signature}) == (algorithm, "x", b"\0\1")


def test_what_is_signed_is_as_it_is_written_down() -> None:
    secret = bytes(range(32))
    data = b'edge-voice/1\ndecision\nhmac-sha256\ndoor.1\n{"a":1,"b":"\xc3\xa9"}'
    key = HmacKey(secret, "door.1")
    made = signed({"signature": "of before", "b": "é", "a": 1.0}, "decision", key)
    assert list(made) == ["b", "a", "signature"]
    assert made["signature"] == {
        "algorithm": "hmac-sha256",
        "key_id": "door.1",
        "value": base64.b64encode(hmac.new(secret, data, "sha256").digest()).decode(),
    }
    for domain in ("decision", "duress", "challenge", "command", "result", "enrollment"):
        assert is_genuine(signed({}, domain, key), domain, key)
    with pytest.raises(ValueError, match="no such domain: status"):
        signed({}, "status", key)


def test_a_key_without_an_id_gets_one_that_reveals_nothing() -> None:
    """As it ever was: locks know keys by it."""
    shared, private = (key.key_id for key in KEYS.values())
    assert (shared, private) == ("2773d3f4ef34b0a6", "56475aa75463474c")


@pytest.mark.parametrize(("size", "good"), [(31, False), (32, True), (64, True), (65, False)])
def test_the_size_of_a_shared_key(size: int, good: bool) -> None:
    if good:
        assert HmacKey(b"x" * size).sign(b"") == hmac.new(b"x" * size, b"", "sha256").digest()
        return
    with pytest.raises(ValueError, match="32 to 64 bytes"):
        HmacKey(b"x" * size)


@pytest.mark.parametrize(
    ("key_id", "good"),
    [("a", True), ("A-z_0.9", True), ("x" * 64, True), ("x" * 65, False), ("a b", False),
     ("a\n", False), ("é", False)],
)  # fmt: skip
def test_ids_of_keys(key_id: str, good: bool) -> None:
    for make in (HmacKey, PrivateKey):
        if good:
            assert make(bytes(32), key_id).key_id == key_id
            continue
        with pytest.raises(ValueError, match="1 to 64 letters, digits"):
            make(bytes(32), key_id)


def test_neither_algorithm_nor_key_id_can_be_exchanged() -> None:
    secret = bytes(range(32))
    one, other = HmacKey(secret, "one"), HmacKey(secret, "other")
    made = signed({"a": 1}, "command", one)
    relabeled = {**made, "signature": {**made["signature"], "key_id": "other"}}
    assert not is_genuine(relabeled, "command", other)
    for key in (one, PrivateKey(secret)):
        made = signed({"a": 1}, "command", key)
        algorithm = ({"ed25519", "hmac-sha256"} - {key.algorithm}).pop()
        relabeled = {**made, "signature": {**made["signature"], "algorithm": algorithm}}
        assert is_genuine(made, "command", key)
        assert not is_genuine(relabeled, "command", key)
    # The classic: an Ed25519 public key taken for a shared secret.
    public = KEYS[ED25519]
    assert isinstance(public, PrivateKey)
    forged = signed({"a": 1}, "decision", HmacKey(public.public.raw, public.key_id))
    assert not is_genuine(forged, "decision", public.public)


def test_a_published_vector_of_ed25519() -> None:
    # RFC 8032, section 7.1, test 1.
    key = PrivateKey(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert (
        key.public.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert key.public.text == "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    for each in (key, key.public):
        assert each.genuine(b"", key.sign(b""))
        assert not each.genuine(b"x", key.sign(b""))


def secret_file(folder: Path, content: bytes) -> Path:
    file = folder / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_is_read_back(tmp_path: Path, algorithm: str) -> None:
    key, content = new_key(algorithm)
    file = secret_file(tmp_path, content)
    if algorithm == HMAC:
        assert re.fullmatch(rb"[0-9a-f]{64}\n", content)
    for again in (read_signing_key(file, algorithm, "signing.key_file"), key_in(file)):
        assert (again.algorithm, again.key_id) == (algorithm, key.key_id)
        assert is_genuine(signed({"a": 1}, "decision", key), "decision", again)
    assert key_in(file, "named").key_id == "named"
    assert new_key(algorithm)[0].key_id != key.key_id


@pytest.mark.parametrize(
    ("algorithm", "content"),
    [
        (ED25519, bytes(range(32))),
        (HMAC, b"  " + bytes(range(32)).hex().upper().encode() + b"\r\n"),
    ],
)
def test_other_forms_of_a_key(tmp_path: Path, algorithm: str, content: bytes) -> None:
    file = secret_file(tmp_path, content)
    assert read_signing_key(file, algorithm, "x").key_id == KEYS[algorithm].key_id
    assert key_in(file).key_id == KEYS[algorithm].key_id


@pytest.mark.parametrize(("before", "good"), [(3900, True), (4100, False)])
def test_a_file_that_is_longer_than_any_key_is_not_read_whole(
    tmp_path: Path, before: int, good: bool
) -> None:
    shared = secret_file(tmp_path, b" " * before + b"ab" * 32)
    if good:
        assert read_verifying_key(shared).algorithm == HMAC
    else:
        with pytest.raises(ConfigError, match="neither a public key"):
            read_verifying_key(shared)
    private = secret_file(tmp_path, b"#" * before + b"\n" + new_key(ED25519)[1])
    for read in (key_in, lambda file: read_signing_key(file, ED25519, "x")):
        if good:
            assert read(private).algorithm == ED25519
            continue
        with pytest.raises(ConfigError, match="holds no key"):
            read(private)


def test_other_kinds_of_private_keys_are_refused(tmp_path: Path) -> None:
    ed25519, x25519 = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    for key, encryption in (
        (x25519, serialization.NoEncryption()),
        (ed25519, serialization.BestAvailableEncryption(b"x")),
    ):
        content = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        with pytest.raises(ConfigError, match=r"x holds no key for ed25519 \(an unencrypted PEM"):
            read_signing_key(secret_file(tmp_path, content), ED25519, "x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_bytes(new_key(HMAC)[1])
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_signing_key(file, HMAC, "signing.key_file")


def test_a_credential_of_the_service_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, content = new_key(HMAC)
    (tmp_path / "signing-key").write_bytes(content)
    (tmp_path / "signing-key").chmod(0o440)  # as systemd does it, with an access list
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_signing_key(Path("signing-key"), HMAC, "x").key_id == key.key_id


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("content", [b"", b"no key", b"ab" * 20, b"\xff" * 100, b"x" * 5000])
def test_other_content_is_refused_and_not_shown(
    tmp_path: Path, algorithm: str, content: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    form = {HMAC: "64 to 128 hexadecimal digits", ED25519: "an unencrypted PEM key"}[algorithm]
    with pytest.raises(
        ConfigError, match=rf"signing\.key_file holds no key .*\({form}\)"
    ) as caught:
        read_signing_key(file, algorithm, "signing.key_file")
    assert "abab" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_as_text() -> None:
    private = KEYS[ED25519]
    assert isinstance(private, PrivateKey)
    made = signed({"a": 1}, "decision", private)
    assert is_genuine(made, "decision", verifier(ED25519, private.public.text, private.key_id))
    for algorithm, text in (
        (HMAC, "zz"),
        (HMAC, "00" * 31),
        (HMAC, "00" * 32 + "0"),
        (ED25519, "AAAA"),
        (ED25519, private.public.text + "?"),
    ):
        with pytest.raises(ValueError, match=r"\S"):
            verifier(algorithm, text, "x")
    with pytest.raises(ValueError, match="id"):
        verifier(HMAC, "00" * 32, "new\nline")
    with pytest.raises(ValueError, match="no such algorithm"):
        verifier("none", private.public.text, "x")


def test_no_key_is_printed() -> None:
    secret = bytes(range(32))
    shown = repr(HmacKey(secret)) + repr(PrivateKey(secret)) + HmacKey(secret).key_id
    assert secret.hex()[:16] not in shown
    assert base64.b64encode(secret).decode()[:16] not in shown
