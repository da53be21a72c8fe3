"""The microphone: it opens, and it delivers plausible sound.

Nobody has to speak: a room's noise shows a dead capsule (exact zeros), a far too low level,
clipping, and too much noise.

Thresholds: speech at a door arrives at -45 to -15 dBFS, background noise is 20 to 50 dB below it.
Where the quietest tenth is louder than -35 dBFS, speech cannot exceed it by
`recognition.min_snr_db` without clipping. Nothing above -80 dBFS in three seconds is the last bit
or two of a 16-bit converter (-98 to -86), not a room. One sample in a thousand at full scale is
clipping: speech alone reaches it by chance far less often.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES, FULL_SCALE, power_db
from edge.audio.microphone import live_source
from edge.audio.sources import Source
from edge.config import Config, doors_of, is_main
from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, red, skipped, split_message, yellow
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

LISTEN_S = 3.0
_FAINT_DBFS = -80.0
_NOISY_DBFS = -35.0
_CLIPPED = 0.001
_THERE_ARE = "there are: "

OPENED = green("microphone.opened", "'{name}' opens at {rate:.0f} Hz")
RESAMPLED = green("microphone.resampled", "'{name}' opens at {rate:.0f} Hz, resampled to 16000 Hz")
NARROW = red(
    "microphone.narrow",
    "'{name}' only delivers {rate:.0f} Hz: half of the voice's spectrum is missing",
    "use another microphone; Bluetooth headsets are this limited while they record",
)
HELD = green("microphone.held", "in use by the running service, which reports that it is listening")
HELD_LOST = red(
    "microphone.lost",
    "lost by the running service: {reason}",
    "check its plug and cable; the service retries every second",
)
BUSY = yellow(
    "microphone.busy",
    "it cannot be opened ({found}); the running service may be using it",
    "to check the microphone: sudo systemctl stop edge-voice, edge-voice doctor, sudo systemctl"
    " start edge-voice",
)
CLOSED = red("microphone.closed")
LEFT_OUT = skipped("microphone.left_out", "not checked (--quick)")
NOTHING = red(
    "sound.nothing",
    "no sound: {found}",
    "unplug the microphone and plug it in again; to test it alone: arecord -d 3 -f S16_LE -r 16000"
    " /tmp/try.wav",
)
SILENT = red(
    "sound.silent",
    "{seconds:.1f} s of exact zeros: nothing is connected, or it is muted",
    "unmute it: alsamixer, F4, M; check that it is the right one: edge-voice devices",
)
FAINT = yellow(
    "sound.faint",
    "far too quiet: {loudest:.0f} dBFS at most, less than any room",
    "turn it up: alsamixer, F4, arrow up; check for a switch on the microphone",
)
CLIPPING = yellow(
    "sound.clipping",
    "clipping: {share:.1%} of the samples are at full scale",
    "turn it down: alsamixer, F4, arrow down, until speech peaks at -12 dBFS",
)
NOISY = yellow(
    "sound.noisy",
    "too much noise: {noise:.0f} dBFS in the quietest moments",
    "find the source: try another USB port or power supply, away from fans, or turn it down",
)
SOUND = green(
    "sound.arrives",
    "{seconds:.1f} s recorded: {level:.0f} dBFS on average, {loudest:.0f} at most, {noise:.0f} in"
    " the quietest moments",
)
NOT_RECORDED = skipped("sound.not_heard", "not checked because the microphone cannot be opened")


def check(context: Context) -> Iterator[Finding]:
    """Record for some seconds; where the service has the microphone, use what it reports."""
    doors = doors_of(context.config)
    for door in doors:
        audio = door.audio
        kind = live_source(audio.source, audio.device, audio.ring_s).kind
        context.microphones[door.device.id] = kind
    if context.quick:
        yield LEFT_OUT()
        return
    for door in doors:
        for finding in _examined(context, door):
            where = f"{door.device.id}: " if len(doors) > 1 else ""
            yield replace(finding, found=where + finding.found)


def _examined(context: Context, door: Config) -> Iterator[Finding]:
    audio = door.audio
    microphone = live_source(audio.source, audio.device, audio.ring_s)
    try:
        with microphone:
            context.microphones[door.device.id] = microphone.kind
            yield judge_rate(microphone.name, microphone.rate)
            try:
                samples, clipped = _record(microphone)
            except MicrophoneError as error:
                yield NOTHING(found=split_message(error)[0])
            else:
                yield judge_sound(samples, clipped)
    except MicrophoneError as error:
        yield _unopened(context, error, main=is_main(door))
        yield NOT_RECORDED()


def judge_rate(name: str, rate: float) -> Finding:
    """The finding for a microphone's sample rate, Hz."""
    if rate < SAMPLE_RATE:
        return NARROW(name=name, rate=rate)
    return (OPENED if rate == SAMPLE_RATE else RESAMPLED)(name=name, rate=rate)


def judge_sound(samples: FloatArray, clipped: float | None = None) -> Finding:
    """The finding for a recording at 16 kHz, shape (n,), at least `FRAME_SAMPLES` long.

    `clipped` is the share of its samples at full scale as they came in; None to look for it.
    """
    seconds = len(samples) / SAMPLE_RATE
    if not samples.any():
        return SILENT(seconds=seconds)
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    powers = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))
    loudest = power_db(float(powers[-1]))
    noise = power_db(float(powers[: max(1, len(powers) // 10)].mean()))
    share = float((np.abs(samples) >= FULL_SCALE).mean()) if clipped is None else clipped
    if share >= _CLIPPED:
        return CLIPPING(share=share)
    if loudest < _FAINT_DBFS:
        return FAINT(loudest=loudest)
    if noise > _NOISY_DBFS:
        return NOISY(noise=noise)
    level = power_db(float(powers.mean()))
    return SOUND(seconds=seconds, level=level, loudest=loudest, noise=noise)


def _record(microphone: Source) -> tuple[FloatArray, float]:
    """Some seconds, and the share of their samples at full scale."""
    blocks: list[AudioBlock] = []
    deadline = time.monotonic() + 2 * LISTEN_S
    for block in microphone.blocks():
        blocks.append(block)
        if len(blocks) * FRAME_SAMPLES >= LISTEN_S * SAMPLE_RATE or time.monotonic() > deadline:
            break
    clipped = sum(block.clipped_fraction for block in blocks) / max(1, len(blocks))
    return np.concatenate([block.samples for block in blocks]), clipped


def _unopened(context: Context, error: MicrophoneError, *, main: bool) -> Finding:
    held = context.reported_microphone if main else None
    if held == "listening":
        return HELD()
    if held == "lost":
        reason = (context.status or {}).get("reason", "no reason given")
        return HELD_LOST(reason=str(reason)[:200])
    found, remedy = split_message(error)
    if context.unit.running:
        return BUSY(found=found)
    if remedy.startswith(_THERE_ARE):
        remedy = f"set audio.device to one of these: {remedy[len(_THERE_ARE) :]}"
    return CLOSED(found=found, remedy=remedy)
