"""Which network is this? The identity that roots and certificates are kept by (draft 3.3, 4.7).

A network is its default router's MAC together with the interface, or for Wi-Fi with the SSID
(A-3.3-5, A-4.7-1). Where there is no default route, the DHCP server stands for the router. Where
there is neither, the prefix must do: good enough for a unique local IPv6 prefix, which is random,
and weak for IPv4, where half the world is in 192.168.1.0/24. A router that does not answer gives
no identity at all: a home must not look like another one because its router was restarting.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import re
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from acmeiot.client import sightings
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.client.networkmanager import why_public
from acmeiot.lan import interfaces, netlink, router
from acmeiot.lan.interfaces import Interface
from acmeiot.protocol import names
from acmeiot.protocol.names import IPAddress

_RUNNING: Final = 0x40  # IFF_RUNNING: there is a carrier, or an access point
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_SETTLE: Final = 0.25  # seconds without a change: joining a network is a burst of a dozen
_LONGEST_BURST: Final = 2.0
_GLANCE: Final = 2.0  # seconds between two looks at what the DHCP clients left


@dataclass(frozen=True, slots=True)
class Network:
    """One network this machine is on now. `gateway` and `public` are no part of its identity."""

    interface: str
    router: str | None  # the MAC of its default router, or of its DHCP server
    ssid: str | None = None
    gateway: str | None = None
    public: str | None = None  # why it is everybody's: "open Wi-Fi", "metered"
    prefix: str | None = None  # stands for the router where there is none

    def __post_init__(self) -> None:
        if self.router is not None and not _MAC.fullmatch(self.router):
            raise ValueError(f"{self.router!r} is no MAC like 52:54:00:00:00:01")
        if self.router is None and self.prefix is None:
            raise ValueError(f"{self.interface}: a network has a router or a prefix")

    @property
    def key(self) -> str:
        """Return the identity as a name for files: `eth0-525400000001`, `wifi-<hex>-<mac>`."""
        where = self.interface if self.ssid is None else f"wifi-{self.ssid.encode().hex()}"
        if self.router is not None:
            return f"{_safe(where)}-{self.router.replace(':', '')}"
        return f"{_safe(where)}-net-{re.sub('[^0-9a-f]+', '_', self.prefix or '')}"

    def __str__(self) -> str:
        # Anybody names a Wi-Fi, and may think of terminals and logs.
        ssid = json.dumps(self.ssid, ensure_ascii=False)
        ssid = "".join(c if c.isprintable() else "?" for c in ssid)
        name = f"Wi-Fi {ssid} on " if self.ssid else ""
        if self.router is None:
            return f"{name}{self.interface} (no router, {self.prefix})"
        at = f" at {self.gateway}" if self.gateway else ""
        return f"{name}{self.interface} (router {self.router}{at})"


@dataclass(frozen=True, slots=True)
class Survey:
    """The networks that were told apart, and why the others could not be."""

    networks: tuple[Network, ...]
    unknown: tuple[str, ...]


def networks(
    interface: str | None = None, *, servers: Mapping[str, str] | None = None
) -> tuple[Network, ...]:
    """Return the networks this machine is on, the preferred first; see `survey`."""
    return survey(interface, servers=servers).networks


def survey(
    interface: str | None = None,
    *,
    servers: Mapping[str, str] | None = None,
    patience: float = router.PATIENCE,
) -> Survey:
    """Tell the networks of one or of all interfaces that have a private address and a carrier.

    `servers` gives the address of the DHCP server by interface, where it is known. Interfaces
    without a router and without a DHCP server (those of containers, for instance) count only when
    there is no better. Each router gets `patience` seconds to answer, if the kernel does not know
    it yet.

    Raise UsageError for an interface that is not there, AgentError where the kernel cannot be
    asked or pyroute2 is missing.
    """
    try:
        joined = _joined(interface)
        found: list[Network] = []
        unknown: list[str] = []
        for each, gateway in _routers(joined, servers or {}):
            mac = router.mac_of(each.index, gateway, patience)
            if mac is None:
                unknown.append(f"{each.name}: its router {gateway} does not answer")
            else:
                found.append(_network(each, mac, str(gateway)))
        if not found and not unknown:
            found = [_network(each, None, None, p) for each in joined if (p := _prefix(each))]
    except ModuleNotFoundError as error:
        raise AgentError(
            f"networks cannot be told apart without {error.name}: pip install 'acmeiot[agents]'"
        ) from None
    except OSError as error:
        raise AgentError(f"this machine's networks cannot be read: {error}") from None
    return Survey(tuple(found), tuple(unknown))


def _joined(name: str | None) -> list[Interface]:
    everything = interfaces.interfaces()
    if name is not None and all(each.name != name for each in everything):
        known = ", ".join(each.name for each in everything)
        raise UsageError(f"there is no interface {name}; there are {known}")
    joined = [each for each in everything if each.on_lan and each.flags & _RUNNING]
    return [each for each in joined if name in (None, each.name)][: interfaces.MAX_INTERFACES]


def _routers(
    joined: Sequence[Interface], servers: Mapping[str, str]
) -> Iterator[tuple[Interface, IPAddress]]:
    """Yield each network's default router, else its DHCP server; the preferred network first."""
    left = {each.index: each for each in joined}
    for gateway in router.gateways() if joined else ():
        if gateway.index in left:
            yield left.pop(gateway.index), gateway.address
    for each in left.values():
        server = servers.get(each.name)
        if server is not None:
            address = ipaddress.ip_address(server.partition("%")[0])
            # Behind a relay it is on another link, and has no MAC here.
            if each.reaches(address):
                yield each, address


def _network(
    each: Interface, mac: str | None, gateway: str | None, prefix: str | None = None
) -> Network:
    try:
        wifi = router.wireless(each.name, each.index)
    except OSError as error:
        raise AgentError(f"which Wi-Fi {each.name} is in cannot be told: {error}") from None
    if wifi is not None and wifi.open:
        public: str | None = "open Wi-Fi"
    else:
        public = why_public(each.name, wifi=wifi is not None)
    return Network(each.name, mac, wifi.ssid if wifi else None, gateway, public, prefix)


def _prefix(each: Interface) -> str | None:
    """Return the network's prefix: unique local IPv6 if there is one, which no other home has."""
    own = [a for a in each.addresses if names.is_lan(a.ip) and not a.ip.is_link_local]
    best = max(own, key=lambda a: a.version, default=None)
    return str(best.network) if best else None


def _safe(text: str) -> str:
    """Return an interface's name as part of a file's; the kernel allows all but / and blanks."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda found: f"%{ord(found[0]):02x}", text).lstrip(".")


class Watch:
    """Wait for the network to change: links, addresses, routes; or for `wake`.

    A change is reported once it has been quiet for a quarter of a second, two seconds at most. It
    may turn out to be none: routers and Wi-Fi drivers repeat themselves.

    What DHCP says can come later than the address, and change without it. So the `directories` of
    `sightings`, which may not be there yet, are looked at every other second of a wait.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._left = sightings.stamp(directories)
        self._kernel = netlink.changes()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (self._kernel, self._woken, self._waker):
            each.close()

    def wake(self) -> None:
        """End a `wait`, this or the next one; for signal handlers and other threads."""
        # A full buffer means that it is awake already.
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"!")

    def wakeup_fd(self) -> int:
        """Return the descriptor for `signal.set_wakeup_fd`: any signal then ends a `wait`."""
        return self._waker.fileno()

    def wait(self, timeout: float) -> bool:
        """Wait for a change or `wake`, `timeout` seconds at most; tell whether there was one."""
        if not self._something(timeout):
            return False
        deadline = time.monotonic() + _LONGEST_BURST
        while not self._drain() and time.monotonic() < deadline and self._readable(_SETTLE):
            pass
        self._told()  # what came with the burst is part of it
        return True

    def _something(self, timeout: float) -> bool:
        """Wait for anything to happen at all."""
        if not self._directories:
            return self._readable(timeout)
        ends = time.monotonic() + timeout
        while not self._told():
            left = ends - time.monotonic()
            if self._readable(min(left, _GLANCE)):
                return True
            if left <= _GLANCE:
                return self._told()
        return True

    def _told(self) -> bool:
        """Tell whether a DHCP client has left something else than at the last look."""
        before, self._left = self._left, sightings.stamp(self._directories)
        return self._left != before

    def _readable(self, timeout: float) -> bool:
        return bool(select.select([self._kernel, self._woken], [], [], max(0.0, timeout))[0])

    def _drain(self) -> bool:
        """Read all that waits; tell whether somebody wants to go on at once."""
        awake = False
        for each in (self._kernel, self._woken):
            # ENOBUFS: more changes than the kernel kept for us, which is a change as well.
            with contextlib.suppress(BlockingIOError):
                while _received(each):
                    awake = awake or each is self._woken
        return awake


def _received(each: socket.socket) -> bool:
    try:
        return bool(each.recv(1 << 16))
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return True
