"""`edge-voice enroll NAME --digits`: learn how somebody says the digits, for the challenge."""

from __future__ import annotations

import argparse
import re
import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.audio.devices import DeviceChoice
from edge.challenge.matching import DIGITS
from edge.cli import options
from edge.cli.auditing import audited
from edge.cli.display import Display
from edge.cli.enroll_microphone import room_measured
from edge.cli.output import complain, show, show_json
from edge.cli.prompts import say
from edge.cli.utterances import UtteranceSource
from edge.errors import (
    EXIT_INPUT,
    EXIT_OK,
    EdgeVoiceError,
    EnrollmentRejected,
    InputError,
    ProfileError,
)
from edge.installation.service import paused
from edge.types import ReasonCode

if TYPE_CHECKING:
    from edge.challenge.matching import DigitExample
    from edge.challenge.rounds import DigitRound
    from edge.config import Config
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import Profile, Utterance

_SUFFIXES = (".wav", ".flac")
_MOST_FILES = 1000


class DigitEnrollment:
    """The digits of one person, round by round; each whole round is stored at once.

    With `again`, nothing is stored before all rounds are there: the old ones stand until then.

    Args:
        store: where profiles are kept.
        engine: the recognizer.
        profile: whose; enrolled with a passphrase.
        wanted: rounds that make it complete.
        again: whether to replace what is there.

    Raises:
        ProfileError: the profile cannot open, or its digits are complete.
    """

    def __init__(
        self, store: ProfileStore, engine: Engine, profile: Profile, wanted: int, *, again: bool
    ) -> None:
        from edge.challenge.rounds import rounds_of
        from edge.types import ProfileKind

        if profile.kind is not ProfileKind.PHRASE:
            raise ProfileError(
                f"{profile.name} is enrolled by free speech: digits follow a passphrase"
            )
        engine.require_ready(profile)
        if profile.duress_of is not None:
            raise ProfileError(
                f"{profile.name} is a duress phrase: enroll the digits of the person"
            )
        self._store = store
        self._engine = engine
        self.profile = profile
        self.wanted = wanted
        self._again = again
        self.rounds: list[DigitRound] = [] if again else rounds_of(store, profile.id)
        self.new = 0
        self._begin()
        model = engine.models.speaker.sha256
        if any(spoken.speaker_model != model for spoken in self.rounds):
            raise ProfileError(
                f"the digits of {profile.name} were enrolled with another model: add --again"
            )
        if self.complete:
            raise ProfileError(
                f"the digits of {profile.name} are enrolled already: add --again to replace them"
            )

    @property
    def complete(self) -> bool:
        """Whether no round remains."""
        return len(self.rounds) >= self.wanted

    @property
    def keeps_old(self) -> bool:
        """Whether the digits that were there before still stand."""
        return self._again and not self.complete

    @property
    def missing(self) -> list[int]:
        """The digits that the round still lacks, in the order in which they are asked for."""
        return [digit for digit in self._order if digit not in self._examples]

    def add(self, digit: int, utterance: Utterance) -> None:
        """Take a digit; the tenth completes a round.

        Raises:
            EnrollmentRejected: it does not fit; where it was the voice, the round begins anew.
        """
        from edge.challenge.rounds import complete_round, make_example

        self._examples[digit] = make_example(self._engine, utterance, digit, self.rounds)
        self._utterances[digit] = utterance
        if self.missing:
            return
        utterances, examples = self._utterances, self._examples
        self._begin()
        self._keep(complete_round(self._engine, self.profile, utterances, examples))

    def _begin(self) -> None:
        from edge.challenge.matching import DIGITS

        # Shuffled, so that nobody falls into the singsong of counting.
        self._order = secrets.SystemRandom().sample(DIGITS, len(DIGITS))
        self._examples: dict[int, DigitExample] = {}
        self._utterances: dict[int, Utterance] = {}

    def _keep(self, spoken: DigitRound) -> None:
        from edge.challenge.rounds import keep_round, replace_rounds

        self.rounds.append(spoken)
        self.new += 1
        if not self._again:
            keep_round(self._store, self.profile.id, spoken)
        elif self.complete:
            replace_rounds(self._store, self.profile.id, self.rounds)


def run(args: argparse.Namespace) -> int:
    """Enroll the digits, from a folder or guided at the microphone."""
    from edge.challenge.rounds import MOST_ROUNDS, ROUNDS
    from edge.cli.enroll_microphone import chosen_device
    from edge.recognition.engine import Engine
    from edge.store import open_store

    others = (args.phrase, args.trial)
    if args.voice or args.short or args.duress or args.files or others != (None, None):
        raise InputError("--digits goes with NAME, --rounds, --files-from and --again alone")
    wanted = ROUNDS if args.rounds is None else args.rounds
    if not ROUNDS <= wanted <= MOST_ROUNDS:
        raise InputError(f"--rounds {wanted} cannot be used; give {ROUNDS} to {MOST_ROUNDS}")
    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        profile = store.get(args.name)
        engine = Engine.open(config)
        enrollment = DigitEnrollment(store, engine, profile, wanted, again=args.again)
        try:
            if args.files_from is not None:
                results = _from_folder(enrollment, args.files_from)
            else:
                with paused(say):
                    device = chosen_device(args, config, store)
                    results = from_microphone(enrollment, config, args, device)
        finally:
            if enrollment.new and not enrollment.keeps_old:
                audited(store, config)(
                    "enrollment",
                    profile.id,
                    digits=True,
                    complete=enrollment.complete,
                    again=args.again,
                )
    _tell(args, enrollment, results)
    return EXIT_OK if enrollment.complete else EXIT_INPUT


def files_in(folder: Path) -> dict[int, list[Path]]:
    """Recordings of each digit: FOLDER/DIGIT/*.wav or FOLDER/DIGIT_*.wav, or .flac, in order.

    Raises:
        InputError: the folder cannot be read, or a digit has no recording.
    """
    try:
        every = sorted(
            path
            for pattern in ("*", "[0-9]/*")
            for path in folder.glob(pattern)
            if path.suffix.lower() in _SUFFIXES
        )
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give one with DIGIT/*.wav or DIGIT_*.wav")
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check it") from error
    files: dict[int, list[Path]] = {digit: [] for digit in range(10)}
    for path in every[:_MOST_FILES]:
        name = path.parent.name if path.parent != folder else path.name
        known = re.match(r"([0-9])(_|$)", name)
        if known:
            files[int(known.group(1))].append(path)
    without = [str(digit) for digit, own in files.items() if not own]
    if without:
        raise InputError(
            f"{folder}: no recording of {', '.join(without)}; name them DIGIT/*.wav or DIGIT_*.wav"
        )
    return files


def _from_folder(enrollment: DigitEnrollment, folder: Path) -> list[dict[str, Any]]:
    from edge.cli.utterances import utterance_from

    left = {digit: iter(paths) for digit, paths in files_in(folder).items()}
    results = []
    while not enrollment.complete:
        digit = enrollment.missing[0]
        file = next(left[digit], None)
        if file is None:
            complain(f"{folder}: no more recordings of {digit}")
            break
        fault: InputError | None = None
        try:
            enrollment.add(digit, utterance_from(file))
        except InputError as error:
            fault = error
            rejected = isinstance(error, EnrollmentRejected)
            complain(f"{file}: {error}" if rejected else str(error), kind="refused")
        results.append(result_of(str(file), digit, fault))
    return results


def result_of(source: str, digit: int, fault: InputError | None) -> dict[str, Any]:
    """What became of a recording that should be a digit, for programs."""
    reason = None
    if fault is not None:
        reason = fault.reason if isinstance(fault, EnrollmentRejected) else "unreadable"
    return {
        "source": source,
        "digit": digit,
        "accepted": fault is None,
        "reason": reason,
        "message": str(fault) if fault else None,
    }


def _tell(
    args: argparse.Namespace, enrollment: DigitEnrollment, results: list[dict[str, Any]]
) -> None:
    name, done = enrollment.profile.name, len(enrollment.rounds)
    if args.json:
        show_json(
            {
                "profile": enrollment.profile.as_dict(),
                "digits": summary_of(enrollment.rounds),
                "complete": enrollment.complete,
                "utterances": results,
            }
        )
    elif enrollment.complete:
        show(f"The digits of {name} are enrolled: {_in_words(summary_of(enrollment.rounds))}.")
    elif enrollment.keeps_old:
        more = enrollment.wanted - done
        needed = "1 more round is needed" if more == 1 else f"{more} more rounds are needed"
        show(f"{name} keeps the old digits: {needed}.")
    else:
        show(f"{done} of {enrollment.wanted} rounds are there. Run it again to continue.")


def summary_of(rounds: list[DigitRound]) -> dict[str, Any]:
    """How many rounds there are, and which digits come near another one."""
    from edge.challenge.answers import strong_digits
    from edge.challenge.rounds import ROUNDS, weakness_of

    mixed: list[list[int]] = []
    asked: list[int] = []
    if len(rounds) >= ROUNDS:
        asked = list(strong_digits(rounds))
        weakness = weakness_of(rounds[-ROUNDS:])
        mixed = [[digit, weakness[digit][0]] for digit in range(10) if digit not in asked]
    return {"rounds": len(rounds), "required": ROUNDS, "asked": asked, "mixed_up": mixed}


def show_line(rounds: list[DigitRound]) -> str:
    """What `profiles show` says of a person's digits."""
    return _in_words(summary_of(rounds)) if rounds else "not enrolled"


def _in_words(summary: dict[str, Any]) -> str:
    rounds, required = summary["rounds"], summary["required"]
    if rounds < required:
        return f"{rounds} of {required} rounds"
    pairs = ", ".join(f"{one} near {other}" for one, other in summary["mixed_up"])
    return f"{rounds} rounds, {'not asked for: ' + pairs if pairs else 'all well apart'}"


_LEAST_SPEECH_S = 0.1
_HINT_AFTER_REFUSALS = 2


def from_microphone(
    enrollment: DigitEnrollment,
    config: Config,
    args: argparse.Namespace,
    device: DeviceChoice,
) -> list[dict[str, Any]]:
    """Ask for one digit after the other until all rounds are there; what became of each answer.

    Args:
        enrollment: what is filled.
        config: all settings.
        args: the command's `wait`.
        device: the microphone; None for the configured one.

    Raises:
        MicrophoneError: the microphone cannot be opened, or has gone away.
        NothingHeard: nobody spoke.
    """
    # A digit is shorter than what counts as an utterance elsewhere.
    audio = replace(config.audio, min_speech_s=_LEAST_SPEECH_S)
    results: list[dict[str, Any]] = []
    with Display() as display:
        try:
            with UtteranceSource(audio, device, display) as ear:
                room_measured(ear, display)
                display.say(_instruction(enrollment), style="bold")
                _ask(display, enrollment)
                heard = ear.utterances(wait_s=args.wait)
                for utterance in heard:
                    results.append(_answered(display, enrollment, utterance))
                    if enrollment.complete:
                        break
                    _hint(display, results)
                    _ask(display, enrollment)
        except (KeyboardInterrupt, EdgeVoiceError):
            display.say(_kept(enrollment))
            raise
    return results


def _instruction(enrollment: DigitEnrollment) -> str:
    text = f"{enrollment.profile.name}, say each digit when it is shown, alone, in your language."
    if enrollment.rounds:
        there = f"{len(enrollment.rounds)} of {enrollment.wanted}"
        text += f"\n{there} rounds of ten digits are there already."
    return text


def _ask(display: Display, enrollment: DigitEnrollment) -> None:
    """Show the next digit, and how far it is."""
    missing, done = enrollment.missing, len(enrollment.rounds)
    spoken = len(DIGITS) - len(missing)
    display.progress(len(DIGITS) * done + spoken, len(DIGITS) * enrollment.wanted, "digits")
    where = f"round {done + 1} of {enrollment.wanted}, digit {spoken + 1} of {len(DIGITS)}"
    display.say(f"Say   {missing[0]}   ({where})", style="bold")


def _answered(
    display: Display, enrollment: DigitEnrollment, utterance: Utterance
) -> dict[str, Any]:
    digit, rounds, spoken = enrollment.missing[0], len(enrollment.rounds), len(enrollment.missing)
    try:
        enrollment.add(digit, utterance)
    except EnrollmentRejected as error:
        display.say(f"Not taken: {error}.", style="yellow")
        if len(enrollment.missing) > spoken:
            display.say("This round begins again: all ten digits.", style="yellow")
        return result_of("microphone", digit, error)
    if len(enrollment.rounds) > rounds:
        display.say(f"Round {rounds + 1} of {enrollment.wanted} is complete.", style="green")
    return result_of("microphone", digit, None)


def _hint(display: Display, results: list[dict[str, Any]]) -> None:
    """If one digit is taken for another again and again, it may be an earlier round that is wrong.

    Nothing tells a wrong digit in the first round: any sound may be somebody's word for it.
    """
    latest = results[-_HINT_AFTER_REFUSALS:]
    mistaken = all(result["reason"] == ReasonCode.WRONG_PHRASE.value for result in latest)
    one_digit = len({result["digit"] for result in latest}) == 1
    if len(latest) == _HINT_AFTER_REFUSALS and mistaken and one_digit:
        display.say(
            f"If something else was said for {latest[0]['digit']} in an earlier round, press"
            " Ctrl-C and start over with --again.",
            style="yellow",
        )


def _kept(enrollment: DigitEnrollment) -> str:
    """What stays when it is broken off."""
    name, done = enrollment.profile.name, len(enrollment.rounds)
    if enrollment.keeps_old:
        return f"{name} keeps the digits as they were: nothing of this was stored."
    if done == 0:
        return "No round is complete, so nothing was stored."
    begun = len(enrollment.missing) < len(DIGITS)
    lost = " The round that was begun starts over." if begun else ""
    return f"{done} of {enrollment.wanted} rounds are kept: run it again to continue.{lost}"
