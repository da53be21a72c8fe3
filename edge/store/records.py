"""Profiles and samples as bytes to be sealed, and the limits of both."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from edge.errors import ProfileError
from edge.types import (
    EVERYTHING,
    STRETCHES,
    VOICE_VARIANTS,
    AccessRule,
    EnrollmentSample,
    FloatArray,
    Profile,
    ProfileKind,
    Window,
)
from edge.types.microphone import MAX_KINDS, is_kind

MAX_PROFILES = 200
MAX_SAMPLES = 50
"""Enrolled samples of one profile."""
MAX_ADAPTED = 20
"""Samples of one profile that were learned from accepted utterances."""
MAX_REQUIRED_SECONDS = 3600.0
MAX_SPEAKER_SIZE = 2048
MAX_PHRASE_ROWS = 4096
MAX_PHRASE_SIZE = 1024
MAX_PHRASES = 8
"""The phrase embedding itself and its variants."""
_DISK = np.dtype("<f4")
_FEWER_VOICES = 2
"""Variants of the voice in what an older version stored."""
_VERSION, _WITH_STRETCHES = 1, 2
_WITH_VOICES = 2
"""Versions of samples. In the second one the stretches follow the phrase embeddings, as one more
array; 2 is added to either where the variants of the voice follow as the last one."""
_HEAD = struct.Struct("<BHB3d")
"""Version, length of the speaker embedding, number of arrays after it, the three figures."""
_SHAPE = struct.Struct("<HH")
_SAMPLE_BLOCK = 2048
"""Sizes are rounded up to this, since the size alone would tell how long somebody's phrase is."""
_BLOCK = 512
"""Sizes are rounded up: a size would tell a name's length, a rule, or a duress phrase."""


def check_required(kind: ProfileKind, required: float) -> None:
    """Raise `ProfileError` for what cannot make a profile complete."""
    most = MAX_SAMPLES if kind is ProfileKind.PHRASE else MAX_REQUIRED_SECONDS
    if not (math.isfinite(required) and 0 < required <= most):
        raise ProfileError(f"an enrollment can require more than 0 and up to {most:g}: {required}")


def check_sample(
    kind: ProfileKind, sample: EnrollmentSample, speaker_model: str, phrase_model: str
) -> None:
    """Raise `ValueError` for a sample that is not one of this kind of profile."""
    if not speaker_model:
        raise ValueError("a sample needs the model that made it")
    by_phrase = kind is ProfileKind.PHRASE
    if by_phrase is not (sample.phrase_embedding is not None) or by_phrase is not bool(
        phrase_model
    ):
        raise ValueError("a phrase embedding and its model go with a phrase profile, and only it")


def check_learned(sample: EnrollmentSample, most: int) -> None:
    """Raise `ValueError` for a sample that was not learned, or an impossible number of them."""
    if not sample.adapted:
        raise ValueError("a learned sample must say so")
    if not 1 <= most <= MAX_ADAPTED:
        raise ValueError(f"1 to {MAX_ADAPTED} samples can be learned, not {most}")


def encode(record: Profile) -> bytes:
    """A record as bytes."""
    text = json.dumps(as_dict(record), ensure_ascii=False, separators=(",", ":"))
    content = text.encode()
    return content + b" " * (-len(content) % _BLOCK)


def decode(content: bytes) -> Profile:
    """A record from `encode`; what a newer version added is ignored. Raises `ValueError`."""
    return from_dict(json.loads(content))


def as_dict(record: Profile) -> dict[str, Any]:
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
        "confirmed": record.confirmed,
        "microphones": list(record.microphones),
    }


def from_dict(value: Any) -> Profile:
    """A record from `as_dict`. Raises `ValueError`."""
    try:
        record = Profile(
            id="",
            name=value["name"],
            kind=ProfileKind(value["kind"]),
            phrase=value["phrase"],
            speaker_model=value["speaker_model"],
            phrase_model=value["phrase_model"],
            required=value["required"],
            samples=(),
            created_at=value["created_at"],
            updated_at=value["updated_at"],
            rule=EVERYTHING if value["rule"] is None else rule_from_dict(value["rule"]),
            duress_of=value["duress_of"],
            # Which older versions did not write.
            confirmed=value.get("confirmed", True),
            microphones=tuple(_kinds(value.get("microphones", []))),
        )
    except (KeyError, TypeError):
        raise ValueError("a part of it is missing") from None
    check_record(record)
    return record


def _kinds(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_KINDS or not all(map(is_kind, value)):
        raise ValueError("a microphone it was enrolled with is not one")
    return value


def check_record(record: Profile) -> None:
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
    if not isinstance(record.confirmed, bool):
        raise ValueError("it is neither confirmed nor not")  # noqa: TRY004 (damage)


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
    """A rule from `rule_as_dict`. Raises `ValueError`, also for one that cannot be."""
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
    """Raise `ValueError` for values of other types, which `AccessRule` lets pass."""
    if not (isinstance(rule.enabled, bool) and isinstance(rule.challenge, bool)):
        raise ValueError("a rule's switch is neither on nor off")  # noqa: TRY004 (damage)
    for window in rule.windows:
        numbers = (*window.days, window.start_minute, window.end_minute)
        if not all(type(number) is int for number in numbers):
            raise ValueError("a rule's window is not of numbers")


def _day(value: Any) -> date | None:
    return None if value is None else date.fromisoformat(value)


def encode_sample(sample: EnrollmentSample) -> bytes:
    """A sample without its `adapted`. Raises `ValueError` for a wrong shape, length or figure."""
    _check(sample)
    arrays = list(sample.phrase_examples)
    version = _VERSION
    if sample.stretches:
        arrays.append(np.stack(sample.stretches))
        version = _WITH_STRETCHES
    if sample.voice_variants:
        arrays.append(np.stack(sample.voice_variants))
        version += _WITH_VOICES
    figures = (sample.net_speech_s, sample.snr_db, sample.created_at)
    parts = [_HEAD.pack(version, len(sample.speaker_embedding), len(arrays), *figures)]
    parts += [_SHAPE.pack(*array.shape) for array in arrays]
    parts += [array.astype(_DISK).tobytes() for array in (sample.speaker_embedding, *arrays)]
    content = b"".join(parts)
    return content + bytes(-len(content) % _SAMPLE_BLOCK)


def decode_sample(content: bytes, *, adapted: bool) -> EnrollmentSample:
    """A sample from `encode_sample`. Raises `ValueError`, also for a newer version."""
    try:
        version, size, count, net_speech_s, snr_db, created_at = _HEAD.unpack_from(content)
        with_voices = version > _WITH_STRETCHES
        kind = version - _WITH_VOICES * with_voices
        with_stretches = kind == _WITH_STRETCHES
        others = with_stretches + with_voices
        if kind not in (_VERSION, _WITH_STRETCHES) or count > MAX_PHRASES + others:
            raise ValueError("it was written by a newer version")
        if count < others:
            raise ValueError("its stretches or voices are missing")
        at = _HEAD.size
        shapes = [_SHAPE.unpack_from(content, at + _SHAPE.size * n) for n in range(count)]
        at += _SHAPE.size * count
    except struct.error:
        raise ValueError("it is too short") from None
    numbers = size + sum(rows * columns for rows, columns in shapes)
    end = at + numbers * _DISK.itemsize
    if not end <= len(content) < end + _SAMPLE_BLOCK or any(content[end:]):
        raise ValueError("its embeddings have the wrong size")
    speaker = np.frombuffer(content, _DISK, size, at).astype(np.float32)
    speaker.setflags(write=False)
    arrays = _arrays(content, at + size * _DISK.itemsize, shapes)
    arrays, voices = (arrays[:-1], arrays[-1]) if with_voices else (arrays, ())
    phrases, stretches = (arrays[:-1], arrays[-1]) if with_stretches else (arrays, ())
    sample = EnrollmentSample(
        speaker_embedding=speaker,
        phrase_embedding=phrases[0] if phrases else None,
        net_speech_s=net_speech_s,
        snr_db=snr_db,
        created_at=created_at,
        adapted=adapted,
        phrase_variants=phrases[1:],
        stretches=tuple(stretches),
        voice_variants=tuple(voices),
    )
    _check(sample)
    return sample


def _arrays(content: bytes, at: int, shapes: Sequence[tuple[int, int]]) -> tuple[FloatArray, ...]:
    arrays = []
    for rows, columns in shapes:
        numbers = np.frombuffer(content, _DISK, rows * columns, at).astype(np.float32)
        array = numbers.reshape(rows, columns)
        array.setflags(write=False)
        arrays.append(array)
        at += rows * columns * _DISK.itemsize
    return tuple(arrays)


def _check(sample: EnrollmentSample) -> None:
    speaker, phrases = sample.speaker_embedding, sample.phrase_examples
    if speaker.ndim != 1 or speaker.size > MAX_SPEAKER_SIZE:
        raise ValueError(f"a speaker embedding cannot have the shape {speaker.shape}")
    of_each, spare = divmod(len(sample.stretches), len(STRETCHES))
    if spare or of_each > VOICE_VARIANTS:
        raise ValueError(
            f"a sample has {len(STRETCHES)} stretches, each {VOICE_VARIANTS} times at most, or none"
        )
    if len(sample.voice_variants) not in (0, _FEWER_VOICES, VOICE_VARIANTS):
        raise ValueError(f"a sample has {VOICE_VARIANTS} variants of its voice, or none")
    others = (*sample.stretches, *sample.voice_variants)
    if any(voice.shape != speaker.shape for voice in others):
        raise ValueError("the voice of a stretch or a variant must have the shape of the whole one")
    # NaN fails this comparison too, and so does an empty one.
    for voice in (speaker, *others):
        if not abs(float(np.linalg.norm(voice.astype(np.float64))) - 1.0) < 1e-3:
            raise ValueError("a speaker embedding must have unit length")
    if sample.phrase_variants and not phrases:
        raise ValueError("a sample without a phrase cannot have variants of it")
    if len(phrases) > MAX_PHRASES:
        raise ValueError(f"a sample has {MAX_PHRASES} phrase embeddings at most")
    for phrase in phrases:
        if phrase.ndim != 2 or not (
            1 <= phrase.shape[0] <= MAX_PHRASE_ROWS and 1 <= phrase.shape[1] <= MAX_PHRASE_SIZE
        ):
            raise ValueError(f"a phrase embedding cannot have the shape {phrase.shape}")
        if not np.isfinite(phrase).all():
            raise ValueError("a phrase embedding must be finite")
    figures = (sample.net_speech_s, sample.snr_db, sample.created_at)
    if not all(math.isfinite(figure) for figure in figures) or sample.net_speech_s < 0:
        raise ValueError("a sample's figures must be finite, its speech not negative")
