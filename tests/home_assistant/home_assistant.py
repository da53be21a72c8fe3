"""A real Home Assistant of its own on a loopback port: to set up, ask, tell, stop and start again.

Everything is done as its web page does it, over its own HTTP interface: the owner's account, the
MQTT integration, the states, the services. Nothing is written behind its back but the
configuration file, which holds no more than is needed, so that it looks for nothing on the network.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.home_assistant.events import Bus, Watch
from tests.integration.broker import Broker, free_port
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST_START_S = 420.0
"""Its first start installs what its integrations need."""
HARMLESS = (
    # Home Assistant about libraries that its own container image contains.
    r"\[aiohttp_fast_zlib\] zlib_ng and isal are not available",
    r"\[homeassistant\.components\.camera\.img_util\] Error loading libturbojpeg",
    # Home Assistant about the debug log that is asked for here, and a new device for each test.
    r"\[homeassistant\.util\.logging\] Module homeassistant\.\S+ is logging too frequently",
    # Home Assistant about a machine too slow for it, which one that also runs tests may be.
    r"\[homeassistant\.bootstrap\] Waiting on integrations to complete setup",
    r"\[homeassistant\.setup\] Setup of \S+ is taking over",
    r"\[homeassistant\.util\.executor\] Thread\[\w+\] is still running at shutdown",
)
"""Complaints that are none about what the device announces, and cannot be."""
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ([A-Z]+) \(")


class HomeAssistant:
    """Home Assistant Core with a configuration folder of its own.

    Args:
        folder: where its configuration goes.
        log: what it says is appended here, and stays.
        extra: sections of its configuration beside the needed ones.
    """

    def __init__(self, folder: Path, log: Path, **extra: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = log
        self.port = free_port()
        self._address = f"http://127.0.0.1:{self.port}"
        self.token: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._bus: Bus | None = None
        configuration = {
            "homeassistant": {
                "name": "Test house",
                "latitude": 0,
                "longitude": 0,
                "elevation": 0,
                "unit_system": "metric",
                "time_zone": "UTC",
                "currency": "EUR",
                "country": "NL",
            },
            "http": {"server_host": "127.0.0.1", "server_port": self.port},
            # What MQTT brings is in the log, so that a complaint can be understood.
            "logger": {"default": "info", "logs": {"homeassistant.components.mqtt": "debug"}},
            **extra,
        }
        text = yaml.safe_dump(configuration) + "automation: !include automations.yaml\n"
        (folder / "configuration.yaml").write_text(text)
        (folder / "automations.yaml").write_text("[]\n")

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, within_s: float = PATIENCE) -> None:
        """Start it and wait until it says that it runs."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "--config", str(self.folder), "--log-no-color"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._until(self._answers, within_s, "does not answer")
        if self.token is None:
            self.token = self._new_owner()
        self._until(lambda: self.get("config")["state"] == "RUNNING", within_s, "does not start")
        self._bus = Bus(self.port, self.token)

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def add(self, integration: str, **settings: Any) -> str:
        """Add an integration, as its settings page does.

        Returns:
            The id of its entry.
        """
        made = self._fill("config/config_entries/flow", integration, settings)
        return str(made["result"]["entry_id"])

    def configure(self, entry: str, **options: Any) -> None:
        """Change the options of an integration's entry."""
        self._fill("config/config_entries/options/flow", entry, options)

    def remove(self, entry: str) -> None:
        """Remove an integration's entry."""
        self._request(f"config/config_entries/entry/{entry}", method="DELETE")

    def add_mqtt(self, broker: Broker) -> None:
        """Add the MQTT integration."""
        self.add("mqtt", broker="127.0.0.1", port=broker.port)

    def get(self, path: str) -> Any:
        return self._request(path)

    def post(self, path: str, **content: Any) -> Any:
        return self._request(path, json.dumps(content).encode())

    def call(self, service: str, entity: str, **content: Any) -> None:
        """Call a service such as `switch.turn_off`, as a tap on the entity does."""
        self.post(f"services/{service.replace('.', '/')}", entity_id=entity, **content)

    def automate(self, text: str) -> None:
        """Have these automations, in YAML, and no others."""
        (self.folder / "automations.yaml").write_text(text)
        self.post("services/automation/reload")

    def watch(self, event: str) -> Watch:
        """What happens from now on of one type, such as `call_service`."""
        assert self._bus is not None
        return Watch(self._bus, event)

    def template(self, text: str) -> Any:
        """What a template comes to, read as JSON."""
        return self.post("template", template=f"{{{{ ({text}) | to_json }}}}")

    def entity_of(self, entry: str, kind: str) -> str:
        """The only entity of a kind, such as `stt`, that an integration's entry has."""
        of = f"integration_entities(config_entry_attr('{entry}', 'domain'))"
        text = f"{of} | select('search', '^{kind}[.]') | list"
        found: list[str] = []

        def there() -> bool:
            found[:] = [
                entity
                for entity in self.template(text)
                if self.template(f"config_entry_id('{entity}')") == entry
            ]
            return len(found) == 1

        assert settled(there), found
        return found[0]

    def state(self, entity: str) -> dict[str, Any] | None:
        """State and attributes of an entity; None where there is none of that name."""
        try:
            found = self.get(f"states/{entity}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return dict(found)

    def wait_for(self, entity: str, wanted: Any) -> dict[str, Any]:
        """The entity once its state is `wanted`, or passes it where it is a function."""
        check: Callable[[dict[str, Any]], bool] = (
            wanted if callable(wanted) else lambda got: got["state"] == wanted
        )
        seen: list[dict[str, Any] | None] = []

        def shown() -> bool:
            seen[:] = [self.state(entity)]
            return seen[0] is not None and check(seen[0])

        assert settled(shown), f"{entity}: {seen}"
        assert seen[0] is not None
        return seen[0]

    def complaints(self, since: int = 0, expected: tuple[str, ...] = ()) -> list[str]:
        """Warnings and errors in the log after that many bytes, but the harmless and the expected.

        Args:
            since: what came before is left out.
            expected: regular expressions of what is due to the test itself.
        """
        with self.log.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        allowed = [re.compile(pattern) for pattern in (*HARMLESS, *expected)]
        found: list[str] = []
        inside = excused = False
        for line in lines:
            record = _RECORD.match(line)
            if record is not None:
                bad = record[1] in ("WARNING", "ERROR", "CRITICAL", "FATAL")
                excused = bad and any(pattern.search(line) for pattern in allowed)
                inside = bad and not excused
                if inside:
                    found.append(line)
            elif inside:
                found[-1] += "\n" + line
            elif "Traceback (most recent call last)" in line and not excused:
                inside = True
                found.append(line)
        return found

    def abroad(self) -> list[str]:
        """Where it listens or is connected to that is not this machine; nowhere, one hopes."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).net_connections("inet")
        ends = [one.raddr or one.laddr for one in found if one.raddr or one.status == "LISTEN"]
        return [f"{end.ip}:{end.port}" for end in ends if end.ip != "127.0.0.1"]

    def logged(self) -> int:
        """How long the log is by now, bytes."""
        return self.log.stat().st_size

    def _fill(self, flow: str, handler: str, content: dict[str, Any]) -> dict[str, Any]:
        """Fill in a form, and the next ones too if it has several pages."""
        form = self.post(flow, handler=handler)
        while form["type"] == "form":
            assert not form["errors"], form
            wanted = [each["name"] for each in form["data_schema"]]
            page = {name: content[name] for name in wanted if name in content}
            form = self.post(f"{flow}/{form['flow_id']}", **page)
        assert form["type"] == "create_entry", form
        return dict(form)

    def _answers(self) -> bool:
        try:
            self.get("onboarding" if self.token is None else "config")
        except urllib.error.HTTPError as error:
            return error.code not in (404, 503)
        return True

    def _until(self, check: Callable[[], bool], within_s: float, trouble: str) -> None:
        def done() -> bool:
            assert self._process is not None
            ended = self._process.poll()
            assert ended is None, f"Home Assistant ended with {ended}; its log: {self.log}"
            try:
                return check()
            except OSError:
                return False  # it does not listen yet

        assert settled(done, within_s), f"Home Assistant {trouble}; its log: {self.log}"

    def _new_owner(self) -> str:
        client = f"{self._address}/"
        made = self.post(
            "onboarding/users",
            client_id=client,
            name="Owner",
            username="owner",
            password="owner",  # noqa: S106 - of a house that exists for minutes, on loopback
            language="en",
        )
        form = {
            "client_id": client,
            "grant_type": "authorization_code",
            "code": made["auth_code"],
        }
        answer = self._request("auth/token", urllib.parse.urlencode(form).encode(), below="")
        return str(answer["access_token"])

    def _request(
        self,
        path: str,
        content: bytes | None = None,
        below: str = "api/",
        method: str | None = None,
    ) -> Any:
        address = f"{self._address}/{below}{path}"
        request = urllib.request.Request(address, content, method=method)  # noqa: S310
        if content is not None and below:
            request.add_header("Content-Type", "application/json")
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        with _OPENER.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)


# A proxy that the environment names has no business between the test and loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def program() -> str:
    """The program to start: $HASS, or that of the environment tools/test_home_assistant made."""
    return os.environ.get("HASS") or str(REPOSITORY / ".venv-home-assistant/bin/hass")
