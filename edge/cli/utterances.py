"""Utterances for commands: from files, standard input or the microphone."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.audio.blocks import level_db
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import read_audio
from edge.audio.sources import StandardInputSource
from edge.audio.utterance import utterance_in, utterance_of
from edge.cli.display import HEARING, LISTENING, WORKING, Display
from edge.cli.output import complain
from edge.cli.prompts import say
from edge.config import AudioConfig
from edge.errors import AudioFormatError, EnrollmentRejected, InputError
from edge.installation.service import paused
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Utterance

if TYPE_CHECKING:
    from edge.config import Config

STANDARD_INPUT = Path("-")
LONGEST_S = 300.0
"""Longest recording that is accepted, seconds."""


class NothingHeard(InputError):
    """Nobody spoke into the microphone."""


def utterance_from(path: Path) -> Utterance:
    """The utterance in a file, or on standard input for `-`. Raises `AudioFormatError`."""
    if path == STANDARD_INPUT:
        return _from_standard_input()
    recording = read_audio(path, max_s=LONGEST_S)
    if recording.narrowband:
        complain(
            f"{path}: recorded at {recording.original_rate} samples per second, which makes voices"
            " harder to tell apart; use 16000"
        )
    return utterance_of(recording)


def complain_of(file: Path, error: InputError) -> None:
    """Report that a recording was refused."""
    named = f"{file}: {error}" if isinstance(error, EnrollmentRejected) else str(error)
    complain(named, kind="refused")


def result_of(source: str, fault: InputError | None) -> dict[str, Any]:
    """The result of enrolling an utterance from a file or "microphone", for programs."""
    reason = None
    if fault is not None:
        reason = fault.reason if isinstance(fault, EnrollmentRejected) else "unreadable"
    return {
        "source": source,
        "accepted": fault is None,
        "reason": reason,
        "message": str(fault) if fault else None,
    }


class UtteranceSource:
    """A microphone, None for the configured one. Entering raises `MicrophoneError`."""

    def __init__(self, audio: AudioConfig, device: int | str | None, display: Display) -> None:
        # Not at the top: files are read on machines that have no PortAudio.
        from edge.audio.microphone import live_source

        self._audio = audio
        self._display = display
        command = audio.source if device is None else None
        chosen = audio.device if device is None else device
        self._microphone = live_source(command, chosen, audio.ring_s)
        self._blocks: Iterator[AudioBlock] = iter(())

    def __enter__(self) -> UtteranceSource:
        self._microphone.__enter__()
        self._blocks = self._microphone.blocks()
        self._display.say(f"Microphone: {self.name}", style="dim")
        return self

    def __exit__(self, *_: object) -> None:
        self._microphone.__exit__(None, None, None)

    @property
    def name(self) -> str:
        """Name of the microphone."""
        return self._microphone.name

    @property
    def kind(self) -> str:
        """Its kind, as a profile remembers it."""
        return self._microphone.kind

    def record(self, seconds: float, state: str) -> FloatArray:
        """The next seconds, shape (n,), while the meter shows `state`. Raises `MicrophoneError`."""
        parts, length = [], 0
        for block in self._blocks:
            parts.append(block.samples)
            length += len(block.samples)
            self._display.level(level_db(block.samples), state)
            if length >= seconds * SAMPLE_RATE:
                break
        return np.concatenate([*parts, np.zeros(0, np.float32)])

    def utterances(
        self, *, wait_s: float, longest_s: float | None = None, patient: bool = True
    ) -> Iterator[Utterance]:
        """Utterances as they are spoken; their positions count from this call.

        `patient` ones may have a pause in them.

        Raises:
            MicrophoneError: it has gone away.
            NothingHeard: nobody spoke for `wait_s` seconds.
        """
        settings = EndPointSettings.of(self._audio)
        if patient:
            settings = settings.patient()
        if longest_s is not None:
            settings = replace(settings, max_utterance_s=longest_s)
        pointer = EndPointer(settings)
        display = self._display
        spoke_at, began_s = time.monotonic(), None
        for block in self._blocks:
            began_s = block.start_s if began_s is None else began_s
            lost_before, speaking_before = pointer.discarded, pointer.speaking
            ended = pointer.feed(replace(block, start_s=block.start_s - began_s))
            for utterance in ended:
                display.level(pointer.level_dbfs, WORKING)
                yield utterance
                spoke_at = time.monotonic()
            if pointer.discarded > lost_before:
                display.say("Some sound was lost: say it again.", style="yellow")
            elif speaking_before and not pointer.speaking and not ended:
                display.say("Too short to be speech: ignored.", style="dim")
            if pointer.speaking:
                spoke_at = time.monotonic()
            elif time.monotonic() - spoke_at > wait_s:
                raise NothingHeard(
                    f"nobody spoke into '{self.name}' for {wait_s:.3g} s: come closer,"
                    " or choose another with --device ('edge-voice devices' lists them)"
                )
            display.level(pointer.level_dbfs, HEARING if pointer.speaking else LISTENING)


def one_utterance(
    path: Path | None, config: Config, args: argparse.Namespace, prompt: str
) -> Utterance:
    """The utterance to judge: from a file, or else from the microphone."""
    if path is not None:
        return utterance_from(path)
    with paused(say, config.state_path), Display() as display:
        display.say(prompt, style="bold")
        with UtteranceSource(config.audio, args.device, display) as source:
            for utterance in source.utterances(wait_s=args.wait):
                return utterance
    raise NothingHeard("the microphone was closed before anyone spoke: try again")


def _from_standard_input() -> Utterance:
    if sys.stdin.isatty():
        raise AudioFormatError("standard input: a terminal; pipe a recording into it")
    with StandardInputSource(sys.stdin.buffer) as source:
        return utterance_in(_bounded(source.blocks()))


def _bounded(blocks: Iterator[AudioBlock]) -> Iterator[AudioBlock]:
    for block in blocks:
        if block.end_s > LONGEST_S:
            raise AudioFormatError(f"standard input: longer than the {LONGEST_S:.0f} s allowed")
        yield block
