"""What this device is called: a label that no other device has, under each local domain.

Two printers called `printer` would fight over `printer.local`, so a default label carries part of
the MAC address (draft-sweet-iot-acme-02 section 4.6, A-4.6-1).
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from acmeiot.client.errors import AgentError
from acmeiot.protocol import names
from acmeiot.protocol.names import BadName, Identifier, IPAddress

MAX_DOMAINS: Final = 4
MAX_ADDRESSES: Final = 6  # of one device on one network
_UNIQUE: Final = re.compile(r"[a-z][a-z0-9-]*?-?(?=[a-f]*\d)[0-9a-f]{6,}")
_WORD: Final = re.compile(r"[a-z]+(?=-|\d|$)")
_ANYBODY: Final = ("localhost", "local", "none", "unknown", "openwrt")  # the names of no device
_INTERFACES: Final = Path("/sys/class/net")


def default_label(
    host: str, interfaces: Path = _INTERFACES, token: Callable[[int], str] = secrets.token_hex
) -> str:
    """Return the host name's label if it is a unique one, else a word and six digits of the MAC.

    Where there is no MAC the digits are random; the caller keeps the label, so it is stable all
    the same (A-4.6-1).
    """
    label = host.split(".")[0].lower()
    if _UNIQUE.fullmatch(label) and len(label) <= names.MAX_LABEL:
        return label
    word = _WORD.match(label)
    first = word[0] if word and word[0] not in _ANYBODY else "device"
    return f"{first[:40]}-{_mac_digits(interfaces) or token(3)}"


def host_name() -> str:
    """Return what this machine calls itself."""
    return socket.gethostname()


def _mac_digits(interfaces: Path) -> str:
    """Return the last six digits of a network card's MAC, a real card's if there is one."""
    found = []
    for folder in sorted(interfaces.glob("*")):
        try:
            mac = (folder / "address").read_text("ascii").strip().lower()
        except (OSError, UnicodeDecodeError):
            continue  # gone in the meantime, or no card at all
        if re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", mac) and mac != "00:00:00:00:00:00":
            # A bridge or a container's end has no device of its own, and may change its MAC.
            found.append((not (folder / "device").exists(), folder.name, mac))
    return min(found)[2].replace(":", "")[-6:] if found else ""


def checked_label(text: str) -> str:
    """Return the label in its only spelling; raise AgentError for what cannot be a host's."""
    label = text.strip().lower()
    try:
        name = names.dns(f"{label}.local")
        if name.wildcard or name.value.count(".") != 1 or label == "localhost":
            raise BadName(f"{text!a} is not one label")
    except BadName as error:
        raise AgentError(
            f"a device's name is one label such as printer-12cd56, without its domain: {error}"
        ) from None
    return label


def identifiers(
    label: str, domains: Iterable[str], addresses: Iterable[IPAddress] = ()
) -> tuple[Identifier, ...]:
    """Return what the certificate is for: the label under each domain and `local`, the addresses.

    Both kinds of name are always there (A-3.2.3-3), `localhost` never is; addresses only if the
    owner wants them (A-3.2.3-4). Raises AgentError for a name or address that is not a home's.
    """
    found = []
    for domain in (*domains, "local"):
        try:
            found.append(names.dns(f"{label}.{domain}"))
        except BadName as error:
            raise AgentError(f"the local domain {domain!a}: {error}") from None
    for address in addresses:
        if not names.is_lan(address):
            raise AgentError(f"{address} is not a private address; no home CA names it")
        found.append(names.ip(str(address)))
    return names.normalised(found)


def domains(
    configured: Iterable[str], told: Iterable[str], server: str, before: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the local domains: what is configured, or else what this network says.

    `told` came by DHCP, `server` is the ACME server's name, whose parent is a domain of its home,
    `before` is what there was, which a DHCP client's silence does not change. Raises AgentError if
    there is none, since a certificate must bear a name in one (A-3.2.3-3).
    """
    parent = server.partition(".")[2]
    for source in (configured, told, before if parent in before else (parent,), before):
        found = [one.strip(".").lower() for one in source]
        usable = tuple(dict.fromkeys(one for one in found if _is_domain(one)))
        if usable:
            return usable[:MAX_DOMAINS]
    raise AgentError("nobody on this network tells the local domain; give it with --domain lan")


def _is_domain(text: str) -> bool:
    try:
        return text != "local" and names.dns(f"x.{text}").value == f"x.{text}"
    except BadName:
        return False
