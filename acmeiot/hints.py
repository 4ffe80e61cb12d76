"""What a person does next when the server is ready: commands to be pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path


def text(program: str, directory: str, trust: str, state: Path, domain: str) -> str:
    """Return the hints with the server's own values; `trust` is the base URL of its plain HTTP."""
    root, server, where = (
        shlex.quote(each) for each in (f"{trust}/root.pem", directory, str(state))
    )
    return (
        f"Next, on a device named printer that has the address it is asked for:\n"
        f"  curl -o root.pem {root}\n"
        f"  REQUESTS_CA_BUNDLE=root.pem certbot certonly --standalone "
        f"--elliptic-curve secp384r1 \\\n"
        f"    --server {server} -d printer.{domain} -d printer.local\n"
        f"Who waits, and to allow one:\n"
        f"  {program} devices --state {where}\n"
        f"  {program} approve ID --state {where}\n"
        f"Browsers: {trust}/trust"
    )
