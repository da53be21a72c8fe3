"""Guided enrollment from the first word to the trial: what is said, and what is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cli.main import main
from edge.errors import MicrophoneError
from edge.recognition import Engine
from edge.store import ProfileStore
from edge.types import SAMPLE_RATE, FloatArray
from tests.integration.scripted_microphone import (
    Part,
    ScriptedMicrophone,
    hear_by_script,
    quiet,
    said,
    said_anew,
    script,
    spoken,
    write,
)
from tests.unit.voices import with_a_pause

Capture = pytest.CaptureFixture[str]
Hear = Callable[..., None]

ADA = ("ada_enroll_1", "ada_enroll_2", "ada_enroll_3")
ROBIN = ("robin_enroll_1", "robin_enroll_2", "robin_enroll_3")


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """The real models, opened once for all of these tests and not for each command."""
    opened = Engine.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "open", lambda _config: opened)
        yield


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text("state_directory: state\nenrollment: {voice_seconds: 4}\n")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
    return file


@pytest.fixture
def hear(monkeypatch: pytest.MonkeyPatch) -> Hear:
    """Sets what the microphone hears: names, seconds of quiet, samples, exceptions."""
    hear_by_script(monkeypatch)

    def heard(*parts: str | Part) -> None:
        monkeypatch.setattr(ScriptedMicrophone, "script", script(parts))

    return heard


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(tmp_path / "state" / "signatures.sqlite")


def files(names: Sequence[str], folder: Path) -> list[str]:
    return [write(folder / f"{name}.wav", said(name)) for name in names]


def enroll(*arguments: str, capture: Capture) -> tuple[int, str, str]:
    """Exit code, result and what was said on the way, of `edge-voice enroll`."""
    capture.readouterr()
    code = main(["enroll", *arguments, "--wait", "6"])
    shown = capture.readouterr()
    return code, shown.out, shown.err


def enroll_json(*arguments: str, capture: Capture) -> tuple[int, dict[str, Any]]:
    code, out, _ = enroll(*arguments, "--json", capture=capture)
    value: dict[str, Any] = json.loads(out)
    return code, value


def in_noise(samples: FloatArray, level: float) -> FloatArray:
    return (samples + quiet(len(samples) / SAMPLE_RATE, level)[: len(samples)]).astype(np.float32)


def test_a_room_three_repetitions_and_a_trial(hear: Hear, capsys: Capture) -> None:
    hear(2.0, *ADA, "ada_right_phrase")
    code, out, err = enroll("Ada", "--phrase", "my phrase", capture=capsys)
    assert code == 0
    lines = [line for line in err.splitlines() if not line.startswith("edge-voice: WARNING")]
    assert lines[:5] == [
        "Microphone: a microphone",
        "Measuring the room: please be silent for 2 seconds.",
        "The room is quiet enough (-70 dB).",
        "Ada, say “my phrase” 3 times, with a pause after each.",
        "0 of 3",
    ]
    taken = r"Accepted: \d\.\d s of speech at -\d\d dB, \d\d dB above the noise\."
    assert len(re.findall(taken, err)) == 3
    assert err.index("2 of 3") < err.index("Now in a hurry, as on a busy day: who is known by calm")
    assert err.count("Now in a hurry") == 1
    assert "Now a trial: say it once more, as at the door (a running service may" in err
    shown = out.splitlines()
    assert shown[:2] == ["Ada is enrolled.", "Trial: it opens, by a wide margin."]
    for line, name in zip(shown[2:], ("voice ", "phrase")):
        assert re.fullmatch(rf"  {name}  score \d+\.\d, at least -?\d+\.\d: \d+\.\d above", line)


def test_all_of_it_for_programs(hear: Hear, capsys: Capture) -> None:
    hear(2.0, "ada_enroll_1", "ada_wrong_phrase", *ADA[1:], "ada_right_phrase")
    code, value = enroll_json("Ada", capture=capsys)
    assert code == 0
    assert set(value) == {
        "profile", "stored", "microphone", "noise", "utterances", "trial", "same_voice",
    }  # fmt: skip
    assert value["same_voice"] == []
    assert value["microphone"] == "a microphone"
    assert value["noise"] == {
        "level_dbfs": pytest.approx(-70.4, abs=0.5),
        "verdict": "quiet",
        "speech_s": 0.0,
    }
    assert [each["reason"] for each in value["utterances"]] == [None, "wrong_phrase", None, None]
    checks = value["utterances"][0]["checks"]
    assert checks["syllables"] >= 6
    assert checks["cut_off"] is None
    assert {"level_dbfs", "noise_dbfs", "snr_db", "clipped_fraction", "net_speech_s"} < set(checks)
    trial = value["trial"]
    assert (trial["accepted"], trial["reason"], trial["confidence"]) == (True, "recognized", "high")
    voice, phrase = trial["voice"], trial["phrase"]
    assert trial["voice_margin"] == pytest.approx(voice["score"] - voice["threshold"], abs=2e-4)
    assert trial["phrase_margin"] == pytest.approx(phrase["score"] - phrase["threshold"], abs=2e-4)


def test_the_room(hear: Hear, capsys: Capture) -> None:
    loud = quiet(2.1, 0.05)
    hear("ada_wrong_phrase", "robin_enroll_1", 5.0)
    err = enroll("Ada", capture=capsys)[2]
    assert err.count("Someone spoke: once more, in silence.") == 2
    assert "The room is quiet" in err
    hear(quiet(2.1, 0.01))
    err = enroll("Ada", capture=capsys)[2]
    assert "The room is noisy (-40 dB): move closer, switch off fans, or wait for a" in err
    hear(np.zeros(3 * SAMPLE_RATE, np.float32))
    err = enroll("Ada", capture=capsys)[2]
    assert "No sound at all: fine if this microphone has a noise gate, else check" in err
    hear(loud, quiet(4.1), 3.0)
    err = enroll("Ada", capture=capsys)[2]
    assert "Far too noisy (-26 dB): switch off fans, close the window, or lower" in err
    assert "Measuring again in 4 seconds." in err
    assert "The room is quiet enough (-70 dB)." in err
    assert "Continuing anyway" not in err
    hear(quiet(20.0, 0.05))
    err = enroll("Ada", capture=capsys)[2]
    assert err.count("Far too noisy") == 3
    assert "Continuing anyway; speech lost in the noise will be rejected." in err


def _clipped(samples: FloatArray) -> FloatArray:
    overdriven: FloatArray = np.clip(samples * 60.0, -1.0, 1.0).astype(np.float32)
    return overdriven


def test_what_is_wrong_with_a_repetition_and_what_to_do(hear: Hear, capsys: Capture) -> None:
    ada = said("ada_enroll_1")
    start = np.flatnonzero(np.abs(ada) > 0.03)[0]
    begins = ada[start - 8000 : start + 10500]
    hear(
        2.016,
        np.concatenate([spoken("ada_enroll_1"), quiet(1.5)]),
        np.concatenate([quiet(1.0), 0.007 * ada]).astype(np.float32),
        _clipped(ada),
        in_noise(np.concatenate([quiet(3.0), ada, quiet(1.0)]), 0.036),
        quiet(3.0),
        np.concatenate([begins, quiet(1.5)]),
        ada,
        1.0,
        ada,
        "ada_wrong_phrase",
        "robin_enroll_1",
    )
    code, _, err = enroll("Ada", capture=capsys)
    assert code == 2
    said_so = [line for line in err.splitlines() if line.startswith(("Rejected", "Accepted"))]
    expected = (
        "Rejected: cut off at the start: wait half a second before",
        "Rejected: too quiet (-6",
        "Rejected: the recording is overdriven (",
        "Rejected: too noisy (speech stands",
        "Rejected: too short (about 2 syllables heard, 4 or more needed): choose a longer",
        "Accepted: ",
        "Rejected: too similar to an earlier repetition to be spoken anew: say it again",
        "Rejected: not the phrase of the earlier repetitions (distance",
        "Rejected: not the voice of what was enrolled before (similarity",
    )
    assert len(said_so) == len(expected), said_so
    for line, beginning in zip(said_so, expected):
        assert line.startswith(beginning), (line, beginning)
    assert "progress saved (1 of 3): run the command again to continue" in err
    assert "nobody spoke into 'a microphone' for 6 s: come closer" in err


def test_a_pause_in_the_phrase_makes_no_two_of_it(hear: Hear, capsys: Capture) -> None:
    others = ("ada_enroll_1", "ada_enroll_2")
    hear(2.0, with_a_pause("ada_enroll_3", 0.7), *others, with_a_pause("ada_right_phrase", 0.7))
    code, value = enroll_json("Ada", capture=capsys)
    assert code == 0
    assert [each["accepted"] for each in value["utterances"]] == [True, True, True]
    assert value["trial"]["confidence"] == "high"


def test_half_a_phrase_is_asked_about(hear: Hear, capsys: Capture) -> None:
    ada = said("ada_enroll_3")
    start = np.flatnonzero(np.abs(ada) > 0.03)[0]
    half = np.concatenate((ada[: start + 13_000], quiet(1.5)))
    hear(2.0, half, "ada_enroll_1", "ada_enroll_2")
    err = enroll("Ada", capture=capsys)[2]
    asked = "one second: was that all? If it was only a part of the phrase, start over with --again"
    assert asked in " ".join(err.split())
    assert re.search(
        r"Rejected: 2\.\d s of speech, 0\.\d s in a repetition before: say all of", err
    )
    assert "If the first repetition was the bad one, press Ctrl-C and start over with" in err


def test_too_long_too_short_and_lost(hear: Hear, tmp_path: Path, capsys: Capture) -> None:
    ada = said("ada_enroll_1")
    start = np.flatnonzero(np.abs(ada) > 0.03)[0]
    cough = np.concatenate([ada[start - 8000 : start + 2500], quiet(1.5)])
    short = np.concatenate([ada[start - 8000 : start + 6500], quiet(1.5)])
    hear(2.0, cough, short, ada[:24000], 480, 2.0)
    err = enroll("Ada", capture=capsys)[2]
    assert "Too short to be speech: ignored." in err
    assert "Rejected: too short (0.4 s of speech, at least 0.6 needed): choose a longer" in err
    assert "Some sound was lost: say it again." in err
    long = write(tmp_path / "long.wav", np.tile(ada, 6))
    code, out, err = enroll("Ada", long, capture=capsys)
    assert (code, out) == (2, "Ada is not enrolled: nothing was accepted.\n")
    assert "too long: say the phrase alone, then pause" in err


def test_what_could_be_better_is_told(hear: Hear, capsys: Capture) -> None:
    ada = said("ada_enroll_1")
    start = np.flatnonzero(np.abs(ada) > 0.03)[0]
    hear(2.0, (0.04 * ada).astype(np.float32), 1.0)
    err = enroll("Ada", capture=capsys)[2]
    assert re.search(r"But rather quiet \(-5\d dB\): speak louder or closer\.", err)
    hear(2.0, in_noise(ada, 0.02), quiet(1.0, 0.02))
    err = enroll("Robin", capture=capsys)[2]
    assert re.search(r"But rather noisy \(speech \d+ dB above the noise, better 15\): wait", err)
    hear(2.0, ada[: start + 13000], 1.0)
    err = enroll("Grace", capture=capsys)[2]
    assert "But rather short: more than 4 syllables are safer." in err


def test_from_files(store: ProfileStore, tmp_path: Path, capsys: Capture) -> None:
    three = files(ADA, tmp_path)
    cut = write(tmp_path / "cut.wav", said("ada_enroll_1")[: -round(1.1 * SAMPLE_RATE)])
    last = files(["ada_right_phrase"], tmp_path)[0]
    code, _, err = enroll("Ada", cut, capture=capsys)
    assert code == 2
    assert "cut off at the end: record half a second longer" in err
    code, out, _ = enroll("Ada", *three, "--trial", last, capture=capsys)
    assert code == 0
    assert out.startswith("Ada is enrolled.\nTrial: it opens, by a wide margin.\n")
    assert len(store.get("Ada").samples) == 3
    faint = write(tmp_path / "faint.wav", 0.05 * said("robin_enroll_1"))
    code, value = enroll_json("Robin", faint, str(tmp_path / "none.wav"), capture=capsys)
    assert code == 2
    assert value["utterances"][0]["warnings"] == ["quiet"]
    assert value["utterances"][1] == {
        "source": str(tmp_path / "none.wav"),
        "accepted": False,
        "reason": "unreadable",
        "message": value["utterances"][1]["message"],
        "checks": None,
        "warnings": [],
    }
    assert (value["microphone"], value["trial"]) == (None, None)
    assert value["noise"]["verdict"] == "quiet"


def test_one_more_repetition_at_another_microphone(
    hear: Hear, store: ProfileStore, tmp_path: Path, capsys: Capture
) -> None:
    hear(2.0, *ADA)
    assert enroll("Ada", "--no-trial", "--device", "desk", capture=capsys)[0] == 0
    assert store.get("Ada").microphones == ("microphone desk",)
    hear(2.0, "ada_right_phrase")
    code, out, err = enroll("Ada", "--more", "--no-trial", "--device", "hall", capture=capsys)
    assert (code, out) == (0, "Ada is enrolled.\n")
    assert (
        "Enrolled so far with another microphone (microphone desk): if repetitions are rejected"
        " here, enroll with --again."
    ) in " ".join(err.split())
    ada = store.get("Ada")
    assert (len(ada.enrolled), ada.microphones) == (4, ("microphone desk", "microphone hall"))
    three = files(ADA, tmp_path)
    assert enroll("Ada", "--again", *three, capture=capsys)[0] == 0
    assert store.get("Ada").microphones == ("recording",)


def test_a_voice_that_has_another_name_already(
    store: ProfileStore, tmp_path: Path, capsys: Capture
) -> None:
    three = files(ADA, tmp_path)
    assert enroll("Robin", *files(ROBIN, tmp_path), capture=capsys)[0] == 0
    code, _, err = enroll("Ada", *three, capture=capsys)
    assert (code, "has the voice of" in err) == (0, False)
    code, out, err = enroll("Countess", *three, capture=capsys)
    assert (code, out) == (0, "Countess is enrolled.\n")
    assert " ".join(err.split()).endswith(
        "Countess has the voice of Ada: if that is one person, delete one of the two, since either"
        " may open"
    )
    assert enroll_json("Countess", "--again", *three, capture=capsys)[1]["same_voice"] == ["Ada"]
    assert len(store.list()) == 3


def test_whoever_waits_to_be_confirmed(
    store: ProfileStore, tmp_path: Path, capsys: Capture
) -> None:
    three = files(ADA, tmp_path)
    assert enroll("Ada", *three, capture=capsys)[0] == 0
    ada = store.get("Ada")
    store.delete("Ada")
    store.create(
        "Ada", ada.kind, required=3, samples=ada.samples, speaker_model=ada.speaker_model,
        phrase_model=ada.phrase_model, confirmed=False,
    )  # fmt: skip
    code, _, err = enroll("Ada", *three, capture=capsys)
    assert code == 2
    assert (
        "Ada waits to be confirmed: run 'edge-voice profiles confirm', or add --again to replace"
        " the signature" in " ".join(err.split())
    )
    for command in (["verify", "Ada", three[0]], ["enroll", "Ada", "--digits"]):
        assert main(command) == 2
        assert (
            "Ada was enrolled over MQTT and is not confirmed yet: run edge-voice profiles confirm"
            " 'Ada'" in " ".join(capsys.readouterr().err.split())
        )
    assert main(["identify", three[0]]) == 2
    assert "Ada skipped: not confirmed" in capsys.readouterr().err
    assert main(["enroll", "Ada", "--duress", *three]) == 2
    assert "Ada has no enrolled passphrase" in capsys.readouterr().err
    assert enroll("Ada", "--again", *three, capture=capsys)[0] == 0
    assert store.get("Ada").status.value == "enrolled"


def test_a_trial_that_would_not_open_is_1(
    store: ProfileStore, tmp_path: Path, capsys: Capture
) -> None:
    ada, robin = files(ADA, tmp_path), files(ROBIN, tmp_path)
    assert enroll("Robin", *robin, capture=capsys)[0] == 0

    def tried(last: str) -> str:
        again = ["--again"] if store.count() == 2 else []
        code, out, _ = enroll("Ada", *ada, *again, "--trial", last, capture=capsys)
        assert code == 1
        first, told = out.splitlines()[:2]
        assert first == "Ada is enrolled."
        return told

    wrong = files(["ada_wrong_phrase", "stranger_adas_phrase", "stranger_other_phrase"], tmp_path)
    assert tried(wrong[0]) == (
        "Trial: it would not open: the voice matches, the phrase does not; say exactly the"
        " enrolled words."
    )
    assert tried(wrong[1]) == (
        "Trial: it would not open: the phrase matches, the voice does not; speak as you did"
        " before, from the same place."
    )
    assert tried(wrong[2]) == (
        "Trial: it would not open: neither voice nor phrase match; if you said the right phrase,"
        " enroll again in a quieter place."
    )
    assert tried(ada[1]) == (
        "Trial: it would not open: this recording was heard before; say it again."
    )
    assert tried(files(["robin_right_phrase"], tmp_path)[0]) == (
        "Trial: it would open for Robin, not for Ada: they are too similar, enroll again with"
        " another phrase."
    )
    silence = write(tmp_path / "silence.wav", quiet(2.0))
    assert tried(silence) == (
        "Trial: it cannot be judged: no speech was found: speak after the recording starts."
    )
    code, _, err = enroll(
        "Ada", *ada, "--again", "--trial", str(tmp_path / "none.wav"), capture=capsys
    )
    assert code == 2
    assert "Ada is enrolled; the trial was skipped" in err


def test_a_trial_is_tried_again_and_can_be_left_out(
    hear: Hear, store: ProfileStore, capsys: Capture
) -> None:
    hear(2.0, *ADA, "ada_wrong_phrase", "ada_right_phrase")
    code, out, err = enroll("Ada", capture=capsys)
    assert code == 0
    assert "Not yet: it would not open: the voice matches, the phrase does not; say" in err
    assert "enrolled words. Try again." in err
    assert "Trial: it opens" in out
    again = ("Ada", "--again")
    hear(2.0, *ADA)
    code, out, err = enroll(*again, capture=capsys)
    assert (code, out) == (0, "Ada is enrolled.\n")
    assert "Nobody spoke: trial skipped." in err
    hear(2.0, *ADA, 1.0, MicrophoneError("it has gone away; check its plug"))
    code, out, err = enroll(*again, capture=capsys)
    assert (code, out) == (0, "Ada is enrolled.\n")
    assert "Trial skipped: it has gone away; check its plug." in err
    hear(2.0, *ADA)
    code, _, err = enroll(*again, "--no-trial", capture=capsys)
    assert code == 0
    assert "trial" not in err
    hear(2.0, *ROBIN)
    assert enroll("Robin", "--no-trial", capture=capsys)[0] == 0
    assert len(store.list()) == 2


def test_ctrl_c_keeps_what_was_taken_and_says_so(
    hear: Hear, store: ProfileStore, capsys: Capture
) -> None:
    stop = KeyboardInterrupt()
    for parts, line in (
        ((1.0, stop), "nothing was enrolled"),
        (
            (2.0, "ada_enroll_1", 1.0, stop),
            "progress saved (1 of 3): run the command again to continue",
        ),
        ((2.0, *ADA[1:], 1.0, stop), "Ada is enrolled; the trial was skipped"),
    ):
        hear(*parts)
        code, out, err = enroll("Ada", capture=capsys)
        assert (code, out) == (130, "")
        assert line in err
    old = [sample.created_at for sample in store.get("Ada").samples]
    hear(2.0, *ADA[:2], 1.0, stop)
    assert "Ada keeps the old signature" in enroll("Ada", "--again", capture=capsys)[2]
    assert [sample.created_at for sample in store.get("Ada").samples] == old


def test_the_voice_alone(hear: Hear, capsys: Capture) -> None:
    hear(2.0, *ADA, "ada_wrong_phrase")
    code, out, err = enroll("Ada", "--voice", capture=capsys)
    assert code == 0
    assert "Ada, talk about anything, and pause now and then." in err
    assert "0.0 of 4 seconds" in err
    assert "Now a trial: say a sentence." in err
    assert "A voice alone is recognized, and opens nothing" in out
    _, _, trial = out.partition("Trial: this is Ada, ")
    assert trial
    assert "phrase" not in trial
    hear(2.0, *ROBIN[:2], *["stranger_other_phrase"] * 3)
    code, out, _ = enroll("Robin", "--voice", capture=capsys)
    assert code == 1
    assert "Trial: the voice does not match: speak as you did before, from the same" in out


def test_a_duress_phrase(hear: Hear, tmp_path: Path, capsys: Capture) -> None:
    assert enroll("Ada", *files(ADA, tmp_path), capture=capsys)[0] == 0
    hear(2.0, "ada_enroll_1", "robin_enroll_1")
    err = enroll("Ada", "--duress", capture=capsys)[2]
    assert "Ada (duress), say your duress phrase 3 times" in err
    assert "Rejected: too similar to the phrase of Ada (distance" in err
    assert "Rejected: not the voice of Ada (similarity" in err
    assert "the same person must say both phrases." in err
    again = [
        said_anew("ada_wrong_phrase", *paces) for paces in ((1.05, 0.96, 1.04), (0.92, 1.04, 0.93))
    ]
    hear(2.0, "ada_wrong_phrase", *again)
    code, out, err = enroll("Ada", "--duress", capture=capsys)
    assert (code, out) == (0, "Ada (duress) is enrolled.\n"), err
    assert "No trial for a duress phrase: a running service would raise the alarm." in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trial", "x.wav"], "--trial FILE needs files: at the microphone the trial is"),
        (["--rounds", "3"], "--rounds and --files-from need --digits"),
        (["--short"], "--short needs --voice: a passphrase is always said three times"),
        (
            ["--more", "--again"],
            "--more adds to a signature: it cannot be used with --again or --duress",
        ),
        (["--voice", "--phrase", "x"], "--phrase cannot be used with --voice: any speech will do"),
        (
            ["--voice", "--duress"],
            "--duress cannot be used with --voice: it is a second passphrase",
        ),
        (["--digits", "--trial", "x"], "--digits takes only NAME, --rounds, --files-from and"),
        (["x.wav", "--trial", "x.wav", "--no-trial"], "not allowed with argument"),
    ],
)
def test_what_does_not_go_together(capsys: Capture, arguments: list[str], message: str) -> None:
    code, _, err = enroll("Ada", *arguments, capture=capsys)
    assert code == 2
    assert message in err
