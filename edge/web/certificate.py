"""The server's certificate: the owner's, or one of its own, which clients know by fingerprint."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import ssl
from datetime import datetime
from pathlib import Path

from edge.config import HttpConfig
from edge.crypto.certificates import (
    MOST_BYTES,
    OWN_FILE,
    RENEW_BEFORE,
    fingerprint_of,
    names_in,
    new_certificate,
    read_certificate,
    time_left,
)
from edge.errors import ConfigError, EdgeVoiceError, EnvironmentFault
from edge.private_files import (
    folder_owner,
    locate,
    make_folder,
    read_secret,
    reason,
    write_file,
)
from edge.web.addresses import own_addresses, own_names

_log = logging.getLogger(__name__)


class ServerCertificate:
    """The certificate in use, and the TLS context that shows it.

    Raises:
        ConfigError: the owner's certificate or key cannot be used.
        EnvironmentFault: its own cannot be written or read.
    """

    def __init__(self, http: HttpConfig, folder: Path) -> None:
        self._http = http
        self._own = folder / OWN_FILE
        self.context = _context()
        self._loaded = self._load()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in pairs of hexadecimal digits with colons between them."""
        return fingerprint_of(self._certificate)

    @property
    def ends(self) -> datetime:
        """When it ends."""
        return self._certificate.not_valid_after_utc

    def refresh(self) -> None:
        """Renew what ends soon, and use what was put in its place; old connections go on."""
        try:
            if self._http.cert_file is None:
                _keep_own(self._own, self._http)
            if self._stamp() != self._loaded:
                self._loaded = self._load()
                _log.info("another certificate is in use: %s", self.fingerprint)
        except (EdgeVoiceError, OSError) as error:
            _log.error("the certificate stays as it is: %s", error)

    def _load(self) -> object:
        if self._http.cert_file is None:
            _keep_own(self._own, self._http)
            file, key = self._own, None
            advice = "remove it, and another one is made"
        else:
            file, key = self._http.cert_file, self._http.key_file
            advice = "check http.cert_file and http.key_file"
            _check_private(self._http)
        try:
            stamp = self._stamp()
            self._certificate = read_certificate(file)
            # An empty passphrase: without one, OpenSSL would ask for it at the terminal and wait.
            self.context.load_cert_chain(file, None if key is None else locate(key), "")
        except (OSError, ValueError) as error:
            why = "not a matching, unencrypted PEM file of a certificate and its key"
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
                why = reason(error)
            raise ConfigError(f"{file}: cannot be used ({why}); {advice}") from None
        return stamp

    def _stamp(self) -> object:
        files = (self._http.cert_file or self._own, self._http.key_file)
        stamps = []
        for file in filter(None, files):
            status = locate(file).stat()
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return stamps


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_private(http: HttpConfig) -> None:
    """Raise `ConfigError` for a private key that others can read."""
    if http.key_file is not None:
        read_secret(http.key_file, "http.key_file", MOST_BYTES, group=True)
        return
    assert http.cert_file is not None  # noqa: S101 (for mypy; the caller has looked)
    with contextlib.suppress(OSError):  # the caller says what is wrong with it
        if b"PRIVATE KEY" in http.cert_file.read_bytes()[:MOST_BYTES]:
            read_secret(http.cert_file, "http.cert_file", MOST_BYTES, group=True)


def _keep_own(file: Path, http: HttpConfig) -> None:
    """Make a certificate where there is none, or one that ends soon or lacks a name."""
    wanted = {*own_names(http), *([] if _is_every(http.address) else [http.address])}
    try:
        if file.exists():
            there = read_certificate(file)
            if time_left(there) >= RENEW_BEFORE and wanted <= set(names_in(there)):
                return
        make_folder(file.parent)
        content = new_certificate([*own_names(http), *own_addresses(http.address)])
        write_file(file, content, owner=folder_owner(file), replace=True)
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: the certificate cannot be kept ({reason(error)}); check the state directory"
        ) from None
    except ValueError:
        raise EnvironmentFault(
            f"{file}: is not the certificate that was written there; remove it, and another one is"
            " made"
        ) from None


def _is_every(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified
