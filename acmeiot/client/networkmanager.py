"""What NetworkManager says of a network, where it runs: is it metered, is it an open Wi-Fi?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

_TIMEOUT: Final = 5.0
_COLUMNS: Final = "IN-USE,SECURITY"


def why_public(interface: str, *, wifi: bool, program: str = "nmcli") -> str | None:
    """Return why the network of an interface is a public one ("open Wi-Fi", "metered"), else None.

    None also where NetworkManager is not there or does not have the interface: it is then not
    known to be public.
    """
    found = shutil.which(program)
    if found is None:
        return None
    if wifi and _is_open(_ask(found, "-g", _COLUMNS, *_list_wifi(interface))):
        return "open Wi-Fi"
    # "yes (guessed)": a telephone that shares its connection, by its DHCP or beacon options.
    metered = _ask(found, "-g", "GENERAL.METERED", "device", "show", interface)
    return "metered" if metered.startswith("yes") else None


def _list_wifi(interface: str) -> tuple[str, ...]:
    return "device", "wifi", "list", "ifname", interface, "--rescan", "no"


def _is_open(listed: str) -> bool:
    """Tell whether the access point in use needs no password; OWE needs none either."""
    for used, security in _rows(listed):
        if used == "*":
            return security in ("", "--") or set(security.split()) <= {"OWE", "OWE-TM"}
    return False


def _rows(listed: str) -> Iterator[tuple[str, str]]:
    # The terse form separates by colons, and has a backslash before those of a value.
    for line in listed.splitlines():
        cells = re.split(r"(?<!\\):", line)
        if len(cells) == 2:
            yield cells[0].strip(), cells[1].strip()


def _ask(*argv: str) -> str:
    """Return what nmcli prints, "" if it fails: NetworkManager may be installed and not run."""
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
