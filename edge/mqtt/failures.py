"""What a failed connection to the broker means, and what to check."""

from __future__ import annotations

import socket
import ssl

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import MqttConfig

_WRONG_LOGIN = ("Bad user name or password", "Not authorized")

NO_ANSWER = "it accepts connections but does not answer; check the broker and mqtt.port"
HUNG_UP = "it hung up at once; check mqtt.port and whether the broker wants TLS"


def connect_failure(error: Exception, mqtt: MqttConfig) -> str:
    """Why connecting failed, and what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message.rstrip('.')}); "
            "check mqtt.tls.ca_file, and that mqtt.host is a name in the certificate"
        )
    if mqtt.tls.enabled and isinstance(error, (ssl.SSLError, ConnectionResetError)):
        return "the TLS handshake failed; check mqtt.port, and that the broker offers TLS there"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "its name cannot be resolved; check mqtt.host and the network's name server"
    if isinstance(error, TimeoutError):
        return "it does not answer; check mqtt.host, the network and the firewall"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; check that the broker runs, mqtt.host and mqtt.port"
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"{reason[0].lower()}{reason[1:]}; check the network and mqtt.host"


def connect_refusal(reason: ReasonCode, mqtt: MqttConfig) -> str:
    """Why the broker refused the connection, and what to check."""
    name = reason.getName()
    if name in _WRONG_LOGIN and mqtt.username is None:
        return f"it wants a user name ({name}); set mqtt.username and mqtt.password_file"
    if name in _WRONG_LOGIN:
        return (
            f"it refused user {mqtt.username!r} or the password ({name}); "
            "check mqtt.username and the content of mqtt.password_file"
        )
    if name in ("Client identifier not valid", "Identifier rejected"):
        return f"it refused the client's name ({name}); set another mqtt.client_id"
    return f"it refused the connection ({name}); see the broker's log"


def disconnection(reason: ReasonCode) -> str:
    """Why the broker ended the connection, and what to check."""
    name = reason.getName()
    if name == "Session taken over":
        return (
            "another client connected under the same name; "
            "give every device its own device.id (or mqtt.client_id)"
        )
    return f"the broker ended the connection ({name})"


def repeated_disconnection(failure: str, client_id: str) -> str:
    """The text where connections keep breaking right after they were accepted.

    Two clients of one name that disconnect each other look like that; not every broker says so.
    """
    return (
        f"{failure}, again and again right after connecting; if another client is called "
        f"{client_id} too, give every device its own device.id (or mqtt.client_id)"
    )
