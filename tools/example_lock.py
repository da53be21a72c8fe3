#!/usr/bin/env python3
"""An example lock that opens only for genuine decisions of one device.

Read it, copy it, build it into a lock. It is one file that needs paho-mqtt, and for Ed25519 the
package cryptography. Put the public key that `edge-voice signing public-key` prints in a file:

    example_lock.py --device front-door --key front-door.pub --state /var/lib/lock/counter
                    --open-command "gpioset --toggle 3s,0 gpiochip0 17=1"

It opens for a message on BASE/DEVICE/decision that

 1. is at most 8 KiB of strict JSON: one object, no member twice, no NaN, ordinary numbers;
 2. was not retained by the broker;
 3. is signed with this key, in the domain `decision`;
 4. names this device;
 5. has not expired by this lock's own clock, and was not issued in the future;
 6. has a higher counter than all before, which is written to disk before the lock opens;
 7. is `granted` with the reason `recognized`.

Everything else is refused, with the reason as a line of JSON in the log. With `--home-assistant`
Home Assistant shows whether it is open and what it refused last; nothing from Home Assistant is
read, and there is no button to open it. The lock needs a clock that is right to a second or two
(NTP); with a wrong one it stays shut. Limit the size of messages at the broker (Mosquitto:
message_size_limit), or someone can fill this lock's memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MAX_BYTES = 8192
MAX_LIFETIME_S = 60.0
LARGEST_INTEGER = 2**53 - 1
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)


class Refused(Exception):
    """A message does not open the lock; the text is the reason, one word."""


# --- 1. Strict JSON ---


def read_strictly(payload: bytes) -> dict[str, Any]:
    """The object in the payload, or Refused."""
    if len(payload) > MAX_BYTES:
        raise Refused("too_large")
    if payload.count(b"{") + payload.count(b"[") > 64:  # deep nesting costs a parser its stack
        raise Refused("too_deep")
    try:
        message = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=once_each,
            parse_int=integer,
            parse_float=number,
            parse_constant=no_number,
        )
        canonical(message)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None
    if not isinstance(message, dict):
        raise Refused("not_an_object")
    return message


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated names, which other parsers may read differently."""
    if len(dict(pairs)) != len(pairs):
        raise Refused("duplicate_member")
    return dict(pairs)


def integer(digits: str) -> int:
    """An integer that a double holds exactly."""
    if len(digits) > 17 or abs(int(digits)) > LARGEST_INTEGER:
        raise Refused("bad_number")
    return int(digits)


def number(digits: str) -> float:
    """A float of a size that every language writes the same way."""
    value = float(digits) if len(digits) <= 32 else 0.0
    if value.is_integer() or not 1e-4 <= abs(value) <= 1e15:
        raise Refused("bad_number")
    return value


def no_number(_: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise Refused("bad_number")


# --- 3. The signature ---


def canonical(message: Any) -> bytes:
    """RFC 8785 for the device's messages: sorted, no spaces, UTF-8."""
    return json.dumps(message, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_bytes(message: dict[str, Any], algorithm: str, key_id: str) -> bytes:
    """The signed bytes: domain, algorithm, key id and the message without its signature."""
    bare = {name: value for name, value in message.items() if name != "signature"}
    return f"edge-voice/1\ndecision\n{algorithm}\n{key_id}\n".encode() + canonical(bare)


class Key:
    """The device's key: 64 or more hexadecimal digits (HMAC), or a public key as base64."""

    def __init__(self, text: str) -> None:
        self.verify: Callable[[bytes, bytes], bool]
        if re.fullmatch(r"[0-9A-Fa-f]{64,128}", text):
            secret = bytes.fromhex(text)
            self.algorithm = "hmac-sha256"
            self.verify = lambda data, value: hmac.compare_digest(
                hmac.new(secret, data, hashlib.sha256).digest(), value
            )
        else:
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (only if needed)
            from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
                Ed25519PublicKey,
            )

            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
            self.algorithm = "ed25519"

            def verify(data: bytes, value: bytes) -> bool:
                try:
                    public.verify(value, data)
                except InvalidSignature:
                    return False
                return True

            self.verify = verify

    def check(self, message: dict[str, Any]) -> None:
        """Return if the message carries this key's signature, or raise Refused."""
        signature = message.get("signature")
        if signature is None:
            raise Refused("unsigned")
        # The algorithm is this key's, never the message's choice.
        if not isinstance(signature, dict) or signature.get("algorithm") != self.algorithm:
            raise Refused("bad_signature")
        key_id, value = signature.get("key_id"), signature.get("value")
        if not (isinstance(key_id, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", key_id)):
            raise Refused("bad_signature")
        try:
            given = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
        except ValueError:
            raise Refused("bad_signature") from None
        if not self.verify(signed_bytes(message, self.algorithm, key_id), given):
            raise Refused("bad_signature")


# --- 5. The time ---


def check_time(message: dict[str, Any], allowance_s: float) -> None:
    """Return if the message is valid now, or raise Refused."""
    issued, expires = unix(message.get("issued_at")), unix(message.get("expires_at"))
    now = time.time()
    if expires - issued > MAX_LIFETIME_S:
        raise Refused("lives_too_long")
    if now > expires + allowance_s:
        raise Refused("late")
    if now < issued - allowance_s:
        raise Refused("not_yet")


def unix(text: Any) -> float:
    """Seconds since 1970 of a time such as 2026-03-01T12:00:00.000Z."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        raise Refused("bad_time")
    try:
        return datetime.fromisoformat(f"{text[:-1]}+00:00").timestamp()
    except ValueError:
        raise Refused("bad_time") from None


# --- 6. Once only ---


class Counter:
    """The highest accepted counter, in a file that is replaced as a whole."""

    def __init__(self, file: Path) -> None:
        self.file = file
        # Without the file the lock is new. With a damaged one it must not guess: it stops.
        self.highest = int(file.read_text(encoding="ascii")) if file.exists() else 0

    def check(self, message: dict[str, Any]) -> int:
        """The message's counter, if higher than all before, or Refused."""
        number = message.get("counter")
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise Refused("bad_counter")
        if number <= self.highest:
            raise Refused("repeated")
        return number

    def remember(self, number: int) -> None:
        """Write the counter to disk before the lock opens, or raise Refused."""
        try:
            handle, name = tempfile.mkstemp(dir=self.file.parent)
            with os.fdopen(handle, "w", encoding="ascii") as out:
                out.write(f"{number}\n")
                out.flush()
                os.fsync(out.fileno())
            Path(name).replace(self.file)
            folder = os.open(self.file.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError:
            raise Refused("cannot_remember") from None
        self.highest = number


# --- The lock ---


class Lock:
    """Decides about messages one at a time."""

    def __init__(self, device: str, key: Key, counter: Counter, allowance_s: float) -> None:
        self.device = device
        self.key = key
        self.counter = counter
        self.allowance_s = allowance_s

    def consider(self, payload: bytes, *, retained: bool) -> dict[str, Any]:
        """The decision to open on, or Refused."""
        message = read_strictly(payload)
        if retained:
            raise Refused("retained")
        self.key.check(message)
        if message.get("device") != self.device:
            raise Refused("other_device")
        check_time(message, self.allowance_s)
        number = self.counter.check(message)
        if message.get("decision") == "denied":
            raise Refused("denied")
        if message.get("decision") != "granted" or message.get("reason") != "recognized":
            raise Refused("not_granted")
        self.counter.remember(number)
        return message


class Shown:
    """The lock in Home Assistant: a sensor, because it takes no commands.

    Anyone on the broker can write to its topics, so the display may be forged; the lock is not.
    """

    def __init__(self, client: mqtt.Client, args: argparse.Namespace) -> None:
        self.client = client
        self.topic = f"edge-voice-lock/{args.device}/status"
        self.status = {"state": "online", "lock": "locked", "last_refused": "nothing"}
        self.said_at = 0.0
        name = f"edge_voice_lock_{args.device}"
        self.config_topic = f"{args.home_assistant}/binary_sensor/{name}/lock/config"
        self.config = {
            "name": "Lock", "unique_id": name, "device_class": "lock", "object_id": name,
            "default_entity_id": f"binary_sensor.{name.replace('-', '_').lower()}",
            "state_topic": self.topic, "json_attributes_topic": self.topic,
            # Ignore anything but a JSON object: anyone may have sent it.
            "value_template": "{{ value_json.lock | default('None') "
            "if value_json is mapping else 'None' }}",
            "payload_on": "open", "payload_off": "locked", "off_delay": args.open_s,
            "availability_topic": self.topic, "availability_template": "{{ value_json.state "
            "if value_json is mapping and value_json.state is defined else 'offline' }}",
            "device": {"identifiers": [name], "name": f"Lock of {args.device}"},
        }  # fmt: skip
        client.will_set(self.topic, '{"state":"offline"}', qos=1, retain=True)

    def announce(self) -> None:
        """Announce the lock after a connection."""
        self.client.publish(self.config_topic, json.dumps(self.config), qos=1, retain=True)
        self.say()

    def opened(self) -> None:
        """Publish that it is open; Home Assistant shows it as locked again after `open_s`."""
        self.client.publish(self.topic, json.dumps({**self.status, "lock": "open"}), qos=1)

    def refused(self, reason: str) -> None:
        """Publish a refusal, at most once a second, so that a flood is not doubled."""
        if reason != "denied" and time.monotonic() - self.said_at > 1.0:
            self.said_at = time.monotonic()
            self.say(last_refused=reason)

    def say(self, **changes: str) -> None:
        """Publish the state of the lock, retained."""
        self.status.update(changes)
        self.client.publish(self.topic, json.dumps(self.status), qos=1, retain=True)


def main() -> int:
    """Run until stopped."""
    args = arguments()
    try:
        text = args.key.read_text(encoding="ascii").strip()
        lock = Lock(args.device, Key(text), Counter(args.state), args.clock_allowance)
        password = args.password_file.read_text().rstrip("\n") if args.password_file else None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"example_lock: cannot start: {error}\n")
        return 2
    log = args.log.open("a", encoding="utf-8", buffering=1) if args.log else sys.stdout
    topic = f"{args.base_topic}/{args.device}/decision"

    def note(result: str, **fields: Any) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": now.replace("+00:00", "Z"), "result": result, **fields}
        log.write(json.dumps(line) + "\n")
        log.flush()

    def on_message(_client: Any, _data: Any, arrived: mqtt.MQTTMessage) -> None:
        try:
            decision = lock.consider(bytes(arrived.payload), retained=bool(arrived.retain))
        except Refused as refused:
            note("refused", reason=str(refused), bytes=len(arrived.payload))
            if shown:
                shown.refused(str(refused))
            return
        except Exception as error:  # noqa: BLE001 (whatever it is, the lock stays shut)
            note("refused", reason="error", error=repr(error)[:200])
            return
        note("opened", id=decision.get("id"), counter=decision["counter"])
        if args.open_command:
            # Do not wait: the next message must be checked at once.
            subprocess.Popen(shlex.split(args.open_command), stdin=subprocess.DEVNULL)
        if shown:
            shown.opened()

    def on_connect(client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _: Any) -> None:
        note("connected" if not reason.is_failure else "no_connection", reason=str(reason))
        client.subscribe(topic, qos=1)
        if shown:
            shown.announce()

    # A clean session: nothing published while this lock was away may open it.
    client = mqtt.Client(CallbackAPIVersion.VERSION2, clean_session=True)
    shown = Shown(client, args) if args.home_assistant else None
    client.on_connect = on_connect
    client.on_message = on_message
    client.on_subscribe = lambda *_: note("listening", topic=topic)
    if args.username:
        client.username_pw_set(args.username, password)
    if args.ca_file:
        client.tls_set(ca_certs=str(args.ca_file))
    client.reconnect_delay_set(1, 10)
    for number in (signal.SIGTERM, signal.SIGINT):
        # With Home Assistant, no clean disconnect: the broker then publishes the will.
        signal.signal(number, lambda *_: sys.exit() if shown else client.disconnect())
    client.connect_async(args.host, args.port)
    client.loop_forever(retry_first_connection=True)
    return 0


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Open for genuine decisions of one device.")
    parser.add_argument("--device", required=True, help="the device.id that may open this lock")
    parser.add_argument("--key", required=True, type=Path, help="file with the device's key")
    parser.add_argument("--state", required=True, type=Path, help="file for the highest counter")
    parser.add_argument("--open-command", help="command that opens the lock")
    parser.add_argument(
        "--open-s", type=int, default=3, help="how long it is open, seconds (default: 3)"
    )
    parser.add_argument("--home-assistant", metavar="PREFIX", help="announce it to Home Assistant")
    parser.add_argument("--log", type=Path, help="log file (default: standard output)")
    parser.add_argument("--clock-allowance", type=float, default=1.0, help="seconds (default: 1)")
    parser.add_argument("--host", default="localhost", help="the broker")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--base-topic", default="edge-voice")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    parser.add_argument("--ca-file", type=Path, help="use TLS and trust this CA")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
