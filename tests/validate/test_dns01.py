"""dns-01 with the LAN's TXT records."""

import pytest

from acmeiot.core.records import Challenge
from acmeiot.protocol import names
from acmeiot.protocol.challenges import dns01_value
from acmeiot.protocol.errors import DnsFailed, Unauthorized
from acmeiot.protocol.states import ChallengeType
from acmeiot.validate import Validators
from tests.validate.device import Names

KEY_AUTHORIZATION = "token.thumbprint"
RIGHT = dns01_value(KEY_AUTHORIZATION)
PRINTER = names.dns("printer.lan")
CHALLENGE = Challenge(ChallengeType.DNS_01, "token")
RECORD = "_acme-challenge.printer.lan"


def validate(*values: str, record: str = RECORD) -> str:
    """Validate where the record has these values."""
    lan = Names()
    lan.texts[record] = list(values)
    return Validators(lan).validate(CHALLENGE, PRINTER, KEY_AUTHORIZATION, [])


def test_right_value() -> None:
    """R-28: any of several values; no address proves it."""
    assert validate(RIGHT) == ""
    assert validate("other", RIGHT, "v=spf1") == ""


def test_wrong_values() -> None:
    """R-28: `unauthorized` names the record, what was found and what was expected."""
    with pytest.raises(Unauthorized) as caught:
        validate("one", "two\x1b[31m", "three", "four", "x" * 300)
    assert caught.value.detail == (
        f'the TXT record {RECORD} holds "one", "two.[31m", "three" and 2 more; expected was '
        f'"{RIGHT}"'
    )
    assert caught.value.identifier == PRINTER


def test_no_record() -> None:
    """R-28: a name without TXT records is `unauthorized`, no name at all is `dns`."""
    with pytest.raises(Unauthorized, match=f"the TXT record {RECORD} does not exist"):
        validate()
    with pytest.raises(DnsFailed) as caught:
        validate(record="other.lan")
    assert caught.value.detail == (
        f"no TXT record for printer.lan: {RECORD}: the resolver 192.168.1.1 says no such name"
    )
    assert caught.value.identifier == PRINTER
