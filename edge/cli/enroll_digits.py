"""`edge-voice enroll NAME --digits`: enroll the digits of the challenge."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.audio.devices import DeviceChoice
from edge.challenge.matching import DIGITS
from edge.challenge.rounds import MOST_ROUNDS, ROUNDS, DigitEnrollment, DigitRound, summary_of
from edge.cli import options
from edge.cli.display import Display
from edge.cli.enrolling import chosen_device, room_measured
from edge.cli.output import complain, show, show_json
from edge.cli.prompts import say
from edge.cli.utterances import UtteranceSource, complain_of, result_of, utterance_from
from edge.errors import EXIT_INPUT, EXIT_OK, EdgeVoiceError, EnrollmentRejected, InputError
from edge.installation.service import paused
from edge.types import ReasonCode, Utterance

if TYPE_CHECKING:
    from edge.config import Config

_SUFFIXES = (".wav", ".flac")
_MOST_FILES = 1000
_LEAST_SPEECH_S = 0.1
_HINT_AFTER_REFUSALS = 2


def run(args: argparse.Namespace) -> int:
    """Enroll the digits, from a folder or guided at the microphone."""
    from edge.recognition.engine import Engine
    from edge.store import open_store

    others = (args.phrase, args.trial)
    if args.voice or args.short or args.duress or args.files or others != (None, None):
        raise InputError("--digits takes only NAME, --rounds, --files-from and --again")
    wanted = ROUNDS if args.rounds is None else args.rounds
    if not ROUNDS <= wanted <= MOST_ROUNDS:
        raise InputError(f"--rounds {wanted} is invalid; use {ROUNDS} to {MOST_ROUNDS}")
    config = options.config_of(args)
    with open_store(config.state_path, settings=config.store) as store:
        profile = store.get(args.name)
        engine = Engine.open(config)
        enrollment = DigitEnrollment(store, engine, profile, wanted, again=args.again)
        try:
            if args.files_from is not None:
                results = _from_folder(enrollment, args.files_from)
            else:
                with paused(say, config.state_path):
                    device = chosen_device(args, config, store)
                    results = from_microphone(enrollment, config, args, device)
        finally:
            if enrollment.new and not enrollment.keeps_old:
                options.audit(
                    store,
                    config,
                    "enrollment",
                    profile.id,
                    digits=True,
                    complete=enrollment.complete,
                    again=args.again,
                )
    _tell(args, enrollment, results)
    return EXIT_OK if enrollment.complete else EXIT_INPUT


def files_in(folder: Path) -> dict[int, list[Path]]:
    """Each digit's FOLDER/DIGIT/*.wav or FOLDER/DIGIT_*.wav, or .flac. Raises `InputError`."""
    try:
        every = sorted(
            path
            for pattern in ("*", "[0-9]/*")
            for path in folder.glob(pattern)
            if path.suffix.lower() in _SUFFIXES
        )
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; use one with DIGIT/*.wav or DIGIT_*.wav")
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    files: dict[int, list[Path]] = {digit: [] for digit in DIGITS}
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
            complain_of(file, error)
        results.append({**result_of(str(file), fault), "digit": digit})
    return results


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
        show(f"Digits enrolled for {name}: {summary_line(enrollment.rounds)}.")
    elif enrollment.keeps_old:
        more = enrollment.wanted - done
        needed = "1 more round is needed" if more == 1 else f"{more} more rounds are needed"
        show(f"{name} keeps the old digits: {needed}.")
    else:
        show(f"{done} of {enrollment.wanted} rounds enrolled. Run the command again to continue.")


def summary_line(rounds: Sequence[DigitRound]) -> str:
    """What to tell people about someone's digits."""
    if not rounds:
        return "not enrolled"
    summary = summary_of(rounds)
    if len(rounds) < summary["required"]:
        return f"{len(rounds)} of {summary['required']} rounds"
    pairs = [f"{one} (sounds like {other})" for one, other in summary["confusable"]]
    return (
        f"{len(rounds)} rounds, {'never asked: ' + ', '.join(pairs) if pairs else 'all distinct'}"
    )


def from_microphone(
    enrollment: DigitEnrollment, config: Config, args: argparse.Namespace, device: DeviceChoice
) -> list[dict[str, Any]]:
    """Ask for all digits; returns all results. Raises `MicrophoneError` or `NothingHeard`."""
    # A digit is shorter than what counts as an utterance elsewhere.
    audio = replace(config.audio, min_speech_s=_LEAST_SPEECH_S)
    results: list[dict[str, Any]] = []
    with Display() as display:
        try:
            with UtteranceSource(audio, device, display) as source:
                room_measured(source, display)
                display.say(_instruction(enrollment), style="bold")
                _ask(display, enrollment)
                for utterance in source.utterances(wait_s=args.wait, patient=False):
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
    text = f"{enrollment.profile.name}, say each digit as it appears, on its own, in your language."
    if enrollment.rounds:
        text += f"\n{len(enrollment.rounds)} of {enrollment.wanted} rounds are already enrolled."
    return text


def _ask(display: Display, enrollment: DigitEnrollment) -> None:
    missing, done = enrollment.missing, len(enrollment.rounds)
    spoken = len(DIGITS) - len(missing)
    display.progress(len(DIGITS) * done + spoken, len(DIGITS) * enrollment.wanted, "digits")
    where = f"round {done + 1} of {enrollment.wanted}, digit {spoken + 1} of {len(DIGITS)}"
    display.say(f"Say   {missing[0]}   ({where})", style="bold")


def _answered(
    display: Display, enrollment: DigitEnrollment, utterance: Utterance
) -> dict[str, Any]:
    digit, rounds, missing = enrollment.missing[0], len(enrollment.rounds), len(enrollment.missing)
    fault: EnrollmentRejected | None = None
    try:
        enrollment.add(digit, utterance)
    except EnrollmentRejected as error:
        fault = error
        display.say(f"Rejected: {error}.", style="yellow")
        if len(enrollment.missing) > missing:
            display.say("This round starts over: all ten digits.", style="yellow")
    if len(enrollment.rounds) > rounds:
        display.say(f"Round {rounds + 1} of {enrollment.wanted} is complete.", style="green")
    return {**result_of("microphone", fault), "digit": digit}


def _hint(display: Display, results: list[dict[str, Any]]) -> None:
    """If digits are confused again and again, round one may be wrong: any sound passes there."""
    latest = results[-_HINT_AFTER_REFUSALS:]
    mistaken = all(result["reason"] == ReasonCode.WRONG_PHRASE.value for result in latest)
    one_digit = len({result["digit"] for result in latest}) == 1
    if len(latest) == _HINT_AFTER_REFUSALS and mistaken and one_digit:
        display.say(
            f"If you said something else for {latest[0]['digit']} in an earlier round, press"
            " Ctrl-C and start over with --again.",
            style="yellow",
        )


def _kept(enrollment: DigitEnrollment) -> str:
    name, done = enrollment.profile.name, len(enrollment.rounds)
    if enrollment.keeps_old:
        return f"{name} keeps the old digits: nothing new was stored."
    if done == 0:
        return "No round is complete, so nothing was stored."
    lost = " The unfinished round starts over." if len(enrollment.missing) < len(DIGITS) else ""
    return f"{done} of {enrollment.wanted} rounds kept: run the command again to continue.{lost}"
