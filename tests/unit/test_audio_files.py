"""Recordings of every shape: what is read comes out right, what is not is refused in one line."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.audio.files import known_format, mix_down, read_audio
from edge.errors import AudioFormatError
from edge.types import SAMPLE_RATE, FloatArray


def _tone(rate: int = SAMPLE_RATE, seconds: float = 0.5, hertz: float = 440.0) -> FloatArray:
    time = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def _write(
    path: Path, samples: FloatArray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16"
) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(AudioFormatError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_the_same_tone(tmp_path: Path, rate: int) -> None:
    recording = read_audio(_write(tmp_path / "tone.wav", _tone(rate), rate))

    expected = _tone()
    assert recording.original_rate == rate
    assert recording.narrowband == (rate < SAMPLE_RATE)
    assert len(recording.samples) == pytest.approx(len(expected), abs=1)
    middle = slice(1000, 7000)  # a resampler rings where a tone begins and ends
    np.testing.assert_allclose(recording.samples[middle], expected[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_U8", 0.01),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.flac", "PCM_16", 1e-4),
        ("a.flac", "PCM_24", 1e-6),
    ],
)
def test_any_width_has_the_same_scale(
    tmp_path: Path, name: str, subtype: str, tolerance: float
) -> None:
    recording = read_audio(_write(tmp_path / name, _tone(), subtype=subtype))

    assert recording.samples.dtype == np.float32
    assert len(recording.samples) == SAMPLE_RATE // 2
    np.testing.assert_allclose(recording.samples, _tone(), atol=tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    two = np.stack([_tone(), 0.5 * _tone()], axis=1)

    recording = read_audio(_write(tmp_path / "two.wav", two, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, 0.75 * _tone(), atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_what_one_channel_overdrives_is_told_after_mixing(tmp_path: Path, rate: int) -> None:
    two = np.zeros((rate, 2), np.float32)
    two[rate // 4 : rate // 2, 1] = -1.0
    recording = read_audio(_write(tmp_path / "two.wav", two, rate, subtype="PCM_16"))
    assert float(np.abs(recording.samples).max()) < 0.7
    clipped = np.flatnonzero(recording.clipped)
    assert (clipped[0], clipped[-1], len(clipped)) == (4_000, 7_999, 4_000)


@pytest.mark.parametrize(("peak", "count"), [(0.998, 0), (1.0, 400), (3.0, 400)])
def test_in_a_float_file_what_is_flat_at_its_own_peak_is_clipped(
    tmp_path: Path, peak: float, count: int
) -> None:
    loud = 0.5 * _tone()
    loud[1_000:1_400] = peak
    recording = read_audio(_write(tmp_path / "loud.wav", loud, subtype="FLOAT"))
    assert np.count_nonzero(recording.clipped) == count


def test_an_offset_does_not_hide_that_channels_cancel() -> None:
    two = np.stack([0.5 - 0.1 * _tone(), 0.5 + 0.1 * _tone()], axis=1).astype(np.float32)
    assert float(mix_down(two).std()) == pytest.approx(0.1 * float(_tone().std()), rel=1e-3)


def test_channels_in_antiphase_do_not_cancel(tmp_path: Path) -> None:
    two = np.stack([-0.9 * _tone(), _tone()], axis=1)

    recording = read_audio(_write(tmp_path / "antiphase.wav", two, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, _tone(), atol=1e-6)


@pytest.mark.parametrize("peak", [0.9, 1.1, 15_000.0])
def test_float_above_full_scale_is_scaled_not_cut(tmp_path: Path, peak: float) -> None:
    loud = np.float32(peak) * (_tone() / np.abs(_tone()).max())

    recording = read_audio(_write(tmp_path / "loud.wav", loud, subtype="FLOAT"))

    np.testing.assert_allclose(recording.samples, loud / max(1.0, peak), atol=1e-6)


def test_what_a_resampler_adds_at_full_scale_is_cut_off(tmp_path: Path) -> None:
    square = np.sign(np.sin(np.arange(4_800) / 20.3)).astype(np.float32)
    samples = read_audio(_write(tmp_path / "square.wav", square, 48_000)).samples
    assert (samples.min(), samples.max()) == (-1.0, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    samples = _tone()
    samples[4321] = bad

    assert "no numbers" in _refusal(_write(tmp_path / "nan.wav", samples, subtype="FLOAT"))


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not sound\n" * 100)
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    _write(tmp_path / "zero.wav", _tone()[:0])
    soundfile.write(tmp_path / "tone.ogg", _tone(), SAMPLE_RATE)

    assert "no such file" in _refusal(tmp_path / "missing.wav")
    assert "is empty (0 bytes)" in _refusal(tmp_path / "empty.wav")
    assert "not a WAV or FLAC" in _refusal(tmp_path / "text.wav")
    assert "directory" in _refusal(tmp_path / "folder.wav")
    assert "not a regular file" in _refusal(tmp_path / "pipe.wav")
    assert "zero length" in _refusal(tmp_path / "zero.wav")
    assert "only WAV and FLAC" in _refusal(tmp_path / "tone.ogg")


def test_every_truncated_wav_is_refused(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.wav", _tone()).read_bytes()
    short = tmp_path / "short.wav"
    for size in [2, 4, 11, 12, 20, 40, 43, 44, 45, len(whole) // 2, len(whole) - 1]:
        short.write_bytes(whole[:size])
        _refusal(short)
    short.write_bytes(whole[: len(whole) // 2])
    message = _refusal(short)
    assert "0.50 s" in message
    assert "0.25 s are there" in message


def test_truncated_and_damaged_flac_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 8000).astype(np.float32)
    whole = _write(tmp_path / "whole.flac", noise).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)

    (tmp_path / "short.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.flac").write_bytes(damaged)

    assert "truncated" in _refusal(tmp_path / "short.flac")
    assert "damaged" in _refusal(tmp_path / "damaged.flac")


def test_sizes_of_a_streaming_writer_are_taken_as_unknown(tmp_path: Path) -> None:
    whole = _write(tmp_path / "whole.wav", _tone()).read_bytes()
    at = whole.index(b"data") + 4
    for size in (0xFFFF_FFFF, 0x7FFF_FFFF, 0):  # as a pipe would be
        file = tmp_path / "streamed.wav"
        file.write_bytes(whole[:at] + struct.pack("<I", size) + whole[at + 4 :])
        assert len(read_audio(file).samples) / SAMPLE_RATE == pytest.approx(0.5)


def test_length_is_judged_by_the_header_before_decoding(tmp_path: Path) -> None:
    silence = np.zeros(11 * SAMPLE_RATE, np.float32)
    path = _write(tmp_path / "long.wav", silence)

    assert len(read_audio(path, max_s=11.0).samples) == 11 * SAMPLE_RATE
    with pytest.raises(AudioFormatError, match="11 s long, more than the 10 s"):
        read_audio(path, max_s=10.0)


def test_header_that_promises_hours_takes_no_memory_for_them(tmp_path: Path) -> None:
    flac = bytearray(_write(tmp_path / "a.flac", _tone()).read_bytes())
    flac[21] |= 0x0F  # the 36-bit count of samples in STREAMINFO, RFC 9639 section 8.2
    flac[22:26] = b"\xff" * 4
    (tmp_path / "huge.flac").write_bytes(flac)
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "unknown.flac").write_bytes(flac)

    assert "more than the 300 s" in _refusal(tmp_path / "huge.flac")
    assert "does not say how long" in _refusal(tmp_path / "unknown.flac")


@pytest.mark.parametrize("rate", [7_999, 192_001])
def test_rates_out_of_range_are_refused(tmp_path: Path, rate: int) -> None:
    message = _refusal(_write(tmp_path / "rate.wav", _tone(rate), rate))
    assert f"{rate} samples per second; use 8000 to 192000, best 16000" in message


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    eight = np.repeat(_tone()[:, None], 8, axis=1)
    recording = read_audio(_write(tmp_path / "eight.wav", eight))
    np.testing.assert_allclose(recording.samples, _tone(), atol=1e-4)
    nine = _write(tmp_path / "many.wav", np.zeros((800, 9), np.float32))
    assert "9 channels; use 1 to 8, best one" in _refusal(nine)


def _chunk(name: bytes, body: bytes = b"", length: int | None = None, order: str = "<") -> bytes:
    """A chunk and its padding; its length may be a lie."""
    counted = struct.pack(f"{order}I", len(body) if length is None else length)
    return name + counted + body + bytes(len(body) % 2)


def _riff(*chunks: bytes, kind: bytes = b"RIFF", order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return kind + struct.pack(f"{order}I", len(body)) + body


FMT = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16))
PCM = (_tone(seconds=0.01) * 32_768).astype("<i2").tobytes()
"""160 samples."""


def _outcome(path: Path, content: bytes) -> str:
    """How many samples are read from a file with this content, or why it is refused."""
    path.write_bytes(content)
    try:
        return f"{len(read_audio(path).samples)} samples"
    except AudioFormatError:
        return _refusal(path)


@pytest.mark.parametrize("length", [1, 2, 3, 4096])
@pytest.mark.parametrize("order", ["<", ">"])
def test_chunks_of_odd_length_are_padded(tmp_path: Path, length: int, order: str) -> None:
    kind = {"<": b"RIFF", ">": b"RIFX"}[order]
    fmt = _chunk(b"fmt ", struct.pack(f"{order}HHIIHH", 1, 1, 16_000, 32_000, 2, 16), order=order)
    sound = np.frombuffer(PCM, "<i2").astype(f"{order}i2").tobytes()
    note = _chunk(b"LIST", b"d" * length, order=order)
    whole = _riff(fmt, note, _chunk(b"data", sound, order=order), kind=kind, order=order)
    assert _outcome(tmp_path / "a.wav", whole) == "160 samples"
    np.testing.assert_array_equal(
        read_audio(tmp_path / "a.wav").samples, np.frombuffer(PCM, "<i2") / np.float32(32_768)
    )
    refusal = _outcome(tmp_path / "a.wav", whole[:-2])
    assert "is truncated, its header promises 0.01 s and 0.01 s are there" in refusal


def test_sound_of_odd_length_needs_no_padding(tmp_path: Path) -> None:
    eight_bits = _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16_000, 16_000, 1, 8))
    whole = _riff(eight_bits, _chunk(b"data", bytes(range(100, 131))))
    assert _outcome(tmp_path / "a.wav", whole) == "31 samples"
    assert _outcome(tmp_path / "a.wav", whole[:-1]) == "31 samples"
    assert "is truncated" in _outcome(tmp_path / "a.wav", whole[:-2])


@pytest.mark.parametrize(
    ("promised", "expected"),
    [
        (0x7FFE_FFFF, "is truncated, its header promises 67106.82 s and 0.01 s are there"),
        (0x7FFF_0000, "160 samples"),
        (0xFFFF_FFFE, "160 samples"),
        (0xFFFF_FFFF, "160 samples"),
        (321, "is truncated"),
        (320, "160 samples"),
        (0, "160 samples"),
    ],
)
def test_the_promised_length_is_held_against_the_file(
    tmp_path: Path, promised: int, expected: str
) -> None:
    content = _riff(FMT, _chunk(b"data", PCM, promised))
    assert expected in _outcome(tmp_path / "a.wav", content)


@pytest.mark.parametrize(
    ("wide", "expected"),
    [(320, "160 samples"), (321, "promises 0.01 s"), (3_200_000_000, "promises 100000.00 s"),
     (0, "zero length")],
)  # fmt: skip
def test_a_length_of_64_bits_is_held_against_the_file(
    tmp_path: Path, wide: int, expected: str
) -> None:
    sizes = _chunk(b"ds64", struct.pack("<QQQI", 400, wide, wide // 2, 0))
    content = _riff(sizes, FMT, _chunk(b"data", PCM, 0xFFFF_FFFF), kind=b"RF64")
    assert expected in _outcome(tmp_path / "a.wav", content)
    # A length that the chunk itself gives goes first.
    content = _riff(sizes, FMT, _chunk(b"data", PCM), kind=b"RF64")
    assert expected == "zero length" or "160 samples" in _outcome(tmp_path / "a.wav", content)


@pytest.mark.parametrize(
    ("before", "expected"), [(998, "160 samples"), (999, "more than 1000 chunks and no sound")]
)
def test_a_thousand_chunks_are_looked_at(tmp_path: Path, before: int, expected: str) -> None:
    content = _riff(FMT, *[_chunk(b"note")] * before, _chunk(b"data", PCM))
    assert expected in _outcome(tmp_path / "a.wav", content)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([FMT, _chunk(b"data")], "zero length"),
        ([FMT, b"data\0\0\0"], "ends before any sound"),
        ([FMT], "ends before any sound"),
        ([FMT, _chunk(b"data", length=0xFFFF_FFFF)], "zero length"),
        ([FMT, b"data\0\0\0\0x"], "zero length"),
        # Without a format it cannot be said how many seconds are missing.
        ([_chunk(b"data", PCM, 400)], "promises 400.00 s and 320.00 s"),
        ([b"fmt \x10\0\0\0" + b"x" * 11], "ends before any sound"),
        ([b"ds64\x10\0\0\0" + b"x" * 15], "ends before any sound"),
    ],
)
def test_a_wav_without_sound_says_so(tmp_path: Path, chunks: list[bytes], expected: str) -> None:
    assert expected in _outcome(tmp_path / "a.wav", _riff(*chunks))


@pytest.mark.parametrize(("loudest", "read"), [(2.0**32, True), (2.0**32 + 512, False)])
def test_nothing_is_louder_than_integers_of_32_bits(
    tmp_path: Path, loudest: float, read: bool
) -> None:
    samples = _tone()
    samples[4_000] = -loudest
    path = _write(tmp_path / "loud.wav", samples, subtype="FLOAT")
    if read:
        assert read_audio(path).samples.min() == -1.0
    else:
        assert "louder than any sound" in _refusal(path)


@pytest.mark.parametrize(("alike", "mixed"), [(-0.48, True), (-0.52, False)])
def test_channels_that_half_cancel_are_not_mixed(alike: float, mixed: bool) -> None:
    """The mean of channels alike to this degree has this share of the power of strange ones."""
    one, other = np.random.default_rng(2).standard_normal((2, 16_000))
    other -= one * float(one @ other) / float(one @ one)
    other *= np.linalg.norm(one) / np.linalg.norm(other)
    second = alike * one + np.sqrt(1.0 - alike**2) * other
    channels = np.stack([0.1 * one, 0.1 * second], axis=1).astype(np.float32)
    is_mean = np.allclose(mix_down(channels), channels.mean(axis=1), atol=1e-6)
    assert is_mean is mixed


def test_of_channels_that_cancel_the_loudest_is_taken() -> None:
    tone = _tone()
    channels = np.stack([0.3 * tone, -0.9 * tone, 0.6 * tone], axis=1)
    np.testing.assert_array_equal(mix_down(channels), np.float32(-0.9) * tone)
    np.testing.assert_array_equal(mix_down(tone[:, None]), tone)


OF_44_1 = (104, 130, 156, 182, 208, 261, 313, 365, 417, 522, 626, 731, 835, 1044)
OF_48 = (96, 120, 144, 168, 192, 240, 288, 336, 384, 480, 576, 672, 768, 960)
OF_32 = (144, 180, 216, 252, 288, 360, 432, 504, 576, 720, 864, 1008, 1152, 1440)
OF_22_05 = (26, 52, 78, 104, 130, 156, 182, 208, 261, 313, 365, 417, 470, 522)
OF_24 = (24, 48, 72, 96, 120, 144, 168, 192, 240, 288, 336, 384, 432, 480)
OF_16 = (36, 72, 108, 144, 180, 216, 252, 288, 360, 432, 504, 576, 648, 720)
OF_11_025 = (52, 104, 156, 208, 261, 313, 365, 417, 522, 626, 731, 835, 940, 1044)


def _mp3(kind: int, bit_rate: int, rate: int, padding: int = 0) -> bytes:
    return bytes([0xFF, kind, bit_rate << 4 | rate << 2 | padding << 1, 0])


def _twice(header: bytes, length: int, rest: int = 4) -> bytes:
    """A header, and the same again where a frame of that length would end."""
    return header + bytes(length - len(header)) + header[:rest]


@pytest.mark.parametrize(
    ("kind", "rate", "lengths"),
    [
        (0xFB, 0, OF_44_1), (0xFA, 0, OF_44_1), (0xFB, 1, OF_48), (0xFB, 2, OF_32),
        (0xF3, 0, OF_22_05), (0xF3, 1, OF_24), (0xF3, 2, OF_16), (0xE3, 0, OF_11_025),
        (0xE3, 1, tuple(2 * length for length in OF_24)),
        (0xE3, 2, tuple(2 * length for length in OF_16)),
    ],
)  # fmt: skip
def test_frames_of_mp3_are_known_by_their_length(
    kind: int, rate: int, lengths: tuple[int, ...]
) -> None:
    for bit_rate, length in enumerate(lengths, start=1):
        for padding in (0, 1):
            header = _mp3(kind, bit_rate, rate, padding)
            assert known_format(_twice(header, length + padding)) == "MP3"
            assert known_format(_twice(header, length + padding, rest=3)) is None
            assert known_format(_twice(header, length + padding - 1)) is None
            assert known_format(_twice(header, length + padding + 1)) is None


@pytest.mark.parametrize(
    "header",
    [
        _mp3(0xFB, 0, 0), _mp3(0xFB, 15, 0), _mp3(0xFB, 9, 3), _mp3(0xEB, 9, 0), _mp3(0xF9, 9, 0),
        _mp3(0xFD, 9, 0), _mp3(0xFF, 9, 0), _mp3(0xDB, 9, 0), b"\xfe" + _mp3(0xFB, 9, 0)[1:],
    ],
)  # fmt: skip
def test_headers_that_are_none_of_mp3(header: bytes) -> None:
    for length in (*range(4, 600), 731, 835, 1044):
        assert known_format(_twice(header, length)) is None


def _adts(length: int, rate: int = 4, kind: int = 0xF1) -> bytes:
    upper = 0x80 | length >> 11
    return bytes([0xFF, kind, 0x40 | rate << 2, upper, length >> 3 & 255, (length & 7) << 5, 0xFC])


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        (_adts(8), 8, "AAC"), (_adts(7), 7, None), (_adts(100), 100, "AAC"),
        (_adts(101), 100, None),
        (_adts(2047), 2047, "AAC"), (_adts(2048), 2048, "AAC"), (_adts(8191), 8191, "AAC"),
        (_adts(100, 12), 100, "AAC"), (_adts(100, 13), 100, None), (_adts(100, 0), 100, "AAC"),
        (_adts(100, kind=0xF8), 100, "AAC"), (_adts(100, kind=0xF3), 100, None),
        (_adts(100, kind=0xE1), 100, None), (b"\xfe" + _adts(100)[1:], 100, None),
    ],
)  # fmt: skip
def test_frames_of_aac_are_known_by_their_length(
    header: bytes, length: int, expected: str | None
) -> None:
    assert known_format(_twice(header, length, rest=7)) == expected
    assert known_format(_twice(header, length, rest=6)) is None


def test_midi_is_no_sound() -> None:
    assert known_format(b"MThd\0\0\0\6") == "MIDI"
    assert known_format(b"") is None
