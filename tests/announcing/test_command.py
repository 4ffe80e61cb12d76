"""`acmeiot announce` as a person runs it, beside a running server and the real dnsmasq."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acmeiot.announcing.plan import made
from acmeiot.client.errors import AgentError
from acmeiot.config import Config
from tests.lan.test_odhcpd import commit, stub
from tests.web.running import NAMES, Running, acmeiot

OWNER = """\
dhcp-range=192.168.1.100,192.168.1.200,1h
dhcp-range=fd00::100,fd00::200,64,1h
"""
ROW_2 = "3c0f0000d83d0a726f757465722e6c616e"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a name, for all tests; what they announce they take back."""
    running = Running(tmp_path_factory.mktemp("home") / "state", NAMES).start()
    yield running
    running.stop()


class Owner:
    """A home's configuration of dnsmasq, and the command run on it."""

    def __init__(self, server: Running, tmp_path: Path) -> None:
        self.server = server
        self.conf, self.directory = tmp_path / "dnsmasq.conf", tmp_path / "dnsmasq.d"
        self.directory.mkdir(parents=True)
        self.write("")
        self.ours = self.directory / "acmeiot.conf"
        self.restarts = tmp_path / "restarts"
        self.restart = f"sh -c 'echo x >>{self.restarts}'"

    def write(self, more: str) -> None:
        """Write the owner's file."""
        self.conf.write_text(f"{OWNER}conf-dir={self.directory}\n{more}")

    def run(self, *options: object) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        state = ("--state", self.server.state, "--dnsmasq-conf", self.conf)
        return acmeiot("announce", *state, *options)

    def announce(self, *options: object) -> Any:
        """Run the command, which must succeed, and return what it says to programs."""
        done = self.run("--json", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def refused(self, *options: object) -> str:
        """Run the command, which must fail with one line, and return exit code and line."""
        done = self.run(*options)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return f"{done.returncode} {done.stderr.rstrip()}"

    def restarted(self) -> int:
        """Return how often dnsmasq was restarted."""
        return len(self.restarts.read_text().split()) if self.restarts.exists() else 0

    def status(self) -> Any:
        """Return what the server says of it; None when nothing is announced."""
        reports = self.server.ask("status")["announced"]
        return reports[0] if reports else None


@pytest.fixture
def owner(server: Running, tmp_path: Path) -> Iterator[Owner]:
    made = Owner(server, tmp_path)
    yield made
    memory = server.state / "announced.json"
    memory.unlink(missing_ok=True)


def told(answer: Any) -> dict[str, str]:
    """Return the octets of what is advertised."""
    return {i["what"]: i["hex"] for i in answer["items"] if not i["why_not"]}


def not_told(answer: Any) -> dict[str, str]:
    """Return why the rest is not."""
    return {i["what"]: i["why_not"] for i in answer["items"] if i["why_not"]}


def test_dry_run_shows_all_and_changes_nothing(owner: Owner) -> None:
    port = f"{owner.server.ports[0]:04x}"
    answer = owner.announce("--dry-run", "--number", "224")
    assert told(answer) == {
        "DHCPv4 option 125": f"7d150000d83d10010a726f757465722e6c616e0402{port}",
        "DHCPv4 option 60": ROW_2,
        "DHCPv4 option 224": "e00a726f757465722e6c616e",
        "DHCPv6 option 17": f"001100180000d83d0001000a726f757465722e6c616e00040002{port}",
        "DNS records": "",
    }
    assert len(answer["records"]) == 7
    said = owner.run("--dry-run").stdout
    assert f"    {' '.join(ROW_2[i : i + 2] for i in range(0, len(ROW_2), 2))}\n" in said
    for record in answer["records"]:
        assert f"    {record}\n" in said
    text = answer["files"][str(owner.ours)]
    for line in text.replace("dhcp-option-force=224,e0", "").splitlines():
        assert f"    {line}\n" in said or "224" in line
    assert said.endswith("nothing was changed (--dry-run)\n")
    assert not list(owner.directory.iterdir())
    assert owner.status() is None


def test_announce_again_and_take_back(owner: Owner, tmp_path: Path) -> None:
    static = tmp_path / "www" / "acme"
    static.parent.mkdir()
    said = owner.run("--static", static).stdout
    assert f"file           {owner.ours}\nfile           {static}\nchanged; restart dnsmasq" in said
    assert [stat.S_IMODE(path.stat().st_mode) for path in (owner.ours, static)] == [0o644] * 2
    document = json.loads(static.read_text())
    assert document["newNonce"] == owner.server.url("/acme/new-nonce")
    shown = owner.status()
    assert set(shown["files"]) == {str(owner.ours), str(static)}
    assert (shown["fqdn"], shown["problems"]) == ("router.lan", [])
    assert stat.S_IMODE((owner.server.state / "announced.json").stat().st_mode) == 0o644

    assert not owner.announce("--static", static, "--restart", owner.restart)["changed"]
    assert owner.restarted() == 0
    # Without --static that file goes, and only that.
    assert owner.announce("--restart", owner.restart)["changed"]
    assert (static.exists(), owner.ours.exists(), owner.restarted()) == (False, True, 1)

    answer = owner.announce("--remove", "--restart", owner.restart)
    assert answer == {"removed": [str(owner.ours)], "pools": [], "left": [], "changed": True}
    assert (list(owner.directory.iterdir()), owner.restarted()) == ([], 2)
    assert owner.status() is None
    assert owner.run("--remove").stdout == "nothing was announced\n"


def test_dnsmasq_has_the_last_word(owner: Owner) -> None:
    """A configuration that it would not start with is not put in place; the old file stays."""
    owner.announce()
    before = owner.ours.read_bytes()
    owner.write("dhcp-option=nonsense\n")
    line = len(OWNER.splitlines()) + 2
    assert owner.refused("--number", "224", "--restart", owner.restart) == (
        f"1 acmeiot: dnsmasq would not start: bad dhcp-option at line {line} of {owner.conf}"
    )
    assert owner.ours.read_bytes() == before
    assert owner.restarted() == 0
    assert owner.status()["problems"] == []


@pytest.mark.parametrize("first", [True, False])
def test_a_failed_restart_is_taken_back(owner: Owner, first: bool) -> None:
    if not first:
        owner.announce()
    before = owner.ours.read_bytes() if not first else None
    command = f"sh -c 'echo x >>{owner.restarts}; echo it hurts; exit 3'"
    said = owner.refused("--number", "224", "--restart", command)
    assert said == f"1 acmeiot: {command!r} failed (3): it hurts; all is as it was before"
    assert owner.restarted() == 2, "once with the new file, once with the old one again"
    assert (owner.ours.read_bytes() if owner.ours.exists() else None) == before
    assert (owner.status() is None) is first
    assert "No such file" in owner.refused("--number", "224", "--restart", "/none")


def test_the_owners_own_options(owner: Owner) -> None:
    """Never a second 60 or 125: neither put in place nor passed over in silence."""
    owner.write("dhcp-option=60,mine\ndhcp-option-force=tag:voip,125,00:01\n")
    answer = owner.announce()
    line = len(OWNER.splitlines()) + 2
    assert not_told(answer) == {"DHCPv4 option 60": f"your own is in {owner.conf}:{line}"}
    text = owner.ours.read_text()
    assert "force=60," not in text
    assert "dhcp-option-force=tag:!voip,vi-encap:55357,1," in text
    lines = owner.server.admin("status").splitlines()
    assert f"not announced DHCPv4 option 60: your own is in {owner.conf}:{line}" in lines
    note = f"clients tagged voip get your own, {owner.conf}:{line + 1}"
    assert f"announced     DHCPv4 option 125: {note}" in lines


def test_what_was_changed_since_is_left(owner: Owner, tmp_path: Path) -> None:
    static = tmp_path / "acme"
    owner.announce("--static", static)
    static.write_text("mine now")
    owner.ours.write_text(owner.ours.read_text() + "# a remark\n")
    assert owner.status()["problems"] == [
        f"{path} was changed since; run `acmeiot announce` again" for path in (owner.ours, static)
    ]
    assert f"WARNING       {static} was changed" in owner.server.admin("status")
    assert "is there already and not ours" in owner.refused("--static", static)
    answer = owner.announce("--remove")
    assert (answer["removed"], answer["left"]) == ([str(owner.ours)], [str(static)])
    assert static.read_text() == "mine now"


def test_others_files_are_not_overwritten(owner: Owner, tmp_path: Path) -> None:
    owner.ours.write_text("dhcp-authoritative\n")
    assert owner.refused() == (
        f"1 acmeiot: {owner.ours} is there already and not ours; move it away or name another"
    )
    owner.ours.unlink()
    static = tmp_path / "page"
    static.write_text("<html>")
    assert "not ours" in owner.refused("--static", static)
    assert not owner.ours.exists(), "all or nothing"
    assert owner.status() is None


def test_options_of_the_settings_file(owner: Owner, tmp_path: Path) -> None:
    """What flags say, a file can say."""
    file = tmp_path / "acmeiot.toml"
    file.write_text(
        "dhcp_interface = ['br-lan', 'br-iot']\ndhcp_number = 200\ndhcp_class_option = false\n"
        "dhcp_details = true\n"
    )
    answer = owner.announce("--config", file)
    assert [(i["what"], i["on"]) for i in answer["items"]][:4] == [
        ("DHCPv4 option 125", "br-lan"), ("DHCPv4 option 200", "br-lan"),
        ("DHCPv6 option 17", "br-lan"), ("DHCPv4 option 125", "br-iot"),
    ]  # fmt: skip
    assert not_told(answer) == {"DHCPv4 option 60": "switched off"}
    assert owner.server.root_hash in told(answer)["DHCPv4 option 125"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--number", "60"), "2 acmeiot: dhcp_number: 60 means something else to clients"),
        (("--number", "252"), "2 acmeiot: dhcp_number: 252 means something else"),
        (("--interface", "br-lan,60"), "2 acmeiot: dhcp_interface: 'br-lan,60' is not a name"),
        (("--pool", "lan.x"), "2 acmeiot: odhcpd_pool: 'lan.x' is not a name such as lan"),
        (("--dnsmasq-dir", "/none"), "1 acmeiot: /none is no directory"),
        (("--dnsmasq-conf", "/none/x"), "1 acmeiot: No such file or directory: /none/x"),
        (("--state", "/none"), "1 acmeiot: no server is running on the state /none"),
        (("--config", "/none"), "2 acmeiot: config /none: No such file or directory"),
    ],
)
def test_what_cannot_be(owner: Owner, options: tuple[str, ...], said: str) -> None:
    assert owner.refused(*options).startswith(said)


def test_a_memory_elsewhere(owner: Owner, tmp_path: Path) -> None:
    """One for each dnsmasq; what one announced, another neither knows nor takes back."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    owner.announce("--memory", first)
    assert owner.status() is None
    assert not (owner.server.state / "announced.json").exists()
    other = Owner(owner.server, tmp_path / "other")
    other.announce("--memory", second, "--no-odhcpd")
    assert other.run("--memory", first, "--remove").stdout.startswith(f"removed {owner.ours}\n")
    assert (owner.ours.exists(), other.ours.exists(), first.exists()) == (False, True, False)
    assert other.announce("--memory", second, "--remove")["removed"] == [str(other.ours)]


def test_memories_of_the_settings(tmp_path: Path) -> None:
    """The server tells of all; the command uses the first; `status` needs no right to write."""
    memories = [tmp_path / "run" / name for name in ("one.json", "two.json", "none.json")]
    memories[0].parent.mkdir()
    settings = tmp_path / "acmeiot.toml"
    settings.write_text(f"announced = {[str(path) for path in memories]}\n")
    running = Running(tmp_path / "state", (*NAMES, "--config", str(settings))).start()
    try:
        owner, other = Owner(running, tmp_path / "a"), Owner(running, tmp_path / "b")
        assert owner.run("--config", settings).returncode == 0
        other.announce("--config", settings, "--memory", memories[1])
        reports = running.ask("status")["announced"]
        assert [report["memory"] for report in reports] == [str(path) for path in memories[:2]]
        assert [list(report["files"]) for report in reports] == [
            [str(owner.ours)],
            [str(other.ours)],
        ]
        memories[1].write_text("{")
        other.ours.unlink()
        lines = running.admin("status").splitlines()
        assert any(line.startswith("announced     DHCPv4 option 125, ") for line in lines)
        assert any(f"{memories[1]} cannot be understood" in line for line in lines)
    finally:
        running.stop()
    assert owner.announce("--config", settings, "--remove")["changed"], "with no server"


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about what root believes")
def test_root_believes_no_other_user(owner: Owner, tmp_path: Path) -> None:
    """The server's user could have root delete any file."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    memory = hostile / "announced.json"
    owner.announce("--memory", tmp_path / "good.json")
    memory.write_bytes((tmp_path / "good.json").read_bytes())
    os.chown(hostile, 1000, 1000)
    for options in (("--remove",), ()):
        assert owner.refused("--memory", memory, *options) == (
            f"1 acmeiot: {hostile} belongs to user 1000, who could have root delete any file; name "
            "one in a directory of root's with --memory"
        )
    memory.unlink()
    assert "belongs to user 1000" in owner.refused("--memory", memory)
    assert owner.ours.exists()
    assert list(hostile.iterdir()) == []


def test_a_broken_memory_is_said(owner: Owner) -> None:
    memory = owner.server.state / "announced.json"
    memory.write_text("{")
    assert owner.refused().startswith(f"1 acmeiot: {memory} cannot be understood")
    assert f"WARNING       {memory} cannot be understood" in owner.server.admin("status")


def test_without_dnsmasq_records_are_for_another_server(owner: Owner) -> None:
    answer = owner.announce("--no-dnsmasq")
    assert set(not_told(answer).values()) == {"switched off (--no-dnsmasq)"}
    assert answer["files"] == {}
    said = owner.run("--no-dnsmasq").stdout
    assert "DNS records for the zone of your own name server:\n    _acme-server._tcp.lan." in said
    assert "NOT DHCPv4 option 125, by dnsmasq\n    switched off" in said
    owner.conf.write_text(OWNER)
    assert "no directory for more configuration" in str(not_told(owner.announce()))
    answer = owner.announce("--dnsmasq-dir", owner.directory)
    assert answer["notes"] == [
        f"dnsmasq reads it only with conf-dir={owner.directory} in {owner.conf}"
    ]


def test_a_server_without_a_name(tmp_path: Path) -> None:
    """An address is never advertised; what to do is said."""
    running = Running(tmp_path / "state").start()
    try:
        said = Owner(running, tmp_path).refused()
    finally:
        running.stop()
    assert said.startswith("1 acmeiot: the server goes by ")
    assert "(`acmeiot serve --name router.lan`), and start it again" in said


HONEST: dict[str, Any] = {
    "directory": "https://router.lan:8555/acme/directory",
    "root": {"sha256": "5f" * 32},
    "server": {"names": ["router.lan"]},
    "domains": ["lan"],
    "directory_object": {},
}


@pytest.mark.parametrize(
    "lie",
    [
        {"domains": ["lan\ndhcp-script=/tmp/x"]},
        {"domains": ['lan",evil.example,"']},
        {"server": {"names": ["router.lan", 'a\ndhcp-script=/tmp/x"lan']}},
        {"directory": 'https://router.lan:8555/acme",dhcp-script=/tmp/x'},
        {"directory": "https://router.lan:8555"},
        {"root": {"sha256": '5f"\ndhcp-script=/tmp/x'}},
        {"root": {"sha256": "5F" * 32}},
    ],
)
def test_a_server_that_was_broken_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    """It is no root, and dnsmasq would run as root what it had written into its configuration."""
    monkeypatch.setattr("acmeiot.lan.dnsmasq.program", lambda: None)
    monkeypatch.setattr("acmeiot.lan.odhcpd.Uci.here", lambda: None)
    assert len(made(Config(), HONEST, None).records) == 7
    with pytest.raises(AgentError, match=r"^the server says of itself") as caught:
        made(Config(), {**HONEST, **lie}, None)
    assert str(caught.value).isprintable()


# -- OpenWrt: odhcpd beside dnsmasq

OWNERS_RAW = "00170010fd000000000000000000000000000001"


@pytest.fixture
def openwrt(owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the owner a UCI, in which odhcpd serves DHCPv6; dnsmasq has DHCPv4."""
    owner.conf.write_text(f"{OWNER.splitlines()[0]}\nconf-dir={owner.directory}\n")
    return stub(
        tmp_path, monkeypatch, odhcpd="odhcpd", lan__dhcpv6="server", lan__dhcpv6_raw=OWNERS_RAW
    )


def raw(store: Path) -> str | None:
    """Return the pool's string as odhcpd sees it; None when it is not set."""
    name = "dhcp.lan.dhcpv6_raw"
    if (store / "delta" / f"-{name}").exists():
        return None
    path = store / "delta" / name
    path = path if path.exists() else store / name
    return path.read_text() if path.exists() else None


def lasting(store: Path) -> str | None:
    """Return what is left of the pool's string after a reboot."""
    for path in (store / "delta").iterdir():
        path.unlink()
    return raw(store)


def test_odhcpd(owner: Owner, openwrt: Path) -> None:
    """Ours is appended once, follows what we say, and goes alone; the flash is left alone."""
    answer = owner.announce()
    ours = told(answer)["DHCPv6 option 17"]
    assert raw(openwrt) == OWNERS_RAW + ours
    assert [i["by"] for i in answer["items"] if "v6" in i["what"]] == ["odhcpd"]
    assert "option6:" not in owner.ours.read_text()
    assert not owner.announce()["changed"]
    assert raw(openwrt) == OWNERS_RAW + ours
    longer = told(owner.announce("--details"))["DHCPv6 option 17"]
    assert raw(openwrt) == OWNERS_RAW + longer
    assert owner.announce("--remove")["pools"] == ["lan"]
    assert raw(openwrt) == OWNERS_RAW
    assert "commit" not in (openwrt / "calls").read_text()
    owner.announce()
    assert lasting(openwrt) == OWNERS_RAW, "a reboot ends it"


def test_odhcpd_and_a_commit_of_somebody(owner: Owner, openwrt: Path) -> None:
    """It writes out what we said; that is taken back lastingly, however often it changed since."""
    short = told(owner.announce())["DHCPv6 option 17"]
    commit()
    assert not owner.announce()["changed"]
    longer = told(owner.announce("--details"))["DHCPv6 option 17"]
    assert raw(openwrt) == OWNERS_RAW + longer
    (openwrt / "dhcp.lan.dhcpv6_raw").write_text(OWNERS_RAW + short + "00180000")
    assert owner.announce("--details")["changed"]
    assert raw(openwrt) == OWNERS_RAW + "00180000" + longer
    # Others' changes wait: nothing of it is taken back, nor anything of theirs written out.
    (openwrt / "delta" / "dhcp.lan.start").write_text("100")
    assert owner.refused("--remove") == (
        "1 acmeiot: changes of dhcp wait for their commit (see `uci changes dhcp`)"
    )
    assert raw(openwrt) == OWNERS_RAW + "00180000" + longer
    assert owner.ours.exists()
    (openwrt / "delta" / "dhcp.lan.start").unlink()
    assert owner.announce("--remove")["pools"] == ["lan"]
    assert raw(openwrt) == lasting(openwrt) == OWNERS_RAW + "00180000"


def test_odhcpd_after_a_reboot(owner: Owner, openwrt: Path) -> None:
    """What somebody committed is ours all the same when nothing in RAM remembers it."""
    ours = told(owner.announce())["DHCPv6 option 17"]
    commit()
    (owner.server.state / "announced.json").unlink()
    assert told(owner.announce())["DHCPv6 option 17"] == ours
    assert raw(openwrt) == OWNERS_RAW + ours
    owner.announce("--remove")
    assert lasting(openwrt) == OWNERS_RAW


def test_odhcpd_with_two_pools(owner: Owner, openwrt: Path) -> None:
    """What is withdrawn from one is committed without what is said in the other."""
    (openwrt / "dhcp.iot.dhcpv6").write_text("hybrid")
    ours = told(owner.announce("--pool", "lan", "--pool", "iot"))["DHCPv6 option 17"]
    commit()
    assert owner.announce("--pool", "iot", "--details")["changed"]
    assert raw(openwrt) == OWNERS_RAW
    assert (openwrt / "dhcp.iot.dhcpv6_raw").read_text() == ours
    assert sorted(path.name for path in (openwrt / "delta").iterdir()) == ["dhcp.iot.dhcpv6_raw"]
    owner.announce("--remove")
    assert lasting(openwrt) == OWNERS_RAW
    assert not (openwrt / "dhcp.iot.dhcpv6_raw").exists()


def test_odhcpd_set_back_by_others(owner: Owner, openwrt: Path) -> None:
    owner.announce()
    (openwrt / "dhcp.lan.dhcpv6_raw").unlink()
    assert owner.announce()["changed"]
    assert (raw(openwrt) or "").startswith("0011")
    (openwrt / "dhcp.lan.dhcpv6_raw").write_text("00:17")
    assert owner.refused() == ("1 acmeiot: pool lan has changed: its dhcpv6_raw is not plain hex")
    owner.announce("--remove")
    assert raw(openwrt) == "00:17"


def test_odhcpd_without_room_for_us(owner: Owner, openwrt: Path) -> None:
    (openwrt / "dhcp.lan.dhcpv6_raw").write_text("00:17")
    why_not = {"DHCPv6 option 17": "its dhcpv6_raw is not plain hex"}
    assert not_told(owner.announce()) == why_not
    assert raw(openwrt) == "00:17"
    (openwrt / "dhcp.lan.dhcpv6").write_text("relay")
    assert not_told(owner.announce()) == {"DHCPv6 option 17": "lan.dhcpv6 is relay"}
    assert not_told(owner.announce("--pool", "iot")) == {
        "DHCPv6 option 17": "iot.dhcpv6 is not set"
    }
    assert "DHCPv6 option 17" in not_told(owner.announce("--no-odhcpd"))


def test_odhcpd_as_the_only_dhcp_server(owner: Owner, openwrt: Path) -> None:
    """It cannot send DHCPv4 options: reported, not hidden."""
    (openwrt / "dhcp.odhcpd.maindhcp").write_text("1")
    answer = owner.announce()
    assert not_told(answer) == dict.fromkeys(
        ("DHCPv4 option 125", "DHCPv4 option 60"),
        "odhcpd serves DHCPv4 here (maindhcp) and cannot send it",
    )
    assert "dhcp-option" not in owner.ours.read_text()
    said = owner.server.admin("status")
    assert "not announced DHCPv4 option 125: odhcpd serves DHCPv4 here" in said


def test_a_failed_restart_is_taken_back_from_odhcpd(owner: Owner, openwrt: Path) -> None:
    assert "all is as it was before" in owner.refused("--restart", "false")
    assert raw(openwrt) == OWNERS_RAW
    assert not owner.ours.exists()
    (openwrt / "fail").write_text("set")
    assert owner.refused() == "1 acmeiot: uci set: uci: I/O error"
    assert not owner.ours.exists()
    assert owner.status() is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_between_is_remembered(
    owner: Owner, openwrt: Path, tmp_path: Path, when: str
) -> None:
    """What is there of the old and of the new is found by --remove."""
    old, new = tmp_path / "old", tmp_path / "new"
    short = told(owner.announce("--static", old))["DHCPv6 option 17"]
    commit()
    (openwrt / "kill").write_text(f"set {when}")
    assert owner.run("--static", new, "--details").returncode == -9
    (openwrt / "kill").unlink()
    for _ in range(100 if when == "after" else 0):  # until `uci` has ended, too
        if raw(openwrt) != OWNERS_RAW + short:
            break
        time.sleep(0.05)
    else:
        assert when == "before"
    commit()
    assert old.exists()
    owner.announce("--remove")
    assert (lasting(openwrt), old.exists(), new.exists()) == (OWNERS_RAW, False, False)
    assert not owner.ours.exists()


def test_uci_gone(owner: Owner, openwrt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.announce()
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    assert owner.refused("--remove") == "1 acmeiot: uci is gone, and with it what pool lan says"
