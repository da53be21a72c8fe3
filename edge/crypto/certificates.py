"""Certificates of the HTTP server: one of its own, and what any of them says of itself."""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OWN_FILE = "http.pem"
"""The server's own certificate with its key, in the state directory."""
RENEW_BEFORE = timedelta(days=30)
MOST_BYTES = 1 << 16
_VALID = timedelta(days=820)
"""Some systems accept no certificate that is valid for more than 825 days."""
_EARLIER = timedelta(days=1)
"""A client's clock may be behind."""


def read_certificate(file: Path) -> x509.Certificate:
    """The first certificate in a PEM file. Raises `OSError`, `ValueError` where there is none."""
    with file.open("rb") as opened:
        return x509.load_pem_x509_certificate(opened.read(MOST_BYTES))


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, in pairs of hexadecimal digits with colons between them."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest().hex(":")


def time_left(certificate: x509.Certificate) -> timedelta:
    """How long it is still valid; negative once it has ended."""
    return certificate.not_valid_after_utc - _now()


def names_in(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that it is for. Raises `ValueError` where it has none."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ValueError("it is for no name") from None
    return [
        *found.get_values_for_type(x509.DNSName),
        *map(str, found.get_values_for_type(x509.IPAddress)),
    ]


def new_certificate(names: Iterable[str]) -> bytes:
    """A key and a certificate, signed by itself, for names and addresses, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Edge Voice")])
    now = _now()
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(title)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
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


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), tz=timezone.utc)
