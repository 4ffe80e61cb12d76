"""A real dnsmasq for a test's network: what a home's router answers to DHCP and to DNS."""

import time
from pathlib import Path

from tests.lan.network import Network

# Without the daemon's change of user: in a user's own namespace there is no other user.
COMMON = """\
no-daemon
no-resolv
no-hosts
no-ping
cache-size=0
pid-file=
bind-interfaces
log-dhcp
interface={interface}
except-interface=lo
dhcp-leasefile={leases}
"""


def start(lan: Network, host: str, work: Path, *lines: str, interface: str = "br-lan") -> Path:
    """Start dnsmasq on a host with these lines of configuration, and return its log.

    Raises:
        AssertionError: it did not start; the message has what it said.
    """
    work.mkdir(exist_ok=True)
    conf, log = work / "dnsmasq.conf", work / "dnsmasq.log"
    text = COMMON.format(interface=interface, leases=work / "leases")
    conf.write_text(text + "".join(f"{line}\n" for line in lines))
    lan.start(host, "dnsmasq", f"--conf-file={conf}", log=log)
    wait_for(log, "dnsmasq: started")
    return log


def wait_for(log: Path, text: str) -> None:
    """Wait until a program's log has a text.

    Raises:
        AssertionError: it does not within 10 seconds; the message has the log.
    """
    for _ in range(200):
        if log.exists() and text in log.read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise AssertionError(f"no {text!r} in {log}: {log.read_text(errors='replace')}")


def raw(code: int, data: bytes) -> str:
    """Return the line that sends an option's octets to every client."""
    return f"dhcp-option-force={code},{data.hex(':')}"
