"""Names that people are to be enrolled under, as they come in over MQTT."""

from __future__ import annotations

import contextlib

from edge.enrolment.process import DURESS
from edge.errors import ProfileError
from edge.mqtt.desk import CommandFailed
from edge.store.names import clean_name, name_key


def clean(name: str) -> str:
    """The name as it is kept.

    Raises:
        CommandFailed: `bad_name`.
    """
    with contextlib.suppress(ProfileError):
        return clean_name(name)
    raise CommandFailed("bad_name", "no name: at most 64 characters, all of which print")


def refuse_duress(name: str) -> None:
    """Refuse the name of a duress phrase, whether there is one or not.

    That one is taken and another is not would tell who has one.

    Raises:
        CommandFailed: `bad_name`.
    """
    if name_key(name).endswith(DURESS):
        raise CommandFailed("bad_name", f"a name cannot end in {DURESS}: choose another")
