"""What the README promises somebody new, done as it stands there, at a virtual microphone.

Its first command, `tools/install`, needs a machine of its own (`python -m tools.try_install` runs
it in one). Here its parts are run by themselves: the questions, and what the service would run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import DEMO, House, is_listening, stop
from tests.integration.virtual_microphone import VirtualMicrophone
from tools.pictures.terminal import Terminal

pytestmark = pytest.mark.slow

MOST_STEPS = 6
PROGRAM = (sys.executable, "-m", "edge.cli")


def promised() -> list[str]:
    """The commands of the README's way to the first unlock, without their comments."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.split("## First unlock")[1].split("\n## ")[0]
    block = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0]
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def test_from_nothing_to_the_first_unlock(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    install, enroll, monitor = promised()
    assert install == "sudo tools/install"
    spoken = 1  # at the end, to be let in
    assert 1 + len(promised()) + spoken <= MOST_STEPS  # plugging the microphone in is the first

    with Broker(tmp_path / "broker") as broker, Subscriber(broker) as home:
        house = House(tmp_path, broker, microphone.environment)
        house.config.unlink()
        house.environment["EDGE_VOICE_CONFIG"] = str(house.config)
        house.environment["XDG_STATE_HOME"] = str(tmp_path / "state")

        with Terminal((*PROGRAM, "setup"), 80, 24, house.environment) as screen:
            # A door would ask for five repetitions.
            answers = {"door or home": "home", "MQTT broker": f"127.0.0.1:{broker.port}"}
            answer_with_enter(screen, answers)
        # While somebody enrolls, the service is paused (tests/unit/test_service_paused.py).
        with Terminal(command(enroll), 80, 24, house.environment) as screen:
            screen.run_until("be silent")
            screen.run_until("0 of 3")
            for number in (1, 2, 3):
                microphone.play(DEMO / f"ada_enroll_{number}.flac")
                screen.run_until(f"{number} of 3" if number < 3 else "Now a trial")
            microphone.play(DEMO / "ada_right_phrase.flac")
            screen.run_until("Trial: it opens")
            screen.run_to_end()
        service = house.start()
        try:
            home.wait_for("/status", is_listening)
            home.wait_for("/status", lambda status: status.get("enrolled") == 1)
            with Terminal(command(monitor), 80, 24, house.environment) as screen:
                screen.run_until("listening")
                microphone.play(DEMO / "ada_right_phrase.flac")
                screen.run_until("granted")
                assert home.wait_for("/decision").json["decision"] == "granted"
                screen.type("q")
                screen.run_to_end()
        finally:
            stop(service)


def command(line: str) -> list[str]:
    words = line.split()
    assert words[:2] == ["sudo", "edge-voice"]
    return [*PROGRAM, *words[2:]]


def answer_with_enter(screen: Terminal, others: dict[str, str]) -> None:
    """Take what is offered at every question but some."""
    answered = ""
    while screen.run_for(0.5):
        question = screen.text.rstrip().splitlines()[-1] if screen.text.strip() else ""
        if question.endswith(":") and screen.text != answered:
            answer = next((text for asked, text in others.items() if asked in question), "")
            answered = screen.text
            screen.type(f"{answer}\n")
