"""One Home Assistant, and one broker, for all the tests; it starts once and is started again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home_assistant.home_assistant import FIRST_START_S, REPOSITORY, HomeAssistant, program
from tests.integration.broker import Broker

LOG = REPOSITORY / "build/home-assistant/home-assistant.log"
"""Where its log is kept, for all the starts of one run of the tests."""


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
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    home = HomeAssistant(tmp_path_factory.mktemp("home-assistant"), LOG)
    try:
        home.start(FIRST_START_S)
        home.add_mqtt(broker)
        yield home
    finally:
        home.stop()
