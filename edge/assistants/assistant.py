"""One assistant: whose words reach it, and how it is told who spoke."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from edge.assistants.enrolling import AssistantEnrollment
from edge.assistants.events import RawEvent
from edge.assistants.listening import EnrolledPeople, Identifying, Learning, Listening
from edge.assistants.publishing import AssistantMessages, SpokenUtterance, nobody
from edge.config import Config
from edge.config.settings import AssistantConfig
from edge.store.names import name_key
from edge.web.recognizer import Recognizer

_log = logging.getLogger(__name__)


class Assistant:
    """What the connections of one assistant share; for the loop's thread.

    Args:
        config: with the assistant in the device's place, as of its messages.
    """

    def __init__(
        self,
        config: Config,
        settings: AssistantConfig,
        recognizer: Recognizer,
        people: EnrolledPeople,
        messages: AssistantMessages,
        enrollment: AssistantEnrollment,
    ) -> None:
        self.name = config.device.name
        self.settings = settings
        self._recognizer = recognizer
        self._people = people
        self._messages = messages
        self._enrollment = enrollment
        self._silence_s = config.audio.end_silence_s
        self._let_through = {name_key(name) for name in settings.names}
        self._failing = False
        self._unable = ""
        self._count = 0

    @property
    def withholds(self) -> bool:
        """Whether no text may be passed on before it is known who spoke."""
        return self.settings.gate != "open" or self.settings.prefix or self._enrollment.running

    def listen(self) -> Listening:
        """Begin to listen to an utterance."""
        self._count += 1
        caller = f"{self.name} {self._count}"
        if self._enrollment.running:
            return Learning(self._recognizer, caller, self._enrollment.learn)
        speaks = self._messages.new_utterance()
        return Identifying(self._recognizer, caller, self._people, self._silence_s, speaks)

    async def conclude(self, listening: Listening) -> SpokenUtterance:
        """Whose the utterance is, told to whoever wants to know; the text is passed on after it."""
        try:
            spoken = await listening.finish()
        except Exception as error:  # noqa: BLE001 (the words are the assistant's, not ours to lose)
            why = str(error)
            level = logging.DEBUG if why == self._unable else logging.WARNING
            _log.log(level, "%s: cannot tell who spoke: %s", self.name, why)
            self._unable = why
            spoken = nobody(learned=listening.learns)
        if not spoken.learned:
            await self._messages.spoke(spoken)
        return spoken

    def shown(self, text: str, spoken: SpokenUtterance, *, begins: bool = True) -> str:
        """A text as the assistant gets it; `begins` unless it is a later piece of one."""
        if not self._lets_through(spoken):
            return ""
        if self.settings.prefix and begins and spoken.name and text.strip():
            return f"{spoken.name}: {text.lstrip()}"
        return text

    def described(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """What the speech-to-text says of itself, under this assistant's name."""
        described: dict[str, Any] = json.loads(json.dumps(info))
        programs = described.get("asr")
        for program in programs if isinstance(programs, list) else []:
            if isinstance(program, dict):
                program["name"] = self._named(program.get("name"))
                about = program.get("description") or ""
                program["description"] = f"{about}; Edge Voice tells who speaks".lstrip("; ")
        return described

    def selecting(self, event: RawEvent) -> bytes | None:
        """An event that names the program as `described` does, with its own name; else None."""
        name = event.data.get("name")
        if event.type != "select-program" or not isinstance(name, str):
            return None
        before, after = self._named("\0").split("\0")
        if not (name.startswith(before) and name.endswith(after)):
            return None
        own = name[len(before) : len(name) - len(after)]
        return (
            json.dumps({"type": event.type, "data": {**event.data, "name": own}}).encode() + b"\n"
        )

    def failing(self, why: str) -> None:
        """The speech-to-text fails; logged once."""
        _log.log(logging.DEBUG if self._failing else logging.WARNING, "%s: %s", self.name, why)
        self._failing = True

    def works(self) -> None:
        """The speech-to-text answers."""
        if self._failing:
            _log.info("%s: the speech-to-text answers again", self.name)
        self._failing = False

    def _named(self, program: Any) -> str:
        return f"{self.name} ({program or 'speech-to-text'})"

    def _lets_through(self, spoken: SpokenUtterance) -> bool:
        if spoken.learned:
            return False
        if self.settings.gate == "open":
            return True
        if spoken.profile_id is None or spoken.name is None:
            return False
        own = {spoken.profile_id, name_key(spoken.name)}
        return not self._let_through or bool(own & self._let_through)
