"""The router's own pages: given a certificate of this home, and what they had when it goes."""

from __future__ import annotations

from tests.shell.router import Router
from tests.shell.test_settings import SOURCES

LIBRARY = f"{SOURCES}; . /usr/lib/acmeiot/webserver.sh; load_settings quietly"
PEM = "/etc/acmeiot/tls/server.pem"
CERT, KEY = "/etc/uhttpd-acmeiot.crt", "/etc/uhttpd-acmeiot.key"


def block(kind: str, content: str) -> str:
    return f"-----BEGIN {kind}-----\n{content}\n-----END {kind}-----\n"


def pem(serial: int) -> str:
    """Return a key and a chain as the server keeps them; the hand-over looks at no more."""
    return block("PRIVATE KEY", f"key{serial}") + "".join(
        block("CERTIFICATE", f"{name}{serial}") for name in ("leaf", "issuer", "root")
    )


def pages(router: Router) -> list[str]:
    return router.sh("uci -q get uhttpd.main.cert; uci -q get uhttpd.main.key; :").split()


def remembered(router: Router) -> str:
    return router.sh("uci show acmeiot | grep uhttpd_ || :")


def restarts(router: Router) -> int:
    return router.inits.count("uhttpd restart")


def over(router: Router, serial: int | None = None) -> None:
    if serial is not None:
        router.write(PEM, pem(serial), "0600")
    router.sh(f"{LIBRARY}; hand_over")


def test_handed_over_renewed_and_handed_back(router: Router) -> None:
    before = router.read("/etc/config/uhttpd").replace("'", "").split()
    over(router, 1)
    assert pages(router) == [CERT, KEY]
    assert router.read(KEY) == block("PRIVATE KEY", "key1")
    assert router.read(CERT) == pem(1).removeprefix(block("PRIVATE KEY", "key1"))
    assert router.sh(f"stat -c '%a %u' {CERT} {KEY}") == "600 0\n600 0\n"
    assert restarts(router) == 1
    event = 'service event {"type":"acme.renew","data":{}}'
    assert router.read("/var/log/ubus").splitlines() == [event]

    for _ in range(3):  # nothing is new: nobody is disturbed, nothing is written
        # In /etc itself a file would show that was there for a moment.
        files = f"/etc {CERT} /etc/config/uhttpd /etc/config/acmeiot"
        stamp = router.sh(f"stat -c %y {files}")
        over(router)
        assert router.sh(f"stat -c %y {files}") == stamp
    assert restarts(router) == 1

    over(router, 2)  # a renewal
    assert "leaf2" in router.read(CERT)
    assert "key2" in router.read(KEY)
    assert restarts(router) == 2

    router.sh(f"{LIBRARY}; hand_back; hand_back")
    assert router.read("/etc/config/uhttpd").replace("'", "").split() == before
    assert restarts(router) == 3
    assert remembered(router) == ""
    assert router.sh("ls /etc/uhttpd* 2>/dev/null || :") == ""
    assert router.sh("ls /etc/*.new 2>/dev/null || :") == ""


def test_options_that_were_not_set_are_not_set_afterwards(router: Router) -> None:
    router.sh("uci delete uhttpd.main.cert; uci delete uhttpd.main.key; uci commit")
    over(router, 1)
    assert pages(router) == [CERT, KEY]
    router.sh(f"{LIBRARY}; hand_back")
    assert pages(router) == []


def test_an_owner_who_sets_another_is_not_overruled(router: Router) -> None:
    over(router, 1)
    router.uci("uhttpd.main.cert=/etc/mine.crt", "uhttpd.main.key=/etc/mine.key")
    over(router, 2)
    assert pages(router) == ["/etc/mine.crt", "/etc/mine.key"]
    router.sh(f"{LIBRARY}; hand_back")
    assert pages(router) == ["/etc/mine.crt", "/etc/mine.key"]
    assert remembered(router) == ""


def test_a_page_that_waits_for_its_confirmation_is_not_cut_off(router: Router) -> None:
    """LuCI would take back the very change that switched the service on."""
    router.write("/var/run/rpcd/snapshot-files/acmeiot", "")
    over(router, 1)
    assert (pages(router)[0], restarts(router)) == ("/etc/uhttpd.crt", 0)
    router.sh("rm /var/run/rpcd/snapshot-files/acmeiot")
    over(router)
    assert (pages(router)[0], restarts(router)) == (CERT, 1)


def test_changes_that_wait_are_not_committed(router: Router) -> None:
    router.sh("uci set uhttpd.main.realm=mine")
    over(router, 1)
    assert pages(router)[0] == "/etc/uhttpd.crt"
    assert router.sh("uci changes uhttpd") == "uhttpd.main.realm='mine'\n"
    router.sh("uci commit")
    over(router)
    assert pages(router)[0] == CERT
    assert restarts(router) == 1


def test_half_a_file_and_a_link_are_not_handed_over(router: Router) -> None:
    router.write(PEM, block("CERTIFICATE", "leaf"))
    over(router)
    router.write(PEM, block("PRIVATE KEY", "key"))
    over(router)
    router.write(PEM, pem(1).rpartition("-----END")[0])
    over(router)
    router.write("/tmp/elsewhere", pem(1))
    router.sh(f"ln -sf /tmp/elsewhere {PEM}")
    over(router)
    assert (pages(router)[0], restarts(router)) == ("/etc/uhttpd.crt", 0)
    assert router.sh("ls /etc/uhttpd* 2>/dev/null || :") == ""


def test_flash_without_room_keeps_what_it_has(router: Router) -> None:
    """Half a certificate would end the router's pages."""
    long = "".join(block("CERTIFICATE", letter * 2000) for letter in "abc")
    router.write(PEM, block("PRIVATE KEY", "first") + long, "0600")
    router.sh("mkdir /tmp/flash && mount -t tmpfs -o size=32k none /tmp/flash")
    at_flash = f"{LIBRARY}; PAGES_CERT=/tmp/flash/crt; PAGES_KEY=/tmp/flash/key"
    router.sh(f"{at_flash}; hand_over")
    assert router.read("/tmp/flash/crt") == long
    # Room is left for the key and a part of the chain.
    router.sh("dd if=/dev/zero of=/tmp/flash/others bs=4096 count=3 2>/dev/null")
    router.write(PEM, block("PRIVATE KEY", "second") + long.replace("a", "z"), "0600")
    router.sh(f"{at_flash}; QUIET=; hand_over; hand_over")
    assert router.read("/tmp/flash/crt") == long
    assert "first" in router.read("/tmp/flash/key")
    assert restarts(router) == 1
    said = "acmeiot: /tmp/flash/crt cannot be written; the router's pages keep what they have\n"
    assert router.log.count(said) == 1
    assert router.sh("ls /tmp/flash").split() == ["crt", "key", "others"]
    router.sh(f"rm /tmp/flash/others; {at_flash}; hand_over")
    assert "second" in router.read("/tmp/flash/key")
    assert restarts(router) == 2


def test_pages_that_the_owner_stopped_stay_so(router: Router) -> None:
    router.sh("touch /tmp/uhttpd-is-down")
    over(router, 1)
    router.sh(f"{LIBRARY}; hand_back")
    assert router.inits == []


def test_a_router_without_uhttpd(router: Router) -> None:
    router.sh("rm /etc/init.d/uhttpd /etc/config/uhttpd")
    over(router, 1)
    router.sh(f"{LIBRARY}; hand_back")
    assert router.inits == []


def test_hooks_of_acme_clients_hear_of_it(router: Router) -> None:
    router.write("/etc/hotplug.d/acme/50-seen", "")
    router.write("/sbin/hotplug-call", '#!/bin/sh\necho "$1 $ACTION" >/tmp/seen\n', "0755")
    over(router, 1)
    assert router.read("/tmp/seen") == "acme renewed\n"


def test_switched_off_alone(router: Router) -> None:
    """The service goes on; only the pages have what they had."""
    over(router, 1)
    router.sh("rm -r /etc/acmeiot")  # it holds no home
    router.uci("acmeiot.main.uhttpd=0", "acmeiot.main.announce=0")
    router.service("start")
    router.until("[ -e /var/run/acmeiot-herald.pid ] && [ ! -e /etc/uhttpd-acmeiot.crt ]")
    assert pages(router)[0] == "/etc/uhttpd.crt"
    assert router.programs() != []
