"""The gate before the network: its floor, votes and hold, with a voice that is told by a sign."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.audio import vad
from edge.audio.vad import SameFrames, SpeechDetector, WebRtcClassifier
from edge.types import FloatArray


class Vad:
    """Stands in for WebRTC's detector: a frame that begins with a positive sample is voiced."""

    heard: NDArray[np.float64]

    def __init__(self, mode: int) -> None:
        assert mode == 3

    def is_speech(self, pcm: bytes, rate: int) -> bool:
        assert (len(pcm), rate) == (960, 16_000)
        Vad.heard = np.frombuffer(pcm, "<i2") / 32_767
        return bool(Vad.heard[0] > 0)


class Network:
    """Gives the probabilities that it is told, and the last for ever."""

    def __init__(self) -> None:
        self.says: Iterator[float] = repeat(0.0)
        self.heard: list[FloatArray] = []
        self.resets = 0

    def told(self, *probabilities: float) -> None:
        self.says = chain(probabilities, repeat(probabilities[-1]))

    def process_samples(self, frame: FloatArray) -> float:
        self.heard.append(frame)
        return next(self.says)

    def reset(self) -> None:
        self.resets += 1


class Ear:
    """A detector that is fed with frames of a level, dB, voiced or not."""

    def __init__(self) -> None:
        self.network = Network()
        self.detector = SpeechDetector(self.network)

    def hear(self, level_dbfs: float, voiced: str = "-") -> list[int]:
        """How many frames were judged with each: `v` for a voice, `-` for none."""
        return [len(answer) for answer in self.answers(level_dbfs, voiced)]

    def answers(self, level_dbfs: float, voiced: str = "-") -> list[list[float]]:
        magnitude = 10.0 ** (level_dbfs / 20.0) if level_dbfs > -100.0 else 0.0
        frames = []
        for mark in voiced:
            frame = np.full(512, -magnitude, np.float32)
            frame[0] = magnitude if mark == "v" else -magnitude
            frames.append(self.detector.feed(frame))
        return frames

    @property
    def opened(self) -> bool:
        """Whether the network has been asked."""
        return self.detector.classified_frames > 0


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    monkeypatch.setattr(vad, "webrtcvad", SimpleNamespace(Vad=Vad))
    return Ear()


@pytest.mark.parametrize(
    ("pattern", "judged"),
    [
        ("vvv", [1, 1, 3]),
        ("vv-v", [1, 1, 1, 4]),
        ("v-vv", [1, 1, 1, 4]),
        ("v--vv-v", [1, 1, 1, 1, 1, 1, 7]),
        ("vv--vv--", [1] * 8),
        ("v-v-v-", [1] * 6),
    ],
)
def test_it_opens_when_three_of_four_frames_are_voiced(
    ear: Ear, pattern: str, judged: list[int]
) -> None:
    assert ear.hear(-30.0, pattern) == judged


def test_the_last_16_frames_are_judged_in_retrospect(ear: Ear) -> None:
    ear.network.told(*(number / 20 for number in range(1, 17)))
    assert ear.hear(-80.0, "-" * 20) == [1] * 20
    answers = ear.answers(-30.0, "vvvv")
    assert answers[:2] == [[0.0], [0.0]]
    assert answers[2] == [number / 20 for number in range(1, 17)]
    assert answers[3] == [0.8]
    assert (ear.detector.frames, ear.detector.classified_frames) == (24, 17)


def test_somebody_else_is_told_what_was_found_and_cannot_make_it_forget(ear: Ear) -> None:
    ear.network.told(*(number / 20 for number in range(1, 9)))
    same, nothing = SameFrames(ear.detector), np.zeros(512, np.float32)
    assert same.feed(nothing) == [0.0]
    for mark in "--vvvv":
        (found,) = ear.answers(-30.0, mark)
        assert same.feed(nothing) == found
    same.reset()
    assert ear.detector.classified_frames == 6
    ear.detector.reset()
    assert same.feed(nothing) == [0.0]


@pytest.mark.parametrize(("above_db", "opens"), [(0.1, True), (-0.1, False)])
def test_it_opens_8_db_above_a_floor_that_rises_by_0_3_db_a_frame(
    ear: Ear, above_db: float, opens: bool
) -> None:
    ear.hear(-50.0, "-" * 40)  # from -75 to -63
    # While it is heard the floor still rises, by 0.6 before the third frame.
    ear.hear(-63.0 + 8.0 + 0.6 + above_db, "vvv")
    assert ear.opened is opens


@pytest.mark.parametrize(("above_db", "opens"), [(0.1, True), (-0.1, False)])
def test_the_floor_is_minus_75_at_least_and_no_louder_than_the_room(
    ear: Ear, above_db: float, opens: bool
) -> None:
    ear.hear(-74.0, "-" * 30)
    ear.hear(-74.0 + 8.0 + 0.6 + above_db, "vvv")
    assert ear.opened is opens
    ear.detector.reset()
    ear.hear(-100.0, "-" * 30)
    ear.hear(-75.0 + 8.0 + 0.6 + above_db, "vvv")
    assert ear.opened is opens


@pytest.mark.parametrize(("above_db", "opens"), [(0.1, True), (-0.1, False)])
def test_the_floor_falls_by_a_fifth_of_the_way(ear: Ear, above_db: float, opens: bool) -> None:
    ear.hear(-50.0, "-" * 60)  # from -75 to -57
    ear.hear(-67.0)  # to -59
    ear.hear(-79.0)  # to -63
    ear.hear(-63.0 + 8.0 + 0.6 + above_db, "vvv")
    assert ear.opened is opens


@pytest.mark.parametrize(
    ("probability", "above_db", "opens"), [(0.19, 0.1, True), (0.19, -0.1, False),
                                           (0.2, -2.6, True), (0.2, -2.8, False)]
)  # fmt: skip
def test_speech_does_not_raise_the_floor(
    ear: Ear, probability: float, above_db: float, opens: bool
) -> None:
    ear.network.told(0.0, 0.0, probability)
    ear.hear(-50.0, "vvv")  # to -74.4, then as it opens to -74.1 where it is no speech
    ear.hear(-50.0, "-" * 8)  # to -71.7 where it is no speech; then it closes
    judged = ear.detector.classified_frames
    ear.hear(-71.7 + 8.0 + 0.6 + above_db, "vvv")
    assert (ear.detector.classified_frames > judged) is opens


@pytest.mark.parametrize(
    ("mark", "probability", "stays"),
    [("-", 0.2, False), ("-", 0.21, True), ("v", 0.05, False), ("v", 0.06, True)],
)
def test_it_stays_open_for_8_frames_after_what_may_be_speech(
    ear: Ear, mark: str, probability: float, stays: bool
) -> None:
    ear.hear(-30.0, "vvv")
    ear.network.told(*[0.0] * 7, probability, 0.0)
    ear.hear(-80.0, "-" * 7)
    ear.hear(-30.0, mark)
    judged = ear.detector.classified_frames
    ear.hear(-80.0, "-" * 12)
    assert ear.detector.classified_frames - judged == (8 if stays else 0)


def test_what_was_judged_is_not_judged_again(ear: Ear) -> None:
    ear.hear(-30.0, "vvv")
    ear.hear(-80.0, "-" * 8)
    # Two frames since it closed, and three that open it again.
    assert ear.hear(-80.0, "--") == [1, 1]
    assert ear.hear(-30.0, "vvv")[-1] == 5


def test_faint_sound_is_amplified_by_20_db_and_less_after_loud_sound(ear: Ear) -> None:
    def gain(level_dbfs: float) -> float:
        ear.hear(level_dbfs)
        return abs(float(Vad.heard[1])) / float(10.0 ** (level_dbfs / 20.0))

    assert gain(-40.0) == pytest.approx(10.0, rel=0.01)
    assert gain(-26.1) == pytest.approx(10.0, rel=0.01)
    assert gain(-20.0) == pytest.approx(5.0, rel=0.01)
    assert gain(0.0) == pytest.approx(0.5, rel=0.01)
    # The peak decays by 0.3 dB a frame.
    assert [gain(-30.0) for _ in range(40)][39] == pytest.approx(0.5 * 10 ** (12 / 20), rel=0.01)
    assert [gain(-40.0) for _ in range(60)][59] == pytest.approx(10.0, rel=0.01)


def test_the_network_hears_amplified_frames_and_webrtc_in_its_place_does_not(ear: Ear) -> None:
    ear.hear(-40.0, "vvv")
    np.testing.assert_allclose(np.abs(ear.network.heard[-1]), 0.1, rtol=1e-3)

    detector = SpeechDetector(WebRtcClassifier())
    frame = np.full(512, 0.01, np.float32)
    answers = [detector.feed(frame) for _ in range(3)]
    np.testing.assert_allclose(Vad.heard, 0.01, atol=1e-4)
    assert answers == [[0.0], [0.0], [1.0, 1.0, 1.0]]
    assert detector.classified_frames == 3


def test_webrtc_gives_its_share_of_the_last_four_frames(ear: Ear) -> None:
    classifier = WebRtcClassifier()
    voice = np.full(512, 0.5, np.float32)
    answers = [classifier.process_samples(sign * voice) for sign in (1, -1, 1, 1, 1, 1, -1)]
    assert answers == pytest.approx([1.0, 0.5, 2 / 3, 0.75, 0.75, 1.0, 0.75])
    classifier.reset()
    assert classifier.process_samples(-voice) == 0.0


def test_it_can_forget_everything(ear: Ear) -> None:
    ear.hear(0.0, "v" * 3)
    ear.hear(-30.0, "-" * 40)
    ear.hear(-30.0, "vv")
    assert ear.detector.level_dbfs == pytest.approx(-30.0, abs=0.01)
    resets = ear.network.resets

    ear.detector.reset()

    assert ear.network.resets == resets + 1
    detector: Any = ear.detector
    assert (detector.level_dbfs, detector.frames, detector.classified_frames) == (-100.0, 0, 0)
    ear.network.heard.clear()
    # No vote, no hold, no floor, no peak and no frame is left of before.
    assert ear.hear(-66.3, "vvv") == [1, 1, 3]
    np.testing.assert_allclose(np.abs(ear.network.heard[-1]), 10 ** (-46.3 / 20), rtol=1e-3)
