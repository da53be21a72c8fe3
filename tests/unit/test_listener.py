"""From a stream to decisions: phrases alone, and phrases inside running speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edge.access.decider import Decider, Judgment
from edge.access.listener import Listener
from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.utterance import utterance_of
from edge.recognition import Engine
from edge.types import SAMPLE_RATE, AudioBlock, Confidence, FloatArray, Profile, ReasonCode
from tests.unit.voices import enrolled, in_blocks, quiet, spliced, with_a_pause

SETTINGS = EndPointSettings(rolling=True)


@pytest.fixture(scope="module")
def residents(engine: Engine) -> list[Profile]:
    return [enrolled(engine, name, phrase=f"what {name} says") for name in ("ada", "robin")]


@dataclass(frozen=True, eq=False)
class Heard:
    """A judgment, and up to where the stream had been taken in when it was made."""

    at_s: float
    judgment: Judgment

    @property
    def reason(self) -> ReasonCode:
        return self.judgment.decision.reason


def listener_of(engine: Engine, profiles: Sequence[Profile] | None = None) -> Listener:
    listener = Listener(EndPointer(SETTINGS), engine, Decider(engine, engine.config))
    if profiles is not None:
        listener.use(profiles)
    return listener


def take(listener: Listener, blocks: Sequence[AudioBlock]) -> Iterator[Heard]:
    for block in blocks:
        for judgment in listener.feed(block):
            if judgment.published:
                yield Heard(block.end_s, judgment)


def hear(
    engine: Engine, profiles: Sequence[Profile], samples: FloatArray, sizes: Sequence[int] = (512,)
) -> list[Heard]:
    listener = listener_of(engine, profiles)
    found = list(take(listener, in_blocks(samples, sizes)))
    end_s = len(samples) / SAMPLE_RATE
    return found + [Heard(end_s, each) for each in listener.flush() if each.published]


def only(found: Sequence[Heard]) -> Heard:
    assert len(found) == 1
    return found[0]


def closings(samples: FloatArray) -> list[float]:
    """Where the end-pointer alone lets go of utterances."""
    pointer = EndPointer(SETTINGS)
    return [block.end_s for block in in_blocks(samples) for _ in pointer.feed(block)]


def said(*parts: str) -> FloatArray:
    """Sentences in one breath, with silence before and after."""
    return np.concatenate((quiet(1.0), spliced(*parts), quiet(1.2)))


def length_s(*parts: str) -> float:
    return len(spliced(*parts)) / SAMPLE_RATE


def unsure(engine: Engine, profile: Profile, margin: float, *parts: str) -> Engine:
    """A recognizer to which Ada's phrase among these sentences is that near to the threshold."""
    heard = only(hear(engine, [profile], said(*parts)))
    candidate = heard.judgment.candidate
    assert candidate is not None
    voice = engine.scorer.voice
    moved = replace(voice, offset=voice.offset - candidate.voice.margin + margin)
    return Engine(engine.models, engine.config, replace(engine.scorer, voice=moved))


@pytest.fixture(scope="module")
def doubtful(engine: Engine, residents: list[Profile]) -> Engine:
    """A recognizer to which Ada's right phrase in running speech is only just good enough."""
    parts = ("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase")
    return unsure(engine, residents[0], 0.3, *parts)


# --- alone ---


@pytest.mark.parametrize("name", ["ada", "robin"])
def test_a_lone_phrase_is_answered_before_the_end_pointer_is_sure(
    engine: Engine, residents: list[Profile], name: str
) -> None:
    samples = said(f"{name}_right_phrase")
    heard = only(hear(engine, residents, samples))
    decision = heard.judgment.decision
    assert decision.granted
    assert decision.name == name
    assert decision.phrase == f"what {name} says"
    assert decision.confidence is Confidence.HIGH
    assert heard.at_s < closings(samples)[0]
    assert heard.at_s - (1.0 + length_s(f"{name}_right_phrase")) < 0.3


@pytest.mark.parametrize(
    ("recording", "reason"),
    [
        ("ada_wrong_phrase", ReasonCode.WRONG_PHRASE),
        ("robin_near_phrase", ReasonCode.WRONG_PHRASE),
        ("stranger_adas_phrase", ReasonCode.UNKNOWN_SPEAKER),
        ("stranger_other_phrase", ReasonCode.NO_MATCH),
    ],
)
def test_a_denial_waits_for_the_end(
    engine: Engine, residents: list[Profile], recording: str, reason: ReasonCode
) -> None:
    samples = said(recording)
    heard = only(hear(engine, residents, samples))
    assert heard.reason is reason
    assert heard.at_s == pytest.approx(closings(samples)[0])


def test_a_close_one_waits_as_long_as_the_end_pointer_and_then_opens(
    doubtful: Engine, residents: list[Profile]
) -> None:
    """However long somebody talks on: a decision that comes late is not sent."""
    samples = said("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase")
    heard = only(hear(doubtful, residents, samples))
    assert heard.judgment.decision.granted
    assert heard.judgment.decision.confidence is Confidence.LOW
    end_s = heard.judgment.utterance.end_s
    assert end_s == pytest.approx(1.0 + length_s("ada_wrong_phrase", "ada_right_phrase"), abs=0.2)
    assert end_s + SETTINGS.end_silence_s <= heard.at_s < end_s + SETTINGS.end_silence_s + 0.1


def test_what_is_not_enough_does_not_open_at_its_end_either(
    engine: Engine, residents: list[Profile]
) -> None:
    deaf = unsure(engine, residents[0], -1.5, "ada_right_phrase")
    heard = only(hear(deaf, residents, said("ada_right_phrase", "ada_wrong_phrase")))
    assert not heard.judgment.decision.granted


def test_nobody_enrolled_is_still_said_once(engine: Engine) -> None:
    for samples in (said("ada_right_phrase"), said("ada_wrong_phrase", "ada_right_phrase")):
        heard = only(hear(engine, [], samples))
        assert heard.reason is ReasonCode.NOBODY_ENROLLED
        assert heard.at_s == pytest.approx(closings(samples)[0])
    assert only(list(take(listener_of(engine), in_blocks(samples)))).reason is (
        ReasonCode.NOBODY_ENROLLED
    )


def test_silence_and_noises_are_no_decision(engine: Engine, residents: list[Profile]) -> None:
    click = quiet(1.0)
    click[5000:5020] = 0.9
    assert hear(engine, residents, np.concatenate((quiet(2.0), click, quiet(2.0)))) == []


# --- inside running speech ---


@pytest.mark.parametrize(
    ("name", "parts", "which"),
    [
        ("ada", ("robin_near_phrase", "ada_right_phrase"), 1),
        ("ada", ("ada_right_phrase", "ada_wrong_phrase"), 0),
        ("ada", ("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase"), 1),
        ("robin", ("robin_near_phrase", "robin_right_phrase", "robin_near_phrase"), 1),
        ("robin", ("ada_wrong_phrase", "robin_right_phrase", "stranger_other_phrase"), 1),
    ],
)
def test_a_phrase_inside_running_speech_opens_once_and_at_its_own_end(
    engine: Engine, residents: list[Profile], name: str, parts: tuple[str, ...], which: int
) -> None:
    heard = only(hear(engine, residents, said(*parts)))
    decision, utterance = heard.judgment.decision, heard.judgment.utterance
    assert decision.granted
    assert decision.name == name
    end_s = 1.0 + length_s(*parts[: which + 1])
    start_s = end_s - length_s(parts[which])
    assert end_s < heard.at_s < end_s + 0.6
    # Only the phrase was decided on, not what was said around it.
    assert utterance.start_s == pytest.approx(start_s, abs=0.2)
    assert utterance.end_s == pytest.approx(end_s, abs=0.2)
    assert decision.utterance_s == pytest.approx(length_s(parts[which]), abs=0.3)


@pytest.mark.parametrize(
    "parts",
    [
        ("stranger_other_phrase", "stranger_adas_phrase", "stranger_other_phrase"),
        ("ada_wrong_phrase", "stranger_adas_phrase", "ada_wrong_phrase"),
        ("robin_near_phrase", "stranger_adas_phrase"),
    ],
)
def test_the_phrase_by_another_voice_does_not(
    engine: Engine, residents: list[Profile], parts: tuple[str, ...]
) -> None:
    samples = said(*parts)
    heard = only(hear(engine, residents, samples))
    assert not heard.judgment.decision.granted
    assert heard.at_s == pytest.approx(closings(samples)[0])


def test_a_near_miss_in_running_speech_does_not(engine: Engine, residents: list[Profile]) -> None:
    samples = said("ada_wrong_phrase", "robin_near_phrase", "robin_near_phrase")
    assert not only(hear(engine, residents, samples)).judgment.decision.granted


@pytest.mark.parametrize(
    ("second", "name"), [("ada_right_phrase", "ada"), ("robin_right_phrase", "robin")]
)
def test_another_phrase_in_the_same_breath_is_answered_too(
    engine: Engine, residents: list[Profile], second: str, name: str
) -> None:
    found = hear(engine, residents, said("ada_right_phrase", "ada_wrong_phrase", second))
    assert [heard.judgment.decision.name for heard in found] == ["ada", name]
    assert all(heard.judgment.decision.granted for heard in found)
    assert found[0].judgment.utterance.end_s < found[1].judgment.utterance.start_s


def test_what_follows_a_phrase_that_opened_is_not_denied(
    engine: Engine, residents: list[Profile]
) -> None:
    for rest in ("ada_wrong_phrase", "stranger_adas_phrase"):
        heard = only(hear(engine, residents, said("ada_right_phrase", rest)))
        assert heard.judgment.decision.granted


def test_each_utterance_has_its_own_decision(engine: Engine, residents: list[Profile]) -> None:
    samples = np.concatenate(
        (
            said("ada_wrong_phrase", "ada_right_phrase"),
            said("stranger_adas_phrase"),
            said("robin_right_phrase", "robin_near_phrase"),
            said("ada_wrong_phrase"),
        )
    )
    found = hear(engine, residents, samples)
    assert [heard.reason for heard in found] == [
        ReasonCode.RECOGNIZED,
        ReasonCode.UNKNOWN_SPEAKER,
        ReasonCode.RECOGNIZED,
        ReasonCode.WRONG_PHRASE,
    ]


def test_after_twenty_seconds_of_talk_the_phrase_still_opens(
    engine: Engine, residents: list[Profile]
) -> None:
    talk = spliced(*("stranger_other_phrase", "ada_wrong_phrase", "robin_near_phrase") * 3)
    assert len(talk) > 20 * SAMPLE_RATE > SETTINGS.max_utterance_s * SAMPLE_RATE
    samples = np.concatenate((quiet(1.0), talk, quiet(0.08), spliced("ada_right_phrase")))
    heard = only(hear(engine, residents, np.concatenate((samples, quiet(1.2)))))
    assert heard.judgment.decision.granted
    assert heard.judgment.decision.name == "ada"
    assert heard.at_s == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.6)


def test_talk_without_end_and_without_a_phrase_is_too_long(
    engine: Engine, residents: list[Profile]
) -> None:
    talk = spliced(*("stranger_other_phrase", "ada_wrong_phrase", "robin_near_phrase") * 3)
    samples = np.concatenate((quiet(1.0), talk, quiet(1.2)))
    assert only(hear(engine, residents, samples)).reason is ReasonCode.TOO_LONG


# --- what may happen meanwhile ---


def in_halves(samples: FloatArray, at_s: float) -> tuple[list[AudioBlock], list[AudioBlock]]:
    blocks = in_blocks(samples)
    first = round(at_s * SAMPLE_RATE) // FRAME_SAMPLES
    return blocks[:first], blocks[first:]


def test_who_is_enrolled_while_speech_is_open_is_known(
    engine: Engine, residents: list[Profile]
) -> None:
    samples = said("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase")
    middle_of_phrase = 1.0 + length_s("ada_wrong_phrase") + 1.2
    for before in ([], residents[1:]):
        first, second = in_halves(samples, middle_of_phrase)
        listener = listener_of(engine, before)
        assert list(take(listener, first)) == []
        listener.use(residents)
        heard = only(list(take(listener, second)))
        assert heard.judgment.decision.granted
        assert heard.at_s < closings(samples)[0] - 1.0


def test_who_is_deleted_while_speech_is_open_does_not_open(
    engine: Engine, residents: list[Profile]
) -> None:
    samples = said("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase")
    first, second = in_halves(samples, 1.0 + length_s("ada_wrong_phrase") + 1.2)
    for left in (residents[1:], []):
        listener = listener_of(engine, residents)
        assert list(take(listener, first)) == []
        listener.use(left)
        heard = only(list(take(listener, second)))
        assert not heard.judgment.decision.granted
        assert heard.at_s == pytest.approx(closings(samples)[0])


def test_what_was_heard_with_a_hole_in_it_does_not_open(
    doubtful: Engine, residents: list[Profile]
) -> None:
    parts = (said("ada_right_phrase", "ada_wrong_phrase"), said("stranger_other_phrase"))
    blocks = in_blocks(np.concatenate(parts))
    at = round((1.0 + length_s("ada_right_phrase") + 0.5) * SAMPLE_RATE) // FRAME_SAMPLES
    blocks[at] = replace(blocks[at], lost_samples=800)
    # The close one is forgotten with the utterance that it was found in.
    heard = only(list(take(listener_of(doubtful, residents), blocks)))
    assert not heard.judgment.decision.granted


def test_a_stream_that_ends_with_the_phrase(engine: Engine, residents: list[Profile]) -> None:
    whole = said("ada_wrong_phrase", "ada_right_phrase")
    samples = whole[: len(whole) - round(1.2 * SAMPLE_RATE)]
    heard = only(hear(engine, residents, samples))
    assert heard.judgment.decision.granted
    assert heard.at_s == pytest.approx(len(samples) / SAMPLE_RATE)


@pytest.mark.parametrize("sizes", [(1,), (1, 112, 16_000, 333)], ids=str)
def test_the_size_of_the_blocks_changes_no_decision(
    engine: Engine, residents: list[Profile], sizes: tuple[int, ...]
) -> None:
    samples = np.concatenate(
        (
            said("ada_wrong_phrase", "ada_right_phrase"),
            quiet(0.5),
            said("stranger_other_phrase"),
        )
    )
    plain, odd = hear(engine, residents, samples), hear(engine, residents, samples, sizes)
    assert [heard.reason for heard in plain] == [ReasonCode.RECOGNIZED, ReasonCode.NO_MATCH]
    for one, other in zip(plain, odd):
        assert one.judgment.decision.scores == pytest.approx(
            other.judgment.decision.scores, abs=1e-5
        )
        began_s = one.judgment.utterance.start_s
        assert other.judgment.utterance.start_s == pytest.approx(began_s)
        np.testing.assert_array_equal(
            one.judgment.utterance.samples, other.judgment.utterance.samples
        )
    assert len(odd) == len(plain)


# --- a pause in the phrase ---


@pytest.mark.parametrize(
    ("name", "pause_s", "reasons"),
    [
        ("ada_right_phrase", 0.4, [ReasonCode.RECOGNIZED]),
        ("ada_right_phrase", 0.7, [ReasonCode.RECOGNIZED]),
        ("robin_right_phrase", 1.0, [ReasonCode.RECOGNIZED]),
        ("stranger_adas_phrase", 0.7, [ReasonCode.UNKNOWN_SPEAKER]),
        ("ada_wrong_phrase", 0.7, [ReasonCode.WRONG_PHRASE, ReasonCode.WRONG_PHRASE]),
        ("ada_right_phrase", 1.4, [ReasonCode.WRONG_PHRASE, ReasonCode.WRONG_PHRASE]),
    ],
)
def test_a_phrase_with_a_pause_in_it_is_one_phrase(
    engine: Engine,
    residents: list[Profile],
    name: str,
    pause_s: float,
    reasons: list[ReasonCode],
) -> None:
    endpointer = EndPointer(EndPointSettings.of(engine.config.audio, rolling=True))
    listener = Listener(endpointer, engine, Decider(engine, engine.config))
    listener.use(residents)
    stream = np.concatenate((quiet(0.5), with_a_pause(name, pause_s), quiet(1.5)))
    found = list(take(listener, in_blocks(stream)))
    assert [heard.reason for heard in found] == reasons
    # A denial waits for at most 0.6 s longer than the end-pointer, from the end of the speech.
    assert found[-1].at_s - found[-1].judgment.utterance.end_s < 1.35


def test_a_pause_costs_nothing(engine: Engine, residents: list[Profile]) -> None:
    (plain,) = hear(engine, residents[:1], said("ada_right_phrase"))
    utterance = utterance_of(with_a_pause("ada_right_phrase", 0.7))
    assert len(utterance.pauses) == 1
    verified = engine.verify(residents[0], utterance)
    assert verified.phrase is not None
    distance = plain.judgment.decision.scores["phrase_distance"]
    assert verified.phrase.distance < distance + 0.06
