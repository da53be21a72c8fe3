"""The demo with nothing attached: enrol two made-up people, then play recordings to the daemon."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge.audio.utterance import utterance_of
from edge.config import Config, load_config
from edge.demo.broker import DemoBroker
from edge.demo.listener import Listener, is_online
from edge.demo.player import Player
from edge.demo.process import Daemon, write_config
from edge.demo.recordings import Person, Play, Scene, load_play
from edge.demo.result import Expectation, Outcome, Result
from edge.demo.show import Show
from edge.mqtt.topics import Topics
from edge.recognition.engine import Engine
from edge.store import open_store
from edge.types import ProfileKind

START_TIMEOUT_S = 30.0
"""Longest wait for the daemon to report that it is there; a Raspberry Pi Zero takes seconds."""
_DECISION_TIMEOUT_S = 5.0
_SETTLE_S = 0.5
"""Quiet before the first recording, so that the daemon hears the room first."""


def demo_settings(folder: Path, broker: DemoBroker) -> dict[str, Any]:
    """The settings of a daemon that lives in a folder and publishes to the demo's broker."""
    return {
        "device": {"id": "demo-door", "name": "Demo door"},
        # The broker does not answer MQTT 5; asking it first would cost seconds.
        "mqtt": {"host": broker.host, "port": broker.port, "protocol": "3.1.1"},
        "state_directory": str(folder / "state"),
    }


def topics_of(config: Config) -> Topics:
    """The topics that a daemon with these settings publishes to."""
    return Topics(config.mqtt.base_topic, config.device.id)


def run_recorded(folder: Path, show: Show, play: Play | None = None) -> Outcome:
    """Run the demo.

    Args:
        folder: an empty one, for everything that is written.
        show: told what happens.
        play: who is enrolled and what is played; None for what comes with the software.

    Raises:
        EdgeVoiceError: something that it stands on is not as it must be.
    """
    play = play or load_play()
    expected = tuple(
        Expectation(scene.title, scene.text, scene.decision, scene.reason, scene.name)
        for scene in play.scenes
    )
    with ExitStack() as stack:
        broker = stack.enter_context(DemoBroker())
        show.say(f"An MQTT broker runs on {broker.host}:{broker.port}.")
        path = write_config(folder, demo_settings(folder, broker))
        config = load_config(path)
        enrol(play.people, config, show)
        listener = stack.enter_context(Listener(broker.host, broker.port, topics_of(config)))
        started = time.monotonic()
        daemon = stack.enter_context(Daemon(path, piped=True))
        player = stack.enter_context(Player(daemon.sound))
        if not listener.wait_for(is_online, START_TIMEOUT_S, lambda: daemon.running):
            raise daemon.fault("the daemon did not report on MQTT that it is there")
        show.say(f"The daemon was listening after {time.monotonic() - started:.1f} s.")
        show.say("")
        time.sleep(_SETTLE_S)
        results = []
        with show.table(expected):
            for expectation, scene in zip(expected, play.scenes):
                show.playing(expectation)
                result = _play(expectation, scene, player, listener, daemon)
                show.came(result)
                results.append(result)
        return Outcome(tuple(results), len(listener.rest()), config.audio.end_silence_s)


def enrol(people: tuple[Person, ...], config: Config, show: Show) -> None:
    """Enrol people from their recordings, as `edge-voice enroll` does."""
    engine = Engine.open(config)
    with open_store(config.state_path, settings=config.store) as store:
        for person in people:
            profile = store.create(
                person.name,
                ProfileKind.PHRASE,
                person.phrase,
                required=config.enrolment.repetitions,
            )
            for samples in person.repetitions:
                sample = engine.enrol(profile, utterance_of(samples))
                profile = store.add_sample(
                    profile.id, sample, engine.models.speaker.sha256, engine.models.phrase.sha256
                )
            show.say(f'{person.name} is enrolled: "{person.phrase}", said three times.')


def _play(
    expectation: Expectation, scene: Scene, player: Player, listener: Listener, daemon: Daemon
) -> Result:
    begun = player.play(scene.samples)
    if begun is None:
        raise daemon.fault("the daemon stopped listening")
    speech_ended = begun + scene.speech_end_s
    arrival = listener.next_decision(speech_ended + _DECISION_TIMEOUT_S - time.monotonic())
    if arrival is None:
        return Result(expectation, None, None)
    return Result(expectation, arrival.decision, arrival.at - speech_ended)
