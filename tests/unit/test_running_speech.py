"""A stream made of recordings, held against where speech really is in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.end_pointing import EndPointer
from edge.audio.files import Recording, read_audio
from edge.audio.sources import Source
from edge.audio.utterance import utterance_of as cut
from edge.errors import AudioFormatError, InputError
from edge.resources import demo_directory
from edge.types import SAMPLE_RATE, FloatArray, Utterance
from tools import running_speech
from tools.running_speech import Event, Splice, Stream

DEMO = demo_directory()
BACKGROUND = [DEMO / f"{name}_enroll_{n}.flac" for name in ("ada", "robin") for n in (1, 2, 3)]
PHRASE = DEMO / "robin_right_phrase.flac"


@pytest.fixture(autouse=True)
def cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To cut a recording takes longer than the rest: done once for each."""

    def utterance_of(recording: Recording) -> Utterance:
        content = recording.samples.tobytes()
        if content not in _CUT:
            _CUT[content] = cut(recording)
        return _CUT[content]

    monkeypatch.setattr(running_speech, "utterance_of", utterance_of)


_CUT: dict[bytes, Utterance] = {}


def _listen(stream: Stream) -> FloatArray:
    source: Source = stream
    with source:
        blocks = list(source.blocks())
    assert all(len(block.samples) == FRAME_SAMPLES for block in blocks[:-1])
    assert [block.start_s for block in blocks] == pytest.approx(
        [n * FRAME_SAMPLES / SAMPLE_RATE for n in range(len(blocks))]
    )
    assert not any(block.lost_samples for block in blocks)
    # Before the high-pass, which overshoots, nothing is at full scale.
    assert not any(block.clipped_fraction for block in blocks)
    return np.concatenate([block.samples for block in blocks])


def _phrases(stream: Stream) -> list[Event]:
    return [event for event in stream.events if event.kind == running_speech.PHRASE]


def _lag(samples: FloatArray, template: FloatArray, around: int) -> int:
    """Where a template really begins: the peak of the correlation within 0.2 s of `around`."""
    reach = SAMPLE_RATE // 5
    window = samples[around - reach : around + reach + len(template)]
    return int(np.argmax(np.correlate(window, template, "valid"))) + around - reach


def _loud_part(samples: FloatArray) -> tuple[int, int]:
    """First and last sample of what stands 25 dB below the loudest 10 ms or higher."""
    step = SAMPLE_RATE // 100
    power = np.mean(samples[: len(samples) // step * step].reshape(-1, step) ** 2, axis=1)
    loud = np.flatnonzero(power > power.max() * 10**-2.5)
    return int(loud[0]) * step, int(loud[-1] + 1) * step


@pytest.mark.parametrize("joint", ["gap", "abutting", "alone"])
def test_phrase_is_where_the_event_says(joint: str) -> None:
    stream = Stream.compose(BACKGROUND[:3], [Splice("Robin", PHRASE, 0.0, joint)], seed=1)
    samples = _listen(stream)

    (event,) = _phrases(stream)
    phrase = read_audio(PHRASE).samples
    first, last = _loud_part(phrase)
    begins = _lag(samples, phrase[first:last], round(event.start_s * SAMPLE_RATE))

    assert (event.person, event.path, event.joint) == ("Robin", PHRASE, joint)
    assert begins / SAMPLE_RATE == pytest.approx(event.start_s, abs=0.05)
    ends = begins + last - first
    assert ends / SAMPLE_RATE == pytest.approx(event.speech_end_s, abs=0.03)


@pytest.mark.parametrize(
    ("joint", "low", "high"), [("gap", 0.3, 1.5), ("abutting", 0.06, 0.12), ("alone", 1.5, 2.5)]
)
def test_gaps_around_a_phrase(joint: str, low: float, high: float) -> None:
    splices = [Splice("Robin", PHRASE, 0.0, joint)] * 3
    stream = Stream.compose(BACKGROUND[:4], splices, seed=2)
    _listen(stream)

    events = stream.events
    assert [event.kind for event in events] == ["foreign", "phrase"] * 3 + ["foreign"]
    gaps = [after.start_s - before.speech_end_s for before, after in itertools.pairwise(events)]
    assert all(low - 1e-3 <= gap <= high + 1e-3 for gap in gaps)
    assert len(set(np.round(gaps, 3))) > 3


def test_gap_is_room_tone_abutting_speech_one_utterance_and_a_lone_phrase_its_own() -> None:
    def utterances(joint: str) -> tuple[int, Stream, FloatArray]:
        stream = Stream.compose(BACKGROUND[:2], [Splice("Robin", PHRASE, 0.0, joint)], seed=5)
        pointer = EndPointer()
        with stream:
            found = [pointer.feed(block) for block in stream.blocks()]
        done = [one for some in found for one in some] + pointer.flush()
        return len(done), stream, _listen(stream)

    apart, stream, samples = utterances("gap")
    first, second = stream.events[:2]
    assert second.start_s - first.speech_end_s > 0.7
    assert apart >= 2
    middle = round((first.speech_end_s + second.start_s) / 2 * SAMPLE_RATE)
    tone = samples[middle - 500 : middle + 500]
    assert 10 * np.log10(np.mean(tone**2)) == pytest.approx(-70.0, abs=3.0)
    together, _, _ = utterances("abutting")
    assert together == 1
    alone, _, _ = utterances("alone")
    assert alone == 3


def test_gain_is_what_the_level_says_and_never_clips() -> None:
    splices = [Splice("Robin", PHRASE, gain_db) for gain_db in (0.0, -12.0, 60.0)]
    stream = Stream.compose(BACKGROUND[:4], splices, seed=3)
    samples = _listen(stream)

    quiet, plain, loud = sorted(event.level_db for event in _phrases(stream))
    assert plain - quiet == pytest.approx(12.0, abs=0.01)
    assert loud - plain < 30.0
    assert np.abs(samples).max() > 0.9
    for event in _phrases(stream):
        said = samples[round(event.start_s * 16_000) : round(event.speech_end_s * 16_000)]
        # The whole stretch holds the pauses between words too.
        assert 10 * np.log10(np.mean(said**2)) == pytest.approx(event.level_db, abs=2.0)


def test_same_seed_same_stream_and_again_from_the_beginning() -> None:
    splices = [Splice("Robin", PHRASE, gain_db) for gain_db in (0.0, -6.0)]
    stream = Stream.compose(BACKGROUND[:3], splices, seed=4)
    once, events = _listen(stream), list(stream.events)

    assert stream.duration_s == pytest.approx(len(once) / SAMPLE_RATE)
    assert np.array_equal(_listen(stream), once)
    assert stream.events == events
    assert np.array_equal(_listen(Stream.compose(BACKGROUND[:3], splices, seed=4)), once)
    other = Stream.compose(BACKGROUND[:3], splices, seed=5)
    _listen(other)
    assert other.events != events


def test_files_are_read_as_the_stream_is_taken(tmp_path: Path) -> None:
    missing = tmp_path / "missing.flac"
    stream = Stream.compose([*BACKGROUND[:3], missing], [], seed=0)

    blocks = stream.blocks()
    for _ in range(40):  # the second of silence, and something of the first recording
        next(blocks)
    assert len(stream.events) == 1
    with pytest.raises(AudioFormatError, match="no such file"):
        list(blocks)


def test_recording_without_speech_is_left_out_and_named(tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    stream = Stream.compose([BACKGROUND[0], silent, BACKGROUND[1]], [Splice("x", silent)], seed=0)
    _listen(stream)

    assert stream.silent == [silent, silent]
    assert [event.path for event in stream.events] == BACKGROUND[:2]


def test_more_phrases_than_joints_are_refused() -> None:
    with pytest.raises(InputError, match="2 phrases need 3 recordings of background"):
        Stream.compose(BACKGROUND[:2], [Splice("Robin", PHRASE)] * 2, seed=0)
    with pytest.raises(InputError, match="joint is gap or abutting or alone: 'glued'"):
        Stream.compose(BACKGROUND, [Splice("Robin", PHRASE, 0.0, "glued")], seed=0)
