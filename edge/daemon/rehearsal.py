"""Whether another configuration can be gone on with, found out before the present one is left."""

from __future__ import annotations

from edge.access.issuing import signing_key
from edge.config import Config
from edge.crypto.command_keys import read_command_keys
from edge.mqtt.credentials import read_password, tls_context


def rehearse(config: Config) -> None:
    """Read every key and credential that the settings name, as a new daemon would.

    Not the models, which take seconds: whoever starts the new daemon goes back where they fail.

    Raises:
        EdgeVoiceError: one of them cannot be used.
    """
    signing_key(config.signing)
    read_command_keys(config.commands.keys_file)
    if config.mqtt.enabled:
        if config.mqtt.password_file is not None:
            read_password(config.mqtt.password_file)
        tls_context(config.mqtt.tls)
