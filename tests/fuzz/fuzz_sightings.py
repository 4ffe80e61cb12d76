"""What DHCP clients' hooks left, and networkd's leases: no octet of them may raise anything."""

import ipaddress

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.client import sightings
    from acmeiot.client.sightings import Sighting
    from acmeiot.protocol import names


def check(taken: tuple[Sighting, tuple[str, ...]]) -> None:
    """What was understood is canonical and bounded, and a complaint can be shown."""
    seen, complaints = taken
    for address in (seen.server, *seen.resolvers):
        assert address is None or str(ipaddress.ip_address(address)) == address
    for name in (seen.fqdn, *seen.domains):
        assert name is None or names.dns(name).value == name
    assert all(1 <= code <= 254 for code, _ in seen.v4)
    assert all(1 <= code <= 65535 for code, _ in seen.v6)
    for many in (seen.domains, seen.resolvers, seen.v4, seen.v6):
        assert len(many) <= sightings.MAX_EACH
    assert len(complaints) <= sightings.MAX_COMPLAINTS + 1
    for complaint in complaints:
        assert complaint.isascii()
        assert complaint.isprintable()
        assert len(complaint) < 1024  # a control character is shown as four


SEEDS = (
    b"server 192.168.1.1\ndomain lan\ndomain home.arpa\ndns 192.168.1.1\ndns fe80::1%eth0\n",
    b"v4 60 router.lan\nv4 125 0000d83d0c010a726f757465722e6c616e\nv4 224 72:6f:75:74:65:72\n",
    b"v6 17 0:0:d8:3d:0:1:0:a:72:6f:75:74:65:72:2e:6c:61:6e\nfqdn router.lan\nrefused v4 125\n",
)
LEASE = b"""\
# This is private data. Do not parse.
ADDRESS=192.168.77.140
SERVER_ADDRESS=192.168.77.1
DNS=192.168.77.1 192.168.77.2
DOMAINNAME=lan
DOMAIN_SEARCH_LIST=lan home.arpa
OPTION_224=726f757465722e6c616e
"""

runner.run(
    lambda data: check(sightings.hook_file("eth0", "udhcpc", data)),
    lambda data: check(sightings.networkd_lease("eth0", data)),
    refusals=(),
    seeds=(*SEEDS, LEASE),
)
