"""Leases and hosts(5): no line may stop the others, so nothing may be raised."""

import re

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.lan import hostfiles
    from acmeiot.lan.hostfiles import Reading
    from acmeiot.protocol import names

MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
DOMAINS = ("lan", "home.arpa")


def check(reading: Reading) -> None:
    """What was understood is canonical and of this home."""
    assert len(reading.entries) <= hostfiles.MAX_ENTRIES
    for entry in reading.entries:
        assert names.is_lan(names.ip(entry.host.address).address)
        assert entry.host.mac is None or MAC.fullmatch(entry.host.mac)
        assert entry.expires >= 0
        for name in entry.host.names:
            assert names.dns(name).value == name


SEEDS = (
    b"1700000000 aa:BB:cc:00:00:20 192.168.1.20 printer 01:aa:bb:cc:00:00:20\n",
    b"0 20-00:11:22:33 192.168.1.22 * *\n",
    b"duid 00:01:00:01\n1700000001 T12345 fd00::20 printer 00:03\n1 1 fe80::1%eth0 x *\n",
    (
        b"# br-lan 00030001aabbcc000020 1a2b printer 1700000000 20 128 fd00::20/128 fd01::20/128\n"
        b"# br-lan 000100012b000000aabbcc000021 0 - -1 21 62 fd00:0:0:4::/62\n"
    ),
    (
        b"# br-lan aabbcc000024 ipv4 broken\\x20cam 1700000000 c0a80118 32 192.168.1.24/32\n"
        b"# br-lan a:BB:c:0:0:25 ipv4 cam.lan -1 c0a80119 32 192.168.1.25/32\n"
    ),
    b"127.0.0.1 localhost\n192.168.1.20 printer.lan printer # the grey one\n::1 ip6-localhost\n",
)

runner.run(
    lambda data: check(hostfiles.read_leases(data, DOMAINS, "leases")),
    lambda data: check(hostfiles.read_hosts(data, DOMAINS, "hosts")),
    refusals=(),
    seeds=SEEDS,
)
