"""The LAN's resolver: real dnsmasq, servers that misbehave, and no other server ever."""

import ipaddress
import socket
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from acmeiot.lan import dnswire
from acmeiot.lan.unicast import Reply, Server, UnicastDns, system_servers
from tests.lan.nameserver import Answer, NameServer, records

BOTH = (dnswire.A, dnswire.AAAA)
LOOPBACK = ipaddress.ip_address("127.0.0.1")


def asking(*servers: NameServer, timeout: float = 0.2, attempts: int = 2) -> UnicastDns:
    """Return a resolver client for these servers."""
    return UnicastDns(
        [Server(LOOPBACK, server.port) for server in servers], timeout=timeout, attempts=attempts
    )


def good(question: dns.message.Message) -> bytes:
    """Answer with both addresses of the printer."""
    values = ("printer.lan A 192.168.1.20", "printer.lan AAAA fd00::20")
    return records(question, *values).to_wire()


def coded(code: dns.rcode.Rcode) -> Answer:
    """Answer with an error code."""

    def answer(question: dns.message.Message) -> bytes:
        reply = dns.message.make_response(question)
        reply.set_rcode(code)
        return reply.to_wire()

    return answer


def values(reply: Reply | str) -> list[str]:
    """Return the values of an answer."""
    assert isinstance(reply, Reply)
    return sorted(record.value for record in reply.records)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "100.64.0.1"])
def test_a_public_resolver_cannot_be_named(address: str) -> None:
    """Design decision 4: nothing is ever looked up at a public resolver."""
    with pytest.raises(ValueError, match=f"the resolver {address} is not on this LAN"):
        Server(ipaddress.ip_address(address))


def test_system_servers(tmp_path: Path) -> None:
    """Of resolv.conf only LAN addresses, at most three, each once."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "search lan\nnameserver 8.8.8.8\nnameserver 192.168.1.1\nnameserver\n"
        "nameserver 192.168.1.1\nnameserver 2001:4860:4860::8888\nnameserver fe80::1%eth0\n"
        "nameserver nonsense\nnameserver 127.0.0.53\nnameserver 10.0.0.1\n"
    )
    assert list(map(str, system_servers(conf))) == ["192.168.1.1", "fe80::1%eth0", "127.0.0.53"]
    assert system_servers(tmp_path / "missing") == ()


def test_both_types_at_once() -> None:
    """One exchange gives both families."""
    with NameServer(good) as server:
        assert values(asking(server).ask("printer.lan", BOTH)) == ["192.168.1.20", "fd00::20"]
        assert sorted(server.asked) == ["udp printer.lan. IN A", "udp printer.lan. IN AAAA"]


def test_ipv6_transport() -> None:
    """A resolver may have an IPv6 address."""
    with NameServer(good, host="::1") as server:
        client = UnicastDns([Server(ipaddress.ip_address("::1"), server.port)], timeout=0.5)
        assert values(client.ask("printer.lan", BOTH)) == ["192.168.1.20", "fd00::20"]


def test_silence_about_one_type() -> None:
    """A resolver that never answers about IPv6 still gives the IPv4 address, after one try."""

    def answer(question: dns.message.Message) -> bytes | None:
        return good(question) if question.question[0].rdtype == dnswire.A else None

    with NameServer(answer) as server:
        assert values(asking(server).ask("printer.lan", BOTH)) == ["192.168.1.20"]


def test_a_lost_answer_is_asked_for_again() -> None:
    """No IPv6 address and silence about IPv4 is not "no address"."""
    lost = []

    def answer(question: dns.message.Message) -> bytes | None:
        if question.question[0].rdtype == dnswire.A:
            lost.append(question)
            return good(question) if len(lost) > 1 else None
        return dns.message.make_response(question).to_wire()

    with NameServer(answer) as server:
        assert values(asking(server).ask("printer.lan", BOTH)) == ["192.168.1.20"]


def test_no_such_name() -> None:
    """NXDOMAIN is an answer: no other resolver is asked."""
    with NameServer(coded(dns.rcode.NXDOMAIN)) as first, NameServer(good) as second:
        reply = asking(first, second).ask("printer.lan", BOTH)
        assert isinstance(reply, Reply)
        assert not reply.exists
        assert reply.said == f"the resolver 127.0.0.1 port {first.port} says no such name"
        assert second.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (coded(dns.rcode.REFUSED), "would not answer (REFUSED)"),
        (coded(dns.rcode.SERVFAIL), "would not answer (SERVFAIL)"),
        (coded(dns.rcode.NOTAUTH), "would not answer (rcode 9)"),
        (lambda _: None, "did not answer within 0.4 s"),
        (lambda _: b"\xff" * 40, "did not answer within 0.4 s"),
    ],
)
def test_failures_lead_to_the_next(answer: Answer, said: str) -> None:
    """A resolver that fails is named with its reason, and the next one is asked."""
    with NameServer(answer) as first, NameServer(good) as second:
        name = f"the resolver 127.0.0.1 port {first.port}"
        assert asking(first).ask("printer.lan", BOTH) == f"{name} {said}"
        assert values(asking(first, second).ask("printer.lan", BOTH)) == [
            "192.168.1.20",
            "fd00::20",
        ]


def test_nobody_there() -> None:
    """A closed port says so at once; no resolver at all is said too."""
    with NameServer(good) as gone:
        pass
    said = asking(gone, timeout=5).ask("printer.lan", BOTH)
    assert said == f"the resolver 127.0.0.1 port {gone.port} cannot be asked (Connection refused)"
    assert UnicastDns([]).ask("printer.lan", BOTH) == "no resolver on this LAN is known"


def test_answers_to_other_questions_are_dropped() -> None:
    """Wrong id, wrong name, a question instead of an answer: as if nothing had come."""

    def wrong_id(question: dns.message.Message) -> bytes:
        return bytes([good(question)[0] ^ 1]) + good(question)[1:]

    def wrong_name(question: dns.message.Message) -> bytes:
        other = dns.message.make_query("nas.lan", "A", id=question.id)
        return records(other, "printer.lan A 192.168.1.66").to_wire()

    for answer in (wrong_id, wrong_name, lambda question: question.to_wire()):
        with NameServer(answer) as server:
            said = asking(server).ask("printer.lan", BOTH)
            assert isinstance(said, str)
            assert said.endswith("did not answer within 0.4 s")


def truncated(question: dns.message.Message) -> bytes:
    """Answer that the answer is too long for a datagram."""
    reply = dns.message.make_response(question)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def test_truncated_is_asked_by_tcp() -> None:
    """R-28: what does not fit a datagram is fetched by TCP."""
    many = [f't.lan TXT "{number:03}-{"x" * 200}"' for number in range(30)]

    def whole(question: dns.message.Message) -> bytes:
        return records(question, *many).to_wire()

    with NameServer(truncated, whole) as server:
        assert len(values(asking(server).ask("t.lan", (dnswire.TXT,)))) == 30
        assert server.asked == ["udp t.lan. IN TXT", "tcp t.lan. IN TXT"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: None, "closed the connection before its answer was whole"),
        (lambda _: b"\xff" * 40, "not a DNS message: it asks 65535 questions at once"),
        (lambda _: good(dns.message.make_query("printer.lan", "A")), "answered another question"),
    ],
)
def test_bad_tcp_answers(answer: Answer, said: str) -> None:
    """A stream that is no answer is the resolver's failure, in words."""
    with NameServer(truncated, answer) as server:
        name = f"the resolver 127.0.0.1 port {server.port}"
        assert asking(server).ask("t.lan", (dnswire.TXT,)) == f"{name} cannot be asked ({said})"


def test_a_flood_of_stray_answers_ends() -> None:
    """A server that never stops answering wrongly holds nothing up for longer than the timeout."""
    flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood.bind(("127.0.0.1", 0))
    stop = threading.Event()

    def pour() -> None:
        _, sender = flood.recvfrom(512)
        while not stop.is_set():
            try:
                flood.sendto(b"nonsense", sender)
            except OSError:
                return

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    client = UnicastDns([Server(LOOPBACK, flood.getsockname()[1])], timeout=0.3, attempts=1)
    said = client.ask("printer.lan", BOTH)
    stop.set()
    thread.join(5)
    flood.close()
    assert isinstance(said, str)
    assert said.endswith("did not answer within 0.3 s")
