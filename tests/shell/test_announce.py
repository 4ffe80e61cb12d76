"""Which dnsmasq is told what, on the releases of OpenWrt and on routers that have several."""

from __future__ import annotations

import pytest

from tests.shell.router import CONF_DIR, SECTION, Router
from tests.shell.test_settings import SOURCES

LIBRARY = f"{SOURCES}; . /usr/lib/acmeiot/announce.sh; load_settings quietly"

# Says what it was called with, and does what the server's own would to the folder it is given.
RECORDER = """\
#!/bin/sh
echo "$*" >>/var/log/calls
[ ! -e /tmp/fails ] || exit 1
"""


def calls(router: Router) -> list[str]:
    return router.read("/var/log/calls").splitlines()


@pytest.mark.parametrize(
    ("configuration", "option", "made", "found"),
    [
        ("conf-dir=/tmp/dnsmasq.d", "", [], "/tmp/dnsmasq.d"),  # 23.05
        (f"conf-dir={CONF_DIR}", "", [], CONF_DIR),  # 24.10
        ("conf-dir=/etc/dnsmasq.d,*.conf", "/etc/dnsmasq.d", [], "/etc/dnsmasq.d"),
        ("conf-dir=/x\nconf-dir=/y,.bak", "", [], "/y"),  # the last one is OpenWrt's own
        ("", "/srv/d,*.conf", [], "/srv/d"),
        ("", "", [CONF_DIR], CONF_DIR),
        ("", "", [], "/tmp/dnsmasq.d"),
    ],
)
def test_where_dnsmasq_looks(
    router: Router, configuration: str, option: str, made: list[str], found: str
) -> None:
    router.sh(f"rm -r {CONF_DIR}; mkdir -p /tmp/dnsmasq.d {' '.join(made)}")
    router.write(f"/var/etc/dnsmasq.conf.{SECTION}", f"{configuration}\n")
    if option:
        router.uci(f"dhcp.{SECTION}.confdir={option}")
    assert router.sh(f"{LIBRARY}; directory_of {SECTION}") == f"{found}\n"


def test_the_home_alone_is_told(router: Router) -> None:
    router.write("/usr/bin/acmeiot", RECORDER, "0755")
    router.sh(f'{LIBRARY}; run() {{ "$@"; }}; announce')
    [call] = calls(router)
    assert call == (
        "announce --state /etc/acmeiot --config /var/run/acmeiot/config.toml "
        f"--memory /var/run/acmeiot/told/{SECTION}.json "
        f"--dnsmasq-conf /var/etc/dnsmasq.conf.{SECTION} --dnsmasq-dir {CONF_DIR} "
        "--interface br-lan --pool lan --restart /usr/lib/acmeiot/reread"
    )


def test_each_dnsmasq_of_the_home(router: Router) -> None:
    """Two for the home's networks, one for the guests', one that is off, one not started yet."""
    router.write("/usr/bin/acmeiot", RECORDER, "0755")
    router.sh(f"uci set dhcp.{SECTION}.interface=lan; uci commit")
    for name in ("work", "guests", "idle", "later"):
        router.uci(
            f"dhcp.{name}=dnsmasq", f"dhcp.{name}.interface={name}", f"network.{name}=interface"
        )
    router.uci("dhcp.idle.interface=lan", "dhcp.idle.disabled=1", "dhcp.later.interface=work")
    router.uci(
        "dhcp.workpool=dhcp", "dhcp.workpool.interface=work", "acmeiot.main.network=lan work"
    )
    for name in ("work", "guests", "idle"):
        router.dnsmasq(name, f"/tmp/dnsmasq.{name}.d")
    router.write("/var/state/network/lan", "device br-lan\naddress 192.168.1.1\n")
    router.write("/var/state/network/work", "device br-work\naddress 192.168.5.1\n")
    router.sh(f'{LIBRARY}; run() {{ "$@"; }}; announce')
    [lan, work] = calls(router)
    assert f"--dnsmasq-dir {CONF_DIR} --interface br-lan --pool lan --pool workpool" in lan
    assert "--dnsmasq-dir /tmp/dnsmasq.work.d --interface br-work --no-odhcpd" in work


def second_dnsmasq(router: Router, directory: str) -> None:
    """Have another for the network work, ours too, which looks there."""
    router.sh(
        "ip link add br-work type bridge; ip address add 192.168.5.1/24 dev br-work;"
        f"ip link set br-work up; mkdir -p {directory}; uci set dhcp.{SECTION}.interface=lan;"
        "uci set network.work=interface; uci set network.work.device=br-work;"
        "uci set dhcp.work=dnsmasq; uci set dhcp.work.interface=work;"
        "uci add_list acmeiot.main.network=lan; uci add_list acmeiot.main.network=work; uci commit"
    )
    ranges = "dhcp-range=set:work,192.168.5.100,192.168.5.200,12h"
    router.write("/var/etc/dnsmasq.conf.work", f"conf-dir={directory}\n{ranges}\n")
    router.sh("sed -i 's/^LOOK=30/LOOK=1/' /usr/lib/acmeiot/herald; reload_config")


def test_two_that_read_the_same_directory(router: Router) -> None:
    """Up to 23.05: one file for both."""
    second_dnsmasq(router, CONF_DIR)
    router.service("start")
    router.until(f"grep -q br-work {CONF_DIR}/acmeiot.conf")
    assert "tag:br-lan" in router.read(f"{CONF_DIR}/acmeiot.conf")
    assert router.sh("ls /var/run/acmeiot/told").split() == [f"{SECTION}.json"]


def test_a_network_that_is_taken_off(router: Router) -> None:
    """Its own dnsmasq does not go on telling of a server that does not listen there."""
    second_dnsmasq(router, "/tmp/dnsmasq.work.d")
    router.service("start")
    router.until(f"[ -s /tmp/dnsmasq.work.d/acmeiot.conf ] && [ -s {CONF_DIR}/acmeiot.conf ]")
    router.sh("uci del_list acmeiot.main.network=work; uci commit; reload_config")
    router.until("[ ! -e /tmp/dnsmasq.work.d/acmeiot.conf ]")
    assert router.sh("ls /var/run/acmeiot/told").split() == [f"{SECTION}.json"]
    assert router.read(f"{CONF_DIR}/acmeiot.conf") != ""


def test_an_instance_that_is_kept_from_a_network(router: Router) -> None:
    router.write("/usr/bin/acmeiot", RECORDER, "0755")
    router.uci(f"dhcp.{SECTION}.notinterface=lan")
    router.sh(f'{LIBRARY}; run() {{ "$@"; }}; announce')
    [call] = calls(router)
    assert "--no-dnsmasq" in call
    assert "--pool lan" in call


def test_no_odhcpd_is_asked_where_there_is_none(router: Router) -> None:
    router.write("/usr/bin/acmeiot", RECORDER, "0755")
    router.sh("rm /etc/init.d/odhcpd")
    router.sh(f'{LIBRARY}; run() {{ "$@"; }}; announce')
    assert "--no-odhcpd" in calls(router)[0]
    assert "--pool" not in calls(router)[0]


def test_what_failed_is_tried_again(router: Router) -> None:
    """The first pause is five seconds; here the herald looks every second."""
    router.sh(
        "sed -i 's/^LOOK=30/LOOK=1/; s/pause=5/pause=1/' /usr/lib/acmeiot/herald; touch /tmp/fails"
    )
    router.write(
        "/usr/bin/acmeiot",
        RECORDER.replace("#!/bin/sh", "#!/bin/sh\n[ $1 != serve ] || exec sleep 600"),
        "0755",
    )
    router.sh(
        "mkdir -p /etc/acmeiot/ca; cd /etc/acmeiot; python3 -c 'import socket;"
        'socket.socket(socket.AF_UNIX).bind("admin.sock")\''
    )
    router.service("start")
    # A socket alone may be that of a server before a power cut.
    router.sh("sleep 5; [ ! -s /var/log/calls ]")
    router.sh("echo '{}' >/var/run/acmeiot/server/status.json")
    router.until("[ $(wc -l </var/log/calls) -ge 2 ]")
    router.sh("rm /tmp/fails")
    router.until("[ $(wc -l </var/log/calls) -ge 3 ]")
    count = len(calls(router))
    # It is told again when dnsmasq is configured anew, and not before.
    router.sh("sleep 3")
    assert len(calls(router)) <= count + 1
    count = len(calls(router))
    router.sh(f"echo expand-hosts >>/var/etc/dnsmasq.conf.{SECTION}")
    router.until(f"[ $(wc -l </var/log/calls) -gt {count} ]")


def test_dnsmasq_that_does_not_come_back(router: Router) -> None:
    """The real command takes back what it wrote, and says so in the log."""
    router.sh("touch /tmp/dnsmasq-is-down")
    router.service("start")
    router.until("grep -q 'dnsmasq does not run' /var/log/messages", 60)
    assert router.sh(f"ls {CONF_DIR}") == ""
    assert "dhcpv6_raw" not in router.sh("uci show dhcp")


def test_a_configuration_that_dnsmasq_refuses_is_not_touched(router: Router) -> None:
    """It would not start with the owner's own: ours is not added, nothing is restarted."""
    router.sh(f"echo no-such-option >>/var/etc/dnsmasq.conf.{SECTION}")
    router.service("start")
    router.until("grep -q 'dnsmasq would not start' /var/log/messages")
    assert router.sh(f"ls {CONF_DIR}") == ""
    assert "dnsmasq restart" not in router.inits


OURS = "001100120000d83d0001000a726f757465722e6c616e"
OTHER = "00170010" + "fd" * 16


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (OURS, None),
        (OTHER + OURS, OTHER),
        (OURS.upper() + OTHER, OTHER),
        (OTHER + OURS + OTHER, OTHER + OTHER),
        ("001100080000118b00010000" + OURS, "001100080000118b00010000"),
        (OTHER, OTHER),
    ],
)
def test_raw_options_without_python(router: Router, value: str, left: str | None) -> None:
    """As after somebody committed what waited, and with an owner's own beside ours."""
    router.uci(f"dhcp.lan.dhcpv6_raw={value}")
    router.sh("rm /usr/bin/acmeiot; mkdir -p /var/run/acmeiot/told; /usr/lib/acmeiot/leave told")
    now = router.sh("uci -q get dhcp.lan.dhcpv6_raw || :").strip()
    assert now == (left or "")
    assert router.sh("uci changes") == ""


def test_a_file_in_a_directory_of_the_owner_s_without_python(router: Router) -> None:
    router.uci(f"dhcp.{SECTION}.confdir=/etc/dnsmasq.d")
    router.write(f"/var/etc/dnsmasq.conf.{SECTION}", "conf-dir=/etc/dnsmasq.d\n")
    for name in ("acmeiot", "theirs"):
        router.write(f"/etc/dnsmasq.d/{name}.conf", "# Written by `acmeiot announce`\n")
    router.sh("rm /usr/bin/acmeiot; /usr/lib/acmeiot/leave told")
    assert router.sh("ls /etc/dnsmasq.d") == "theirs.conf\n"


def test_raw_options_that_were_never_committed(router: Router) -> None:
    before = router.read("/etc/config/dhcp")
    router.sh(f"uci set dhcp.lan.dhcpv6_raw={OURS}; uci set dhcp.guest.start=9")
    router.sh("/usr/lib/acmeiot/leave told")
    assert router.read("/etc/config/dhcp") == before
    assert router.sh("uci changes") == "dhcp.guest.start='9'\n"


def test_the_recorder_is_no_test_of_itself(router: Router) -> None:
    """What the herald's options mean is the command's own to say."""
    said = router.sh("acmeiot announce --help")
    options = (
        "dnsmasq-conf dnsmasq-dir interface pool no-odhcpd no-dnsmasq restart remove state config "
        "memory"
    )
    for option in options.split():
        assert f"--{option}" in said
