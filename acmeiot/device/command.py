"""The options of `acmeiot device`; what is heavy is imported when a command runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from acmeiot.client.command import add_search_options

_VERBS: Final = (
    ("run", "get this device's certificates, and keep them good"),
    ("once", "the same, once: for scripts"),
    ("status", "show the networks, servers and certificates"),
    ("rename", "take another name; certificates for the old one are revoked"),
    ("reset", "revoke, forget and begin anew with new keys"),
)


def add_parser(commands: Any) -> None:
    """Add the room's commands to the program's."""
    device = commands.add_parser("device", help="get this device's certificates from its home's CA")
    verbs = device.add_subparsers(metavar="VERB", required=True)
    for name, text in _VERBS:
        verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        verb.set_defaults(run=_run, verb=name)
        add = verb.add_argument
        if name == "rename":
            add("label", help="such as kitchen-12cd56, without its domain")
        if name == "reset":
            add("--leave", action="store_true", help="do not begin anew: it is given away")
        add("--state", type=Path, metavar="DIR", help="keys, certificates and pinned roots")
        add("--config", type=Path, metavar="FILE", help="these options in TOML; flags win")
        if name == "status":
            add("--json", action="store_true", help="for programs")
        else:
            add("-v", "--verbose", action="store_true", help="log more")
            _add_certificate(verb.add_argument_group("the certificate").add_argument)
            _add_service(verb.add_argument_group("the device's own service").add_argument)
            _add_server(verb.add_argument_group("the server").add_argument)
            add_search_options(verb.add_argument_group("finding the server"))


def _add_certificate(add: Any) -> None:
    add("--name", metavar="LABEL", help="this device's name (default: with part of its MAC)")
    add("--ip", action="store_true", help="certify its addresses, too")
    add("--keep-key", action="store_true", help="renew with the same key")
    add("--challenge", choices=("http-01", "tls-alpn-01"), help="how it proves its names")
    add("--webroot", type=Path, metavar="DIR", help="let the web server on port 80 answer")
    add("--http01-port", metavar="N", help="instead of 80 (for tests)")
    add("--tlsalpn01-port", metavar="N", help="instead of 443 (for tests)")


def _add_service(add: Any) -> None:
    add("--key", type=Path, metavar="FILE", help="install the private key there")
    add("--cert", type=Path, metavar="FILE", help="install the certificate and its chain there")
    add("--owner", metavar="USER[:GROUP]", help="whose these files are")
    add("--mode", metavar="OCTAL", help="the key's (default 0600)")
    add("--reload", metavar="CMD", help="then run this, without a shell")
    add("--verify", metavar="[ADDR:]PORT", help="then see that the certificate is served there")


def _add_server(add: Any) -> None:
    add("--expect", metavar="sha256:HEX", help="the root it must have")
    shown = "what `acmeiot pair` shows: directory, key and root"
    add("--pair", metavar="URI", help=f"{shown}; other users can see a command line")
    add("--pair-file", type=Path, metavar="FILE", help=f"{shown}; - is standard input")
    add("--eab-kid", metavar="ID", help="a pairing key's id")
    add("--eab-hmac-file", type=Path, metavar="FILE", help="the pairing key")
    add("--directory", metavar="URL", help="ask nobody where the server is")


def _run(args: argparse.Namespace) -> int | None:
    from acmeiot.device import verbs

    return verbs.run(args)
