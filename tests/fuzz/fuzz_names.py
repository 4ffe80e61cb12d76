"""Names and addresses: canonical, or refused (R-20)."""

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot.protocol import names


def dns(data: bytes) -> None:
    """A name that is taken is its own canonical form."""
    made = names.dns(data.decode("utf-8", "surrogatepass"))
    assert names.dns(made.value) == made


def ip(data: bytes) -> None:
    """So is an address."""
    made = names.ip(data.decode("utf-8", "surrogatepass"))
    assert names.ip(made.value) == made


SEEDS = (b"printer.lan", b"*.a.LOCAL.", b"xn--mnchen-3ya.lan", b"192.168.1.20", b"fe80::1%eth0")

# UnicodeDecodeError: the input is no text; JSON would have refused it.
runner.run(dns, ip, refusals=(names.BadName, UnicodeDecodeError), seeds=SEEDS)
