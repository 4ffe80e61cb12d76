"""dns-01: a TXT record in the LAN's own zone (R-28, RFC 8555 section 8.4)."""

from __future__ import annotations

from collections.abc import Callable

from acmeiot.protocol.challenges import dns01_matches, dns01_name, dns01_value
from acmeiot.protocol.errors import DnsFailed, Unauthorized
from acmeiot.protocol.names import Identifier
from acmeiot.validate.dial import quote


class Dns01:
    """Validates dns-01 challenges. `txt` asks the LAN's resolver, never another one."""

    def __init__(self, txt: Callable[[str], list[str]]) -> None:
        self._txt = txt

    def validate(self, identifier: Identifier, key_authorization: str) -> str:
        """Return "", as no address proves it; raise DnsFailed or Unauthorized."""
        record = dns01_name(identifier)
        try:
            values = self._txt(record)
        except DnsFailed as error:
            raise DnsFailed(
                f"no TXT record for {identifier}: {error.detail}", identifier=identifier
            ) from None
        if dns01_matches(values, key_authorization):
            return ""
        wanted = quote(dns01_value(key_authorization))
        found = f"holds {', '.join(map(quote, values[:3]))}" if values else "does not exist"
        more = f" and {len(values) - 3} more" if len(values) > 3 else ""
        raise Unauthorized(
            f"the TXT record {record} {found}{more}; expected was {wanted}",
            identifier=identifier,
        )
