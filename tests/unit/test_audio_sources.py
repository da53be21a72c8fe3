"""Files and pipes as streams of blocks."""

from __future__ import annotations

import io
import itertools
import os
import re
import select
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.blocks import FRAME_SAMPLES, BlockMaker
from edge.audio.sources import FileSource, Source, StandardInputSource
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray


def _noise(count: int, seed: int = 1) -> FloatArray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def _joined(blocks: list[AudioBlock]) -> FloatArray:
    return np.concatenate([block.samples for block in blocks])


def _read(source: Source) -> list[AudioBlock]:
    with source:
        return list(source.blocks())


def _wav(samples: FloatArray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype=subtype)
    return out.getvalue()


FILES = {"FLAC": "FLAC", "OGG": "Ogg", "MP3": "MP3", "AIFF": "AIFF", "AU": "AU", "CAF": "CAF"}
FILES |= {"RF64": "RF64", "W64": "Wave64"}
"""Kinds of files by libsndfile's name."""


def _file(kind: str) -> bytes:
    """Half a second in a file of a kind, without tags."""
    out = io.BytesIO()
    soundfile.write(out, _noise(8_000), SAMPLE_RATE, format=kind)
    return out.getvalue()


def test_file_comes_out_whole_and_in_order(tmp_path: Path) -> None:
    samples = _noise(10_000)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")

    blocks = _read(FileSource(tmp_path / "a.wav"))

    np.testing.assert_array_equal(_joined(blocks), samples)
    assert {len(block.samples) for block in blocks[:-1]} == {FRAME_SAMPLES}
    for one, other in itertools.pairwise(blocks):
        assert other.start_s == pytest.approx(one.end_s)
        assert other.captured_at >= one.captured_at


def test_file_in_real_time_takes_as_long_as_it_lasts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _noise(4800), SAMPLE_RATE)
    started = time.monotonic()

    blocks = _read(FileSource(tmp_path / "a.wav", realtime=True))

    assert time.monotonic() - started >= 0.3
    assert blocks[4].captured_at - blocks[0].captured_at >= 0.05


def test_bad_file_is_refused_on_entering(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError), FileSource(tmp_path / "none.wav"):
        pass


def test_bare_samples_through_a_real_pipe() -> None:
    pcm = (_noise(5_001) * 32767).astype("<i2")
    reader, writer = os.pipe()

    def write_in_odd_pieces() -> None:
        data = pcm.tobytes()
        with os.fdopen(writer, "wb", buffering=0) as out:
            for at in range(0, len(data), 777):
                out.write(data[at : at + 777])

    thread = threading.Thread(target=write_in_odd_pieces)
    thread.start()
    with os.fdopen(reader, "rb", buffering=0) as stream:
        blocks = _read(StandardInputSource(stream))
    thread.join()

    np.testing.assert_allclose(_joined(blocks), pcm / 32768.0)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_wav_stream_of_any_width(subtype: str) -> None:
    samples = _noise(3_000)

    blocks = _read(StandardInputSource(io.BytesIO(_wav(samples, subtype=subtype))))

    np.testing.assert_allclose(_joined(blocks), samples, atol=0.01 if "8" in subtype else 1e-4)


def test_wav_stream_is_resampled_as_a_whole() -> None:
    time_s = np.arange(24_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    two = np.stack([tone, tone], axis=1)

    out = _joined(_read(StandardInputSource(io.BytesIO(_wav(two, 48_000)))))

    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(8_000) / SAMPLE_RATE)
    assert len(out) == pytest.approx(8_000, abs=2)
    np.testing.assert_allclose(out[500:7_500], expected[500:7_500], atol=2e-3)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_of_unknown_length_ends_with_the_pipe(size: int) -> None:
    wav = _wav(_noise(2_000))
    at = wav.index(b"data") + 4
    stream = io.BytesIO(wav[:at] + struct.pack("<I", size) + wav[at + 4 :])

    assert len(_joined(_read(StandardInputSource(stream)))) == 2_000


def test_what_follows_the_sound_in_a_wav_is_not_played() -> None:
    stream = io.BytesIO(_wav(_noise(2_000)) + b"LIST" + struct.pack("<I", 400) + bytes(400))

    assert len(_joined(_read(StandardInputSource(stream)))) == 2_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no sound"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "no WAV"),
        (_wav(_noise(2_000))[:1_000], "ends before its header says"),
        (_wav(_noise(2_000))[:30], "format is cut off"),
        (_wav(_noise(2_000))[:40], "before any sound"),
        (_wav(_noise(2_000), 4_000), "8000 to 192000"),
        (_wav(_noise(2_000), subtype="ULAW"), "convert it to 16 bits"),
        (_wav(np.full(600, np.nan, np.float32), subtype="FLOAT"), "no numbers"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_bad_streams_are_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(AudioFormatError, match=message) as caught:
        _read(StandardInputSource(io.BytesIO(data)))
    assert "\n" not in str(caught.value)


def _frames(header: bytes, length: int) -> bytes:
    return (header + bytes(length - len(header))) * 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        *((_file(kind), name) for kind, name in FILES.items()),
        (b"RIFX\0\0\0\x64WAVE" + bytes(100), "RIFX"),
        (b"ID3\x04" + bytes(100), "MP3"),
        (_frames(b"\xff\xfb\x90\x00", 417), "MP3"),  # 128 kbit/s at 44.1 kHz
        (_frames(b"\xff\xf3\x48\xc0", 144), "MP3"),  # MPEG 2, 32 kbit/s at 16 kHz
        (_frames(b"\xff\xe3\x4a\xc0", 289), "MP3"),  # MPEG 2.5, 32 kbit/s at 8 kHz, padded
        (_frames(b"\xff\xf1\x50\x80\x0c\x9f\xfc", 100), "AAC"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "MP4"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "WebM or Matroska"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(100), "WMA"),
        (b"#!AMR\n" + bytes(100), "AMR"),
    ],
)
def test_other_formats_are_not_taken_for_bare_sound(data: bytes, kind: str) -> None:
    right = f"standard input: is {kind}; only WAV or bare 16-bit sound is read, convert it"
    with pytest.raises(AudioFormatError, match=f"^{re.escape(right)}$"):
        _read(StandardInputSource(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff" * 8_000,  # silence, one step below zero
        b"\xff\xfb\x90\x00" * 4_000,  # the header of a frame, and the next one too early
        b"\xff\xfb\x90\x00" + bytes(15_996),
        b"\xff\xf1\x50\x80\x0c\x9f\xfc\x00" + bytes(15_992),
        b"\xff",
    ],
)
def test_bare_sound_is_not_taken_for_another_format(data: bytes) -> None:
    if len(data) > 1:
        assert len(_joined(_read(StandardInputSource(io.BytesIO(data))))) == 8_000
    else:
        with pytest.raises(AudioFormatError, match="holds no sound"):
            _read(StandardInputSource(io.BytesIO(data)))


def test_no_chunk_of_a_hostile_wav_is_believed() -> None:
    head = b"RIFF\0\0\0\0WAVE" + b"junk" + struct.pack("<I", 0x7000_0000)

    with pytest.raises(AudioFormatError, match="1879048192 bytes"):
        _read(StandardInputSource(io.BytesIO(head + bytes(100))))


def test_loss_is_told_once_and_moves_the_stream_on() -> None:
    maker = BlockMaker(48_000)
    before = list(maker.feed(_noise(48_000), 1.0))
    after = list(maker.feed(_noise(48_000), 3.0, lost=48_000))

    assert all(block.lost_samples == 0 for block in before + after[1:])
    first = after[0]
    assert first.lost_samples == pytest.approx(SAMPLE_RATE, abs=2 * FRAME_SAMPLES)
    assert first.start_s == pytest.approx(before[-1].end_s + first.lost_samples / SAMPLE_RATE)


@pytest.mark.parametrize("glitch", [np.inf, -np.inf, np.nan])
def test_a_glitch_of_the_driver_is_silence(glitch: float) -> None:
    maker = BlockMaker(SAMPLE_RATE)
    samples = np.full(FRAME_SAMPLES, 0.25, np.float32)
    samples[100] = glitch
    (block,) = maker.feed(samples, 1.0)
    assert block.samples[100] == 0.0
    assert np.count_nonzero(block.samples) == FRAME_SAMPLES - 1


class Piped:
    """A source whose pipe carries 16-bit sound."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        self.stream = open(reading, "rb", buffering=0)  # noqa: PTH123, SIM115
        self.source = StandardInputSource(self.stream)

    def write(self, *numbers: int) -> None:
        """Half a block of each of these numbers."""
        for number in numbers:
            os.write(self._writing, np.full(FRAME_SAMPLES // 2, number, "<i2").tobytes())

    def end(self) -> None:
        os.close(self._writing)


def _numbers(block: AudioBlock) -> list[int]:
    return sorted({round(float(sample) * 32768) for sample in block.samples})


def _take_all(source: Source, taken: list[AudioBlock]) -> None:
    taken.extend(source.blocks())


def test_a_pipe_goes_on_where_it_was_left() -> None:
    pipe = Piped()
    pipe.write(1, 1, 2, 2, 3, 3)
    with pipe.source as source:
        blocks = source.blocks()
        assert [_numbers(next(blocks)) for _ in range(2)] == [[1], [2]]
        source.close()
        assert list(blocks) == []
    pipe.write(4, 4)
    pipe.end()
    with pipe.source as source:
        later = list(source.blocks())
    assert [_numbers(block) for block in later] == [[3], [4]]
    assert later[0].start_s == pytest.approx(2 * FRAME_SAMPLES / SAMPLE_RATE)
    with pipe.source as source:
        assert list(source.blocks()) == []
    assert not pipe.stream.closed


def test_half_a_block_and_half_a_header_are_kept() -> None:
    samples = np.arange(1, 1025, dtype=np.int16)
    wav = _wav(samples.astype(np.float32) / np.float32(32768))
    for cut in (2, 9, 30, 44 + 700):
        pipe = Piped()
        os.write(pipe._writing, wav[:cut])
        early: list[AudioBlock] = []
        with pipe.source as source:
            reading = threading.Thread(target=_take_all, args=(source, early))
            reading.start()
            while select.select([pipe.stream], [], [], 0.0)[0]:
                pass
            source.close()
            reading.join(5)
        assert early == []
        os.write(pipe._writing, wav[cut:])
        pipe.end()
        with pipe.source as source:
            np.testing.assert_array_equal(_joined(list(source.blocks())) * 32768, samples)


def test_closing_ends_the_wait_for_sound() -> None:
    pipe = Piped()
    taken: list[AudioBlock] = []
    with pipe.source as source:
        waiting = threading.Thread(target=lambda: taken.extend(source.blocks()))
        waiting.start()
        source.close()
        waiting.join(5)
    assert not waiting.is_alive()
    assert taken == []
    pipe.end()


def test_a_file_goes_on_where_it_was_left(tmp_path: Path) -> None:
    samples = _noise(10_000)
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    source = FileSource(tmp_path / "a.wav")
    parts = []
    with source:
        parts += list(itertools.islice(source.blocks(), 3))
    with source:
        parts += list(source.blocks())
    np.testing.assert_array_equal(_joined(parts), samples)
