"""A scripted run: a real service at a real broker, fed with the demo recordings.

Recorded are the messages that each step waits for, since their order across topics is nobody's
promise. What differs from one run to the next is replaced (see `Steady`).
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge.crypto.canonical import wire
from edge.crypto.signing import PrivateKey, key_in
from edge.mqtt.commands import command_message
from tests.integration.broker import Broker, Received, Subscriber, connected, send
from tests.integration.house import DEMO, feed, is_listening, speak, stop
from tests.integration.test_signed_service import SignedHouse, trail, varied

DEVICE = "test-door"
BUTTONS = ("listening", "lift_lockout", "lock_out", "enroll", "enroll_cancel", "enroll_person")
SETTINGS: dict[str, Any] = {
    "lockout": {"rejections": 3, "within_s": 3600.0, "first_s": 3600.0},
    "homeassistant": {"discovery": True},
}

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"(?<![0-9a-f])([0-9]+:)?[0-9a-f]{64}(?![0-9a-f])")
_KEY_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{86}==")
_VARYING = {
    "timings_ms", "lost_samples", "discarded_utterances", "late_decisions", "dropped_decisions",
    "uid", "version", "sw_version",
}  # fmt: skip
_Check = Callable[[Any], bool]


class Steady:
    """Replaces what differs from one run to the next.

    - ids and ids of keys are numbered in the order in which they appear: `<id 1>`, `<key 1>`;
    - times are `<time>`, an end is how long after `time`, or else `issued_at`, it comes:
      `<5 s later>`; numbers above 10^12 are times as well;
    - signatures are `<signature>`, MACs and heads of the audit trail `<mac>`;
    - what is measured, what a busy machine loses, the user and the version (`_VARYING`) are the
      name of that.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def of(self, value: Any, name: str = "") -> Any:
        """A JSON value that is the same in every run."""
        if isinstance(value, dict):
            steady = {
                key: self.of(inner, name if name in _VARYING else key)
                for key, inner in value.items()
            }
            for start in ("time", "issued_at"):
                if "expires_at" in value and start in value:
                    seconds = _seconds(value["expires_at"]) - _seconds(value[start])
                    steady["expires_at"] = f"<{seconds:.1f} s after {start}>"
                    break
            return steady
        if isinstance(value, list):
            return [self.of(inner, name) for inner in value]
        if name in _VARYING:
            return f"<{name}>"
        if isinstance(value, str):
            return self._text(value)
        is_time = type(value) in (int, float) and value > 1e12
        return "<time>" if is_time else value

    def message(self, step: int, message: Received) -> dict[str, Any]:
        """A message as it is recorded."""
        content = self.of(_parsed(message.text))
        return {"step": step, "topic": message.topic, "message": content}

    def _text(self, text: str) -> str:
        text = _BASE64.sub("<signature>", _TIME.sub("<time>", text))
        text = _UUID.sub(lambda match: self._numbered("id", match[0]), _HEX.sub("<mac>", text))
        return _KEY_ID.sub(lambda match: self._numbered("key", match[0]), text)

    def _numbered(self, what: str, text: str) -> str:
        count = sum(label.startswith(f"<{what}") for label in self._numbers.values())
        return self._numbers.setdefault(text, f"<{what} {count + 1}>")


class Script:
    """A house, a subscriber to all that it says, and somebody who commands."""

    def __init__(self, house: SignedHouse, home: Subscriber, client: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self._house, self._home, self._client = house, home, client
        self._owner = key_in(house.owner)
        self._steady = Steady()
        self._service: subprocess.Popen[bytes] | None = None
        self._step = 0

    def start(self, enrolled: int) -> None:
        """Start the service."""
        self._next()
        self._service = self._house.start("--input", "-")
        feed(self._service, np.zeros(16_000))
        self._await("/status", lambda s: is_listening(s) and s["enrolled"] == enrolled)

    def stop(self) -> None:
        """Stop the service."""
        self._next()
        self.kill()
        self._await("/status", lambda s: s["state"] == "offline")

    def kill(self) -> None:
        """Stop the service, if it runs."""
        if self._service is not None:
            service, self._service = self._service, None
            stop(service)

    def say(self, recording: str, *endings: str, status: _Check | None = None) -> None:
        """Play a recording to the service, and record what comes on these topics."""
        assert self._service is not None
        self._next()
        speak(self._service, recording)
        self._record(endings, status)

    def command(
        self, name: str, *endings: str, status: _Check | None = None, **arguments: Any
    ) -> None:
        """Send a signed command; its answer is recorded, and what comes on these topics."""
        message = command_message(name, arguments, DEVICE, self._owner)
        self._publish("command", wire(message))
        for ending in ("/command", "/command/result"):
            self._await(ending, lambda m: m["id"] == message["id"])
        self._record(endings, status)

    def forge(self) -> None:
        """Send a command that somebody else signed."""
        message = command_message("disarm", {}, DEVICE, PrivateKey(b"x" * 32))
        self._publish("command", wire(message))

    def press(self, name: str, payload: str, *endings: str, status: _Check) -> None:
        """Send what a button of Home Assistant sends."""
        self._publish(f"set/{name}", payload)
        self._record(endings, status)

    def confirm(self, person: str, status: _Check) -> None:
        """Confirm an enrollment at the command line, as a part of the step before."""
        done = self._house.run("profiles", "confirm", person)
        assert done.returncode == 0, done.stderr
        self._record((), status)

    def audited(self, entries: list[dict[str, Any]]) -> None:
        """Record the audit trail."""
        self.lines += [{"entry": self._steady.of(entry)} for entry in entries]

    def announced(self, messages: list[Received]) -> None:
        """Record what Home Assistant was told, the last on each topic."""
        self._next()
        latest = {message.topic: message for message in messages}
        for topic in sorted(latest):
            self.lines.append(self._steady.message(self._step, latest[topic]))

    def _publish(self, suffix: str, text: str) -> None:
        self._next()
        send(self._client, f"edge-voice/{DEVICE}/{suffix}", text)

    def _next(self) -> None:
        self._step += 1
        self._home.messages.clear()

    def _record(self, endings: tuple[str, ...], status: _Check | None) -> None:
        for ending in endings:
            self._await(ending)
        if status is not None:
            self._await("/status", status)

    def _await(self, ending: str, check: _Check = lambda _: True) -> None:
        found = self._home.wait_for(f"{DEVICE}{ending}", check)
        self.lines.append(self._steady.message(self._step, found))


def scripted_run(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of the run."""
    with Broker(folder / "broker") as broker:
        unsigned = dict.fromkeys(BUTTONS, True)
        house = SignedHouse(folder, broker, unsigned=unsigned, **SETTINGS)
        with (
            Subscriber(broker) as home,
            Subscriber(broker, "homeassistant/#") as assistant,
            connected(broker) as client,
        ):
            script = Script(house, home, client)
            try:
                _first_day(script)
                files = varied(str(DEMO / "ada_wrong_phrase.flac"), folder)
                done = house.run("enroll", "Ada", "--duress", *files)
                assert done.returncode == 0, done.stderr
                _second_day(script)
            finally:
                script.kill()
            script.announced(assistant.messages)
            script.audited(trail(house))
    yield from script.lines


def _first_day(script: Script) -> None:
    script.start(enrolled=0)
    script.say("ada_right_phrase", "/decision")
    _enroll(script)
    for recording in ("ada_right_phrase", "ada_wrong_phrase", "stranger_other_phrase"):
        script.say(recording, "/decision")
    for name in ("ping", "status", "list", "challenge"):
        script.command(name)
    script.forge()
    script.command("disable", person="Nobody")
    script.command("disable", person="Ada")
    script.say("ada_right_phrase", "/decision")
    script.command("enable", person="Ada")
    script.command("disarm", status=lambda s: not s["listening"])
    script.press("listening", "ON", status=lambda s: s["listening"])
    _lock_out(script)
    script.stop()


def _enroll(script: Script) -> None:
    script.command(
        "enroll_start",
        "/enrollment",
        status=lambda s: s["enrolling"],
        person="Ada",
        phrase="what Ada says",
    )
    script.say("ada_enroll_1", "/enrollment")
    script.say("stranger_adas_phrase", "/enrollment")
    script.say("ada_wrong_phrase", "/enrollment")
    script.say("ada_enroll_2", "/enrollment")
    script.say("ada_enroll_3", "/enrollment")
    script.confirm("Ada", status=lambda s: s["enrolled"] == 1)
    script.command("enroll_start", person="Ada")
    script.command("enroll_start", "/enrollment", person="Robin")
    script.press("enroll_cancel", "PRESS", "/enrollment", status=lambda s: not s["enrolling"])


def _lock_out(script: Script) -> None:
    script.say("stranger_adas_phrase", "/decision")
    script.say("stranger_adas_phrase", "/decision")
    script.say("stranger_adas_phrase", "/decision", status=lambda s: s["locked_out"])
    script.say("ada_right_phrase", "/decision")
    script.command("lift_lockout", status=lambda s: not s["locked_out"])
    script.press("lock_out", "PRESS", status=lambda s: s["locked_out"])
    script.press("lift_lockout", "PRESS", status=lambda s: not s["locked_out"])


def _second_day(script: Script) -> None:
    script.start(enrolled=1)
    script.say("ada_right_phrase", "/decision")
    script.say("ada_wrong_phrase", "/decision", "/duress")
    script.command("reset", status=lambda s: s["enrolled"] == 0, person="Ada")
    script.command("delete", person="Ada")
    script.stop()


def _parsed(text: str) -> Any:
    return json.loads(text) if text else None


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
