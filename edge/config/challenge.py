"""The settings of the challenge: random digits to be said after the passphrase."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.

from __future__ import annotations

from dataclasses import dataclass

from edge.config.rules import setting

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True)
class ChallengeConfig:
    """Random digits that are asked for after the passphrase, against recordings of it."""

    required: str = setting(
        "never",
        "Whom this door asks: never (only people whose own access says so), hours (everybody, at"
        " the hours below) or always. Who has not enrolled digits with `edge-voice enroll NAME"
        " --digits` is then not let in.",
        choices=("never", "hours", "always"),
    )
    hours: str = setting(
        "22:00-06:00",
        "When hours asks, in the device's local time.",
        pattern=f"{_TIME}-{_TIME}",
        pattern_doc="two times such as 22:00-06:00",
    )
    digits: int = setting(
        4, "How many digits are asked for, each another one.", unit="digits", least=4, most=6
    )
    answer_s: float = setting(
        10.0, "Time to say them, from when they are shown.", unit="s", least=3.0, most=60.0
    )
    attempts: int = setting(
        2, "Answers allowed, each to new digits.", unit="answers", least=1, most=5
    )
    speak: bool = setting(
        False,
        "Whether the device itself says the digits, with espeak-ng where that is installed. They"
        " are published over MQTT in any case.",
    )
    language: str = setting(
        "en",
        "Language in which it says them, as espeak-ng names it.",
        pattern=r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,2}",
        pattern_doc="a language such as en, de or pt-br",
    )
    output: str | None = setting(
        None, "Loudspeaker, by part of its name.", empty="the system's default"
    )

    @property
    def minutes(self) -> tuple[int, int]:
        """Begin and end of the hours, minutes after midnight."""
        begin, end = ((int(part[:2]) * 60 + int(part[3:])) for part in self.hours.split("-"))
        return begin, end
