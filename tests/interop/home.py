"""A home to speak ACME in: a router with its resolver, and a printer, on a network of their own.

Each is a network namespace, so clients run with the ports they have by default and with the names
people use, and nothing is sent to any other network. The router's resolver is a real dnsmasq; the
TXT records of dns-01 lie in zones of a real named that takes signed updates.
"""

import base64
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.host import Host

ROUTER = "192.168.1.1"
PRINTER = "192.168.1.20"
NAMESERVER = "192.168.1.53"
DYNAMIC_ZONES = ("_acme-challenge.printer.lan", "_acme-challenge.printer.local")
UPDATE_KEY = "printer"
UPDATE_SECRET = base64.b64encode(bytes(range(32))).decode()

PEERS = Path(__file__).parents[2] / ".peers"

# Without a daemon's change of user: in a user's own namespace there is no other user.
DNSMASQ = f"""\
no-daemon
port=53
listen-address={ROUTER}
bind-interfaces
no-resolv
no-hosts
cache-size=0
pid-file=
local=/lan/local/internal/
address=/lan/{PRINTER}
address=/local/{PRINTER}
address=/internal/{PRINTER}
address=/router.lan/{ROUTER}
address=/router.local/{ROUTER}
address=/ns.lan/{NAMESERVER}
""" + "".join(f"server=/{zone}/{NAMESERVER}\n" for zone in DYNAMIC_ZONES)

ZONE = "$TTL 1\n@ IN SOA ns.lan. hostmaster.lan. 1 60 60 60 1\n@ IN NS ns.lan.\n"


@dataclass(frozen=True, slots=True)
class Home:
    """Two machines, and the bundle of roots that their programs take for the system's."""

    router: Host
    printer: Host
    bundle: Path

    def trust(self, root: Path) -> None:
        """Add a root to the bundle."""
        with self.bundle.open("a", encoding="ascii") as bundle:
            bundle.write(root.read_text(encoding="ascii"))


@contextmanager
def home(work: Path) -> Iterator[Home]:
    """Make a home whose files lie in `work`; it is gone after the `with` block."""
    with ExitStack() as end:
        router = Host.first(end)
        bundle = work / "ca-certificates.crt"
        bundle.touch()
        resolv = work / "resolv.conf"
        resolv.write_text(f"nameserver {ROUTER}\n", encoding="ascii")
        router.run("mount", "--bind", resolv, "/etc/resolv.conf")
        router.run("mount", "--bind", bundle, "/etc/ssl/certs/ca-certificates.crt")
        printer = router.beside()
        router.run(*f"ip link add lan type veth peer name lan netns {printer.pid}".split())
        for host, *addresses in ((router, ROUTER, NAMESERVER), (printer, PRINTER)):
            for address in addresses:
                host.run("ip", "address", "add", f"{address}/24", "dev", "lan")
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "link", "set", "lan", "up")
        _start_dns(router, work)
        yield Home(router, printer, bundle)


def _start_dns(router: Host, work: Path) -> None:
    """Start the resolver and the name server, and wait until one answers through the other."""
    conf = work / "dnsmasq.conf"
    conf.write_text(DNSMASQ, encoding="ascii")
    router.start("dnsmasq", f"--conf-file={conf}", log=work / "dnsmasq.log")
    named = ("-g", "-c", _named_conf(work))
    router.start(PEERS / "usr/sbin/named", *named, log=work / "named.log")
    for zone in DYNAMIC_ZONES:
        question = f"dig +short +tries=1 +time=1 @{ROUTER} {zone} SOA"
        router.wait_for(f"{question} | grep -q hostmaster")


def _named_conf(work: Path) -> Path:
    zones = []
    for zone in DYNAMIC_ZONES:
        file = work / f"{zone}.zone"
        file.write_text(ZONE, encoding="ascii")
        zones.append(
            f'zone "{zone}" {{ type primary; file "{file}";'
            f' allow-update {{ key "{UPDATE_KEY}"; }}; }};\n'
        )
    conf = work / "named.conf"
    conf.write_text(
        f'key "{UPDATE_KEY}" {{ algorithm hmac-sha256; secret "{UPDATE_SECRET}"; }};\n'
        f'options {{ directory "{work}"; listen-on {{ {NAMESERVER}; }};'
        " listen-on-v6 { none; }; pid-file none; session-keyfile none; recursion no;"
        " dnssec-validation no; notify no; };\ncontrols { };\n" + "".join(zones),
        encoding="ascii",
    )
    return conf
