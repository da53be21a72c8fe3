"""`enroll`, `verify` and `identify` on recordings: the demo's voices, and files that are bad."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge.cli.main import main
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.store import ProfileStore
from edge.types import SAMPLE_RATE, Profile

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDINGS = demo_directory()
ADA = [str(RECORDINGS / f"ada_enroll_{number}.flac") for number in (1, 2, 3)]
ROBIN = [str(RECORDINGS / f"robin_enroll_{number}.flac") for number in (1, 2, 3)]
ADA_RIGHT = RECORDINGS / "ada_right_phrase.flac"

Capture = pytest.CaptureFixture[str]


def _config(folder: Path) -> Path:
    file = folder / "config.yaml"
    file.write_text("state_directory: state\nenrollment: {voice_seconds: 4}\n")
    return file


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """The real models, opened once for all of these tests and not for each command."""
    opened = Engine.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "open", lambda _config: opened)
        yield


@pytest.fixture(scope="module")
def two_enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory's parent in which Ada and Robin are enrolled, by the command itself."""
    folder = tmp_path_factory.mktemp("enrolled")
    config = str(_config(folder))
    for name, files in (("Ada", ADA), ("Robin", ROBIN)):
        assert main(["--config", config, "enroll", name, "--phrase", f"{name}'s", *files]) == 0
    return folder


@pytest.fixture
def enrolled(two_enrolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProfileStore:
    """A copy of it for one test, configured."""
    shutil.copytree(two_enrolled / "state", tmp_path / "state")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(_config(tmp_path)))
    return ProfileStore(tmp_path / "state" / "signatures.sqlite")


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProfileStore:
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(_config(tmp_path)))
    return ProfileStore(tmp_path / "state" / "signatures.sqlite")


def as_json(capture: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    capture.readouterr()
    code = main([*arguments, "--json"])
    (line,) = capture.readouterr().out.splitlines()
    value: dict[str, Any] = json.loads(line)
    return code, value


def marks(profile: Profile) -> list[float]:
    """What tells one signature from another."""
    return [sample.created_at for sample in profile.samples]


def test_three_repetitions_enroll(nobody: ProfileStore, capsys: Capture) -> None:
    assert main(["enroll", "Ada", "--phrase", "open the door", *ADA]) == 0
    assert capsys.readouterr().out == "Ada is enrolled.\n"
    profile = nobody.get("ada")
    assert (profile.status.value, profile.phrase, len(profile.samples)) == (
        "enrolled",
        "open the door",
        3,
    )


def test_enrollment_is_continued(nobody: ProfileStore, capsys: Capture) -> None:
    code, value = as_json(capsys, "enroll", "Ada", "--phrase", "open", ADA[0])
    assert (code, value["profile"]["status"], value["profile"]["remaining"]) == (0, "enrolling", 2)
    assert main(["verify", "Ada", str(ADA_RIGHT)]) == 2
    assert "not enrolled yet" in capsys.readouterr().err
    assert main(["enroll", "ADA", "--phrase", "another", ADA[1]]) == 2
    assert "Ada was begun with another phrase (open): omit --phrase" in capsys.readouterr().err
    assert main(["enroll", "ADA", "--voice", ADA[1]]) == 2
    assert "Ada is enrolled by passphrase: omit --voice" in capsys.readouterr().err
    assert len(nobody.get("Ada").samples) == 1
    assert main(["enroll", "ADA", *ADA[1:]]) == 0
    assert nobody.get("Ada").status.value == "enrolled"


def test_an_enrollment_is_audited(nobody: ProfileStore, capsys: Capture) -> None:
    as_json(capsys, "enroll", "Ada", ADA[0])
    as_json(capsys, "enroll", "Ada", ROBIN[0])
    as_json(capsys, "enroll", "Ada", *ADA[1:])
    code, value = as_json(capsys, "audit", "show", "--person", "Ada")
    assert code == 0
    assert [entry["kind"] for entry in value["entries"]] == ["enrollment", "enrollment"]
    assert [entry["detail"]["complete"] for entry in value["entries"]] == [False, True]
    assert {entry["profile"] for entry in value["entries"]} == {nobody.get("Ada").id}
    assert as_json(capsys, "audit", "verify")[1]["intact"]


def test_repetition_that_does_not_fit_is_refused(nobody: ProfileStore, capsys: Capture) -> None:
    other = str(RECORDINGS / "ada_wrong_phrase.flac")
    code, value = as_json(capsys, "enroll", "Ada", ADA[0], other, ROBIN[0], ADA[1])
    assert code == 2
    assert [each["accepted"] for each in value["utterances"]] == [True, False, False, True]
    assert value["utterances"][1]["reason"] == "wrong_phrase"
    assert value["utterances"][2]["reason"] in ("wrong_phrase", "unknown_speaker")
    assert len(nobody.get("Ada").samples) == 2
    assert main(["enroll", "Ada", other]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"edge-voice: refused: [^\n]*not the phrase[^\n]*\n", error)


def test_free_speech_is_counted(nobody: ProfileStore, capsys: Capture) -> None:
    code, value = as_json(capsys, "enroll", "Ada", "--voice", *ADA, str(ADA_RIGHT))
    assert code == 0
    assert value["profile"]["kind"] == "voice"
    assert value["profile"]["unit"] == "seconds"
    assert nobody.get("Ada").samples[0].phrase_embedding is None
    code, value = as_json(capsys, "enroll", "Robin", "--voice", "--short", ROBIN[0])
    assert (code, value["profile"]["status"]) == (0, "enrolled")


def test_enrolled_is_replaced_only_when_asked_and_complete(
    enrolled: ProfileStore, capsys: Capture
) -> None:
    old = enrolled.get("Ada")
    assert main(["enroll", "Ada", *ROBIN]) == 2
    assert "Ada is already enrolled: add --again to replace the signature" in (
        capsys.readouterr().err
    )
    assert main(["enroll", "Ada", "--again", *ROBIN[:2]]) == 2
    shown = capsys.readouterr().out
    assert "Ada keeps the old signature: the new one needs 1 more repetition." in shown
    assert main(["enroll", "Ada", "--again", ROBIN[0], ADA[0], ROBIN[1]]) == 2
    assert marks(enrolled.get("Ada")) == marks(old)
    assert main(["enroll", "Ada", "--again", "--phrase", "new", *ROBIN]) == 0
    new = enrolled.get("Ada")
    assert new.id == old.id
    assert (new.phrase, new.status.value) == ("new", "enrolled")
    assert not set(marks(new)) & set(marks(old))


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize(
    ("name", "file", "code", "reason"),
    [
        ("Ada", "ada_right_phrase", 0, "recognized"),
        ("Ada", "ada_wrong_phrase", 1, "wrong_phrase"),
        ("Ada", "stranger_adas_phrase", 1, "unknown_speaker"),
        ("Ada", "stranger_other_phrase", 1, "no_match"),
        ("Robin", "robin_right_phrase", 0, "recognized"),
        ("Robin", "ada_right_phrase", 1, "no_match"),
    ],
)
def test_verify(capsys: Capture, name: str, file: str, code: int, reason: str) -> None:
    path = str(RECORDINGS / f"{file}.flac")
    found, value = as_json(capsys, "verify", name, path)
    assert (found, value["reason"]) == (code, reason)
    assert value["confidence"] in ("low", "normal", "high")
    assert main(["verify", name, path]) == code
    shown = capsys.readouterr().out
    assert shown.startswith("Accepted: " if code == 0 else "Rejected: ")
    assert f"at least {value['speaker']['threshold']:.1f}" in shown
    assert f"distance {value['phrase']['distance']:.2f}" in shown


@pytest.mark.usefixtures("enrolled")
def test_verify_the_voice_alone(capsys: Capture) -> None:
    wrong_phrase = str(RECORDINGS / "ada_wrong_phrase.flac")
    code, value = as_json(capsys, "verify", "Ada", wrong_phrase, "--voice")
    assert (code, value["phrase"]) == (0, None)
    code, value = as_json(capsys, "verify", "Robin", wrong_phrase, "--voice")
    assert (code, value["reason"]) == (1, "unknown_speaker")


@pytest.mark.usefixtures("enrolled")
def test_identify(capsys: Capture) -> None:
    wrong_phrase = str(RECORDINGS / "ada_wrong_phrase.flac")
    code, value = as_json(capsys, "identify", wrong_phrase)
    assert (code, value["identified"]["name"]) == (0, "Ada")
    assert [match["name"] for match in value["ranking"]] == ["Ada", "Robin"]
    code, value = as_json(capsys, "identify", wrong_phrase, "--group", "robin")
    assert (code, value["identified"]) == (1, None)
    code, value = as_json(capsys, "identify", str(RECORDINGS / "stranger_other_phrase.flac"))
    assert code == 1
    assert main(["identify", wrong_phrase]) == 0
    assert "Accepted: this is Ada." in capsys.readouterr().out
    assert main(["identify", wrong_phrase, "--group", "Ada,Nobody"]) == 2
    assert "no profile 'Nobody'" in capsys.readouterr().err


@pytest.mark.usefixtures("enrolled")
def test_who_speaks_when(capsys: Capture, tmp_path: Path) -> None:
    names = ("ada_right_phrase", "stranger_other_phrase", "robin_near_phrase")
    sounds = [soundfile.read(RECORDINGS / f"{name}.flac", dtype="float32")[0] for name in names]
    long, rttm = tmp_path / "evening.wav", tmp_path / "evening.rttm"
    soundfile.write(long, np.concatenate(sounds), 16_000)
    assert main(["identify", str(long), "--rttm", str(rttm)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1].split(" (")[0] for line in lines[:-1]] == [
        "Ada", "nobody known", "Robin"
    ]  # fmt: skip
    assert lines[-1].startswith("In all: ")
    assert [line.split()[7] for line in rttm.read_text().splitlines()] == [
        "Ada", "unknown", "Robin"
    ]  # fmt: skip
    assert main(["identify", str(long), "--turns", "--group", "robin", "--json"]) == 0
    found = [json.loads(line)["identified"] for line in capsys.readouterr().out.splitlines()]
    assert [turn and turn["name"] for turn in found] == [None, None, "Robin"]
    stranger = str(RECORDINGS / "stranger_other_phrase.flac")
    assert main(["identify", stranger, "--turns"]) == 1
    assert main(["identify", stranger, "--rttm", str(tmp_path / "no" / "x")]) == 2
    assert "No such file or directory; name another file" in capsys.readouterr().err


def test_identify_leaves_out_who_is_not_ready(enrolled: ProfileStore, capsys: Capture) -> None:
    assert main(["enroll", "Grace", ADA[0]]) == 0
    needed = "Grace still needs 2 more repetitions. Run the command again to continue."
    assert needed in capsys.readouterr().out
    robin = enrolled.get("Robin")
    enrolled.replace_samples(robin.id, robin.samples, "5" * 64, robin.phrase_model)
    capsys.readouterr()
    assert main(["identify", str(ADA_RIGHT)]) == 0
    shown = capsys.readouterr()
    assert "Ada" in shown.out
    assert "Robin" not in shown.out
    assert "Grace skipped: not fully enrolled" in shown.err
    assert "Robin skipped: enrolled with another model" in shown.err
    assert main(["identify", str(ADA_RIGHT), "--group", "robin"]) == 2
    assert main(["verify", "Robin", str(ADA_RIGHT)]) == 2
    assert main(["enroll", "Robin", "--again", *ROBIN]) == 0


def test_identify_among_nobody(nobody: ProfileStore, capsys: Capture) -> None:
    assert nobody.count() == 0
    assert main(["identify", str(ADA_RIGHT)]) == 2
    assert "enroll someone first" in capsys.readouterr().err


def _speech() -> np.ndarray[Any, Any]:
    samples, rate = soundfile.read(ADA[2], dtype="float32")
    assert rate == SAMPLE_RATE
    return np.asarray(samples)


def _write(path: Path, samples: object, rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def _repeated(factor: int) -> np.ndarray[Any, Any]:
    return np.repeat(_speech(), factor)


def _truncated(path: Path) -> None:
    content = _write(path, _speech()).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _noise(path: Path) -> None:
    random = np.random.default_rng(1)
    _write(path, np.sign(random.standard_normal(3 * SAMPLE_RATE)).astype(np.float32))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (_truncated, "truncated"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "zero length": (lambda path: _write(path, np.zeros(0, np.float32)), "zero length|no sound"),
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "directory"),
    "text": (lambda path: path.write_text("hello"), "WAV"),
    "another format": (
        lambda path: soundfile.write(path, _speech(), SAMPLE_RATE, format="OGG"),
        "WAV",
    ),
    "all zeros": (lambda path: _write(path, np.zeros(3 * SAMPLE_RATE)), "no speech"),
    "full-scale noise": (_noise, "speech|noisy|overdriven"),
    "ten minutes": (lambda path: _write(path, np.zeros(600 * SAMPLE_RATE)), "600 s"),
    "garbage": (lambda path: path.write_bytes(b"RIFF" + bytes(range(256)) * 20), "truncated|WAV"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_recording_is_one_line_and_costs_nothing(
    enrolled: ProfileStore, tmp_path: Path, capsys: Capture, what: str
) -> None:
    make, message = BAD[what]
    file = tmp_path / "bad one.wav"
    make(file)
    assert main(["enroll", "Grace", ADA[0]]) == 0
    before = {profile.name: marks(profile) for profile in enrolled.list()}
    capsys.readouterr()

    for name, option in (("Grace", []), ("Robin", ["--again"]), ("Newcomer", [])):
        assert main(["enroll", name, *option, str(file)]) == 2
        error = capsys.readouterr().err
        assert re.fullmatch(r"edge-voice: refused: [^\n]*bad one\.wav: [^\n]+\n", error)
        assert re.search(message, error)
    judged = what in ("all zeros", "full-scale noise")
    assert main(["verify", "Ada", str(file)]) == (1 if judged else 2)
    shown = capsys.readouterr()
    assert re.search(message, shown.out if judged else shown.err)
    assert main(["identify", str(file)]) == (1 if judged else 2)
    assert "Traceback" not in capsys.readouterr().err

    assert {profile.name: marks(profile) for profile in enrolled.list()} == before
    assert main(["enroll", "Grace", *ADA[1:]]) == 0


UNUSUAL: dict[str, Callable[[Path], object]] = {
    "stereo": lambda path: _write(path, np.stack([_speech(), _speech()], axis=1)),
    "96 kHz": lambda path: _write(path, _repeated(6), 96_000),
    "24 bit": lambda path: _write(path, _speech(), subtype="PCM_24"),
    "float": lambda path: _write(path, _speech(), subtype="FLOAT"),
}


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_recording_is_understood(tmp_path: Path, capsys: Capture, what: str) -> None:
    UNUSUAL[what](tmp_path / "unusual.wav")
    code, value = as_json(capsys, "verify", "Ada", str(tmp_path / "unusual.wav"))
    assert (code, value["reason"]) == (0, "recognized")


@pytest.mark.usefixtures("enrolled")
def test_narrowband_recording_is_judged_with_a_warning(tmp_path: Path, capsys: Capture) -> None:
    file = _write(tmp_path / "phone.wav", _speech()[::2], 8000)
    assert main(["verify", "Ada", str(file)]) in (0, 1)
    assert "8000 samples per second" in capsys.readouterr().err


def _pipe(config: Path, content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", "--config", str(config), *arguments],
        cwd=REPOSITORY,
        input=content,
        capture_output=True,
        check=False,
    )


@pytest.mark.usefixtures("enrolled")
def test_standard_input(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    content = io.BytesIO()
    soundfile.write(content, soundfile.read(ADA_RIGHT)[0], SAMPLE_RATE, format="WAV")
    done = _pipe(config, content.getvalue(), "verify", "Ada", "-")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Accepted: this is Ada")
    assert _pipe(config, content.getvalue(), "verify", "Robin", "-").returncode == 1
    done = _pipe(config, b"", "verify", "Ada", "-")
    assert done.returncode == 2
    assert re.fullmatch(rb"edge-voice: error: standard input: [^\n]+\n", done.stderr)
