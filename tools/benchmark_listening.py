"""Measures listening to speech: processor time a minute, and memory over time.

    python -m tools.benchmark_listening FOLDER [--people N ...] [--minutes M] [--json FILE]

FOLDER holds `same_phrase/SPEAKER/PHRASE/*`, whose people are enrolled, one for each phrase, and
`read_sentences/SPEAKER/*`, which is played to the service as fast as it takes it. Processor time
counts, so that other load on the machine matters less.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.config import load_config
from edge.demo.parts import ServiceProcess, write_config
from edge.evaluation.corpus import CorpusFile, find_items
from edge.recognition import Engine
from edge.store import open_store
from edge.types import AudioBlock, Profile, ProfileKind
from tools.benchmark_service import memory_mb, processor_s
from tools.running_speech import Stream

ENROLLED = 3
_SETTLE_S = 20.0
"""Sound before the first measurement: the start is over, and somebody has spoken."""


@dataclass(frozen=True)
class Listening:
    """What listening with a number of people enrolled takes.

    Attributes:
        processor_s: seconds of processor time for a minute of speech.
        memory_mb: resident size at each minute.
        peak_mb: the largest so far.
    """

    people: int
    processor_s: float
    memory_mb: tuple[float, ...]
    peak_mb: float


def known_people(engine: Engine, folder: Path, most: int) -> list[Profile]:
    """A profile for each phrase of each speaker, as if they were different people."""
    groups: dict[tuple[str, str], list[CorpusFile]] = {}
    for item in find_items(folder):
        groups.setdefault((item.speaker, item.phrase), []).append(item)
    found = []
    for (speaker, phrase), items in list(groups.items())[:most]:
        profile = Profile.begin(f"{speaker} {phrase}", required=ENROLLED)
        samples = [
            engine.enroll(profile, utterance_of(read_audio(item.path).samples))
            for item in items[:ENROLLED]
        ]
        found.append(replace(profile, samples=tuple(samples)))
    return found


def listen(
    engine: Engine, people: Sequence[Profile], background: Sequence[Path], minutes: float
) -> Listening:
    """Play speech to a service in which people are enrolled, as fast as it takes it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_config(
            folder,
            {"device": {"id": "bench"}, "mqtt": {"enabled": False}, "state_directory": name},
        )
        config = load_config(path)
        with open_store(config.state_path, settings=config.store) as store:
            for person in people:
                profile = store.create(person.name, ProfileKind.PHRASE, required=ENROLLED)
                for sample in person.samples:
                    speaker, phrase = engine.models.speaker, engine.models.phrase
                    store.add_sample(profile.id, sample, speaker.sha256, phrase.sha256)
        with ServiceProcess(path, piped=True) as service:
            sizes: list[float] = []
            before_s = due_s = end_s = 0.0
            for block in _speech(background, _SETTLE_S + 60.0 * minutes):
                pcm = (np.clip(block.samples, -1.0, 1.0) * 32767.0).astype("<i2")
                try:
                    service.sound.write(pcm.tobytes())
                except OSError:
                    raise service.fault("the service stopped listening") from None
                end_s = block.end_s
                if not before_s and end_s >= _SETTLE_S:
                    before_s, due_s = processor_s(service.pid), end_s + 60.0
                elif before_s and end_s >= due_s:
                    sizes.append(memory_mb(service.pid))
                    due_s += 60.0
            service.sound.flush()
            taken = (processor_s(service.pid) - before_s) / (end_s - _SETTLE_S) * 60.0
            peak = memory_mb(service.pid, "VmHWM")
            return Listening(len(people), taken, (*sizes, memory_mb(service.pid)), peak)


def _speech(background: Sequence[Path], seconds: float) -> Iterator[AudioBlock]:
    """Running speech; the recordings come again where there are too few."""
    at_s = 0.0
    while at_s < seconds:
        for block in Stream.compose(background, [], seed=1).blocks():
            at_s += block.end_s - block.start_s
            yield replace(block, start_s=at_s - (block.end_s - block.start_s))
            if at_s >= seconds:
                return


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark_listening")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--people", type=int, nargs="+", default=[2, 20], metavar="N")
    parser.add_argument("--minutes", type=float, default=3.0, metavar="M")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    engine = Engine.open()
    people = known_people(engine, options.folder / "same_phrase", max(options.people))
    files = sorted((options.folder / "read_sentences").glob("*/*.flac"))
    background = [files[i] for i in np.random.default_rng(1).permutation(len(files))]
    found = [
        listen(engine, people[:count], background, options.minutes) for count in options.people
    ]
    table = Table("people enrolled", title=f"Listening to {options.minutes:g} minutes of speech")
    for name in ("processor, s a minute", "memory each minute, MB", "peak, MB"):
        table.add_column(name, justify="right")
    for each in found:
        sizes = " ".join(f"{size:.0f}" for size in each.memory_mb)
        table.add_row(str(each.people), f"{each.processor_s:.2f}", sizes, f"{each.peak_mb:.0f}")
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    if options.json:
        report = [asdict(each) for each in found]
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
