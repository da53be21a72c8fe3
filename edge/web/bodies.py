"""Bodies of requests, bounded in size and time whatever their headers promise."""

from __future__ import annotations

import asyncio
import os

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from edge.audio.files import read_recording
from edge.audio.utterance import utterance_of
from edge.types import Utterance
from edge.web.guard import too_large, too_slow
from edge.web.refusal import Refused

MOST_AUDIO_BYTES = 20 << 20
"""Five minutes at 16 kHz are 10 MB."""
MOST_JSON_BYTES = 64 << 10
WITHIN_S = 60.0
LONGEST_S = 300.0
"""Longest recording, seconds."""
_MOST_PARTS = 20
_RECORDINGS = (b"RIFF", b"fLaC")


async def read_body(request: Request, most_bytes: int, within_s: float = WITHIN_S) -> bytes:
    """The body of a request.

    Raises:
        Refused: 413 for a longer one, 408 where it does not come in time.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > most_bytes:
        raise too_large(most_bytes)
    try:
        return await asyncio.wait_for(_read(request, most_bytes), within_s)
    except asyncio.TimeoutError:
        raise too_slow() from None


async def read_audio(request: Request) -> bytes:
    """The recording in a request: its body, or the one file in a form, of any content type.

    Raises:
        Refused: as `read_body`; 400 where a form has no file, or several.
    """
    body = await read_body(request, MOST_AUDIO_BYTES)
    kind = request.headers.get("content-type", "")
    # Some say that it is a form, and send the recording alone.
    if body[:4] in _RECORDINGS or not kind.lower().lstrip().startswith("multipart/form-data"):
        return body
    _, options = parse_options_header(kind)
    files = _files_in(body, options.get(b"boundary", b""))
    if len(files) != 1:
        raise Refused(400, "BadRequest", "the form cannot be read: send one file in it")
    return files[0]


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
            raise too_large(most_bytes)
        body += part
    return bytes(body)


def _files_in(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts of a form (RFC 7578) that have a name of a file, or are a recording without one."""
    found = []
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary) if boundary else []
    for piece in pieces[1 : _MOST_PARTS + 1]:
        if piece.startswith(b"--"):
            break
        head, _, content = piece.partition(b"\r\n\r\n")
        if b"filename" in head.lower() or content[:4] in _RECORDINGS:
            found.append(content)
    return found
