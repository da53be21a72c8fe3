"""The machine: its clock, processor, memory and disk, and how fast the models run on it.

The service takes 132 MB at its peak: less than 200 MB free leaves little beside it, and below
50 MB the kernel may end a process. The audit trail grows to 32 MB (`audit.most_mb`), twice that
while it is compacted: 100 MB is room enough, and below 10 MB an enrollment may fail.

People notice a wait above 900 ms after speech, 600 ms of it `audio.end_silence_s`: 300 ms are left,
15 % of a phrase of two seconds. Above half of the utterance's length the device falls behind in
continuous speech, where voice detection, search and verification share one core, and what is not
processed within `audio.ring_s` is lost.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from edge import resources
from edge.access.clock import SOFTWARE_S, door_clock
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.doctor.context import Context, output_of
from edge.doctor.finding import Finding, from_error, green, red, skipped, yellow
from edge.errors import ModelError, StoreError
from edge.inference import open_model
from edge.inference.release import altered
from edge.recognition import Engine
from edge.recognition.embedders import PHRASE_FILE, SPEAKER_FILE
from edge.store.device_state import FILE_NAME, DeviceState
from edge.types import Profile

_FAR_S = datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()
_SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")
_CPU = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/meminfo")
_LITTLE_MEMORY_MB, _NO_MEMORY_MB = 200, 50
_LITTLE_DISK_MB, _NO_DISK_MB = 100, 10
_FEATURES = {
    "asimddp": "8-bit dot products",
    "i8mm": "8-bit matrix products",
    "asimd": "vectors",
    "neon": "vectors",
    "avx_vnni": "8-bit dot products",
    "avx512_vnni": "8-bit dot products",
    "avx2": "vectors",
}
"""What makes 8-bit networks fast, by the kernel's names; the best of each family first."""

_SLOW = 0.15
_TOO_SLOW = 0.5
_ROUNDS = 5

PLAUSIBLE = green("clock.plausible", "it shows {shown}")
IMPOSSIBLE = red(
    "clock.impossible",
    "it shows {shown}, which cannot be right: a lock rejects decisions with such a time",
    "use a time server or a clock with a battery: sudo timedatectl set-ntp true",
)
UNKNOWN = red(
    "clock.unknown",
    "{problem}: {effect}",
    "run: sudo timedatectl set-ntp true; if the clock is right: edge-voice access clock --accept",
)
SYNCHRONIZED = green("clock_sync.yes", "synchronized with a time server")
NOT_SYNCHRONIZED = yellow(
    "clock_sync.no",
    "not synchronized since the start: it may be off by minutes, and locks reject decisions that"
    " seem too old",
    "run: sudo timedatectl set-ntp true, and let the machine reach a time server",
)
SYNC_UNKNOWN = skipped("clock_sync.unknown", "no information on time synchronization")

PROCESSOR = green("processor.features", "{machine}, {cores}, with {features}")
NO_FEATURES = yellow(
    "processor.plain",
    "{machine}, {cores}, without instructions that make 8-bit networks fast",
    "see the row 'speed' for the effect",
)
PROCESSOR_UNKNOWN = skipped("processor.unknown", "/proc/cpuinfo does not describe this processor")
MEMORY = green("memory.enough", "{free} MB of memory free")
LITTLE_MEMORY = yellow(
    "memory.little",
    "{free} MB of memory free; the service takes up to 132 MB",
    "see what uses it: top, then M",
)
NO_MEMORY = red(
    "memory.none",
    "only {free} MB of memory free: the kernel may end a process to get more",
    "see what uses it (top, then M) and stop what is not needed here",
)
MEMORY_UNKNOWN = skipped("memory.unknown", "/proc/meminfo does not show the free memory")
DISK = green("disk.enough", "{free} MB free for the state directory")
LITTLE_DISK = yellow(
    "disk.little",
    "{free} MB free for the state directory ({folder})",
    "free some space: sudo apt clean; sudo journalctl --vacuum-size=50M",
)
NO_DISK = red(
    "disk.full",
    "only {free} MB free for the state directory ({folder})",
    "free some space now, or nothing can be stored: sudo apt clean; sudo journalctl"
    " --vacuum-size=50M",
)

MODEL = green("models.genuine", "{file} matches its card (SHA-256 {digest}...)")
ALTERED = red(
    "models.altered",
    "{file} is not the card that came with this release: its calibration may have been changed",
    "reinstall the software; models of your own belong in a folder that models_directory names",
)
OWN = yellow(
    "models.own",
    "models_directory is set, and {file} there is not the card of this release",
    "nothing, if these are models of your own; else empty models_directory",
)
MODEL_FAULT = red("models.fault")
CALIBRATION_FAULT = red("models.calibration")
FAST = green(
    "speed.fast", "{ms:.0f} ms to verify {seconds:.1f} s of speech: real-time factor {factor:.3f}"
)
SLOW = yellow(
    "speed.slow",
    "{ms:.0f} ms to verify {seconds:.1f} s of speech, real-time factor {factor:.2f}: people will"
    " notice the wait",
    "set recognition.threads to 2 or more; see what else is running (top); check the cooling",
)
TOO_SLOW = red(
    "speed.too_slow",
    "{ms:.0f} ms to verify {seconds:.1f} s of speech, real-time factor {factor:.2f}: it cannot"
    " keep up",
    "see what else is running (top); a 64-bit system is several times faster on the same board",
)
NOT_MEASURED = skipped("speed.not_measured", "not measured because the models cannot be used")
LEFT_OUT = skipped("speed.left_out", "not measured (--quick)")


def check_clock(context: Context, now_s: float | None = None) -> Iterator[Finding]:
    """Whether the time (Unix time; the clock's if None) is plausible, and synchronized."""
    now_s = time.time() if now_s is None else now_s
    shown = datetime.fromtimestamp(now_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    problem = _clock_problem(context, now_s)
    if not SOFTWARE_S <= now_s < _FAR_S:
        yield IMPOSSIBLE(shown=shown)
    elif problem is not None:
        allow = context.config.access.unknown_time == "allow"
        effect = "not checked" if allow else "rejected"
        yield UNKNOWN(problem=problem, effect=f"people with hours or dates are {effect}")
    else:
        yield PLAUSIBLE(shown=shown)
    synchronized = _is_synchronized()
    if synchronized is None:
        yield SYNC_UNKNOWN()
    else:
        yield SYNCHRONIZED() if synchronized else NOT_SYNCHRONIZED()


def check(context: Context) -> Iterator[Finding]:
    """Processor, memory and disk."""
    yield judge_processor(_text(_CPU), platform.machine(), os.cpu_count() or 1)
    yield judge_memory(_text(_MEMORY))
    folder = context.config.state_path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    yield judge_disk(folder)


def judge_processor(cpuinfo: str, machine: str, cores: int) -> Finding:
    """What a processor can do, from /proc/cpuinfo."""
    words: set[str] = set()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            words.update(value.split())
    if not words:
        return PROCESSOR_UNKNOWN()
    found = [name for name in _FEATURES if name in words]
    counted = "1 core" if cores == 1 else f"{cores} cores"
    if not found:
        return NO_FEATURES(machine=machine, cores=counted)
    features = ", ".join(f"{name} ({_FEATURES[name]})" for name in found)
    return PROCESSOR(machine=machine, cores=counted, features=features)


def judge_memory(meminfo: str) -> Finding:
    """Whether enough memory is free, from /proc/meminfo."""
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    words = rows.get("MemAvailable", "").split()
    if not words or not words[0].isdecimal():
        return MEMORY_UNKNOWN()
    free = int(words[0]) // 1024
    if free < _NO_MEMORY_MB:
        return NO_MEMORY(free=free)
    return (LITTLE_MEMORY if free < _LITTLE_MEMORY_MB else MEMORY)(free=free)


def judge_disk(folder: Path) -> Finding:
    """Whether the file system of a folder has room."""
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < _NO_DISK_MB:
        return NO_DISK(free=free, folder=folder)
    return (LITTLE_DISK if free < _LITTLE_DISK_MB else DISK)(free=free, folder=folder)


def _clock_problem(context: Context, now_s: float) -> str | None:
    folder = context.config.state_path
    try:
        if not (folder / FILE_NAME).is_file():  # opening it would create it
            return None
        with closing(DeviceState(folder, busy_s=1.0)) as state:
            clock = door_clock(state, context.config.access, lambda: now_s)
            clock.now()
            return clock.problem
    except (StoreError, OSError):
        return None  # the state has a row of its own


def _is_synchronized() -> bool | None:
    """Whether the clock is synchronized according to systemd; None where it does not say."""
    if shutil.which("timedatectl") is not None:
        shown = output_of("timedatectl", "show", "--property=NTPSynchronized", "--value")
        answer = (shown or "").strip()
        if answer in ("yes", "no"):
            return answer == "yes"
    return True if _SYNCHRONIZED.exists() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_models(context: Context) -> Iterator[Finding]:
    """Each model and its card, then the time that a verification takes."""
    own = context.config.models_directory
    folder = own or resources.models_directory()
    rows = [_model(folder / name) for name in (SPEAKER_FILE, PHRASE_FILE)]
    yield from rows
    for card in altered(folder):
        yield (OWN if own else ALTERED)(file=card.name)
    if any(row.code == MODEL_FAULT.code for row in rows):
        yield NOT_MEASURED()
        return
    try:
        engine = Engine.open(replace(context.config, models_directory=folder))
    except ModelError as error:
        yield from_error(CALIBRATION_FAULT, error)
        yield NOT_MEASURED()
        return
    yield LEFT_OUT() if context.quick else judge_speed(*measure(engine, resources.demo_directory()))


def _model(file: Path) -> Finding:
    try:
        model = open_model(file)
    except ModelError as error:
        return from_error(MODEL_FAULT, error)
    return MODEL(file=file.name, digest=model.sha256[:12])


def measure(engine: Engine, recordings: Path) -> tuple[float, float]:
    """The median time of a verification, and the length of its utterance; both in seconds."""
    utterance = utterance_of(read_audio(recordings / "ada_right_phrase.flac"))
    ada = Profile.begin("Ada")
    for number in range(1, 4):
        example = read_audio(recordings / f"ada_enroll_{number}.flac").samples
        ada = engine.extend(ada, utterance_of(example))
    engine.verify(ada, utterance)  # the first one still allocates memory
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        engine.verify(ada, utterance)
        times.append(time.perf_counter() - started)
    return statistics.median(times), utterance.duration_s


def judge_speed(took_s: float, utterance_s: float) -> Finding:
    """The finding for a verification's time and the length of its utterance, both in seconds."""
    factor = took_s / utterance_s
    kind = FAST if factor <= _SLOW else SLOW if factor <= _TOO_SLOW else TOO_SLOW
    return kind(ms=took_s * 1e3, seconds=utterance_s, factor=factor)
