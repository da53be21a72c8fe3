"""Events at the door and on the device, as the audit trail records them."""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

Detail = str | int | float | bool | None


class EventKind(str, enum.Enum):
    """What kind of thing happened: a closed set, safe to switch on."""

    STARTED = "started"
    STOPPED = "stopped"
    DECISION = "decision"
    COMMAND = "command"
    """A command that was carried out."""
    COMMAND_REFUSED = "command_refused"
    ENROLLMENT = "enrollment"
    CHANGE = "change"
    """A profile was renamed, reset, or its access rule changed."""
    DELETION = "deletion"
    EXPORT = "export"
    IMPORT = "import"
    LOCK_OUT = "lock_out"
    LOCK_OUT_OVER = "lock_out_over"
    DURESS = "duress"
    KEYS = "keys"
    """A key was made, rotated or withdrawn."""
    RETENTION = "retention"
    """The trail's own: entries that were kept for long enough were removed."""
    UNWRITTEN = "unwritten"
    """The trail's own: so many events could not be written and are lost."""
    TAMPERING = "tampering"
    """The trail's own: entries that had been written were not there, or were altered."""


@dataclass(frozen=True)
class Event:
    """One entry of the audit trail.

    Attributes:
        kind: what happened.
        detail: flat figures and words about it, by name; never a secret, an embedding or sound.
        profile_id: the person concerned; None for nobody.
        time: Unix time, seconds.
    """

    kind: EventKind
    detail: Mapping[str, Detail] = field(default_factory=dict)
    profile_id: str | None = None
    time: float = field(default_factory=time.time)
