"""The dashboard of docs/home-assistant.md, pasted, and looked at in a browser.

It leaves pictures in build/home-assistant, light and dark, wide and narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.types import FloatArray
from tests.home_assistant.browser import Browser, browser
from tests.home_assistant.dashboard import house_with_view, take_pictures
from tests.home_assistant.door import Door
from tests.home_assistant.home_assistant import REPOSITORY, HomeAssistant
from tests.integration.broker import Broker
from tests.integration.house import feed, speak

PAGE = (REPOSITORY / "docs/home-assistant.md").read_text(encoding="utf-8")
DEVICE = "front-door"


@pytest.fixture
def house(broker: Broker, tmp_path: Path) -> Iterator[HomeAssistant]:
    with house_with_view(PAGE, broker, tmp_path / "house", "dashboard.log") as made:
        yield made


def test_the_dashboard_shows_the_door(house: HomeAssistant, broker: Broker, tmp_path: Path) -> None:
    if browser() is None:
        pytest.fail("there is no browser (Debian: apt install chromium)")
    front = Door(tmp_path, broker, house, DEVICE, lockout={"rejections": 2, "first_s": 300.0})
    front.enroll_ada()
    try:
        front.open()
        assert front.service is not None
        for loudness in (0.001, 0.02, 0.005, 0.002, 0.001):
            level = front.home.state(front.entity("sound_level"))
            feed(front.service, _noise(loudness))
            front.wait_for("sound_level", lambda now, before=level: now != before)
        front.hear("stranger_other_phrase")
        front.hear("ada_right_phrase")
        front.tap("text.set_value", "enroll_person", value="Robin")
        front.wait_for("enroll_person", "Robin")
        front.tap("button.press", "enroll")
        front.wait_for("enrollment", "started")
        speak(front.service, "robin_enroll_1")
        message = front.wait_for("enrollment", "accepted")["attributes"]["message"]
        with Browser(tmp_path / "browser") as window:
            address = f"http://127.0.0.1:{house.port}/lovelace/front-door"
            seen = take_pictures(
                window, address, "dashboard", ((860, 960), (420, 1700)),
                lambda text: message in text and "Progress" in text,
            )  # fmt: skip
            for word in ("granted", "Ada", "high", "Robin"):
                assert word in seen
            front.tap("button.press", "enroll_cancel")
            front.tap("button.press", "lock_out")
            window.wait_for(lambda text: "Nobody is let in" in text)
    finally:
        front.close()
        front.run("discovery", "remove")


def _noise(loudness: float) -> FloatArray:
    samples = loudness * np.random.default_rng(0).normal(size=16_000)
    return samples.astype(np.float32)
