"""Phrases by two voices: how many open, with and without the comparison of each stretch.

    python -m tools.measure_splices FOLDER [--others N] [--conditions] [--json FILE]

FOLDER holds `same_phrase/SPEAKER/PHRASE/*` and, for `--conditions`, `noise/*`. Three calm
repetitions are enrolled. Everybody's phrase is then put together from a repetition by its owner and
one by each other speaker (`--others`: by so many of them), once for each kind:

    first half, last half, first third, last third, middle third   said by the other speaker

What it costs is counted on the owners' other repetitions, calm and excited; with `--conditions` the
calm ones in noise and in rooms too. For one digit of somebody else's in an answer, see
`tools.measure_challenge`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.errors import EdgeVoiceError
from edge.evaluation.corpus import CorpusFile, Spoken, find_items
from edge.evaluation.trials import profile_of
from edge.recognition import Engine
from edge.types import Profile, Utterance
from tools.accuracy.figures import PRESETS
from tools.accuracy.same_phrase import CALM, ENROLLED
from tools.acoustics.splices import spliced
from tools.attacks.rows import Attack, markdown
from tools.conditions import conditions, pink_noise

OWN, OTHER = 0, 1
KINDS: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "first half": ((OTHER, OWN), (1 / 2,)),
    "last half": ((OWN, OTHER), (1 / 2,)),
    "first third": ((OTHER, OWN), (1 / 3,)),
    "last third": ((OWN, OTHER), (2 / 3,)),
    "middle third": ((OWN, OTHER, OWN), (1 / 3, 2 / 3)),
}
"""Who says each part, and where one ends, as shares of the speech."""
CONDITIONS = ("noise 20 dB", "noise 10 dB", "hallway", "stairwell")


@dataclass
class Count:
    """Attempts of one kind, and how many opened, by preset: without the comparison, and with it."""

    attempts: int = 0
    before: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRESETS, 0))
    after: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PRESETS, 0))

    def as_dict(self) -> dict[str, Any]:
        """The figures."""
        return {"attempts": self.attempts, "before": self.before, "after": self.after}


@dataclass(frozen=True, eq=False)
class Owner:
    """Somebody with a phrase, and the repetitions that are not enrolled."""

    profile: Profile
    calm: Sequence[Utterance]
    excited: Sequence[Utterance]


class Measurement:
    """Counts, by kind."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine.open()
        self._engines = {
            name: Engine(self.engine.models, scorer=replace(self.engine.scorer, rate=rate))
            for name, rate in PRESETS.items()
        }
        self.counts: dict[str, Count] = {}
        self._owners = list(self._enroll(find_items(folder / "same_phrase")))
        self._noise = folder / "noise"

    def genuine(self) -> None:
        """The owners' own repetitions."""
        for owner in track(self._owners, description="genuine", transient=True):
            for utterance in owner.calm:
                self._try("calm", owner.profile, utterance)
            for utterance in owner.excited:
                self._try("excited", owner.profile, utterance)

    def in_conditions(self) -> None:
        """The calm ones in noise and in rooms; every noise of the folder in turn."""
        files = sorted([*self._noise.glob("*.flac"), *self._noise.glob("*/*.flac")])
        noises = [read_audio(path).samples for path in files] or [pink_noise(20.0, seed=1)]
        for number, owner in enumerate(
            track(self._owners, description="conditions", transient=True)
        ):
            for index, utterance in enumerate(owner.calm):
                seed = 31 * number + index
                for condition in conditions(noises[seed % len(noises)]):
                    if condition.name in CONDITIONS:
                        samples = condition.apply(utterance.samples, seed)
                        self._try(condition.name, owner.profile, utterance_of(samples))

    def splices(self, most: int | None = None, seed: int = 0) -> None:
        """Each owner with other speakers of the same phrase, `most` at most, in each way."""
        chance = np.random.default_rng(seed)
        for owner in track(self._owners, description="splices", transient=True):
            others = [
                other
                for other in self._owners
                if other.profile.phrase == owner.profile.phrase
                and other.profile.name != owner.profile.name
            ]
            for index in chance.permutation(len(others))[:most].tolist():
                other = others[index]
                for kind, (who, cuts) in KINDS.items():
                    pair = [one.calm[int(chance.integers(len(one.calm)))] for one in (owner, other)]
                    samples = spliced([pair[index] for index in who], cuts)
                    self._try(kind, owner.profile, utterance_of(samples))

    def _enroll(self, items: Sequence[CorpusFile]) -> Iterator[Owner]:
        groups: dict[tuple[str, str], list[CorpusFile]] = {}
        for item in items:
            groups.setdefault((item.speaker, item.phrase), []).append(item)
        for own in track(groups.values(), description="enrolling", transient=True):
            heard = [(item, utterance_of(read_audio(item.path).samples)) for item in own]
            heard = [(item, one) for item, one in heard if one.quality.net_speech_s > 0.0]
            calm = [(item, one) for item, one in heard if item.style in CALM or not item.style]
            if len(calm) <= ENROLLED:
                continue
            known = [
                Spoken(item, self.engine.analyze(one, to_enroll=True), None)
                for item, one in calm[:ENROLLED]
            ]
            excited = [one for item, one in heard if item.style and item.style not in CALM]
            rest = [one for _, one in calm[ENROLLED:]]
            yield Owner(profile_of(self.engine, known), rest, excited)

    def _try(self, kind: str, profile: Profile, utterance: Utterance) -> None:
        count = self.counts.setdefault(kind, Count())
        count.attempts += 1
        if self.engine.refusal(utterance, profile.kind) is not None:
            return
        analysis = self.engine.with_stretches(utterance, self.engine.analyze(utterance))
        analysis = self.engine.without_echo(utterance, analysis)
        for name, engine in self._engines.items():
            (phrase,) = engine.match_phrases([profile], analysis)
            if phrase.accepted:
                (voice,) = engine.match_speakers([profile], analysis.whole)
                count.before[name] += voice.accepted
                (voice,) = engine.match_speakers([profile], analysis)
                if voice.accepted:
                    count.after[name] += engine.match_stretches(profile, analysis, voice).accepted


def main(arguments: Sequence[str]) -> int:
    """Measure, and show or write it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_splices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--others", type=int, help="other speakers tried with each owner")
    parser.add_argument("--conditions", action="store_true", help="the cost in noise and rooms too")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    try:
        measurement = Measurement(options.folder)
        measurement.genuine()
        measurement.splices(options.others)
        if options.conditions:
            measurement.in_conditions()
    except EdgeVoiceError as error:
        print(f"measure_splices: {error}", file=sys.stderr)
        return error.exit_code
    _show(measurement.counts)
    if options.json:
        figures = {kind: count.as_dict() for kind, count in measurement.counts.items()}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _show(counts: dict[str, Count]) -> None:
    table = Table(title="Opened, without and with the comparison of stretches", box=None)
    table.add_column("attempts")
    for name in ("", *PRESETS):
        table.add_column(name, justify="right")
    for kind, count in counts.items():
        table.add_row(kind, str(count.attempts), *_cells(count))
    Console().print(table)
    print(markdown(attacks_of(counts)))


def attacks_of(counts: Mapping[str, Count]) -> list[Attack]:
    """The rows of docs/THREATS.md, at `balanced`."""
    return [
        Attack(
            f"A stranger and a resident's voice in one phrase: the {kind} said by the stranger",
            counts[kind].attempts,
            counts[kind].after["balanced"],
            "Three parts of the phrase are compared with the same parts as enrolled.",
            "The shorter the stranger's part, the less.",
            "measure_splices FOLDER --others 1",
        )
        for kind in KINDS
        if kind in counts
    ]


def _cells(count: Count) -> Iterable[str]:
    return (f"{count.before[name]} -> {count.after[name]}" for name in PRESETS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
