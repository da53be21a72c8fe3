"""Recordings as the cloud took them: WAV, PCM, 16 kHz, 16 bits, mono, neither short nor long.

Chunk layout: Microsoft/IBM, "Multimedia Programming Interface and Data Specifications 1.0".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.audio.files import MOST_CHUNKS, STREAMED_SIZE
from edge.cloud_api.faults import Fault
from edge.types import SAMPLE_RATE

_WANTED = "WAV, PCM, 16 kHz, 16 bit, mono"
MEDIA_TYPES = ("audio/wav", "application/octet-stream", "multipart/form-data")
"""What clients say they send; what they send decides."""

_PCM, _EXTENSIBLE = 1, 0xFFFE
_PCM_SUBFORMAT = struct.pack("<H", _PCM) + bytes.fromhex("000000001000800000aa00389b71")
_FORMAT = struct.Struct("<HHIIHH")
_SUBFORMAT_AT = 24
_OTHER_TYPES = ("application/json", "audio/", "image/", "text/", "video/")
_BARE_OR_WAV = ("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave", "audio/*", "audio/pcm")


@dataclass(frozen=True)
class Limits:
    """How long a recording may be, seconds; and the least speech in it."""

    least_s: float
    most_s: float
    least_speech_s: float = 0.0


def require_wav(data: bytes, media_type: str, limits: Limits) -> float:
    """The length of a recording, seconds, by its header; nothing is decoded yet.

    Raises:
        Fault: it is not in the cloud's format, too short, or too long; 415 where the media type
            says that it is something else.
    """
    if not data:
        raise Fault(400, "no_audio", "Invalid audio format", f"an empty body: send {_WANTED}")
    try:
        seconds = _length_s(data)
    except ValueError as error:
        kind = media_type.partition(";")[0].strip().lower()
        if kind.startswith(_OTHER_TYPES) and kind not in _BARE_OR_WAV:
            raise Fault(
                415, "media_type", "Invalid audio format", f"{kind} is not taken: send {_WANTED}"
            ) from None
        detail = f"{error}: send {_WANTED}"
        raise Fault(400, "audio_format", "Invalid audio format", detail) from None
    if seconds < limits.least_s:
        raise Fault(
            400,
            "too_short",
            "Audio too short",
            f"{seconds:.1f} s, at least {limits.least_s:g} s needed",
        )
    if seconds > limits.most_s:
        raise Fault(
            400,
            "too_long",
            "Audio too long",
            f"{seconds:.1f} s, at most {limits.most_s:g} s taken",
        )
    return seconds


def _length_s(data: bytes) -> float:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file")
    position, checked = 12, False
    for _ in range(MOST_CHUNKS):
        if position + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"fmt ":
            _require_format(data[body : body + length])
            checked = True
        if name == b"data":
            if not checked:
                break
            there = len(data) - body
            if length == 0 or length >= STREAMED_SIZE:  # its writer could not know
                length = there
            if length > there:
                raise ValueError("the file ends before its header says it does")
            return int(length) / (2 * SAMPLE_RATE)
        position = body + length + (length & 1)
    raise ValueError("a WAV file without sound")


def _require_format(content: bytes) -> None:
    if len(content) < _FORMAT.size:
        raise ValueError("a damaged WAV header")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(content)
    if tag == _EXTENSIBLE and content[_SUBFORMAT_AT:][: len(_PCM_SUBFORMAT)] == _PCM_SUBFORMAT:
        tag = _PCM
    if (tag, channels, rate, bits) != (_PCM, 1, SAMPLE_RATE, 16):
        what = "PCM" if tag == _PCM else f"encoding {tag}"
        raise ValueError(f"{what}, {rate} samples per second, {bits} bit, {channels} channels")
