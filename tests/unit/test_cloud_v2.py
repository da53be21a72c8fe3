"""Versions 2.0 and 2021-09-05 of the cloud's API, with the real recognizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import Config, LockOutConfig
from edge.recognition import Engine
from edge.store.api_keys import ApiRole
from edge.types import Profile, ProfileKind
from tests.unit.cloud import (
    API,
    NOBODY,
    UNKNOWN,
    Cloud,
    ada_speaking,
    noisy,
    robin_speaking,
    said,
    serving,
    silence,
    wav,
)
from tests.unit.voices import samples_of


@dataclass(frozen=True)
class Spelled:
    """Addresses as a version spells them."""

    name: str

    def profiles(self, mode: str, kind: str) -> str:
        if self.name == "2.0":
            return f"/speaker/{mode}/v2.0/{kind}/profiles"
        return f"/speaker-recognition/{mode}/{kind}/profiles"

    def to(self, path: str, verb: str = "", query: str = "") -> str:
        """An address with a verb and a query."""
        if self.name == "2.0":
            verb = f"/{verb}" if verb else ""
            return f"{path}{verb}?{query}"
        verb = f":{verb}" if verb else ""
        return f"{path}{verb}?{API}&{query}"


V2, V2021 = Spelled("2.0"), Spelled("2021-09-05")
BOTH = pytest.mark.parametrize("version", [V2, V2021], ids=lambda each: each.name)
BY_PHRASE = ("verification", "text-dependent")
FREE = ("verification", "text-independent")
GROUP = ("identification", "text-independent")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("v2") / "state"
    many = LockOutConfig(rejections=100, budget=1000)
    with serving(folder, engine, Config(state_directory=folder, lockout=many)) as cloud:
        yield cloud


@pytest.fixture
def fresh(tmp_path: Path, engine: Engine) -> Iterator[Cloud]:
    with serving(tmp_path / "state", engine, Config(state_directory=tmp_path / "state")) as cloud:
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


def create(cloud: Cloud, version: Spelled, of: tuple[str, str]) -> dict[str, Any]:
    path = version.profiles(*of)
    answer = cloud.client.post(version.to(path), json={"locale": "en-us"})
    assert answer.status_code == 201
    content: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"https://localhost{path}/{content['profileId']}"
    return content


LENGTHS = {"enrollmentsLength": 0.0, "enrollmentsSpeechLength": 0.0}
IN_SECONDS = {f"{name}InSec": 0.0 for name in LENGTHS}


@BOTH
def test_a_new_profile_of_a_phrase(fresh: Cloud, version: Spelled) -> None:
    made = create(fresh, version, BY_PHRASE)
    path = f"{version.profiles(*BY_PHRASE)}/{made['profileId']}"
    assert fresh.client.get(version.to(path)).json() == made
    assert made.pop("createdDateTime") <= made.pop("lastUpdatedDateTime")
    assert made == {
        "profileId": made["profileId"],
        "locale": "en-us",
        "enrollmentStatus": "Enrolling",
        "enrollmentsCount": 0,
        "enrollmentSpeechLength": 0.0,
        "remainingEnrollmentsCount": 3,
        "modelVersion": None,
        **LENGTHS,
        **(IN_SECONDS if version is V2021 else {}),
    }


@BOTH
@pytest.mark.parametrize("of", [FREE, GROUP], ids=["verification", "identification"])
def test_a_new_profile_of_free_speech(fresh: Cloud, version: Spelled, of: tuple[str, str]) -> None:
    made = create(fresh, version, of)
    remaining = {"remainingEnrollmentsSpeechLength": 20.0}
    in_seconds = {**IN_SECONDS, "remainingEnrollmentsSpeechLengthInSec": 20.0}
    del made["createdDateTime"], made["lastUpdatedDateTime"]
    assert made == {
        "profileId": made["profileId"],
        "locale": "en-us",
        "enrollmentStatus": "Enrolling",
        "profileStatus": "Inactive",
        "enrollmentsCount": 0,
        "enrollmentSpeechLength": 0.0,
        "modelVersion": None,
        **LENGTHS,
        **remaining,
        **(in_seconds if version is V2021 else {}),
    }


@BOTH
def test_the_life_of_a_profile_of_a_phrase(fresh: Cloud, version: Spelled) -> None:
    profile_id = create(fresh, version, BY_PHRASE)["profileId"]
    path = f"{version.profiles(*BY_PHRASE)}/{profile_id}"
    # A length that is ignored for phrases: they are always said as often.
    enroll = version.to(f"{path}/enrollments", query="ignoreMinLength=true")
    answers = [fresh.client.post(enroll, content=said(f"ada_enroll_{n}")) for n in (1, 2, 3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    last = answers[-1].json()
    seconds = [len(samples_of(f"ada_enroll_{n}")) / 16_000 for n in (1, 2, 3)]
    assert [answer.json()["remainingEnrollmentsCount"] for answer in answers] == [2, 1, 0]
    assert last["enrollmentStatus"] == "Enrolled"
    assert last["enrollmentsCount"] == 3
    assert last["profileId"] == profile_id
    assert last["passPhrase"] == ""
    assert last["audioLength"] == round(seconds[2], 2)
    assert last["enrollmentsLength"] == round(sum(seconds), 2)
    assert 0.0 < last["audioSpeechLength"] < last["enrollmentsSpeechLength"] < sum(seconds)
    if version is V2021:
        assert last["audioLengthInSec"] == last["audioLength"]
        assert last["enrollmentsSpeechLengthInSec"] == last["enrollmentsSpeechLength"]

    shown = fresh.client.get(version.to(path)).json()
    assert shown["enrollmentsLength"] == last["enrollmentsLength"]
    assert shown["modelVersion"] == fresh.context.store.get(profile_id).speaker_model[:12]

    answer = fresh.client.post(version.to(path, "verify"), content=said("ada_right_phrase"))
    assert answer.status_code == 200
    content = answer.json()
    assert content["recognitionResult"] == "Accept"
    assert 0.5 <= content["score"] <= 1.0

    answer = fresh.client.post(version.to(path, "reset"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert fresh.client.get(version.to(path)).json()["enrollmentsLength"] == 0.0
    answer = fresh.client.delete(version.to(path))
    assert (answer.status_code, answer.content) == (204, b"")
    assert fresh.client.get(version.to(path)).status_code == 404


@BOTH
def test_free_speech_of_any_length_is_enough_where_that_is_asked(
    fresh: Cloud, version: Spelled
) -> None:
    profile_id = create(fresh, version, FREE)["profileId"]
    path = f"{version.profiles(*FREE)}/{profile_id}"
    first = fresh.client.post(version.to(f"{path}/enrollments"), content=said("ada_enroll_1"))
    content = first.json()
    assert content["enrollmentStatus"] == "Enrolling"
    left = content["enrollmentsSpeechLength"] + content["remainingEnrollmentsSpeechLength"]
    assert left == pytest.approx(20.0, abs=0.011)
    shown = fresh.client.get(version.to(path)).json()
    assert (shown["profileStatus"], shown["enrollmentStatus"]) == ("Active", "Enrolling")
    early = fresh.client.post(version.to(path, "verify"), content=said("ada_enroll_1"))
    assert (early.status_code, early.json()["error"]["code"]) == (400, "InvalidRequest")

    enroll = version.to(f"{path}/enrollments", query="IGNOREminlength=true")
    content = fresh.client.post(enroll, content=said("ada_enroll_2")).json()
    assert content["enrollmentStatus"] == "Enrolled"
    assert content["remainingEnrollmentsSpeechLength"] == 0.0
    assert fresh.context.store.get(profile_id).kind is ProfileKind.VOICE

    short = fresh.client.post(version.to(path, "verify"), content=said("ada_right_phrase"))
    assert short.status_code == 400
    assert short.json()["error"]["reason"] == "too_short"
    answer = fresh.client.post(
        version.to(path, "verify", "ignoreMinLength=true"), content=said("ada_right_phrase")
    )
    assert answer.json()["recognitionResult"] == "Accept"


def test_four_seconds_of_speech_are_judged_as_they_are(
    cloud: Cloud, speakers: tuple[str, str]
) -> None:
    path = f"{V2021.profiles(*FREE)}/{speakers[0]}"
    long = wav(np.concatenate([samples_of(f"ada_enroll_{number}") for number in (1, 2, 3)]))
    answer = cloud.client.post(V2021.to(path, "verify"), content=long)
    assert answer.json()["recognitionResult"] == "Accept"


@pytest.mark.parametrize(
    ("recording", "result", "reason"),
    [
        ("ada_right_phrase", "Accept", "recognized"),
        ("ada_wrong_phrase", "Reject", "wrong_phrase"),
        ("stranger_adas_phrase", "Reject", "unknown_speaker"),
    ],
)
def test_a_score_is_on_the_side_of_the_decision(
    cloud: Cloud, ada_id: str, recording: str, result: str, reason: str
) -> None:
    path = f"{V2.profiles(*BY_PHRASE)}/{ada_id}"
    content = cloud.client.post(V2.to(path, "verify"), content=said(recording)).json()
    assert (content["recognitionResult"], content["reason"]) == (result, reason)
    assert (content["score"] >= 0.5) is (result == "Accept")


@BOTH
def test_who_of_a_group_speaks_with_a_ranking(
    cloud: Cloud, version: Spelled, speakers: tuple[str, str]
) -> None:
    query = f"profileIds={speakers[0].upper()}%2C{speakers[1]},&ignoreMinLength=true"
    path = version.to(version.profiles(*GROUP), "identifySingleSpeaker", query)
    for name, who in (("ada_right_phrase", 0), ("robin_right_phrase", 1)):
        answer = cloud.client.post(path, content=said(name))
        assert answer.status_code == 200
        found, ranking = answer.json()["identifiedProfile"], answer.json()["profilesRanking"]
        assert [each["profileId"] for each in ranking] == [speakers[who], speakers[1 - who]]
        assert ranking[0] == found
        assert found["score"] >= 0.5 > ranking[1]["score"]
    found = cloud.client.post(path, content=said("stranger_other_phrase")).json()
    assert found["identifiedProfile"] == {"profileId": NOBODY, "score": 0.0}
    assert len(found["profilesRanking"]) == 2
    short = cloud.client.post(
        path.replace("&ignoreMinLength=true", ""), content=said("ada_enroll_1")
    )
    assert short.json()["error"]["reason"] == "too_short"


@BOTH
def test_lists_come_in_pages(fresh: Cloud, version: Spelled) -> None:
    made = sorted(create(fresh, version, GROUP)["profileId"] for _ in range(5))
    items, link, top = (
        ("profiles", "@nextLink", "$top") if version is V2 else ("value", "nextLink", "maxpagesize")
    )
    path = version.profiles(*GROUP)
    whole = fresh.client.get(version.to(path)).json()
    assert [each["profileId"] for each in whole[items]] == made
    assert list(whole) == [items]
    # Also the other version's name of it.
    assert len(fresh.client.get(version.to(path, query="$top=2")).json()[items]) == 2

    seen: list[str] = []
    address = version.to(path, query=f"{top}=2")
    pages = 0
    while address:
        page = fresh.client.get(address).json()
        seen += [each["profileId"] for each in page[items]]
        address = page.get(link, "")
        pages += 1
    assert (seen, pages) == (made, 3)
    for bad in (f"{top}=0", f"{top}=501", f"{top}=x", f"{top}=-1", f"{top}="):
        answer = fresh.client.get(version.to(path, query=bad))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument")
    token = "$continuationToken" if version is V2 else "continuationToken"
    for bad in ("x", "%F0%9F", "AAAA", ""):
        answer = fresh.client.get(version.to(path, query=f"{token}={bad}"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidArgument")


@BOTH
def test_phrases_in_writing(cloud: Cloud, version: Spelled, ada_id: str) -> None:
    path = version.profiles(*BY_PHRASE).replace("profiles", "phrases")
    written = ["open the door please"]
    expected: Any = written if version is V2 else {"value": [{"passPhrase": written[0]}]}
    none: Any = [] if version is V2 else {"value": []}
    assert cloud.client.get(version.to(f"{path}/gsw-CH")).json() == expected
    lesser = cloud.client.get(version.to(f"{path}/en-US"), headers=cloud.key(ApiRole.ENROLL))
    assert lesser.json() == none
    free = version.profiles(*GROUP).replace("profiles", "phrases")
    assert cloud.client.get(version.to(f"{free}/en-US")).json() == none
    assert cloud.client.get(version.to(f"{path}/en US")).status_code == 400


@BOTH
def test_what_the_door_enrolled_belongs_to_every_resource_of_its_kind(
    cloud: Cloud, version: Spelled, ada_id: str, speakers: tuple[str, str]
) -> None:
    def ids(of: tuple[str, str]) -> set[str]:
        items = "profiles" if version is V2 else "value"
        listed = cloud.client.get(version.to(version.profiles(*of))).json()[items]
        return {each["profileId"] for each in listed}

    assert ids(BY_PHRASE) == {ada_id}
    assert ids(FREE) == ids(GROUP) == set(speakers)
    shown = cloud.client.get(version.to(f"{version.profiles(*FREE)}/{speakers[0]}")).json()
    assert shown["locale"] == "en-US"
    assert shown["enrollmentsCount"] == 3
    # How long its recordings were is not known; their speech is.
    assert shown["enrollmentsLength"] == shown["enrollmentsSpeechLength"] > 0.0


def test_one_made_here_belongs_to_its_resource_in_every_version(fresh: Cloud) -> None:
    made = create(fresh, V2, FREE)["profileId"]
    for version in (V2, V2021):
        assert fresh.client.get(version.to(f"{version.profiles(*FREE)}/{made}")).status_code == 200
        path = f"{version.profiles(*GROUP)}/{made}"
        assert fresh.client.get(version.to(path)).status_code == 404
        assert fresh.client.delete(version.to(path)).status_code == 404
    by_phrase = create(fresh, V2021, BY_PHRASE)["profileId"]
    assert fresh.client.get(f"/spid/v1.0/verificationProfiles/{by_phrase}").status_code == 200


@BOTH
@pytest.mark.parametrize(
    ("of", "recording", "reason"),
    [
        (BY_PHRASE, silence(0.9), "too_short"),
        (BY_PHRASE, silence(10.1), "too_long"),
        (BY_PHRASE, noisy("ada_enroll_1"), "too_noisy"),
        (BY_PHRASE, b"RIFF", "audio_format"),
        (FREE, silence(0.9), "too_short"),
        (FREE, silence(120.1), "too_long"),
    ],
)
def test_recordings_that_cannot_be_used(
    cloud: Cloud,
    version: Spelled,
    ada_id: str,
    speakers: tuple[str, str],
    of: tuple[str, str],
    recording: bytes,
    reason: str,
) -> None:
    profile_id = ada_id if of is BY_PHRASE else speakers[0]
    path = f"{version.profiles(*of)}/{profile_id}"
    for address in (version.to(path, "verify"), version.to(f"{path}/enrollments")):
        answer = cloud.client.post(address, content=recording)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["reason"]) == ("InvalidRequest", reason)
        assert ": " in error["message"]
        assert answer.headers["x-ms-error-code"] == "InvalidRequest"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "Missing api-version: add api-version=2021-09-05"),
        ("?api-version=", "Missing api-version: add api-version=2021-09-05"),
        ("?api-version=2020-01-01", "Unsupported api-version: add api-version=2021-09-05"),
    ],
)
def test_the_version_must_be_named(cloud: Cloud, query: str, message: str) -> None:
    answer = cloud.client.get(f"{V2021.profiles(*GROUP)}{query}")
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": "InvalidArgument", "message": message, "reason": "api_version",
    }  # fmt: skip
    named = cloud.client.get(f"{V2021.profiles(*GROUP)}?API-Version=2021-09-05")
    assert named.status_code == 200


@BOTH
def test_a_profile_that_is_not_there(cloud: Cloud, version: Spelled) -> None:
    path = f"{version.profiles(*BY_PHRASE)}/{UNKNOWN}"
    answers = [
        cloud.client.get(version.to(path)),
        cloud.client.delete(version.to(path)),
        cloud.client.post(version.to(path, "reset")),
        cloud.client.post(version.to(path, "verify"), content=said("ada_enroll_1")),
        cloud.client.post(version.to(f"{path}/enrollments"), content=said("ada_enroll_1")),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert {answer.json()["error"]["code"] for answer in answers} == {"NotFound"}
