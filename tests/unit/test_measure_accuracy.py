"""The tool that measures error rates: its conditions, its trials, and what it makes of them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import InputError
from edge.evaluation.corpus import CorpusFile
from edge.recognition import Analysis, Engine
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, EnrollmentSample, FloatArray, Profile, Quality, ReasonCode
from tests.unit.scoring import PHRASE_CURVE, VOICE_CURVE, plain_scorer
from tests.unit.voices import enrolled, recording
from tools import measure_accuracy
from tools.accuracy import hearing, moods, same_phrase, words
from tools.accuracy.figures import share, threshold
from tools.accuracy.hearing import Hearing, Judged, Sound, joint_scores
from tools.accuracy.learning import learn
from tools.accuracy.own_speech import measure as measure_own_speech
from tools.accuracy.running import Grant, Outcome, Person, Stretch
from tools.accuracy.summary import summary, summary_table
from tools.accuracy.surroundings import (
    QUIET,
    REPETITIONS,
    TRICKS,
    Surroundings,
    changed,
    noises_of,
)
from tools.accuracy.words import Known, Saying, phrases_of, sayings_of, takes_of
from tools.acoustics.words import recorded
from tools.replay.distortions import at_speed


@pytest.fixture(scope="module")
def speech() -> FloatArray:
    return read_audio(demo_directory() / "ada_enroll_1.flac").samples


def write(path: Path, samples: FloatArray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE)
    return path


def tone(seconds: float, hertz: float, level: float = 0.1) -> FloatArray:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def loudest_hz(samples: FloatArray) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


# --- Conditions


def test_every_noise_has_its_turn(tmp_path: Path) -> None:
    hertz = {"boiler.wav": 500, "rain/1.wav": 1000, "rain/2.wav": 2000, "dog/1.wav": 3000}
    for name, frequency in hertz.items():
        write(tmp_path / name, tone(1.0, frequency))
    (tmp_path / "dog" / "notes.txt").touch()
    place = Surroundings(noises_of(tmp_path))
    assert [place.kind(turn) for turn in range(5)] == ["boiler", "dog", "rain", "rain", "boiler"]
    heard = [loudest_hz(place.noise(turn)) for turn in range(5)]
    assert heard == pytest.approx([500, 3000, 1000, 2000, 500], abs=2)


def test_silence_that_fills_up_a_noise_is_none_of_it(tmp_path: Path) -> None:
    padded = np.concatenate((tone(0.96, 700), np.zeros(4 * SAMPLE_RATE, np.float32)))
    write(tmp_path / "dog" / "1.wav", padded)
    assert len(Surroundings(noises_of(tmp_path)).noise(0)) == round(0.96 * SAMPLE_RATE)


def test_without_recordings_the_noise_is_pink(tmp_path: Path) -> None:
    place = Surroundings(noises_of(tmp_path / "absent"))
    assert place.kind(3) == "pink"
    assert place.noise(3).any()
    with pytest.raises(InputError, match="no speech"):
        place.voices(0)


@pytest.mark.parametrize("trick", ["noise around, 10 dB", "noise around, 3 dB"])
def test_noise_around_a_phrase_leaves_the_phrase_as_it_is(trick: str, speech: FloatArray) -> None:
    clean = utterance_of(speech)
    around = changed(speech, trick, 5, Surroundings())
    start = round((clean.start_s + clean.lead_s + 0.8) * SAMPLE_RATE)
    inside = speech[start - round(0.8 * SAMPLE_RATE) :][: SAMPLE_RATE // 2]
    assert np.array_equal(around[start : start + len(inside)], inside)
    assert len(around) == len(speech) + 2 * round(0.8 * SAMPLE_RATE)
    before = around[: SAMPLE_RATE // 2]
    assert float(np.std(before)) > 20 * float(np.std(speech[: SAMPLE_RATE // 20]))


def test_tricks_with_level_and_length(speech: FloatArray) -> None:
    def tricked(name: str) -> FloatArray:
        return changed(speech, name, 0, Surroundings())

    assert np.abs(tricked("louder")).max() == pytest.approx(0.99)
    assert tricked("quieter") == pytest.approx(speech * 0.17783, abs=1e-6)
    clipped = tricked("clipped")
    assert float((np.abs(clipped) >= 0.999).mean()) == pytest.approx(0.005, abs=0.0005)
    assert utterance_of(clipped).quality.clipped_fraction < 0.02  # light enough to be judged
    assert len(tricked("slower")) == pytest.approx(len(speech) / 0.9, abs=2)
    assert len(tricked("faster")) == pytest.approx(len(speech) / 1.1, abs=2)
    assert len(tricked("repeated faster")) == pytest.approx(len(speech) / 1.04, abs=2)


def test_conditions_by_name(speech: FloatArray) -> None:
    assert changed(speech, QUIET, 0, Surroundings()) is speech
    noisy = changed(speech, "noise 10 dB", 0, Surroundings())
    assert noisy.shape == speech.shape
    assert not np.array_equal(noisy, changed(speech, "noise 10 dB", 1, Surroundings()))
    with pytest.raises(InputError, match="no condition 'fog'"):
        changed(speech, "fog", 0, Surroundings())


def test_people_talking_in_the_background() -> None:
    place = Surroundings(talkers=tuple(sorted(demo_directory().glob("robin_*.flac"))))
    quiet = tone(1.0, 440)
    heard = changed(quiet, "voices 10 dB", 0, place) - quiet
    ratio_db = 10 * np.log10(float(np.mean(quiet**2)) / float(np.mean(heard**2)))
    assert ratio_db == pytest.approx(10.0, abs=0.5)


def test_words_are_said_one_after_the_other(tmp_path: Path) -> None:
    silence = np.zeros(SAMPLE_RATE // 2, np.float32)
    paths = [
        write(tmp_path / f"{hertz}.wav", np.concatenate((silence, tone(0.32, hertz), silence)))
        for hertz in (500, 900, 1300)
    ]
    said = recorded(paths)
    # 0.25 s at the ends, 0.08 s on both sides of a gap, three words of 0.32 s and a frame or two.
    assert len(said) / SAMPLE_RATE == pytest.approx(0.5 + 4 * 0.08 + 3 * 0.32, abs=0.1)
    third = len(said) // 3
    found = [loudest_hz(said[i * third : (i + 1) * third]) for i in range(3)]
    assert found == pytest.approx([500, 900, 1300], abs=5)
    assert np.array_equal(recorded(paths[:1]), read_audio(paths[0]).samples)


# --- Trials


def items_of(speakers: int, vocabulary: int, takes: int = 6) -> list[CorpusFile]:
    return [
        CorpusFile(Path(f"{speaker}/{word}/{take}.wav"), str(speaker), f"w{word}", "")
        for speaker in range(speakers)
        for word in range(vocabulary)
        for take in range(takes)
    ]


def test_phrases_have_no_word_in_common() -> None:
    phrases = phrases_of(takes_of(items_of(2, 11)))
    assert [len(phrase) for phrase in phrases] == [4, 4]
    assert len({word for phrase in phrases for word in phrase}) == 8


def test_what_is_enrolled_is_not_tested_and_one_word_of_four_is_replaced() -> None:
    takes = takes_of(items_of(3, 9))
    phrases = phrases_of(takes)
    enrolled, tested, replaced = sayings_of(takes, phrases)
    assert [len(own) for own in enrolled] == [3] * 6
    assert len(tested) == len(replaced) == 3 * 2 * 3
    known = {path for own in enrolled for one in own for path in one.paths}
    for one, other in zip(tested, replaced):
        assert not known & set(one.paths)
        assert {path.parts[0] for path in other.paths} == {one.speaker}
        differing = [a != b for a, b in zip(one.paths, other.paths)]
        assert sum(differing) == 1
        new = other.paths[differing.index(True)]
        assert f"w{new.parts[1]}" not in phrases[one.phrase]
        assert other.replaced
    assert {sum(a != b for a, b in zip(one.paths, two.paths)) for one, two, _ in enrolled} == {4}


@pytest.mark.parametrize(
    "items", [items_of(1, 9), items_of(2, 4), items_of(2, 9, takes=4)], ids=str
)
def test_too_few_words_or_speakers(items: list[CorpusFile]) -> None:
    with pytest.raises(InputError, match="2 speakers and 5 words"):
        takes_of(items)


def test_people_who_are_taken_for_each_other() -> None:
    owners = [Saying(name, 0, ()) for name in ("ada", "bob", "cleo")]
    tested = [Saying(name, 0, ()) for name in ("ada", "bob", "cleo") for _ in range(10)]
    scores = np.full((3, 30), -5.0)
    scores[0, 10:17] = 9.0  # Bob as Ada, seven times
    scores[1, 0] = 9.0  # Ada as Bob
    scores[2, 5] = 9.0  # Ada as Cleo
    scores[0, 0:10] = 9.0  # Ada as herself
    pairs = words._pairs(Known(owners, []), tested, Judged(scores, (None,) * 30))
    assert pairs == {
        "pairs": 3,
        "pairs_with_an_accept": 2,
        "pairs_that_make_80_percent": {"ada and bob": "8 of 20"},
        "strangers_percent_without_them": 2.5,
    }


def profile(direction: int, said: float) -> Profile:
    sample = EnrollmentSample(
        np.eye(3, dtype=np.float32)[direction], np.full((1, 1), said, np.float32), 1.0, 40.0, 0.0
    )
    return replace(Profile.begin("somebody"), samples=(sample,) * 3)


def test_a_phrase_is_only_compared_where_it_can_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Profile] = []

    def phrase_scores(_engine: Any, profiles: Sequence[Profile], _analyses: Any) -> Any:
        compared.extend(profiles)
        return np.asarray([one.samples[0].phrase_embedding for one in profiles])[:, 0]

    monkeypatch.setattr(hearing, "phrase_scores", phrase_scores)
    by_two = profile(0, 2.0)
    engine: Any = SimpleNamespace(
        scorer=plain_scorer(), is_one_voice=lambda profile, _stretches: profile is not by_two
    )
    profiles = [profile(0, 2.0), profile(0, 0.2), profile(1, 2.0), profile(0, 2.0), by_two]
    quality = Quality(-20.0, -60.0, 40.0, 0.0, 1.0)
    analysis = Analysis(np.eye(3, dtype=np.float32)[0], np.zeros((1, 1), np.float32), quality, {})
    asked = np.asarray([True, True, True, False, True])
    scores = joint_scores(engine, profiles, analysis, asked)
    assert compared == [*profiles[:2], by_two]
    voice, other = float(VOICE_CURVE.rarity(21.0)), float(VOICE_CURVE.rarity(-9.0))
    phrase = [float(PHRASE_CURVE.rarity(score)) for score in (2.0, 0.2)]
    assert scores == pytest.approx([*phrase, other, voice, 0.0], rel=1e-5)


def test_shares_and_thresholds() -> None:
    assert threshold(0.001) == pytest.approx(6.9078, abs=1e-4)
    assert share(np.asarray([True, False, False, False])) == 25.0
    assert share(np.asarray([], dtype=np.bool_)) is None


# --- The whole tool


PARTS = {
    "ada/cinnamon": ("ada_enroll_1", "ada_enroll_2", "ada_enroll_3", "ada_right_phrase"),
    "robin/herons": ("robin_enroll_1", "robin_enroll_2", "robin_enroll_3", "robin_right_phrase"),
    "robin/near": ("robin_near_phrase",),
    "guest/cinnamon": ("stranger_adas_phrase",),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, files in PARTS.items():
        (tmp_path / "same_phrase" / name).mkdir(parents=True)
        for file in files:
            shutil.copy(demo_directory() / f"{file}.flac", tmp_path / "same_phrase" / name)
    return tmp_path


def test_from_recordings_to_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(same_phrase, "CONDITIONS", (QUIET, "noise 20 dB"))
    report = folder / "report.json"
    arguments = [str(folder), "--only", "same_phrase", "--jobs", "1", "--json", str(report)]
    assert measure_accuracy.main(arguments) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    quiet, noisy = found["same_phrase"]["calm"].values()
    # Each of the four sayings is tested against the enrollment of the other three.
    assert quiet["recordings"] == 10
    assert quiet["errors"]["targets"] == 8
    assert quiet["presets"]["balanced"]["turned_away_percent"] == 0.0
    assert quiet["presets"]["balanced"]["IC_trials"] == 4
    assert list(noisy["turned_away_by_noise_percent"]) == ["pink"]
    lines = {line["figure"]: line for line in found["summary"]}
    assert lines["turned away, quiet, %"] == {
        "figure": "turned away, quiet, %",
        "aim": 0.5,
        "measured": 0.0,
    }
    assert "turned away, stairwell, %" not in lines
    assert "turned away, quiet, %" in capsys.readouterr().out


def test_what_an_excited_repetition_brings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moods, "CONDITIONS", (QUIET,))
    for path in (folder / "same_phrase").glob("*/*/*.flac"):
        path.rename(path.with_name(f"calm_{path.name}"))
    calm = folder / "same_phrase" / "ada" / "cinnamon" / "calm_ada_enroll_3.flac"
    raised = at_speed(1.06)(read_audio(calm).samples, 0)
    soundfile.write(calm.with_name("happy_1.flac"), raised, SAMPLE_RATE)
    report = folder / "report.json"
    arguments = [str(folder), "--only", "moods", "--jobs", "1", "--json", str(report)]
    assert measure_accuracy.main(arguments) == 0
    found = json.loads(report.read_text(encoding="utf-8"))["moods"]
    passed = found["enrolled as the third"]
    assert (passed["calm, %"], passed["excited, %"], passed["strangers, %"]) == (100.0, 100.0, 0.0)
    # Four ways to enroll Ada; Robin was never excited.
    assert (found["enrollments"], found["with an excited one"]) == (8, 4)
    for who in ("three calm", "one excited"):
        rows = found[f"{QUIET}, {who}"]
        assert (rows["calm: turned away, %"], rows["calm: strangers, %"]) == (0.0, 0.0)
        assert rows["excited: turned away, %"] is None  # the only one is enrolled


def test_a_folder_with_nothing_to_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure_accuracy.main([str(tmp_path), "--jobs", "1"]) == 2
    assert "none of the recordings" in capsys.readouterr().out


def test_several_processes_find_the_same(folder: Path) -> None:
    sounds = [
        Sound((path,), condition, turn)
        for turn, path in enumerate(sorted(folder.glob("*/ada/*/*.flac"))[:2])
        for condition in (QUIET, "noise 10 dB")
    ]
    found = []
    for jobs in (1, 2):
        listening = Hearing(Surroundings(), jobs=jobs)
        try:
            found.append(listening.hear(sounds, "listening"))
        finally:
            listening.close()
    for one, other in zip(*found):
        assert one.analysis is not None
        assert other.analysis is not None
        assert one.refusal is other.refusal is None
        assert one.analysis.quality == other.analysis.quality
        assert np.array_equal(one.analysis.speaker_embedding, other.analysis.speaker_embedding)


def test_refused_sounds_open_nothing() -> None:
    judged = Judged(np.full((2, 3), hearing.REFUSED), (None, ReasonCode.TOO_NOISY, None))
    assert judged.refused.tolist() == [False, True, False]
    assert hearing.REFUSED < threshold(0.01) < threshold(0.0001)


@pytest.mark.parametrize("other", ["v0.1", "models"])
def test_other_software_is_measured_with_the_same_options(
    other: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "tools").mkdir(parents=True)
    (tree / "tools" / "of_that_time.py").touch()
    (tmp_path / "models").mkdir()
    revisions: list[str] = []
    commands: list[tuple[list[str], Path]] = []

    @contextmanager
    def checked_out(revision: str) -> Iterator[Path]:
        revisions.append(revision)
        yield tree

    def run(command: list[str], *, cwd: Path, **_: Any) -> None:
        commands.append((command, cwd))
        assert (cwd / "tools" / "measure_accuracy.py").is_file()
        rates = {"turned_away_percent": 26.0, "IC_percent": None, "TW_percent": None}
        row = {"presets": {"balanced": rates}, "too_poor_percent": 1.0}
        report = json.dumps({"same_phrase": {"calm": {"noise 10 dB": row}}})
        Path(command[command.index("--json") + 1]).write_text(report)

    monkeypatch.setattr(measure_accuracy, "checked_out", checked_out)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    options = SimpleNamespace(
        folder=Path("speech"), phrase="Hey", jobs=3, quick=True, only=["same_phrase", "words"]
    )
    found = measure_accuracy.measured_elsewhere(other, options)  # type: ignore[arg-type]
    ((command, cwd),) = commands
    assert command[3:11] == [
        *(str(tmp_path / "speech"), "--phrase", "Hey", "--jobs", "3", "--quick"),
        *("--only", "same_phrase"),
    ]
    root = Path(measure_accuracy.__file__).parent.parent
    if other == "models":
        assert command[-4:-2] == ["--models", str(tmp_path / "models")]
        assert (cwd, revisions) == (root, [])
    else:
        assert "--models" not in command
        assert (cwd, revisions) == (tree, ["v0.1"])
        assert not (tree / "tools" / "of_that_time.py").exists()
    (line, *_) = summary({other: found, "measured": {}})
    assert line == {
        "figure": "turned away, noise 10 dB, %",
        "aim": 4.0,
        other: 26.0,
        "measured": None,
    }


def test_the_summary_holds_the_last_against_the_aim() -> None:
    def report(rate: float) -> dict[str, Any]:
        presets = {"balanced": {"turned_away_percent": rate, "IC_percent": 0.2, "TW_percent": 0.0}}
        row = {"presets": presets, "too_poor_percent": 0.0}
        return {
            "same_phrase": {"calm": {"noise 10 dB": row}},
            "tricks": {
                "quiet": {"strangers": 200, "accepted": {"relaxed": 4, "balanced": 1, "strict": 0}},
                "louder": {
                    "strangers": 200,
                    "accepted": {"relaxed": 3, "balanced": 2, "strict": 0},
                },
            },
            "own_speech": {"grants": 0},
        }

    lines = summary({"before": report(26.0), "measured": report(3.0)})
    by_name = {line["figure"]: (line["before"], line["measured"], line["aim"]) for line in lines}
    assert by_name["turned away, noise 10 dB, %"] == (26.0, 3.0, 4.0)
    assert by_name["strangers with the right phrase, worst condition, %"] == (0.2, 0.2, 0.3)
    assert by_name["words: what a trick adds to the strangers, relaxed, %"] == (0.0, 0.0, 0.0)
    assert by_name["words: what a trick adds to the strangers, balanced, %"] == (0.5, 0.5, 0.0)
    assert by_name["an hour of people's own other speech: grants"] == (0, 0, 0.0)
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(summary_table(lines, ["before", "measured"]))
    (line,) = [one for one in console.export_text().splitlines() if "noise 10 dB, %" in one][:1]
    assert line.replace("│", " ").split()[-3:] == ["26", "3", "4"]


def test_people_are_played_their_own_other_speech() -> None:
    played: list[Stretch] = []

    class Listening:
        def each(self, _run: Any, stretches: Sequence[Stretch], _description: str) -> Any:
            played.extend(stretches)
            return [
                Outcome(0.5, len(one.people), (Grant(1.0, 2.0, one.people[0].name),), ())
                for one in stretches
            ]

    sentences = [
        CorpusFile(Path(f"s{speaker}/{number}.flac"), f"s{speaker}", "", "")
        for speaker in range(6)
        for number in range(3)
    ]
    found = measure_own_speech(Listening(), sentences, items_of(2, 9, 6))  # type: ignore[arg-type]
    of_words, first, second = played
    assert first.people[0] == Person(
        "s0", tuple(Sound((sentences[0].path,), each) for each in (QUIET, *REPETITIONS))
    )
    assert first.background[:2] == ((Path("s0/1.flac"),), (Path("s0/2.flac"),))
    assert [len(one.people) for one in played] == [2, 4, 2]
    assert len(second.background) == 4
    enrolled = {
        path.parts[:2] for one in of_words.people for said in one.repetitions for path in said.paths
    }
    heard = {path.parts[:2] for row in of_words.background for path in row}
    assert len(enrolled) == 8
    assert not enrolled & heard
    assert len(heard) == 10
    assert found == {
        "people": 8,
        "hours": 1.5,
        "grants": 3,
        "granted": {"0": 1, "s0": 1, "s4": 1},
    }


def test_every_trick_is_tried_on_strangers() -> None:
    assert set(TRICKS) < set(words.ALTERED)
    assert {"noise 20 dB", "noise 10 dB", "noise 5 dB"} < set(words.ALTERED)


def test_a_clear_accept_is_learned_once_and_a_stranger_never(engine: Engine) -> None:
    ada = enrolled(engine, "ada")
    own, stranger = (
        engine.analyze(recording(name)) for name in ("ada_right_phrase", "stranger_adas_phrase")
    )
    assert learn(engine, ada, [stranger]).samples == ada.samples
    learned = learn(engine, ada, [own, own, stranger])
    assert learned.enrolled == ada.enrolled
    assert [sample.speaker_embedding for sample in learned.adapted] == [own.speaker_embedding]
