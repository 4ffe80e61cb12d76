"""The DHCP clients' hooks: events that they keep or drop, and what a hostile server cannot do.

The environments are those that the real clients gave; `tests/home/test_dhcp_clients.py` has the
clients themselves give them, except odhcp6c, which Debian does not have.
"""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acmeiot.client import sightings
from acmeiot.client.sightings import Sighting

FILES = Path(__file__).parents[2] / "files/dhcp"
SAW = FILES / "acmeiot-saw"
NO_LEASES = Path("/nonexistent")
FQDN = b"router.lan"
OPTION_17 = bytes.fromhex("0000d83d0001000a") + FQDN
OPTION_125 = bytes.fromhex("0000d83d0c010a") + FQDN

# The shells of Debian, of a careful Fedora, and of OpenWrt.
SHELLS = pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox ash"])

Done = subprocess.CompletedProcess[str]


def run(shell: str, *arguments: str | bytes | Path, **environment: str | bytes) -> Done:
    return subprocess.run(
        [*shell.split(), *arguments],
        env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def saw(shell: str, place: Path, *arguments: str | bytes) -> Done:
    return run(shell, SAW, *arguments, ACMEIOT_SIGHTINGS=str(place))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory that hooks write to and agents watch; the first hook makes it."""
    return tmp_path / "acmeiot/dhcp"


@SHELLS
def test_kept_whole_and_removed(place: Path, shell: str) -> None:
    kept = ("server", "10.0.0.1", "domain", "lan  x.lan", "dns", "", "v4 125", OPTION_125.hex())
    done = saw(shell, place, "eth0", "udhcpc", *kept)
    assert (done.returncode, done.stderr) == (0, "")
    file = place / "eth0.udhcpc"
    assert file.read_text() == (
        f"server 10.0.0.1\ndomain lan\ndomain x.lan\nv4 125 {OPTION_125.hex()}\n"
    )
    assert list(place.iterdir()) == [file]
    assert (place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o755, 0o644)
    assert saw(shell, place, "eth0", "dhcpcd").returncode == 0
    assert file.exists()
    assert saw(shell, place, "eth0", "udhcpc").returncode == 0
    assert list(place.iterdir()) == []


@SHELLS
def test_only_a_change_wakes_the_agents(place: Path, shell: str) -> None:
    assert saw(shell, place, "eth0", "udhcpc", "domain", "lan").returncode == 0
    os.utime(place, (1, 1))
    assert saw(shell, place, "eth0", "udhcpc", "domain", "lan").returncode == 0
    assert saw(shell, place, "eth0", "dhclient").returncode == 0  # never had a lease
    assert place.stat().st_mtime == 1
    assert saw(shell, place, "eth0", "udhcpc", "domain", "home.arpa").returncode == 0
    assert place.stat().st_mtime > 1
    os.utime(place, (1, 1))
    assert saw(shell, place, "eth0", "udhcpc").returncode == 0
    assert place.stat().st_mtime > 1


HOSTILE = [
    b"$(touch CANARY)",
    b"`touch CANARY`",
    b";touch CANARY",
    b"'; touch CANARY; '",
    b'"; touch CANARY; "',
    b"|touch CANARY",
    b"a\ntouch CANARY\n",
    b"lan\nfqdn evil.lan",
    b"lan\tevil.lan",
    b"*",
    b"/etc/*",
    b"~root",
    b"\\x41",
    b"${PATH}",
    b"a&b",
    b"a>CANARY",
    b"ro\xc3\xbcter.lan",
    b"\x1b[31m",
    bytes(range(1, 256)),
    b"\xff" * 255,
    b"0" * 1601,
]


@SHELLS
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_value(tmp_path: Path, place: Path, shell: str, value: bytes) -> None:
    # Where a command would run, it would leave this file.
    value = value.replace(b"CANARY", os.fsencode(tmp_path / "canary"))
    done = saw(shell, place, "eth0", "udhcpc", "domain", value, "v4 125", value, "server", "::1")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "canary").exists()
    (found,), complaints = sightings.read(place, None, NO_LEASES)
    # No line but those of the keys came of it, and what was in it is told, not shown.
    assert (found.server, found.fqdn, found.v4) == ("::1", None, ())
    assert all("\x1b" not in said for said in complaints)
    assert any("the DHCP server sent as 'v4 125'" in said for said in complaints)
    lines = (place / "eth0.udhcpc").read_text().splitlines()
    assert all(line.split()[0] in ("server", "domain", "v4", "refused") for line in lines)


@SHELLS
@pytest.mark.parametrize("value", ["%s%n%d", "-n", "--", "0000d83d--"])
def test_words_that_a_careless_command_would_read(place: Path, shell: str, value: str) -> None:
    assert saw(shell, place, "eth0", "udhcpc", "v4 224", value).returncode == 0
    assert (place / "eth0.udhcpc").read_text() == f"v4 224 {value}\n"


@SHELLS
def test_only_lists_have_blanks(place: Path, shell: str) -> None:
    told = ("v4 224", "router lan", "server", "::1 ::2", "dns", "::1 ::2", "v4 60", " ")
    assert saw(shell, place, "eth0", "x", *told).returncode == 0
    assert (place / "eth0.x").read_text() == (
        "refused v4 224\nrefused server\ndns ::1\ndns ::2\nrefused v4 60\n"
    )


@SHELLS
def test_longest_value(place: Path, shell: str) -> None:
    assert saw(shell, place, "eth0", "x", "v6 17", "0" * 1600, "domain", "a " * 240).returncode == 0
    (found,), complaints = sightings.read(place, None, NO_LEASES)
    assert (found.v6, found.domains, complaints) == (((17, bytes(800)),), ("a",), ())
    done = saw(shell, place, "eth0", "x", "v6 17", "0" * 1601, "domain", "a " * 801, "dns", "::1")
    assert done.returncode == 0
    assert (place / "eth0.x").read_text() == "refused v6 17\nrefused domain\ndns ::1\n"


@settings(max_examples=50)
@given(value=st.binary(min_size=1, max_size=255).filter(lambda value: b"\0" not in value))
def test_any_value(tmp_path_factory: pytest.TempPathFactory, value: bytes) -> None:
    place = tmp_path_factory.mktemp("any") / "dhcp"
    done = saw("dash", place, "eth0", "udhcpc", "server", "::1", "v4 224", value)
    assert (done.returncode, done.stderr) == (0, "")
    allowed = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_%-")
    told = b"v4 224 " + value if set(value) <= allowed else b"refused v4 224"
    assert (place / "eth0.udhcpc").read_bytes() == b"server ::1\n" + told + b"\n"


@SHELLS
@pytest.mark.parametrize(
    ("interface", "client"),
    [
        ("", "udhcpc"),
        ("..", "udhcpc"),
        ("../eth0", "udhcpc"),
        ("/eth0", "udhcpc"),
        (".eth0", "udhcpc"),
        ("-eth0", "udhcpc"),
        ("eth0\n", "udhcpc"),
        ("eth 0", "udhcpc"),
        ("$(id)", "udhcpc"),
        ("a" * 16, "udhcpc"),
        ("eth0", ""),
        ("eth0", "../x"),
        ("eth0", "a.b"),
    ],
)
def test_bad_names_are_refused(place: Path, shell: str, interface: str, client: str) -> None:
    for event in ((), ("domain", "lan")):
        done = saw(shell, place, interface, client, *event)
        assert done.returncode == 1
        assert "can have this name" in done.stderr or "has this name" in done.stderr
    assert not place.exists()


@SHELLS
def test_not_into_a_directory_of_others(tmp_path: Path, place: Path, shell: str) -> None:
    place.mkdir(parents=True)
    for mode in (0o775, 0o757, 0o1777):
        place.chmod(mode)
        done = saw(shell, place, "eth0", "udhcpc", "domain", "lan")
        assert done.returncode == 1
        assert "is not a directory that only its owner writes to; remove it" in done.stderr
    place.chmod(0o755)
    (tmp_path / "link").symlink_to(place)
    assert saw(shell, tmp_path / "link", "eth0", "udhcpc", "domain", "lan").returncode == 1
    assert list(place.iterdir()) == []
    if os.geteuid() == 0:
        os.chown(place, 12345, -1)
        done = saw(shell, place, "eth0", "udhcpc", "domain", "lan")
        assert "belongs to the user 12345; remove it" in done.stderr
        os.chown(place, 0, -1)
    assert saw(shell, place, "eth0", "udhcpc", "domain", "lan").returncode == 0


# What each client put into its hook's environment when dnsmasq 2.90 sent the three v4 options
# and the v6 one, without what no hook reads.
UDHCPC = {
    "interface": "eth0", "serverid": "192.168.77.1", "domain": "lan", "search": "lan home.arpa",
    "dns": "192.168.77.1", "vendor": "", "opt125": "0000d83d0c010a726f757465722e6c616e",
    "opt224": "726f757465722e6c616e", "router": "192.168.77.1", "opt53": "05",
}  # fmt: skip
DHCLIENT = {
    "interface": "eth0", "new_dhcp_server_identifier": "192.168.77.1", "new_domain_name": "lan",
    "new_domain_name_servers": "192.168.77.1", "new_domain_search": "lan. home.arpa.",
    "new_vendor_class_identifier": "0:0:d8:3d:a:72:6f:75:74:65:72:2e:6c:61:6e",
    "new_vivso": "0:0:d8:3d:c:1:a:72:6f:75:74:65:72:2e:6c:61:6e",
    "new_vendor_unknown_55357": "1:a:72:6f:75:74:65:72:2e:6c:61:6e",
    "new_acmeiot_fqdn": "router.lan",
}  # fmt: skip
DHCLIENT6 = {
    "interface": "eth0", "new_dhcp6_domain_search": "lan.", "new_dhcp6_name_servers": "fd00:77::1",
    "new_dhcp6_vendor_opts": "0:0:d8:3d:0:1:0:a:72:6f:75:74:65:72:2e:6c:61:6e",
}  # fmt: skip
DHCPCD = {
    "interface": "eth0", "new_dhcp_server_identifier": "192.168.77.1", "new_domain_name": "lan",
    "new_domain_name_servers": "192.168.77.1", "new_domain_search": "lan home.arpa",
    "new_acmeiot_60": "0000d83d0a726f757465722e6c616e",
    "new_acmeiot_125": "0000d83d0c010a726f757465722e6c616e",
    "new_acmeiot_224": "726f757465722e6c616e",
}  # fmt: skip
DHCPCD6 = {
    "interface": "eth0", "new_dhcp6_domain_search": "lan", "new_dhcp6_name_servers": "fd00:77::1",
    "new_dhcp6_acmeiot_17": "0000d83d0001000a726f757465722e6c616e",
}  # fmt: skip
ODHCP6C = {
    "SERVER": "fe80::4c0:ecff:fef2:716b", "RDNSS": "fd00:77::1", "DOMAINS": "lan",
    "RA_DNS": "fe80::4c0:ecff:fef2:716b", "RA_DOMAINS": "lan", "OPTION_39": "0302766d036c616e00",
    "OPTION_17": "0000d83d0001000a726f757465722e6c616e",
    "PASSTHRU": "001100120000d83d0001000a726f757465722e6c616e",
}  # fmt: skip
NETWORK_MANAGER = {
    "DHCP4_DHCP_SERVER_IDENTIFIER": "192.168.77.1", "DHCP4_DOMAIN_NAME": "lan",
    "DHCP4_DOMAIN_NAME_SERVERS": "192.168.77.1", "DHCP4_DOMAIN_SEARCH": "lan home.arpa",
    "DHCP4_PRIVATE_224": "72:6f:75:74:65:72:2e:6c:61:6e", "DHCP6_DHCP6_DOMAIN_SEARCH": "lan",
    "DHCP6_DHCP6_NAME_SERVERS": "fd00:77::1", "DEVICE_IP_IFACE": "eth0",
}  # fmt: skip

V4 = {"server": "192.168.77.1", "domains": ("lan", "home.arpa"), "resolvers": ("192.168.77.1",)}
V6 = {"domains": ("lan",), "resolvers": ("fd00:77::1",)}
OPTION_60 = bytes.fromhex("0000d83d0a") + FQDN


def sighting(client: str, **what: object) -> Sighting:
    return Sighting(client, "eth0", **what)  # type: ignore[arg-type]


CLIENTS = [
    (
        "udhcpc", UDHCPC, ["bound", "renew"], ["deconfig", "leasefail", "nak"],
        sighting("udhcpc", **V4, v4=((125, OPTION_125), (224, FQDN))),
    ),
    (
        "dhclient", DHCLIENT, ["BOUND", "RENEW", "REBIND", "REBOOT"],
        ["PREINIT", "EXPIRE", "FAIL", "RELEASE", "STOP", "TIMEOUT"],
        sighting("dhclient", **V4, v4=((60, OPTION_60), (125, OPTION_125), (224, FQDN))),
    ),
    (
        "dhclient", DHCLIENT6, ["BOUND6", "RENEW6", "REBIND6"],
        ["PREINIT6", "EXPIRE6", "RELEASE6", "STOP6"],
        sighting("dhclient6", **V6, v6=((17, OPTION_17),)),
    ),
    (
        "dhcpcd", DHCPCD, ["BOUND", "INFORM", "REBIND", "REBOOT", "RENEW"],
        ["EXPIRE", "FAIL", "NAK", "RELEASE", "STOP", "TIMEOUT",
         "DEPARTED", "NOCARRIER", "PREINIT", "STOPPED"],
        sighting("dhcpcd", **V4, v4=((60, OPTION_60), (125, OPTION_125), (224, FQDN))),
    ),
    (
        "dhcpcd", DHCPCD6, ["BOUND6", "INFORM6", "REBIND6", "REBOOT6", "RENEW6"],
        ["EXPIRE6", "RELEASE6", "STOP6", "DEPARTED", "NOCARRIER", "PREINIT", "STOPPED"],
        sighting("dhcpcd6", **V6, v6=((17, OPTION_17),)),
    ),
    (
        "odhcp6c", ODHCP6C, ["bound", "informed", "updated", "rebound", "ra-updated"],
        ["started", "stopped", "unbound"],
        sighting(
            "odhcp6c", server="fe80::4c0:ecff:fef2:716b%eth0", domains=("lan",),
            resolvers=("fd00:77::1", "fe80::4c0:ecff:fef2:716b%eth0"), v6=((17, OPTION_17),),
        ),
    ),
    (
        "networkmanager", NETWORK_MANAGER, ["up", "reapply", "dhcp4-change", "dhcp6-change"],
        ["down"],
        sighting(
            "NetworkManager", server="192.168.77.1", domains=("lan", "home.arpa"),
            resolvers=("192.168.77.1", "fd00:77::1"), v4=((224, FQDN),),
        ),
    ),
]  # fmt: skip


def hook(shell: str, place: Path, name: str, event: str, environment: dict[str, str]) -> Done:
    """Call a hook as its client does: sourced by a script with the client's arguments, or run."""
    given = {**environment, "ACMEIOT_SIGHTINGS": str(place), "ACMEIOT_SAW": str(SAW)}
    arguments = ["eth0", event]
    if name == "udhcpc":
        arguments = [event]
    elif name in ("dhclient", "dhcpcd"):
        arguments, given["reason"] = [], event
    if name == "networkmanager":
        return run(shell, FILES / name, *arguments, **given)
    return run(shell, "-euc", f". {FILES / name}; echo on", "sh", *arguments, **given)


@SHELLS
@pytest.mark.parametrize(("name", "environment", "seen", "lost", "expected"), CLIENTS)
def test_events(
    place: Path,
    shell: str,
    name: str,
    environment: dict[str, str],
    seen: list[str],
    lost: list[str],
    expected: Sighting,
) -> None:
    said = "" if name == "networkmanager" else "on\n"  # the script that sourced it went on
    for event in seen:
        for end in lost:
            assert not place.exists() or list(place.iterdir()) == []
            done = hook(shell, place, name, event, environment)
            assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
            assert sightings.read(place, None, NO_LEASES) == ((expected,), ())
            # Other events, and an event of the other family, say nothing of this lease.
            for other in ("MEDIUM", "CARRIER", "hostname", "RENEW6-x", ""):
                done = hook(shell, place, name, other, environment)
                assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
            assert len(list(place.iterdir())) == 1
            done = hook(shell, place, name, end, {"interface": "eth0"})
            assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
            if event != seen[0]:
                break  # every event that begins and every one that ends, not all their pairs


@pytest.mark.parametrize("name", ["udhcpc", "odhcp6c", "dhclient", "dhcpcd"])
def test_a_missing_core_stops_no_client(tmp_path: Path, name: str) -> None:
    done = run(
        "dash", "-euc", f". {FILES / name}; echo on", "sh", "bound", "bound",
        interface="eth0", reason="BOUND", ACMEIOT_SAW=str(tmp_path / "none"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_shellcheck() -> None:
    scripts = [path for path in sorted(FILES.iterdir()) if path.suffix != ".conf"]
    assert len(scripts) == 6
    done = run("shellcheck", *scripts)
    assert (done.returncode, done.stdout) == (0, "")
