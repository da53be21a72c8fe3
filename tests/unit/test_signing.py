"""Signed messages: their one form, keys, and that no altered byte passes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.crypto.canonical import LARGEST_INTEGER, MessageProblem, canonical, read_message, wire
from edge.crypto.signing import (
    ALGORITHMS,
    DOMAINS,
    ED25519,
    HMAC,
    HmacKey,
    PrivateKey,
    is_genuine,
    new_key,
    read_signing_key,
    signed,
    verifier,
)
from edge.errors import ConfigError

Key = HmacKey | PrivateKey
KEYS: dict[str, Key] = {HMAC: HmacKey(bytes(range(32))), ED25519: PrivateKey(bytes(range(32)))}
OTHERS: dict[str, Key] = {HMAC: HmacKey(b"x" * 32), ED25519: PrivateKey(b"x" * 32)}

NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
NUMBERS = st.one_of(
    st.integers(-LARGEST_INTEGER, LARGEST_INTEGER),
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
        ({"x": LARGEST_INTEGER}, '{"x":9007199254740991}'),
        ({"x": [True, None, {"n": (1, 2)}]}, '{"x":[true,null,{"n":[1,2]}]}'),
        ({"x": 'é"\\/\n\x1f\x7f'}, '{"x":"é\\"\\\\/\\n\\u001f\x7f"}'),
    ],
)
def test_the_canonical_form_is_that_of_rfc_8785(message: dict[str, Any], text: str) -> None:
    assert canonical(message).decode() == text


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"x": 2**53}, "bad_number"),
        ({"x": -(2**60)}, "bad_number"),
        ({"x": 1e-5}, "bad_number"),
        ({"x": 1e15 + 0.5}, "bad_number"),
        ({"x": float("nan")}, "bad_number"),
        ({"x": float("inf")}, "bad_number"),
        ({"é": 1}, "bad_text"),
        ({"x": "\ud800"}, "bad_text"),
        ({"x": object()}, "not_json"),
        ({"x": b"bytes"}, "not_json"),
        ({"x": [[[[[[[[[1]]]]]]]]]}, "too_deep"),
    ],
)
def test_what_has_no_canonical_form(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(MessageProblem, match=reason):
        canonical(message)


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
        (b'{"a":' + b"1" * 5000 + b"}", "bad_number"),
        (b'{"a":0.' + b"1" * 5000 + b"}", "bad_number"),
        (b"[" * 9000, "too_deep"),
        (b'{"a":"\\ud800"}', "bad_text"),
        (b" " * 10_001, "too_large"),
    ],
)
def test_what_comes_from_outside_is_read_strictly(data: bytes, reason: str) -> None:
    with pytest.raises(MessageProblem, match=f"^{reason}$"):
        read_message(data, 10_000)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode())))
def test_no_bytes_make_the_reader_stumble(data: bytes) -> None:
    try:
        message = read_message(data, 150)
    except MessageProblem:
        return
    assert canonical(message)


@given(VALUES, st.integers(0, 10**6), st.integers(0, 255))
def test_nearly_json_does_not_make_it_stumble(value: Any, at: int, byte: int) -> None:
    data = bytearray(json.dumps({"a": value}).encode())
    data[at % len(data)] = byte
    try:
        message = read_message(bytes(data), 10**6)
    except MessageProblem:
        return
    assert canonical(message)


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
    ],
)
def test_no_proper_signature(algorithm: str, signature: Any) -> None:
    assert not is_genuine({"a": 1, "signature": signature}, "decision", KEYS[algorithm])


def test_neither_algorithm_nor_key_id_can_be_exchanged() -> None:
    secret = bytes(range(32))
    one, other = HmacKey(secret, "one"), HmacKey(secret, "other")
    made = signed({"a": 1}, "command", one)
    relabeled = {**made, "signature": {**made["signature"], "key_id": "other"}}
    assert not is_genuine(relabeled, "command", other)
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
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_is_read_back(tmp_path: Path, algorithm: str) -> None:
    key, content = new_key(algorithm)
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    again = read_signing_key(file, algorithm, "signing.key_file")
    assert again.key_id == key.key_id
    assert is_genuine(signed({"a": 1}, "decision", key), "decision", again)
    assert new_key(algorithm)[0].key_id != key.key_id


def test_an_ed25519_key_may_be_raw_too(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(bytes(range(32)))
    file.chmod(0o600)
    assert read_signing_key(file, ED25519, "x").key_id == KEYS[ED25519].key_id


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
    with pytest.raises(ConfigError, match=r"signing\.key_file") as caught:
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
        (ED25519, "AAAA"),
        (ED25519, "??"),
        ("none", ""),
    ):
        with pytest.raises(ValueError, match=r"\S"):
            verifier(algorithm, text, "x")
    with pytest.raises(ValueError, match="id"):
        verifier(HMAC, "00" * 32, "new\nline")


def test_no_key_is_printed() -> None:
    secret = bytes(range(32))
    shown = repr(HmacKey(secret)) + repr(PrivateKey(secret)) + HmacKey(secret).key_id
    assert secret.hex()[:16] not in shown
    assert base64.b64encode(secret).decode()[:16] not in shown
