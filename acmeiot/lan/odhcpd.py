"""odhcpd, OpenWrt's server of DHCPv6: one string of hex for each pool, set through UCI.

Its undocumented option `dhcpv6_raw` is put as it is into every reply, whatever the client asked
for. Others may use it too: ours is appended, and exactly that is taken out again. For DHCPv4 it
has nothing of the kind.

Ours is a change that we do not commit: odhcpd and all else that uses UCI see it, but it lies in
RAM, and a reboot ends it. Who commits something else, as any package's uci-defaults do, commits it,
too; the router's herald sweeps that at its next start. So no router that lost this server
announces it.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from typing import Final

from acmeiot.protocol import dhcp

PROGRAM: Final = "uci"
RAW: Final = "dhcpv6_raw"  # the option of a pool
_TIMEOUT: Final = 20  # seconds
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*")


class UciError(Exception):
    """What UCI did not do, in its own words."""


def appended(value: str, ours: str) -> str:
    """Return the pool's string with ours at its end."""
    return value + ours


def removed(value: str, ours: str) -> str:
    """Return the string without what `appended` put there; as it is when that is not there.

    What the owner has put before it and behind it since stays.
    """
    at = value.rfind(ours) if ours else -1
    return value if at < 0 else value[:at] + value[at + len(ours) :]


def objection(value: str) -> str | None:
    """Return why nothing may be appended to this string; None if it may.

    odhcpd takes half of the string's length for that of the data: what is not plain hex, or does
    not end where an option ends, would make ours unreadable.
    """
    if not _HEX.fullmatch(value):
        return "its dhcpv6_raw is not plain hex"
    data = bytes.fromhex(value)
    while data:
        if len(data) < 4:
            return "its dhcpv6_raw ends in the middle of an option"
        code, length = struct.unpack_from("!HH", data)
        if len(data) < 4 + length:
            return "its dhcpv6_raw ends in the middle of an option"
        if code == 17 and data[4:8] == dhcp.ENTERPRISE.to_bytes(4, "big"):
            return "its dhcpv6_raw has one of your own"
        data = data[4 + length :]
    return None


@dataclass(frozen=True, slots=True)
class Uci:
    """The program `uci`, for the package `dhcp`."""

    path: str

    @classmethod
    def here(cls) -> Uci | None:
        """Return it where there is one."""
        path = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/sbin:/usr/sbin:/bin")
        return cls(path) if path else None

    def get(self, option: str) -> str:
        """Return the value of `SECTION.OPTION`, or the type of `SECTION`; "" when not set."""
        done = self._run("-q", "get", f"dhcp.{option}")
        return done.stdout.removesuffix("\n") if done.returncode == 0 else ""

    def committed(self, option: str) -> str:
        """Drop the option's change that waits for a commit; return its value then, "" for none."""
        self._run("-q", "revert", f"dhcp.{option}")
        return self.get(option)

    def put(self, option: str, value: str, *, lasting: bool = False) -> None:
        """Set an option, or delete it for "", until the next boot; raise UciError.

        With `lasting` it is committed: for what somebody's commit has written out. Others' changes
        that wait would be committed with it: refused.
        """
        if self.committed(option) == value:
            return
        if lasting and self._run("-q", "changes", "dhcp").stdout.strip():
            raise UciError("changes of dhcp wait for their commit (see `uci changes dhcp`)")
        where = f"dhcp.{option}"
        try:
            self._must(*(("set", f"{where}={value}") if value else ("delete", where)))
            if lasting:
                self._must("commit", "dhcp")
        except UciError:
            self._run("-q", "revert", where)
            raise

    def _must(self, *words: str) -> None:
        done = self._run(*words)
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
            raise UciError(f"uci {words[0]}: {said[:200]}")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.path, *words], capture_output=True, text=True, timeout=_TIMEOUT)
