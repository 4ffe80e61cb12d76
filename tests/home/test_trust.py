"""A laptop between homes: what curl and NSS accept, and what no rogue can make them accept.

Real DHCP and DNS of a real dnsmasq, this project's server, Debian's own system store and a real
NSS database; each machine a network namespace.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.ca import index
from tests.home.network import ACMEIOT, LAPTOP_MAC, Machine, Plan, Router, Street

NEIGHBOURS = Plan("neighbours", "52:54:00:00:02:01")  # the same addresses and names
PORT = 9443


@dataclass(frozen=True, slots=True)
class RoguePlan(Plan):
    """A machine on somebody else's LAN that plays its router, but for the router's own MAC."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (f"{self.net}.66",)

    def dnsmasq(self, interface: str, work: Path) -> str:
        plain = super(RoguePlan, self).dnsmasq(interface, work)
        return f"{plain}dhcp-option=3,{self.net}.1\n"


ROGUE = RoguePlan("rogue", "52:54:00:00:06:66", net6="", label="rogue")


@pytest.fixture
def home(street: Street) -> Router:
    """A home whose server is announced."""
    return announced(street, Plan())


def announced(street: Street, plan: Plan) -> Router:
    """Build a home, server and all."""
    router = street.router(plan)
    router.serve()
    router.announce()
    return router


@dataclass
class Laptop:
    """A machine with the trust agent, and programs that have roots."""

    machine: Machine

    def trust(self, verb: str, *more: str, fails: bool = False) -> str:
        """Run one of the agent's commands."""
        return self.machine.acmeiot("trust", verb, *more, fails=fails)

    def status(self) -> dict[str, Any]:
        """Return the agent's status."""
        said = json.loads(self.trust("status", "--json"))
        assert isinstance(said, dict)
        return said

    def move(self, router: Router | None) -> None:
        """Carry it to another home, or away."""
        if self.machine._at is not None:
            self.machine.unplug()
        if router is not None:
            self.machine.join(router, "laptop")

    def accepts(self, url: str) -> bool:
        """Tell whether its programs believe a server; they must agree."""
        verdicts = {
            "curl": self._succeeds("curl", "-sS", "-o", "/dev/null", url),
            "nss": self._nss(url),
        }
        assert len(set(verdicts.values())) == 1, verdicts
        return verdicts["curl"]

    def _nss(self, url: str) -> bool:
        database = self.machine.home / ".pki/nssdb"
        host, port = url.removeprefix("https://").split("/")[0].split(":")
        return database.exists() and self._succeeds(
            "tstclnt", "-d", f"sql:{database}", "-h", host, "-p", port, "-Q"
        )

    def _succeeds(self, *argv: str) -> bool:
        said = self.machine.run("sh", "-c", '"$@" >&2; echo "exit $?"', "sh", *argv)
        return said.endswith("exit 0\n")


@pytest.fixture
def laptop(street: Street, home: Router) -> Laptop:
    """A laptop at home; its user has Chromium, and so a database for its roots."""
    machine = street.machine("laptop", LAPTOP_MAC)
    database = machine.home / ".pki/nssdb"
    database.mkdir(parents=True)
    machine.run("certutil", "-N", "--empty-password", "-d", f"sql:{database}")
    machine.join(home, "laptop")
    return Laptop(machine)


@contextmanager
def serving(router: Router, pem: Path) -> Iterator[str]:
    """Serve a page on a router, with this key and chain; yield its URL."""
    command = ("-m", "tests.home.service", pem, pem, str(PORT))
    with router.host.serving(ACMEIOT[0], *command, log=router.work / "service.log"):
        router.host.wait_for(f"ss -tln | grep -q :{PORT}")
        yield f"https://router.lan:{PORT}/"


def test_a_root_is_good_at_home_only(street: Street, home: Router, laptop: Laptop) -> None:
    """A-3.3-1..5, A-1-2, A-4.8-1: two homes with the same names and addresses."""
    neighbours = announced(street, NEIGHBOURS)
    stolen = home.state / "tls/server.pem"
    assert not laptop.accepts(home.directory)
    laptop.trust("once", "--mode", "tofu")
    assert laptop.accepts(home.directory)
    with serving(home, stolen) as url:
        assert laptop.accepts(url)
    laptop.move(neighbours)
    laptop.trust("once", "--mode", "tofu")
    assert laptop.accepts(neighbours.directory)
    with serving(neighbours, stolen) as url:
        assert not laptop.accepts(url)  # a device of the other home, carried here
    laptop.move(None)
    laptop.trust("once", "--mode", "tofu")
    listed = laptop.machine.run("certutil", "-L", "-d", f"sql:{laptop.machine.home}/.pki/nssdb")
    assert "acmeiot" not in listed
    assert laptop.status()["stores"] == []
    laptop.move(home)
    laptop.trust("once")  # known: nobody is asked
    assert laptop.accepts(home.directory)


def test_a_stolen_root_is_no_skeleton_key(home: Router, laptop: Laptop, tmp_path: Path) -> None:
    """A-1-1: the programs refuse the Internet's names, though they believe the root."""
    laptop.trust("once", "--mode", "tofu")
    good, bad = (minted(home, name, tmp_path) for name in ("router.lan", "www.example.com"))
    with serving(home, good) as url:
        assert laptop.accepts(url)
    with serving(home, bad):
        said = laptop.machine.run(
            *("curl", "-sS", "--resolve", f"www.example.com:{PORT}:192.168.1.1"),
            f"https://www.example.com:{PORT}/",
            fails=True,
        )
        assert "permitted subtree violation" in said
        laptop.machine.run("sh", "-c", "echo 192.168.1.1 www.example.com >>/etc/hosts")
        assert not laptop.accepts(f"https://www.example.com:{PORT}/")


def minted(home: Router, name: str, where: Path) -> Path:
    """Sign a leaf with the home's own root key, as a thief would; return key and chain."""
    state = index.read(home.state / "ca", lambda _path, _mode: None)
    assert state is not None
    root, key = state.root, ec.generate_private_key(ec.SECP384R1())
    now = datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .issuer_name(root.certificate.subject)
        .subject_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()),
            critical=False,
        )
        .sign(root.key, hashes.SHA384())
    )
    file = where / f"{name}.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + leaf.public_bytes(serialization.Encoding.PEM)
        + root.pem
    )
    return file


def intrude(street: Street, home: Router) -> Router:
    """Put a machine on the home's LAN that has a server and a CA of its own, and announces it."""
    rogue = announced(street, ROGUE)
    home.run(*f"ip link add rogue type veth peer name eth0 netns {rogue.host.pid}".split())
    home.run("ip", "link", "set", "rogue", "master", "lan", "up")
    rogue.run("ip", "link", "set", "eth0", "master", "lan", "up")
    return rogue


def test_a_rogue_that_is_quicker_than_the_router(
    street: Street, home: Router, laptop: Laptop
) -> None:
    """A-4.2-1, A-4.7-2: another CA on a known network, behind the same router's MAC."""
    laptop.trust("once", "--mode", "tofu")
    laptop.move(None)
    rogue = intrude(street, home)
    home._dns.close()  # the rogue wins the race
    laptop.move(home)
    said = laptop.trust("once", "--mode", "tofu", fails=True)
    assert said.startswith("acmeiot: eth0 (router 52:54:00:00:01:01")
    assert "the root has changed" in said
    assert home.root in said
    assert f"acmeiot trust accept sha256:{rogue.root}" in said
    assert "has NOT signed" in said
    assert not laptop.accepts(rogue.directory)
    (known,) = laptop.status()["networks"]
    assert known["root"]["sha256"] == home.root
    assert known["pending"]["sha256"] == rogue.root


def test_two_dhcp_servers_at_once(street: Street, home: Router, laptop: Laptop) -> None:
    """A-4.2-1: they disagree, so nobody is believed; what was believed stays."""
    laptop.trust("once", "--mode", "tofu")
    intrude(street, home)
    said = laptop.trust("once", "--mode", "tofu", "--probe", fails=True)
    assert "two DHCP answers on eth0 name different servers" in said
    assert said.rstrip().endswith("what was believed there stays")
    assert laptop.accepts(home.directory)


def test_a_man_in_the_middle_on_the_first_day(street: Street, home: Router, laptop: Laptop) -> None:
    """A-4.2-1: the root that the router shows is known from elsewhere."""
    laptop.move(None)
    intrude(street, home)
    home._dns.close()
    laptop.move(home)
    expected = ("--mode", "tofu", "--expect", f"sha256:{home.root}")
    assert "not the expected one" in laptop.trust("once", *expected, fails=True)
    assert laptop.status()["stores"] == []


def test_a_liar_on_multicast_dns(street: Street, home: Router, laptop: Laptop) -> None:
    """A-3.1-4, A-4.2-1: nobody is asked that way, and nobody who answers is heard."""
    home.announce("--remove")
    laptop.move(None)
    laptop.move(home)
    with home.host.serving(
        *(ACMEIOT[0], "-m", "tests.client.liar", "192.168.1.1"), log=home.work / "liar.log"
    ):
        home.host.wait_for("grep -q lying $1", home.work / "liar.log")
        assert "no ACME server is announced" in laptop.trust("once", "--mode", "tofu")
    assert laptop.status()["stores"] == []


def test_a_new_root_that_the_old_one_vouches_for(home: Router, laptop: Laptop) -> None:
    """A-4.7-2: told with both fingerprints; the old one stays until the new one is accepted."""
    laptop.trust("once", "--mode", "tofu")
    old = home.root
    home.owner("rotate")
    home.stop_serving()
    home.serve()
    assert home.root != old
    said = laptop.trust("once", "--mode", "tofu", fails=True)
    assert old in said
    assert home.root in said
    assert "has signed for the new one" in said
    assert laptop.accepts(home.directory)  # by the old root's cross-certificate
    laptop.trust("accept", f"sha256:{home.root}")
    (known,) = laptop.status()["networks"]
    assert known["root"]["sha256"] == home.root
    assert [one["sha256"] for one in known["older_roots"]] == [old]
    assert laptop.accepts(home.directory)


@contextmanager
def running(laptop: Laptop, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have the agent run, as the user's service manager does."""
    log = laptop.machine.work / "trust.log"
    command = (*ACMEIOT, "trust", "run", "--mode", "tofu", *options)
    environment = ("env", f"HOME={laptop.machine.home}")
    with laptop.machine.host.serving(*environment, *command, log=log) as process:
        yield process


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.2)


def test_the_agent_follows_the_cable(street: Street, home: Router, laptop: Laptop) -> None:
    """A-3.3-1, A-3.3-4: joining, leaving, the neighbours, stopping, dying."""
    neighbours = announced(street, NEIGHBOURS)

    def held() -> list[str]:
        return [one["sha256"] for one in laptop.status()["stores"]]

    def both(root: str) -> Callable[[], bool]:
        return lambda: held() == [root, root]  # in the system's store and in the person's

    with ExitStack() as stack:
        agent = stack.enter_context(running(laptop))
        eventually(both(home.root))
        laptop.move(None)
        eventually(lambda: held() == [])
        laptop.move(neighbours)
        eventually(both(neighbours.root))
        assert laptop.accepts(neighbours.directory)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(20) == 0
        assert held() == []
    with running(laptop) as agent:
        eventually(both(neighbours.root))
        agent.kill()
        agent.wait(20)
    assert held() == [neighbours.root] * 2  # what a crash leaves
    laptop.move(home)
    laptop.trust("once", "--mode", "managed", fails=True)
    assert held() == []


def test_reset_leaves_nothing(home: Router, laptop: Laptop) -> None:
    """A-4.4-1."""
    laptop.trust("once", "--mode", "tofu")
    assert laptop.accepts(home.directory)
    laptop.trust("reset")
    assert not laptop.accepts(home.directory)
    assert laptop.status()["networks"] == []
    assert "acmeiot" not in laptop.machine.run("ls", "/usr/local/share/ca-certificates")
