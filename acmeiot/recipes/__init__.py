"""Ready scripts that make other ACME clients use this home's server.

Each client's part is a file of its own beside this one, a shell script as it is run; `script` puts
in front of it what is this home's: the directory's URL, the domain and the root itself. So the
owner copies one file to a device, and nothing has to be fetched before it can be trusted.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any, Final

from acmeiot import __version__
from acmeiot.client.errors import AgentError, UsageError

CLIENTS: Final = ("certbot", "lego", "uacme", "acme.sh", "caddy", "acme-common")


@dataclass(frozen=True, slots=True)
class Home:
    """What a client is told of this home: its directory, first domain and root."""

    directory: str
    domain: str
    root_name: str
    root_sha256: str  # of its public key, hex
    root_pem: str


def script(client: str, home: Home) -> str:
    """Return the shell script for one of CLIENTS; raise UsageError for another."""
    if client not in CLIENTS:
        raise UsageError(f"there is no recipe for {client!r}; there is {', '.join(CLIENTS)}")
    from importlib import resources  # slow; every command knows the names of the clients

    body = resources.files(__name__).joinpath(f"{client}.sh").read_text("utf-8")
    return _head(client, home) + body


def _head(client: str, home: Home) -> str:
    from acmeiot.protocol.fingerprint import words

    return f"""\
#!/bin/sh
# Makes {client} use this home's ACME server. Run as root on the device: sh FILE [NAME]
# where NAME is what the router calls the device; else its own host name.
# Written by acmeiot {__version__} for {home.root_name}
# sha256:{home.root_sha256}
# {words(bytes.fromhex(home.root_sha256))}
set -eu
directory={shlex.quote(home.directory)}
domain={shlex.quote(home.domain)}
name=${{1:-$(hostname)}}
name=${{name%%.*}}
root=${{ROOT:-/etc/ssl/acmeiot-root.pem}}
mkdir -p "$(dirname "$root")"
cat >"$root" <<'PEM'
{home.root_pem.strip()}
PEM

"""


def add_parser(commands: Any) -> None:
    """Add `recipes` to the program's commands."""
    import os

    parser = commands.add_parser(
        "recipes", help="print a script that makes another ACME client use this home's server"
    )
    parser.add_argument("client", nargs="?", choices=CLIENTS, help="without one: list them")
    state = os.environ.get("ACMEIOT_STATE") or "./var"
    parser.add_argument("--state", default=state, metavar="DIR", help="of the running server")
    parser.set_defaults(run=run)


def run(args: Any) -> None:
    """Print the script for one client, or the names of all."""
    if args.client is None:
        print("\n".join(CLIENTS))
        return
    print(script(args.client, _home(args.state)), end="")


def _home(state: str) -> Home:
    from pathlib import Path

    from acmeiot import commands

    try:
        answer = json.loads(commands.call(Path(state), "/status"))
    except commands.CommandError as error:
        raise AgentError(str(error)) from None
    root = answer["root"]
    return Home(answer["directory"], answer["domain"], root["name"], root["sha256"], root["pem"])
