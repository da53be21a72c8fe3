"""Version 1.0 of the cloud's API, with the real recognizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.cloud_api import core
from edge.config import Config, EnrollmentConfig, LockOutConfig
from edge.mqtt.command_queue import FloodLog
from edge.recognition import Engine
from edge.replay.fingerprint import UtterancePeaks
from edge.replay.matching import best_match
from edge.replay.memory import fingerprints_of
from edge.store import MAX_PROFILES, open_store
from edge.store.api_keys import ApiRole
from edge.types import EventKind, FloatArray, Profile, ProfileStatus
from tests.unit.cloud import (
    NOBODY,
    UNKNOWN,
    V1,
    Cloud,
    ada_speaking,
    noisy,
    robin_speaking,
    said,
    serving,
    silence,
    wav,
)
from tests.unit.voices import recording as utterance
from tests.unit.voices import samples_of, speech

VERIFICATION, IDENTIFICATION = f"{V1}/verificationProfiles", f"{V1}/identificationProfiles"
MANY = LockOutConfig(rejections=100, budget=1000)
MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LONG_MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("v1") / "state"
    with serving(folder, engine, Config(state_directory=folder, lockout=MANY)) as cloud:
        yield cloud


@pytest.fixture
def fresh(tmp_path: Path, engine: Engine) -> Iterator[Cloud]:
    folder = tmp_path / "state"
    with serving(folder, engine, Config(state_directory=folder)) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def ada_id(cloud: Cloud, ada: Profile) -> str:
    return cloud.at_the_door(ada, "Ada", "open the door please").id


@pytest.fixture(scope="module")
def speakers(cloud: Cloud, engine: Engine) -> tuple[str, str]:
    return (
        cloud.at_the_door(ada_speaking(engine), "Ada speaking").id,
        cloud.at_the_door(robin_speaking(engine), "Robin speaking").id,
    )


def test_the_life_of_a_verification_profile(fresh: Cloud) -> None:
    client = fresh.client
    answer = client.post(VERIFICATION, json={"locale": "en-us"})
    assert answer.status_code == 200
    assert list(answer.json()) == ["verificationProfileId"]
    profile_id = answer.json()["verificationProfileId"]
    path = f"{VERIFICATION}/{profile_id}"

    shown = client.get(path).json()
    created = shown.pop("createdDateTime")
    assert MOMENT.fullmatch(created)
    assert MOMENT.fullmatch(shown.pop("lastActionDateTime"))
    assert shown == {
        "verificationProfileId": profile_id,
        "locale": "en-us",
        "enrollmentsCount": 0,
        "remainingEnrollmentsCount": 3,
        "enrollmentStatus": "Enrolling",
    }
    assert fresh.context.store.get(profile_id).name == f"Profile {profile_id[:8]}"

    early = client.post(
        f"{V1}/verify?verificationProfileId={profile_id}", content=said("ada_enroll_1")
    )
    assert (early.status_code, early.json()["error"]["reason"]) == (400, "not_enrolled")

    answers = [
        client.post(f"{path}/enroll", content=said(f"ada_enroll_{number}")).json()
        for number in (1, 2, 3)
    ]
    assert answers == [
        {
            "enrollmentStatus": "Enrolling", "enrollmentsCount": 1, "remainingEnrollments": 2,
            "phrase": "",
        },
        {
            "enrollmentStatus": "Enrolling", "enrollmentsCount": 2, "remainingEnrollments": 1,
            "phrase": "",
        },
        {
            "enrollmentStatus": "Enrolled", "enrollmentsCount": 3, "remainingEnrollments": 0,
            "phrase": "",
        },
    ]  # fmt: skip
    # The door knows the person at once, and the recordings, which do not open it.
    profile = fresh.context.store.get(profile_id)
    assert profile.status is ProfileStatus.ENROLLED
    known = fingerprints_of(fresh.context.store, profile_id)
    assert len(known) == 3
    replays = {"ada_enroll_1": True, "ada_enroll_3": True, "ada_right_phrase": False}
    for name, replayed in replays.items():
        match = best_match(UtterancePeaks(utterance(name).samples), known)
        assert match is not None
        assert match.suspected is replayed
    assert client.get(VERIFICATION).json() == [client.get(path).json()]

    verify = f"{V1}/verify?verificationProfileId={profile_id}"
    assert client.post(verify, content=said("ada_right_phrase")).json() == {
        "result": "Accept", "confidence": "High", "phrase": "", "reason": "recognized",
    }  # fmt: skip
    assert client.get(path).json()["lastActionDateTime"] > created
    # To be judged is not to be heard at the door.
    assert len(fingerprints_of(fresh.context.store, profile_id)) == 3

    # Who is enrolled may add to it; the same recording is not another one.
    again = client.post(f"{path}/enroll", content=said("ada_enroll_2"))
    assert again.json()["error"]["reason"] == "repeated"
    more = client.post(f"{path}/enroll", content=said("ada_right_phrase"))
    assert (more.json()["enrollmentsCount"], more.json()["remainingEnrollments"]) == (4, 0)

    answer = client.post(f"{path}/reset")
    assert (answer.status_code, answer.content) == (200, b"")
    shown = client.get(path).json()
    assert (shown["enrollmentsCount"], shown["enrollmentStatus"]) == (0, "Enrolling")
    assert shown["remainingEnrollmentsCount"] == 3

    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.get(path).status_code == 404
    assert client.get(VERIFICATION).json() == []

    key = fresh.context.keys.list()[0].id
    assert [(kind, detail["key"]) for kind, detail in fresh.events() if "key" in detail] == [
        ("change", key),
        *[("enrollment", key)] * 3,
        ("verification", key),
        ("enrollment", key),
        ("change", key),
        ("deletion", key),
    ]


def test_a_profile_is_complete_after_as_many_repetitions_as_configured(
    tmp_path: Path, engine: Engine
) -> None:
    config = Config(state_directory=tmp_path, enrollment=EnrollmentConfig(repetitions=5))
    with serving(tmp_path, engine, config) as cloud:
        created = cloud.client.post(VERIFICATION, json={"locale": "de-DE"}).json()
        shown = cloud.client.get(f"{VERIFICATION}/{created['verificationProfileId']}").json()
        assert (shown["remainingEnrollmentsCount"], shown["locale"]) == (5, "de-DE")


@pytest.mark.parametrize(
    ("recording", "result", "phrase", "reason"),
    [
        ("ada_right_phrase", "Accept", "open the door please", "recognized"),
        ("ada_wrong_phrase", "Reject", "", "wrong_phrase"),
        ("stranger_adas_phrase", "Reject", "", "unknown_speaker"),
    ],
)
def test_a_verification_is_the_judgment_of_the_door(
    cloud: Cloud, ada_id: str, recording: str, result: str, phrase: str, reason: str
) -> None:
    answer = cloud.client.post(
        f"{V1}/verify?verificationProfileId={ada_id}", content=said(recording)
    )
    assert answer.status_code == 200
    content = answer.json()
    assert content["confidence"] in ("Low", "Normal", "High")
    assert (content["result"], content["phrase"], content["reason"]) == (result, phrase, reason)
    kind, detail = cloud.events()[-1]
    assert (kind, detail["reason"], detail["by"]) == ("verification", reason, "http")


def test_one_recording_sent_forever_leaves_the_audit_trail_what_it_holds(
    cloud: Cloud, ada_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = FloodLog(EventKind.VERIFICATION, burst=2, per_s=0.0, summary_s=0.0)
    monkeypatch.setattr(core, "FloodLog", lambda *_, **__: few)
    state = cloud.client.app.state  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "cloud_core", core.Core(cloud.context), raising=False)
    before = len(cloud.events())
    for _ in range(5):
        url = f"{V1}/verify?verificationProfileId={ada_id}"
        assert cloud.client.post(url, content=said("ada_right_phrase")).json()["result"] == "Accept"
    reasons = [detail["reason"] for _, detail in cloud.events()[before:]]
    assert reasons == ["recognized", "recognized", "flood", "flood", "flood"]


@pytest.mark.parametrize(
    ("recording", "message", "reason"),
    [
        (silence(0.9), "Audio too short", "too_short"),
        (silence(2.0), "Audio too short", "too_short"),
        (silence(15.1), "Audio too long", "too_long"),
        (noisy("ada_enroll_1"), "Audio too noisy", "too_noisy"),
        (wav(0.006 * samples_of("ada_enroll_1")), "SpeechNotRecognized", "too_quiet"),
        (wav(20.0 * samples_of("ada_enroll_1")), "Audio too noisy", "clipped"),
        (b"no recording", "Invalid audio format", "audio_format"),
        (b"", "Invalid audio format", "no_audio"),
    ],
)
def test_a_recording_that_cannot_be_judged(
    cloud: Cloud, ada_id: str, recording: bytes, message: str, reason: str
) -> None:
    for path in (f"verify?verificationProfileId={ada_id}", f"verificationProfiles/{ada_id}/enroll"):
        answer = cloud.client.post(f"{V1}/{path}", content=recording)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["message"], error["reason"]) == ("BadRequest", message, reason)
        assert len(error["detail"]) > 10


@pytest.mark.parametrize(
    ("recording", "message", "reason"),
    [
        (said("robin_enroll_1"), "SpeakerInvalid", "unknown_speaker"),
        (said("ada_wrong_phrase"), "InvalidPhrase", "wrong_phrase"),
        (said("ada_enroll_1"), "InvalidPhrase", "repeated"),
        (wav(speech("ada_right_phrase")), "Audio too short", "cut_off"),
    ],
)
def test_an_enrollment_that_does_not_fit(
    cloud: Cloud, ada_id: str, recording: bytes, message: str, reason: str
) -> None:
    answer = cloud.client.post(f"{VERIFICATION}/{ada_id}/enroll", content=recording)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["message"], error["reason"]) == ("BadRequest", message, reason)


def test_the_life_of_an_identification_profile(fresh: Cloud) -> None:
    client = fresh.client
    answer = client.post(IDENTIFICATION, json={"locale": "ar-EG"})
    assert (answer.status_code, list(answer.json())) == (200, ["identificationProfileId"])
    profile_id = answer.json()["identificationProfileId"]
    path = f"{IDENTIFICATION}/{profile_id}"
    shown = client.get(path).json()
    assert MOMENT.fullmatch(shown.pop("createdDateTime"))
    assert MOMENT.fullmatch(shown.pop("lastActionDateTime"))
    assert shown == {
        "identificationProfileId": profile_id,
        "locale": "ar-EG",
        "enrollmentSpeechTime": 0.0,
        "remainingEnrollmentSpeechTime": 30.0,
        "enrollmentStatus": "Enrolling",
    }

    short = client.post(f"{path}/enroll", content=said("ada_enroll_1"))
    assert (short.status_code, short.json()["error"]["message"]) == (400, "Audio too short")

    # Python's spelling of a truth, as one of the samples sends it.
    begun = client.post(f"{path}/enroll?shortAudio=True", content=said("ada_enroll_1"))
    location = begun.headers["Operation-Location"]
    assert re.fullmatch(r"https://localhost/spid/v1\.0/operations/[0-9a-f-]{36}", location)
    done = fresh.operation(begun)
    assert LONG_MOMENT.fullmatch(done.pop("createdDateTime"))
    assert LONG_MOMENT.fullmatch(done.pop("lastActionDateTime"))
    result = done.pop("processingResult")
    assert done == {"status": "succeeded"}
    assert result == {
        "enrollmentStatus": "Enrolled",
        "remainingEnrollmentSpeechTime": 0.0,
        "speechTime": result["enrollmentSpeechTime"],
        "enrollmentSpeechTime": pytest.approx(2.34, abs=0.1),
    }
    shown = client.get(path).json()
    assert shown["enrollmentStatus"] == "Enrolled"
    assert shown["enrollmentSpeechTime"] == result["enrollmentSpeechTime"]

    other = client.post(f"{path}/enroll?shortAudio=true", content=said("robin_enroll_1"))
    failed = fresh.operation(other)
    assert (failed["status"], failed["message"]) == ("failed", "SpeakerInvalid")
    assert failed["reason"] == "unknown_speaker"

    # What completed it is forgotten with what was enrolled.
    assert client.post(f"{path}/reset").status_code == 200
    shown = client.get(path).json()
    assert shown["remainingEnrollmentSpeechTime"] == 30.0
    assert client.get(IDENTIFICATION).json() == [shown]
    assert client.delete(path).status_code == 200
    assert client.get(path).status_code == 404


def test_without_short_audio_thirty_seconds_of_speech_are_needed(fresh: Cloud) -> None:
    created = fresh.client.post(IDENTIFICATION, json={"locale": "en-us"}).json()
    path = f"{IDENTIFICATION}/{created['identificationProfileId']}"
    begun = fresh.client.post(
        f"{path}/enroll", content=wav(speech_of("ada_enroll_1", "ada_enroll_2"))
    )
    result = fresh.operation(begun)["processingResult"]
    assert result["enrollmentStatus"] == "Enrolling"
    total = result["enrollmentSpeechTime"] + result["remainingEnrollmentSpeechTime"]
    assert total == pytest.approx(30.0, abs=0.011)


def speech_of(*names: str) -> FloatArray:
    return np.concatenate([samples_of(name) for name in names])


def test_who_of_a_group_speaks(cloud: Cloud, speakers: tuple[str, str]) -> None:
    group = ",".join(speakers)
    path = f"{V1}/identify?identificationProfileIds={group}&shortAudio=true"
    found = [
        cloud.operation(cloud.client.post(path, content=said(name)))["processingResult"]
        for name in ("ada_right_phrase", "robin_right_phrase", "stranger_other_phrase")
    ]
    assert [each["identifiedProfileId"] for each in found] == [*speakers, NOBODY]
    assert all(each["confidence"] in ("Low", "Normal", "High") for each in found)
    assert [each["reason"] for each in found] == ["recognized", "recognized", "unknown_speaker"]
    cloud.context.trail.flush()
    entries = cloud.context.trail.entries()[-3:]
    assert [entry.kind for entry in entries] == ["verification"] * 3
    assert [entry.profile_id for entry in entries] == [*speakers, None]


def test_a_recording_that_cannot_be_identified_fails_its_operation(
    cloud: Cloud, speakers: tuple[str, str]
) -> None:
    path = f"{V1}/identify?identificationProfileIds={speakers[0]}"
    begun = cloud.client.post(path, content=silence(6.0))
    failed = cloud.operation(begun)
    assert (failed["status"], failed["message"]) == ("failed", "Audio too short")
    assert "processingResult" not in failed
    too_short = cloud.client.post(path, content=silence(4.9))
    assert too_short.json()["error"]["message"] == "Audio too short"


def test_operations_belong_to_their_key(cloud: Cloud, speakers: tuple[str, str]) -> None:
    path = f"{V1}/identify?identificationProfileIds={speakers[0]}&shortAudio=true"
    location = cloud.client.post(path, content=said("ada_enroll_2")).headers["Operation-Location"]
    other = cloud.client.get(location, headers=cloud.key(ApiRole.MANAGE))
    assert other.status_code == 404
    assert other.json()["error"]["code"] == "NotFound"
    assert cloud.client.get(location).status_code == 200
    assert cloud.client.get(f"{V1}/operations/{UNKNOWN}").status_code == 404


@pytest.mark.parametrize(
    ("ids", "status", "reason"),
    [
        ("", 400, "bad_parameter"),
        (",,", 400, "bad_parameter"),
        ("no-guid", 400, "bad_id"),
        (UNKNOWN, 404, "no_such_profile"),
        (",".join(f"{number:032x}" for number in range(MAX_PROFILES + 1)), 400, "bad_parameter"),
    ],
)
def test_a_group_that_cannot_be(cloud: Cloud, ids: str, status: int, reason: str) -> None:
    answer = cloud.client.post(
        f"{V1}/identify?identificationProfileIds={ids}", content=said("ada_enroll_1")
    )
    assert answer.status_code == status
    assert answer.json()["error"]["reason"] == reason


def test_phrases_in_writing_are_for_those_who_manage(cloud: Cloud, ada_id: str) -> None:
    path = f"{V1}/verificationPhrases?locale=tlh"
    assert cloud.client.get(path).json() == [{"phrase": "open the door please"}]
    for role in (ApiRole.VERIFY, ApiRole.ENROLL):
        assert cloud.client.get(path, headers=cloud.key(role)).json() == []
    bad = cloud.client.get(f"{V1}/verificationPhrases")
    assert (bad.status_code, bad.json()["error"]["message"]) == (400, "Invalid locale")


def test_the_kinds_of_profiles_are_apart(
    cloud: Cloud, ada_id: str, speakers: tuple[str, str]
) -> None:
    by_phrase = {each["verificationProfileId"] for each in cloud.client.get(VERIFICATION).json()}
    by_voice = {each["identificationProfileId"] for each in cloud.client.get(IDENTIFICATION).json()}
    assert ada_id in by_phrase
    assert ada_id not in by_voice
    assert set(speakers) <= by_voice
    assert not set(speakers) & by_phrase
    assert cloud.client.get(f"{IDENTIFICATION}/{ada_id}").status_code == 404


def test_a_duress_phrase_is_not_there(fresh: Cloud, ada: Profile) -> None:
    owner = fresh.at_the_door(ada, "Ada")
    store = fresh.context.store
    duress = store.create("Ada (duress)", ada.kind, "help me", required=3.0, duress_of=owner.id)
    listed = fresh.client.get(VERIFICATION).json()
    assert [each["verificationProfileId"] for each in listed] == [owner.id]
    path = f"{VERIFICATION}/{duress.id}"
    assert fresh.client.get(path).status_code == 404
    assert fresh.client.delete(path).status_code == 404
    assert fresh.client.post(f"{path}/reset").status_code == 404
    assert fresh.client.post(f"{path}/enroll", content=said("ada_enroll_1")).status_code == 404
    assert fresh.client.get(f"{V1}/verificationPhrases?locale=en-us").json() == []


def test_what_another_process_changes_is_seen_at_once(fresh: Cloud, ada: Profile) -> None:
    assert fresh.client.get(VERIFICATION).json() == []
    with open_store(fresh.context.store.path.parent) as other:
        profile = other.create("Ada", ada.kind, required=3.0)
        path = f"{VERIFICATION}/{profile.id}"
        assert fresh.client.get(path).json()["enrollmentsCount"] == 0
        other.add_sample(profile.id, ada.samples[0], ada.speaker_model, ada.phrase_model)
        assert fresh.client.get(path).json()["enrollmentsCount"] == 1
        other.delete(profile.id)
    assert fresh.client.get(path).status_code == 404


def test_who_waits_to_be_confirmed_is_in_training(fresh: Cloud, ada: Profile) -> None:
    profile = fresh.context.store.create(
        "Ada", ada.kind, required=3.0, samples=ada.samples, speaker_model=ada.speaker_model,
        phrase_model=ada.phrase_model, confirmed=False,
    )  # fmt: skip
    path = f"{VERIFICATION}/{profile.id}"
    shown = fresh.client.get(path).json()
    assert (shown["enrollmentStatus"], shown["remainingEnrollmentsCount"]) == ("Training", 0)
    verify = f"{V1}/verify?verificationProfileId={profile.id}"
    error = fresh.client.post(verify, content=said("ada_right_phrase")).json()["error"]
    assert error["reason"] == "not_enrolled"
    assert error["detail"].endswith("it waits to be confirmed by the owner")
    # Nor does a recording that is sent here confirm it.
    more = fresh.client.post(f"{path}/enroll", content=said("ada_right_phrase"))
    assert more.status_code == 409
    assert fresh.context.store.get(profile.id).status is ProfileStatus.UNCONFIRMED


def test_rejected_attempts_lock_out(tmp_path: Path, engine: Engine, ada: Profile) -> None:
    config = Config(state_directory=tmp_path, lockout=LockOutConfig(rejections=2, first_s=60.0))
    with serving(tmp_path, engine, config) as cloud:
        profile = cloud.at_the_door(ada, "Ada")
        verify = f"{V1}/verify?verificationProfileId={profile.id}"
        enroll = f"{VERIFICATION}/{profile.id}/enroll"
        assert cloud.client.post(verify, content=said("stranger_adas_phrase")).status_code == 200
        assert cloud.client.post(enroll, content=said("stranger_adas_phrase")).status_code == 400
        # From here on nothing is said that depends on who speaks.
        for path in (verify, enroll):
            answer = cloud.client.post(path, content=said("ada_right_phrase"))
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] == "Unspecified"
            assert answer.json()["error"]["reason"] == "locked_out"
            assert 0 < int(answer.headers["Retry-After"]) <= 60
        speaker = cloud.at_the_door(ada_speaking(engine), "Ada speaking")
        identify = f"{V1}/identify?identificationProfileIds={speaker.id}&shortAudio=true"
        failed = cloud.operation(cloud.client.post(identify, content=said("ada_right_phrase")))
        assert (failed["status"], failed["reason"]) == ("failed", "locked_out")
