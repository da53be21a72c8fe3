"""The Speech SDK for JavaScript against `edge-voice serve` over TLS: only the endpoint is another.

It is installed from npm with the versions that tests/sdk locks; tools/test_sdk runs it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.audio.files import read_audio
from edge.resources import demo_directory
from edge.types import FloatArray
from tests.conftest import REPOSITORY
from tests.integration.http_server import ServerProcess
from tests.unit.cloud import NOBODY, wav
from tests.unit.voices import quiet

pytestmark = [pytest.mark.slow, pytest.mark.long]

SDK = REPOSITORY / "tests" / "sdk"
LONGEST_S = 300
SETTINGS = "lockout:\n  rejections: 100\n  budget: 1000\n"
_numbers = itertools.count()
PHRASE = "kids-are-talking-by-the-door"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client and both versions of the SDK."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no npm: install the Debian packages nodejs and npm")
    folder = tmp_path_factory.mktemp("sdk")
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(SDK / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        command, cwd=folder, check=False, timeout=LONGEST_S, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"the SDK cannot be installed: {done.stderr[-300:]}")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("served"), "--tls", settings=SETTINGS)
    try:
        yield server
    finally:
        server.stop()


def made_voices(folder: Path) -> dict[str, Any]:
    """The people of the demo."""
    return _written(
        folder,
        {
            "ada": ([f"ada_enroll_{number}" for number in (1, 2, 3)], "ada_right_phrase"),
            "robin": ([f"robin_enroll_{number}" for number in (1, 2, 3)], "robin_right_phrase"),
            "stranger": ([], "stranger_other_phrase"),
        },
        lambda name: read_audio(demo_directory() / f"{name}.flac").samples,
    )


def real_voices(folder: Path, speech: Path) -> dict[str, Any]:
    """People who act a sentence, in calm and neutral moods."""
    known = ("calm1_1", "calm1_2", "calm2_1")

    def read(name: str) -> FloatArray:
        samples = read_audio(next((speech / "same_phrase").glob(f"{name}.*"))).samples
        return np.concatenate((quiet(0.5), samples, quiet(0.5)))

    def person(actor: str) -> tuple[list[str], str]:
        return [f"{actor}/{PHRASE}/{name}" for name in known], f"{actor}/{PHRASE}/calm2_2"

    people = {"ada": person("actor02"), "robin": person("actor01")}
    return _written(folder, {**people, "stranger": ([], person("actor05")[1])}, read)


def _written(folder: Path, people: Any, read: Any) -> dict[str, Any]:
    def write(name: str) -> str:
        file = folder / f"{name.replace('/', '-')}.wav"
        file.write_bytes(wav(read(name)))
        return str(file)

    return {
        who: {"enroll": [write(name) for name in known], "said": write(said)}
        for who, (known, said) in people.items()
    }


def run_client(installed: Path, server: ServerProcess, version: str, people: Any) -> Any:
    """What the client saw, with a new key."""
    recordings = installed / f"{version}.json"
    recordings.write_text(json.dumps(people))
    key = server.new_key(name=f"SDK {next(_numbers)}")
    url = f"https://localhost:{server.port}"
    done = subprocess.run(
        ["node", "client.js", version, url, key, str(recordings)],
        cwd=installed,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.state / "http.pem")},
        check=False,
        timeout=LONGEST_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["2.0", "2021-09-05"])
@pytest.mark.parametrize("voices", ["made", "real"])
def test_the_sdk_needs_nothing_but_another_endpoint(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    installed: Path,
    server: ServerProcess,
    version: str,
    voices: str,
) -> None:
    if voices == "made":
        people = made_voices(tmp_path)
    else:
        people = real_voices(tmp_path, request.getfixturevalue("speech_folder"))
    seen = run_client(installed, server, version, people)

    enrolling, enrolled = "EnrollingVoiceProfile", "EnrolledVoiceProfile"
    assert seen["phrases"] == enrolling
    assert seen["enrolled"] == [enrolling, enrolling, enrolled]
    assert seen["accepted"]["reason"] == "RecognizedSpeaker"
    assert 0.5 <= seen["accepted"]["score"] <= 1.0
    assert seen["rejected"]["reason"] == "NoMatch"
    assert 0.0 <= seen["rejected"]["score"] < 0.5
    assert seen["notRepeated"] == "Canceled"
    assert seen["enrolledFree"] == [enrolled]
    assert seen["acceptedFree"]["reason"] == "RecognizedSpeaker"
    assert seen["identified"] == [0, 1, -1]
    assert seen["lastIdentified"] == NOBODY
    assert seen["listed"] == [enrolled, enrolled]
    assert seen["before"] == [enrolled, 3]
    assert seen["reset"] == "ResetVoiceProfile"
    assert seen["after"] == [enrolling, 0]
    assert seen["deleted"] == ["DeletedVoiceProfile"] * 4
    assert seen["gone"][0] == "Canceled"
    assert "SpeakerInvalid" in seen["gone"][1]
    assert "401" in seen["wrongKey"]
