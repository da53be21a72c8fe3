"""Enrolling at the microphone: the room first, then each repetition, then a trial."""

from __future__ import annotations

import argparse
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from edge.cli.display import MEASURING, Display
from edge.cli.hearing import Ear, NothingHeard
from edge.cli.taking import Course, result_of
from edge.enrolment.checks import remarks_on
from edge.enrolment.noise import LISTEN_S, RoomNoise, RoomVerdict, measure_room, target_range
from edge.enrolment.trial import try_out
from edge.errors import EnrolmentRejected, MicrophoneError
from edge.types import ProfileKind

if TYPE_CHECKING:
    from edge.config import Config
    from edge.enrolment.process import Enrolment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import Profile, Utterance

_LONGEST_FREE_SPEECH_S = 30.0
_HINT_AFTER_REFUSALS = 2
_ROOM_TRIES = 3
_ROOM_PAUSE_S = 4.0
"""Time to switch a fan off before the room is measured again."""
_TRIAL_WAIT_S = 15.0
"""A trial can be left out by saying nothing: a script that plays repetitions goes on."""
_TRIAL_TRIES = 3


class FromMicrophone:
    """Takes repetitions from a microphone; to be used as a context manager.

    Args:
        enrolment: what is filled.
        engine: the recogniser.
        config: all settings.
        args: the command's `wait`, `voice`, `trial` and `no_trial`.
        device: the microphone; None for the configured one.

    Raises:
        MicrophoneError: on entering, when it cannot be opened.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        engine: Engine,
        config: Config,
        args: argparse.Namespace,
        device: int | str | None,
    ) -> None:
        self._enrolment = enrolment
        self._engine = engine
        self._config = config
        self._args = args
        self._display = Display()
        self._ear = Ear(config.audio, device, self._display)
        self._open = contextlib.ExitStack()
        self.course = Course()

    def __enter__(self) -> FromMicrophone:
        with contextlib.ExitStack() as opening:
            opening.enter_context(self._display)
            opening.enter_context(self._ear)
            self._open = opening.pop_all()
        self.course.microphone = self._ear.name
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def take(self) -> None:
        """Measure the room, then take repetitions until nothing remains.

        Raises:
            MicrophoneError: it has gone away.
            NothingHeard: nobody spoke.
        """
        enrolment, display = self._enrolment, self._display
        self.course.noise = room_measured(self._ear, display)
        display.say(_instruction(enrolment.profile), style="bold")
        _show_progress(display, enrolment.profile)
        longest_s = _LONGEST_FREE_SPEECH_S if self._args.voice else None
        for utterance in self._ear.utterances(wait_s=self._args.wait, longest_s=longest_s):
            self._answer(utterance)
            if enrolment.complete:
                break

    def trial(self, store: ProfileStore) -> None:
        """Have it said once more, and judge that as the door would; saying nothing leaves it out.

        Raises:
            StoreError: the store cannot be read.
        """
        display, profile = self._display, self._enrolment.profile
        if profile.duress_of is not None:
            display.say(
                "No trial of a duress phrase: a service that listens here would raise the alarm."
            )
            return
        by_phrase = profile.kind is ProfileKind.PHRASE
        display.say(
            "Now a trial: say it once more, as at the door (a service that listens here may open)."
            if by_phrase
            else "Now a trial: say a sentence.",
            style="bold",
        )
        wait_s = min(self._args.wait, _TRIAL_WAIT_S)
        try:
            heard = self._ear.utterances(wait_s=wait_s)
            for number, utterance in enumerate(heard, start=1):
                trial = try_out(self._engine, store, self._config, profile, utterance)
                self.course.trial = trial
                if trial.accepted or number == _TRIAL_TRIES:
                    return
                display.say(f"Not yet: {trial.meaning}. Once more.", style="yellow")
        except NothingHeard:
            display.say("Nobody spoke: the trial is left out.")
        except MicrophoneError as error:
            display.say(f"The trial is left out: {error}.", style="yellow")

    def _answer(self, utterance: Utterance) -> None:
        """Take an utterance, or say why not."""
        enrolment, display, results = self._enrolment, self._display, self.course.utterances
        kind = enrolment.profile.kind
        try:
            enrolment.add(self._engine, utterance)
        except EnrolmentRejected as error:
            results.append(result_of("microphone", kind, utterance, error))
            display.say(f"Not taken: {error}.", style="yellow")
            self._hint()
            return
        results.append(result_of("microphone", kind, utterance))
        quality = utterance.quality
        display.say(
            f"Taken: {quality.net_speech_s:.1f} s of speech at {quality.level_dbfs:.0f} dB,"
            f" {quality.snr_db:.0f} dB above the noise."
        )
        for remark in remarks_on(utterance, kind):
            display.say(f"But {remark.text}.", style="yellow")
        _show_progress(display, enrolment.profile)

    def _hint(self) -> None:
        """If one repetition stands and others are refused, it may be the first that is wrong."""
        latest = [each["reason"] for each in self.course.utterances[-_HINT_AFTER_REFUSALS:]]
        unlike_first = all(reason in ("wrong_phrase", "unknown_speaker") for reason in latest)
        alone = len(self._enrolment.profile.samples) == 1
        if len(latest) == _HINT_AFTER_REFUSALS and unlike_first and alone:
            self._display.say(
                "If it was the first one that went wrong, press Ctrl-C and start over with"
                " --again.",
                style="yellow",
            )


def room_measured(ear: Ear, display: Display) -> RoomNoise:
    """Measure the noise of the room, and say what it means; the meter's marks follow from it.

    Raises:
        MicrophoneError: the microphone has gone away.
    """
    noise = RoomNoise(0.0)
    for tries_left in reversed(range(_ROOM_TRIES)):
        display.say(f"First the room: please be silent for {LISTEN_S:.0f} seconds.", style="bold")
        noise = measure_room(ear.record(LISTEN_S, MEASURING))
        if noise.spoken and tries_left:
            display.say("Somebody spoke: once more, in silence.", style="yellow")
            continue
        quiet = noise.verdict is RoomVerdict.QUIET
        display.say(noise.explanation(), style="" if quiet else "yellow")
        if noise.verdict is not RoomVerdict.TOO_NOISY or not tries_left:
            break
        display.say(f"It is measured again in {_ROOM_PAUSE_S:.0f} seconds.")
        ear.record(_ROOM_PAUSE_S, MEASURING)
    if noise.verdict is RoomVerdict.TOO_NOISY:
        display.say("It goes on all the same; what is lost in the noise is not taken.")
    display.target(*target_range(noise))
    return noise


def _instruction(profile: Profile) -> str:
    if profile.kind is ProfileKind.VOICE:
        return f"{profile.name}, talk about anything, and pause now and then."
    times = f"{profile.remaining:.0f} times" if profile.remaining > 1 else "once more"
    unwritten = "your duress phrase" if profile.duress_of else "your passphrase"
    what = f"“{profile.phrase}”" if profile.phrase else unwritten
    return f"{profile.name}, say {what} {times}, with a pause after each."


def _show_progress(display: Display, profile: Profile) -> None:
    unit = "repetitions" if profile.kind is ProfileKind.PHRASE else "seconds"
    display.progress(profile.progress, profile.required, unit)
