"""The machine: what its processor can do, and whether memory and disk suffice.

The service takes 132 MB at its peak. Less than 200 MB free leaves little beside it, and less than
50 MB makes the kernel look for something to end. What is stored grows by the audit trail, 32 MB
unless `audit.most_mb` says otherwise, twice that while it is made smaller: 100 MB is room enough,
and below 10 MB an enrollment may fail.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge.doctor.context import Context
from edge.doctor.finding import Finding, green, red, skipped, yellow

_CPU = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/meminfo")
_LITTLE_MEMORY_MB, _NO_MEMORY_MB = 200, 50
_LITTLE_DISK_MB, _NO_DISK_MB = 100, 10
_HELPFUL = {
    "asimddp": "8-bit dot products",
    "i8mm": "8-bit matrix products",
    "asimd": "vectors",
    "neon": "vectors",
    "avx_vnni": "8-bit dot products",
    "avx512_vnni": "8-bit dot products",
    "avx2": "vectors",
}
"""What makes 8-bit networks fast, by the kernel's names; the best of each family first."""

PROCESSOR = green("processor.features", "{machine}, {cores}, with {features}")
BARE = yellow(
    "processor.plain",
    "{machine}, {cores}, without any of what makes 8-bit networks fast",
    "see the row 'speed' for what that costs",
)
UNKNOWN = skipped("processor.unknown", "/proc/cpuinfo says nothing of this processor")
MEMORY = green("memory.enough", "{free} MB of memory are free")
LITTLE_MEMORY = yellow(
    "memory.little",
    "{free} MB of memory are free; the service takes up to 132",
    "see what takes it: top, then M",
)
NO_MEMORY = red(
    "memory.none",
    "only {free} MB of memory are free: something will be ended for want of it",
    "see what takes it (top, then M) and stop what need not run here",
)
MEMORY_UNKNOWN = skipped("memory.unknown", "/proc/meminfo says nothing of free memory")
DISK = green("disk.enough", "{free} MB are free where the state is kept")
LITTLE_DISK = yellow(
    "disk.little",
    "{free} MB are free where the state is kept ({folder})",
    "make room: sudo apt clean; sudo journalctl --vacuum-size=50M",
)
NO_DISK = red(
    "disk.full",
    "only {free} MB are free where the state is kept ({folder})",
    "make room now, or nothing is written down: sudo apt clean; sudo journalctl --vacuum-size=50M",
)


def check(context: Context) -> Iterator[Finding]:
    """Processor, memory and disk."""
    yield judge_processor(_text(_CPU), platform.machine(), os.cpu_count() or 1)
    yield judge_memory(_text(_MEMORY))
    folder = context.config.state_path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    yield judge_disk(folder)


def judge_processor(cpuinfo: str, machine: str, cores: int) -> Finding:
    """What a processor can do, by what /proc/cpuinfo says of it."""
    words: set[str] = set()
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            words.update(value.split())
    if not words:
        return UNKNOWN()
    found = [name for name in _HELPFUL if name in words]
    counted = "1 core" if cores == 1 else f"{cores} cores"
    if not found:
        return BARE(machine=machine, cores=counted)
    features = ", ".join(f"{name} ({_HELPFUL[name]})" for name in found)
    return PROCESSOR(machine=machine, cores=counted, features=features)


def judge_memory(meminfo: str) -> Finding:
    """Whether enough memory is free, by what /proc/meminfo says."""
    rows = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    words = rows.get("MemAvailable", "").split()
    if not words or not words[0].isdecimal():
        return MEMORY_UNKNOWN()
    free = int(words[0]) // 1024
    if free < _NO_MEMORY_MB:
        return NO_MEMORY(free=free)
    return (LITTLE_MEMORY if free < _LITTLE_MEMORY_MB else MEMORY)(free=free)


def judge_disk(folder: Path) -> Finding:
    """Whether there is room in the file system of a folder."""
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < _NO_DISK_MB:
        return NO_DISK(free=free, folder=folder)
    return (LITTLE_DISK if free < _LITTLE_DISK_MB else DISK)(free=free, folder=folder)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
