"""What is to be put where so that the LAN hears of the server, and what cannot be."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from acmeiot.client.errors import AgentError
from acmeiot.config import Config
from acmeiot.lan import announce, dnsmasq, odhcpd
from acmeiot.lan.announce import Item, Server
from acmeiot.lan.announced import Announced, sha256
from acmeiot.protocol import dhcp, dnssd, names
from acmeiot.protocol.dhcp import Advertisement
from acmeiot.protocol.dnssd import Record

Json = dict[str, Any]

_GUESSED: Final = (443, 8555)  # the ports that a client tries by itself
_SHA256: Final = re.compile("[0-9a-f]{64}")
_DEBIAN: Final = (Path("/etc/dnsmasq.conf"), Path("/etc/dnsmasq.d"))


@dataclass(slots=True)
class Plan:
    """All that is to be put somewhere, and all that cannot be."""

    ad: Advertisement
    directory: str
    root: str
    items: tuple[Item, ...] = ()
    records: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    files: dict[Path, bytes] = field(default_factory=dict)
    tested: tuple[str, Path, tuple[Path, ...]] | None = None  # dnsmasq, our file, the owner's
    pools: dict[str, str] = field(default_factory=dict)  # odhcpd's, with what is appended
    uci: odhcpd.Uci | None = None

    def test(self) -> None:
        """Have dnsmasq itself read what it is to be given, beside what the owner gives it.

        Raises AgentError with its own words.
        """
        if self.tested is None or self.tested[1] not in self.files:
            return
        program, target, owners = self.tested
        with tempfile.NamedTemporaryFile(prefix="acmeiot-", suffix=".conf") as file:
            file.write(self.files[target])
            file.flush()
            said = dnsmasq.refusal(program, [*owners, Path(file.name)])
        if said is not None:
            raise AgentError(f"dnsmasq would not start: {said.replace(file.name, str(target))}")

    def as_json(self) -> Json:
        """Return it for programs."""
        return {
            "fqdn": self.ad.fqdn,
            "directory": self.directory,
            "root": self.root,
            "items": [item.as_json() for item in self.items],
            "records": list(self.records),
            "files": {str(path): data.decode() for path, data in self.files.items()},
            "pools": self.pools,
            "notes": self.notes,
        }


def made(settings: Config, about: Json, before: Announced | None) -> Plan:
    """Return the plan for a server that says `about` of itself; `before` is what stands now.

    Raises AgentError, BadOption, or OSError for a configuration that cannot be read.
    """
    directory, root = about["directory"], about["root"]["sha256"]
    ad, records = _described(settings, about)
    plan = Plan(ad, directory, root)
    plan.records = announce.zone(record for some in records.values() for record in some)
    target, server = _dnsmasq(settings, plan)
    server = replace(server, elsewhere=_odhcpd(settings, server, plan, before))
    wish = announce.Wish(
        ad, records, settings.dhcp_interface, settings.dhcp_number, settings.dhcp_class_option
    )
    text, items = announce.snippet(wish, server)
    # Where odhcpd has DHCPv6, nobody wants to know that dnsmasq has not.
    sixes = any(item.by == "odhcpd" for item in plan.items)
    plan.items += tuple(i for i in items if not (sixes and i.what.startswith("DHCPv6")))
    if target is not None and text:
        plan.files[target] = text.encode()
    if settings.static_directory:
        document = json.dumps(about["directory_object"], indent=1) + "\n"
        plan.files[Path(settings.static_directory).absolute()] = document.encode()
    for path, data in plan.files.items():
        _check_ours(path, data, before)
    return plan


def _described(
    settings: Config, about: Json
) -> tuple[Advertisement, dict[str, tuple[Record, ...]]]:
    """Return what DHCP and DNS are to tell of the server.

    It becomes part of what other programs read as root, and the server that says it need not be:
    nothing that it says is taken as it is.
    """
    url = urlsplit(about["directory"])
    port, root = url.port or 443, about["root"]["sha256"]
    if not dhcp.is_path(url.path) or not _SHA256.fullmatch(root):
        raise AgentError(f"the server says of itself {url.path[:80]!a} and sha256:{root[:80]!a}")
    try:
        dhcp.server_name(url.hostname or "")
    except dhcp.BadOption:
        raise AgentError(
            f"the server goes by {url.hostname}, and needs a full name: set one that this network "
            "resolves to it (`acmeiot serve --name router.lan`), and start it again"
        ) from None
    known = [_canonical(name) for name in about["server"]["names"]]
    fqdn = known[0]
    if settings.dhcp_details:
        ad = dhcp.Advertisement(fqdn, url.path, bytes.fromhex(root), port)
    else:
        ad = dhcp.Advertisement(fqdn, port=None if port in _GUESSED else port)
    records = {}
    for domain in map(_canonical, about["domains"]):
        host = next((name for name in known if names.under(name, domain)), fqdn)
        records[domain] = dnssd.records(domain, host, port, url.path, root)
    return ad, records


def _canonical(name: str) -> str:
    try:
        return names.dns(name).value
    except names.BadName as error:
        raise AgentError(f"the server says of itself: {error}") from None


def _dnsmasq(settings: Config, plan: Plan) -> tuple[Path | None, Server]:
    """Return where our file goes, if anywhere, and what is known of dnsmasq."""
    if not settings.dnsmasq:
        return None, announce.Server(absent="switched off (--no-dnsmasq)")
    program = dnsmasq.program()
    if program is None:
        if settings.dnsmasq_dir or settings.dnsmasq_conf:
            raise AgentError("there is no program dnsmasq to test its configuration with")
        return None, announce.Server(absent="there is no dnsmasq on this machine")
    main = Path(settings.dnsmasq_conf) if settings.dnsmasq_conf else dnsmasq.main_file()
    known = dnsmasq.read(main) if main is not None else None
    directory = _directory(settings, main, known.directories if known else [])
    if directory is None:
        absent = "dnsmasq has no directory for more configuration; name it with --dnsmasq-dir"
        return None, announce.Server(absent=absent)
    if known is not None:
        if directory not in known.directories and directory != _DEBIAN[1]:
            plan.notes.append(f"dnsmasq reads it only with conf-dir={directory} in {main}")
        if not known.complete:
            plan.notes.append(f"not all that {main} includes was read: it is too long")
    target = directory / announce.FILE
    plan.tested = (program, target, (main,) if main is not None else ())
    return target, announce.Server(dnsmasq.features(program), known)


def _directory(settings: Config, main: Path | None, included: list[Path]) -> Path | None:
    """Return the directory for our file: as set, as dnsmasq's own file says, or Debian's."""
    if settings.dnsmasq_dir:
        directory = Path(settings.dnsmasq_dir).absolute()
        if not directory.is_dir():
            raise AgentError(f"{directory} is no directory")
        return directory
    candidates = [*included, *([_DEBIAN[1]] if main == _DEBIAN[0] else [])]
    return next((each for each in candidates if each.is_dir()), None)


def _odhcpd(
    settings: Config, server: Server, plan: Plan, before: Announced | None
) -> dict[int, str]:
    """Plan what odhcpd is to say; return which version of DHCP it keeps from dnsmasq, and how."""
    plan.uci = odhcpd.Uci.here() if settings.odhcpd else None
    if plan.uci is None or plan.uci.get("odhcpd") != "odhcpd":
        return {}
    if server.configuration is not None and server.configuration.pools.get(6):
        return {}  # OpenWrt lets dnsmasq serve DHCPv6 only where odhcpd does not run
    octets = announce.whole6(plan.ad)
    for pool in settings.odhcpd_pool:
        mode = plan.uci.get(f"{pool}.dhcpv6")
        why_not = "" if mode in ("server", "hybrid") else f"{pool}.dhcpv6 is {mode or 'not set'}"
        value = plan.uci.get(f"{pool}.{odhcpd.RAW}")
        # The same, which nothing remembers, is ours: committed by somebody before the last boot.
        ours = before.pools.get(pool, ()) if before is not None else ()
        for each in dict.fromkeys([*ours, octets.hex()]):
            value = odhcpd.removed(value, each)
        why_not = why_not or odhcpd.objection(value) or ""
        plan.items += (announce.Item("DHCPv6 option 17", "odhcpd", pool, octets, why_not),)
        if not why_not:
            plan.pools[pool] = octets.hex()
    if plan.uci.get("odhcpd.maindhcp") != "1":
        return {}
    return {4: "odhcpd serves DHCPv4 here (maindhcp) and cannot send it"}


def _check_ours(path: Path, data: bytes, before: Announced | None) -> None:
    """Refuse to overwrite what is not ours."""
    now = path.read_bytes() if path.exists() else data
    digest = before.files.get(str(path), "") if before is not None else ""
    if now != data and not is_ours(now, digest):
        raise AgentError(f"{path} is there already and not ours; move it away or name another")


def is_ours(data: bytes, digest: str) -> bool:
    """Tell whether a file's content says that it is ours, or is what was written there."""
    return data.startswith(dnsmasq.HEADER.encode()) or sha256(data) == digest
