"""Who signed this request? The checks of RFC 8555 section 6, cheapest first.

Shape, algorithm, URL and nonce are looked at before any arithmetic is done; a stranger can make
this server verify at most a bounded number of bad signatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from acmeiot.core.accounts import Accounts
from acmeiot.core.limits import BAD_SIGNATURES, Limits
from acmeiot.core.nonces import Nonces
from acmeiot.core.records import Account
from acmeiot.protocol import jose
from acmeiot.protocol.errors import (
    AccountDoesNotExist,
    BadPublicKey,
    Malformed,
    SignatureInvalid,
    Unauthorized,
)
from acmeiot.protocol.jose import Jwk, Jws


class Signer(Enum):
    """Which key a resource takes (RFC 8555 section 6.2)."""

    ACCOUNT = "kid"
    KEY = "jwk"
    EITHER = "kid or jwk"


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified request: its payload, its key, and the account unless it came with a `jwk`."""

    payload: bytes
    jwk: Jwk
    account: Account | None
    kid: str | None

    @property
    def as_get(self) -> bool:
        """Tell whether this is a POST-as-GET (R-10): an empty payload, not an empty object."""
        return not self.payload


class Gate:
    """Open signed requests."""

    def __init__(self, nonces: Nonces, accounts: Accounts, limits: Limits) -> None:
        self._nonces, self._accounts, self._limits = nonces, accounts, limits

    def open(self, body: bytes, url: str, signer: Signer, remote: str, account_base: str) -> Signed:
        """Return the verified request to `url`; raise what is wrong with it (R-4 to R-7).

        `account_base` is the URL of an account without its id, for the same host as `url`.
        """
        jws = jose.parse(body)
        if jws.url != url:  # compared as strings
            raise Unauthorized(f"the JWS is for {jws.url[:200]!a}, the request went to {url}")
        if signer is Signer.ACCOUNT and jws.kid is None:
            raise Malformed("sign with the account: kid, not jwk, in the protected header")
        if signer is Signer.KEY and jws.kid is not None:
            raise Malformed("sign with the key: jwk, not kid, in the protected header")
        self._limits.check(BAD_SIGNATURES, remote)
        self._nonces.redeem(jws.nonce)
        return self._verified(jws, remote, account_base)

    def _verified(self, jws: Jws, remote: str, account_base: str) -> Signed:
        account, jwk = None, None
        if jws.kid is not None:
            account, jwk = self._accounts.signer(_account_id(jws.kid, account_base))
        else:
            jwk = Jwk.parse(jws.jwk)
        try:
            jwk.verify(jws)
        except (SignatureInvalid, BadPublicKey):
            self._limits.note(BAD_SIGNATURES, remote)
            raise
        return Signed(jws.payload, jwk, account, jws.kid)


def _account_id(kid: str, account_base: str) -> str:
    """Return the id of an account URL; only the exact URL is one (R-6).

    The host is not compared: one server is `router.lan`, `router.local` and an address at once,
    and a client that registered by one name may come back by another.
    """
    path = account_base.partition("://")[2].partition("/")[2]
    scheme, _, rest = kid.partition("://")
    host, _, kid_path = rest.partition("/")
    account_id = kid_path.removeprefix(path)
    if scheme != "https" or not host or account_id == kid_path:
        raise AccountDoesNotExist(f"kid {kid[:200]!a} is not an account URL of this server")
    return account_id
