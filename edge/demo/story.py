"""The demo's two stories: recordings of made-up people, or a person at the microphone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt.client import MQTTMessage

from edge.audio.end_pointing import JOINED_SILENCE_S
from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.config import AudioConfig, Config, load_config
from edge.demo.parts import (
    DecisionSubscriber,
    DemoBroker,
    Player,
    ServiceProcess,
    command,
    environment,
    is_online,
    write_config,
)
from edge.demo.show import DemoOutcome, Expectation, Result, Show
from edge.errors import EnvironmentFault
from edge.recognition.engine import Engine
from edge.resources import demo_directory
from edge.store import open_store
from edge.types import SAMPLE_RATE, FloatArray, ProfileKind

_FRAME = SAMPLE_RATE // 50
_SPEECH_DBFS = -50.0
"""Frames louder than this are speech, which is at -23 dBFS, the noise at -62 dBFS."""
START_TIMEOUT_S = 30.0
"""Longest wait for the service to be online; a Raspberry Pi Zero takes seconds."""
_SETTLE_S = 0.5
"""Quiet before the first recording, so that the service hears the room first."""
NAME = "Guest"
_ANSWER_TIMEOUT_S = 30.0
"""How long someone may take to speak, or the service to decide."""
_EXPECTED = (
    Expectation("Say your phrase", "", "granted", "recognized", NAME),
    Expectation("Say something else, as long", "", "denied", "wrong_phrase", NAME),
    Expectation("Say your phrase again", "", "granted", "recognized", NAME),
)


@dataclass(frozen=True)
class DemoPerson:
    """A made-up person and recordings of their passphrase, each of shape (n,) at `SAMPLE_RATE`."""

    name: str
    phrase: str
    repetitions: tuple[FloatArray, ...] = field(repr=False)


@dataclass(frozen=True)
class Scene(Expectation):
    """A recording to play, shape (n,) at `SAMPLE_RATE`, and the decision it should lead to."""

    samples: FloatArray = field(repr=False)

    @property
    def speech_end_s(self) -> float:
        """End of the speech, seconds from the start: the end of the last loud 20 ms."""
        frames = self.samples[: len(self.samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
        power = np.mean(np.square(frames, dtype=np.float64), axis=1)
        loud = np.flatnonzero(power > 10.0 ** (_SPEECH_DBFS / 10.0))
        return float((loud[-1] + 1) * _FRAME / SAMPLE_RATE) if len(loud) else 0.0


@dataclass(frozen=True)
class Play:
    """Everything that the demo plays, in order."""

    people: tuple[DemoPerson, ...]
    scenes: tuple[Scene, ...]


def load_play(folder: Path | None = None) -> Play:
    """The manifest and recordings in a folder, None for those included.

    Raises `EnvironmentFault` for a bad manifest, `AudioFormatError` for a bad recording.
    """
    folder = folder or demo_directory()
    manifest = folder / "manifest.json"
    try:
        content: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        people = tuple(_person(entry, content["recordings"], folder) for entry in content["people"])
        scenes = tuple(
            _scene(entry, folder) for entry in content["recordings"] if entry["role"] == "play"
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFault(
            f"{manifest}: cannot be used ({type(error).__name__}: {error}); install again"
        ) from error
    return Play(people, scenes)


def _person(entry: dict[str, Any], recordings: list[dict[str, Any]], folder: Path) -> DemoPerson:
    repetitions = tuple(
        read_audio(folder / recording["file"]).samples
        for recording in recordings
        if recording["role"] == "enroll" and recording["person"] == entry["name"]
    )
    return DemoPerson(entry["name"], entry["phrase"], repetitions)


def _scene(entry: dict[str, Any], folder: Path) -> Scene:
    expected = entry["expected"]
    return Scene(
        title=entry["title"],
        text=entry["text"],
        samples=read_audio(folder / entry["file"]).samples,
        decision=expected["decision"],
        reason=expected["reason"],
        name=entry["person"] if expected["decision"] == "granted" else None,
    )


def demo_settings(folder: Path, broker: DemoBroker) -> dict[str, Any]:
    """The settings of a service with its files in a folder and the demo's broker."""
    return {
        "device": {"id": "demo-door", "name": "Demo door"},
        # The broker does not answer MQTT 5, and trying it first would cost seconds.
        "mqtt": {"host": broker.host, "port": broker.port, "protocol": "3.1.1"},
        "state_directory": str(folder / "state"),
    }


def run_recorded(folder: Path, show: Show, play: Play | None = None) -> DemoOutcome:
    """Run the demo in an empty folder, by default the play included. Raises `EdgeVoiceError`."""
    play = play or load_play()
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker())
        show.say(f"The MQTT broker is at {broker.host}:{broker.port}.")
        path = write_config(folder, demo_settings(folder, broker))
        config = load_config(path)
        enroll(play.people, config, show)
        subscriber = stack.enter_context(DecisionSubscriber(config))
        started = time.monotonic()
        service = stack.enter_context(ServiceProcess(path, piped=True))
        player = stack.enter_context(Player(service.sound))
        if not subscriber.wait_for_status(is_online, START_TIMEOUT_S, lambda: service.running):
            raise service.fault("the service did not report on MQTT that it is online")
        show.say(f"The service was online after {time.monotonic() - started:.1f} s.")
        show.say("")
        time.sleep(_SETTLE_S)
        results = []
        with show.table(play.scenes):
            for scene in play.scenes:
                show.playing(scene)
                results.append(_play(scene, player, subscriber, service))
                show.add(results[-1])
        return DemoOutcome(tuple(results), subscriber.skip_decisions(), _wait_s(config))


def _wait_s(config: Config) -> float:
    """How long a denial waits for silence."""
    return max(config.audio.end_silence_s, JOINED_SILENCE_S)


def enroll(people: tuple[DemoPerson, ...], config: Config, show: Show) -> None:
    """Enroll people from their recordings, as `edge-voice enroll` does."""
    engine = Engine.open(config)
    with open_store(config.state_path, settings=config.store) as store:
        for person in people:
            profile = store.create(
                person.name,
                ProfileKind.PHRASE,
                person.phrase,
                required=config.enrollment.repetitions,
            )
            for samples in person.repetitions:
                sample = engine.enroll(profile, utterance_of(samples))
                profile = store.add_sample(
                    profile.id, sample, engine.models.speaker.sha256, engine.models.phrase.sha256
                )
            show.say(f'{person.name} is enrolled with "{person.phrase}".')


def _play(
    scene: Scene, player: Player, subscriber: DecisionSubscriber, service: ServiceProcess
) -> Result:
    begun = player.play(scene.samples)
    if begun is None:
        raise service.fault("the service stopped listening")
    speech_ended = begun + scene.speech_end_s
    arrival = subscriber.next_decision(speech_ended + _ANSWER_TIMEOUT_S - time.monotonic())
    if arrival is None:
        return Result(scene, None, None)
    message, decision = arrival
    return Result(scene, decision, message.timestamp - speech_ended)


class EnrollmentEnded(Exception):
    """`edge-voice enroll` failed and has said why; this has its exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"edge-voice enroll ended with exit code {exit_code}")
        self.exit_code = exit_code


def run_with_microphone(folder: Path, show: Show, audio: AudioConfig) -> DemoOutcome:
    """Run the guided demo in an empty folder. Raises `EnrollmentEnded` or `EdgeVoiceError`."""
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker())
        settings = demo_settings(folder, broker)
        settings["audio"] = {"end_silence_s": audio.end_silence_s}
        if audio.device is not None:
            settings["audio"]["device"] = audio.device
        path = write_config(folder, settings)
        config = load_config(path)
        show.say("Think of a phrase that takes two seconds or more, in any language.")
        _enroll(path)
        subscriber = stack.enter_context(DecisionSubscriber(config))
        service = stack.enter_context(ServiceProcess(path, piped=False))
        if not subscriber.wait_for_status(_listening, START_TIMEOUT_S, lambda: service.running):
            raise service.fault("the service did not report on MQTT that it is listening")
        show.say("")
        show.say("The service is listening. Follow the table, line by line.")
        results = []
        with show.table(_EXPECTED):
            for expectation in _EXPECTED:
                subscriber.skip_decisions()
                show.playing(expectation)
                arrival = subscriber.next_decision(_ANSWER_TIMEOUT_S)
                if arrival is None and not service.running:
                    raise service.fault("the service stopped listening")
                results.append(Result(expectation, *_answer(arrival)))
                show.add(results[-1])
        return DemoOutcome(tuple(results), 0, _wait_s(config))


def _listening(status: dict[str, Any]) -> bool:
    return is_online(status) and status.get("microphone") == "listening"


def _enroll(config: Path) -> None:
    # Standard output is for the result of the demo.
    done = subprocess.run(  # noqa: S603 - this very program
        command("enroll", NAME, "--no-trial", "--config", str(config)),
        env=environment(),
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode != 0:
        raise EnrollmentEnded(done.returncode)


def _answer(
    arrival: tuple[MQTTMessage, dict[str, Any]] | None,
) -> tuple[dict[str, Any] | None, float | None]:
    """The decision, and how long after the end of the speech it arrived, seconds.

    Only the service knows when speech ended: its timings are added, by the clock both share.
    """
    if arrival is None:
        return None, None
    message, decision = arrival
    received = time.time() - (time.monotonic() - message.timestamp)
    try:
        timings = decision["timings_ms"]
        until_decision = (timings["endpoint"] + timings["decide"]) / 1000.0
        decided = datetime.fromisoformat(decision["time"].replace("Z", "+00:00")).timestamp()
        return decision, until_decision + max(0.0, received - decided)
    except (KeyError, TypeError, ValueError):
        return decision, None
