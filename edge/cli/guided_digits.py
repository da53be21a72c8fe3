"""Enrolling digits at the microphone: what is asked for, how far it is, what became of it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge.audio.devices import DeviceChoice
from edge.cli.digits import result_of
from edge.cli.display import Display
from edge.cli.guided_enroll import room_measured
from edge.cli.hearing import Ear
from edge.errors import EdgeVoiceError, EnrolmentRejected
from edge.recognition.digits import DIGITS
from edge.types import ReasonCode

if TYPE_CHECKING:
    from edge.cli.digits import DigitEnrolment
    from edge.config import Config
    from edge.types import Utterance

_LEAST_SPEECH_S = 0.1
_HINT_AFTER_REFUSALS = 2


def from_microphone(
    enrolment: DigitEnrolment,
    config: Config,
    args: argparse.Namespace,
    device: DeviceChoice,
) -> list[dict[str, Any]]:
    """Ask for one digit after the other until all rounds are there; what became of each answer.

    Args:
        enrolment: what is filled.
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
            with Ear(audio, device, display) as ear:
                room_measured(ear, display)
                display.say(_instruction(enrolment), style="bold")
                _ask(display, enrolment)
                heard = ear.utterances(wait_s=args.wait)
                for utterance in heard:
                    results.append(_answered(display, enrolment, utterance))
                    if enrolment.complete:
                        break
                    _hint(display, results)
                    _ask(display, enrolment)
        except (KeyboardInterrupt, EdgeVoiceError):
            display.say(_kept(enrolment))
            raise
    return results


def _instruction(enrolment: DigitEnrolment) -> str:
    text = f"{enrolment.profile.name}, say each digit when it is shown, alone, in your language."
    if enrolment.rounds:
        there = f"{len(enrolment.rounds)} of {enrolment.wanted}"
        text += f"\n{there} rounds of ten digits are there already."
    return text


def _ask(display: Display, enrolment: DigitEnrolment) -> None:
    """Show the next digit, and how far it is."""
    missing, done = enrolment.missing, len(enrolment.rounds)
    spoken = len(DIGITS) - len(missing)
    display.progress(len(DIGITS) * done + spoken, len(DIGITS) * enrolment.wanted, "digits")
    where = f"round {done + 1} of {enrolment.wanted}, digit {spoken + 1} of {len(DIGITS)}"
    display.say(f"Say   {missing[0]}   ({where})", style="bold")


def _answered(display: Display, enrolment: DigitEnrolment, utterance: Utterance) -> dict[str, Any]:
    digit, rounds, spoken = enrolment.missing[0], len(enrolment.rounds), len(enrolment.missing)
    try:
        enrolment.add(digit, utterance)
    except EnrolmentRejected as error:
        display.say(f"Not taken: {error}.", style="yellow")
        if len(enrolment.missing) > spoken:
            display.say("This round begins again: all ten digits.", style="yellow")
        return result_of("microphone", digit, error)
    if len(enrolment.rounds) > rounds:
        display.say(f"Round {rounds + 1} of {enrolment.wanted} is complete.", style="green")
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


def _kept(enrolment: DigitEnrolment) -> str:
    """What stays when it is broken off."""
    name, done = enrolment.profile.name, len(enrolment.rounds)
    if enrolment.keeps_old:
        return f"{name} keeps the digits as they were: nothing of this was stored."
    if done == 0:
        return "No round is complete, so nothing was stored."
    begun = len(enrolment.missing) < len(DIGITS)
    lost = " The round that was begun starts over." if begun else ""
    return f"{done} of {enrolment.wanted} rounds are kept: run it again to continue.{lost}"
