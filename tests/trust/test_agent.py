"""Joining, leaving, roots that change, rogues: what is believed where, and who is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from acmeiot.client.errors import AgentError
from acmeiot.client.network import Network
from acmeiot.trust.agent import Found
from acmeiot.trust.decide import Policy
from tests.trust.fakes import CABLE, CAFE, HOME, OTHER, FakeStore, Laptop, shown
from tests.trust.roots import DAY, NOW, Made, home_root

TOFU = Policy(mode="tofu")
ASK = Policy()
A, B = home_root(0), home_root(1)


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    """A laptop that believes on first use, with one store."""
    return Laptop(tmp_path / "state", TOFU)


# -- the first time


def test_first_use_is_believed_and_marked_unverified(laptop: Laptop) -> None:
    """A-3.3-3: TOFU accepts the first root."""
    assert laptop.join(HOME, A) == [True]
    assert laptop.held == {A.pem}
    (belief,) = laptop.known(HOME).beliefs
    assert (belief.sha256, belief.how, belief.verified) == (A.sha256, "tofu", False)
    assert laptop.store.tried == ["https://router.lan:8555/acme/directory"]
    assert laptop.failures() == []


def test_managed_takes_only_what_is_configured(laptop: Laptop) -> None:
    """A-3.3-3: unless configured otherwise."""
    laptop.policy = Policy(mode="managed")
    laptop.join(HOME, A)
    assert laptop.held == set()
    assert laptop.kinds() == ["refused"]
    laptop.policy = Policy(mode="managed", expect=frozenset((A.sha256,)))
    laptop.join(HOME, A)
    assert laptop.held == {A.pem}
    assert (laptop.known(HOME).beliefs[0].how, laptop.known(HOME).beliefs[0].verified) == (
        "managed",
        True,
    )


def test_a_man_in_the_middle_at_first_is_refused_where_the_root_is_expected(
    laptop: Laptop,
) -> None:
    """A-4.2-1."""
    laptop.policy = Policy(mode="tofu", expect=frozenset((A.sha256,)))
    laptop.join(HOME, B)
    assert laptop.held == set()
    assert "not the expected one" in laptop.failures()[0]
    assert len(laptop.screen) == 1
    laptop.join(HOME, A)
    assert laptop.held == {A.pem}
    assert laptop.known(HOME).beliefs[0].verified


def test_without_a_person_nothing_is_stored_and_the_way_on_is_told(laptop: Laptop) -> None:
    laptop.policy = ASK
    laptop.join(HOME, A)
    assert laptop.held == set()
    assert f"acmeiot trust accept sha256:{A.sha256}" in laptop.failures()[0]
    pending = laptop.known(HOME).pending
    assert pending is not None
    assert pending.sha256 == A.sha256
    laptop.agent().accept(HOME.key, A.sha256)
    assert laptop.held == {A.pem}
    assert laptop.known(HOME).pending is None
    assert laptop.known(HOME).beliefs[0].verified


@pytest.mark.parametrize("yes", [True, False])
def test_a_person_is_asked_once(laptop: Laptop, yes: bool) -> None:
    laptop.policy, laptop.answer = ASK, yes
    laptop.join(HOME, A)
    assert laptop.held == ({A.pem} if yes else set())
    assert bool(laptop.failures()) is not yes
    laptop.answer = True
    laptop.join(HOME, A)
    assert len(laptop.questions) == (1 if yes else 2)


def test_only_what_waits_can_be_accepted(laptop: Laptop) -> None:
    laptop.policy = ASK
    laptop.join(HOME, A)
    for key, sha256 in ((HOME.key, B.sha256), (OTHER.key, A.sha256)):
        with pytest.raises(AgentError, match="waits to be accepted"):
            laptop.agent().accept(key, sha256)
    laptop.policy = Policy(mode="managed")
    with pytest.raises(AgentError, match="--expect"):
        laptop.agent().accept(HOME.key, A.sha256)
    assert laptop.held == set()


def test_a_root_for_the_whole_internet_is_refused(laptop: Laptop) -> None:
    """A-1-1."""
    wide = Made(names=("local", "com")).root
    laptop.join(HOME, wide)
    assert laptop.held == set()
    assert "may vouch for com" in laptop.failures()[0]
    unconstrained = Made(constrained=False).root
    laptop.join(HOME, unconstrained)
    assert laptop.held == set()
    laptop.policy = replace(TOFU, unconstrained=True)
    laptop.join(HOME, unconstrained)
    assert laptop.held == {unconstrained.pem}


# -- one network and the others


def test_a_root_is_used_on_its_network_only(laptop: Laptop) -> None:
    """A-3.3-4, A-1-2, A-4.8-1."""
    laptop.join(HOME, A)
    laptop.join(OTHER, B)
    assert laptop.held == {B.pem}
    laptop.leave()
    assert laptop.held == set()
    laptop.join(HOME, Found())  # the server may be dead: the network is known
    assert laptop.held == {A.pem}


def test_both_roots_while_both_networks_are_joined(laptop: Laptop) -> None:
    """A-4.8-1: tracked apart, one leaves without the other."""
    laptop.join_all({HOME: A, OTHER: B})
    assert laptop.held == {A.pem, B.pem}
    laptop.join(OTHER, B)
    assert laptop.held == {B.pem}


def test_another_router_is_another_network(laptop: Laptop) -> None:
    """A-3.3-5, A-4.7-1: interface, SSID and router's MAC; same addresses, same names."""
    laptop.policy = ASK
    for network in (HOME, OTHER, replace(HOME, ssid="Home 2"), replace(OTHER, interface="eth1")):
        laptop.join(network, A)
        assert laptop.held == set()
        assert laptop.kinds() == ["pending"]


def test_one_root_on_two_interfaces_of_one_router(laptop: Laptop) -> None:
    """A-3.3-7: linked, no second question."""
    laptop.policy, laptop.answer = ASK, True
    laptop.join(HOME, A)
    laptop.join(CABLE, A)
    assert len(laptop.questions) == 1
    assert laptop.held == {A.pem}
    assert list(laptop.book.roots) == [A.sha256]
    assert [known.key for known in laptop.book.where(A.sha256)] == [HOME.key, CABLE.key]
    belief = laptop.known(CABLE).beliefs[0]
    assert (belief.how, belief.verified) == ("linked", True)
    laptop.agent().forget(HOME.key)
    assert laptop.held == {A.pem}
    laptop.agent().forget(CABLE.key)
    assert laptop.held == set()
    assert laptop.book.roots == {}


def test_what_was_not_verified_is_not_so_by_a_link(laptop: Laptop) -> None:
    """A-3.3-7."""
    laptop.join(HOME, A)
    laptop.policy = ASK
    laptop.join(CABLE, A)
    assert laptop.known(CABLE).beliefs[0].verified is False


def test_networks_without_a_router_are_no_siblings(laptop: Laptop) -> None:
    """A-3.3-5."""
    laptop.join(Network("eth0", None, prefix="fd00:1::/64"), A)
    laptop.policy = ASK
    laptop.join(Network("eth1", None, prefix="fd00:2::/64"), A)
    assert laptop.kinds() == ["pending"]


def test_a_root_renewed_with_the_same_key_is_the_same_root(laptop: Laptop) -> None:
    """A-3.3-6: its key is its identity; the new certificate counts when the old has expired."""
    old = replace(Made(days=365).root, sha256="11" * 32)
    new = replace(Made().root, sha256="11" * 32)
    laptop.join(HOME, old)
    laptop.join(HOME, new)
    assert (laptop.held, laptop.kinds()) == ({old.pem}, ["same"])
    laptop.policy = ASK
    laptop.join(OTHER, new)
    laptop.join(HOME, Found())
    assert laptop.held == {old.pem}  # what waits elsewhere changes nothing here
    laptop.now = old.not_after + 1
    laptop.join(HOME, replace(new, der=Made(names=("com",)).der))
    assert (laptop.held, laptop.kinds()) == (set(), ["refused"])
    laptop.join(HOME, new)
    assert (laptop.held, laptop.kinds()) == ({new.pem}, ["believed"])
    assert laptop.known(HOME).beliefs[0].how == "tofu"


def test_another_root_behind_the_same_router_is_a_question(laptop: Laptop) -> None:
    laptop.policy, laptop.answer = ASK, False
    laptop.join(HOME, A)
    laptop.answer = True
    laptop.join(HOME, A)
    laptop.answer = False
    laptop.join(CABLE, B)
    assert laptop.held == set()
    assert laptop.kinds() == ["pending"]


def test_a_question_says_where_the_root_is_believed_already(laptop: Laptop) -> None:
    laptop.policy, laptop.answer = ASK, True
    laptop.join(HOME, A)
    laptop.join(OTHER, A)
    assert laptop.questions[1].elsewhere == (str(HOME),)


def test_public_networks_are_left_alone(laptop: Laptop) -> None:
    laptop.join(CAFE, AgentError("nobody may be asked here"))
    assert laptop.kinds() == ["public"]
    assert laptop.failures() == []
    laptop.policy = replace(TOFU, on_public=True)
    laptop.join(CAFE, A)
    assert laptop.held == {A.pem}
    laptop.policy = TOFU
    laptop.join(CAFE, A)
    assert laptop.held == set()


def test_what_answers_after_the_network_was_left_is_not_believed(laptop: Laptop) -> None:
    """A-3.3-4: the machine moved while it asked."""
    laptop.joined = (HOME,)
    agent = laptop.agent()
    agent.look()
    laptop.on = {HOME.key: Found(shown(B))}
    laptop.joined = (OTHER,)
    assert agent.meet(HOME) is False
    assert laptop.held == set()
    assert laptop.book.networks == {}


def test_nothing_stays_where_the_network_cannot_be_told(laptop: Laptop) -> None:
    """A-3.3-4."""
    laptop.join(HOME, A)
    laptop.joined, laptop.unknown = (), ("eth0: its router 192.168.1.1 does not answer",)
    laptop.agent().look()
    assert laptop.held == set()
    assert laptop.failures() == ["eth0: its router 192.168.1.1 does not answer"]
    laptop.joined, laptop.unknown = (HOME,), ()
    laptop.agent().look()
    assert laptop.held == {A.pem}
    laptop.lost = AgentError("there is no interface wlan0")
    with pytest.raises(AgentError, match="no interface"):
        laptop.agent().look()
    assert laptop.held == set()


# -- a root that changes, and rogues


def test_a_changed_root_is_told_and_the_old_one_stays(laptop: Laptop) -> None:
    """A-4.7-2."""
    laptop.join(HOME, A)
    laptop.join(HOME, B)
    assert laptop.held == {A.pem}
    assert laptop.kinds() == ["changed"]
    (said,) = laptop.failures()
    for root in (A, B):
        assert f"sha256:{root.sha256}" in said
        assert root.words in said
    assert "has NOT signed for the new one" in said
    assert laptop.screen == [said]
    laptop.now += 60
    laptop.join(HOME, B)
    assert laptop.failures() == [said]  # status and exit code say it again,
    assert laptop.screen == [said]  # the screen does not
    laptop.now += DAY
    laptop.join(HOME, B)
    assert laptop.screen == [said, said]
    laptop.agent().accept(HOME.key, B.sha256)
    assert laptop.held == {B.pem}
    assert list(laptop.book.roots) == [B.sha256]


def test_a_root_that_the_old_one_vouches_for(laptop: Laptop) -> None:
    """A-4.7-2: said so; after the yes, the old one is believed as long as it lives."""
    laptop.join(HOME, A)
    laptop.join(HOME, shown(B, vouches_for=A.sha256))
    assert laptop.held == {A.pem}
    assert "has signed for the new one" in laptop.failures()[0]
    laptop.agent().accept(HOME.key, B.sha256)
    assert laptop.held == {A.pem, B.pem}
    laptop.now = A.not_after + 1
    laptop.join(HOME, Found())
    assert A.pem not in laptop.held


def test_a_configured_change_is_told_too(laptop: Laptop) -> None:
    """A-4.7-2."""
    laptop.join(HOME, A)
    laptop.policy = Policy(mode="managed", expect=frozenset((B.sha256,)))
    laptop.join(HOME, B)
    assert laptop.held == {B.pem}
    assert laptop.kinds() == ["changed"]
    assert A.sha256 in laptop.screen[0]


def test_a_belief_ends_when_it_is_no_longer_configured(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    laptop.policy = Policy(mode="tofu", expect=frozenset((B.sha256,)))
    laptop.join(HOME, Found())
    assert laptop.held == set()


def test_the_old_root_back_again_settles_it(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    laptop.join(HOME, B)
    laptop.join(HOME, A)
    assert laptop.known(HOME).pending is None
    assert list(laptop.book.roots) == [A.sha256]
    assert laptop.kinds() == ["same"]


def test_a_second_dhcp_server_is_refused_and_the_root_stays(laptop: Laptop) -> None:
    """A-4.2-1: a rogue, on a network that is known and on one that is not."""
    rogue = Found(conflict="two DHCP answers on wlan0 name different servers: ...")
    laptop.join(HOME, A)
    assert laptop.join(HOME, rogue) == [False]
    assert laptop.held == {A.pem}
    assert laptop.kinds() == ["refused"]
    assert laptop.failures()[0].endswith("what was believed there stays")
    assert len(laptop.screen) == 1
    laptop.join(OTHER, rogue)
    assert laptop.held == set()
    assert laptop.failures()[0].endswith("nothing is believed there")


def test_another_root_than_dhcp_told(laptop: Laptop) -> None:
    """A-4.2-1."""
    laptop.join(HOME, shown(B, told=A.sha256))
    assert laptop.held == set()
    assert "somebody may be in the middle" in laptop.failures()[0]
    laptop.join(HOME, shown(A, told=A.sha256))
    assert laptop.held == {A.pem}


def test_a_server_that_cannot_be_used_is_a_failure_and_none_is_not(laptop: Laptop) -> None:
    assert laptop.join(HOME, AgentError("no directory is found there")) == [False]
    assert "no directory is found there" in laptop.failures()[0]
    assert laptop.join(HOME, Found()) == [False]
    assert (laptop.kinds(), laptop.failures()) == (["none"], [])


def test_an_expired_root_is_taken_out(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    laptop.now = A.not_after + 1
    laptop.join(HOME, Found())
    assert laptop.held == set()


def test_a_name_that_is_not_the_roots_is_only_noted(laptop: Laptop) -> None:
    """A-3.3-6: the root is known by its key."""
    laptop.join(HOME, Found(shown(A), note="the network calls its server x.lan"))
    assert laptop.held == {A.pem}
    assert (laptop.kinds(), laptop.failures()) == (["note", "believed"], [])


# -- crashes, stores that fail, the end


def test_what_a_power_cut_left_is_taken_out_at_the_next_start(laptop: Laptop) -> None:
    """A-3.3-4: what is on the disk while the store takes the root is enough to find it again."""
    path = laptop.directory / "networks.json"
    disk: list[bytes] = []
    laptop.store.during_add = lambda: disk.append(path.read_bytes())
    laptop.join(HOME, A)
    path.write_bytes(disk[0])
    assert laptop.held == {A.pem}
    laptop.join(OTHER, Found())
    assert laptop.held == set()
    assert laptop.book.placed == []


def test_one_store_that_fails_stops_no_other(laptop: Laptop) -> None:
    broken = FakeStore("broken", fails=AgentError("the disk is full"))
    laptop.stores = [broken, FakeStore("good")]
    laptop.join(HOME, A)
    assert set(laptop.stores[1].held) == {A.pem}
    assert laptop.book.troubles == {"broken": f"{A.name}: the disk is full"}
    assert "the disk is full" in laptop.failures()[0]
    broken.fails = None
    laptop.join(HOME, A)
    assert set(broken.held) == {A.pem}
    assert (laptop.book.troubles, laptop.failures()) == ({}, [])


def test_a_root_that_cannot_be_taken_out_is_tried_again(laptop: Laptop) -> None:
    """A-3.3-4."""
    laptop.join(HOME, A)
    laptop.store.fails = OSError(13, "Permission denied")
    laptop.leave()
    assert laptop.held == {A.pem}
    assert "cannot be taken out" in laptop.failures()[0]
    with pytest.raises(AgentError, match="not all roots could be taken out"):
        laptop.agent().reset()
    assert laptop.known(HOME).believes(A.sha256)
    laptop.store.fails = None
    laptop.leave()
    assert laptop.held == set()


def test_a_store_that_does_not_accept_the_server_is_named(laptop: Laptop) -> None:
    laptop.store.refuses = "certificate signed by unknown authority"
    laptop.join(HOME, A)
    assert "unknown authority" in laptop.failures()[0]
    assert laptop.book.placed[0].proven is False
    laptop.store.refuses = None
    laptop.join(HOME, A)
    laptop.join(HOME, A)
    assert len(laptop.store.tried) == 2  # until it succeeds
    assert laptop.book.placed[0].proven is True


def test_a_root_that_its_owner_put_there_stays(laptop: Laptop) -> None:
    laptop.store.held[A.pem] = "by hand"
    laptop.join(HOME, A)
    laptop.leave()
    assert laptop.store.held == {A.pem: "by hand"}


def test_a_store_with_room_for_one_root(laptop: Laptop) -> None:
    laptop.stores = [FakeStore("cups"), FakeStore()]
    laptop.join(HOME, A)
    laptop.join(HOME, shown(B, vouches_for=A.sha256))
    laptop.agent().accept(HOME.key, B.sha256)
    assert set(laptop.stores[0].held) == {B.pem}
    assert set(laptop.stores[1].held) == {A.pem, B.pem}


def test_a_store_no_longer_chosen_is_emptied(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    agent = laptop.agent()
    agent._around = replace(agent._around, stores=replace(agent._around.stores, chosen=()))
    agent.look()
    assert laptop.held == set()


def test_a_store_that_lost_the_root_gets_it_again(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    laptop.store.held.clear()  # a new browser profile
    laptop.join(HOME, A)
    assert laptop.held == {A.pem}
    laptop.leave()
    assert laptop.held == set()


def test_reset_forgets_all_roots(laptop: Laptop) -> None:
    """A-4.4-1."""
    laptop.join_all({HOME: A, OTHER: B})
    laptop.agent().reset()
    assert laptop.held == set()
    book = laptop.book
    assert (book.roots, book.networks, book.placed) == ({}, {}, [])
    assert A.sha256 not in (laptop.directory / "networks.json").read_text()
    laptop.policy = ASK
    laptop.join(HOME, A)
    assert laptop.held == set()


def test_stopping_takes_everything_out_and_remembers(laptop: Laptop) -> None:
    """A-3.3-4: nobody watches any more where this machine is."""
    laptop.join(HOME, A)
    laptop.agent().leave()
    assert laptop.held == set()
    assert laptop.known(HOME).believes(A.sha256)


def test_of_many_networks_those_without_a_root_are_forgotten_first(laptop: Laptop) -> None:
    laptop.join(HOME, A)
    for number in range(80):
        laptop.now += 7200
        laptop.join(Network("wlan0", f"52:54:00:00:01:{number:02x}", ssid="Town"), Found())
    assert len(laptop.book.networks) <= 65
    laptop.join(HOME, Found())
    assert laptop.held == {A.pem}
    for number in range(80):
        laptop.now += 7200
        laptop.join(Network("wlan0", f"52:54:00:00:02:{number:02x}", ssid="Town"), B)
    assert len(laptop.book.networks) <= 65
    assert HOME.key not in laptop.book.networks
    assert A.sha256 not in laptop.book.roots


def test_time_is_an_argument(laptop: Laptop) -> None:
    laptop.now = NOW - 100 * DAY
    laptop.join(HOME, A)
    assert "not valid yet" in laptop.failures()[0]


def test_reset_of_a_broken_book_takes_out_what_it_names(laptop: Laptop) -> None:
    """A-4.4-1."""
    laptop.join_all({HOME: A, OTHER: B})
    path = laptop.directory / "networks.json"
    path.write_bytes(b"{" + path.read_bytes())
    with pytest.raises(AgentError, match="cannot be read"):
        laptop.agent().look()
    laptop.agent().reset()
    assert laptop.held == set()
    assert laptop.book.networks == {}
