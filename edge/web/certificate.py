"""The server's certificate: the owner's, or one of its own, which clients know by fingerprint."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import ssl
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.config import HttpConfig
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

FILE_NAME = "http.pem"
_VALID = timedelta(days=820)
"""Some systems accept no certificate that is valid for more than 825 days."""
_EARLIER = timedelta(days=1)
"""A client's clock may be behind."""
RENEW_BEFORE = timedelta(days=30)
_MOST_BYTES = 1 << 16
_MOST_NAME = 64

_log = logging.getLogger(__name__)


class ServerCertificate:
    """The certificate in use, and the TLS context that shows it.

    Raises:
        ConfigError: the owner's certificate or key cannot be used.
        EnvironmentFault: its own cannot be written or read.
    """

    def __init__(self, http: HttpConfig, folder: Path) -> None:
        self._http = http
        self._own = folder / FILE_NAME
        self.context = _context()
        self._loaded = self._load()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in pairs of hexadecimal digits with colons between them."""
        return fingerprint_of(self._certificate)

    @property
    def ends(self) -> datetime:
        """When it ends."""
        return _ends(self._certificate)

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
            self._certificate = _first_in(file)
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


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in pairs of hexadecimal digits with colons between them."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest().hex(":")


def read_certificate(http: HttpConfig, folder: Path) -> x509.Certificate | None:
    """The certificate that the server shows; None where it was not made yet, or is unreadable."""
    with contextlib.suppress(OSError, ValueError):
        return _first_in(http.cert_file or folder / FILE_NAME)
    return None


def ends_soon(certificate: x509.Certificate) -> bool:
    """Whether it is to be renewed."""
    return _ends(certificate) - datetime.now(timezone.utc) < RENEW_BEFORE


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _check_private(http: HttpConfig) -> None:
    """Raise `ConfigError` for a private key that others can read."""
    if http.key_file is not None:
        read_secret(http.key_file, "http.key_file", _MOST_BYTES, group=True)
        return
    assert http.cert_file is not None  # noqa: S101 (for mypy; the caller has looked)
    with contextlib.suppress(OSError):  # the caller says what is wrong with it
        if b"PRIVATE KEY" in http.cert_file.read_bytes()[:_MOST_BYTES]:
            read_secret(http.cert_file, "http.cert_file", _MOST_BYTES, group=True)


def _first_in(file: Path) -> x509.Certificate:
    with file.open("rb") as opened:
        return x509.load_pem_x509_certificate(opened.read(_MOST_BYTES))


def _ends(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


def _keep_own(file: Path, http: HttpConfig) -> None:
    """Make a certificate where there is none, or one that ends soon or lacks a name."""
    wanted = {*own_names(http), *([] if _is_every(http.address) else [http.address])}
    try:
        if file.exists():
            there = _first_in(file)
            if not ends_soon(there) and wanted <= set(_names_in(there)):
                return
        make_folder(file.parent)
        content = new_certificate([*own_names(http), *own_addresses(http)])
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


def _names_in(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def new_certificate(names: Iterable[str]) -> bytes:
    """A key and a certificate of its own for names and addresses, as PEM."""
    names = list(names)
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Edge Voice {names[0]}"[:_MOST_NAME])]
    )
    now = datetime.fromtimestamp(time.time(), tz=timezone.utc)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
