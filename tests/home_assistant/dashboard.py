"""A Home Assistant whose only dashboard is a view of the documentation, and pictures of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.home_assistant.browser import Browser
from tests.home_assistant.conftest import LOG
from tests.home_assistant.home_assistant import HomeAssistant
from tests.integration.broker import Broker

_ANY_BROWSER_OF_THIS_MACHINE = {
    "auth_providers": [
        {
            "type": "trusted_networks",
            "trusted_networks": ["127.0.0.1"],
            "allow_bypass_login": True,
        },
        {"type": "homeassistant"},
    ]
}
_TROUBLE = ("Unknown type", "not available", "not found", "Error")


@contextmanager
def house_with_view(page: str, broker: Broker, folder: Path, log: str) -> Iterator[HomeAssistant]:
    """A Home Assistant of its own, set up to the end.

    Args:
        page: the text of a page, with the view in it.
        broker: the one that it is connected to.
        folder: where its configuration goes.
        log: the name of its log.
    """
    (view,) = re.findall(r"^```yaml\n(- title:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    made = HomeAssistant(
        folder, LOG.with_name(log), lovelace={"mode": "yaml"}, history={}, logbook={}
    )
    configuration = made.folder / "configuration.yaml"
    text = configuration.read_text().replace("!include automations.yaml", "[]")
    settings = yaml.safe_load(text)
    settings["homeassistant"].update(_ANY_BROWSER_OF_THIS_MACHINE)
    configuration.write_text(yaml.safe_dump(settings))
    views = yaml.safe_dump({"views": yaml.safe_load(view)}, sort_keys=False)
    (made.folder / "ui-lovelace.yaml").write_text(views)
    try:
        made.start()
        made.add_mqtt(broker)
        made.stop()
        # The rest of the setup would fetch the weather.
        steps = made.folder / ".storage/onboarding"
        done = json.loads(steps.read_text())
        done["data"]["done"] = ["user", "core_config", "analytics", "integration"]
        steps.write_text(json.dumps(done))
        made.start()
        yield made
        assert not made.complaints()
    finally:
        made.stop()


def take_pictures(
    window: Browser,
    address: str,
    name: str,
    sizes: Sequence[tuple[int, int]],
    complete: Callable[[str], bool],
) -> str:
    """Look at a page, light and dark, in windows of some sizes, once its text is complete.

    Returns:
        The text of the last one. The pictures are beside the log.
    """
    seen = ""
    for dark in (False, True):
        for width, height in sizes:
            window.open(address, width, height, dark=dark)
            seen = window.wait_for(complete)
            for trouble in _TROUBLE:
                assert trouble not in seen
            picture = f"{name}-{width}-{'dark' if dark else 'light'}.png"
            LOG.with_name(picture).write_bytes(window.picture())
    return seen
