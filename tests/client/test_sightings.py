"""What is read of the hooks' files and networkd's leases; hostile content is a complaint."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acmeiot.client import sightings
from acmeiot.client.sightings import Sighting

FQDN = bytes.fromhex("726f757465722e6c616e")
OPTION_125 = bytes.fromhex("0000d83d0c010a") + FQDN
NO_LEASES = Path("/nonexistent")

LEASE = b"""\
# This is private data. Do not parse.
ADDRESS=192.168.77.140
NETMASK=255.255.255.0
ROUTER=192.168.77.1
SERVER_ADDRESS=192.168.77.1
NEXT_SERVER=192.168.77.1
T1=1800
LIFETIME=3600
DNS=192.168.77.1 192.168.77.2
DOMAINNAME=lan
DOMAIN_SEARCH_LIST=lan home.arpa
HOSTNAME=vm
CLIENTID=ff79cb00be00020000ab110033bdebf95e192c
OPTION_224=726f757465722e6c616e
"""


def read(directory: Path, interface: str | None = None) -> tuple[list[Sighting], list[str]]:
    found, complaints = sightings.read(directory, interface, NO_LEASES)
    return list(found), list(complaints)


def test_whole_file(tmp_path: Path) -> None:
    (tmp_path / "eth0.udhcpc").write_text(
        "server 192.168.1.1\ndomain lan\ndomain Home.Arpa.\ndomain lan\ndns 192.168.1.1\n"
        "dns fe80::1\nv4 60 router.lan\nv4 125 0000d83d0c010a726f757465722e6c616e\n"
        "v6 17 0:0:d8:3d\nfqdn Router.lan\n"
    )
    assert read(tmp_path) == (
        [
            Sighting(
                "udhcpc",
                "eth0",
                server="192.168.1.1",
                domains=("lan", "home.arpa"),
                resolvers=("192.168.1.1", "fe80::1%eth0"),
                v4=((60, FQDN), (125, OPTION_125)),
                v6=((17, b"\0\0\xd8\x3d"),),
                fqdn="router.lan",
            )
        ],
        [],
    )


@pytest.mark.parametrize(
    ("shown", "octets"),
    [
        ("726f757465722e6c616e", FQDN),  # udhcpc, odhcp6c, dhcpcd, networkd
        ("72:6f:75:74:65:72:2e:6c:61:6e", FQDN),  # NetworkManager
        ("router.lan", FQDN),  # dhclient, of what is all printable
        ("0:0:d8:3D:a", b"\x00\x00\xd8\x3d\x0a"),  # dhclient, of the rest
        ("ca.fe", b"ca.fe"),
        ("abc", b"abc"),
    ],
)
def test_forms_of_octets(shown: str, octets: bytes) -> None:
    assert sightings.octets(shown) == octets


@pytest.mark.parametrize(
    "shown", ["", ":", "1:", "1:2:", "123:4", "a b", "a\n", "$(x)", "ü", "g:0"]
)
def test_no_form_of_octets(shown: str) -> None:
    with pytest.raises(ValueError, match="neither hex nor a name"):
        sightings.octets(shown)


@given(octets=st.binary(min_size=2))
def test_every_form_gives_the_same(octets: bytes) -> None:
    assert sightings.octets(octets.hex()) == octets
    assert sightings.octets(octets.hex(":").upper()) == octets
    assert sightings.octets(":".join(f"{octet:x}" for octet in octets)) == octets


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("server router", "'router' is no IP address"),
        ("dns 192.168.1.300", "'192.168.1.300' is no IP address"),
        ("domain -lan", "is not a host label"),
        ("domain *.lan", "'*.lan' is no name of a host or a domain"),
        ("domain 10.0.0.1", "looks like an IP address"),
        ("fqdn a..lan", "empty label"),
        ("v4 0 00", "'0' is no number of a DHCPv4 option"),
        ("v4 255 00", "'255' is no number of a DHCPv4 option"),
        ("v4 x 00", "'x' is no number of a DHCPv4 option"),
        ("v6 65536 00", "'65536' is no number of a DHCPv6 option"),
        ("v4 125", "'' is neither hex nor a name"),
        ("v4 125 0:0 d8", "'0:0 d8' is neither hex nor a name"),
        ("refused v4 125", "what the DHCP server sent as 'v4 125' has a character or a length"),
        ("evil \x1b[31m", "'evil' is no key of a hook"),
        ("\x1b[31m", r"'\x1b[31m' is no key of a hook"),
        ("fqdn r\u00f6uter.lan", "is not ASCII"),
    ],
)
def test_bad_line_is_a_complaint_and_the_others_stand(
    tmp_path: Path, line: str, complaint: str
) -> None:
    (tmp_path / "eth0.udhcpc").write_text(f"server 192.168.1.1\n{line}\ndomain lan\n")
    (found,), (said,) = read(tmp_path)
    assert (found.server, found.domains) == ("192.168.1.1", ("lan",))
    assert said.startswith(f"{tmp_path}/eth0.udhcpc: line 2: ")
    assert complaint in said
    assert said.isascii()
    assert said.isprintable()


def test_complaints_are_short_and_few(tmp_path: Path) -> None:
    (tmp_path / "eth0.udhcpc").write_text(("server " + "x" * 3000 + "\n") * 20)
    _, complaints = read(tmp_path)
    assert len(complaints) == sightings.MAX_COMPLAINTS + 1
    assert complaints[-1].endswith("and 12 more like these")
    assert max(map(len, complaints)) < 300 + len(str(tmp_path))


def test_one_interface_and_names_with_dots(tmp_path: Path) -> None:
    for name in ("eth0.udhcpc", "eth0.10.udhcpc", "br-lan.odhcp6c", ".eth0.udhcpc"):
        (tmp_path / name).write_text("domain lan\n")
    found, complaints = read(tmp_path)
    assert [(one.interface, one.client) for one in found] == [
        ("br-lan", "odhcp6c"),
        ("eth0.10", "udhcpc"),
        ("eth0", "udhcpc"),
    ]
    assert complaints == []
    (only,), _ = read(tmp_path, "eth0.10")
    assert only.interface == "eth0.10"


@pytest.mark.parametrize(
    "name", ["udhcpc", "a" * 16 + ".udhcpc", "eth0.", "eth 0.udhcpc", "eth0.udhcpc\n", "-.x"]
)
def test_other_files_are_complaints(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("domain lan\n")
    (tmp_path / "eth0.udhcpc").write_text("domain lan\n")
    found, (complaint,) = read(tmp_path)
    assert len(found) == 1
    assert "its name is not INTERFACE.CLIENT" in complaint
    assert complaint.isprintable()


def test_bounds(tmp_path: Path) -> None:
    for number in range(sightings.MAX_FILES + 1):
        (tmp_path / f"eth{number}.udhcpc").write_text("domain lan\n")
    found, (complaint,) = read(tmp_path)
    assert len(found) == sightings.MAX_FILES
    assert complaint == f"{tmp_path} has more than 64 files; not all are read"

    huge = tmp_path / "x" / "eth0.udhcpc"
    huge.parent.mkdir()
    with huge.open("wb") as file:
        file.write(b"domain lan\n")
        file.truncate(1 << 40)  # more than there is memory for
    (kept,), complaints = read(huge.parent)
    assert kept.domains == ("lan",)
    assert "longer than 65536 bytes" in complaints[0]

    taken, said = sightings.hook_file("eth0", "x", b"\n" * sightings.MAX_BYTES + b"v4 1 00\n")
    assert (taken.v4, said[0]) == ((), "longer than 65536 bytes; the rest is not read")
    data = b"dns " + b"x" * (sightings.MAX_BYTES - 4) + b"\nv4 1 00\n"
    assert sightings.hook_file("eth0", "x", data)[0].v4 == ()

    huge.write_text("".join(f"v4 {code} 00\n" for code in range(1, 101)) + "\n" * 300)
    (kept,), complaints = read(huge.parent)
    assert len(kept.v4) == sightings.MAX_EACH
    assert "more than 256 lines" in complaints[0]
    assert "more than 16 options" in complaints[1]

    huge.write_text("".join(f"domain d{n}\ndns 10.0.0.{n}\n" for n in range(20)) + "domain d0\n")
    (kept,), complaints = read(huge.parent)
    assert len(kept.domains) == len(kept.resolvers) == sightings.MAX_EACH
    assert len(complaints) == 8


def test_only_files_that_nobody_else_can_write(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.write_text("domain lan\n")
    place = tmp_path / "dhcp"
    place.mkdir()
    (place / "a.link").symlink_to(real)
    os.mkfifo(place / "b.pipe")
    (place / "c.dir").mkdir()
    (place / "d.open").write_text("domain lan\n")
    (place / "d.open").chmod(0o646)
    (place / "e.good").write_text("domain lan\n")
    (found,), complaints = read(place)
    assert found.interface == "e"
    assert [complaint.removeprefix(f"{place}/") for complaint in complaints] == [
        "a.link cannot be read: Too many levels of symbolic links",
        "b.pipe is not a regular file",
        "c.dir is not a regular file",
        "d.open can be written by everybody; not read",
    ]


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eth0.udhcpc").write_text("domain lan\n")
    owner = (tmp_path / "eth0.udhcpc").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    found, complaints = read(tmp_path)
    if owner == 0:  # root's files are what everybody reads
        assert (len(found), complaints) == (1, [])
    else:
        assert found == []
        assert f"belongs to user {owner}; not read" in complaints[0]


def test_no_directory_is_no_complaint(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ([], [])
    (tmp_path / "file").touch()
    assert read(tmp_path / "file") == ([], [f"{tmp_path}/file cannot be read: Not a directory"])


def named(names: Mapping[int, str]) -> sightings.InterfaceName:
    def name(index: int) -> str:
        if index not in names:
            raise OSError("no interface with this index")
        return names[index]

    return name


def test_networkd_leases(tmp_path: Path) -> None:
    (tmp_path / "2").write_bytes(LEASE)
    (tmp_path / "3").write_bytes(LEASE)  # its interface has gone
    (tmp_path / "4").write_bytes(b"DOMAINNAME=\x1b\nOPTION_224=zz\nOPTION_x=00\nDNS=\n")
    (tmp_path / ".#4abc").write_bytes(b"")
    (tmp_path / "readme").write_bytes(b"")
    found, complaints = sightings.read(
        tmp_path / "none", None, tmp_path, named({2: "eth0", 4: "eth1"})
    )
    assert found == (
        Sighting(
            "systemd-networkd",
            "eth0",
            server="192.168.77.1",
            domains=("lan", "home.arpa"),
            resolvers=("192.168.77.1", "192.168.77.2"),
            v4=((224, FQDN),),
        ),
        Sighting("systemd-networkd", "eth1", v4=((224, b"zz"),)),
    )
    assert [complaint.partition(": ")[2] for complaint in complaints] == [
        complaints[0].partition(": ")[2],
        "line 3: 'x' is no number of a DHCPv4 option",
    ]
    assert "line 1: '\\x1b' in '\\x1b' is not a host label" in complaints[0]
    assert sightings.read(tmp_path / "none", "eth1", tmp_path, named({2: "eth0"})) == ((), ())


def test_networkd_index_beyond_the_kernels(tmp_path: Path) -> None:
    (tmp_path / "999999999").write_bytes(LEASE)
    assert sightings.read(tmp_path / "none", None, tmp_path) == ((), ())


@given(data=st.binary())
def test_nothing_crashes_the_reader(data: bytes) -> None:
    for taken, complaints in (
        sightings.hook_file("eth0", "udhcpc", data),
        sightings.networkd_lease("eth0", data),
    ):
        assert taken.interface == "eth0"
        assert all(said.isascii() and said.isprintable() for said in complaints)
