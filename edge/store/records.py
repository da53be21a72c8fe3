"""What a profile is besides its samples, as bytes to be sealed."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from datetime import date
from typing import Any

from edge.types import EVERYTHING, AccessRule, EnrolmentSample, Profile, ProfileKind, Window

_BLOCK = 512
"""Sizes are rounded up to this: the size alone would tell a name's length, or that there is a
rule, or that it is a duress phrase."""
_MAX_RULE_ITEMS = 1000


@dataclass(frozen=True)
class Record:
    """A profile without its id and samples; the attributes are those of `Profile`."""

    name: str
    kind: ProfileKind
    phrase: str
    speaker_model: str
    phrase_model: str
    required: float
    created_at: float
    updated_at: float
    rule: AccessRule = EVERYTHING
    duress_of: str | None = None

    def profile(self, profile_id: str, samples: tuple[EnrolmentSample, ...]) -> Profile:
        """The profile that this is the record of."""
        return Profile(
            id=profile_id,
            name=self.name,
            kind=self.kind,
            phrase=self.phrase,
            speaker_model=self.speaker_model,
            phrase_model=self.phrase_model,
            required=self.required,
            samples=samples,
            created_at=self.created_at,
            updated_at=self.updated_at,
            rule=self.rule,
            duress_of=self.duress_of,
        )


def encode(record: Record) -> bytes:
    """A record as bytes."""
    text = json.dumps(as_dict(record), ensure_ascii=False, separators=(",", ":"))
    content = text.encode()
    return content + b" " * (-len(content) % _BLOCK)


def decode(content: bytes) -> Record:
    """A record from what `encode` made of it; what a newer version added is passed over.

    Raises:
        ValueError: it is nothing of the kind.
    """
    return from_dict(json.loads(content))


def as_dict(record: Record) -> dict[str, Any]:
    """A record as JSON knows it."""
    return {
        "name": record.name,
        "kind": record.kind.value,
        "phrase": record.phrase,
        "speaker_model": record.speaker_model,
        "phrase_model": record.phrase_model,
        "required": record.required,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "rule": None if record.rule == EVERYTHING else rule_as_dict(record.rule),
        "duress_of": record.duress_of,
    }


def from_dict(value: Any) -> Record:
    """A record from what `as_dict` made of it.

    Raises:
        ValueError: it is nothing of the kind.
    """
    try:
        record = Record(
            name=value["name"],
            kind=ProfileKind(value["kind"]),
            phrase=value["phrase"],
            speaker_model=value["speaker_model"],
            phrase_model=value["phrase_model"],
            required=value["required"],
            created_at=value["created_at"],
            updated_at=value["updated_at"],
            rule=EVERYTHING if value["rule"] is None else rule_from_dict(value["rule"]),
            duress_of=value["duress_of"],
        )
    except (KeyError, TypeError):
        raise ValueError("a part of it is missing") from None
    check_record(record)
    return record


def check_record(record: Record) -> None:
    """Raise `ValueError` for a record whose parts are not of their types."""
    texts = (record.name, record.phrase, record.speaker_model, record.phrase_model)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is not one")
    figures = (record.required, record.created_at, record.updated_at)
    if not all(isinstance(figure, float) and math.isfinite(figure) for figure in figures):
        raise ValueError("a figure is not one")
    if not record.required > 0:
        raise ValueError("it requires nothing")
    if not (record.duress_of is None or isinstance(record.duress_of, str)):
        raise ValueError("an id is not one")


def rule_as_dict(rule: AccessRule) -> dict[str, Any]:
    """A rule as JSON knows it."""
    return {
        "enabled": rule.enabled,
        "doors": list(rule.doors),
        "windows": [
            [list(window.days), window.start_minute, window.end_minute] for window in rule.windows
        ],
        "first_day": rule.first_day.isoformat() if rule.first_day else None,
        "last_day": rule.last_day.isoformat() if rule.last_day else None,
        "challenge": rule.challenge,
    }


def rule_from_dict(value: Any) -> AccessRule:
    """A rule from what `rule_as_dict` made of it.

    Raises:
        ValueError: it is nothing of the kind, or one that cannot be.
    """
    try:
        rule = AccessRule(
            enabled=value["enabled"],
            doors=tuple(value["doors"]),
            windows=tuple(Window(tuple(days), start, end) for days, start, end in value["windows"]),
            first_day=_day(value["first_day"]),
            last_day=_day(value["last_day"]),
            challenge=value["challenge"],
        )
    except (KeyError, TypeError):
        raise ValueError("a part of its rule is missing") from None
    check_rule(rule)
    return rule


def check_rule(rule: AccessRule) -> None:
    """Raise `ValueError` for a rule that cannot be."""
    if not (isinstance(rule.enabled, bool) and isinstance(rule.challenge, bool)):
        raise ValueError("a rule's switch is neither on nor off")  # noqa: TRY004 (damage)
    if max(len(rule.doors), len(rule.windows)) > _MAX_RULE_ITEMS:
        raise ValueError(f"a rule has more than {_MAX_RULE_ITEMS} doors or windows")
    if not all(isinstance(door, str) and 1 <= len(door) <= 64 for door in rule.doors):
        raise ValueError("a rule's door is no device's id")
    for window in rule.windows:
        days = window.days
        whole = (*days, window.start_minute, window.end_minute)
        if not all(type(number) is int for number in whole):
            raise ValueError("a rule's window is not of numbers")
        in_order = all(day < later for day, later in itertools.pairwise(days))
        if not (days and in_order and days[0] >= 0 and days[-1] <= 6):
            raise ValueError("a rule's window has impossible days")
        if not (0 <= window.start_minute <= 1439 and 1 <= window.end_minute <= 1440):
            raise ValueError("a rule's window has impossible hours")


def _day(value: Any) -> date | None:
    return None if value is None else date.fromisoformat(value)
