"""One Home Assistant, and one broker, for all the tests; it starts once and is started again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.home_assistant.door import Door
from tests.home_assistant.home_assistant import (
    FIRST_START_S,
    REPOSITORY,
    HomeAssistant,
    program,
)
from tests.integration.broker import Broker
from tests.integration.waiting import settled

LOG = REPOSITORY / "build/home-assistant/home-assistant.log"
"""Where its log is kept, for all the starts of one run of the tests."""

_BOLT = "input_boolean.garden_gate"
_LAMP = "input_boolean.robins_lamp"
THINGS = {
    "input_boolean": {
        "garden_gate": {"name": "Bolt of the gate"},
        "robins_lamp": {"name": "Robin's lamp"},
    },
    "lock": [
        {
            "platform": "template",
            "name": "Garden gate",
            "value_template": f"{{{{ is_state('{_BOLT}', 'off') }}}}",
            "lock": {"service": "input_boolean.turn_off", "target": {"entity_id": _BOLT}},
            "unlock": {"service": "input_boolean.turn_on", "target": {"entity_id": _BOLT}},
        }
    ],
    "light": [
        {
            "platform": "template",
            "lights": {
                "robins_room": {
                    "friendly_name": "Robin's room",
                    "value_template": f"{{{{ is_state('{_LAMP}', 'on') }}}}",
                    "turn_on": {
                        "service": "input_boolean.turn_on",
                        "target": {"entity_id": _LAMP},
                    },
                    "turn_off": {
                        "service": "input_boolean.turn_off",
                        "target": {"entity_id": _LAMP},
                    },
                }
            },
        }
    ],
}
"""What the documentation's automations open and switch."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.home_assistant)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """What it keeps is gone when it is killed, as after a new installation."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="session")
def running(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAssistant]:
    """Home Assistant with an owner and the MQTT integration."""
    if not Path(program()).exists():
        pytest.fail("there is no Home Assistant here; tools/test_home_assistant installs it")
    LOG.unlink(missing_ok=True)
    home = HomeAssistant(tmp_path_factory.mktemp("home-assistant"), LOG, **THINGS)
    try:
        home.start(FIRST_START_S)
        home.add_mqtt(broker)
        yield home
    finally:
        home.stop()


@pytest.fixture
def expected() -> list[str]:
    """Regular expressions of complaints in Home Assistant's log that a test brings about itself."""
    return []


@pytest.fixture
def home(running: HomeAssistant, expected: list[str]) -> Iterator[HomeAssistant]:
    """Home Assistant, which has nothing to complain of in the whole test."""
    since = running.logged()
    yield running
    assert not running.abroad(), "a test's Home Assistant has no business on the network"
    assert not running.complaints(since, tuple(expected)), f"the whole log: {LOG}"


@pytest.fixture
def door(
    home: HomeAssistant, broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Door]]:
    """Makes a door, with Ada enrolled if not told otherwise; the test over, it is gone again."""
    made: list[Door] = []

    def make(*, device: str = "", enrolled: bool = True, **options: Any) -> Door:
        name = re.sub(r"[^a-z]+", "-", request.node.name.partition("[")[0])[5:45].strip("-")
        made.append(Door(tmp_path, broker, home, device or name, **options))
        if enrolled:
            made[-1].enroll_ada()
        return made[-1]

    yield make
    if not home.alive:
        home.start()  # the test failed half way
    for one in made:
        one.close()
        done = one.run("discovery", "remove")
        assert done.returncode == 0, done.stderr
        assert settled(lambda: not one.shown()), one.shown()  # noqa: B023 - at once
