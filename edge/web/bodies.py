"""Bodies of requests, bounded in size and time whatever their headers promise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from edge.audio.files import read_recording
from edge.audio.utterance import utterance_of
from edge.types import Utterance
from edge.web.refusal import Refused

MOST_AUDIO_BYTES = 20 << 20
"""Five minutes at 16 kHz are 10 MB."""
MOST_JSON_BYTES = 64 << 10
WITHIN_S = 60.0
LONGEST_S = 300.0
"""Longest recording, seconds."""
_MOST_FIELDS = 20


async def read_body(request: Request, most_bytes: int, within_s: float = WITHIN_S) -> bytes:
    """The body of a request.

    Raises:
        Refused: 413 for a longer one, 408 where it does not come in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > most_bytes:
        raise _too_large(most_bytes)
    try:
        return await asyncio.wait_for(_read(request, most_bytes), within_s)
    except asyncio.TimeoutError:
        raise Refused(408, "Timeout", f"the body did not come within {within_s:.0f} s") from None


async def read_audio(request: Request) -> bytes:
    """The recording in a request: its body, or the one file in a form, of any content type.

    Raises:
        Refused: as `read_body`; 400 where a form has no file, or several.
    """
    body = await read_body(request, MOST_AUDIO_BYTES)
    kind = request.headers.get("content-type", "")
    if not kind.lower().lstrip().startswith("multipart/form-data"):
        return body
    try:
        return await _file_in(request, body)
    except (MultiPartException, KeyError, ValueError, UnicodeError):
        raise Refused(400, "BadRequest", "the form cannot be read: send one file in it") from None


def to_utterance(data: bytes, longest_s: float = LONGEST_S) -> Utterance:
    """The utterance in a WAV or FLAC file's bytes; takes a while, so call it in the recognizer.

    Raises:
        AudioFormatError: it is no such recording, damaged, or longer.
    """
    with os.fdopen(os.memfd_create("recording"), "w+b") as file:
        file.write(data)
        file.flush()
        return utterance_of(read_recording(file, "the recording", longest_s))


async def _read(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > most_bytes:
            raise _too_large(most_bytes)
        body += part
    return bytes(body)


def _too_large(most_bytes: int) -> Refused:
    return Refused(413, "TooLarge", f"the body is larger than {most_bytes} bytes")


async def _file_in(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=_MOST_FIELDS)
    parser.spool_max_size = MOST_AUDIO_BYTES + 1  # no recording ever lies on the disk
    form = await parser.parse()
    try:
        files = [part for _, part in form.multi_items() if not isinstance(part, str)]
        if len(files) != 1:
            raise ValueError("one file")
        return await files[0].read()
    finally:
        await form.close()
