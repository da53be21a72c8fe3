"""Connecting to the broker: password, certificates, and what a failure means."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import MqttConfig, TlsConfig
from edge.errors import ConfigError
from edge.private_files import locate, read_secret

_MAX_PASSWORD_BYTES = 4096
_WRONG_LOGIN = ("Bad user name or password", "Not authorized")
_BAD_CERTIFICATE = (
    "ACCESS_DENIED",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "DECRYPT_ERROR",
    "HANDSHAKE_FAILURE",
    "UNKNOWN_CA",
    "UNSUPPORTED_CERTIFICATE",
)
"""Alerts of TLS with which a broker refuses a client's certificate, or that there is none."""
NO_ANSWER = "it accepts connections but does not answer; check the broker and mqtt.port"
HUNG_UP = "it hung up at once; check mqtt.port and whether the broker wants TLS"


def read_password(file: Path | None) -> str | None:
    """Read `mqtt.password_file`: one line, open to owner and group only. Raises `ConfigError`.

    None without a file, or for an empty one, which is how systemd passes an absent credential.
    """
    if file is None:
        return None
    data = read_secret(file, "mqtt.password_file", _MAX_PASSWORD_BYTES, group=True)
    place = locate(file)
    try:
        # Windows puts a mark before the text, which is no part of the password.
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: the password is not UTF-8 text; save it as UTF-8") from None
    if len(data) > _MAX_PASSWORD_BYTES or "\n" in text or "\0" in text:
        raise ConfigError(f"{place}: mqtt.password_file must hold the password in one line only")
    return text or None


def tls_context(tls: TlsConfig) -> ssl.SSLContext | None:
    """The TLS context, which always verifies the broker; None without TLS. Raises `ConfigError`."""
    if not tls.enabled:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError(_unusable(tls.ca_file, "mqtt.tls.ca_file", error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 began to refuse authorities without a key usage extension, which is what
    # `openssl req -x509` makes and most homes have. Chain, dates and name are verified as ever.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.cert_file is not None:
        try:
            # An empty passphrase: without one, OpenSSL would ask for it at the terminal and wait.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            name = "mqtt.tls.cert_file or mqtt.tls.key_file"
            raise ConfigError(_unusable(tls.cert_file, name, error)) from None
    return context


def _unusable(file: Path | None, setting: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        why = "not a matching, unencrypted PEM file"
    else:
        why = getattr(error, "strerror", None) or "cannot be read"
    return f"{file}: {setting} cannot be used ({why}); check its name, content and permissions"


def connect_failure(error: Exception, mqtt: MqttConfig) -> str:
    """Why connecting failed, and what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message.rstrip('.')}); "
            "check mqtt.tls.ca_file, and that mqtt.host is a name in the certificate"
        )
    if mqtt.tls.enabled and isinstance(error, (ssl.SSLError, ConnectionResetError)):
        failed = "the TLS handshake failed; check mqtt.port, and that the broker offers TLS there"
        return tls_refusal(error, mqtt.tls) or failed
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "its name cannot be resolved; check mqtt.host and the network's name server"
    if isinstance(error, TimeoutError):
        return "it does not answer; check mqtt.host, the network and the firewall"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; check that the broker runs, mqtt.host and mqtt.port"
    reason = getattr(error, "strerror", None) or type(error).__name__
    return f"{reason[0].lower()}{reason[1:]}; check the network and mqtt.host"


def tls_refusal(error: Exception | None, tls: TlsConfig) -> str | None:
    """What the broker refuses in TLS about this device's certificate; None for anything else.

    In TLS 1.3 the refusal only arrives once the handshake is over here.
    """
    alert = (getattr(error, "reason", None) or "").partition("ALERT_")[2]
    if alert not in _BAD_CERTIFICATE:
        return None
    if tls.cert_file is not None:
        return (
            f"it does not accept this device's certificate ({alert.replace('_', ' ').lower()}); "
            "check mqtt.tls.cert_file, and that the broker trusts who signed it"
        )
    wants = "it wants a certificate of this device"
    if alert != "CERTIFICATE_REQUIRED":  # in TLS 1.2 it does not say so in as many words
        wants = "it refused the TLS handshake and probably wants a certificate of this device"
    return f"{wants}; set mqtt.tls.cert_file and mqtt.tls.key_file"


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
    """The text for connections that keep breaking at once, as two clients of one name do."""
    return (
        f"{failure}, again and again right after connecting; if another client is called "
        f"{client_id} too, give every device its own device.id (or mqtt.client_id)"
    )
