"""What has been renamed since the golden files were made: the whole list.

The golden files show what was stored and sent before. The tests translate them with these tables
and want exactly that of the present code, so a name that changes has to be listed here, and a
value, field or message that changes in any other way fails. An entry that fits nothing in the
golden files fails too. The files themselves stay as they are; leave them out when renaming.

- `NAMES`: members of JSON objects, fields and columns. None for one that is gone.
- `VALUES`: whole texts, such as reason codes, states, kinds of events, and messages for people.
- `TOPICS`: what follows BASE/DEVICE/ in MQTT topics, also where a message names the topic.
"""

from __future__ import annotations

from typing import Any

NAMES: dict[str, str | None] = {}
VALUES: dict[str, str] = {}
TOPICS: dict[str, str] = {}

BASE = "edge-voice/test-door/"
"""The first levels of the topics of the scripted run."""


class Translation:
    """Translates what is in the golden files.

    Args:
        values: whether values and topics are new too; not of what lies in a file that was kept.

    Attributes:
        used: the entries that fitted something.
    """

    def __init__(self, *, values: bool = True) -> None:
        self._values = values
        self.used: set[str] = set()

    def of(self, value: Any) -> Any:
        """A value as the present code has it."""
        if isinstance(value, dict):
            names = {name: self._looked_up(NAMES, name) for name in value}
            return {names[name]: self.of(inner) for name, inner in value.items() if names[name]}
        if isinstance(value, list):
            return [self.of(inner) for inner in value]
        if not isinstance(value, str) or not self._values:
            return value
        if value.startswith(BASE):
            return BASE + str(self._looked_up(TOPICS, value[len(BASE) :]))
        return self._looked_up(VALUES, value)

    def _looked_up(self, table: Any, key: str) -> Any:
        if key in table:
            self.used.add(key)
        return table.get(key, key)
