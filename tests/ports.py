"""Ports for servers that must know theirs before they start."""

import itertools
import os
import socket

# Below what Linux gives to outgoing connections, which would take a free port in the meantime; each
# of the processes that share the tests has a stretch of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_STRETCH = 2000
_NEXT = itertools.cycle(range(_STRETCH))
_START = os.getpid() * 20  # another run at the same time begins elsewhere


def free_ports(count: int = 2) -> list[int]:
    """Return ports that nobody has now and that nobody else here will be given soon."""
    found: list[int] = []
    while len(found) < count:
        port = 12000 + _WORKER % 8 * _STRETCH + (_START + next(_NEXT)) % _STRETCH
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
    return found
