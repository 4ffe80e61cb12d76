"""Whose connections the server takes: those of a network that it was not told to serve it does not.

Linux answers at any of its addresses, through whichever interface the packet came. To listen at the
LAN's address alone keeps guests out only where their firewall zone refuses input; here the network
that the other side is in is looked at, too. What comes from no network of this machine (a router
behind the router), or through a tunnel that the owner made, is not told apart from the LAN.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Collection
from typing import Final

from acmeiot.core.ports import Clock, Events
from acmeiot.lan import interfaces
from acmeiot.lan.interfaces import Interface
from acmeiot.protocol.names import IPAddress

_KEPT: Final = 5  # seconds that the kernel's table is believed


class ServedNetworks:
    """The networks of the addresses that the server listens at. Usable from any thread."""

    def __init__(
        self,
        addresses: Collection[IPAddress],
        clock: Clock,
        events: Events,
        read: Callable[[], tuple[Interface, ...]] = interfaces.interfaces,
    ) -> None:
        self._all = any(address.is_unspecified for address in addresses)
        self._addresses, self._clock, self._events = frozenset(addresses), clock, events
        self._read = read
        self._lock = threading.Lock()
        self._table: tuple[Interface, ...] = ()
        self._read_at = float("-inf")
        self._told: set[str] = set()

    def admits(self, peer: str) -> bool:
        """Tell whether an address (a link-local one with its `%interface`) may be talked to."""
        if self._all:
            return True
        address = ipaddress.ip_address(peer)
        if address.is_loopback:
            return True
        table = self._interfaces()
        served = [each for each in table if self._listens(each)]
        others = [each for each in table if not self._listens(each) and not each.tunnel]
        scope = address.scope_id if isinstance(address, ipaddress.IPv6Address) else None
        if scope is not None:
            through = [each for each in others if each.name == scope]
        elif any(each.reaches(address) for each in served):
            return True
        else:
            through = [each for each in others if each.reaches(address)]
        # This machine's own programs come from whichever address they like.
        if not through or any(address.packed == own.ip.packed for own in through[0].addresses):
            return True
        self._tell(through[0].name, peer)
        return False

    def _listens(self, interface: Interface) -> bool:
        return any(own.ip in self._addresses for own in interface.addresses)

    def _interfaces(self) -> tuple[Interface, ...]:
        with self._lock:
            if self._clock.monotonic() - self._read_at >= _KEPT:
                self._read_at = self._clock.monotonic()
                try:
                    self._table = self._read()
                except OSError as error:  # the last table is believed on
                    self._tell("", f"the network interfaces cannot be read: {error}")
            return self._table

    def _tell(self, key: str, what: str) -> None:
        """Say it once for each interface; a guest that tries all day fills no log."""
        if key in self._told or len(self._told) > interfaces.MAX_INTERFACES:
            return
        self._told.add(key)
        if key:
            what = f"refused {what}: this server is not for the network behind {key}"
        self._events.emit("lan", what, warning=True)
