"""`acmeiot discover`: where each answer came from, which one wins, and what is there.

The options of a search are the agents' too, so they stand here once. What is heavy is imported
when a command runs.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acmeiot.client.errors import AgentError, UsageError
from acmeiot.protocol.moments import day

if TYPE_CHECKING:
    from acmeiot.client.discover import Candidate, Discovery, Search
    from acmeiot.client.locate import Server
    from acmeiot.lan import unicast


def add_parser(commands: Any) -> None:
    """Add the room's commands to the program's."""
    discover = commands.add_parser("discover", help="find the ACME server of this network")
    discover.set_defaults(run=_discover)
    discover.add_argument("--json", action="store_true", help="for programs")
    discover.add_argument(
        "--no-connect", action="store_true", help="only say which server this network names"
    )
    add_search_options(discover)


def add_search_options(parser: Any) -> None:
    """Add the options of a search, which `search_of` reads."""
    add = parser.add_argument
    add("--interface", metavar="IF", help="look on this interface only")
    add("--probe", action="store_true", help="ask the DHCP servers, too (needs scapy)")
    add("--sightings", type=Path, metavar="DIR", help="what the DHCP clients' hooks left")
    add("--domain", action="append", default=[], metavar="D", help="ask DNS for this domain")
    add(
        "--number",
        action="append",
        default=[],
        type=int,
        metavar="N",
        help="a DHCP option that this home uses for the server's name",
    )
    add(
        "--resolver",
        action="append",
        default=[],
        metavar="ADDR[:PORT]",
        help="ask it instead of the network's own",
    )


def search_of(args: argparse.Namespace, *, every_source: bool = False) -> Search:
    """Return the search that the options mean; raise UsageError for what cannot be."""
    from acmeiot.client import sightings
    from acmeiot.client.discover import Search
    from acmeiot.protocol import names

    for domain in args.domain:
        try:
            names.dns(domain)
        except names.BadName as error:
            raise UsageError(f"--domain: {error}") from None
        if f".{domain}".rstrip(".").lower().endswith(".local"):
            raise UsageError("--domain: .local is multicast DNS's; no server is asked for there")
    for number in args.number:
        if not 1 <= number <= 254:
            raise UsageError(f"--number: {number} is no DHCP option, they are 1 to 254")
    return Search(
        interface=args.interface,
        sightings=args.sightings or sightings.DIRECTORY,
        resolvers=tuple(_resolver(text) for text in args.resolver),
        domains=tuple(args.domain),
        probe=args.probe,
        numbers=tuple(args.number),
        every_source=every_source,
    )


def _resolver(text: str) -> unicast.Server:
    from acmeiot.lan import unicast

    host, port = text, str(unicast.PORT)
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":") if port else str(unicast.PORT)
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            raise ValueError(f"{text!r} is not ADDRESS[:PORT] such as 192.168.1.1")
        return unicast.Server(ipaddress.ip_address(host), int(port))
    except ValueError as error:
        raise UsageError(f"--resolver: {error}") from None


def _discover(args: argparse.Namespace) -> int:
    from acmeiot.client import locate
    from acmeiot.client.discover import discover

    discovery = discover(search_of(args, every_source=True))
    server: Server | None = None
    failure: AgentError | None = None
    try:
        if args.no_connect:
            _ = discovery.winner  # or why there is none
        else:
            server = locate.first(discovery)
    except AgentError as error:
        failure = error
    if args.json:
        print(json.dumps(_document(discovery, server, failure), indent=2))
    else:
        print("\n".join(_lines(discovery, server)))
    if failure is not None:
        raise failure
    return 0


def _document(
    discovery: Discovery, server: Server | None, failure: AgentError | None
) -> dict[str, Any]:
    return {
        "candidates": [_as_json(one) for one in discovery.candidates],
        "conflict": discovery.conflict,
        "rivals": [_as_json(one) for one in discovery.rivals],
        "tried": list(discovery.tried),
        "server": None if server is None else _server_as_json(server),
        "error": None if failure is None else str(failure),
    }


def _as_json(candidate: Candidate) -> dict[str, Any]:
    return {
        "host": candidate.host,
        "port": candidate.port,
        "path": candidate.path,
        "root": candidate.root,
        "kind": candidate.kind,
        "source": candidate.source,
        "interface": candidate.interface,
        "resolvers": [str(one) for one in candidate.resolvers],
    }


def _server_as_json(server: Server) -> dict[str, Any]:
    root = server.root
    return {
        "url": server.url,
        "host": server.host,
        "port": server.port,
        "addresses": list(server.addresses),
        "source": server.candidate.source,
        "root": {
            "name": root.name,
            "sha256": root.sha256,
            "words": root.words,
            "not_before": root.not_before,
            "not_after": root.not_after,
        },
        "note": server.note,
    }


def _lines(discovery: Discovery, server: Server | None) -> Iterator[str]:
    for text in discovery.tried:
        yield f"asked      {text}"
    if discovery.conflict is None:
        for at, one in enumerate(discovery.candidates):
            yield f"{'passed by' if at else 'winner':<10} {one} ({one.source})"
    if server is not None:
        yield f"directory  {server.url}"
        yield f"address    {', '.join(server.addresses)}"
        yield f"root       {server.root.name}, until {day(server.root.not_after)}"
        yield f"           sha256:{server.root.sha256}"
        yield f"           {server.root.words}"
        if server.note:
            yield f"NOTE       {server.note}"
