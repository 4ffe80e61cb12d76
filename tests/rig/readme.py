"""What README tells the owner of a router to type: read there, so that it is what is tested.

Under "Install on a router" the indented lines are commands, in blocks with prose between them. Each
block is for one thing and made of the programs that it is known to need. A block more or less, or a
line of another program, is not understood and fails: whoever writes one decides here what is to be
seen of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from tests.openwrt.maker import TOP

_HEADING: Final = "## Install on a router"
_PROGRAMS: Final = {
    "package": {"make"},
    "install": {"opkg"},
    "enable": {"uci"},
    "care": {"acmeiot"},
    "remove": {"opkg", "rm"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """The lines of each block, as they stand; a comment at their end is the shell's to leave out.

    `package` is for this computer, all others for the router.
    """

    package: tuple[str, ...]
    install: tuple[str, ...]
    enable: tuple[str, ...]
    care: tuple[str, ...]
    remove: tuple[str, ...]


def told(text: str | None = None) -> Told:
    """Return the commands of README, or of a text in its place.

    Raises:
        AssertionError: there is something that is not understood; the message has it.
    """
    text = (TOP / "README.md").read_text("utf-8") if text is None else text
    _, found, rest = text.partition(f"\n{_HEADING}\n")
    assert found, f"README has no {_HEADING!r}"
    section = rest.partition("\n## ")[0]
    blocks = [_lines(block) for block in re.findall(r"(?:^ {4}.*\n?)+", section, re.MULTILINE)]
    names = [field.name for field in fields(Told)]
    assert len(blocks) == len(names), f"blocks for {', '.join(names)} are wanted, not {blocks}"
    for name, lines in zip(names, blocks, strict=True):
        for line in lines:
            assert line.split()[0] in _PROGRAMS[name], f"{line!r} is not understood in {name}"
    return Told(*blocks)


def _lines(block: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in block.splitlines())
