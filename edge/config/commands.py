"""The settings of commands that come in over MQTT."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.rules import section, setting


@dataclass(frozen=True)
class UnsignedConfig:
    """Commands that anybody on the broker may give, without a signature."""

    listening: bool = setting(
        False,
        "BASE/DEVICE/set/listening, ON or OFF, as a switch of Home Assistant sends it. Gives away:"
        " any light bulb on the broker can make the device deaf, so that nobody gets in.",
    )
    lift_lockout: bool = setting(
        False,
        "BASE/DEVICE/set/lift_lockout, PRESS. Gives away: whoever guesses at the door and is on the"
        " broker can guess without end; the lock-out holds nobody any more.",
    )
    lock_out: bool = setting(
        False,
        "BASE/DEVICE/set/lock_out, PRESS. Gives away: anybody on the broker can keep everybody out"
        " until the lock-out is over or is lifted.",
    )
    enrol: bool = setting(
        False,
        "BASE/DEVICE/set/enrol, PRESS, enrols whom set/enrol_person names. Gives away the house:"
        " whoever is on the broker and can speak at the door enrols themselves, and the door opens"
        " for them; and while it goes on nobody gets in. Allow it only while somebody is being"
        " enrolled, then switch it off again; a signed enrol_start needs none of this.",
    )
    enrol_cancel: bool = setting(
        False,
        "BASE/DEVICE/set/enrol_cancel, PRESS. Gives away: anybody on the broker can keep anybody"
        " from being enrolled.",
    )
    enrol_person: bool = setting(
        False,
        "BASE/DEVICE/set/enrol_person, a name of up to 64 characters, or nothing for nobody. Gives"
        " away, with enrol: anybody on the broker chooses whose name it is. The name is in the"
        " status, which the broker keeps.",
    )


@dataclass(frozen=True)
class CommandsConfig:
    """Who may tell the device what over MQTT. Whatever is refused is in the audit trail."""

    keys_file: Path | None = setting(
        None,
        "YAML file with the keys that may command and the role of each (owner, operator or"
        " observer); nobody but the service may read it. A bare name is first looked for among the"
        " service's systemd credentials.",
        empty="no signed command is accepted",
    )
    clock_allowance_s: float = setting(
        5.0,
        "How far the clock of whoever commands may be from this device's.",
        unit="s",
        least=0.0,
        most=60.0,
    )
    unsigned: UnsignedConfig = section(
        UnsignedConfig, "Commands that anybody on the broker may give, without a signature."
    )
