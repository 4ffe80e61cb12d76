"""The service's life: switched on and off, its options changed, upgraded, stopped, removed."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.shell.router import CONF_DIR, FILES, SECTION, Router
from tests.shell.test_settings import SOURCES

SNIPPET = f"{CONF_DIR}/acmeiot.conf"
INSTANCES = "/var/run/procd-shim/services/acmeiot"


def pids(router: Router) -> list[str]:
    return [router.read(f"{INSTANCES}/{name}/.pid").strip() for name in ("server", "herald")]


def everything_of_ours(router: Router) -> set[str]:
    """Return every file outside of the package that is ours, and what UCI says of us elsewhere."""
    found = router.sh(
        "find /tmp/dnsmasq* /tmp/hosts /var/run/acmeiot /etc/uhttpd* -type f; ls /var/run/*.pid;"
        "uci show dhcp | grep dhcpv6_raw; uci show uhttpd | grep -i acmeiot; uci changes;"
        "uci show acmeiot | grep uhttpd_; :"
    )
    return {line for line in found.splitlines() if "No such file" not in line} | set(
        router.programs()
    )


def on(router: Router) -> None:
    """Start it and wait until all is told."""
    router.service("start")
    router.until(f"[ -s {SNIPPET} ] && [ -s /etc/uhttpd-acmeiot.crt ]")
    router.until("grep -q 'dnsmasq running' /var/log/inits")


def test_off_is_off(router: Router) -> None:
    """Nothing is made and nobody is disturbed where it is not switched on."""
    router.uci("acmeiot.main.enabled=0")
    router.service("start")
    router.service("reload")
    assert everything_of_ours(router) == set()
    assert router.inits == []
    assert router.sh("ls -d /etc/acmeiot /var/run/acmeiot 2>/dev/null || :") == ""
    # Still it hears when that changes.
    assert "config.change acmeiot /etc/init.d/acmeiot reload" in router.read(
        f"{INSTANCES}/.triggers"
    )


def test_how_procd_is_to_run_it(router: Router) -> None:
    router.service("start")
    server = f"{INSTANCES}/server"
    assert router.read(f"{server}/command").splitlines() == [
        "/usr/bin/acmeiot", "serve", "--config", "/var/run/acmeiot/config.toml",
    ]  # fmt: skip
    assert router.read(f"{server}/user") == router.read(f"{server}/group") == "acmeiot\n"
    assert router.read(f"{server}/respawn").split() == ["300", "5", "0"]
    assert router.read(f"{server}/pidfile") == "/var/run/acmeiot.pid\n"
    assert router.read(f"{server}/env").splitlines() == [
        "PYTHONUNBUFFERED=1", "ACMEIOT_VERSION=0.1.0-r1",
    ]  # fmt: skip
    assert router.read(f"{server}/jail") == "acmeiot\n"
    assert router.read(f"{server}/no_new_privs") == "1\n"
    capabilities = router.read(f"{server}/capabilities").strip()
    assert router.sh(f"ls {capabilities}").strip() == "/etc/capabilities/acmeiot.json"
    assert router.read(f"{server}/stdout") == router.read(f"{server}/stderr") == "1\n"
    assert router.read(f"{INSTANCES}/herald/user") == ""
    # What is in no file, and has it started again when it changes.
    tells = "ACMEIOT_TELLS=announce 1 uhttpd 1 lan"
    assert tells in router.read(f"{INSTANCES}/herald/env").splitlines()
    triggers = router.read(f"{INSTANCES}/.triggers").splitlines()
    assert [line.split()[:2] for line in triggers] == [
        ["config.change", "acmeiot"], ["config.change", "dhcp"], ["config.change", "network"],
        ["config.change", "system"], ["interface.*", "lan"],
    ]  # fmt: skip
    assert router.sh("stat -c %a /etc/acmeiot").strip() == "700"
    assert router.sh("stat -c %a /var/run/acmeiot/config.toml").strip() == "640"


def test_on_then_off_leaves_nothing(router: Router) -> None:
    before = router.read("/etc/config/uhttpd"), router.read("/etc/config/dhcp")
    on(router)
    status = json.loads(router.read("/var/run/acmeiot/server/status.json"))
    assert status["directory"] == "https://openwrt.lan:8555/acme/directory"
    snippet = router.read(SNIPPET)
    assert 'vi-encap:55357,1,"openwrt.lan"' in snippet
    assert "tag:br-lan" in snippet
    assert "br-guest" not in snippet
    assert router.read("/tmp/hosts/acmeiot").splitlines() == [
        "192.168.1.1 openwrt.lan openwrt.local", "fd00:1::1 openwrt.lan openwrt.local",
    ]  # fmt: skip
    assert router.sh("uci get dhcp.lan.dhcpv6_raw").startswith("0011")
    assert "dhcpv6_raw" not in router.sh("uci show dhcp.guest")
    assert "odhcpd reload" in router.inits
    router.uci("acmeiot.main.enabled=0")
    router.sh("reload_config")
    assert everything_of_ours(router) == set()
    for name, text in zip(("uhttpd", "dhcp"), before, strict=True):
        assert (
            router.read(f"/etc/config/{name}").replace("'", "").split()
            == text.replace("'", "").split()
        )
    assert router.inits[-2:] == ["dnsmasq restart", "uhttpd restart"]
    # The home itself stays.
    assert "acmeiot.sqlite" in router.sh("ls /etc/acmeiot")


@pytest.mark.parametrize("action", ["stop", "disable; /etc/init.d/acmeiot stop"])
def test_a_stop_leaves_nothing(router: Router, action: str) -> None:
    on(router)
    router.service(action)
    assert everything_of_ours(router) == set()


def test_shutdown_is_quick_and_what_stays_is_in_memory(router: Router) -> None:
    on(router)
    inits = router.inits
    router.service("shutdown")
    assert router.inits == inits
    assert router.programs() == []


def test_reload_restarts_only_for_a_change(router: Router) -> None:
    on(router)
    first = pids(router)
    router.service("reload")
    assert pids(router) == first
    router.uci("acmeiot.main.leaf_days=20")
    router.sh("reload_config")
    router.until(f'[ "$(cat {INSTANCES}/server/.pid)" != {first[0]} ]')
    assert tomllib.loads(router.read("/var/run/acmeiot/config.toml"))["leaf_days"] == 20
    assert router.read(SNIPPET) != ""


def test_the_first_setting_after_installing_is_noticed(router: Router) -> None:
    """For reload_config has to have seen the file before."""
    router.uci("acmeiot.main.enabled=0")
    router.sh("cd /etc/config && mv acmeiot /tmp && reload_config && mv /tmp/acmeiot .")
    router.sh("/usr/lib/acmeiot/package installed; /etc/init.d/acmeiot start")
    router.uci("acmeiot.main.enabled=1")
    router.sh("reload_config")
    router.until(f"[ -s {INSTANCES}/server/.pid ] && [ -s {INSTANCES}/herald/.pid ]")


def test_a_restart_is_not_told_to_the_network(router: Router) -> None:
    on(router)
    first, inits = pids(router), router.inits
    router.service("restart")
    router.until(
        f'[ -s {INSTANCES}/server/.pid ] && [ "$(cat {INSTANCES}/server/.pid)" != {first[0]} ]'
    )
    assert router.inits == inits
    assert router.read(SNIPPET) != ""


def test_a_wrong_option_stops_it_and_says_so(router: Router) -> None:
    """And the network is no longer told of it; uhttpd keeps what is good for weeks."""
    on(router)
    router.uci("acmeiot.main.leaf_days=400")
    router.sh("reload_config")
    assert "acmeiot: leaf_days: 400 is not 1 to 89" in router.log
    assert router.read(SNIPPET) == ""
    assert "uhttpd-acmeiot" in router.sh("uci show uhttpd")
    router.uci("acmeiot.main.leaf_days=40")
    router.sh("reload_config")
    router.until(f"[ -s {SNIPPET} ]")


def test_each_part_switched_off_and_on_while_it_runs(router: Router) -> None:
    on(router)
    assert "the router's pages have a certificate of this home" in router.log
    server = pids(router)[0]
    router.uci("acmeiot.main.announce=0")
    router.sh("reload_config")
    router.until(f"[ ! -e {SNIPPET} ] && [ ! -e /tmp/hosts/acmeiot ]")
    assert "uhttpd-acmeiot" in router.sh("uci show uhttpd")
    router.uci("acmeiot.main.announce=1", "acmeiot.main.uhttpd=0")
    router.sh("reload_config")
    router.until(f"[ -s {SNIPPET} ] && [ ! -e /etc/uhttpd-acmeiot.crt ]")
    assert "uhttpd-acmeiot" not in router.sh("uci show uhttpd")
    assert pids(router)[0] == server


def test_an_address_that_comes_while_it_starts(router: Router) -> None:
    """After the look at the addresses, and before procd knows of whom to tell."""
    router.sh("ip address flush dev br-lan; ip -6 address flush dev br-lan")
    comes = "service_triggers() {\\n\\tip address replace 192.168.1.1\\/24 dev br-lan"
    router.sh(f"sed -i 's/^service_triggers() {{$/{comes}/' /etc/init.d/acmeiot")
    router.service("start")
    assert "network: lan has no address yet; starting when it has" in router.log
    router.until(f"[ -s {SNIPPET} ]")


def test_an_address_that_changes_is_followed(router: Router) -> None:
    on(router)
    router.sh("ip address del 192.168.1.1/24 dev br-lan; ip address add 10.1.1.1/24 dev br-lan")
    router.sh("/usr/lib/procd-shim/event interface.update lan")
    router.until("grep -q ^10.1.1.1 /tmp/hosts/acmeiot")
    assert tomllib.loads(router.read("/var/run/acmeiot/config.toml"))["listen"] == [
        "10.1.1.1:8555", "[fd00:1::1]:8555",
    ]  # fmt: skip
    # Another network's are not: it would be a restart for nothing.
    first = pids(router)
    router.sh("/usr/lib/procd-shim/event interface.update guest")
    assert pids(router) == first


def test_a_server_that_dies_comes_back(router: Router) -> None:
    on(router)
    router.sh("kill -9 $(cat /var/run/acmeiot.pid)")
    router.until(f"[ -s {INSTANCES}/server/.ended ] && kill -0 $(cat /var/run/acmeiot.pid)")


@pytest.mark.parametrize("manager", ["apk", "opkg"])
def test_an_upgrade_runs_the_new_program(router: Router, manager: str) -> None:
    on(router)
    first, inits = pids(router), router.inits
    if manager == "opkg":
        router.service("stop", PKG_UPGRADE="1")
    router.sh("echo 0.1.1-r1 >/usr/lib/acmeiot/version")
    router.sh("/usr/lib/acmeiot/package installed", env={"PKG_UPGRADE": "1"})
    assert router.read("/var/log/syncs") == "sync\n"
    router.service("start", PKG_UPGRADE="1")
    router.until(f"[ -s {INSTANCES}/server/.pid ]")
    assert not set(pids(router)) & set(first)
    # Nobody on the network had to notice.
    assert router.inits == inits
    assert router.read(SNIPPET) != ""


def test_removal_leaves_nothing(router: Router) -> None:
    on(router)
    router.sh("touch /tmp/luci-indexcache.123.json; /usr/lib/acmeiot/package leaving")
    router.service("disable; /etc/init.d/acmeiot stop")
    assert everything_of_ours(router) == set()
    assert router.sh("ls /tmp/luci-indexcache* 2>/dev/null || :") == ""


def test_removal_when_python_is_gone_already(router: Router) -> None:
    on(router)
    router.sh("rm /usr/bin/acmeiot")
    router.sh("/usr/lib/acmeiot/package leaving")
    assert everything_of_ours(router) == set()
    assert "dnsmasq restart" in router.inits


def test_sysupgrade_keeps_nothing_that_speaks_of_us(router: Router) -> None:
    """As sysupgrade calls it: sourced, then each function with the list's name."""
    on(router)
    inits = router.inits
    script = (
        'sysupgrade_init_conffiles=build_list; build_list() { echo "list $1"; };'
        ". /lib/upgrade/acmeiot.sh; for each in $sysupgrade_init_conffiles; do $each /tmp/l; done"
    )
    backup = router.sh(f"CONF_BACKUP=/tmp/b.tgz; CONF_BACKUP_LIST=0; {script}")
    assert "list /tmp/l" in backup
    assert router.read(SNIPPET) != ""
    assert "list /tmp/l" in router.sh(f"CONF_BACKUP=; CONF_BACKUP_LIST=0; {script}")
    assert everything_of_ours(router) == set()
    # The router goes down: nobody is restarted for it.
    assert router.inits == inits


def test_a_restored_backup_of_another_router(router: Router) -> None:
    """uci-defaults: where it is off nothing of it stays; twice is once; what is on is let be."""
    on(router)
    saved = {name: router.read(f"/etc/config/{name}") for name in ("acmeiot", "dhcp", "uhttpd")}
    router.service("stop")
    for name, text in saved.items():
        router.write(f"/etc/config/{name}", text)
    defaults = "cd /etc/uci-defaults && . ./60-acmeiot"
    router.sh(defaults)
    assert "uhttpd-acmeiot" in router.sh("uci show uhttpd")
    router.uci("acmeiot.main.enabled=0")
    router.sh(defaults)
    once = [router.read(f"/etc/config/{name}") for name in saved]
    assert everything_of_ours(router) == set()
    router.sh(defaults)
    assert [router.read(f"/etc/config/{name}") for name in saved] == once


def test_an_option_committed_with_other_changes(router: Router) -> None:
    """As uci-defaults' commit does it: what is on flash is not told after the next boot."""
    on(router)
    router.until("uci -q get dhcp.lan.dhcpv6_raw")
    router.sh("uci commit")
    router.service("shutdown")
    router.sh("rm -rf /tmp/.uci /var/run/acmeiot /tmp/hosts/acmeiot /tmp/dnsmasq.*.d/*")
    router.uci("system.@system[0].hostname=Other")
    router.service("boot")
    router.until(f"[ -s {SNIPPET} ] && uci -q get dhcp.lan.dhcpv6_raw")
    name = b"other.lan".hex()
    router.until(f"uci get dhcp.lan.dhcpv6_raw | grep -q {name}")
    assert "dhcpv6_raw" not in router.read("/etc/config/dhcp")


def test_a_state_on_a_disk_that_is_not_there(router: Router) -> None:
    """No second home is made in its place."""
    router.uci("acmeiot.main.state=/mnt/usb/acmeiot")
    router.write("/etc/config/fstab", "config mount\n\toption target /mnt/usb\n")
    router.service("start")
    assert "state: nothing is mounted for /mnt/usb/acmeiot yet; starting when it is" in router.log
    assert router.sh("ls -d /mnt/usb 2>/dev/null || :") == ""
    assert "mount.add /mnt/usb/acmeiot /etc/init.d/acmeiot reload" in router.read(
        f"{INSTANCES}/.triggers"
    )
    router.sh("mkdir -p /mnt/usb; mount -t tmpfs none /mnt/usb")
    router.service("reload")
    router.until(f"[ -s {SNIPPET} ]")
    assert "acmeiot.sqlite" in router.sh("ls /mnt/usb/acmeiot")


def test_which_directories_have_their_disk(router: Router) -> None:
    router.sh("mkdir -p '/mnt/my disk'; mount -t tmpfs none '/mnt/my disk'")
    for directory, status in (
        ("/mnt/my disk/acmeiot", 0), ("/mnt/my disk", 0), ("/mnt/my", 1), ("/mnt/my disks", 1),
        ("/media/usb/acmeiot", 1), ("/etc/acmeiot", 0),
    ):  # fmt: skip
        said = router.sh(f"{SOURCES}; is_mounted '{directory}' && echo 0 || echo 1")
        assert said == f"{status}\n", directory


def test_a_home_that_was_made_without_a_disk_goes_on(router: Router) -> None:
    router.uci("acmeiot.main.state=/mnt/flash/acmeiot")
    router.sh("mkdir -p /mnt/flash/acmeiot; touch /mnt/flash/acmeiot/acmeiot.sqlite")
    router.sh(f"{SOURCES}; load_settings quietly; make_user; make_state")


def test_settings_that_cannot_be_written_are_told(router: Router) -> None:
    router.sh("mkdir -p /var/run/acmeiot/config.toml.new")  # as good as a full memory
    router.service("start")
    assert "acmeiot: /var/run/acmeiot/config.toml cannot be written" in router.log
    assert router.programs() == []


def test_a_reload_writes_nothing_to_flash(router: Router) -> None:
    on(router)
    stamp = router.sh("stat -c %z /etc/acmeiot /etc/acmeiot/tls /etc/acmeiot/ca")
    router.service("reload")
    assert router.sh("stat -c %z /etc/acmeiot /etc/acmeiot/tls /etc/acmeiot/ca") == stamp


def test_the_owner_s_own_section_stays_as_it_is(router: Router) -> None:
    """uci-defaults run again after each upgrade: what the owner removed is not put back."""
    router.write("/etc/config/acmeiot", "")
    router.sh("cd /etc/uci-defaults && . ./60-acmeiot")
    router.sh("/usr/lib/acmeiot/package installed")
    router.service("start")
    assert router.sh("uci show acmeiot") == ""


def test_the_console_knows_the_state(router: Router) -> None:
    router.uci("acmeiot.main.state=/srv/a b")
    assert router.sh('. /etc/profile.d/acmeiot.sh; echo "$ACMEIOT_STATE"') == "/srv/a b\n"
    router.uci("acmeiot.main.state=")
    assert router.sh('. /etc/profile.d/acmeiot.sh; echo "$ACMEIOT_STATE"') == "/etc/acmeiot\n"


def test_files_have_the_modes_that_ipk_and_feed_give_them() -> None:
    """Sourced files are not executable, programs are."""
    for path in FILES.rglob("*"):
        if path.is_file():
            program = path.read_bytes().startswith(b"#!")
            assert bool(path.stat().st_mode & 0o111) == program, path
    assert SECTION in CONF_DIR
