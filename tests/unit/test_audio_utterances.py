"""Where an utterance begins and ends, to the frame, with a detector that does as it is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edge.audio import end_pointing, utterance
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.utterance import find_speech, utterance_of
from edge.audio.vad import SpeechDetector
from edge.config import AudioConfig
from edge.types import AudioBlock, FloatArray, Utterance
from tests.unit.sound_system import Clock

FRAME_S = 0.032
CLOSED_AT = 5000.0


class Script(SpeechDetector):
    """Says what it is told: a probability, or several where it judges in retrospect."""

    def __init__(self) -> None:
        super().__init__()
        self.says: list[float] = []
        self.resets = 0

    def feed(self, frame: FloatArray) -> list[float]:
        return self.says

    def reset(self) -> None:
        self.resets = getattr(self, "resets", -1) + 1


class Room:
    """An end-pointer, and the stream that it has heard: frame n is all n / 1000."""

    def __init__(self, **settings: Any) -> None:
        self.detector = Script()
        given = EndPointSettings(**settings) if settings else None
        self.pointer = EndPointer(given, self.detector)
        self.heard = 0
        self.done: list[Utterance] = []

    def hear(self, *answers: float | Sequence[float], times: int = 1, lost: int = 0) -> None:
        for answer in answers * times:
            self.detector.says = [answer] if isinstance(answer, float) else list(answer)
            samples = np.full(512, self.heard / 1000, np.float32)
            at = self.heard * FRAME_S
            block = AudioBlock(samples, at, 100.0 + at + FRAME_S, lost)
            self.done += self.pointer.feed(block)
            self.heard += 1

    def cut(self) -> list[tuple[int, int]]:
        """First and last frame of each utterance, which must be whole and in order."""
        found = []
        for done in self.done:
            numbers = np.round(done.samples[::512] * 1000).astype(int)
            assert len(done.samples) == len(numbers) * 512
            np.testing.assert_array_equal(np.diff(numbers), 1)
            assert done.start_s == pytest.approx(numbers[0] * FRAME_S)
            found.append((int(numbers[0]), int(numbers[-1])))
        return found


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(CLOSED_AT).govern(monkeypatch, end_pointing)


@pytest.mark.parametrize("settings", [{}, {"rolling": True}])
def test_silence_of_0_6_s_ends_an_utterance_with_0_55_s_kept_at_both_ends(
    settings: dict[str, bool],
) -> None:
    room = Room(**settings)
    room.hear(0.0, times=30)
    room.hear(0.9, times=20)
    assert room.pointer.speaking
    room.hear(0.0, times=18)
    assert room.done == []
    assert room.pointer.speaking
    room.hear(0.0)
    assert room.cut() == [(30 - 17, 49 + 17)]
    assert not room.pointer.speaking
    (done,) = room.done
    assert done.lead_s == pytest.approx(17 * FRAME_S)
    assert done.end_s == pytest.approx(50 * FRAME_S)
    assert done.tail_s == pytest.approx(17 * FRAME_S)
    assert done.speech_ended_at == pytest.approx(100.0 + 50 * FRAME_S)
    assert done.closed_at == CLOSED_AT
    assert done.quality.net_speech_s == pytest.approx(20 * FRAME_S)
    assert not done.truncated


@pytest.mark.parametrize(
    ("settings", "end", "kept_before", "kept_after"),
    [
        ({"end_silence_s": 0.32, "pre_roll_s": 0.16, "post_roll_s": 0.1}, 10, 5, 3),
        ({"end_silence_s": 0.16, "pre_roll_s": 0.0, "post_roll_s": 0.32}, 5, 0, 5),
        ({"end_silence_s": 0.0, "pre_roll_s": 2.0}, 1, 25, 1),
    ],
)
def test_the_settings_decide(
    settings: dict[str, float], end: int, kept_before: int, kept_after: int
) -> None:
    room = Room(**settings)
    room.hear(0.0, times=25)
    room.hear(0.9, times=10)
    room.hear(0.0, times=end - 1)
    assert room.done == []
    room.hear(0.0)
    assert room.cut() == [(25 - kept_before, 34 + kept_after)]


def test_the_configuration_is_taken_over() -> None:
    audio = AudioConfig(end_silence_s=1.0, min_speech_s=0.5, max_utterance_s=7.0, pre_roll_s=0.25)
    assert EndPointSettings.of(audio) == EndPointSettings(1.0, 0.5, 7.0, 0.25, 0.55, rolling=False)
    assert EndPointSettings.of(audio, rolling=True).rolling
    assert EndPointSettings.of(AudioConfig()) == EndPointSettings()


def test_speech_begins_at_one_half_and_goes_on_down_to_0_35() -> None:
    room = Room()
    room.hear(0.499, times=20)
    assert not room.pointer.speaking
    room.hear(0.5)
    assert room.pointer.speaking
    room.hear(0.35, times=30)
    room.hear(0.349)
    room.hear(0.499, times=18)  # once it was interrupted, it has to begin again
    assert room.cut() == [(20 - 17, 50 + 17)]
    assert room.done[0].quality.net_speech_s == pytest.approx(31 * FRAME_S)


def test_a_pause_that_is_too_short_does_not_end_it() -> None:
    room = Room()
    room.hear(0.9, times=5)
    room.hear(0.0, times=18)
    room.hear(0.5, times=4)
    room.hear(0.0, times=19)
    assert room.cut() == [(0, 26 + 17)]
    assert room.done[0].quality.net_speech_s == pytest.approx(9 * FRAME_S)
    assert room.done[0].lead_s == 0.0


@pytest.mark.parametrize(("frames", "settings"), [(9, {}), (16, {"min_speech_s": 0.5}),
                                                  (1, {"min_speech_s": 0.0})])  # fmt: skip
def test_shorter_speech_than_0_3_s_is_none(frames: int, settings: dict[str, float]) -> None:
    room = Room(**settings)
    room.hear(0.9, times=frames - 1)
    room.hear(0.0, times=20)
    assert room.done == []
    assert not room.pointer.speaking
    room.hear(0.9, times=frames)
    room.hear(0.0, times=20)
    assert len(room.done) == 1
    assert room.done[0].quality.net_speech_s == pytest.approx(frames * FRAME_S)


def test_what_is_longer_than_15_s_is_cut_and_its_rest_is_none() -> None:
    room = Room()
    room.hear(0.0, times=10)
    room.hear(0.9, times=458)
    assert room.done == []
    room.hear(0.9)
    assert room.cut() == [(0, 468)]
    assert room.done[0].truncated
    assert not room.pointer.speaking
    # Nothing is an utterance before a silence of 0.6 s.
    room.hear(0.9, times=50)
    room.hear(0.0, times=18)
    room.hear(0.35)  # still speech
    room.hear(*[0.0, 0.349] * 9)
    assert room.pointer.flush() == []
    room.hear(0.9)
    assert not room.pointer.speaking
    room.hear(0.0, times=19)
    room.hear(0.9, times=9)
    room.hear(0.0, times=19)
    assert len(room.done) == 2
    # The silence that was waited for is no part of it.
    assert room.cut()[1] == (room.heard - 28, room.heard - 3)


def test_a_pause_at_the_longest_length_ends_it_as_ever() -> None:
    room = Room(max_utterance_s=1.6, end_silence_s=0.32)
    room.hear(0.9, times=40)
    room.hear(0.0, times=10)
    assert not room.done[0].truncated
    room.hear(0.9, times=10)
    room.hear(0.0, times=10)
    assert len(room.done) == 2


def test_rolling_speech_keeps_its_latest_part() -> None:
    room = Room(max_utterance_s=1.6, rolling=True)
    room.hear(0.9, times=49)
    opened = room.pointer.opened
    assert opened is not None
    assert not opened.truncated
    room.hear(0.9)
    assert len(opened.frames) == 49
    assert opened.start_s == pytest.approx(FRAME_S)
    assert opened.end_s == pytest.approx(50 * FRAME_S)
    assert opened.truncated
    room.hear(0.9, times=50)
    assert len(opened.frames) == len(opened.speech) == 49
    room.hear(0.0, times=18)
    assert opened.quiet_frames == 18
    room.hear(0.0)
    # When a pause is over, its silence has pushed out as much of the beginning.
    assert room.cut() == [(69, 99 + 17)]
    assert room.done[0].truncated
    assert room.done[0].quality.net_speech_s == pytest.approx(31 * FRAME_S)


def test_rolling_drops_what_is_oldest() -> None:
    room = Room(max_utterance_s=1.6, rolling=True)
    room.hear(0.0, times=5)
    room.hear(0.9, times=45)
    assert room.pointer.opened is not None
    assert room.pointer.opened.speech == [False] * 4 + [True] * 45


def test_silence_as_long_as_the_longest_utterance_ends_it_too() -> None:
    room = Room(max_utterance_s=3.0, end_silence_s=3.0, min_speech_s=0.0, rolling=True)
    room.hear(0.9)
    room.hear(0.0, times=93)
    assert room.pointer.speaking
    room.hear(0.0)
    assert not room.pointer.speaking
    assert room.done == []  # its speech is gone by then


def test_what_is_found_in_retrospect_begins_where_it_was() -> None:
    room = Room()
    room.hear(0.0, times=40)
    room.hear([0.0, 0.2, 0.5, 0.4, 0.6, 0.9])
    assert room.pointer.speaking
    room.hear(0.9, times=6)
    room.hear(0.0, times=19)
    # Frames 37 to 46 are speech.
    assert room.cut() == [(37 - 17, 46 + 17)]
    assert room.done[0].quality.net_speech_s == pytest.approx(10 * FRAME_S)


def test_pre_roll_is_kept_before_what_is_found_in_retrospect() -> None:
    room = Room()
    room.hear(0.0, times=60)
    room.hear([0.9] * 16)
    room.hear(0.0, times=19)
    # Of 16 frames the last is the newest, and there are 17 before the first of them.
    assert room.cut() == [(60 - 15 - 17, 60 + 17)]


def test_only_the_frames_judged_in_retrospect_are_judged_again() -> None:
    room = Room()
    room.hear(0.6, times=10)
    room.hear(0.0, times=3)
    room.hear([0.4, 0.9])  # the one before becomes likely, yet speech was interrupted before it
    room.hear(0.0, times=19)
    assert room.done[0].quality.net_speech_s == pytest.approx(11 * FRAME_S)
    room = Room()
    room.hear(0.6, times=10)
    room.hear(0.0, times=3)
    room.hear([0.4, 0.4, 0.4, 0.4])
    assert room.pointer.opened is not None
    assert room.pointer.opened.quiet_frames == 0
    room.hear(0.0, times=19)
    assert room.done[0].quality.net_speech_s == pytest.approx(14 * FRAME_S)


def test_retrospect_that_finds_nothing_begins_nothing() -> None:
    room = Room()
    room.hear([0.49] * 5)  # more than there was
    assert not room.pointer.speaking
    room.hear([0.9, 0.0])
    assert room.pointer.speaking  # one frame ago
    assert room.pointer.opened is not None
    assert room.pointer.opened.speech == [True, False]
    room = Room(pre_roll_s=0.0)
    room.hear(0.0)
    room.hear([0.0, 0.0, 0.0, 0.9])
    assert room.pointer.opened is not None
    assert room.pointer.opened.speech == [True]


def test_a_loss_drops_what_is_open_and_the_rest_of_it(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    room.hear(0.9, times=20)
    room.hear(0.9, lost=100)
    assert caplog.messages == ["dropped an utterance in which 100 samples were lost"]
    assert caplog.records[0].levelno == logging.WARNING
    assert (room.pointer.discarded, room.detector.resets) == (1, 1)
    room.hear(0.9, times=30)
    room.hear(0.0, times=18)
    room.hear(0.9)
    assert not room.pointer.speaking
    room.hear(0.0, times=19)
    room.hear(0.9, times=10)
    room.hear(0.0, times=19)
    assert room.cut() == [(room.heard - 29, room.heard - 3)]


def test_a_loss_in_silence_drops_nothing_but_what_was_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    room = Room()
    room.hear(0.0, times=20)
    room.hear(0.0, lost=100)
    assert (room.pointer.discarded, room.detector.resets, caplog.messages) == (0, 1, [])
    room.hear(0.0, times=18)
    room.hear(0.9, times=10)
    room.hear(0.0, times=19)
    assert room.cut() == [(39, 39 + 10 + 16)]


class Peak(SpeechDetector):
    """Takes the largest sample of a frame for its probability."""

    def feed(self, frame: FloatArray) -> list[float]:
        return [float(frame.max())]


@pytest.mark.usefixtures("unfiltered")
def test_a_recording_is_one_utterance_to_its_last_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_pointing, "SpeechDetector", Peak)
    monkeypatch.setattr(utterance, "SpeechDetector", Peak)
    samples = np.zeros(40 * 512 + 100, np.float32)
    samples[20 * 512] = 0.5
    samples[22 * 512] = 0.49
    found = utterance_of(samples)
    assert (found.start_s, found.lead_s) == pytest.approx((3 * FRAME_S, 17 * FRAME_S))
    assert found.end_s == pytest.approx(21 * FRAME_S)
    assert found.quality.net_speech_s == pytest.approx(FRAME_S)
    assert np.flatnonzero(find_speech(samples)).tolist() == [20]
    samples[-1] = 0.5
    assert utterance_of(samples).end_s == pytest.approx(41 * FRAME_S)
    assert np.flatnonzero(find_speech(samples)).tolist() == [20]  # whole frames alone


def test_a_block_that_is_no_frame() -> None:
    """The last block of a stream may be shorter; a longer one is a mistake of the source."""
    pointer = EndPointer()
    assert pointer.feed(AudioBlock(np.zeros(511, np.float32), 0.0, 0.0)) == []
    assert pointer.detector.frames == 0
    with pytest.raises(ValueError, match="512 samples, not 513"):
        pointer.feed(AudioBlock(np.zeros(513, np.float32), 0.0, 0.0))


def test_the_end_of_the_stream_ends_what_is_open() -> None:
    room = Room()
    room.hear(0.0, times=20)
    assert room.pointer.flush() == []
    room.hear(0.9, times=9)
    room.hear(0.0, times=5)
    room.done += room.pointer.flush()
    assert room.cut() == [(20, 20 + 13)]
    assert not room.pointer.speaking
    assert room.pointer.flush() == []
    room.hear(0.9, times=8)
    assert room.pointer.flush() == []  # too short


# --- pauses ---


def paused(frames: int, *, before: int = 20, after: int = 15, **settings: Any) -> Room:
    """Speech, so many frames of silence, and speech; then silence."""
    room = Room(**{"joined_silence_s": 1.2, **settings})
    room.hear(0.0, times=30)
    room.hear(0.9, times=before)
    room.hear(0.0, times=frames)
    room.hear(0.9, times=after)
    room.hear(0.0, times=40)
    return room


@pytest.mark.parametrize(("frames", "pauses"), [(7, 0), (8, 1), (18, 1)])
def test_a_longer_silence_within_speech_is_a_pause(frames: int, pauses: int) -> None:
    (done,) = paused(frames).done
    assert done.pauses == (((17 + 20) * 512, (17 + 20 + frames) * 512),)[:pauses]
    assert done.joined is None


@pytest.mark.parametrize(("frames", "joined"), [(19, True), (37, True), (38, False), (60, False)])
def test_after_a_short_pause_both_utterances_are_given_as_one_too(
    frames: int, joined: bool
) -> None:
    first, second = paused(frames).done
    assert first.joined is None
    assert (second.joined is not None) is joined
    if second.joined is not None:
        both = second.joined
        assert both.start_s == first.start_s == pytest.approx((30 - 17) * FRAME_S)
        assert (both.lead_s, both.end_s) == (first.lead_s, second.end_s)
        numbers = np.round(both.samples[::512] * 1000).astype(int)
        np.testing.assert_array_equal(numbers, np.arange(13, 50 + frames + 15 + 17))
        assert both.pauses == ((37 * 512, (37 + frames) * 512),)
        assert both.quality.net_speech_s == pytest.approx(35 * FRAME_S)


def test_while_an_utterance_may_go_on_that_is_known() -> None:
    room = Room(joined_silence_s=1.2)
    room.hear(0.9, times=20)
    room.hear(0.0, times=18)
    assert not room.pointer.may_go_on
    room.hear(0.0, times=19)
    assert len(room.done) == 1
    assert room.pointer.may_go_on
    room.hear(0.0)
    assert not room.pointer.may_go_on
    room.hear(0.9, times=20)
    assert not room.pointer.may_go_on


@pytest.mark.parametrize(("after", "joined"), [(106, True), (107, False)])
def test_long_speech_after_a_pause_is_no_second_half(after: int, joined: bool) -> None:
    """Four seconds, 125 frames, with 19 frames of silence after it."""
    room = Room(joined_silence_s=1.2)
    room.hear(0.9, times=20)
    room.hear(0.0, times=25)
    room.hear(0.9, times=after)
    assert room.pointer.may_go_on
    room.hear(0.0, times=19)
    assert (room.done[1].joined is not None) is joined


def test_both_together_are_no_longer_than_an_utterance_may_be() -> None:
    for longest_s, joined in ((3.72, True), (3.68, False)):  # 116 frames and 115
        room = paused(25, max_utterance_s=longest_s, before=40)
        assert (room.done[1].joined is not None) is joined


def test_a_cough_between_two_halves_does_not_part_them() -> None:
    room = Room(joined_silence_s=1.2)
    room.hear(0.9, times=20)
    room.hear(0.0, times=25)
    room.hear(0.9, times=3)
    room.hear(0.0, times=25)
    room.hear(0.9, times=20)
    room.hear(0.0, times=19)
    both = room.done[1].joined
    assert both is not None
    assert len(both.pauses) == 2


@pytest.mark.parametrize("spoken", [20, 3])
@pytest.mark.parametrize("joined_silence_s", [0.0, 1.2])
def test_the_silence_that_ended_an_utterance_is_that_before_the_next_one(
    joined_silence_s: float, spoken: int
) -> None:
    """A phrase right after other speech, or a cough, is found by what precedes it too."""
    room = Room(joined_silence_s=joined_silence_s)
    room.hear(0.0, times=30)
    room.hear(0.9, times=spoken)
    room.hear(0.0, times=21)
    room.hear(0.9)
    assert room.pointer.opened is not None
    assert room.pointer.opened.start_s == pytest.approx((30 + spoken + 21 - 17) * FRAME_S)
    before = [round(frame.block.start_s / FRAME_S) for frame in room.pointer.opened.before]
    assert before == (list(range(13, 30 + spoken + 21 - 17)) if joined_silence_s else [])
    room.hear(0.9, times=19)
    room.hear(0.0, times=19)
    assert room.done[-1].lead_s == pytest.approx(17 * FRAME_S)


@pytest.mark.parametrize("joined_silence_s", [0.0, 0.6])
def test_nothing_is_joined_after_less_than_ends_an_utterance(joined_silence_s: float) -> None:
    room = paused(38, joined_silence_s=joined_silence_s)
    assert [done.joined for done in room.done] == [None, None]


@pytest.mark.parametrize("what", ["lost", "forgotten", "flushed", "other settings"])
def test_what_is_over_does_not_go_on(what: str) -> None:
    room = Room(joined_silence_s=1.2)
    room.hear(0.9, times=20)
    room.hear(0.0, times=22)
    if what == "lost":
        room.hear(0.0, lost=100)
        room.hear(0.0, times=25)
    elif what == "forgotten":
        room.pointer.forget_last()
    elif what == "flushed":
        room.pointer.flush()
    else:
        room.pointer.use(room.pointer.settings)
    assert not room.pointer.may_go_on
    room.hear(0.9, times=20)
    room.hear(0.0, times=19)
    assert room.done[1].joined is None


def test_what_goes_on_already_may_be_forgotten_too() -> None:
    room = Room(joined_silence_s=1.2)
    room.hear(0.9, times=20)
    room.hear(0.0, times=22)
    room.hear(0.9, times=10)
    room.pointer.forget_last()
    assert not room.pointer.may_go_on
    room.hear(0.0, times=19)
    assert room.done[1].joined is None


def test_patience_waits_for_longer_and_joins_nothing() -> None:
    usual = EndPointSettings.of(AudioConfig(), rolling=True)
    assert usual.joined_silence_s == 1.2
    room = Room()
    room.pointer.use(usual.patient())
    room.hear(0.9, times=20)
    room.hear(0.0, times=33)
    assert room.done == []
    room.hear(0.0)
    assert len(room.done) == 1
    assert not room.pointer.may_go_on
    slow = EndPointSettings.of(AudioConfig(end_silence_s=2.0)).patient()
    assert slow.end_silence_s == 2.0
