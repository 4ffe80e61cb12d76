"""LuCI's page and what answers it: every state of the server has its words, and nothing waits."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.shell.router import TOP, Router

APP: Final = TOP / "openwrt/luci-app-acmeiot"
VIEW: Final = APP / "htdocs/luci-static/resources/view/acmeiot/overview.js"
BACKEND: Final = APP / "root/usr/libexec/rpcd/luci.acmeiot"

RUNNING: Final[dict[str, Any]] = {
    "directory": "https://router.lan:8555/acme/directory",
    "root": {
        "name": "Home CA",
        "not_after": 2_000_000_000,
        "sha256": "ab" * 32,
        "words": "one two",
    },
    "clock": {"doubt": None},
    "devices": {"approved": 3, "pending": 1},
    "certificates": 4,
    "window_ends": None,
    "http_port": 8556,
    "announced": [
        {
            "items": [
                {"what": "DHCPv4 option 125", "by": "dnsmasq", "on": "br-lan", "why_not": None},
                {"what": "DNS records", "by": "dnsmasq", "on": "", "why_not": "none here"},
            ],
            "problems": ["/tmp/x was changed since"],
        }
    ],
}


def page(status: object) -> dict[str, Any]:
    """Return what the page shows when the server's state is this."""
    command = ["node", str(Path(__file__).with_name("luci.js")), str(VIEW), json.dumps(status)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"stopped": True}, "Not running"),
        ("broken", "Not running"),  # rpcd does not know of us yet, or does not answer
        ({"starting": True}, "Starting"),
        ({}, "Starting"),
        (RUNNING, "Running"),
        ({**RUNNING, "clock": {"doubt": "1970"}}, "Waiting for the right time"),
        ({"root": {}}, "Not understood"),
        ({**RUNNING, "directory": {"nodeType": 1}}, "Not understood"),  # no more a node for that
        ({**RUNNING, "certificates": {"toString": 1, "valueOf": 1}}, "Not understood"),
    ],
)
def test_each_state_has_its_words(status: object, shown: str) -> None:
    found = page(status)
    assert found["first"][0] == ["State", shown]
    assert found["later"] == found["first"]
    assert found["polled"] == [5]
    assert found["html"] == []
    assert found["options"] == [["enabled"], ["approval", "ask", "auto"]]


def test_what_is_shown_of_a_running_server() -> None:
    found = page(RUNNING)
    rows = dict(found["first"])
    assert rows["Directory"] == RUNNING["directory"]
    assert rows["Root"] == "Home CA, good until 2033-05-18"
    assert rows["Fingerprint"] == "one twosha256:" + "ab" * 32
    assert rows["Devices"] == "3 allowed, 1 waiting for you"
    assert rows["Certificates"] == "4"
    assert rows["New devices"] == "wait for you"
    assert rows["Announced"] == "DHCPv4 option 125 on br-lan"
    assert rows["Not announced"] == "DNS records: none here"
    assert rows["Problem"] == "/tmp/x was changed since"
    assert found["links"] == ["http://192.168.1.1:8556/trust"]
    assert (
        "allowed by themselves" in dict(page({**RUNNING, "window_ends": 9})["first"])["New devices"]
    )


def test_a_server_of_tomorrow_shows_what_is_known() -> None:
    assert dict(page({**RUNNING, "announced": [], "more": 1})["first"])["Certificates"] == "4"


# -- a server that was broken into: the page has the rights of root, and the server has not

SCRIPT: Final = '<img src=x onerror="alert(1)">'


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value that holds no other."""
    if not isinstance(value, (dict, list)):
        yield path
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(inner, *path, key)


def holding(value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
    """Return the running server's state with this value in one place."""
    changed: dict[str, Any] = copy.deepcopy(RUNNING)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


NOT_SHOWN: Final = [  # a number or a moment is made of them, or one of two sentences
    ("root", "not_after"),
    ("clock", "doubt"),
    ("devices", "approved"),
    ("devices", "pending"),
    ("certificates",),
    ("window_ends",),
    ("http_port",),
    ("announced", 0, "items", 0, "by"),
    ("announced", 0, "items", 1, "by"),
]


@pytest.mark.parametrize("path", list(places(RUNNING)), ids=lambda path: ".".join(map(str, path)))
def test_nothing_the_server_says_is_html(path: tuple[Any, ...]) -> None:
    found = page(holding(SCRIPT, path))
    assert found["html"] == []
    for rows in (found["first"], found["later"]):
        assert any(SCRIPT in row[1] for row in rows) == (path not in NOT_SHOWN)


@pytest.mark.parametrize("port", [SCRIPT, "80@192.0.2.1", {"toString": 1, "valueOf": 1}])
def test_the_link_leads_to_this_router(port: object) -> None:
    assert page(holding(port, ("http_port",)))["links"] == ["http://192.168.1.1:8556/trust"]


# -- the program that rpcd asks


def asked(router: Router) -> Any:
    return json.loads(router.sh(f"{BACKEND} call status </dev/null"))


def test_the_program_behind_it(router: Router) -> None:
    assert json.loads(router.sh(f"{BACKEND} list")) == {"status": {}}
    assert asked(router) == {"stopped": True}
    router.write("/var/run/acmeiot.pid", "")
    assert asked(router) == {"stopped": True}
    router.write("/var/run/acmeiot.pid", "1")
    assert asked(router) == {"starting": True}
    router.write("/var/run/acmeiot/server/status.json", '{"certificates": 4}')
    assert asked(router) == {"certificates": 4}
    router.write("/var/run/acmeiot.pid", "4194305")  # more than Linux gives
    assert asked(router) == {"stopped": True}
    assert router.sh(f"{BACKEND} call other </dev/null") == ""


def test_a_pipe_in_the_place_of_the_state_blocks_nobody(router: Router) -> None:
    """The folder is the server's, which may have been broken into."""
    router.write("/var/run/acmeiot.pid", "1")
    router.sh("mkdir -p /var/run/acmeiot/server; mkfifo /var/run/acmeiot/server/status.json")
    assert asked(router) == {"starting": True}


def test_the_page_may_ask_no_more_than_it_needs() -> None:
    shared = APP / "root/usr/share"
    [(group, rights)] = json.loads(
        (shared / "rpcd/acl.d/luci-app-acmeiot.json").read_text()
    ).items()
    assert rights["read"] == {"ubus": {"luci.acmeiot": ["status"]}, "uci": ["acmeiot"]}
    assert rights["write"] == {"uci": ["acmeiot"]}
    [(path, node)] = json.loads((shared / "luci/menu.d/luci-app-acmeiot.json").read_text()).items()
    assert path == "admin/services/acmeiot"
    assert node["depends"] == {"acl": [group], "uci": {"acmeiot": True}}
    assert (VIEW.parents[1] / (node["action"]["path"] + ".js")) == VIEW
