"""The options of `acmeiot trust`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from acmeiot.client.command import add_search_options

_VERBS: Final = (
    ("run", "watch the network, and keep the trust stores fit for where this machine is"),
    ("once", "the same, once: for scripts"),
    ("status", "show networks, roots, stores and notices"),
    ("accept", "believe a root that waits for it"),
    ("forget", "forget a network, and take its root out of the stores"),
    ("reset", "take all roots out of the stores and forget all networks"),
)

_CONFIG: Final = "trust.toml in ~/.config/acmeiot, root's in /etc/acmeiot"


def add_parser(commands: Any) -> None:
    """Add the room's commands to the program's."""
    trust = commands.add_parser("trust", help="believe this network's root, on this network only")
    verbs = trust.add_subparsers(metavar="VERB", required=True)
    for name, text in _VERBS:
        verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        verb.set_defaults(run=_run, verb=name)
        _add_common(verb)
        if name == "accept":
            verb.add_argument("root", nargs="?", help="its fingerprint, as sha256:HEX or as words")
        if name == "forget":
            verb.add_argument("network", help="as `acmeiot trust status` names it")


def _add_common(verb: Any) -> None:
    add = verb.add_argument
    add("--state", type=Path, metavar="DIR", help="what is believed where")
    add("--config", type=Path, metavar="FILE", help=f"these options in TOML (default {_CONFIG})")
    add("--json", action="store_true", help="for programs")
    add("-v", "--verbose", action="store_true", help="log more")
    add("--mode", choices=("ask", "tofu", "managed"), help="what a new root needs (default ask)")
    add("--expect", action="append", metavar="sha256:HEX", help="the root it must be")
    add("--on-public", action="store_true", help="on open and metered networks, too")
    add("--allow-unconstrained", action="store_true", help="a root that could vouch for any site")
    add("--store", action="append", metavar="NAME", help="fill this one (default: all there are)")
    add("--notify", metavar="CMD", help="show notices with it (default notify-send, on a desktop)")
    add("--directory", metavar="URL", help="ask nobody where the server is")
    add("--home", type=Path, metavar="DIR", help="of whose stores and state (not the system's)")
    add_search_options(verb)


def _run(args: argparse.Namespace) -> int | None:
    from acmeiot.trust import verbs

    return verbs.run(args)
