"""Files and pipes as streams of blocks."""

from __future__ import annotations

import io
import itertools
import os
import re
import select
import struct
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from edge.audio import sources
from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.sources import FileSource, Source, StandardInputSource
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray
from tests.unit.sound_system import Clock

pytestmark = pytest.mark.usefixtures("unfiltered")


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


def test_file_in_real_time_takes_as_long_as_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.govern(monkeypatch, sources)
    soundfile.write(tmp_path / "a.wav", _noise(1_280), SAMPLE_RATE)
    source = FileSource(tmp_path / "a.wav", realtime=True)
    with source:
        blocks = source.blocks()
        assert next(blocks).captured_at == pytest.approx(1000.032)
        clock.now += 0.016  # one that comes late does not delay the next
        assert next(blocks).captured_at == pytest.approx(1000.064)
        clock.after(0.01, source.close)
        assert list(blocks) == []
    # It goes on where it was left, as if no time had passed.
    clock.now = 2000.0
    with source:
        assert [block.captured_at for block in source.blocks()] == [pytest.approx(2000.016)]
    with FileSource(tmp_path / "a.wav") as source:
        assert [block.captured_at for block in source.blocks()] == [clock.now] * 3


def test_bad_file_is_refused_on_entering(tmp_path: Path) -> None:
    with pytest.raises(AudioFormatError), FileSource(tmp_path / "none.wav"):
        pass
    soundfile.write(tmp_path / "long.wav", _noise(SAMPLE_RATE + 1), SAMPLE_RATE)
    with pytest.raises(AudioFormatError, match="the 1 s allowed"):
        FileSource(tmp_path / "long.wav", max_s=1.0).__enter__()
    (tmp_path / "longest.wav").write_bytes(_riff(1, 8, bytes(301 * SAMPLE_RATE)))
    with pytest.raises(AudioFormatError, match="is 301 s long, more than the 300 s allowed"):
        FileSource(tmp_path / "longest.wav").__enter__()
    with pytest.raises(RuntimeError, match="within `with`"):
        next(FileSource(tmp_path / "long.wav").blocks())


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
    assert {len(block.samples) for block in blocks[:-1]} == {FRAME_SAMPLES}


def _heard(data: bytes) -> FloatArray:
    return _joined(_read(StandardInputSource(io.BytesIO(data))))


def _riff(tag: int, bits: int, sound: bytes, *before: bytes, channels: int = 1) -> bytes:
    """A WAV at 16 kHz with these chunks before its sound."""
    size = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, 16_000, 16_000 * size, size, bits)
    chunks = [struct.pack("<4sI", b"fmt ", 16) + fmt, *before]
    return b"RIFF\0\0\0\0WAVE" + b"".join(chunks) + struct.pack("<4sI", b"data", len(sound)) + sound


@pytest.mark.parametrize(
    ("tag", "bits", "sound", "expected"),
    [
        (1, 8, bytes([0, 64, 128, 255]), [-1.0, -0.5, 0.0, 127 / 128]),
        (1, 16, struct.pack("<3h", -32_768, 8_192, 1), [-1.0, 0.25, 2**-15]),
        (1, 24, b"\0\0\x80" + b"\0\0\x20" + b"\x01\0\0", [-1.0, 0.25, 2**-23]),
        (1, 32, struct.pack("<3i", -(2**31), 2**29, 2**20), [-1.0, 0.25, 2**-11]),
        (3, 32, struct.pack("<4f", -1.0, 0.25, 1.5, -9.0), [-1.0, 0.25, 1.0, -1.0]),
    ],
)
def test_wav_stream_of_any_width(tag: int, bits: int, sound: bytes, expected: list[float]) -> None:
    np.testing.assert_array_equal(_heard(_riff(tag, bits, sound)), expected)


@pytest.mark.parametrize(
    ("tag", "bits"), [(1, 12), (1, 20), (1, 64), (2, 16), (3, 16), (3, 64), (0xFFFE, 16)]
)
def test_other_codings_are_refused(tag: int, bits: int) -> None:
    message = f"the WAV's coding {tag} with {bits} bits is not read; convert it to 16 bits"
    with pytest.raises(AudioFormatError, match=message):
        _heard(_riff(tag, bits, bytes(960)))


@pytest.mark.parametrize(
    ("tag", "extra", "read"), [(1, 10, True), (1, 24, True), (3, 10, False), (1, 8, False)]
)
def test_an_extensible_format_is_what_it_says_inside(tag: int, extra: int, read: bool) -> None:
    body = struct.pack("<HHIIHH8sH14s", 0xFFFE, 1, 16_000, 32_000, 2, 16, bytes(8), tag, b"x" * 14)
    sound = struct.pack("<4sI2h", b"data", 4, 8_192, -8_192)
    fmt = struct.pack("<4sI", b"fmt ", 16 + extra) + body[: 16 + extra]
    wav = b"RIFF\0\0\0\0WAVE" + fmt + sound
    if read:
        np.testing.assert_array_equal(_heard(wav), [0.25, -0.25])
    else:
        with pytest.raises(AudioFormatError, match="is not read"):
            _heard(wav)


@pytest.mark.parametrize("length", [1, 2, 3, 1 << 20])
def test_chunks_before_the_sound_are_skipped_with_their_padding(length: int) -> None:
    note = struct.pack("<4sI", b"LIST", length) + bytes(length + length % 2)
    wav = _riff(1, 16, struct.pack("<2h", 8_192, -8_192), note)
    np.testing.assert_array_equal(_heard(wav), [0.25, -0.25])


@pytest.mark.parametrize(("before", "read"), [(998, True), (999, False)])
def test_a_thousand_chunks_are_looked_at(before: int, read: bool) -> None:
    wav = _riff(1, 16, bytes(20), *[b"note\0\0\0\0"] * before)
    if read:
        assert len(_heard(wav)) == 10
    else:
        with pytest.raises(AudioFormatError, match="more than 1000 chunks and no sound"):
            _heard(wav)


def test_channels_of_a_pipe_are_mixed() -> None:
    four = np.array([[0.25, 0.5, 0.25, 0.5], [-0.5, 0.0, -0.5, 0.0]] * 600)
    sound = (four * 2**31).astype("<i4").tobytes()
    upper = np.frombuffer(sound, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    for bits, data in ((32, sound), (24, upper)):
        heard = _heard(_riff(1, bits, data, channels=4))
        np.testing.assert_array_equal(heard, np.tile([0.375, -0.25], 600))


def test_what_one_channel_of_a_pipe_overdrives_is_told_after_mixing() -> None:
    two = np.zeros((1_024, 2), "<i2")
    two[600:728, 1] = 32_767
    with StandardInputSource(io.BytesIO(_riff(1, 16, two.tobytes(), channels=2))) as source:
        blocks = list(source.blocks())
    assert [block.clipped_fraction for block in blocks] == [0.0, 0.25]


def test_what_one_channel_of_a_file_overdrives_is_told_after_mixing(tmp_path: Path) -> None:
    two = np.zeros((1_024, 2), np.float32)
    two[600:728, 1] = 1.0
    soundfile.write(tmp_path / "two.wav", two, SAMPLE_RATE)
    with FileSource(tmp_path / "two.wav") as source:
        assert [block.clipped_fraction for block in source.blocks()] == [0.0, 0.25]


def test_half_a_sample_at_the_end_of_bare_sound_is_left_out() -> None:
    np.testing.assert_array_equal(_heard(b"\0\x20\0\xe0\x7f"), [0.25, -0.25])
    assert len(_heard(b"\0\x20")) == 1
    with pytest.raises(AudioFormatError, match="no sound"):
        _heard(b"\x20")
    # A loss of sound is told even where half a frame is there.
    with pytest.raises(AudioFormatError, match="ends before its header says"):
        _heard(_riff(1, 16, bytes(20))[:-1])


def test_wav_stream_is_resampled_as_a_whole() -> None:
    time_s = np.arange(24_000) / 48_000
    tone = (0.5 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    two = np.stack([tone, tone], axis=1)

    out = _heard(_wav(two, 48_000))

    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(8_000) / SAMPLE_RATE)
    assert len(out) == pytest.approx(8_000, abs=2)
    np.testing.assert_allclose(out[500:7_500], expected[500:7_500], atol=2e-3)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_0000, 0x7FFE_FFFF])
def test_wav_of_unknown_length_ends_with_the_pipe(size: int) -> None:
    wav = _wav(_noise(2_000))
    at = wav.index(b"data") + 4
    data = wav[:at] + struct.pack("<I", size) + wav[at + 4 :]
    if size == 0x7FFE_FFFF:
        with pytest.raises(AudioFormatError, match="ends before its header says"):
            _heard(data)
    else:
        assert len(_heard(data)) == 2_000


@pytest.mark.parametrize("count", [2_000, 2_048])
def test_what_follows_the_sound_in_a_wav_is_not_played(count: int) -> None:
    assert len(_heard(_wav(_noise(count)) + b"LIST" + struct.pack("<I", 400) + bytes(400))) == count


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no sound"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "no WAV"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0" + bytes(4), "does not say its format"),
        (_wav(_noise(2_000))[:1_000], "ends before its header says"),
        (_wav(_noise(2_000))[:30], "format is cut off"),
        (b"RIFF\0\0\0\0WAVEfmt \x0e\0\0\0" + bytes(14), "format is cut off"),
        (_wav(_noise(2_000))[:40], "before any sound"),
        (_wav(_noise(2_000))[:43], "before any sound"),
        (_wav(_noise(2_000), 4_000), "8000 to 192000"),
        (_riff(1, 16, bytes(20), channels=0), "0 channels; use 1 to 8"),
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
        (_frames(b"\xff\xf1\x50\x83\xff\xff\xfc", 8191), "AAC"),  # as long as they can be
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
    for size in (0x7000_0000, (1 << 20) + 1):
        head = b"RIFF\0\0\0\0WAVE" + b"junk" + struct.pack("<I", size)
        with pytest.raises(AudioFormatError, match=rf"not a valid WAV \(a chunk of {size} bytes"):
            _heard(head + bytes(size if size < 0x7000_0000 else 100))


class Poll:
    """Stands in for `select.poll`: what it waits for comes at once or not at all."""

    def __init__(self) -> None:
        self._real = select.poll()
        self.register = self._real.register

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        assert timeout_ms <= 250  # so that closing is noticed soon
        return self._real.poll(1)


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "select", SimpleNamespace(poll=Poll, POLLIN=select.POLLIN))


def test_a_pipe_is_waited_for_only_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Nothing(Poll):
        def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
            found = super().poll(timeout_ms)
            assert found, "it waits for more than it needs"
            return found

    monkeypatch.setattr(sources, "select", SimpleNamespace(poll=Nothing, POLLIN=select.POLLIN))
    pipe = Piped()
    pipe.write(1, 1)
    with pipe.source as source:
        assert _numbers(next(source.blocks())) == [1]
    pipe.end()


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


@pytest.mark.usefixtures("_no_waiting")
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


@pytest.mark.usefixtures("_no_waiting")
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
        blocks = source.blocks()
        parts += list(itertools.islice(blocks, 3))
    assert list(blocks) == []
    with source:
        parts += list(source.blocks())
    np.testing.assert_array_equal(_joined(parts), samples)
