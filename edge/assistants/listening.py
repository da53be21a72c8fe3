"""Who speaks in an utterance, found while it arrives."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.assistants.publishing import SpokenUtterance, nobody, spoken_in
from edge.audio.blocks import BlockMaker
from edge.audio.files import require_format
from edge.audio.sources import PcmFormat
from edge.errors import AudioFormatError, EnvironmentFault, ProfileError
from edge.recognition import Engine
from edge.recognition.speaker_messages import identifiable
from edge.recognition.turns import Turn, TurnFinder
from edge.store import ProfileStore
from edge.types import AudioBlock, Profile
from edge.web.recognizer import Recognizer

MOST_S = 60.0
"""Of a longer utterance the rest is passed on, and not listened to."""
_MOST_WAITING_BYTES = 4 << 20
"""Two minutes at 16 kHz."""


class EnrolledPeople:
    """Everybody who can be recognized, read again after each change; for one thread."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._version: tuple[int, int] | None = None
        self._people: list[Profile] = []

    def present(self, engine: Engine) -> list[Profile]:
        """Who is enrolled now. Raises `StoreError`."""
        version = self._store.data_version()
        if version != self._version:
            self._people = identifiable(engine, self._store.list())
            self._version = version
        return self._people


class Listening:
    """Listens to one utterance, in the loop's thread but for its works on the recognizer.

    Args:
        caller: whose works these are, for the recognizer to be fair.

    Attributes:
        learns: whether it is said to enroll somebody.
    """

    learns = False

    def __init__(self, recognizer: Recognizer, caller: str) -> None:
        self._recognizer = recognizer
        self._caller = caller
        self._began_at = time.time()
        self._format: PcmFormat | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._seconds = 0.0
        self._work: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._maker: BlockMaker | None = None

    def feed(self, data: Mapping[str, Any], payload: bytes) -> None:
        """Take in a chunk of sound in the format that it names."""
        if self._failure is not None or self._seconds >= MOST_S:
            return
        try:
            pcm = self._format = self._format_of(data)
        except (AudioFormatError, EnvironmentFault) as error:
            self._give_up(error)
            return
        self._seconds += len(payload) / pcm.frame_bytes / pcm.rate
        self._waiting_bytes += len(payload)
        whole, piece = len(payload) - len(payload) % pcm.frame_bytes, pcm.rate * pcm.frame_bytes
        self._waiting.extend(payload[at : min(whole, at + piece)] for at in range(0, whole, piece))
        if self._work is None:
            self._work = asyncio.create_task(self._catch_up())

    async def finish(self) -> SpokenUtterance:
        """Whose the utterance is; raises why that cannot be said."""
        if self._work is not None:
            await self._work
        if self._failure is None:
            await self._run(self._finish)
        if self._failure is not None:
            raise self._failure
        return self._result()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self._give_up(EnvironmentFault("canceled"))
        self._work = asyncio.create_task(self._run(self._abandon))

    def _format_of(self, data: Mapping[str, Any]) -> PcmFormat:
        """The format of a chunk that can be listened to."""
        pcm = _format_of(data)
        if pcm != (self._format or pcm):
            raise AudioFormatError("the sound: its format changes within an utterance")
        if self._waiting_bytes > _MOST_WAITING_BYTES:
            raise EnvironmentFault("this machine is too slow for so much sound at once")
        return pcm

    def _give_up(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._waiting.clear()

    async def _catch_up(self) -> None:
        """Have what waits looked at, a second at a time: other utterances wait for it."""
        while self._waiting:
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            await self._run(functools.partial(self._look, piece))
        self._work = None

    async def _run(self, work: Callable[[Engine], None]) -> None:
        try:
            await self._recognizer.run(self._caller, work)
        except Exception as error:  # noqa: BLE001 (told at the end; the words are passed on)
            self._give_up(error)

    # --- the recognizer's thread ---

    def _look(self, piece: bytes, engine: Engine) -> None:
        if self._format is None:
            return
        if self._maker is None:
            self._maker = BlockMaker(self._format.rate)
        samples, clipped = self._format.decode(piece, "the sound")
        self._take(engine, self._maker.feed(samples, time.monotonic(), clipped=clipped))

    def _take(self, engine: Engine, blocks: Sequence[AudioBlock]) -> None:
        """Take in the next part of it."""
        raise NotImplementedError

    def _finish(self, engine: Engine) -> None:
        """It is over."""
        raise NotImplementedError

    def _abandon(self, engine: Engine) -> None:
        """It broke off."""

    def _result(self) -> SpokenUtterance:
        """Whose it is, once it is over; in the loop's thread."""
        raise NotImplementedError


class Identifying(Listening):
    """Finds out who speaks.

    Args:
        silence_s: silence that ends a turn, seconds.
        speaks: called in the recognizer's thread with turns, and how much was heard, seconds.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        caller: str,
        people: EnrolledPeople,
        silence_s: float,
        speaks: Callable[[Sequence[Turn], float], None],
    ) -> None:
        super().__init__(recognizer, caller)
        self._people = people
        self._silence_s = silence_s
        self._speaks = speaks
        self._heard_s = 0.0
        self._finder: TurnFinder | None = None
        self._turns: dict[int, Turn] = {}

    def _take(self, engine: Engine, blocks: Sequence[AudioBlock]) -> None:
        if self._finder is None:
            people = self._people.present(engine)
            if not people:
                raise ProfileError("nobody is enrolled: edge-voice enroll NAME")
            self._finder = TurnFinder(engine, people, self._silence_s)
        for block in blocks:
            self._heard_s = block.end_s
            self._found(self._finder.feed(block))

    def _finish(self, engine: Engine) -> None:
        if self._finder is not None:
            self._found(self._finder.finish())

    def _abandon(self, engine: Engine) -> None:
        self._finish(engine)

    def _found(self, turns: Sequence[Turn]) -> None:
        self._turns.update((turn.number, turn) for turn in turns)
        if turns:
            self._speaks(turns, self._heard_s)

    def _result(self) -> SpokenUtterance:
        return spoken_in(list(self._turns.values()), self._began_at)


class Learning(Listening):
    """Collects an utterance that is said to enroll somebody."""

    learns = True

    def __init__(
        self,
        recognizer: Recognizer,
        caller: str,
        learn: Callable[[Engine, Sequence[AudioBlock]], None],
    ) -> None:
        super().__init__(recognizer, caller)
        self._learn = learn
        self._blocks: list[AudioBlock] = []

    def _take(self, engine: Engine, blocks: Sequence[AudioBlock]) -> None:
        self._blocks += blocks

    def _finish(self, engine: Engine) -> None:
        self._learn(engine, self._blocks)

    def _result(self) -> SpokenUtterance:
        return nobody(learned=True)


def _format_of(data: Mapping[str, Any]) -> PcmFormat:
    """The format that an event names. Raises `AudioFormatError`."""
    rate, width, channels = data.get("rate"), data.get("width"), data.get("channels")
    if not (isinstance(rate, int) and isinstance(width, int) and isinstance(channels, int)):
        raise AudioFormatError("the sound: its rate, width and channels are not given")
    require_format("the sound", rate, channels)
    if not 1 <= width <= 4:
        raise AudioFormatError(f"the sound: {width} bytes in a sample; use 2")
    return PcmFormat(rate, channels, 8 * width)
