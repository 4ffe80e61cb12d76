"""A router for each test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.shell.router import Router


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with ExitStack() as end:
        made = Router(end, tmp_path)
        yield made
        # What the shims have started is not this process's child.
        made.sh("for each in /var/run/procd-shim/services/*; do /usr/lib/procd-shim/reconcile "
                '"${each##*/}"; done')  # fmt: skip
