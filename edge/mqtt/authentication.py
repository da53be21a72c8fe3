"""The broker's password and certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge.config import TlsConfig
from edge.credentials import locate, read_secret
from edge.errors import ConfigError

_MAX_PASSWORD_BYTES = 4096


def read_password(file: Path | None) -> str | None:
    """Read `mqtt.password_file`: one line, readable by its owner and group only.

    None without a file, or for an empty one, which is how systemd passes an absent credential.

    Raises:
        ConfigError: the file cannot be read, is open to everyone, or does not hold a single line.
    """
    if file is None:
        return None
    data = read_secret(file, "mqtt.password_file", _MAX_PASSWORD_BYTES, group=True)
    place = locate(file)
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: the password is not UTF-8 text; save it as UTF-8") from None
    if len(data) > _MAX_PASSWORD_BYTES or "\n" in text or "\0" in text:
        raise ConfigError(f"{place}: mqtt.password_file must hold the password in one line only")
    return text or None


def tls_context(tls: TlsConfig) -> ssl.SSLContext | None:
    """The TLS settings as a context; None without TLS.

    The broker's certificate and name are always verified; TLS 1.2 at least.

    Raises:
        ConfigError: a certificate file cannot be used.
    """
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
