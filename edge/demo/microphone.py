"""The demo with a person: enroll at the microphone, then speak to the service."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import MQTTMessage

from edge.config import AudioConfig, load_config
from edge.demo.broker import DecisionSubscriber, DemoBroker, is_online
from edge.demo.service_process import ServiceProcess, command, environment, write_config
from edge.demo.show import DemoOutcome, Expectation, Result, Show
from edge.demo.story import START_TIMEOUT_S, demo_settings

NAME = "Guest"
_ANSWER_TIMEOUT_S = 30.0
"""How long someone may take to speak."""

_EXPECTED = (
    Expectation("Say your phrase", "", "granted", "accepted", NAME),
    Expectation("Say something else, as long", "", "denied", "wrong_phrase", NAME),
    Expectation("Say your phrase again", "", "granted", "accepted", NAME),
)


class EnrollmentEnded(Exception):
    """`edge-voice enroll` failed and has said why; this has its exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"edge-voice enroll ended with exit code {exit_code}")
        self.exit_code = exit_code


def run_with_microphone(folder: Path, show: Show, audio: AudioConfig) -> DemoOutcome:
    """Run the guided demo, with its files in an empty folder.

    Raises:
        EnrollmentEnded: the person could not be enrolled.
        EdgeVoiceError: something the demo depends on failed.
    """
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
        return DemoOutcome(tuple(results), 0, config.audio.end_silence_s)


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

    Only the service knows when the speech ended: its own timings are added to the time over MQTT,
    by the clock that both share.
    """
    if arrival is None:
        return None, None
    message, decision = arrival
    received = time.time() - (time.monotonic() - message.timestamp)
    try:
        timings = decision["timings_ms"]
        until_decision = (timings["endpoint"] + timings["decide"]) / 1000.0
        return decision, until_decision + max(0.0, received - _unix(decision["time"]))
    except (KeyError, TypeError, ValueError):
        return decision, None


def _unix(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
