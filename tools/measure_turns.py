"""How well it is found who speaks when: people in turn, strangers between them, noise, a peer.

    python -m tools.measure_turns FOLDER [--minutes N] [--peer-python PYTHON] [--json FILE]

The people of FOLDER (its layout is in `tools.turn_streams`) are drawn into two halves; the figures
are of the second. Of every twelve, five are enrolled by half a minute of free speech. In the
streams of a household these five and seven strangers say one to three sentences in turn. In the
evenings strangers speak alone, up to N minutes of each sort, and every group of 2, 5 and 10
enrolled people listens. Both at two false-accept rates, `balanced` and `relaxed`.

The peer is Resemblyzer, in a Python of an environment of its own (`pip install resemblyzer`). It is
given what the speech detector here takes for speech, and names each of its embeddings of 1.6 s,
two a second: at the limit of its own demo, and at the one by which the first half's groups of five
hear one false name an hour.

    --first-half    figures of the first half, on which settings are chosen
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES, blocks_of
from edge.audio.utterance import utterance_of
from edge.audio.vad import SPEECH, SpeechDetector
from edge.config import Config
from edge.config.settings import SecurityConfig
from edge.recognition import Engine
from edge.recognition.embedders import Models, SpeakerEmbedder, open_models
from edge.recognition.turns import TurnFinder
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Profile
from tools import turn_streams
from tools.http_peers import version_of
from tools.turn_scores import Household, Said, Strangers, percent
from tools.turn_streams import EVENINGS, NOISES, People, Stream

_RATES = ("balanced", "relaxed")
_SIZES = (2, 5, 10)
_PEER_SCRIPT = Path(__file__).with_name("resemblyzer_voices.py")
_PEER_WINDOW_S = 1.6
_DEMO_LIMIT = 0.75
"""From here on its demo calls a name "confident"."""
_LIMITS = np.arange(0.6, 1.0, 0.0025)
_IDLE_S = 60.0
_APART_S = 1.0
"""Speech of one name after a longer pause is another turn of the peer's."""


class _Remembered(SpeakerEmbedder):
    """An embedder that embeds nothing twice: several groups listen to one stream."""

    def __init__(self, embedder: SpeakerEmbedder) -> None:
        self.__dict__.update(embedder.__dict__)
        self._embedder = embedder
        self._known: dict[bytes, FloatArray] = {}

    def embed(self, samples: FloatArray) -> FloatArray:
        """As `SpeakerEmbedder.embed`."""
        key = samples.tobytes()
        if key not in self._known:
            self._known[key] = self._embedder.embed(samples)
        return self._known[key]

    def forget(self) -> None:
        """Forget the embeddings so far."""
        self._known.clear()


class _Replayed(SpeechDetector):
    """Says again what a detector said."""

    def __init__(self, said: Sequence[list[float]]) -> None:
        super().__init__()
        self._said = iter(said)

    def feed(self, frame: FloatArray) -> list[float]:
        """As `SpeechDetector.feed`."""
        return next(self._said)


@dataclass(frozen=True)
class Heard:
    """A stream as the speech detector hears it.

    Attributes:
        probabilities: what the detector said of each block.
        speech: which of the blocks are speech.
        detector_s: processor time that this took.
    """

    stream: Stream
    blocks: Sequence[AudioBlock]
    probabilities: Sequence[list[float]]
    speech: Sequence[AudioBlock]
    detector_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--minutes", type=float, default=45.0, metavar="N")
    parser.add_argument("--peer-python", metavar="PYTHON")
    parser.add_argument("--first-half", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    first, second = turn_streams.halves_of(args.folder)
    reported = first if args.first_half else second
    streams = list(_streams(reported, args.minutes))
    found = measure(open_models(), reported, streams)
    if args.peer_python is not None:
        tuning = _heard(_shortened(turn_streams.evening(first, EVENINGS[0]), args.minutes / 3.0))
        found |= _peer(args.peer_python, first, tuning, reported, streams)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    _print(found)
    return 0


def _streams(people: People, minutes: float) -> Iterator[Heard]:
    for number, pauses in itertools.product(range(people.households), (True, False)):
        noise = NOISES[(number + pauses) % len(NOISES)]
        yield _heard(turn_streams.household(people, number, noise, pauses=pauses))
    for kind in EVENINGS:
        yield _heard(_shortened(turn_streams.evening(people, kind), minutes))


def _shortened(stream: Stream, minutes: float) -> Stream:
    truth = tuple(each for each in stream.truth if each.end_s <= 60.0 * minutes)
    end = round((truth[-1].end_s + 1.0) * SAMPLE_RATE)
    return replace(stream, samples=stream.samples[:end], truth=truth)


def _heard(stream: Stream) -> Heard:
    began = time.process_time()
    detector = SpeechDetector()
    blocks = [each for each in blocks_of(stream.samples) if len(each.samples) == FRAME_SAMPLES]
    probabilities = [detector.feed(block.samples) for block in blocks]
    took_s = time.process_time() - began
    last: list[float] = []
    for said in probabilities:
        last = [*last[: len(last) + 1 - len(said)], *said]
    speech = [block for block, probability in zip(blocks, last) if probability > SPEECH]
    return Heard(stream, blocks, probabilities, speech, took_s)


def measure(models: Models, people: People, streams: Sequence[Heard]) -> dict[str, Any]:
    """The figures of several streams, and the processor time."""
    embedder = _Remembered(models.speaker)
    engines = [
        Engine(replace(models, speaker=embedder), Config(security=SecurityConfig(rate)))
        for rate in _RATES
    ]
    profiles = {
        name: turn_streams.enrolled(engines[0], people.folder, name) for name in people.enrolled
    }
    households: dict[str, Household] = defaultdict(Household)
    strangers: dict[str, Strangers] = defaultdict(Strangers)
    took_s = heard_s = 0.0
    for heard, (rate, engine) in itertools.product(streams, zip(_RATES, engines)):
        stream = heard.stream
        if rate == _RATES[0]:
            embedder.forget()
        if stream.enrolled:
            group = [profiles[name] for name in stream.enrolled]
            began = time.process_time()
            said = list(_said(engine, group, heard))
            if rate == _RATES[0]:
                took_s += time.process_time() - began + heard.detector_s
                heard_s += len(stream.samples) / SAMPLE_RATE
            for kind in ("all", *stream.kind.split(", ")):
                households[f"{rate}, {kind}"].add(stream, said)
            continue
        for size in _SIZES:
            for names in people.groups(size):
                said = list(_said(engine, [profiles[name] for name in names], heard))
                strangers[f"{rate}, {stream.kind}, group of {size}"].add(stream, said)
                strangers[f"{rate}, all, group of {size}"].add(stream, said)
    return {
        "people in turn": _figures(households),
        "strangers alone": _figures(strangers),
        "processor": {
            "people in turn, % of a core": percent(took_s, heard_s),
            **_idle(engines[0], list(profiles.values())[: turn_streams.ENROLLED]),
        },
    }


def _figures(counted: Mapping[str, Household | Strangers]) -> dict[str, Any]:
    return {kind: counted[kind].figures() for kind in sorted(counted)}


def _said(engine: Engine, profiles: Sequence[Profile], heard: Heard) -> Iterator[Said]:
    """What is said of a stream, from a detector that has heard it already."""
    finder = TurnFinder(engine, profiles, detector=_Replayed(heard.probabilities))
    at_s = 0.0
    for block in [*heard.blocks, None]:
        at_s = at_s if block is None else block.end_s
        for turn in finder.finish() if block is None else finder.feed(block):
            name = turn.speaker.name if turn.speaker else None
            yield Said(at_s, turn.number, turn.start_s, turn.end_s, name, turn.over)


def _idle(engine: Engine, profiles: Sequence[Profile]) -> dict[str, float]:
    """Processor time in a quiet room, of everything and of the speech detector alone."""
    draw = np.random.default_rng(2)
    room = draw.normal(0.0, 3e-4, round(_IDLE_S * SAMPLE_RATE)).astype(np.float32)
    blocks = list(blocks_of(room))[:-1]
    detector, finder = SpeechDetector(), TurnFinder(engine, profiles)
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(5):
        began = time.process_time()
        for block in blocks:
            detector.feed(block.samples)
        took["detector alone in a quiet room, %"].append(time.process_time() - began)
        began = time.process_time()
        for block in blocks:
            finder.feed(block)
        took["a quiet room, %"].append(time.process_time() - began)
    return {
        kind: round(100.0 * statistics.median(times) / (len(blocks) * FRAME_S), 3)
        for kind, times in took.items()
    }


def _peer(
    python: str, first: People, tuning: Heard, reported: People, streams: Sequence[Heard]
) -> dict[str, Any]:
    """The figures of Resemblyzer, at two limits."""
    sounds = {}
    for people in {first, reported}:
        for name in people.enrolled:
            for number, samples in enumerate(_enrolled_sounds(people, name)):
                sounds[f"person/{name}/{number}"] = samples
    everything = {"tuning": tuning, **{str(i): heard for i, heard in enumerate(streams)}}
    for key, heard in everything.items():
        sounds[f"stream/{key}"] = np.concatenate([block.samples for block in heard.speech])
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.npz", Path(name) / "out.npz"
        np.savez(source, **cast(dict[str, Any], sounds))
        subprocess.run([python, str(_PEER_SCRIPT), str(source), str(target)], check=True)
        with np.load(target) as loaded:
            found = dict(loaded)
    limit = _limit(first, tuning, found)
    figures: dict[str, Any] = {}
    for title, at in (("its demo's limit", _DEMO_LIMIT), ("one false name an hour", limit)):
        household, strangers = Household(), defaultdict[str, Strangers](Strangers)
        for key, heard in everything.items():
            stream = heard.stream
            if key == "tuning":
                continue
            if stream.enrolled:
                household.add(stream, _peer_said(heard, found, key, stream.enrolled, at))
                continue
            for size in _SIZES:
                for names in reported.groups(size):
                    said = _peer_said(heard, found, key, names, at)
                    strangers[f"group of {size}"].add(stream, said)
        figures[title] = {
            "limit": round(at, 4),
            "people in turn": household.figures(),
            "strangers alone": _figures(strangers),
        }
    of_households = [str(i) for i, heard in enumerate(streams) if heard.stream.enrolled]
    took_s = sum(float(found[f"processor_s/{key}"]) for key in of_households)
    heard_s = sum(len(everything[key].stream.samples) / SAMPLE_RATE for key in of_households)
    return {
        f"resemblyzer {version_of(python, 'resemblyzer')}": {
            **figures,
            "people in turn, % of a core, without a detector": round(100.0 * took_s / heard_s, 2),
        }
    }


def _enrolled_sounds(people: People, name: str) -> Iterator[FloatArray]:
    """What somebody is enrolled by, half a minute of speech."""
    left_s = 30.0
    for path in turn_streams.files_to_enroll(people.folder, name):
        samples = turn_streams.samples_of(path)
        left_s -= utterance_of(samples).quality.net_speech_s
        yield samples
        if left_s <= 0.0:
            return


def _limit(people: People, tuning: Heard, found: Mapping[str, Any]) -> float:
    """The lowest limit at which groups of five hear one false name an hour at most."""
    for limit in _LIMITS:
        strangers = Strangers()
        for names in people.groups(turn_streams.ENROLLED):
            said = _peer_said(tuning, found, "tuning", names, float(limit))
            strangers.add(tuning.stream, said)
        if strangers.names <= strangers.hours:
            return float(limit)
    return 1.0


def _peer_said(
    heard: Heard, found: Mapping[str, Any], key: str, names: Sequence[str], limit: float
) -> list[Said]:
    """Its names as turns: neighboring embeddings of one name are one."""
    signatures = np.stack([found[f"person/{name}"] for name in names])
    alike = found[f"voices/{key}"] @ signatures.T
    said: list[Said] = []
    current: Said | None = None
    before = -_PEER_WINDOW_S
    for end, row in zip(found[f"ends/{key}"], alike):
        last = min((int(end) - 1) // FRAME_SAMPLES, len(heard.speech) - 1)
        half = round(_PEER_WINDOW_S / 2.0 / FRAME_S)
        quarter = round(0.25 / FRAME_S)
        start_s = heard.speech[max(0, last - half - quarter)].start_s
        end_s, at_s = heard.speech[max(0, last - half + quarter)].end_s, heard.speech[last].end_s
        name = names[int(np.argmax(row))] if row.max() >= limit else None
        if current is None or name != current.name or start_s - before > _APART_S:
            if current is not None:
                said.append(replace(current, over=True))
            current = Said(at_s, len(said) + 1, start_s, end_s, name, over=False)
        before = end_s
        current = replace(current, at_s=at_s, end_s=end_s)
        said.append(copy.copy(current))
    return said if current is None else [*said, replace(current, over=True)]


def _print(found: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = dict(found["people in turn"])
    alone = {"": found["strangers alone"]}
    for peer, figures in found.items():
        for title, part in figures.items():
            if isinstance(part, dict) and "limit" in part:
                rows[f"{peer}, {title}"] = part["people in turn"]
                alone[f"{peer}, {title}: "] = part["strangers alone"]
    _print_table(console, "People in turn, strangers between them", rows)
    lines = {f"{of}{kind}": each for of, kinds in alone.items() for kind, each in kinds.items()}
    _print_table(console, "Strangers alone: false names, 95 % interval of the rate", lines)
    for figures in found.values():
        for name, value in figures.items():
            if isinstance(value, float):
                console.print(f"{name}: {value}")


def _print_table(console: Console, title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("", title=title)
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    for name, figures in rows.items():
        table.add_row(name, *("-" if value is None else str(value) for value in figures.values()))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
