"""The answers that set a device up, and their defaults."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge.config import Config, all_settings
from edge.config.editing import written
from edge.config.values import ValueProblem, convert
from edge.errors import InputError

PRESETS = {"door": "strict, for a front door", "home": "forgiving, opens nothing"}
PASSWORD, STORE_KEY, SIGNING_KEY, CA = "mqtt-password", "store-key", "signing-key", "ca.pem"
"""Files beside the configuration; the unit passes the first three to the service."""

_MOST_ID = 64


@dataclass(frozen=True)
class SetupAnswers:
    """What setup asks for; None is the default microphone or port, no user, or the system's CAs.

    For the password, None keeps the current one.
    """

    name: str
    device_id: str
    microphone: int | str | None
    host: str
    port: int | None
    username: str | None
    password: str | None = field(repr=False)
    tls: bool
    ca_file: Path | None
    discovery: bool
    signing: bool

    @property
    def broker(self) -> str:
        """Host, and port if it is not the default."""
        return self.host if self.port is None else f"{self.host}:{self.port}"


def present(config: Config, preset: str) -> SetupAnswers:
    """The answers in a configuration; `preset` is empty for one that existed before."""
    mqtt = config.mqtt
    ca_file = mqtt.tls.ca_file
    return SetupAnswers(
        name=config.device.name,
        device_id=config.device.id,
        microphone=config.audio.device,
        host=mqtt.host,
        port=mqtt.port,
        username=mqtt.username,
        password=None,
        tls=mqtt.tls.enabled,
        ca_file=ca_file if ca_file is None or ca_file.is_file() or not preset else None,
        discovery=config.homeassistant.discovery,
        # A lock should verify decisions; an existing configuration keeps its own choice.
        signing=config.signing.key_file is not None or preset == "door",
    )


def checked(path: str, value: bool | int | str | Path | None) -> Any:
    """An answer converted to the setting at a path such as `mqtt.host`.

    Raises:
        InputError: it is invalid; the text says what is right.
    """
    row = next(row for row in all_settings() if row.path == path)
    try:
        return convert(yaml.compose(written(value)) or yaml.ScalarNode("", ""), row)
    except (ValueProblem, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from None


def broker(text: str) -> tuple[str, int | None]:
    """Host and port in `HOST` or `HOST:PORT`; an IPv6 address with a port needs brackets.

    Raises:
        InputError: it is not a broker's address.
    """
    match = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?", text.strip())
    if match is None:
        host, port = text.strip(), ""  # an IPv6 address, or invalid
    else:
        host, port = match[1] or match[3], match[2] or match[4] or ""
    number = checked("mqtt.port", int(port)) if port else None
    return checked("mqtt.host", host), number


def id_of(name: str) -> str:
    """An id for MQTT topics made from a display name: `Haustür` becomes `haustur`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    words = re.findall(r"[A-Za-z0-9_]+", plain)
    return "-".join(words).lower()[:_MOST_ID].strip("-") or "device"


def settings(answers: SetupAnswers) -> dict[str, bool | int | str | Path | None]:
    """The settings that follow from the answers, by path, without the secrets."""
    return {
        "device.name": answers.name,
        "device.id": answers.device_id,
        "audio.device": answers.microphone,
        "mqtt.host": answers.host,
        "mqtt.port": answers.port,
        "mqtt.username": answers.username,
        "mqtt.tls.enabled": answers.tls,
        "mqtt.tls.ca_file": answers.ca_file if answers.tls else None,
        "homeassistant.discovery": answers.discovery,
    }
