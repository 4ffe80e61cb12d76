"""One device whose power is cut at its first step, at its second, and so on through a new name.

A program of its own, because it forks: each life of the device is a child that kills itself at its
nth step, and the next one finds what that left. Prints a line of JSON for each life.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acmeiot.client.http import Http
from acmeiot.device import leaf, requests
from acmeiot.device.requests import Request
from tests.device.rig import HOME, LABEL, FakeLan, Rig, subject_names

# Whatever the disk or the server may see of this device.
STEPS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in "fsync replace rename symlink unlink mkdir rmdir".split()),
    (Http, "request"),
)


def killing(at: int) -> None:
    """Die right after the nth step."""
    left = at

    def step(real: Callable[..., Any], *args: Any, **how: Any) -> Any:
        nonlocal left
        result = real(*args, **how)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    for owner, name in STEPS:
        setattr(owner, name, _stepping(step, getattr(owner, name)))


def _stepping(step: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    def stepping(*args: Any, **how: Any) -> Any:
        return step(real, *args, **how)

    return stepping


def life(rig: Rig, at: int) -> int:
    """Let the device live for a round; return the signal that ended it, 0 if none did."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            killing(at)
            code = 0 if rig.visit().good else 1
        finally:
            os._exit(code)
    _, how = os.waitpid(child, 0)
    assert os.WIFSIGNALED(how) or os.WEXITSTATUS(how) == 0, how
    return os.WTERMSIG(how) if os.WIFSIGNALED(how) else 0


def main(folder: str, dns_port: str, directory: str, port: str) -> None:
    """Cut at every step of a change of name; print what was there after each."""
    rig = Rig(Path(folder), FakeLan(int(dns_port), {HOME.key: directory}), int(port))
    rig.settings |= {"targets": rig.targets, "name": LABEL}
    assert life(rig, 0) == 0
    for at in range(1, 1000):
        label = f"cut-{at}-12cd56"
        requests.ask(rig.state.folder, Request(label=label))
        ended = life(rig, at)
        half = pair_in_use(rig)
        assert life(rig, 0) == 0
        whole = pair_in_use(rig)
        print(json.dumps({"at": at, "ended": ended, "half": half, "whole": whole}), flush=True)
        if not ended:
            return


def pair_in_use(rig: Rig) -> dict[str, Any]:
    """Return what a service would find, and what is kept beside it."""
    chain, key = rig.targets.chain.read_bytes(), rig.targets.key.read_bytes()
    held = leaf.read(chain)
    return {
        "fits": leaf.public_of(key) == held.public_key,
        "names": sorted(str(name) for name in held.names),
        "serial": held.serial,
        "kept": rig.certs(),
        "current": f"{rig.leaf().serial_number:x}",
        "names_kept": sorted(subject_names(rig.leaf())),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
