"""What the stores share: roots as bytes, the programs they run, and for whom."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acmeiot.client.errors import AgentError

TIMEOUT: Final = 60.0  # update-ca-certificates takes seconds on a small machine
_SAID: Final = 300  # characters of a program's output in an error
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose home it is. `owner` is the user and group to act as, None for oneself."""

    home: Path
    owner: tuple[int, int] | None = None

    @classmethod
    def of(cls, home: Path) -> Person:
        """Return the person that a home belongs to; only root can act for another one."""
        try:
            status = home.stat()
        except OSError:
            return cls(home)
        other = os.geteuid() == 0 and status.st_uid != 0
        return cls(home, (status.st_uid, status.st_gid) if other else None)

    @property
    def is_root(self) -> bool:
        """Tell whether files are written and programs run with root's rights."""
        return self.owner is None and os.geteuid() == 0

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Do what is in the block with this person's rights, files and all.

        A link that they put into their own home then leads root nowhere. For the whole process.
        """
        if self.owner is None:
            yield
            return
        user, group = self.owner
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)


def run(
    store: str, argv: Sequence[str | Path], person: Person | None = None, *, may_fail: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program of a store, for a minute at most; raise AgentError if it fails.

    It gets no terminal, so that it cannot stop to ask for a password.
    """
    words = [str(word) for word in argv]
    user, group = person.owner if person and person.owner else (None, None)
    home = {"HOME": str(person.home)} if person else {}
    try:
        with subprocess.Popen(
            words,
            env={**os.environ, **home, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            # What a system's store is made of, every user's programs read.
            umask=0o022 if person is None and sys.platform == "linux" else -1,
        ) as process:
            done = _finished(process, words)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = "took too long" if isinstance(error, subprocess.TimeoutExpired) else error
        raise AgentError(f"{store}: {words[0]}: {reason}") from None
    if done.returncode != 0 and not may_fail:
        said = said_by(done)
        raise AgentError(f"{store}: {' '.join(words)} failed ({done.returncode}): {said}")
    return done


def _finished(process: subprocess.Popen[str], words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except BaseException:
        # With all that a script has started: they would keep the pipes open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def said_by(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program said, on one line that is fit to be printed."""
    said = " ".join(f"{done.stderr} {done.stdout}".split())
    return "".join(c if c.isprintable() else "?" for c in said)[:_SAID] or "it said nothing"


def der_of(root_pem: bytes) -> bytes:
    """Return the root in DER; raise AgentError unless it is one certificate in PEM."""
    found = certificates(root_pem)
    if len(found) != 1:
        raise AgentError(f"a root is one certificate in PEM, not {len(found)}")
    return found[0]


def pem_of(der: bytes) -> bytes:
    """Return a certificate as PEM in lines of 64, as RFC 7468 has it."""
    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def certificates(bundle: bytes) -> list[bytes]:
    """Return the certificates of a PEM bundle in DER; those that cannot be read are left out."""
    found = []
    for block in _BLOCK.findall(bundle):
        # A bundle is others' file too: what they garbled is not what is looked for.
        with contextlib.suppress(ValueError):
            found.append(ssl.PEM_cert_to_DER_cert(block.decode("ascii")))
    return found
