"""The microphone: there, open, and sound really arrives from it.

Nobody has to speak. What a room sounds like when nobody does still tells a dead capsule (exact
zeros), a switched-off or far too faint one, and one that is overdriven or drowned in noise.

Where the thresholds come from: speech at a door arrives at -45 to -15 dBFS, and a room of a home
lies 20 to 50 dB below it. A quietest tenth louder than -35 dBFS leaves no speech to stand out by
`recognition.min_snr_db` without clipping in its peaks. Nothing above -80 dBFS in three seconds is
the last bit or two of a 16-bit converter (-98 to -86), not a room. One sample in a thousand at
full scale is overdriven: speech alone reaches it by chance far less often.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES, power_db
from edge.audio.microphone import Microphone
from edge.audio.quality import FULL_SCALE
from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, parted, red, skipped, yellow
from edge.errors import MicrophoneError
from edge.types import SAMPLE_RATE, FloatArray

LISTEN_S = 3.0
_FAINT_DBFS = -80.0
_NOISY_DBFS = -35.0
_CLIPPED = 0.001
_THERE_ARE = "there are: "

OPENED = green("microphone.opened", "'{name}' is open at {rate:.0f} samples a second")
RESAMPLED = green(
    "microphone.resampled",
    "'{name}' is open at {rate:.0f} samples a second, which become 16000",
)
NARROW = red(
    "microphone.narrow",
    "'{name}' gives {rate:.0f} samples a second: half of a voice is missing",
    "take another microphone; a headset over Bluetooth is as poor as that while it listens",
)
HELD = green(
    "microphone.held",
    "the running service has it and says that it listens; it cannot be opened twice",
)
HELD_DEAF = red(
    "microphone.lost",
    "the running service has it and hears nothing: {reason}",
    "check its plug and cable; the service tries again every second",
)
BUSY = yellow(
    "microphone.busy",
    "it cannot be opened ({found}); the service is running and may hold it",
    "to look at the microphone: sudo systemctl stop edge-voice, edge-voice doctor, sudo systemctl"
    " start edge-voice",
)
CLOSED = red("microphone.closed", "{found}", "{remedy}")
LEFT_OUT = skipped("microphone.left_out", "not listened to (--quick)")
NOTHING = red(
    "sound.nothing",
    "no sound arrives: {found}",
    "unplug the microphone and plug it in again; try it by itself: arecord -d 3 -f S16_LE -r 16000"
    " /tmp/try.wav",
)
SILENT = red(
    "sound.silent",
    "{seconds:.1f} s of exact zeros: nothing is connected, or it is muted",
    "unmute it: alsamixer, F4, the letter M; see that it is the right one: edge-voice devices",
)
FAINT = yellow(
    "sound.faint",
    "hardly anything: the loudest moment had {loudest:.0f} dBFS, less than any room",
    "turn it up: alsamixer, F4, arrow up; a switch on the microphone may be off",
)
CLIPPING = yellow(
    "sound.clipping",
    "overdriven: {share:.1%} of the samples are at full scale",
    "turn it down: alsamixer, F4, arrow down, until speech peaks at -12 dBFS",
)
NOISY = yellow(
    "sound.noisy",
    "the quietest moments have {noise:.0f} dBFS, too loud for speech to stand out",
    "find what hums: another USB port or power supply, farther from a fan, or turn it down",
)
HEARS = green(
    "sound.arrives",
    "{seconds:.1f} s heard: {level:.0f} dBFS, at its loudest {loudest:.0f}, at its quietest"
    " {noise:.0f}",
)
UNHEARD = skipped("sound.not_heard", "not heard, since the microphone was not opened")


def check(context: Context) -> Iterator[Finding]:
    """Open it and listen for some seconds; where the service holds it, ask the service."""
    audio = context.config.audio
    microphone = Microphone(audio.device)
    try:
        with microphone:
            yield judge_rate(microphone.name, microphone.rate)
            try:
                samples = _listen(microphone)
            except MicrophoneError as error:
                yield NOTHING(found=parted(error)[0])
            else:
                yield judge_sound(samples)
    except MicrophoneError as error:
        yield _unopened(context, error)
        yield UNHEARD()


def left_out() -> Iterator[Finding]:
    """What to say in place of listening."""
    yield LEFT_OUT()


def judge_rate(name: str, rate: float) -> Finding:
    """What the rate is worth that a microphone was opened with, samples per second."""
    if rate < SAMPLE_RATE:
        return NARROW(name=name, rate=rate)
    return (OPENED if rate == SAMPLE_RATE else RESAMPLED)(name=name, rate=rate)


def judge_sound(samples: FloatArray) -> Finding:
    """What some seconds of sound are worth.

    Args:
        samples: mono, at 16 kHz, shape (n,), at least `FRAME_SAMPLES` of them.
    """
    seconds = len(samples) / SAMPLE_RATE
    if not samples.any():
        return SILENT(seconds=seconds)
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    powers = np.sort(np.square(frames, dtype=np.float64).mean(axis=1))
    loudest = power_db(float(powers[-1]))
    noise = power_db(float(powers[: max(1, len(powers) // 10)].mean()))
    share = float((np.abs(samples) >= FULL_SCALE).mean())
    if share >= _CLIPPED:
        return CLIPPING(share=share)
    if loudest < _FAINT_DBFS:
        return FAINT(loudest=loudest)
    if noise > _NOISY_DBFS:
        return NOISY(noise=noise)
    level = power_db(float(powers.mean()))
    return HEARS(seconds=seconds, level=level, loudest=loudest, noise=noise)


def _listen(microphone: Microphone) -> FloatArray:
    parts: list[FloatArray] = []
    deadline = time.monotonic() + 2 * LISTEN_S
    for block in microphone.blocks():
        parts.append(block.samples)
        if len(parts) * FRAME_SAMPLES >= LISTEN_S * SAMPLE_RATE or time.monotonic() > deadline:
            break
    return np.concatenate(parts)


def _unopened(context: Context, error: MicrophoneError) -> Finding:
    held = context.microphone_of_the_service
    if held == "listening":
        return HELD()
    if held == "lost":
        reason = (context.status or {}).get("reason", "no reason given")
        return HELD_DEAF(reason=str(reason)[:200])
    found, remedy = parted(error)
    if context.unit.running:
        return BUSY(found=found)
    if remedy.startswith(_THERE_ARE):
        remedy = f"set audio.device to one of these: {remedy[len(_THERE_ARE) :]}"
    return CLOSED(found=found, remedy=remedy)
