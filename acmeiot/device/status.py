"""How each network went, for `acmeiot device status` and for the log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from acmeiot.device import files

FILE: Final = "status.json"

GOOD: Final = "good"
WAITING: Final = "waiting for the owner"
CLOCK: Final = "waiting for the time"
PUBLIC: Final = "public network"
FAILED: Final = "failed"
CHANGED: Final = "root changed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a visit to a network came to; times are epoch seconds, 0 or "" for not known.

    `said` is for people, `again` the seconds until there is something to do. The certificate is
    the one in use, also where the visit failed.
    """

    network: str
    text: str
    state: str
    said: str
    again: float
    server: str = ""
    root: str = ""
    pinned: str = ""
    names: str = ""
    serial: str = ""
    not_after: int = 0
    renew_at: int = 0
    files: str = ""

    @property
    def good(self) -> bool:
        """Tell whether this device has what it needs on that network."""
        return self.state in (GOOD, PUBLIC)


def write(folder: Path, label: str, outcomes: Iterable[Outcome], now: int) -> None:
    """Leave the outcomes for others to read; nothing is written that is there already."""
    networks = [asdict(one) for one in outcomes]
    for each in networks:
        del each["again"]  # it differs each time, and would be written each time
    old = files.document(folder / FILE)
    if (old.get("label"), old.get("networks")) != (label, networks):
        document = {"label": label, "updated": now, "networks": networks}
        files.dump(folder / FILE, document)


def clear(folder: Path) -> None:
    """Remove what was left: it is of the past."""
    (folder / FILE).unlink(missing_ok=True)


def document(folder: Path, label: str, pid: int | None, known: Iterable[str]) -> dict[str, Any]:
    """Return the state of the agent as `--json` shows it."""
    last = files.document(folder / FILE)
    return {
        "label": label,
        "running": pid,
        "updated": last.get("updated"),
        "networks": last.get("networks", []),
        "remembered": sorted(known),
    }


def lines(document: dict[str, Any]) -> Iterator[str]:
    """Yield the document for people."""
    yield f"name          {document['label'] or 'not chosen yet'}"
    running = document["running"]
    yield f"agent         {f'running, process {running}' if running else 'not running'}"
    for each in document["networks"]:
        yield f"network       {each['text']}"
        yield f"  state       {each['state']}: {each['said']}"
        if each["server"]:
            yield f"  server      {each['server']}"
            yield f"  root        sha256:{each['root']}"
            yield f"              {each['pinned']}"
        if each["serial"]:
            yield f"  certificate {each['names']}"
            yield f"              until {_day(each['not_after'])}, serial {each['serial']}"
            yield f"  files       {each['files']}"
        if each["renew_at"]:
            yield f"  renewal     {_day(each['renew_at'])}"
    if document["remembered"]:
        yield f"remembered    {' '.join(document['remembered'])}"


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
