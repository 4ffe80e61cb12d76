"""Every DHCP client's hook tells the same ACME server, and a hostile DHCP server reaches nothing.

Real clients get real leases from a real dnsmasq, each set up as the comments in `files/dhcp` say.
odhcp6c is in no Debian; its hook has the environment that it gave, in tests/client/test_hooks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from acmeiot.client import sightings
from acmeiot.client.sightings import Sighting
from acmeiot.protocol import dhcp
from tests.home.leases import FILES, PEERS, SERVER, SERVER6, Machine, lan

CORE = "/usr/lib/acmeiot/acmeiot-saw"

# The bytes of the draft's option (A-3.1-2), of the registered ones, and the name alone.
HONEST = (
    "dhcp-option=option:domain-search,lan,home.arpa",
    "dhcp-option=option6:domain-search,lan",
    "dhcp-option-force=60,00:00:d8:3d:0a:72:6f:75:74:65:72:2e:6c:61:6e",
    "dhcp-option-force=125,00:00:d8:3d:0c:01:0a:72:6f:75:74:65:72:2e:6c:61:6e",
    "dhcp-option-force=224,router.lan",
    "dhcp-option-force=option6:17,00:00:d8:3d:00:01:00:0a:72:6f:75:74:65:72:2e:6c:61:6e",
)
NAME = b"router.lan"
OPTION_60 = bytes.fromhex("0000d83d0a") + NAME
OPTION_125 = bytes.fromhex("0000d83d0c010a") + NAME
OPTION_17 = bytes.fromhex("0000d83d0001000a") + NAME

Client = Callable[[Machine], AbstractContextManager[None]]


# Each gets a lease within its `with` block, and gives it back after.


@contextmanager
def udhcpc(machine: Machine) -> Iterator[None]:
    """Debian's busybox client with Debian's own script."""
    machine.install("acmeiot-saw", CORE)
    machine.install("udhcpc", "/usr/lib/acmeiot/udhcpc")
    machine.append("/etc/udhcpc/default.script", ". /usr/lib/acmeiot/udhcpc\n")
    command = (
        "busybox",
        "udhcpc",
        "-f",
        "-R",
        "-i",
        "eth0",
        "-O",
        "search",
        "-O",
        "125",
        "-O",
        "224",
    )
    machine.on()
    with machine.host.serving(*command, log=machine.log):
        yield


@contextmanager
def dhclient(machine: Machine, *options: str) -> Iterator[None]:
    """ISC's, with Debian's script and configuration."""
    machine.install("acmeiot-saw", CORE)
    machine.install("dhclient", "/etc/dhcp/dhclient-exit-hooks.d/acmeiot")
    machine.install("dhclient.conf", "/etc/dhcp/acmeiot.conf")
    machine.append("/etc/dhcp/dhclient.conf", 'include "/etc/dhcp/acmeiot.conf";\n')
    files = ("-lf", "/run/dhclient.leases", "-pf", "/run/dhclient.pid")
    command = ("dhclient", "-v", *options, *files)
    machine.on()
    with machine.host.serving(*command, "-d", "eth0", log=machine.log):
        yield
        if "-S" not in options:
            machine.host.run(*command, "-r", "eth0")


def dhclient6(machine: Machine) -> AbstractContextManager[None]:
    """The same for DHCPv6."""
    return dhclient(machine, "-6")


def stateless(machine: Machine) -> AbstractContextManager[None]:
    """The same without a lease: the information only (RFC 8415 section 6.1)."""
    return dhclient(machine, "-6", "-S")


@contextmanager
def dhcpcd(machine: Machine) -> Iterator[None]:
    """One daemon for both families."""
    machine.install("acmeiot-saw", CORE)
    machine.install("dhcpcd", "/usr/lib/dhcpcd/dhcpcd-hooks/70-acmeiot")
    # This link has nobody whose address it could be, and nobody else who starts now.
    machine.append("/etc/dhcpcd.conf", (FILES / "dhcpcd.conf").read_text() + "noarp\nnodelay\n")
    machine.on()
    with machine.host.serving("dhcpcd", "-B", "eth0", log=machine.log) as process:
        yield
        # By itself it waits for ten seconds, and its hooks may take longer on a busy computer.
        machine.host.run("sh", "-c", "dhcpcd -k eth0 || true")
        process.wait(60)


@contextmanager
def networkd(machine: Machine) -> Iterator[None]:
    """systemd's, which runs no hook."""
    machine.append(
        "/etc/systemd/network/20-wired.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n"
    )
    machine.install("networkd.conf", "/etc/systemd/network/20-wired.network.d/acmeiot.conf")
    machine.on()
    machine.host.run(
        *("install", "-d", "-o", "systemd-network", "-g", "systemd-network"),
        *(f"/run/systemd/netif{place}" for place in ("", "/leases", "/links", "/lldp")),
    )
    with machine.host.serving("/usr/lib/systemd/systemd-networkd", log=machine.log):
        yield


# A bus where everybody may say everything; the machine has no other programs on it.
BUS = """\
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/><allow user="*"/>
  </policy>
</busconfig>
"""
NETWORK_MANAGER = """\
[main]
plugins=keyfile
dhcp=internal
rc-manager=unmanaged
no-auto-default=*
auth-polkit=false
[keyfile]
path=/run
"""
CONNECTION = "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n[ipv6]\nmethod=auto\n"


@contextmanager
def network_manager(machine: Machine) -> Iterator[None]:
    """NetworkManager with its own DHCP client, and its dispatcher."""
    machine.install("acmeiot-saw", CORE)
    machine.install("networkmanager", "/etc/NetworkManager/dispatcher.d/90-acmeiot")
    for name, text in (("bus", BUS), ("nm", NETWORK_MANAGER), ("eth0.nmconnection", CONNECTION)):
        (machine.run / name).write_text(text)
        (machine.run / name).chmod(0o600)
    (machine.run / "dbus").mkdir()
    machine.on()
    programs = (
        ("dbus-daemon", "--config-file=/run/bus", "--nofork"),
        ("/usr/lib/NetworkManager/nm-dispatcher", "--persist"),
        (PEERS / "usr/sbin/NetworkManager", "--no-daemon", "--config=/run/nm"),
    )
    with ExitStack() as end:
        for program in programs:
            end.enter_context(machine.host.serving(*program, log=machine.log))
            machine.host.wait_for("test -S /run/dbus/system_bus_socket")
        yield
        machine.host.run("ip", "link", "set", "eth0", "down")
        machine.host.wait_for("test ! -e /run/acmeiot/dhcp/eth0.NetworkManager")


V4 = {"server": SERVER, "domains": ("lan", "home.arpa"), "resolvers": (SERVER,)}
V6 = {"domains": ("lan",), "resolvers": (SERVER6,)}


def on_eth0(client: str, **told: object) -> Sighting:
    """Return what a client is expected to have told."""
    return Sighting(client, "eth0", **told)  # type: ignore[arg-type]


CLIENTS = [
    pytest.param(
        udhcpc,
        [on_eth0("udhcpc", **V4, v4=((125, OPTION_125), (224, NAME)))],
        id="udhcpc",
    ),
    pytest.param(
        dhclient,
        [on_eth0("dhclient", **V4, v4=((60, OPTION_60), (125, OPTION_125), (224, NAME)))],
        id="dhclient",
    ),
    pytest.param(
        dhclient6, [on_eth0("dhclient6", **V6, v6=((17, OPTION_17),))], id="dhclient -6"
    ),
    pytest.param(
        stateless,
        [on_eth0("dhclient6", **V6, v6=((17, OPTION_17),))],
        id="dhclient -6 -S",
    ),
    pytest.param(
        dhcpcd,
        [
            on_eth0("dhcpcd", **V4, v4=((60, OPTION_60), (125, OPTION_125), (224, NAME))),
            on_eth0("dhcpcd6", **V6, v6=((17, OPTION_17),)),
        ],
        id="dhcpcd",
    ),
    pytest.param(
        networkd,
        [on_eth0("systemd-networkd", server=SERVER, domains=("lan",), resolvers=(SERVER,),
                 v4=((224, NAME),))],
        id="systemd-networkd",
    ),
    pytest.param(
        network_manager,
        [on_eth0("NetworkManager", server=SERVER, domains=("lan", "home.arpa"),
                 resolvers=(SERVER, SERVER6), v4=((224, NAME),))],
        id="NetworkManager",
    ),
]  # fmt: skip


def read(machine: Machine) -> tuple[list[Sighting], tuple[str, ...]]:
    """Return what the machine's agents would read."""
    found, complaints = sightings.read(
        machine.run / "acmeiot/dhcp", "eth0", machine.run / "systemd/netif/leases",
        lambda index: "eth0" if index == machine.index else "other",
    )  # fmt: skip
    return list(found), complaints


def wait(machine: Machine, clients: list[str]) -> None:
    """Wait until these clients' leases are there."""
    for client in clients:
        place = f"/run/acmeiot/dhcp/eth0.{client}"
        if client == "systemd-networkd":
            place = f"/run/systemd/netif/leases/{machine.index}"
        try:
            machine.host.wait_for(f"test -e {place}")
        except AssertionError:
            pytest.fail(f"{client} told nothing; it said:\n{machine.log.read_text()}")


@pytest.mark.parametrize("forced", [True, False], ids=["forced", "asked for"])
@pytest.mark.parametrize(("client", "expected"), CLIENTS)
def test_every_client_tells_the_same(
    tmp_path: Path, client: Client, expected: list[Sighting], forced: bool
) -> None:
    """A-3.1-1, A-3.1-2, A-5.1-1: the option is read whichever client this machine has."""
    options = HONEST if forced else [line.replace("-force", "") for line in HONEST]
    if client is network_manager and not forced:
        expected = [replace(one, v4=()) for one in expected]
    with lan(tmp_path, options) as machine:
        with client(machine):
            wait(machine, [one.client for one in expected])
            if client is network_manager:  # it tells once more for DHCPv6
                machine.host.wait_for("grep -q fd00 /run/acmeiot/dhcp/eth0.NetworkManager")
            found, complaints = read(machine)
            assert (found, complaints) == (expected, ())
            for one in found:
                told = dhcp.read4(one.v4, (224,)) if one.v4 else dhcp.read6(one.v6)
                if one.v4 or one.v6:
                    assert told.found == dhcp.Advertisement("router.lan")
        # The lease is gone, and what was told with it; where there was none, nothing ends it.
        assert read(machine) == (expected if client is stateless else [], ())


# What the shells, the clients' own scripts and our files could trip over. Where a command of it
# ran, it would leave a file. Clients that show text as it is do so when all of it is printable.
HOSTILE = [
    pytest.param(b"$(>/run/canary)`>/run/canary`;>/run/canary", id="commands"),
    pytest.param(b"';>/run/canary;'\";>/run/canary;\"\\", id="quotes"),
    pytest.param(b"x\n$(>/run/canary)\n>/run/canary\nfqdn evil.lan\n", id="lines"),
    pytest.param(bytes((*range(32), *range(224, 256))), id="no text"),
    pytest.param(bytes(range(1, 256)), id="long"),
]


def hostile(content: bytes) -> tuple[str, ...]:
    """Have the content in every place that a hook reads, as far as a packet holds it."""
    enterprise, sub = b"\0\0\xd8\x3d", bytes((1, len(content) & 255)) + content
    if len(content) > 64:
        return (
            f"dhcp-option-force=224,{content.hex(':')}",
            f"dhcp-option-force=option6:17,{(enterprise + content[:240]).hex(':')}",
        )
    return (
        f"dhcp-option-force=15,{content.hex(':')}",
        f"dhcp-option-force=60,{content.hex(':')}",  # to some it is a string
        f"dhcp-option-force=125,{(enterprise + bytes((len(sub),)) + sub).hex(':')}",
        f"dhcp-option-force=224,{content.hex(':')}",
        f"dhcp-option-force=option6:17,{(enterprise + bytes(1) + sub).hex(':')}",
    )


@pytest.mark.parametrize("content", HOSTILE)
@pytest.mark.parametrize(("client", "expected"), CLIENTS)
def test_a_hostile_server_reaches_nothing(
    tmp_path: Path, client: Client, expected: list[Sighting], content: bytes
) -> None:
    """No octet of an option is run, and none becomes a server's name; the client has its lease."""
    with lan(tmp_path, hostile(content)) as machine, client(machine):
        wait(machine, [one.client for one in expected])
        found, _ = read(machine)
        assert not (machine.run / "canary").exists()
        assert [one.client for one in found] == [one.client for one in expected]
        for one in found:
            assert one.fqdn is None
            for reading in (dhcp.read4(one.v4, (224,)), dhcp.read6(one.v6)):
                assert reading.found is None
        address = machine.host.run("ip", "-o", "address", "show", "dev", "eth0", "scope", "global")
        assert "192.168.77." in address or "fd00:77::" in address or client is stateless
