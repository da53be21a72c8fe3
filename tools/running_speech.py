"""One long stream of running speech made of many recordings, with phrases in between.

It simulates a day at the microphone: speech that is not meant for the device, and now and then a
phrase whose place is known to about 30 ms.

    stream = Stream.compose(background, splices, seed=1)
    with stream:
        for block in stream.blocks():
            ...
    stream.events  # the utterances and their times

The stream is made as it is taken, file by file, so hours of it need the memory of two.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio.blocks import BlockMaker, level_db
from edge.audio.files import read_audio
from edge.audio.sources import Source
from edge.audio.utterance import utterance_of
from edge.errors import InputError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance
from tools.acoustics.noise import NOISE_DBFS, pink_noise

FOREIGN = "foreign"
PHRASE = "phrase"

GAP = "gap"
ABUTTING = "abutting"
ALONE = "alone"
_GAPS_S = {GAP: (0.3, 1.5), ABUTTING: (0.06, 0.12), ALONE: (1.5, 2.5)}

ROOM_TONE_DBFS = -70.0
"""Level of the room tone under the whole stream, dB relative to full scale."""

_LEAD_IN_S = 1.0
_TAIL_OUT_S = 2.0
_KEPT_S = 0.25
_FADE_S = 0.02
_TONE_S = 10.0
_PEAK = 0.98

_STEP = SAMPLE_RATE // 100
_MOST_FADED = SAMPLE_RATE // 5
_FADED_DB = 25.0
_ABOVE_NOISE_DB = 6.0


@dataclass(frozen=True)
class Splice:
    """A phrase to insert between two recordings of the background.

    Attributes:
        person: who speaks.
        path: the recording.
        gain_db: gain over the recording; less if it would clip.
        joint: `gap` for 0.3 to 1.5 s of room tone on either side; `abutting` for 60 to 120 ms, as
            within running speech; `alone` for 1.5 to 2.5 s, so that it is an utterance by itself.
    """

    person: str
    path: Path
    gain_db: float = 0.0
    joint: str = GAP


@dataclass(frozen=True)
class Event:
    """An utterance in the stream.

    Attributes:
        kind: `foreign` or `phrase`.
        path: the recording.
        start_s: where its speech begins in the stream, seconds.
        speech_end_s: where its speech ends, seconds.
        level_db: level of its speech as it is in the stream, dB relative to full scale.
        person: who said the phrase; empty for foreign speech.
        joint: `gap`, `abutting` or `alone`, of a phrase.
    """

    kind: str
    path: Path
    start_s: float
    speech_end_s: float
    level_db: float
    person: str = ""
    joint: str = GAP


@dataclass(frozen=True)
class _Piece:
    kind: str
    splice: Splice
    gap_before_s: float


class Stream(Source):
    """A source of running speech, as fast as it is taken.

    Attributes:
        events: the utterances up to the last block taken, in order.
        silent: recordings left out because they contain no speech.
    """

    def __init__(self, pieces: Sequence[_Piece], seed: int) -> None:
        self._pieces = tuple(pieces)
        self._tone = pink_noise(_TONE_S, seed) * np.float32(
            10.0 ** ((ROOM_TONE_DBFS - NOISE_DBFS) / 20.0)
        )
        self._position = 0
        self.events: list[Event] = []
        self.silent: list[Path] = []

    @classmethod
    def compose(cls, background: Sequence[Path], splices: Sequence[Splice], seed: int) -> Stream:
        """Plan a stream; reads nothing yet.

        The background keeps its order. The splices are shuffled and spread evenly over the joints
        between two recordings of the background, one to a joint at most.

        Args:
            background: recordings of running speech.
            splices: phrases; fewer than there are recordings of the background.
            seed: of the order of the splices, the gaps and the room tone.

        Raises:
            InputError: too little background, or an unknown joint.
        """
        if not background or len(splices) > len(background) - 1:
            raise InputError(
                f"{len(splices)} phrases need {len(splices) + 1} recordings of background or more; "
                f"there are {len(background)}"
            )
        for splice in splices:
            if splice.joint not in _GAPS_S:
                known = " or ".join(_GAPS_S)
                raise InputError(f"{splice.path}: joint is {known}: {splice.joint!r}")
        generator = np.random.default_rng(seed)
        # One joint from each of equally large shares of the joints.
        shares = np.linspace(0, len(background) - 1, len(splices) + 1).astype(int)
        joints = [int(generator.integers(low, high)) for low, high in itertools.pairwise(shares)]
        order = generator.permutation(len(splices))
        after = {joint: splices[index] for joint, index in zip(joints, order)}

        pieces = []
        joint = GAP
        for index, path in enumerate(background):
            foreign = Splice("", path)
            pieces.append(_Piece(FOREIGN, foreign, float(generator.uniform(*_GAPS_S[joint]))))
            joint = GAP
            if index in after:
                joint = after[index].joint
                gap_s = float(generator.uniform(*_GAPS_S[joint]))
                pieces.append(_Piece(PHRASE, after[index], gap_s))
        return cls(pieces, seed)

    @property
    def duration_s(self) -> float:
        """How much of the stream has been made, seconds; all of it after the last block."""
        return self._position / SAMPLE_RATE

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks of 32 ms from the beginning; the last one may be shorter.

        Raises:
            AudioFormatError: one of the recordings cannot be read.
        """
        self.events.clear()
        self.silent.clear()
        self._position = 0
        maker = BlockMaker(SAMPLE_RATE)
        for samples in self._sounds():
            at = self._position
            self._position += len(samples)
            tone = np.take(self._tone, np.arange(at, self._position), mode="wrap")
            yield from maker.feed(samples + tone, time.monotonic())
        yield from maker.feed(np.zeros(0, np.float32), time.monotonic(), last=True)

    def _sounds(self) -> Iterator[FloatArray]:
        """Silence and speech in turn, without the room tone."""
        yield _silence(_LEAD_IN_S)
        before_s = _KEPT_S
        last: tuple[_Piece, Utterance] | None = None
        for current in self._voiced():
            if last is not None:
                gap_s = current[0].gap_before_s
                yield self._speak(*last, before_s, gap_s / 2)
                before_s = gap_s / 2
            last = current
        if last is not None:
            yield self._speak(*last, before_s, _KEPT_S)
        yield _silence(_TAIL_OUT_S)

    def _voiced(self) -> Iterator[tuple[_Piece, Utterance]]:
        for piece in self._pieces:
            utterance = utterance_of(read_audio(piece.splice.path))
            if utterance.quality.net_speech_s > 0:
                yield piece, utterance
            else:
                self.silent.append(piece.splice.path)

    def _speak(
        self, piece: _Piece, utterance: Utterance, before_s: float, after_s: float
    ) -> FloatArray:
        """A recording with its share of the gap on either side, and its event.

        At most a quarter of a second of its own silence is kept, faded; the rest of the gap is room
        tone.
        """
        lead, end = _speech_bounds(utterance)
        tail = len(utterance.samples) - end
        before, after = round(before_s * SAMPLE_RATE), round(after_s * SAMPLE_RATE)
        kept = round(_KEPT_S * SAMPLE_RATE)
        own_before, own_after = min(lead, before, kept), min(tail, after, kept)
        own = utterance.samples[lead - own_before : end + own_after].astype(np.float32)
        gain = 10.0 ** (piece.splice.gain_db / 20.0)
        gain = min(gain, _PEAK / max(float(np.abs(own).max()), 1e-6))
        own *= np.float32(gain)
        _fade(own, own_before, own_after)

        start = self._position + before
        spoken = end - lead
        self.events.append(
            Event(
                kind=piece.kind,
                path=piece.splice.path,
                start_s=start / SAMPLE_RATE,
                speech_end_s=(start + spoken) / SAMPLE_RATE,
                level_db=utterance.quality.level_dbfs + 20.0 * float(np.log10(gain)),
                person=piece.splice.person,
                joint=piece.splice.joint,
            )
        )
        return np.pad(own, (before - own_before, after - own_after))


def _speech_bounds(utterance: Utterance) -> tuple[int, int]:
    """First sample of the speech and the one after its last, within the utterance's samples.

    The detector reports speech for 40 to 100 ms after it has faded (measured on about a hundred
    recordings), too long for a gap of 60 ms and for measuring delays. So the end is moved to the
    last 10 ms that stand out, at most 0.2 s earlier.
    """
    lead = round(utterance.lead_s * SAMPLE_RATE)
    end = len(utterance.samples) - round(utterance.tail_s * SAMPLE_RATE)
    quality = utterance.quality
    faint_db = max(quality.level_dbfs - _FADED_DB, quality.noise_dbfs + _ABOVE_NOISE_DB)
    earliest = max(lead + _STEP, end - _MOST_FADED)
    while end - _STEP >= earliest and level_db(utterance.samples[end - _STEP : end]) < faint_db:
        end -= _STEP
    return lead, end


def _fade(samples: FloatArray, lead: int, tail: int) -> None:
    """Fade in and out, outside the speech."""
    count = min(round(_FADE_S * SAMPLE_RATE), lead)
    samples[:count] *= np.linspace(0.0, 1.0, count, dtype=np.float32)
    count = min(round(_FADE_S * SAMPLE_RATE), tail)
    samples[len(samples) - count :] *= np.linspace(1.0, 0.0, count, dtype=np.float32)


def _silence(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)
