"""Recordings on disk: reads WAV and FLAC as 16 kHz mono, writes debug recordings."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FULL_SCALE, LOUDEST, new_resampler
from edge.errors import AudioFormatError
from edge.private_files import make_folder
from edge.types import SAMPLE_RATE, FloatArray, Utterance

MIN_RATE = 8_000
MAX_RATE = 192_000
MAX_CHANNELS = 8

STREAMED_SIZE = 0x7FFF_0000
"""A chunk size from here on (or 0) is what a program writes that cannot know the length yet."""

MOST_CHUNKS = 1000
"""Chunks before the sound; the richest files have some tens of titles and markers."""

_UNKNOWN_LENGTH = 2**36
"""What libsndfile reports for a FLAC made on the fly is the largest number that it has."""

_IN_DS64 = 0xFFFF_FFFF
_BYTE_ORDERS = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
_MOST_COPIED_BYTES = 128 << 20
_FORMATS = {"WAV", "WAVEX", "RF64", "FLAC"}
_SIGNATURES = (
    (0, b"fLaC", "FLAC"), (0, b"OggS", "Ogg"), (0, b"ID3", "MP3"), (0, b"RF64", "RF64"),
    (0, b"RIFX", "RIFX"), (0, b"riff", "Wave64"), (0, b"FORM", "AIFF"), (0, b".snd", "AU"),
    (0, b"caff", "CAF"), (4, b"ftyp", "MP4"), (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"\x30\x26\xb2\x75", "WMA"), (0, b"#!AMR", "AMR"), (0, b"MThd", "MIDI"),
)  # fmt: skip
"""Where a file of a known kind begins with what. As bare sound it would be a very loud click."""
_FLOAT_SUBTYPES = {"FLOAT", "DOUBLE"}
_MPEG_1_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_KILOBITS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

HEAD_BYTES = 8200
"""Enough to see where a second frame of MP3 or AAC begins."""


@dataclass(frozen=True)
class Recording:
    """A recording, decoded and resampled.

    Attributes:
        samples: mono audio at `SAMPLE_RATE`, shape (n,), within [-1, 1].
        original_rate: samples per second in the file.
        clipped: which samples were at full scale in any channel, shape (n,).
    """

    samples: FloatArray = field(repr=False)
    original_rate: int
    clipped: NDArray[np.bool_] = field(repr=False)

    @property
    def narrowband(self) -> bool:
        """Whether the file's rate is below `SAMPLE_RATE`: voices are then harder to tell apart."""
        return self.original_rate < SAMPLE_RATE


def read_audio(path: str | Path, max_s: float = 300.0) -> Recording:
    """Read a WAV or FLAC file of 8 to 192 kHz as mono audio at `SAMPLE_RATE`.

    Memory is bounded by `max_s`, whatever the header promises. A file that ends before its header
    says it does is refused: half a passphrase must be neither enrolled nor recognized.

    Raises:
        AudioFormatError: the file is missing, empty, truncated, longer than `max_s` seconds, or no
            such recording.
    """
    path = Path(path)
    _require_file(path)
    try:
        with path.open("rb") as file:
            return read_recording(file, path, max_s)
    except OSError as error:
        raise AudioFormatError(f"{path}: cannot be read ({error.strerror}); check it") from error


def read_recording(file: BinaryIO, where: object, max_s: float = 300.0) -> Recording:
    """As `read_audio`, of an open file with a descriptor; `where` is its name in errors."""
    import soundfile  # noqa: PLC0415 - the service reads no files

    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise AudioFormatError(f"{where}: is empty (0 bytes); record or copy it again")
    file.seek(0)
    try:
        kind = file.read(4)
        at = None
        if kind in _BYTE_ORDERS:
            at = _open_length_of_wav(where, file, size, _BYTE_ORDERS[kind])
        with contextlib.nullcontext(file) if at is None else _counted(file, at) as whole:
            # Its descriptor, not the object: a mad offset in a header would print a traceback
            # from the callback, and a name that ends in .raw would be believed.
            os.lseek(whole.fileno(), 0, os.SEEK_SET)
            with soundfile.SoundFile(whole.fileno(), closefd=False) as sound:
                return _decode(where, sound, max_s)
    except soundfile.LibsndfileError as error:
        raise AudioFormatError(
            f"{where}: not a WAV or FLAC recording ({error.error_string.rstrip('.')}); "
            "convert it to 16 kHz mono WAV"
        ) from error


def _counted(file: BinaryIO, at: int) -> BinaryIO:
    """A copy in memory that counts its sound, as libsndfile takes a size of 0 at its word."""
    copy = os.fdopen(os.memfd_create("recording"), "w+b")
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    while os.sendfile(copy.fileno(), file.fileno(), None, 1 << 20):
        if copy.seek(0, os.SEEK_END) > _MOST_COPIED_BYTES:
            break
    os.pwrite(copy.fileno(), b"\xff" * 4, at)
    return copy


def _require_file(path: Path) -> None:
    """Raise `AudioFormatError` for what is no regular file; a FIFO or device would never end."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise AudioFormatError(f"{path}: {what}; give the path of a WAV or FLAC file") from error
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise AudioFormatError(f"{path}: is {what}; give the path of a WAV or FLAC file")


def known_format(head: bytes) -> str | None:
    """The kind of file that begins like this, other than WAV; None where it may be bare sound.

    Args:
        head: as much of it as there is, at best `HEAD_BYTES`.
    """
    for at, mark, name in _SIGNATURES:
        if head[at : at + len(mark)] == mark:
            return name
    for name, length_of in (("MP3", _mp3_frame), ("AAC", _adts_frame)):
        # Silence may look like one frame, but not like a second one where that must begin.
        length = length_of(head)
        if length and length_of(head[length:]):
            return name
    return None


def _mp3_frame(head: bytes) -> int:
    """Length in bytes of the MPEG audio frame of layer III, ISO/IEC 11172-3; 0 if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, padding = head[1] >> 3 & 3, head[2] >> 1 & 1
    bit_rate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bit_rate in (0, 15) or rate == 3:
        return 0
    first = version == 3
    hertz = (44_100, 48_000, 32_000)[rate] >> (0 if first else 1 if version == 2 else 2)
    kilobits = (_MPEG_1_KILOBITS if first else _MPEG_2_KILOBITS)[bit_rate - 1]
    return (144 if first else 72) * kilobits * 1000 // hertz + padding


def _adts_frame(head: bytes) -> int:
    """Length in bytes of the AAC frame with its header, ISO/IEC 13818-7; 0 if it is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def _open_length_of_wav(where: object, file: BinaryIO, size: int, order: str) -> int | None:
    """Hold the data chunk's size against the file's; libsndfile would shorten it in silence.

    Returns where the size is, if it is 0 though sound follows: its writer could not know it, or did
    not live to write it.

    Chunk layout: Microsoft/IBM, "Multimedia Programming Interface and Data Specifications 1.0";
    sizes of 64 bits: EBU Tech 3306.
    """
    position = 12
    bytes_per_second = 0
    wide_length = 0
    for _ in range(MOST_CHUNKS):
        if position + 8 > size:
            raise AudioFormatError(
                f"{where}: is truncated, it ends before any sound; record it again"
            )
        file.seek(position)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        body = position + 8
        if name == b"fmt " and body + 12 <= size:
            bytes_per_second = struct.unpack(f"{order}8xI", file.read(12))[0]
        if name == b"ds64" and body + 16 <= size:
            wide_length = struct.unpack(f"{order}8xQ", file.read(16))[0]
        if name == b"data":
            there = size - body
            if length == _IN_DS64 and wide_length:
                length = wide_length
            elif length >= STREAMED_SIZE:
                return None
            if length == 0 and there > 0:
                return position + 4
            if length > there:
                scale = max(bytes_per_second, 1)
                raise AudioFormatError(
                    f"{where}: is truncated, its header promises {length / scale:.2f} s and "
                    f"{there / scale:.2f} s are there; record or copy it again"
                )
            return None
        position = body + length + (length & 1)
    raise AudioFormatError(f"{where}: more than {MOST_CHUNKS} chunks and no sound; convert it")


def _decode(where: object, sound: Any, max_s: float) -> Recording:
    rate, channels = int(sound.samplerate), int(sound.channels)
    if sound.format not in _FORMATS:
        raise AudioFormatError(
            f"{where}: is {sound.format_info}; only WAV and FLAC are read, convert it to WAV"
        )
    require_format(where, rate, channels)
    promised = int(sound.frames)
    if promised >= _UNKNOWN_LENGTH:
        raise AudioFormatError(f"{where}: does not say how long it is; convert it to WAV")
    if promised > max_s * rate:
        raise AudioFormatError(
            f"{where}: is {promised / rate:.0f} s long, more than the {max_s:.0f} s allowed; "
            "cut it shorter"
        )

    parts: list[FloatArray] = []
    frames = 0
    resampler = new_resampler(rate, channels)
    loudness: list[FloatArray] = []
    peak = 0.0
    for chunk in _chunks(where, sound, rate):
        frames += len(chunk)
        peak = max(peak, peak_of(where, chunk))
        loudness.append(np.abs(chunk).max(axis=1))
        parts.append(chunk if resampler is None else resampler.resample_chunk(chunk))
    if frames == 0:
        raise AudioFormatError(f"{where}: holds no sound (zero length); record it again")
    if frames < promised:
        raise AudioFormatError(
            f"{where}: is truncated, its header promises {promised / rate:.2f} s and "
            f"{frames / rate:.2f} s are there; record or copy it again"
        )
    if resampler is not None:
        parts.append(resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True))
    samples = mix_down(np.concatenate(parts))
    scale = 1.0
    if peak > 1.0 and sound.subtype in _FLOAT_SUBTYPES:
        # Float files have room above full scale: nothing was cut off there, so nothing is now.
        scale = peak
        samples = samples / np.float32(peak)
    at = np.minimum(np.arange(len(samples)) * rate // SAMPLE_RATE, frames - 1)
    clipped = np.concatenate(loudness)[at] >= FULL_SCALE * scale
    return Recording(np.clip(samples, -1.0, 1.0), rate, clipped)


def _chunks(where: object, sound: Any, rate: int) -> Iterator[FloatArray]:
    """Second by second, so that no header decides how much memory is taken."""
    import soundfile  # noqa: PLC0415 - as above

    while True:
        try:
            chunk = sound.read(rate, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioFormatError(
                f"{where}: is damaged or truncated ({error.error_string.rstrip('.')}); "
                "record or copy it again"
            ) from error
        if len(chunk) == 0:
            return
        yield chunk


def require_format(where: object, rate: int, channels: int) -> None:
    """Raise `AudioFormatError` for a rate or a number of channels that is not read."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioFormatError(
            f"{where}: {rate} samples per second; use {MIN_RATE} to {MAX_RATE}, best {SAMPLE_RATE}"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioFormatError(f"{where}: {channels} channels; use 1 to {MAX_CHANNELS}, best one")


def peak_of(where: object, samples: FloatArray) -> float:
    """The largest magnitude; raises `AudioFormatError` for samples that are no sound."""
    if not np.isfinite(samples).all():
        raise AudioFormatError(f"{where}: holds samples that are no numbers; record it again")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > LOUDEST:
        raise AudioFormatError(f"{where}: is louder than any sound; record it again")
    return peak


def mix_down(samples: FloatArray) -> FloatArray:
    """Mix channels, shape (n, c), into one: their mean, or the loudest where that would cancel.

    The mean of channels that have nothing to do with each other has the power sum(p_i) / C^2; with
    less than half of that they work against each other (a microphone wired in antiphase).
    """
    if samples.shape[1] == 1:
        return samples[:, 0]
    mean: FloatArray = samples.mean(axis=1, dtype=np.float32)
    # An offset says nothing about whether they work against each other.
    swings = samples - samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    power = np.einsum("nc,nc->c", swings, swings, dtype=np.float64)
    mean_power = float(np.square(swings.mean(axis=1, dtype=np.float64)).sum())
    if mean_power < 0.5 * float(power.sum()) / samples.shape[1] ** 2:
        return np.ascontiguousarray(samples[:, int(power.argmax())])
    return mean


MAX_FILES = 20
MAX_SECONDS = 20.0
"""A longer utterance is cut off at its end."""
_PREFIX = "utterance-"

_log = logging.getLogger(__name__)


class DebugRecordings:
    """The latest utterances as WAV files of mode 0600; the oldest one makes room.

    Args:
        folder: `store.debug_recordings`; made if missing, private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failed = False
        self._number = 0
        _log.warning(
            "store.debug_recordings is on: the latest %d utterances are kept as recordings in %s;"
            " anyone who gets them can play them to the door. Empty the setting and the folder when"
            " done",
            MAX_FILES,
            folder,
        )

    def keep(self, utterance: Utterance) -> None:
        """Write an utterance down; what cannot be written is logged once and missed."""
        try:
            make_folder(self._folder)
            self._number += 1
            name = time.strftime(f"{_PREFIX}%Y%m%d-%H%M%S-{self._number:06}.wav")
            self._write(self._folder / name, utterance)
            for old in sorted(self._folder.glob(f"{_PREFIX}*.wav"))[:-MAX_FILES]:
                old.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                _log.warning("cannot write recordings to %s: %s", self._folder, error.strerror)
            self._failed = True
        else:
            self._failed = False

    def _write(self, file: Path, utterance: Utterance) -> None:
        samples = utterance.samples[: round(MAX_SECONDS * SAMPLE_RATE)]
        whole = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle, wave.open(handle, "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(SAMPLE_RATE)
            recording.writeframes(whole.tobytes())
