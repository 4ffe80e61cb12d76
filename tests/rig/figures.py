"""What the rig measures, kept beside its images and printed at the end of a run.

usage: python -m tests.rig.figures
"""

from __future__ import annotations

import json
from typing import Any, Final

from tests.rig.image import WORK

FOLDER: Final = WORK / "figures"
MIB: Final = 1 << 20

# What a home's router must be able to bear.
MOST_IDLE_KIB: Final = 45 * 1024
MOST_WRITTEN: Final = 40 * 1024


def note(target: str, **figures: Any) -> None:
    """Keep figures of a target, beside those that it has."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{target.replace('/', '-')}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **figures}, indent=2) + "\n")


def forget(target: str) -> None:
    """Drop what an earlier run kept."""
    (FOLDER / f"{target}.json").unlink(missing_ok=True)


def report() -> list[str]:
    """Return the lines to print: a title for each target, and its figures below."""
    lines = []
    for path in sorted(FOLDER.glob("*.json")):
        lines.append(f"{path.stem}:")
        for name, value in json.loads(path.read_text()).items():
            if isinstance(value, list):
                lines += [f"  {name}", *(f"    {each}" for each in value)]
            else:
                lines.append(f"  {name:58} {value}")
    return lines


if __name__ == "__main__":
    print("\n".join(report()))
