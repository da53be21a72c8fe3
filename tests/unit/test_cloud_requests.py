"""What clients of the cloud's API really send, and how mistakes are answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.cloud_api import profiles
from edge.config import Config
from edge.errors import KeyFault, StoreError
from edge.recognition import Engine
from edge.store import ProfileStore
from edge.store.api_keys import ApiRole
from edge.types import Profile
from tests.unit.cloud import API, UNKNOWN, V1, Cloud, said, serving, silence, wav
from tests.unit.voices import samples_of

VERIFICATION = f"{V1}/verificationProfiles"
BY_PHRASE_2 = "/speaker/verification/v2.0/text-dependent/profiles"
BY_PHRASE_2021 = "/speaker-recognition/verification/text-dependent/profiles"
TOO_LONG = b'{"locale": "%b"}' % b"-".join([b"abcdefgh"] * 4 + [b"a"])
VERIFY_UNKNOWN = f"{V1}/verify?verificationProfileId={UNKNOWN}"
PERHAPS_2021 = (
    "/speaker-recognition/identification/text-independent/profiles:identifySingleSpeaker"
    f"?{API}&profileIds={UNKNOWN}&ignoreMinLength=perhaps"
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("requests") / "state"
    with serving(folder, engine, Config(state_directory=folder)) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def ada_id(cloud: Cloud, ada: Profile) -> str:
    return cloud.at_the_door(ada, "Ada").id


@pytest.fixture
def fresh(tmp_path: Path, engine: Engine) -> Iterator[Cloud]:
    with serving(tmp_path / "state", engine, Config(state_directory=tmp_path / "state")) as cloud:
        yield cloud


RIGHT = said("ada_right_phrase")
NET_BOUNDARY = "Upload----2016-05-17 08:04:00Z"


def form(*parts: tuple[str, bytes], boundary: str = "xYzZY", preamble: bytes = b"") -> bytes:
    """A form of parts, each with the rest of its Content-Disposition."""
    body = preamble
    for disposition, content in parts:
        head = f"--{boundary}\r\nContent-Disposition: form-data{disposition}\r\n\r\n"
        body += head.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def in_pieces() -> Iterator[bytes]:
    """A body whose length nobody knows beforehand."""
    for at in range(0, len(RIGHT), 4096):
        yield RIGHT[at : at + 4096]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("audio/wav", RIGHT),
        ("audio/wav; codecs=audio/pcm", RIGHT),
        ("audio/*", RIGHT),
        ("wav/audio", RIGHT),
        ("application/octet-stream", RIGHT),
        ("application/x-www-form-urlencoded", RIGHT),
        ("application/json", RIGHT),
        ("", RIGHT),
        (";;;", RIGHT),
        # A form in name only.
        ("multipart/form-data", RIGHT),
        ("multipart/form-data; boundary=other", RIGHT),
        ("multipart/form-data; boundary=xYzZY", form(('; name="file"; filename="a.wav"', RIGHT))),
        ('Multipart/Form-Data; Boundary="xYzZY"', form(('; name=f; FileName=a', RIGHT))),
        # Without the name of a file.
        ("multipart/form-data; boundary=xYzZY", form(('; name="data"', RIGHT))),
        (
            "multipart/form-data; boundary=xYzZY",
            form(('; name="title"', b"a repetition"), ('; name="f"; filename="a.wav"', RIGHT)),
        ),
        (
            "multipart/form-data; boundary=xYzZY",
            form(('; name="f"', RIGHT), preamble=b"for you\r\n"),
        ),
        # As one of the libraries names its forms, and their files.
        (
            f'multipart/form-data; boundary="{NET_BOUNDARY}"',
            form(
                (f'; name=verificationData; filename="{UNKNOWN}_2016-05-17 08:04:00Z"', RIGHT),
                boundary=NET_BOUNDARY,
            ),
        ),
    ],
)  # fmt: skip
def test_a_recording_counts_whatever_it_is_called(
    cloud: Cloud, ada_id: str, content_type: str, body: bytes
) -> None:
    answer = cloud.client.post(
        f"{V1}/verify?verificationProfileId={ada_id}",
        content=body,
        headers={"Content-Type": content_type},
    )
    assert answer.json()["result"] == "Accept"


def test_a_recording_in_pieces(cloud: Cloud, ada_id: str) -> None:
    answer = cloud.client.post(f"{V1}/verify?verificationProfileId={ada_id}", content=in_pieces())
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json()["result"] == "Accept"


def test_a_recording_whose_header_does_not_know_its_length(cloud: Cloud, ada_id: str) -> None:
    for size in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        streamed = RIGHT[:40] + size.to_bytes(4, "little") + RIGHT[44:]
        answer = cloud.client.post(f"{V1}/verify?verificationProfileId={ada_id}", content=streamed)
        assert answer.json()["result"] == "Accept"


@pytest.mark.parametrize(
    "path",
    [
        f"{V1}/Verify/?VERIFICATIONPROFILEID={{id}}",
        "//spid//v1.0/verify?verificationProfileId={upper}",
        "/SPID/V1.0/verify?verificationprofileid={braces}&subscription-key=x",
        f"{V1}/verify?verificationProfileId={{bare}}",
        BY_PHRASE_2 + "/{upper}/verify/",
        f"/{BY_PHRASE_2021}/{{id}}:verify?{API}&ignoreMinLength=true",
        f"{BY_PHRASE_2021}/{{id}}%3Averify?{API}",
    ],
)
def test_an_address_counts_however_it_was_put_together(
    cloud: Cloud, ada_id: str, path: str
) -> None:
    bare = ada_id.replace("-", "")
    address = path.format(id=ada_id, upper=ada_id.upper(), braces=f"{{{ada_id}}}", bare=bare)
    answer = cloud.client.post(f"https://localhost{address}", content=RIGHT)
    assert answer.status_code == 200
    assert "Accept" in answer.text


@pytest.mark.parametrize(
    ("content_type", "body", "locale"),
    [
        ("application/json", b'{"locale": "en-us"}', "en-us"),
        ("application/json; charset=utf-8", b'\xef\xbb\xbf{"locale": "en-us"}', "en-us"),
        ("application/json", b"{'locale': 'en-us'}", "en-us"),
        ("application/json", b'{"locale":"en-us",}', "en-us"),
        ("application/json", b"{locale: 'de-DE'}", "de-DE"),
        ("application/json", b'{"locale": "zh-Hant-TW", "more": [1]}', "zh-Hant-TW"),
        ("application/x-www-form-urlencoded", b"locale=en-us", "en-us"),
        ("application/x-www-form-urlencoded", b'{"locale": "en-us"}', "en-us"),
        ("text/plain", b'{"locale": "en-us"}', "en-us"),
        ("", b'{"locale": "tlh"}', "tlh"),
    ],
)
def test_a_locale_counts_however_it_is_written(
    fresh: Cloud, content_type: str, body: bytes, locale: str
) -> None:
    answer = fresh.client.post(VERIFICATION, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200
    assert fresh.client.get(VERIFICATION).json()[0]["locale"] == locale


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("application/json", b"", 400, "no_body"),
        ("application/json", b"{body}", 400, "bad_json"),
        ("application/json", b"[" * 60_000, 400, "bad_json"),
        ("application/json", b'"en-us"', 400, "no_locale"),
        ("application/json", b"{}", 400, "no_locale"),
        ("application/json", b'{"locale": null}', 400, "no_locale"),
        ("application/json", b'{"locale": 5}', 400, "no_locale"),
        ("application/json", b'{"locale": ""}', 400, "bad_locale"),
        ("application/json", b'{"locale": "en us"}', 400, "bad_locale"),
        ("application/json", b'{"locale": "e\\u0000"}', 400, "bad_locale"),
        ("application/json", TOO_LONG, 400, "bad_locale"),
        ("application/xml", b"<locale>en-us</locale>", 415, "media_type"),
        ("application/json", b" " * 65_537, 413, "too_large"),
    ],
)  # fmt: skip
def test_a_locale_that_is_none(
    cloud: Cloud, content_type: str, body: bytes, status: int, reason: str
) -> None:
    for path in (VERIFICATION, BY_PHRASE_2, f"{BY_PHRASE_2021}?{API}"):
        answer = cloud.client.post(path, content=body, headers={"Content-Type": content_type})
        assert answer.status_code == status
        assert answer.json()["error"]["reason"] == reason


@pytest.mark.parametrize(
    ("content_type", "body", "status", "reason"),
    [
        ("audio/mpeg", b"\xff\xfb\x90\x00" * 100, 415, "media_type"),
        ("application/json", b'{"audio": "data:audio/wav;base64,"}', 415, "media_type"),
        ("audio/wav", b"OggS" * 100, 400, "audio_format"),
        ("", b"INSERT_FILE_PATH_HERE", 400, "audio_format"),
        ("audio/wav", wav(samples_of("ada_enroll_1"), rate=8_000), 400, "audio_format"),
        ("audio/wav", wav(samples_of("ada_enroll_1"), rate=44_100), 400, "audio_format"),
        ("audio/wav", wav(samples_of("ada_enroll_1"), channels=2), 400, "audio_format"),
        ("audio/wav", wav(samples_of("ada_enroll_1"), width=4), 400, "audio_format"),
        ("audio/wav", RIGHT[:20_000], 400, "audio_format"),
        ("audio/wav", RIGHT[:36], 400, "audio_format"),
        ("audio/wav", RIGHT[:20] + b"\x03\x00" + RIGHT[22:], 400, "audio_format"),
        ("audio/wav", RIGHT[:16] + b"\x02\x00\x00\x00" + RIGHT[20:], 400, "audio_format"),
        ("audio/wav", b"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", 400, "audio_format"),
        ("multipart/form-data; boundary=xYzZY", form(('; name="a"', b"text")), 400, "bad_request"),
        (
            "multipart/form-data; boundary=xYzZY",
            form(('; name="a"', RIGHT), ('; name="b"', RIGHT)), 400, "bad_request",
        ),
        ("multipart/form-data", b"--x\r\n", 400, "bad_request"),
        ("audio/wav", b"x" * (20 << 20) + b"x", 413, "too_large"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_recording(
    cloud: Cloud, ada_id: str, content_type: str, body: bytes, status: int, reason: str
) -> None:
    answer = cloud.client.post(
        f"{V1}/verify?verificationProfileId={ada_id}",
        content=body,
        headers={"Content-Type": content_type},
    )
    assert answer.status_code == status
    assert answer.json()["error"]["reason"] == reason


def test_pcm_in_the_extensible_form_is_pcm(cloud: Cloud, ada_id: str) -> None:
    head = RIGHT[:16] + (40).to_bytes(4, "little") + b"\xfe\xff" + RIGHT[22:36]
    more = b"\x16\x00\x10\x00\x04\x00\x00\x00\x01\x00" + bytes.fromhex(
        "000000001000800000aa00389b71"
    )
    verify = f"{V1}/verify?verificationProfileId={ada_id}"
    answer = cloud.client.post(verify, content=head + more + RIGHT[36:])
    assert answer.json()["result"] == "Accept"
    other = more[:8] + b"\x03\x00" + more[10:]
    answer = cloud.client.post(verify, content=head + other + RIGHT[36:])
    assert answer.json()["error"]["reason"] == "audio_format"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "reason"),
    [
        ("GET", f"{V1}", 404, "NotFound", "no_such_path"),
        ("GET", f"{V1}/", 404, "NotFound", "no_such_path"),
        ("GET", f"{V1}/people", 404, "NotFound", "no_such_path"),
        ("POST", f"{VERIFICATION}/{UNKNOWN}/delete", 404, "NotFound", "no_such_path"),
        ("PUT", VERIFICATION, 405, "BadRequest", "method"),
        ("OPTIONS", f"{V1}/verify", 405, "BadRequest", "method"),
        ("PROPFIND", f"{V1}/verify", 405, "BadRequest", "method"),
        ("GET", f"{VERIFICATION}/{UNKNOWN}", 404, "NotFound", "no_such_profile"),
        ("DELETE", f"{VERIFICATION}/{UNKNOWN}", 404, "NotFound", "no_such_profile"),
        ("POST", f"{VERIFICATION}/{UNKNOWN}/reset", 404, "NotFound", "no_such_profile"),
        ("POST", f"{VERIFICATION}/{UNKNOWN}/enroll", 404, "NotFound", "no_such_profile"),
        ("GET", f"{VERIFICATION}/nobody", 400, "BadRequest", "bad_id"),
        ("GET", f"{VERIFICATION}/%F0%9F%98%80", 400, "BadRequest", "bad_id"),
        ("POST", f"{V1}/verify", 400, "BadRequest", "bad_parameter"),
        ("POST", f"{V1}/verify?verificationProfileId=", 400, "BadRequest", "bad_parameter"),
        ("POST", VERIFY_UNKNOWN, 404, "NotFound", "no_such_profile"),
        ("GET", f"{V1}/operations/1", 400, "BadRequest", "bad_id"),
        ("GET", BY_PHRASE_2[:-9], 404, "NotFound", "no_such_path"),
        ("GET", PERHAPS_2021, 405, "MethodNotAllowed", "method"),
        ("PATCH", BY_PHRASE_2, 405, "MethodNotAllowed", "method"),
        ("GET", f"{BY_PHRASE_2}/nobody", 400, "InvalidArgument", "bad_id"),
        ("GET", f"{BY_PHRASE_2021}/nobody?{API}", 400, "InvalidArgument", "bad_id"),
        ("POST", f"{BY_PHRASE_2}/{UNKNOWN}:verify", 404, "NotFound", "no_such_path"),
        ("POST", PERHAPS_2021, 400, "InvalidArgument", "bad_parameter"),
    ],
)  # fmt: skip
def test_a_request_for_what_is_not_there(
    cloud: Cloud, method: str, path: str, status: int, code: str, reason: str
) -> None:
    answer = cloud.client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status, "application/json; charset=utf-8",
    )  # fmt: skip
    error = answer.json()["error"]
    assert (error["code"], error["reason"]) == (code, reason)
    assert ("Allow" in answer.headers) is (status == 405)


def test_head_is_get_without_a_body(cloud: Cloud) -> None:
    assert cloud.client.head(VERIFICATION).status_code == 200


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (VERIFICATION, "Unspecified"),
        (BY_PHRASE_2, "Unauthorized"),
        (f"{BY_PHRASE_2021}?{API}", "Unauthorized"),
    ],
)
@pytest.mark.parametrize("key", ["", "0" * 32, "x", "\xe9"])
def test_a_key_that_is_none(fresh: Cloud, path: str, code: str, key: str) -> None:
    headers = {"Ocp-Apim-Subscription-Key": key.encode("latin-1")}
    answer = fresh.client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


VERIFY_CALLS = [
    ("GET", VERIFICATION),
    ("GET", f"{VERIFICATION}/{UNKNOWN}"),
    ("POST", f"{V1}/verify?verificationProfileId={UNKNOWN}"),
    ("GET", f"{V1}/verificationPhrases?locale=en-us"),
    ("GET", f"{V1}/operations/{UNKNOWN}"),
    ("POST", f"{V1}/identify?identificationProfileIds={UNKNOWN}"),
    ("GET", BY_PHRASE_2),
    ("POST", f"{BY_PHRASE_2021}/{UNKNOWN}:verify?{API}"),
]
ENROLL_CALLS = [
    ("POST", f"{VERIFICATION}/{UNKNOWN}/enroll"),
    ("POST", f"{V1}/identificationProfiles/{UNKNOWN}/enroll"),
    ("POST", f"{BY_PHRASE_2}/{UNKNOWN}/enrollments"),
    ("POST", f"{BY_PHRASE_2021}?{API}"),
]
MANAGE_CALLS = [
    ("DELETE", f"{VERIFICATION}/{UNKNOWN}"),
    ("POST", f"{VERIFICATION}/{UNKNOWN}/reset"),
    ("DELETE", f"{BY_PHRASE_2}/{UNKNOWN}"),
    ("POST", f"{BY_PHRASE_2021}/{UNKNOWN}:reset?{API}"),
]


@pytest.mark.parametrize("role", list(ApiRole))
def test_a_key_does_what_its_role_does(cloud: Cloud, role: ApiRole) -> None:
    headers = cloud.key(role)
    allowed = {
        needed
        for needed, calls in (
            (ApiRole.VERIFY, VERIFY_CALLS),
            (ApiRole.ENROLL, ENROLL_CALLS),
            (ApiRole.MANAGE, MANAGE_CALLS),
        )
        for method, path in calls
        if cloud.client.request(method, path, headers=headers).status_code != 403
    }
    assert allowed == {each for each in ApiRole if role.may(each)}


def test_the_store_is_full(fresh: Cloud, ada: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "MAX_PROFILES", 1)
    fresh.at_the_door(ada, "Ada")
    answer = fresh.client.post(BY_PHRASE_2, json={"locale": "en-us"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "Forbidden"
    assert answer.json()["error"]["reason"] == "too_many_profiles"


@pytest.mark.parametrize("error", [StoreError("the disk is full"), KeyFault("no key")])
def test_a_store_that_fails_is_no_secret_and_no_500(
    fresh: Cloud, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ProfileStore, "list", fail)
    answer = fresh.client.get(VERIFICATION)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "InternalServerError"
    assert str(error) not in answer.text
    assert answer.headers["Retry-After"]


def test_a_profile_of_another_model(fresh: Cloud, ada: Profile) -> None:
    store = fresh.context.store
    other = store.create(
        "Ada", ada.kind, required=3.0, samples=ada.samples, speaker_model="5" * 64,
        phrase_model=ada.phrase_model,
    )  # fmt: skip
    for path in (
        f"verify?verificationProfileId={other.id}",
        f"verificationProfiles/{other.id}/enroll",
    ):
        answer = fresh.client.post(f"{V1}/{path}", content=RIGHT)
        assert answer.status_code == 409
        assert "another model" in answer.json()["error"]["detail"]


def test_no_page_elsewhere_may_read_an_answer(cloud: Cloud) -> None:
    answer = cloud.client.get(VERIFICATION, headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


texts = st.text(max_size=40)
settled = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settled
@given(
    body=st.binary(max_size=300),
    content_type=st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=60),
)
def test_any_body_is_answered(cloud: Cloud, ada_id: str, body: bytes, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    for path in (VERIFICATION, f"{V1}/verify?verificationProfileId={ada_id}"):
        answer = cloud.client.post(path, content=body, headers=headers)
        assert answer.status_code in (400, 413, 415)


@settled
@given(
    head=st.lists(st.tuples(st.integers(0, 43), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 4000),
)
def test_any_header_of_a_recording_is_answered(
    cloud: Cloud, ada_id: str, head: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(silence(2.0)[: 64_044 - cut])
    for at, value in head:
        damaged[at] = value
    answer = cloud.client.post(
        f"{V1}/verify?verificationProfileId={ada_id}", content=bytes(damaged)
    )
    assert answer.status_code == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settled
@given(content=json_values, query=st.dictionaries(texts, texts, max_size=4))
def test_any_json_and_query_is_answered(cloud: Cloud, content: Any, query: dict[str, str]) -> None:
    body = json.dumps({"locale": content}).encode()
    answer = cloud.client.post(
        BY_PHRASE_2021, content=body, params={**query, **dict([API.split("=")])}
    )
    assert answer.status_code in (201, 400, 403, 414)
    answer = cloud.client.get(BY_PHRASE_2, params=query)
    assert answer.status_code in (200, 400, 414)
