"""Names and addresses: those of this machine, and what counts as one client."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

from edge.config import HttpConfig

_NOWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation: only the way to them is looked up, nothing is sent."""


def own_names(http: HttpConfig) -> list[str]:
    """Host names, and what is configured besides, in small letters, without repetition."""
    host = socket.gethostname().lower().rstrip(".")
    short = host.partition(".")[0]
    names = ["localhost", host, short, f"{short}.local", *map(str.lower, http.more_names)]
    return list(dict.fromkeys(name for name in names if name))


def own_addresses(address: str) -> list[str]:
    """The addresses that a server is reached at: the one it has, or those of this machine."""
    found = ["127.0.0.1", "::1"]
    if ipaddress.ip_address(address).is_unspecified:
        for family, there in _NOWHERE:
            # Without a network there is no way.
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((there, 9))
                found.append(probe.getsockname()[0])
    else:
        found.append(address)
    return list(dict.fromkeys(found))


def network_of(host: str) -> str:
    """What counts as one address: for IPv6 the network, of which a machine has all addresses."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
