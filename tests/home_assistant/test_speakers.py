"""Who speaks, at the microphone and to assistants, on the dashboard of docs/assistants.md.

It leaves pictures in build/home-assistant, and one of the pipeline that a stranger was kept out of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.home_assistant.assist import Assist
from tests.home_assistant.browser import Browser, browser
from tests.home_assistant.dashboard import house_with_view, take_pictures
from tests.home_assistant.door import Door
from tests.home_assistant.home_assistant import REPOSITORY
from tests.integration.assistants import Between
from tests.integration.broker import Broker, free_port
from tests.integration.house import feed
from tests.integration.pocketsphinx import PocketSphinx
from tests.integration.talkers import ADA, READ, ROBIN, STRANGER, enroll_talkers, sound_of
from tests.unit.spoken_digits import recording_of

PAGE = (REPOSITORY / "docs/assistants.md").read_text(encoding="utf-8")
COMMAND = "turn on the kitchen light"
SPEAKER = "sensor.edge_voice_{}_speaker"


def test_the_dashboard_shows_who_speaks(broker: Broker, tmp_path: Path) -> None:
    if browser() is None:
        pytest.fail("there is no browser (Debian: apt install chromium)")
    with (
        PocketSphinx(tmp_path / "speech-to-text") as program,
        house_with_view(PAGE, broker, tmp_path / "house", "speakers.log") as house,
    ):
        assistants: dict[str, dict[str, Any]] = {
            "kitchen": {"name": "Kitchen", "gate": "enrolled"},
            "bedroom": {"name": "Bedroom"},
        }
        for settings in assistants.values():
            settings.update(port=free_port(), speech_to_text=program.place)
        front = Door(
            tmp_path, broker, house, "front-door", allowed=["identification"],
            identification={"enabled": True}, wyoming={"assistants": assistants},
        )  # fmt: skip
        enroll_talkers(front)
        between = Between(front)
        try:
            front.open()
            kitchen = Assist(house, "Kitchen", between.ports["kitchen"])
            bedroom = Assist(house, "Bedroom", between.ports["bedroom"])
            bedroom.say(sound_of(COMMAND, ROBIN))
            house.wait_for(SPEAKER.format("bedroom"), "Robin")
            kitchen.say(sound_of(COMMAND, STRANGER))
            house.wait_for(SPEAKER.format("kitchen"), "unknown voice")
            kitchen.say(sound_of(COMMAND, ADA))
            house.wait_for(SPEAKER.format("kitchen"), "Ada")
            assert front.service is not None
            feed(front.service, recording_of(READ[:3], ADA))
            house.wait_for(SPEAKER.format("front_door"), "Ada")
            house.wait_for("binary_sensor.edge_voice_front_door_present_ada", "on")
            with Browser(tmp_path / "browser") as window:
                base = f"http://127.0.0.1:{house.port}"
                take_pictures(
                    window, f"{base}/lovelace/who-speaks", "speakers", ((860, 800), (420, 1400)),
                    lambda text: "unknown voice" in text and text.count("Ada") > 3,
                )  # fmt: skip
                # The page shows what was said last.
                assert kitchen.say(sound_of(COMMAND, STRANGER)).error == "stt-no-text-recognized"
                address = f"{base}/config/voice-assistants/debug/{kitchen.id}"
                take_pictures(
                    window, address, "gate", ((860, 900),),
                    lambda text: "stt-no-text-recognized" in text,
                )  # fmt: skip
        finally:
            front.close()
            between.stop()
            front.run("discovery", "remove")
