"""Measures speed and memory.

    python -m tools.benchmark [--runs N] [--idle SECONDS] [--float FILE] [--json FILE]
    python -m tools.benchmark --microphones 1,2,4 [--idle SECONDS] [--json FILE]
    python -m tools.benchmark --identification ROUNDS [--idle SECONDS] [--json FILE]

Each stage runs on one thread, the stages in turn; the median of the runs counts. With `--float` the
float model that the speaker model was made from takes its turn too (`python -m tools.build_models`
leaves it in its build folder). Then the service is started as a process of its own and fed in
real time. With `--microphones` only that is done, with so many microphones at one service; with
`--identification` with two services at the same moment, one of which identifies who speaks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.audio.utterance import utterance_of
from edge.demo.story import load_play
from edge.features import log_mel
from edge.recognition import Engine
from edge.recognition.embedders import SpeakerEmbedder, phrase_samples, voice_samples
from edge.types import Profile, Utterance
from tools.benchmark_identification import Identifying, measure_identification
from tools.benchmark_service import SeveralMicrophones, measure_microphones, measure_service
from tools.measure_quantization import open_float

AIMS = {
    "decision after the end of speech, beyond the end-pointer's wait": "300 ms",
    "idle, nobody speaks": "1 %",
    "peak memory": "110 MB",
    "start to listening": "1.5 s",
    "stop, at most": "2 s",
}


def stages(
    engine: Engine, profile: Profile, utterance: Utterance
) -> dict[str, Callable[[], object]]:
    """The timed calls, by name."""
    voice, phrase = voice_samples(utterance), phrase_samples(utterance)
    return {
        "speaker features": lambda: log_mel(voice),
        "speaker embedding, with features": lambda: engine.models.speaker.embed(voice),
        "phrase embedding, with features": lambda: engine.models.phrase.embed(phrase),
        "all of a verification": lambda: engine.verify(profile, utterance),
    }


def float_stage(engine: Engine, file: Path, utterance: Utterance) -> Callable[[], object]:
    """The float model on the same speech, features included, on one thread."""
    embedder = SpeakerEmbedder(open_float(file, engine.models.speaker.card))
    voice = voice_samples(utterance)
    return lambda: embedder.embed(voice)


def median_ms(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median wall time of each call, in ms; the calls take turns, so drift affects all alike."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in track(range(runs), description="stages", transient=True):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(times) for name, times in taken.items()}


def show(report: dict[str, Any], console: Console) -> None:
    """Print both tables."""
    stage_table = Table(
        "stage", title=f"One thread, {report['speech_s']:.1f} s of speech, median of runs"
    )
    stage_table.add_column("ms", justify="right")
    for name, value in report["stages_ms"].items():
        stage_table.add_row(name, f"{value:.1f}")
    console.print(stage_table)
    service_table = Table("the service", title="As a process of its own, fed in real time")
    service_table.add_column("measured", justify="right")
    service_table.add_column("aim", justify="right")
    for name, value in report["service"].items():
        service_table.add_row(name, value, AIMS.get(name, ""))
    console.print(service_table)


def show_microphones(found: Sequence[SeveralMicrophones], console: Console) -> None:
    """Print what each number of microphones takes."""
    table = Table(title="One service with several microphones, fed in real time")
    for name in (
        "microphones", "idle", "all spoken to", "an utterance", "decision after", "granted", "peak",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            str(each.microphones),
            f"{100 * each.idle:.2f} %",
            f"{100 * each.speaking:.1f} %",
            f"{1e3 * each.utterance_s:.0f} ms",
            f"{1e3 * each.wait_s:.0f} ms",
            f"{each.granted} of {each.decisions}",
            f"{each.peak_mb:.0f} MB",
        )
    console.print(table)


def show_identification(found: Sequence[Identifying], rounds: int, console: Console) -> None:
    """Print what identifying takes: the median of the rounds, and their range."""
    table = Table("", title=f"Identifying who speaks, two services side by side, {rounds} rounds")
    for name in ("off", "on"):
        table.add_column(name, justify="right")

    def row(name: str, figure: Callable[[Identifying], float], form: str) -> None:
        cells = []
        for identifying in (False, True):
            values = [figure(each) for each in found if each.identifying == identifying]
            median, least, most = (
                form.format(value)
                for value in (statistics.median(values), min(values), max(values))
            )
            cells.append(f"{median} ({least} to {most})")
        table.add_row(name, *cells)

    row("idle, % of a core", lambda each: 100 * each.idle, "{:.2f}")
    row("running speech, % of a core", lambda each: 100 * each.speaking, "{:.1f}")
    row("end of speech to decision, ms", lambda each: 1e3 * each.wait_s, "{:.0f}")
    row(f"granted, of {found[0].decisions}", lambda each: each.granted, "{:.0f}")
    row("peak memory, MB", lambda each: each.peak_mb, "{:.0f}")
    console.print(table)


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark")
    parser.add_argument("--runs", type=int, default=25, metavar="N")
    parser.add_argument("--idle", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--float", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--microphones", metavar="N,N,...")
    parser.add_argument("--identification", type=int, metavar="ROUNDS")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = Console()

    play = load_play()
    person = play.people[0]
    scene = next(scene for scene in play.scenes if scene.name == person.name)
    if options.microphones:
        counts = [int(count) for count in options.microphones.split(",")]
        found = [measure_microphones(person, scene, count, options.idle) for count in counts]
        show_microphones(found, console)
        if options.json:
            rows = json.dumps([asdict(each) for each in found], indent=2)
            options.json.write_text(rows + "\n", encoding="utf-8")
        return 0
    if options.identification:
        compared = [
            each
            for _ in range(options.identification)
            for each in measure_identification(play, scene, options.idle, options.idle)
        ]
        show_identification(compared, options.identification, console)
        if options.json:
            rows = json.dumps([asdict(each) for each in compared], indent=2)
            options.json.write_text(rows + "\n", encoding="utf-8")
        return 0
    engine = Engine.open()
    profile = Profile.begin(person.name)
    for samples in person.repetitions:
        profile = engine.extend(profile, utterance_of(samples))
    utterance = utterance_of(scene.samples)

    calls = stages(engine, profile, utterance)
    if options.float:
        calls["float speaker model, with features"] = float_stage(engine, options.float, utterance)
    report: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
        "runtime": _runtime(),
        "speech_s": utterance.quality.net_speech_s,
        "stages_ms": median_ms(calls, options.runs),
    }
    console.print(f"{report['processor']}, {report['runtime']}, Python {report['python']}")
    report["service"] = measure_service(person, scene, options.idle)
    show(report, console)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _runtime() -> str:
    """The TensorFlow Lite runtime in use, with its version."""
    for package, module in (
        ("ai-edge-litert", "ai_edge_litert"),
        ("tflite-runtime", "tflite_runtime"),
    ):
        if module in sys.modules:
            return f"{package} {metadata.version(package)}"
    return "no runtime"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
