"""The router's owner, its devices and its laptops, from the first package to the last removed.

Each test is one chapter, on a router of its own that was installed and enabled before.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.home.network import PROJECT
from tests.home.people import Printer, shared
from tests.rig import figures, package
from tests.rig.conftest import MEMORY, PROVIDED, Enabled, Life
from tests.rig.home import PID, STATE, Home
from tests.rig.offers import options4, options6
from tests.rig.router import WITHOUT_A_CLOCK
from tests.rig.target import Target

NAME = b"OpenWrt.lan".lower()
OPTION_60 = b"\x00\x00\xd8\x3d" + bytes((len(NAME),)) + NAME
OPTION_125 = b"\x00\x00\xd8\x3d" + bytes((len(NAME) + 2, 1, len(NAME))) + NAME
OPTION_17 = b"\x00\x00\xd8\x3d\x00\x01" + len(NAME).to_bytes(2, "big") + NAME
OFFER, ACK, REPLY = 2, 5, 7  # message types of DHCPv4 and DHCPv6
CERTIFICATES = 200
MORE_MEMORY = 256  # MiB


def test_installing_starts_nothing(enabled: Enabled) -> None:
    """Until the owner ticks the box nothing runs, and nothing is made."""
    assert "8555" not in enabled.facts["installed"]
    assert "acmeiot serve" not in enabled.facts["installed"]


def test_a_power_cut_after_installing(enabled: Enabled) -> None:
    """It leaves no file empty: the package was written to the end before opkg said so."""
    assert enabled.facts["empty"] == ""


def test_what_the_package_needs_is_there(enabled: Enabled, packages: package.Built) -> None:
    """Its Depends are what the image provides, and every one of them is there."""
    depends = package.control(packages.server)["Depends"].split(", ")
    assert {each.partition(" ")[0] for each in depends} - {"libc"} == set(PROVIDED)
    _, missing = enabled.facts["imports"]
    assert missing == "", missing


class TestLife:
    """One router's years; each chapter goes on where the one before ended."""

    def test_the_lan_is_told(self, life: Life) -> None:
        """A-3.1-1 A-3.1-2 A-3.1-3: offers and replies carry it, whatever the client asks for."""
        with life.home.listening() as heard:
            heard.machine.dhcp("listener")
            for kind in (OFFER, ACK):
                (message, *_) = heard.messages(4, kind)
                assert options4(message)[60] == OPTION_60
                assert options4(message)[125] == OPTION_125
            settled = "ip -6 address show dev eth0 scope link | grep fe80 | grep -vq tentative"
            heard.machine.host.wait_for(settled)
            heard.machine.run("dhclient", "-6", "-S", "-1", "-sf", "/bin/true", "eth0")
            (message, *_) = heard.messages(6, REPLY)
            assert options6(message)[17] == OPTION_17

    def test_a_printer_joins(self, life: Life) -> None:
        """It waits for its owner, who does as README says; then a laptop's curl trusts it."""
        life.home.owner("pair", "--window", "0")
        with ThreadPoolExecutor() as pool:
            visit = pool.submit(life.printer.agent, "once")
            seen = {line.split()[1]: life.home.router.typed(line) for line in life.home.told.care}
            try:
                visit.result()
            except AssertionError:  # the owner was slower than a printer waits: it comes again
                life.printer.agent("once")
        assert "window closed" in seen["status"], seen
        assert "pending" in seen["devices"], seen
        assert "approved" in seen["approve"], seen
        life.home.owner("pair", "--window")  # for those who come later
        assert "DNS:printer.lan, DNS:printer.local" in shared(life.printer.machine)
        life.is_trusted()

    def test_the_owner_revokes(self, life: Life) -> None:
        """The printer hears of it and gets another."""
        [first] = life.home.serials(good=True)
        life.home.owner("revoke", first)
        life.printer.agent("once", later="2 hours")
        [second] = life.home.serials(good=True)
        assert second != first
        assert second.upper() in shared(life.printer.machine).replace(":", "").upper()
        life.is_trusted()

    def test_the_routers_log(self, life: Life) -> None:
        """What happened stands there as what it is: procd would call all of it an error."""
        lines = life.home.router.sh("/sbin/logread").splitlines()
        own = [line for line in lines if re.search(r" acmeiot\[\d+\]: ", line)]
        for event in ("start: acmeiot ", "revoked: "):
            assert any(f": {event}" in line and "daemon.info" in line for line in own), own
        assert not [line for line in own if "daemon.err" in line]

    def test_a_backup_brought_to_a_new_router(self, life: Life) -> None:
        """After a wipe and a restore everybody goes on as if nothing had been."""
        home, router = life.home, life.home.router
        known, root = home.serials(), life.laptop.believes()
        router.sh("umask 077; echo 'a long enough passphrase' >/tmp/passphrase")
        home.owner("backup", "--passphrase-file", "/tmp/passphrase", "/tmp/home.backup")
        kept = router.take("/tmp/home.backup")
        router.halt()
        router.wipe()
        router.boot()
        home.install()
        router.put(kept, "/tmp/home.backup")
        router.sh("umask 077; echo 'a long enough passphrase' >/tmp/passphrase")
        home.owner("restore", "--passphrase-file", "/tmp/passphrase", "/tmp/home.backup")
        home.enable()
        assert home.serials() == known
        # The leases were in its memory; nobody on the LAN knows that, and nobody asks for another.
        life.laptop.agent("once", "--mode", "tofu")
        assert life.laptop.believes() == root
        life.printer.agent("once")
        assert home.serials() == known, "it was good for weeks, and is"
        home.issued(life.printer.machine, 1)
        # Who looks for the printer by its name asks the router's DNS, which knows it by its lease.
        life.printer.machine.dhcp("printer")
        life.is_trusted()

    def test_upgrading(self, life: Life) -> None:
        """The new code runs, state and settings stay, old certificates are good."""
        home, router = life.home, life.home.router
        known, before = home.serials(), home.asked("status")
        assert package.NEXT_VERSION not in str(before)
        pid = router.sh(f"cat {PID}")
        said = router.install(home.packages.upgrade)
        assert "/etc/config/acmeiot is different" in said, said
        router.until(f"[ $(cat {PID}) != {pid.strip()} ]")
        router.until_served()
        home.until_announced()
        after = home.asked("status")
        assert package.NEXT_VERSION in str(after), after
        assert after["root"] == before["root"]
        assert home.serials() == known
        assert router.sh("uci get acmeiot.main.enabled").strip() == "1"
        life.is_trusted()
        life.printer.agent("once")
        home.issued(life.printer.machine, 1)

    def test_removing(self, life: Life) -> None:
        """Nobody is sent to a server that is gone, and what stays is said."""
        router = life.home.router
        said = life.home.remove()
        assert router.sh("ps w | grep '[a]cmeiot' || true") == ""
        sections = router.sh("grep -l acmeiot /etc/config/*").split()
        assert {Path(path).name for path in sections} <= {"acmeiot", "acmeiot-opkg"}
        router.until("pidof dnsmasq >/dev/null")
        # opkg leaves empty folders, and procd and the shims their own memory of what was.
        find = "find /etc /usr /www /lib/ /tmp/ -name '*acmeiot*' ! -type d 2>/dev/null"
        left = router.sh(f"{find} | grep -v -e /procd-shim/ -e /tmp/.uci/ -e /tmp/lock/").split()
        kept = [path for path in left if path.startswith(STATE)]
        settings = {"/etc/config/acmeiot", "/etc/config/acmeiot-opkg"}
        assert set(left) - set(kept) <= settings, left
        assert kept, "keys and records are the owner's"
        with life.home.listening() as heard:
            heard.machine.dhcp("listener")
            (message, *_) = heard.messages(4, ACK)
            assert not {60, 125} & set(options4(message))
        assert STATE in said, f"nothing says that keys and records stay: {said}"
        life.home.forget()
        assert router.sh(f"find {STATE} 2>/dev/null || true") == ""
        router.halt()
        router.boot()
        router.until("pidof dnsmasq >/dev/null")


class TestPower:
    """One router whose power goes, and a printer that never hears that the leases went with it."""

    def test_cuts_while_issuing(self, home: Home, printer: Printer) -> None:
        """What a client has got is known afterwards, no serial is twice; it starts by itself."""
        got: list[str] = []
        for enough, memory in ((1, MEMORY), (5, MORE_MEMORY)):
            with home.issuing(printer.machine, 50) as client:
                assert client.stdout is not None
                lines = [client.stdout.readline().decode() for _ in range(enough)]
                home.router.cut()
                client.terminate()
                lines += client.stdout.read().decode().splitlines()
            assert all(lines), (home.work / "issuing.log").read_text()
            got += [line.split()[1] for line in lines if line.strip()]
            home.router.memory = memory
            home.router.boot()
            home.router.until_served()
            known = [serial.lower().lstrip("0") for serial in home.serials()]
            assert set(got) <= set(known)
            assert len(known) == len(set(known))
        home.until_announced()

    def test_more_memory(self, target: str, home: Home, printer: Printer) -> None:
        """256 MiB, since the last boot: nothing else is different."""
        assert home.router.memory == MORE_MEMORY
        home.issued(printer.machine, 1)
        idle = home.memory()["VmRSS"]
        figures.note(target, **{f"resident KiB, {MORE_MEMORY} MiB router": idle})
        assert idle <= figures.MOST_IDLE_KIB

    def test_waking_without_a_clock(self, home: Home, printer: Printer) -> None:
        """It serves at once and signs nothing; when the time comes it goes on by itself."""
        router = home.router
        assert "clock_set_file" not in router.sh("cat /var/run/acmeiot/config.toml")
        # It was off for months: as the newest file of /etc has it, no time has passed.
        stop = "/etc/init.d/acmeiot stop"
        router.sh(f"{stop}; find /etc -type f -exec touch -d '2026-01-02 03:04' {{}} +")
        router.sh("rm /sbin/hwclock")  # QEMU has no board without a clock
        router.halt()
        router.memory = MEMORY
        router.boot(*WITHOUT_A_CLOCK)
        assert router.sh("date +%Y-%m-%d").strip() == "2026-01-02"
        router.until_served()
        assert "clock_set_file" in router.sh("cat /var/run/acmeiot/config.toml")
        known = home.serials()
        with home.issuing(printer.machine, 1) as client:
            assert client.wait() != 0
        refusal = (home.work / "issuing.log").read_text()
        assert "waiting for the time" in refusal, refusal
        assert home.serials() == known
        router.switch.serve_time()
        today = time.strftime("%Y-%m-%d", time.gmtime())
        router.until(f"[ $(date +%Y-%m-%d) = {today} ]", 90)
        router.until("[ -e /var/run/acmeiot/clock-set ]")  # or it would wait for five minutes
        home.issued(printer.machine, 1)
        assert len(home.serials()) == len(known) + 1
        asked = router.sh("grep -v ^duid /tmp/dhcp.leases || true")
        assert asked == "", "somebody has asked for a lease"


def test_idle_memory(enabled: Enabled) -> None:
    """A router of 128 MiB has other things to do."""
    assert enabled.facts["memory"]["VmRSS"] <= figures.MOST_IDLE_KIB


class TestFigures:
    """One router that is measured; after the first visit its own server is off."""

    def test_a_first_visit(self, target: str, home: Home, printer: Printer) -> None:
        """A device agent that is allowed by the window comes away with a certificate."""
        began = time.perf_counter()
        printer.agent("once")
        figures.note(target, **{"seconds for a device agent's first visit": _since(began)})

    def test_source_and_bytecode(self, target: str, home: Home) -> None:
        """Why the package ships bytecode, and what its start spends on imports."""
        router = home.router
        # Also where the chapter before has failed: an answer of its own server is soon there.
        router.sh("/etc/init.d/acmeiot stop")
        router.until("! ps w | grep -q '[a]cmeiot serve'")
        router.sh("mkdir -p /tmp/source")
        router.put(_sources(), "/tmp/source.tar")
        router.sh("tar -xf /tmp/source.tar -C /tmp/source && rm /tmp/source.tar")
        start = f"-m acmeiot serve --state {STATE} --name router.lan --policy challenge"
        for name, environ in (
            ("source", "PYTHONPATH=/tmp/source PYTHONDONTWRITEBYTECODE=1"),
            ("bytecode", "PYTHONPATH=/usr/lib/acmeiot/python"),
        ):
            took = []
            for _ in range(2):
                run = f"({environ} python3 {start} >/tmp/start.log 2>&1 & echo $! >/tmp/start.pid)"
                took.append(router.seconds_to_ready(run))
                self._end(router)
            wall, cpu = (min(column) for column in zip(*took, strict=True))
            key = f"seconds to ready from {name}, the lesser of 2"
            figures.note(target, **{key: f"{wall:.1f} ({cpu:.1f} of this computer's CPU)"})
        run = f"python3 -X importtime /usr/bin/acmeiot {start.partition('acmeiot ')[2]}"
        router.sh(f"({run} >/tmp/start.log 2>/tmp/imports & echo $! >/tmp/start.pid)")
        router.until_served()
        self._end(router)
        lines = router.sh("grep '^import time: *[0-9]' /tmp/imports | cut -d: -f2 | sort -rn")
        top = lines.splitlines()[:15]
        figures.note(target, **{"imports: own us | with their own | module": top})

    def _end(self, router: Target) -> None:
        router.sh("kill $(cat /tmp/start.pid)")
        router.until("! kill -0 $(cat /tmp/start.pid) 2>/dev/null")

    def test_issuing(self, target: str, home: Home, printer: Printer) -> None:
        """Memory after 200 certificates, bytes written for each, seconds for each."""
        router = home.router
        # A home's limits are in the way of so many, so here they are off.
        router.sh("echo 'lease_files = [\"/tmp/dhcp.leases\"]' >/tmp/figures.toml")
        serve = (
            f"acmeiot serve --config /tmp/figures.toml --state {STATE} --name router.lan"
            " --limits off --approval auto >/tmp/figures.log 2>&1"
        )
        router.seconds_to_ready(f"({serve} & echo $! >{PID})")
        fresh, written, cpu = home.memory()["VmRSS"], router.written(), router.on.cpu_seconds()
        seconds = home.issued(printer.machine, CERTIFICATES)
        cpu = router.on.cpu_seconds() - cpu
        each = (router.written() - written) // CERTIFICATES
        median, after = statistics.median(seconds), f"{home.memory()['VmRSS']} (from {fresh})"
        figures.note(
            target,
            **{
                "seconds for one issuance by a bare client, median": round(median, 2),
                "seconds of this computer's CPU for each": round(cpu / CERTIFICATES, 2),
                f"resident KiB after {CERTIFICATES} certificates": after,
                "bytes to the disk of /etc per certificate (sectors of its stat)": each,
            },
        )
        assert each <= figures.MOST_WRITTEN


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 1)


def _sources() -> bytes:
    """Return a tar of the server and of the libraries that the package brings, as source."""
    import io
    import tarfile

    out = io.BytesIO()
    libraries = Path(sys.prefix, "lib/python3.11/site-packages")
    with tarfile.open(fileobj=out, mode="w") as archive:
        for folder in (PROJECT / "acmeiot", libraries / "waitress", libraries / "segno"):
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.add(path, str(path.relative_to(folder.parent)))
    return out.getvalue()
