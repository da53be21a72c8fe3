"""Choosing the microphone by speaking: what each hears is shown, the clearest is proposed."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from edge.cli.auditing import audited
from edge.cli.display import FLOOR_DBFS, MEASURING, Display, meter
from edge.cli.enroll import Course, result_of
from edge.cli.output import complain, console
from edge.cli.utterances import NothingHeard, UtteranceSource
from edge.config import find_config
from edge.config.editing import changed, replace_file
from edge.config.loading import read_config
from edge.enrollment.checks import remarks_on
from edge.enrollment.room_noise import LISTEN_S, RoomNoise, RoomVerdict, measure_room, target_range
from edge.enrollment.trial import try_out
from edge.errors import ConfigError, EnrollmentRejected, EnvironmentFault, MicrophoneError
from edge.types import ProfileKind

if TYPE_CHECKING:
    from edge.audio.devices import InputDevice
    from edge.config import Config
    from edge.enrollment.microphones import MicrophoneLevel
    from edge.enrollment.process import Enrollment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import Profile, Utterance

_TRIES = 2
_ANSWERS = 3
_NAME_CELLS = 34
_METER_CELLS = 24


def chosen_device(args: argparse.Namespace, config: Config, store: ProfileStore) -> str | None:
    """The microphone to use: as named, or as somebody at a terminal chooses it.

    Asked is only where there is something to choose: more than one microphone and none configured,
    or `--choose-microphone`. A script is never asked.

    Returns:
        Its name or number; None for the configured one, or else the system's default.

    Raises:
        MicrophoneError: the sound system does not answer.
    """
    if args.device is not None:
        return str(args.device)
    if config.audio.device is not None and not args.choose_microphone:
        return None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if args.choose_microphone:
            complain("nobody is at a terminal to choose a microphone: it is left as it is")
        return None
    from edge.audio.devices import list_devices
    from edge.enrollment.microphones import real_microphones

    devices = list_devices()
    real = real_microphones(devices)
    if len(real) < 2:
        if args.choose_microphone:
            complain("there are not two microphones to choose from: it is left as it is")
        return None
    return _Choice(args, config, store, devices, real).made()


class _Choice:
    def __init__(
        self,
        args: argparse.Namespace,
        config: Config,
        store: ProfileStore,
        devices: Sequence[InputDevice],
        real: Sequence[InputDevice],
    ) -> None:
        self._args = args
        self._config = config
        self._store = store
        self._devices = devices
        self._real = real
        self._console = console(sys.stderr)

    def made(self) -> str | None:
        """The name of the microphone that was chosen; None where none hears anybody."""
        from edge.enrollment.microphones import best_of, lasting_name

        for _ in range(_TRIES):
            heard = self._heard()
            best = best_of(heard)
            self._show(heard, best)
            if best is not None:
                chosen = self._confirmed(heard, best)
                self._keep(lasting_name(chosen.device, self._devices))
                return chosen.device.name
            self._say("No microphone heard you: speak up, or check plugs and levels.", "yellow")
        self._say("It goes on with the microphone that is used otherwise.")
        return None

    def _heard(self) -> list[MicrophoneLevel]:
        """What every microphone hears: all at once, those that could not be opened one by one."""
        from edge.enrollment.microphones import LISTEN_S

        self._say(
            f"There are {len(self._real)} microphones. Go where you will stand, and talk for"
            f" {LISTEN_S:.0f} seconds.",
            "bold",
        )
        heard = self._listen(self._real)
        for number, one in enumerate(heard):
            # Some systems open one at a time only.
            if one.fault is not None and len(self._real) > 1:
                self._say(f"Now for {one.device.name} alone: talk once more.", "bold")
                heard[number] = self._listen([one.device])[0]
        return heard

    def _listen(self, devices: Sequence[InputDevice]) -> list[MicrophoneLevel]:
        from rich.live import Live
        from rich.text import Text

        from edge.enrollment.microphones import listen_to

        ascii_only = self._console.options.ascii_only
        with Live(console=self._console, transient=True, auto_refresh=False) as live:

            def levels(now: Sequence[float]) -> None:
                lines = Text(no_wrap=True, overflow="ellipsis")
                for device, dbfs in zip(devices, now):
                    name = _short(device.name)
                    lines.append(f"  {name:<{_NAME_CELLS}} ")
                    lines.append_text(meter(dbfs, _METER_CELLS, ascii_only=ascii_only))
                    lines.append(f" {max(dbfs, FLOOR_DBFS):4.0f} dB\n")
                lines.rstrip()
                live.update(lines, refresh=True)

            return listen_to(devices, levels)

    def _show(self, heard: Sequence[MicrophoneLevel], best: MicrophoneLevel | None) -> None:
        for number, one in enumerate(heard, start=1):
            mark = "*" if one is best else " "
            self._say(f"{mark} {number}  {_short(one.device.name):<{_NAME_CELLS}} {one.words()}")

    def _confirmed(
        self, heard: Sequence[MicrophoneLevel], best: MicrophoneLevel
    ) -> MicrophoneLevel:
        """The best one, unless another is wanted."""
        number = list(heard).index(best) + 1
        for _ in range(_ANSWERS):
            answer = self._ask(f"Use {number}? Enter for yes, or another number: ")
            if answer in ("", "y", "yes", str(number)):
                return best
            if answer.isdecimal() and 1 <= int(answer) <= len(heard):
                other = heard[int(answer) - 1]
                if other.quality is not None:
                    return other
            self._say(f"Give a number from 1 to {len(heard)} of one that can be opened.", "yellow")
        return best

    def _keep(self, name: str) -> None:
        """Put it into the configuration, if somebody may and wants to; else say how."""
        from edge.enrollment.microphones import as_setting

        file, setting = find_config(self._args.config), as_setting(name)
        if file is None:
            self._by_hand(setting, "~/.config/edge-voice/config.yaml")
            return
        try:
            former = read_config(file)
            new = changed(former, file, "audio", "device", setting)
            if new == former:
                return
            if not os.access(file, os.W_OK):
                self._by_hand(setting, str(file))
                return
            answer = self._ask(f"Keep it as audio.device in {file}? [y/N] ")
            if answer not in ("y", "yes"):
                self._by_hand(setting, str(file))
                return
            replace_file(file, former, new)
        except (ConfigError, EnvironmentFault) as error:
            self._say(f"It cannot be kept: {error}.", "yellow")
            self._by_hand(setting, str(file))
            return
        audited(self._store, self._config)("change", what="audio.device")
        self._say(f"Kept: the service uses it once it is started again ({file}).")

    def _by_hand(self, setting: str, file: str) -> None:
        self._say(f"To keep it, put this into {file}:\naudio:\n  device: {setting}")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style)

    def _ask(self, question: str) -> str:
        self._console.print(question, end="")
        return sys.stdin.readline().strip().lower()


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CELLS else name[: _NAME_CELLS - 1] + "…"


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
        enrollment: what is filled.
        engine: the recognizer.
        config: all settings.
        args: the command's `wait`, `voice`, `trial` and `no_trial`.
        device: the microphone; None for the configured one.

    Raises:
        MicrophoneError: on entering, when it cannot be opened.
    """

    def __init__(
        self,
        enrollment: Enrollment,
        engine: Engine,
        config: Config,
        args: argparse.Namespace,
        device: int | str | None,
    ) -> None:
        self._enrollment = enrollment
        self._engine = engine
        self._config = config
        self._args = args
        self._display = Display()
        self._ear = UtteranceSource(config.audio, device, self._display)
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
        enrollment, display = self._enrollment, self._display
        self.course.noise = room_measured(self._ear, display)
        display.say(_instruction(enrollment.profile), style="bold")
        _show_progress(display, enrollment.profile)
        longest_s = _LONGEST_FREE_SPEECH_S if self._args.voice else None
        for utterance in self._ear.utterances(wait_s=self._args.wait, longest_s=longest_s):
            self._answer(utterance)
            if enrollment.complete:
                break

    def trial(self, store: ProfileStore) -> None:
        """Have it said once more, and judge that as the door would; saying nothing leaves it out.

        Raises:
            StoreError: the store cannot be read.
        """
        display, profile = self._display, self._enrollment.profile
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
        enrollment, display, results = self._enrollment, self._display, self.course.utterances
        kind = enrollment.profile.kind
        try:
            enrollment.add(self._engine, utterance)
        except EnrollmentRejected as error:
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
        _show_progress(display, enrollment.profile)

    def _hint(self) -> None:
        """If one repetition stands and others are refused, it may be the first that is wrong."""
        latest = [each["reason"] for each in self.course.utterances[-_HINT_AFTER_REFUSALS:]]
        unlike_first = all(reason in ("wrong_phrase", "unknown_speaker") for reason in latest)
        alone = len(self._enrollment.profile.samples) == 1
        if len(latest) == _HINT_AFTER_REFUSALS and unlike_first and alone:
            self._display.say(
                "If it was the first one that went wrong, press Ctrl-C and start over with"
                " --again.",
                style="yellow",
            )


def room_measured(ear: UtteranceSource, display: Display) -> RoomNoise:
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
