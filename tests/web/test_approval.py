"""The owner's word on devices: asked for, given in advance, taken back (decision 5)."""

from __future__ import annotations

import socket
import time

import pytest

from tests.web.client import URN, Client, Json, binding, unb64
from tests.web.conftest import Serve
from tests.web.house import House
from tests.web.running import Running, acmeiot

PAIR = ("printer.lan", "printer.local")


def answer_all(client: Client, house: House, order: Json) -> None:
    for url in order["authorizations"]:
        authorization = client.post(url).ok()
        if authorization["status"] == "pending":
            client.post(house.answer(client, authorization)["url"], {}).ok()


def pending(running: Running) -> Json:
    """Return the one device that waits for the owner."""
    (device,) = (d for d in running.ask("devices")["devices"] if d["status"] == "pending")
    return dict(device)


def account(client: Client) -> str:
    return client.kid.rpartition("/")[2]


def cert(running: Running, serial: int) -> Json:
    (found,) = (c for c in running.ask("certs")["certs"] if c["serial"] == f"{serial:x}")
    return dict(found)


# -- approval


def test_the_client_is_told_whom_to_ask(asking: Running, house: House) -> None:
    """Issue by asking: first a clear refusal, then, after approval, the same client succeeds."""
    client = asking.client()
    order = client.order(*PAIR)
    (url, _) = order.json["authorizations"]
    answered = client.post(house.answer(client, client.post(url).ok())["url"], {})
    challenge = answered.ok()
    assert challenge["status"] == "processing"
    assert challenge["error"]["type"] == URN + "userActionRequired"
    device = pending(asking)
    assert f"acmeiot approve {device['id']}" in challenge["error"]["detail"]
    assert int(answered.header("Retry-After") or "0") > 0
    assert client.post(url).ok()["status"] == "pending"

    ended = client.poll(url).ok()  # nobody came within the second
    assert ended["status"] == "invalid"
    assert ended["challenges"][0]["error"]["type"] == URN + "userActionRequired"
    shown = client.post(order.header("Location") or "").ok()
    assert (shown["status"], shown["error"]["type"]) == ("invalid", URN + "userActionRequired")

    said = asking.admin("approve", device["id"])
    assert said == f"approved {device['id']} (printer.lan); run its client again\n"
    house.issue(client)


def test_approval_while_the_client_waits(make_server: Serve, house: House) -> None:
    """The client that is kept goes on by itself; finalize waits for no one any more."""
    toml = "approval_wait = 30\n"
    running = make_server("--approval", "ask", "--limits", "off", toml=toml).start()
    client = running.client()
    order = client.order(*PAIR)
    answer_all(client, house, order.json)
    assert client.post(order.header("Location") or "").ok()["status"] == "pending"
    client.finalize(order.json).is_problem("orderNotReady", 403)
    running.admin("approve", pending(running)["id"])
    # Some clients poll the order only.
    assert client.poll(order.header("Location") or "").ok()["status"] == "ready"
    client.finalize(order.json).ok()
    running.stop()


@pytest.mark.parametrize("by", ["id", "name", "address"])
def test_a_device_is_named_as_the_owner_likes(asking: Running, house: House, by: str) -> None:
    client = asking.client("127.0.0.9")
    answer_all(client, house, client.order("cam.lan", "cam.local").json)
    device = pending(asking)
    assert device["address"] == "127.0.0.9"
    asking.admin("approve", {"id": device["id"], "name": "CAM.lan", "address": "127.0.0.9"}[by])
    (device,) = asking.ask("devices")["devices"]
    assert (device["status"], device["decided_by"]) == ("approved", "owner")


def test_window(asking: Running, house: House) -> None:
    """Decision 5: who proves a name while it is open is approved, before and after is not."""
    assert "window closed" in asking.admin("status")
    assert asking.admin("pair", "--window", "5").startswith("pairing window open until ")
    left = asking.ask("status")["window_ends"] - time.time()
    assert 290 < left <= 300
    house.issue(asking.client("127.0.0.11"))
    (device,) = asking.ask("devices")["devices"]
    assert device["decided_by"] == "window"
    assert asking.admin("pair", "--window", "0") == "pairing window closed\n"
    assert asking.ask("status")["window_ends"] is None
    client = asking.client("127.0.0.12")
    answer_all(client, house, client.order("late.lan", "late.local").json)
    assert pending(asking)["names"] == ["late.lan", "late.local"]


def test_a_window_does_not_give_away_names(asking: Running, house: House) -> None:
    """Specs 6 "name squatting": a name changes hands by the owner's word only."""
    asking.admin("pair", "--window")
    house.issue(asking.client("127.0.0.13"))
    stranger = asking.client("127.0.0.14")
    answer_all(stranger, house, stranger.order(*PAIR).json)
    device = pending(asking)
    assert device["address"] == "127.0.0.14"
    (owner,) = (d["id"] for d in asking.ask("devices")["devices"] if d["id"] != device["id"])
    assert device["of_others"] == dict.fromkeys(PAIR, owner)
    (row,) = (line for line in asking.admin("devices").splitlines() if device["id"] in line[:8])
    assert f" printer.lan (tied to {owner}) printer.local (tied to {owner}) " in row
    assert asking.admin("approve", device["id"]).splitlines()[1:] == [
        f"{name} stays tied to device {owner}; to free it: acmeiot forget {owner}" for name in PAIR
    ]


def test_a_name_changes_hands_by_the_owners_word(asking: Running, house: House) -> None:
    asking.admin("pair", "--window")
    house.issue(asking.client("127.0.0.15"))
    (owner,) = (d["id"] for d in asking.ask("devices")["devices"])
    heir = asking.client("127.0.0.16")
    answer_all(heir, house, heir.order(*PAIR).json)
    answer = asking.admin("approve", "printer.lan").splitlines()
    assert answer[1:] == [f"{name} was taken from device {owner}" for name in PAIR]
    house.issue(heir)


def test_the_window_is_open_after_the_very_first_start(make_server: Serve) -> None:
    """Decision 5: once, not after each start; never where the port cannot be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = make_server("--pairing-window", "600")
        ports, running.ports = running.ports, [running.ports[0], taken.getsockname()[1]]
        refused = acmeiot("serve", "--state", running.state, *running.listen, *running.arguments)
        assert refused.returncode == 1
        running.ports = ports
    running.start()
    assert running.ask("status")["window_ends"] > time.time()
    running.admin("pair", "--window", "0")
    running.stop()
    running.start()
    assert running.ask("status")["window_ends"] is None
    running.stop()


def test_pairing_key(asking: Running, house: House) -> None:
    """R-18: who has one needs no approval; it is shown as text and as QR code."""
    said = asking.admin("pair", "--minutes", "5", "--note", "printer in the hall")
    facts = dict(line.split(maxsplit=1) for line in said.splitlines()[:2])
    assert facts["directory"] == asking.directory
    kid = facts["key"].removeprefix("id").strip()
    secret = said.split("HMAC key")[1].split()[0]
    assert f"certbot --eab-kid {kid} --eab-hmac-key {secret} ..." in said
    assert f"root       sha256:{asking.root_hash}" in said
    assert sum("\u2580" in line or "\u2584" in line for line in said.splitlines()) > 20
    client = asking.client(register=False)
    eab = binding(kid, unb64(secret), client.key.jwk, client.directory["newAccount"])
    client.register(externalAccountBinding=eab).ok(201)
    house.issue(client)
    (device,) = asking.ask("devices")["devices"]
    assert device["decided_by"] == "pairing key"


def test_pairing_uri(asking: Running) -> None:
    """The QR code says all that a device needs, in one URI."""
    answer = asking.ask("pair")
    assert answer["uri"] == (
        f"{asking.directory}#kid={answer['kid']}&hmac={answer['hmac']}&root=sha256:"
        f"{asking.root_hash}"
    )
    assert len(unb64(answer["hmac"])) == 32
    assert answer["expires"] - time.time() > 3500


# -- blocked, forgotten


def test_block(server: Running, house: House) -> None:
    """Its certificates are revoked, it gets no more, until it is approved again."""
    client = server.client("127.0.0.21")
    issued = house.issue(client, "blocked.lan", "blocked.local")
    (device,) = (d for d in server.ask("devices")["devices"] if d["account"] == account(client))
    said = server.admin("block", device["id"])
    assert said == f"blocked {device['id']} (blocked.lan blocked.local), revoked 1 certificate\n"
    assert cert(server, issued.leaf.serial_number)["reason"] == "privilegeWithdrawn"
    problem = client.order("blocked.lan", "blocked.local").is_problem("unauthorized", 403)
    assert "blocked" in problem["detail"]
    answer = server.ask("approve", device["id"])
    assert answer["device"]["status"] == "approved"
    house.issue(client, "blocked.lan", "blocked.local")


def test_block_ends_what_is_under_way(server: Running, house: House) -> None:
    """A proved order of a blocked device is not finished."""
    client = server.client("127.0.0.22")
    house.issue(client, "quick.lan", "quick.local")
    order = client.order("quick.lan", "quick.local").ok(201)
    assert order["status"] == "ready"
    server.admin("block", "127.0.0.22")
    client.finalize(order).is_problem("unauthorized", 403)


def test_forget(asking: Running, house: House) -> None:
    """The device was sold: certificates revoked, account ended, its names are free."""
    asking.admin("pair", "--window")
    client = asking.client("127.0.0.23")
    issued = house.issue(client)
    (device,) = asking.ask("devices")["devices"]
    said = asking.admin("forget", "printer.lan")
    assert said.startswith(f"forgot {device['id']} ")
    assert said.endswith(", revoked 1 certificate\n")
    assert cert(asking, issued.leaf.serial_number)["revoked_at"]
    client.post(client.kid).is_problem("unauthorized", 401)
    client.register().is_problem("unauthorized", 401)
    house.issue(asking.client("127.0.0.24"))
    assert {d["status"] for d in asking.ask("devices")["devices"]} == {"forgotten", "approved"}
    # The name means the device that has it now.
    assert asking.ask("block", "printer.lan")["device"]["address"] == "127.0.0.24"
