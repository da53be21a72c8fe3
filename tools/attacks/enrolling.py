"""Getting enrolled at the door: among somebody's repetitions, from one recording, or instead."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.client import MQTTMessage

from edge.audio.files import read_audio
from edge.config import load_config
from edge.crypto.signing import new_key, write_key
from edge.demo.parts import DecisionSubscriber, DemoBroker, ServiceProcess, is_online, write_config
from edge.demo.story import START_TIMEOUT_S, demo_settings
from edge.mqtt.commands import command_message
from edge.mqtt.session import CommandSession, json_object
from edge.recognition import Engine
from edge.types import SAMPLE_RATE, FloatArray
from tools.attacks.guessing import Found
from tools.attacks.house import Voices
from tools.attacks.rows import Attack
from tools.replay.distortions import Change, at_speed, chain, opus, shifted

_PATIENCE_S = 30.0
_QUIET_S = 3.0
_MOST_REFUSED = 7
"""Refusals that a session stands."""
_COPIES: Mapping[str, Sequence[Change]] = {
    "softer and moved, or through Opus": (shifted, opus),
    "2 % faster, or through Opus and 3 % slower": (at_speed(1.02), chain(opus, at_speed(0.97))),
}
_OUTCOMES = ("accepted", "refused", "unconfirmed", "complete")
_PART = "attack FOLDER --only enroll"


class _Door(ExitStack):
    """`edge-voice run` at a broker, and the owner who sends it commands."""

    def __enter__(self) -> _Door:
        super().__enter__()
        folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        broker = self.enter_context(DemoBroker())
        key, content = new_key("hmac-sha256")
        keys = folder / "keys.yaml"
        row = f"{{id: {key.key_id}, algorithm: {key.algorithm}, role: owner, key: '%s'}}"
        write_key(keys, b"- " + row.encode().replace(b"%s", content.strip()) + b"\n")
        settings = {
            **demo_settings(folder, broker),
            "commands": {"keys_file": str(keys)},
            "lockout": {"enabled": False},
            # Sound comes as fast as the machine takes it, and a busy one takes its time.
            "access": {"decision_lifetime_s": 60.0},
        }
        path = write_config(folder, settings)
        config = load_config(path)
        self._device, self._key = config.device.id, key
        decisions = self._decisions = self.enter_context(DecisionSubscriber(config))
        service = self._service = self.enter_context(ServiceProcess(path, piped=True))
        if not decisions.wait_for_status(is_online, START_TIMEOUT_S, lambda: service.running):
            raise service.fault("the service did not report on MQTT that it is online")
        self._session = self.enter_context(CommandSession(config))
        self._play(np.zeros(0, np.float32))
        return self

    def command(self, name: str, **arguments: str) -> dict[str, Any]:
        """Have the owner's command carried out; returns the answer."""
        message = command_message(name, arguments, self._device, self._key)
        return self._session.send(message, _PATIENCE_S)

    def enroll(self, samples: FloatArray) -> bool:
        """Say something during an enrollment; whether it is taken."""
        self._play(samples)
        found = self._session.wait(_outcome, _PATIENCE_S)
        if found is None:
            raise self._service.fault("nothing came of a repetition")
        return found[1] != "refused"

    def opens(self, samples: FloatArray) -> bool:
        """Say something to be let in; whether it opens."""
        self._decisions.skip_decisions()
        self._play(samples)
        found = self._decisions.next_decision(_PATIENCE_S)
        if found is None:
            raise self._service.fault("there was no decision")
        return bool(found[1]["decision"] == "granted")

    def _play(self, samples: FloatArray) -> None:
        quiet = 1e-3 * np.random.default_rng(0).standard_normal(round(_QUIET_S * SAMPLE_RATE))
        sound = np.clip(np.concatenate((samples, quiet)), -1.0, 1.0)
        self._service.sound.write((32767.0 * sound).astype("<i2").tobytes())
        self._service.sound.flush()


def _outcome(message: MQTTMessage) -> str | None:
    """The state of an enrollment after something was said."""
    content = json_object(message.payload) if message.topic.endswith("/enrollment") else {}
    state = content.get("state")
    return state if state in _OUTCOMES else None


def enroll(engine: Engine, voices: Voices, attempts: int) -> Found:
    """A stranger among somebody's repetitions, a recording as several, and a stranger instead."""
    del engine
    each = max(1, attempts // 4)
    with _Door() as door:
        among = _among(door, voices, attempts, each)
        copied = {
            kind: _copied(door, voices, attempts // 2, copies) for kind, copies in _COPIES.items()
        }
        instead = _instead(door, voices, each)
    return [
        Attack(
            "A stranger's saying as somebody's third repetition (accepted: taken)",
            *among,
            "Each repetition is held against those before, in voice and phrase.",
            "A voice that comes close.",
            _PART,
        ),
        *(
            Attack(
                f"One recording as two repetitions: {kind} (accepted: taken)",
                *counts,
                "A recording of an earlier repetition is no repetition.",
                "Recordings of several repetitions.",
                _PART,
            )
            for kind, counts in copied.items()
        ),
        Attack(
            "A stranger speaks instead of whom the owner enrolls over MQTT (accepted: opens)",
            *instead,
            "Nothing opens before the owner confirms it.",
            "An owner who confirms without asking.",
            _PART,
        ),
    ], {}


def _among(door: _Door, voices: Voices, attempts: int, each: int) -> tuple[int, int]:
    """How many were tried, and taken."""
    tried = taken = 0
    for target, stranger in voices.pairs(attempts // each):
        if not _begun(door, target, _sounds(voices, target), 2):
            continue
        for samples in itertools.islice(_sounds(voices, stranger), min(each, _MOST_REFUSED)):
            tried += 1
            if door.enroll(samples):
                taken += 1
                break
        _over(door, target)
    return tried, taken


def _copied(
    door: _Door, voices: Voices, attempts: int, copies: Sequence[Change]
) -> tuple[int, int]:
    tried = taken = 0
    for target in voices.speakers[: max(1, attempts // len(copies))]:
        samples = next(_sounds(voices, target))
        for number, copy in enumerate(copies):
            if _begun(door, target, iter([samples]), 1):
                tried += 1
                taken += door.enroll(copy(samples, number))
            _over(door, target)
    return tried, taken


def _instead(door: _Door, voices: Voices, each: int) -> tuple[int, int]:
    tried = opened = 0
    for target, stranger in voices.pairs(each):
        sounds = _sounds(voices, stranger)
        if _begun(door, target, sounds, 3):
            tried += 1
            opened += door.opens(next(sounds))
        _over(door, target)
    return tried, opened


def _sounds(voices: Voices, speaker: str) -> Iterator[FloatArray]:
    return (read_audio(item.path).samples for item in voices.phrase(speaker))


def _begun(door: _Door, name: str, sounds: Iterator[FloatArray], repetitions: int) -> bool:
    """Whether an enrollment is begun, and so many repetitions taken."""
    door.command("enroll_start", person=name)
    tries = itertools.islice(sounds, repetitions + 2)
    while repetitions and (samples := next(tries, None)) is not None:
        repetitions -= door.enroll(samples)
    return not repetitions


def _over(door: _Door, name: str) -> None:
    """Whoever was enrolled is so no more."""
    door.command("enroll_cancel")
    door.command("delete", person=name)
