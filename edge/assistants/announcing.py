"""Announces the assistants in the local network, so that Home Assistant finds them (zeroconf)."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping

from zeroconf import InterfaceChoice, IPVersion, NonUniqueNameException
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from edge.web.addresses import own_addresses

SERVICE = "_wyoming._tcp.local."

_log = logging.getLogger(__name__)


class Announcement:
    """Announces while it is open.

    Args:
        address: the one that is served at, or 0.0.0.0 or :: for all of this machine.
        ports: by the name in the network, 1 to 63 characters.
    """

    def __init__(self, address: str, ports: Mapping[str, int]) -> None:
        self._address = ipaddress.ip_address(address)
        self._ports = ports
        self._zeroconf: AsyncZeroconf | None = None

    async def open(self) -> None:
        """Announce them; where that is not possible, a warning says so."""
        everywhere = self._address.is_unspecified
        addresses = [str(self._address)]
        if everywhere:
            own = own_addresses(str(self._address))
            addresses = [each for each in own if not ipaddress.ip_address(each).is_loopback]
        try:
            self._zeroconf = AsyncZeroconf(
                InterfaceChoice.All if everywhere else addresses,
                ip_version=IPVersion.V4Only if self._address.version == 4 else IPVersion.All,
            )
            for name, port in self._ports.items():
                info = AsyncServiceInfo(
                    SERVICE, f"{name}.{SERVICE}", port, parsed_addresses=addresses
                )
                await self._zeroconf.async_register_service(info, allow_name_change=True)
        except (OSError, RuntimeError, NonUniqueNameException) as error:
            _log.warning("the assistants are not announced in the network: %s", error)

    async def close(self) -> None:
        """Withdraw them."""
        if self._zeroconf is not None:
            await self._zeroconf.async_unregister_all_services()
            await self._zeroconf.async_close()
