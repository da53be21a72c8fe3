"""How often the answer to a challenge is judged rightly, on recordings of single digits.

    python -m tools.measure_challenge FOLDER [--rounds 3 4 5] [--digits 4] [--json]

FOLDER holds SPEAKER/DIGIT/*.wav (or .flac), of at least two speakers, each digit (0 to 9, or zero
to nine) at least twice as often as there are rounds. Half of the recordings of each person are
enrolled; of the others strings are put together, levels made equal, with 50 to 400 ms between the
digits, and held against what was asked:

    right      the digits that were asked for, in the right voice
    wrong      one digit is another one than was asked for, or left out, or one too many, or two
               changed places
    voice      the right digits in another voice, for each false-accept rate
    one voice  the right digits, one of them by somebody else; "before" without comparing each
    replay     the answer to an earlier challenge, in the right voice

Everything goes through the product's own end-pointer, models and scores. With
`--unchecked` no recording is refused because it sounds like another digit, and every digit is asked
for: two ways to tell digits apart are then compared on the same answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.challenge.matching import DIGITS
from edge.challenge.policy import SAME_WORDS, AnswerJudge
from edge.challenge.rounds import (
    ROUNDS,
    DigitRound,
    make_example,
    single_voice,
    strong_digits,
    voice_of,
)
from edge.errors import EdgeVoiceError, EnrollmentRejected, InputError
from edge.evaluation.metrics import eer, error_curves, exact_limits
from edge.recognition import Engine
from edge.recognition.results import Analysis
from edge.types import SAMPLE_RATE, FloatArray, Profile, Utterance

RATES = (0.01, 0.001, 0.0001)
LEVEL = 0.05
GAPS_S = (0.05, 0.4)
_ENDS_S = 0.8
_ROOM = 1e-4
_SUFFIXES = (".wav", ".flac")
_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, eq=False)
class Spoken:
    """A string of digits as somebody said it."""

    digits: tuple[int, ...]
    utterance: Utterance = field(repr=False)
    analysis: Analysis = field(repr=False)


@dataclass
class Count:
    """Attempts of one kind, and how many were let in."""

    attempts: int = 0
    accepted: int = 0
    margins: list[float] = field(default_factory=list)

    def add(self, accepted: bool) -> None:
        """One more."""
        self.attempts += 1
        self.accepted += int(accepted)

    def as_dict(self) -> dict[str, Any]:
        """Share let in, with the exact 95 % interval of independent attempts."""
        rate = self.accepted / max(1, self.attempts)
        low, high = exact_limits(self.accepted, self.attempts)
        return {
            "attempts": self.attempts,
            "accepted": self.accepted,
            "rate": rate,
            "low": low,
            "high": high,
        }


class People:
    """Everybody's recordings, in halves: to enroll, and to answer with."""

    def __init__(self, folder: Path, seed: int, most: int) -> None:
        chance = np.random.default_rng(seed)
        self.enrolled: dict[str, dict[int, list[FloatArray]]] = {}
        self.answers: dict[str, dict[int, list[FloatArray]]] = {}
        for person in sorted(path for path in folder.iterdir() if path.is_dir()):
            own = {
                digit: _recordings(person / str(digit)) or _recordings(person / _NAMES[digit])
                for digit in DIGITS
            }
            if min(len(files) for files in own.values()) < 2 * most:
                continue
            halves: tuple[dict[int, list[FloatArray]], ...] = ({}, {})
            for digit, files in own.items():
                order = chance.permutation(len(files))
                for half, part in zip(halves, np.array_split(order, 2)):
                    half[digit] = [_leveled(files[int(index)]) for index in part]
            self.enrolled[person.name], self.answers[person.name] = halves
        if len(self.enrolled) < 2:
            raise InputError(
                f"{folder}: needs SPEAKER/DIGIT/*.wav or .flac of two speakers or more, digits 0 to"
                f" 9 or zero to nine, each {2 * most} times or more"
            )


class Measurement:
    """Counts, by number of rounds."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.engine = Engine.open()
        self.args = args
        self.counts: dict[int, dict[str, Count]] = {
            rounds: defaultdict(Count) for rounds in args.rounds
        }
        self.not_enrolled = dict.fromkeys(args.rounds, 0)
        self.refused = 0
        self.taken = 0
        self.judging_ms: list[float] = []
        self.left_out: list[int] = []

    def run(self, folder: Path) -> None:
        """Measure every fold."""
        for fold in range(self.args.folds):
            people = People(folder, self.args.seed + fold, max(self.args.rounds))
            chance = np.random.default_rng(self.args.seed + 100 + fold)
            rounds = {name: self._enroll(takes) for name, takes in people.enrolled.items()}
            rounds = {name: own for name, own in rounds.items() if len(own) >= ROUNDS}
            spoken = {
                name: self._answers(
                    people.answers[name],
                    own[:ROUNDS],
                    [theirs for other, theirs in people.answers.items() if other != name],
                    chance,
                )
                for name, own in rounds.items()
            }
            for count in self.args.rounds:
                self.not_enrolled[count] += len(people.enrolled)
                for name, own in rounds.items():
                    if len(own) >= count:
                        self.not_enrolled[count] -= 1
                        self._judge(count, name, own[:count], spoken, chance)

    def _enroll(self, takes: dict[int, list[FloatArray]]) -> list[DigitRound]:
        """Rounds as the enrollment takes them: what it refuses is said again."""
        left = {digit: list(files) for digit, files in takes.items()}
        rounds: list[DigitRound] = []
        while len(rounds) < max(self.args.rounds):
            utterances, examples = [], []
            for digit in DIGITS:
                while left[digit]:
                    utterance = utterance_of(_in_quiet(left[digit].pop(0)))
                    self.taken += 1
                    try:
                        # Without rounds before it, nothing is taken for another digit.
                        before = [] if self.args.unchecked else rounds
                        examples.append(make_example(self.engine, utterance, digit, before))
                    except EnrollmentRejected:
                        self.refused += 1
                        continue
                    utterances.append(utterance)
                    break
                else:
                    return rounds
            voice, single = (
                voice_of(self.engine, utterances),
                single_voice(self.engine, utterances),
            )
            model = self.engine.models.speaker.sha256
            rounds.append(DigitRound(tuple(examples), voice, model, single))
        return rounds

    def _answers(
        self,
        takes: dict[int, list[FloatArray]],
        rounds: Sequence[DigitRound],
        others: Sequence[dict[int, list[FloatArray]]],
        chance: np.random.Generator,
    ) -> dict[str, list[Spoken]]:
        choices = DIGITS if self.args.unchecked else strong_digits(rounds)
        self.left_out.append(len(DIGITS) - len(choices))
        right = [
            tuple(int(digit) for digit in chance.permutation(choices)[: self.args.digits])
            for _ in range(self.args.answers)
        ]
        apart = np.random.default_rng(self.args.seed)  # so that the other answers stay the same
        # Said with one too few and one too many, for the same strings to be asked for.
        return {
            "right": [self._say(digits, takes, chance) for digits in right],
            "missing": [self._say(_without(d, chance), takes, chance) for d in right[::2]],
            "extra": [self._say(_with_one_more(d, chance), takes, chance) for d in right[1::2]],
            "mixed": [self._say(d, _mixed(d, takes, others, apart), apart) for d in right],
        }

    def _say(
        self,
        digits: tuple[int, ...],
        takes: dict[int, list[FloatArray]],
        chance: np.random.Generator,
    ) -> Spoken:
        pieces = [_room(_ENDS_S, chance)]
        for digit in digits:
            pieces += [
                takes[digit][int(chance.integers(len(takes[digit])))],
                _room(float(chance.uniform(*GAPS_S)), chance),
            ]
        samples = np.concatenate([*pieces, _room(_ENDS_S, chance)])
        samples = samples + _room(len(samples) / SAMPLE_RATE, chance)
        if self.args.snr is not None:
            noise = chance.standard_normal(len(samples), dtype=np.float32)
            samples = samples + np.float32(LEVEL * 10 ** (-self.args.snr / 20)) * noise
        utterance = utterance_of(samples)
        return Spoken(digits, utterance, self.engine.analyze(utterance, with_phrase=False))

    def _judge(
        self,
        count: int,
        name: str,
        rounds: Sequence[DigitRound],
        spoken: dict[str, dict[str, list[Spoken]]],
        chance: np.random.Generator,
    ) -> None:
        judge = AnswerJudge(self.engine, Profile.begin(name), rounds)
        whole = [replace(one, single=None) for one in rounds]
        before = AnswerJudge(self.engine, Profile.begin(name), whole)
        counts = self.counts[count]
        right = spoken[name]["right"]
        for number, answer in enumerate(right):
            self._hold(counts, "right", judge, answer, answer.digits)
            for wrong in _one_wrong(answer.digits, chance, self.args.wrong):
                self._hold(counts, "wrong: another digit", judge, answer, wrong)
            self._hold(counts, "wrong: two swapped", judge, answer, _swapped(answer.digits, chance))
            later = next(
                (
                    other.digits
                    for other in right[number + 1 :] + right[:number]
                    if not any(a == b for a, b in zip(other.digits, answer.digits))
                ),
                answer.digits[1:] + answer.digits[:1],
            )
            self._hold(counts, "replay", judge, answer, later)
        for kind, answers in (("right", right), ("one voice", spoken[name]["mixed"])):
            for answer in answers:
                self._hold(counts, f"{kind}, before", before, answer, answer.digits)
        for answer in spoken[name]["mixed"]:
            self._hold(counts, "one voice", judge, answer, answer.digits)
        for answer, asked in zip(spoken[name]["missing"], right[::2]):
            self._hold(counts, "wrong: one missing", judge, answer, asked.digits)
        for answer, asked in zip(spoken[name]["extra"], right[1::2]):
            self._hold(counts, "wrong: one too many", judge, answer, asked.digits)
        for other, theirs in spoken.items():
            if other != name:
                for answer in theirs["right"]:
                    self._hold(counts, "voice", judge, answer, answer.digits)

    def _hold(
        self,
        counts: dict[str, Count],
        kind: str,
        judge: AnswerJudge,
        answer: Spoken,
        asked: tuple[int, ...],
    ) -> None:
        started = time.perf_counter()
        score = judge.judge(answer.utterance, asked, answer.analysis)
        ms = (time.perf_counter() - started) * 1e3 + sum(answer.analysis.timings_ms.values())
        self.judging_ms.append(ms)
        if kind.startswith("wrong"):
            counts["wrong"].add(score.accepted)
            counts["wrong"].margins.append(score.digits.margin)
        counts[kind].add(score.accepted)
        counts[kind].margins.append(score.digits.margin)
        if kind in ("right", "voice"):
            scorer = self.engine.scorer
            for rate in RATES:
                threshold = score.voice.threshold + (
                    scorer.voice_threshold(rate=rate * SAME_WORDS)
                    - scorer.voice_threshold(rate=scorer.rate * SAME_WORDS)
                )
                voice = score.voice.score >= threshold
                counts[f"{kind} at {rate:g}"].add(score.digits.accepted and voice)
                counts[f"{kind} at {rate:g}, voice alone"].add(voice)
            counts[f"{kind}, digits alone"].add(score.digits.accepted)

    def as_dict(self) -> dict[str, Any]:
        """All figures."""
        return {
            "digits": self.args.digits,
            "snr_db": self.args.snr,
            "enrollment": {"examples": self.taken, "refused": self.refused},
            "not_enrolled": {str(rounds): count for rounds, count in self.not_enrolled.items()},
            "digits_left_out": float(np.mean(self.left_out)),
            "judging_ms": {
                "median": float(np.median(self.judging_ms)),
                "p95": float(np.percentile(self.judging_ms, 95)),
            },
            "digits_eer": {
                str(rounds): eer(
                    error_curves(counts["right"].margins, counts["wrong"].margins)
                ).rate
                for rounds, counts in self.counts.items()
                if counts
            },
            "rounds": {
                str(rounds): {kind: count.as_dict() for kind, count in sorted(counts.items())}
                for rounds, counts in self.counts.items()
            },
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and show or print it."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure_challenge")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--rounds", type=int, nargs="+", default=[3, 4, 5], metavar="N")
    parser.add_argument("--digits", type=int, default=4, choices=range(4, 7))
    parser.add_argument("--answers", type=int, default=20, help="strings of each speaker and fold")
    parser.add_argument("--wrong", type=int, default=3, help="wrong digits tried in each answer")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snr", type=float, help="add white noise to the answers, dB")
    parser.add_argument(
        "--unchecked", action="store_true", help="enroll and ask for every digit, alike or not"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    if min(args.rounds) < ROUNDS:
        parser.error(f"at least {ROUNDS} rounds are enrolled")
    try:
        measurement = Measurement(args)
        measurement.run(args.folder)
    except (EdgeVoiceError, OSError) as error:
        print(f"measure_challenge: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, EdgeVoiceError) else InputError.exit_code
    result = measurement.as_dict()
    if args.json:
        print(json.dumps(result))
    else:
        _show(result)
    return 0


def _show(result: dict[str, Any]) -> None:
    console = Console()
    table = Table(box=None)
    table.add_column("accepted")
    for rounds in result["rounds"]:
        table.add_column(f"{rounds} examples", justify="right")
    for kind in sorted({kind for counts in result["rounds"].values() for kind in counts}):
        table.add_row(kind, *(_cell(counts.get(kind)) for counts in result["rounds"].values()))
    console.print(table)
    rates = "; ".join(f"{n} examples: {rate:.2%}" for n, rate in result["digits_eer"].items())
    console.print(f"equal error rate of the digits by their margin: {rates}")
    for rounds, missing in result["not_enrolled"].items():
        if missing:
            console.print(f"{missing} people (in one fold) are not in it: no {rounds} examples")
    taken, refused = result["enrollment"]["examples"], result["enrollment"]["refused"]
    console.print(
        f"enrollment: {refused} of {taken} recordings refused;"
        f" {result['digits_left_out']:.1f} digits of 10 not asked for;"
        f" judged in {result['judging_ms']['median']:.0f} ms"
        f" (95 %: {result['judging_ms']['p95']:.0f} ms)"
    )


def _cell(count: dict[str, Any] | None) -> str:
    if count is None:
        return ""
    return (
        f"{count['accepted']}/{count['attempts']} = {count['rate']:.2%}"
        f" ({count['low']:.2%} to {count['high']:.2%})"
    )


def _recordings(folder: Path) -> list[FloatArray]:
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    return [read_audio(path).samples for path in files]


def _leveled(samples: FloatArray) -> FloatArray:
    """The loud part brought to one level, and faint ends cut off."""
    power = np.convolve(np.square(samples), np.full(320, 1 / 320), "same")
    loud = power > power.max() * 1e-3
    where = np.flatnonzero(power > power.max() * 10**-3.5)
    level = float(np.sqrt(np.square(samples)[loud].mean()))
    cut = samples[max(0, where[0] - 320) : where[-1] + 320]
    return np.asarray(cut * (LEVEL / max(level, 1e-9)), dtype=np.float32)


def _in_quiet(samples: FloatArray) -> FloatArray:
    chance = np.random.default_rng(0)
    quiet = _room(len(samples) / SAMPLE_RATE, chance)
    return np.concatenate((_room(_ENDS_S, chance), samples + quiet, _room(_ENDS_S, chance)))


def _room(seconds: float, chance: np.random.Generator) -> FloatArray:
    """Faint noise, -80 dB full scale."""
    return np.float32(_ROOM) * chance.standard_normal(
        round(seconds * SAMPLE_RATE), dtype=np.float32
    )


def _one_wrong(
    digits: tuple[int, ...], chance: np.random.Generator, count: int
) -> Iterator[tuple[int, ...]]:
    for _ in range(count):
        at = int(chance.integers(len(digits)))
        other = int(chance.choice([digit for digit in DIGITS if digit not in digits]))
        yield (*digits[:at], other, *digits[at + 1 :])


def _swapped(digits: tuple[int, ...], chance: np.random.Generator) -> tuple[int, ...]:
    at = int(chance.integers(len(digits) - 1))
    return (*digits[:at], digits[at + 1], digits[at], *digits[at + 2 :])


def _mixed(
    digits: tuple[int, ...],
    own: dict[int, list[FloatArray]],
    others: Sequence[dict[int, list[FloatArray]]],
    chance: np.random.Generator,
) -> dict[int, list[FloatArray]]:
    """One's own recordings, but for one of the digits somebody else's."""
    digit = digits[int(chance.integers(len(digits)))]
    other = others[int(chance.integers(len(others)))]
    return {**own, digit: other[digit]}


def _without(digits: tuple[int, ...], chance: np.random.Generator) -> tuple[int, ...]:
    at = int(chance.integers(len(digits)))
    return (*digits[:at], *digits[at + 1 :])


def _with_one_more(digits: tuple[int, ...], chance: np.random.Generator) -> tuple[int, ...]:
    at = int(chance.integers(len(digits) + 1))
    return (*digits[:at], int(chance.integers(10)), *digits[at:])


if __name__ == "__main__":
    sys.exit(main())
