"""Enrolling from recordings, or guided at the microphone."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.display import FLOOR_DBFS, MEASURING, Display, meter
from edge.cli.output import complain, console
from edge.cli.prompts import ask, ask_whether
from edge.cli.utterances import (
    NothingHeard,
    UtteranceSource,
    complain_of,
    result_of,
    utterance_from,
)
from edge.config import find_config
from edge.config.editing import changed, replace_file
from edge.config.loading import read_config
from edge.enrollment.checks import figures_of, remarks_on
from edge.enrollment.room_noise import (
    LISTEN_S,
    RoomNoise,
    RoomVerdict,
    loudest_of,
    measure_room,
    target_range,
)
from edge.enrollment.trial import Trial, try_out
from edge.errors import (
    ConfigError,
    EnrollmentRejected,
    EnvironmentFault,
    InputError,
    MicrophoneError,
)
from edge.types import ProfileKind
from edge.types.microphone import RECORDING, is_another

if TYPE_CHECKING:
    from edge.audio.devices import InputDevice
    from edge.config import Config
    from edge.enrollment.microphones import MicrophoneLevel
    from edge.enrollment.process import Enrollment
    from edge.recognition.engine import Engine
    from edge.store import ProfileStore
    from edge.types import Profile, Utterance

IN_HASTE = (
    "Now in a hurry, as on a busy day: who is known by calm words only is turned away in haste."
)

_TRIES = 2
_NAME_CELLS = 34
_METER_CELLS = 24
_LONGEST_FREE_SPEECH_S = 30.0
_HINT_AFTER_REFUSALS = 2
_UNLIKE_FIRST = ("wrong_phrase", "other_length", "unknown_speaker")
_ROOM_TRIES = 3
_ROOM_PAUSE_S = 4.0
"""Time to switch a fan off before the room is measured again."""
_TRIAL_WAIT_S = 15.0
"""A trial can be skipped by saying nothing, so a script that plays repetitions continues."""
_TRIAL_TRIES = 3


@dataclass
class Results:
    """The results of an enrollment so far; `microphone` is None for files.

    Attributes:
        same_voice: the names of others with that voice.
    """

    utterances: list[dict[str, Any]] = field(default_factory=list)
    noise: RoomNoise | None = None
    trial: Trial | None = None
    microphone: str | None = None
    same_voice: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All of it under its JSON names."""
        return {
            "microphone": self.microphone,
            "noise": self.noise.as_dict() if self.noise else None,
            "utterances": self.utterances,
            "trial": self.trial.as_dict() if self.trial else None,
            "same_voice": self.same_voice,
        }

    def add(
        self,
        source: str,
        kind: ProfileKind,
        utterance: Utterance | None,
        fault: InputError | None = None,
    ) -> None:
        """Record the result of an utterance; None is one that could not be read."""
        remarks = remarks_on(utterance, kind) if utterance is not None and fault is None else []
        self.utterances.append(
            {
                **result_of(source, fault),
                "checks": figures_of(utterance, kind) if utterance is not None else None,
                "warnings": [remark.code for remark in remarks],
            }
        )


class FromFiles:
    """Enrolls repetitions from recordings; `last` is for the trial, None for no trial."""

    def __init__(
        self,
        enrollment: Enrollment,
        engine: Engine,
        config: Config,
        files: Sequence[Path],
        last: Path | None,
    ) -> None:
        self._enrollment = enrollment
        self._engine = engine
        self._config = config
        self._files = files
        self._last = last
        self.results = Results()

    def enroll(self) -> None:
        """Add every file; rejected ones are reported and the rest continue."""
        kind = self._enrollment.profile.kind
        self._enrollment.microphone = RECORDING
        utterances: list[Utterance] = []
        for file in self._files:
            fault: InputError | None = None
            utterance: Utterance | None = None
            try:
                utterance = utterance_from(file)
                utterances.append(utterance)
                self._enrollment.add(self._engine, utterance)
            except InputError as error:
                fault = error
                complain_of(file, error)
            else:
                for remark in remarks_on(utterance, kind):
                    complain(f"{file}: {remark.text}")
            self.results.add(str(file), kind, utterance, fault)
        self.results.noise = loudest_of([utterance.quality for utterance in utterances])

    def trial(self, store: ProfileStore) -> None:
        """Judge the last recording as at the door. Raises `InputError` or `StoreError`."""
        if self._last is not None:
            profile = self._enrollment.profile
            utterance = utterance_from(self._last)
            self.results.trial = try_out(self._engine, store, self._config, profile, utterance)


def chosen_device(args: argparse.Namespace, config: Config, store: ProfileStore) -> str | None:
    """The microphone to use, by name or number; None for the configured or default one.

    Someone at a terminal is asked if there are several and none is configured, or with
    `--choose-microphone`; a script never. Raises `MicrophoneError`.
    """
    if args.device is not None:
        return str(args.device)
    configured = config.audio.device is not None or config.audio.source is not None
    if configured and not args.choose_microphone:
        return None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        if args.choose_microphone:
            complain("not a terminal: --choose-microphone has no effect")
        return None
    from edge.audio.devices import list_devices
    from edge.enrollment.microphones import real_microphones

    devices = list_devices()
    real = real_microphones(devices)
    if len(real) < 2:
        if args.choose_microphone:
            complain("fewer than two microphones: nothing to choose")
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
        """The name of the chosen microphone; None if no microphone hears anyone."""
        from edge.audio.devices import lasting_name
        from edge.enrollment.microphones import best_of

        for _ in range(_TRIES):
            levels = self._listen_to_all()
            best = best_of(levels)
            for number, one in enumerate(levels, start=1):
                mark = "*" if one is best else " "
                name = _short(one.device.name)
                self._say(f"{mark} {number}  {name:<{_NAME_CELLS}} {one.words()}")
            if best is not None:
                chosen = self._confirmed(levels, best)
                self._keep(lasting_name(chosen.device, self._devices))
                return chosen.device.name
            self._say("No microphone heard you: speak up, or check plugs and levels.", "yellow")
        self._say("Continuing with the usual microphone.")
        return None

    def _listen_to_all(self) -> list[MicrophoneLevel]:
        """What every microphone hears, all at once; those that could not be opened one by one."""
        from edge.enrollment.microphones import LISTEN_S

        self._say(
            f"{len(self._real)} microphones found. Stand where you will speak, and talk for"
            f" {LISTEN_S:.0f} seconds.",
            "bold",
        )
        levels = self._listen(self._real)
        for number, one in enumerate(levels):
            # Some systems open one at a time only.
            if one.fault is not None and len(self._real) > 1:
                self._say(f"Now {one.device.name} alone: talk again.", "bold")
                levels[number] = self._listen([one.device])[0]
        return levels

    def _listen(self, devices: Sequence[InputDevice]) -> list[MicrophoneLevel]:
        from rich.live import Live
        from rich.text import Text

        from edge.enrollment.microphones import listen_to

        ascii_only = self._console.options.ascii_only
        with Live(console=self._console, transient=True, auto_refresh=False) as live:

            def show_levels(now: Sequence[float]) -> None:
                lines = Text(no_wrap=True, overflow="ellipsis")
                for device, dbfs in zip(devices, now):
                    name = _short(device.name)
                    lines.append(f"  {name:<{_NAME_CELLS}} ")
                    lines.append_text(meter(dbfs, _METER_CELLS, ascii_only=ascii_only))
                    lines.append(f" {max(dbfs, FLOOR_DBFS):4.0f} dB\n")
                lines.rstrip()
                live.update(lines, refresh=True)

            return listen_to(devices, show_levels)

    def _confirmed(
        self, levels: Sequence[MicrophoneLevel], best: MicrophoneLevel
    ) -> MicrophoneLevel:
        """The best one, unless another is wanted."""

        def read(text: str) -> MicrophoneLevel:
            number = int(text) if text.isdecimal() and len(text) < 4 else 0
            if 1 <= number <= len(levels) and levels[number - 1].quality is not None:
                return levels[number - 1]
            raise InputError(f"choose one from 1 to {len(levels)} that can be opened")

        return ask("Microphone to use", str(list(levels).index(best) + 1), read)

    def _keep(self, name: str) -> None:
        """Save it in the configuration if that is possible and wanted; else say how."""
        from edge.enrollment.microphones import as_setting

        file, setting = find_config(self._args.config), as_setting(name)
        if file is None:
            self._by_hand(setting, "~/.config/edge-voice/config.yaml")
            return
        try:
            former = read_config(file)
            new = changed(former, file, {"audio.device": setting})
            if new == former:
                return
            question = f"Save it as audio.device in {file}"
            if not os.access(file, os.W_OK) or not ask_whether(question, default=False):
                self._by_hand(setting, str(file))
                return
            replace_file(file, former, new)
        except (ConfigError, EnvironmentFault) as error:
            self._say(f"Not saved: {error}.", "yellow")
            self._by_hand(setting, str(file))
            return
        options.audit(self._store, self._config, "change", what="audio.device")
        self._say(f"Saved in {file}: restart the service to use it.")

    def _by_hand(self, setting: str, file: str) -> None:
        self._say(f"To save it, add this to {file}:\naudio:\n  device: {setting}")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CELLS else name[: _NAME_CELLS - 1] + "…"


class FromMicrophone:
    """A context manager that enrolls from a microphone; entering raises `MicrophoneError`."""

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
        self._source = UtteranceSource(config.audio, device, self._display)
        self._open = contextlib.ExitStack()
        self.results = Results()

    def __enter__(self) -> FromMicrophone:
        with contextlib.ExitStack() as opening:
            opening.enter_context(self._display)
            opening.enter_context(self._source)
            self._open = opening.pop_all()
        self.results.microphone = self._source.name
        kind, before = self._source.kind, self._enrollment.profile.microphones
        self._enrollment.microphone = kind
        if is_another(before, kind):
            self._display.say(
                f"Enrolled so far with another microphone ({', '.join(before)}): if repetitions are"
                " rejected here, enroll with --again.",
                style="yellow",
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def enroll(self) -> None:
        """Measure the room, then add repetitions. Raises `MicrophoneError` or `NothingHeard`."""
        enrollment, display = self._enrollment, self._display
        self.results.noise = room_measured(self._source, display)
        display.say(_instruction(enrollment.profile), style="bold")
        _show_progress(display, enrollment.profile)
        free = self._args.voice
        for utterance in self._source.utterances(
            wait_s=self._args.wait,
            longest_s=_LONGEST_FREE_SPEECH_S if free else None,
            patient=not free,
        ):
            self._add(utterance)
            if enrollment.complete:
                break

    def trial(self, store: ProfileStore) -> None:
        """Ask for one more and judge it as at the door; silence skips it. Raises `StoreError`."""
        display, profile = self._display, self._enrollment.profile
        if profile.duress_of is not None:
            display.say("No trial for a duress phrase: a running service would raise the alarm.")
            return
        display.say(
            "Now a trial: say it once more, as at the door (a running service may open)."
            if profile.kind is ProfileKind.PHRASE
            else "Now a trial: say a sentence.",
            style="bold",
        )
        wait_s = min(self._args.wait, _TRIAL_WAIT_S)
        try:
            for number, utterance in enumerate(self._source.utterances(wait_s=wait_s), start=1):
                trial = try_out(self._engine, store, self._config, profile, utterance)
                self.results.trial = trial
                if trial.accepted or number == _TRIAL_TRIES:
                    return
                display.say(f"Not yet: {trial.meaning}. Try again.", style="yellow")
        except NothingHeard:
            display.say("Nobody spoke: trial skipped.")
        except MicrophoneError as error:
            display.say(f"Trial skipped: {error}.", style="yellow")

    def _add(self, utterance: Utterance) -> None:
        enrollment, display = self._enrollment, self._display
        kind = enrollment.profile.kind
        try:
            enrollment.add(self._engine, utterance)
        except EnrollmentRejected as error:
            self.results.add("microphone", kind, utterance, error)
            display.say(f"Rejected: {error}.", style="yellow")
            self._hint()
            return
        self.results.add("microphone", kind, utterance)
        quality = utterance.quality
        display.say(
            f"Accepted: {quality.net_speech_s:.1f} s of speech at {quality.level_dbfs:.0f} dB,"
            f" {quality.snr_db:.0f} dB above the noise."
        )
        for remark in remarks_on(utterance, kind):
            display.say(f"But {remark.text}.", style="yellow")
        _show_progress(display, enrollment.profile)
        if kind is ProfileKind.PHRASE and enrollment.profile.remaining == 1:
            display.say(IN_HASTE, style="bold")

    def _hint(self) -> None:
        """If one repetition was accepted and others are not, the first may be the wrong one."""
        latest = [each["reason"] for each in self.results.utterances[-_HINT_AFTER_REFUSALS:]]
        unlike_first = all(
            reason in ("wrong_phrase", "other_length", "unknown_speaker") for reason in latest
        )
        alone = len(self._enrollment.profile.samples) == 1
        if len(latest) == _HINT_AFTER_REFUSALS and unlike_first and alone:
            self._display.say(
                "If the first repetition was the bad one, press Ctrl-C and start over with"
                " --again.",
                style="yellow",
            )


def room_measured(source: UtteranceSource, display: Display) -> RoomNoise:
    """Measure and explain the room's noise; it sets the meter's marks. Raises `MicrophoneError`."""
    noise = RoomNoise(0.0)
    for tries_left in reversed(range(_ROOM_TRIES)):
        display.say(
            f"Measuring the room: please be silent for {LISTEN_S:.0f} seconds.", style="bold"
        )
        noise = measure_room(source.record(LISTEN_S, MEASURING))
        if noise.spoken and tries_left:
            display.say("Someone spoke: once more, in silence.", style="yellow")
            continue
        quiet = noise.verdict is RoomVerdict.QUIET
        display.say(noise.explanation(), style="" if quiet else "yellow")
        if noise.verdict is not RoomVerdict.TOO_NOISY or not tries_left:
            break
        display.say(f"Measuring again in {_ROOM_PAUSE_S:.0f} seconds.")
        source.record(_ROOM_PAUSE_S, MEASURING)
    if noise.verdict is RoomVerdict.TOO_NOISY:
        display.say("Continuing anyway; speech lost in the noise will be rejected.")
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
