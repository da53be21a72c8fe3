"""Keyword spotter: finds enrolled phrases inside running speech, while it goes on.

Every 80 ms the phrase model gives one vector for the last 0.775 s, and every enrolled utterance is
warped onto the vectors so far, with its beginning anywhere in them: subsequence dynamic time
warping with the slope held between a half and two (Sakoe and Chiba, 1978, pattern P = 1). With
that slope no cell depends on another one of its own column, so a column of all utterances is a few
operations on one array, and twenty people cost little more than two.

A hit is only a place to look: the full comparison on that piece alone decides whether it is the
phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.features import mel_frames
from edge.recognition.dtw import unit
from edge.recognition.embedders import PHRASE_CONTEXT_S, PHRASE_WINDOW, PhraseEmbedder
from edge.types import SAMPLE_RATE, FloatArray

STEP_S = 0.08
_HOPS = 2
"""Rows of an embedding to a step."""
_WINDOW_SAMPLES = int(SAMPLE_RATE * 0.01) * (PHRASE_WINDOW - 1) + 512
_STEP_SAMPLES = int(SAMPLE_RATE * STEP_S)
_WINDOW_S = _WINDOW_SAMPLES / SAMPLE_RATE
_HOP_S = STEP_S / _HOPS

TRIMMED = 7
"""Vectors of 40 ms left out at the beginning of an enrolled utterance: they see the silence before
it, and in running speech there is none."""
TRIMMED_AT_END = 13
"""Vectors left out at its end, more of them: a hit need not wait for what follows the phrase."""
_FEWEST = 8
"""Vectors that are left."""
NEAR = 0.22
"""Mean cost along the path up to which there is a hit; of the same phrase it is half that, and more
where it is said very softly amid other speech."""
SETTLED_STEPS = 1
"""Steps without anything better after which a hit is reported; a better one later is another."""
SAME_START_S = 0.12
"""Hits that begin this near one another are the same."""
_FAR = np.float32(1e6)
_APART = 2
"""Cells between two utterances, too far from everything to be on a path: as far as a step goes."""


@dataclass(frozen=True)
class KeywordHit:
    """A place in the stream, in seconds, that may hold an enrolled phrase.

    `owner` is the index of its profile, `cost` the mean cosine distance along the path, 0 and up.
    """

    owner: int
    start_s: float
    end_s: float
    cost: float


@dataclass(frozen=True)
class _Example:
    owner: int
    before_s: float
    after_s: float
    frames: FloatArray


class KeywordSpotter:
    """Watches a stream for the phrases of several people.

    Args:
        embedder: the phrase model.
        examples: enrolled utterances of each person, each of shape (t, e), one row every 40 ms.
    """

    def __init__(self, embedder: PhraseEmbedder, examples: Sequence[Sequence[FloatArray]]) -> None:
        self._embedder = embedder
        self._examples = [
            _example(owner, embedding) for owner, own in enumerate(examples) for embedding in own
        ]
        lengths = [len(each.frames) for each in self._examples]
        self._lengths = np.asarray(lengths, dtype=np.float32)
        # All of them in a row.
        ends = np.cumsum(lengths, dtype=np.intp) + _APART * np.arange(1, len(lengths) + 1)
        self._firsts, self._lasts = ends - lengths, ends - 1
        cells = int(ends[-1]) if lengths else 0
        self._frames = np.zeros((cells, embedder.dimensions), dtype=np.float32)
        self._offset = np.full(cells, _FAR, dtype=np.float32)
        for first, example in zip(self._firsts, self._examples):
            self._frames[first : first + len(example.frames)] = example.frames
            self._offset[first : first + len(example.frames)] = 1.0
        self._scratch = np.empty(max(0, cells - _APART), dtype=np.float32)
        self._nearer = np.empty(len(self._scratch), dtype=np.bool_)
        self.reset(0.0)

    def reset(self, start_s: float) -> None:
        """Start over: what comes next begins at `start_s` in the stream."""
        cells = len(self._frames)
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._next_s = start_s
        self._steps = 0
        # Of this column, the last one and, of paths, the one before: what each cell costs, the
        # cheapest path up to it, and the step that it begins with.
        self._costs = [np.full(cells, _FAR, dtype=np.float32) for _ in range(2)]
        self._totals = [np.full(cells, _FAR, dtype=np.float32) for _ in range(3)]
        self._begun = [np.zeros(cells, dtype=np.int32) for _ in range(3)]
        self._best: dict[int, tuple[KeywordHit, int]] = {}
        self._reported: dict[int, KeywordHit] = {}

    @property
    def position_s(self) -> float:
        """Position in the stream just after the last sample fed."""
        return self._next_s + len(self._rest) / SAMPLE_RATE

    def feed(self, samples: FloatArray) -> list[KeywordHit]:
        """Take in the next samples, shape (n,), and return the hits that are complete with them."""
        if not self._examples:
            return []
        self._rest = np.concatenate((self._rest, samples))
        found: list[KeywordHit] = []
        while len(self._rest) >= _WINDOW_SAMPLES:
            frames = mel_frames(self._rest[:_WINDOW_SAMPLES])
            vector = self._embedder.embed_window(frames)
            found += self._step(vector, self._next_s + _WINDOW_S / 2)
            self._rest = self._rest[_STEP_SAMPLES:]
            self._next_s += STEP_S
        return found

    def finish(self) -> list[KeywordHit]:
        """End the stream and return the hits that were still incomplete."""
        found = [hit for hit, _ in self._best.values()]
        self._best = {}
        return found

    def search(self, embedding: FloatArray) -> list[KeywordHit]:
        """The hits in an utterance that is embedded already; drops what was fed before.

        Args:
            embedding: shape (t, e), one row every 40 ms.
        """
        self.reset(0.0)
        found: list[KeywordHit] = []
        for index, vector in enumerate(embedding[::_HOPS]):
            found += self._step(vector, index * STEP_S)
        return found + self.finish()

    def _step(self, vector: FloatArray, center_s: float) -> list[KeywordHit]:
        """Take in the vector whose window is centered on `center_s`."""
        # Each buffer is written again two or three steps later.
        self._costs.reverse()
        self._totals.insert(0, self._totals.pop())
        self._begun.insert(0, self._begun.pop())
        costs, costs_before = self._costs
        totals, last, earlier = self._totals
        begun, begun_last, begun_earlier = self._begun
        np.dot(self._frames, unit(vector), out=costs)
        np.subtract(self._offset, costs, out=costs)
        # Both utterances go on by one; the enrolled one by two; the spoken one by two. Each is
        # weighted by how far it goes on in both together.
        path, way, nearer = totals[_APART:], self._scratch, self._nearer
        np.multiply(costs[2:], np.float32(2.0), out=path)
        path += last[1:-1]
        begun[2:] = begun_last[1:-1]
        np.add(costs[1:-1], costs[2:], out=way)
        way *= np.float32(1.5)
        way += last[:-2]
        np.less(way, path, out=nearer)
        np.minimum(way, path, out=path)
        np.copyto(begun[2:], begun_last[:-2], where=nearer)
        np.add(costs_before[2:], costs[2:], out=way)
        way *= np.float32(1.5)
        way += earlier[1:-1]
        np.less(way, path, out=nearer)
        np.minimum(way, path, out=path)
        np.copyto(begun[2:], begun_earlier[1:-1], where=nearer)
        totals[self._firsts] = np.float32(2.0) * costs[self._firsts]
        begun[self._firsts] = self._steps
        found = self._settle(totals[self._lasts], self._steps - begun[self._lasts], center_s)
        self._steps += 1
        return found

    def _settle(
        self, totals: FloatArray, steps: NDArray[np.int32], center_s: float
    ) -> list[KeywordHit]:
        """Note the hits that end here, by their paths and lengths, and return the settled ones."""
        mean = totals / (self._lengths + (steps + np.float32(1.0)))
        for row in np.flatnonzero(mean < NEAR):
            example = self._examples[row]
            known = self._best.get(example.owner)
            if known is None or mean[row] < known[0].cost:
                hit = KeywordHit(
                    example.owner,
                    center_s - float(steps[row]) * STEP_S - example.before_s,
                    center_s + example.after_s,
                    float(mean[row]),
                )
                if not self._was_reported(hit):
                    self._best[example.owner] = (hit, 0)
        found = []
        for owner, (hit, waited) in list(self._best.items()):
            if waited >= SETTLED_STEPS:
                found.append(hit)
                self._reported[owner] = hit
                del self._best[owner]
            else:
                self._best[owner] = (hit, waited + 1)
        return found

    def _was_reported(self, hit: KeywordHit) -> bool:
        """Whether it is the last hit reported, only with more of what followed in it."""
        last = self._reported.get(hit.owner)
        if last is None or hit.cost < last.cost:
            return False
        return abs(hit.start_s - last.start_s) < SAME_START_S


def _example(owner: int, embedding: FloatArray) -> _Example:
    """Every second vector of an enrolled utterance, without its ends."""
    spare = max(0, len(embedding) - _FEWEST)
    first = min(TRIMMED, spare // 2)
    last = min(TRIMMED_AT_END, spare - first)
    kept = embedding[first : len(embedding) - last : _HOPS]
    # The first vector's center lies half a window after the beginning of the context.
    before = _WINDOW_S / 2 + first * _HOP_S - PHRASE_CONTEXT_S
    skipped = (len(embedding) - first - last - 1) % _HOPS
    after = _WINDOW_S / 2 + (last + skipped) * _HOP_S - PHRASE_CONTEXT_S
    return _Example(owner, before, after, unit(kept))
