"""Chromium as a person has it: headless here, with the roots of its user's own NSS database."""

import re
import tempfile
from pathlib import Path
from typing import Final

from tests.home.network import Machine

# Without these it asks the world for updates at each start; --no-sandbox because it runs as root.
OPTIONS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--timeout=15000",
)  # fmt: skip
ERROR: Final = re.compile(r"\b(?:net::)?(ERR_[A-Z_]+)\b")


def visit(machine: Machine, url: str) -> str:
    """Return the page's content, or the error (`ERR_CERT_AUTHORITY_INVALID`) shown instead.

    Raises:
        AssertionError: it shows neither.
    """
    with tempfile.TemporaryDirectory() as profile:
        log = Path(profile, "log")
        shown = machine.run(
            *("sh", "-c", 'exec "$@" 2>"$0"', log, "chromium", *OPTIONS),
            *(f"--user-data-dir={profile}", "--dump-dom", url),
        )
        said = log.read_text(errors="replace")
    error = ERROR.search(shown + said)
    if error:
        return error[1]
    assert "</html>" in shown, said
    return shown
