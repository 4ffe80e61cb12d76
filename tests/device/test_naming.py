"""Labels, domains and identifiers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.device import naming
from acmeiot.protocol.names import Identifier
from tests.device.rig import Rig, subject_names


def card(folder: Path, name: str, mac: str, *, real: bool = True) -> None:
    """Add a network card to what the kernel shows."""
    (folder / name).mkdir(parents=True)
    (folder / name / "address").write_text(mac + "\n")
    if real:
        (folder / name / "device").mkdir()


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("printer", "printer-12cd56"),
        ("Printer.fritz.box", "printer-12cd56"),
        ("raspberrypi", "raspberrypi-12cd56"),
        ("my-nas-2", "my-12cd56"),
        ("localhost", "device-12cd56"),
        ("", "device-12cd56"),
        ("(none)", "device-12cd56"),
        ("192-168-1-1", "device-12cd56"),
        ("facade", "facade-12cd56"),  # hex digits, but a word
        ("device-aa11bb", "device-aa11bb"),  # unique already
        ("BRN30055C123456", "brn30055c123456"),
        ("cam30aa11bb", "cam30aa11bb"),
    ],
)
def test_default_label(tmp_path: Path, host: str, label: str) -> None:
    card(tmp_path, "br0", "02:00:00:00:00:01", real=False)
    card(tmp_path, "eth0", "52:54:00:12:CD:56")
    card(tmp_path, "lo", "00:00:00:00:00:00", real=False)
    made = naming.default_label(host, tmp_path)
    assert made == label
    assert re.fullmatch(r"[a-z]+[a-z0-9-]*-?[0-9a-f]{6,}", made)  # A-4.6-1
    assert naming.checked_label(made) == made


def test_without_a_card_the_digits_are_random(tmp_path: Path) -> None:
    assert naming.default_label("nas", tmp_path, lambda count: "ab" * count) == "nas-ababab"


def test_a_long_host_name_still_gives_a_label(tmp_path: Path) -> None:
    label = naming.default_label("x" * 200, tmp_path)
    assert naming.checked_label(label) == label


def test_the_default_label_is_stable(rig: Rig) -> None:
    rig.settings.pop("name")
    rig.good()
    label = rig.state.device().label
    assert re.fullmatch(r"printer-[0-9a-f]{6}", label)  # A-4.6-1
    agent = rig.agent()
    agent.host = lambda: "renamed-by-dhcp"
    agent.round()
    assert rig.state.device().label == label
    assert subject_names(rig.leaf()) == {f"{label}.lan", f"{label}.local"}


@pytest.mark.parametrize(
    "text", ["", "a.b", "printer.lan", "-x", "x_y", "a" * 64, "localhost", "*", "b\u00fcro", "a b"]
)
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(AgentError, match="one label such as"):
        naming.checked_label(text)


def test_identifiers_have_both_kinds_of_name() -> None:
    address = ipaddress.ip_address("192.168.1.20")
    found = naming.identifiers("printer", ("lan", "internal"), (address,))
    assert [str(one) for one in found] == [  # A-3.2.3-3, A-3.2.3-4
        "printer.lan", "printer.internal", "printer.local", "192.168.1.20",
    ]  # fmt: skip
    assert Identifier("ip", "192.168.1.20") in found


def test_no_address_of_the_internet() -> None:
    with pytest.raises(AgentError, match=r"8\.8\.8\.8 is not a private address"):
        naming.identifiers("printer", ("lan",), (ipaddress.ip_address("8.8.8.8"),))


@pytest.mark.parametrize(
    ("configured", "told", "server", "before", "found"),
    [
        (("a",), ("b",), "router.c", ("d",), ("a",)),
        ((), ("b.", "LAN"), "router.c", ("d",), ("b", "lan")),
        ((), (), "router.c", ("d",), ("c",)),
        ((), (), "router.c", ("c", "d"), ("c", "d")),
        ((), (), "router.local", ("d",), ("d",)),
        ((), ("local", "bad_name"), "router.lan", (), ("lan",)),
        ((), ("a", "b", "c", "d", "e"), "router.lan", (), ("a", "b", "c", "d")),
    ],
)
def test_domains(
    configured: tuple[str, ...],
    told: tuple[str, ...],
    server: str,
    before: tuple[str, ...],
    found: tuple[str, ...],
) -> None:
    assert naming.domains(configured, told, server, before) == found


@pytest.mark.parametrize("server", ["router.local", "router"])
def test_no_domain_is_said(server: str) -> None:
    with pytest.raises(AgentError, match="--domain lan"):
        naming.domains((), (), server)
