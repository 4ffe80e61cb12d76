"""An ACME client: every request of RFC 8555 that an agent makes, and RFC 9773's renewal info.

It holds an account key and a nonce, and knows nothing of this project's own server. Each call is
one resource; `obtain` makes an issuance of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from acmeiot.client import signing, tls
from acmeiot.client.clock import Clock, SystemClock
from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled, Http, Response
from acmeiot.client.objects import Account, Authorization, Challenge, Directory, Order, Renewal
from acmeiot.client.problem import Refused, refusal
from acmeiot.client.signing import AccountKey
from acmeiot.protocol.ari import RETRY_AFTER, certificate_id
from acmeiot.protocol.jose import b64encode
from acmeiot.protocol.names import Identifier, normalised

MAX_NONCE_TRIES: Final = 5  # Pebble refuses good nonces on purpose
MAX_ALTERNATES: Final = 8
_FIRST_POLL, _LAST_POLL, _LONGEST_POLL = 0.25, 5.0, 60.0  # seconds
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_LINK: Final = re.compile(r"<([^<>]*)>([^<>]*)")
_ALTERNATE: Final = re.compile(r';\s*rel="?alternate"?\s*(?:[;,]|$)')

Progress = TypeVar("Progress", Order, Authorization)


class Undecided(AgentError):
    """The server has not come to a decision in the time it was given."""


def contacts(identifiers: Iterable[Identifier]) -> tuple[str, ...]:
    """Return an account's contacts: an `https:` URI for each name of the device (A-3.2.2-1)."""
    wanted = (one for one in normalised(identifiers) if one.type == "dns" and not one.wildcard)
    return tuple(f"https://{one}/" for one in wanted)


class Client:
    """A client of one server with one account key; not for several threads.

    `account` is the account's URL if it is known from before; else `register` finds or makes it.
    Every method raises Unreachable, Untrusted, Garbled, or Refused with the server's words.
    """

    def __init__(
        self,
        http: Http,
        directory_url: str,
        key: AccountKey,
        clock: Clock | None = None,
        account: str | None = None,
    ) -> None:
        self._http, self.directory_url, self.key = http, directory_url, key
        self.clock = clock or SystemClock()
        self.account = account
        self._directory: Directory | None = None
        self._nonce = ""

    # -- requests

    @property
    def directory(self) -> Directory:
        """Return the server's directory, read once."""
        if self._directory is None:
            self._directory = Directory.of(self._get(self.directory_url))
        return self._directory

    def _get(self, url: str) -> Response:
        return self._checked(self._http.request("GET", url))

    def _post(
        self,
        url: str,
        payload: Mapping[str, Any] | None = None,
        *,
        key: AccountKey | None = None,
        account: str | None = None,
    ) -> Response:
        """Sign and send, again with a fresh nonce where that is all that was wrong (8555 6.5)."""
        headers = {"Content-Type": "application/jose+json"}
        for tries_left in reversed(range(MAX_NONCE_TRIES)):
            body = signing.request(key or self.key, account, url, self._take_nonce(), payload)
            try:
                return self._checked(self._http.request("POST", url, body, headers))
            except Refused as error:
                if error.code != "badNonce" or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _ask(self, url: str, payload: Mapping[str, Any] | None = None) -> Response:
        """POST as the account; without a payload a POST-as-GET."""
        return self._post(url, payload, account=self._known_account())

    def _known_account(self) -> str:
        if self.account is None:
            self.register(only_existing=True)
        return self.account or ""

    def _checked(self, response: Response) -> Response:
        nonce = str(response.headers.get("Replay-Nonce") or "")
        if _NONCE.fullmatch(nonce):  # others are ignored (RFC 8555 section 6.5.1)
            self._nonce = nonce
        if response.status >= 400:
            raise refusal(response, self.clock.now())
        if not 200 <= response.status < 300:
            raise Garbled(f"{response.url} answers with HTTP status {response.status}")
        return response

    def _take_nonce(self) -> str:
        """Return the nonce of the last answer, or fetch one; each is used once."""
        if not self._nonce:
            self._checked(self._http.request("HEAD", self.directory.new_nonce))
        if not self._nonce:
            raise Garbled(f"{self.directory.new_nonce} gives no nonce")
        nonce, self._nonce = self._nonce, ""
        return nonce

    # -- the account

    def register(
        self,
        contacts: Sequence[str] = (),
        eab: tuple[str, str] | None = None,
        *,
        only_existing: bool = False,
    ) -> Account:
        """Make the key's account, or find the one there is; the terms of service are agreed to.

        `eab` is a pairing key: its id and its HMAC key in base64url (RFC 8555 section 7.3.4).
        """
        url = self.directory.new_account
        payload: dict[str, Any] = {"onlyReturnExisting": True}
        if not only_existing:
            payload = {"termsOfServiceAgreed": True, "contact": list(contacts)}
        if eab is not None:
            payload["externalAccountBinding"] = signing.binding(self.key, *eab, url)
        account = Account.of(self._post(url, payload))
        self.account = account.url
        return account

    def update(self, contacts: Sequence[str]) -> None:
        """Change the account's contacts (RFC 8555 section 7.3.2)."""
        self._ask(self._known_account(), {"contact": list(contacts)})

    def change_key(self, new: AccountKey) -> None:
        """Put another key in the place of the account's (RFC 8555 section 7.3.5)."""
        url, account = self._offered("key_change"), self._known_account()
        self._ask(url, signing.key_change(self.key, new, account, url))
        self.key = new

    def deactivate(self) -> None:
        """End the account for good (RFC 8555 section 7.3.6)."""
        self._ask(self._known_account(), {"status": "deactivated"})
        self.account = None

    # -- orders

    def order(
        self,
        identifiers: Sequence[Identifier],
        replaces: bytes | None = None,
        profile: str | None = None,
    ) -> Order:
        """Order a certificate; `replaces` is the DER of the one that it succeeds (RFC 9773 5)."""
        payload: dict[str, Any] = {
            "identifiers": [one.as_json() for one in normalised(identifiers)]
        }
        if replaces is not None and self.directory.renewal_info:
            payload["replaces"] = _ari_id(replaces)
        if profile is not None:
            if profile not in self.directory.profiles:
                offered = ", ".join(self.directory.profiles) or "none"
                raise AgentError(f"the server has no profile {profile!a}; it offers {offered}")
            payload["profile"] = profile
        made = self._ask(self.directory.new_order, payload)
        url = made.resolve(made.headers.get("Location"), "Location")
        return Order.of(made, url, self.clock.now())

    def read(self, progress: Progress) -> Progress:
        """Return the order or authorization as it is now."""
        return self._read(type(progress), progress.url)

    def _read(self, kind: type[Progress], url: str) -> Progress:
        return kind.of(self._ask(url), url, self.clock.now())

    def authorizations(self, order: Order) -> tuple[Authorization, ...]:
        """Return what must be proved for an order."""
        return tuple(self._read(Authorization, url) for url in order.authorizations)

    def respond(self, challenge: Challenge) -> Challenge:
        """Say that the challenge is answered; return it as it is then."""
        said = self._ask(challenge.url, {})
        return Challenge.of(said, said.document(), challenge.identifier)

    def polls(
        self, progress: Progress, open_: Collection[str], patience: float
    ) -> Iterator[Progress]:
        """Yield the order or authorization each time it was looked at, until its status is other.

        Retry-After is honoured within bounds; raise Undecided after `patience` seconds.
        """
        ends, pause = self.clock.monotonic() + patience, _FIRST_POLL
        yield progress
        while progress.status in open_:
            wait = min(progress.retry_after or pause, _LONGEST_POLL)
            if self.clock.monotonic() + wait > ends:
                raise Undecided(f"the server did not decide in {patience:g} s: {progress.url}")
            self.clock.sleep(wait)
            pause = min(pause * 2, _LAST_POLL)
            progress = self.read(progress)
            yield progress

    def settled(self, progress: Progress, open_: Collection[str], patience: float) -> Progress:
        """Return the order or authorization when its status is none of `open_`; as `polls`."""
        for seen in self.polls(progress, open_, patience):
            progress = seen
        return progress

    def finalize(self, order: Order, csr_der: bytes) -> Order:
        """Hand in the CSR of a ready order."""
        done = self._ask(order.finalize, {"csr": b64encode(csr_der)})
        return Order.of(done, order.url, self.clock.now())

    def certificate(self, order: Order) -> bytes:
        """Return the chain of a valid order as PEM, leaf first; nothing else is in it."""
        return self._chain(self._ask(order.certificate))

    def chains(self, order: Order) -> tuple[bytes, ...]:
        """Return all chains that the server offers, the default one first (8555 7.4.2)."""
        default = self._ask(order.certificate)
        others = alternates(default)
        return (self._chain(default), *(self._chain(self._ask(url)) for url in others))

    def _chain(self, response: Response) -> bytes:
        return b"".join(map(tls.pem, tls.split_pem(response.body)))

    # -- certificates

    def revoke(
        self,
        certificate_der: bytes,
        reason: int | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> None:
        """Revoke by the account, or by the certificate's own `key` (RFC 8555 section 7.6).

        One that is revoked already is no error.
        """
        payload: dict[str, Any] = {"certificate": b64encode(certificate_der)}
        if reason is not None:
            payload["reason"] = reason
        url = self._offered("revoke_cert")
        try:
            if key is None:
                self._ask(url, payload)
            else:
                self._post(url, payload, key=AccountKey.of(key))
        except Refused as error:
            if error.code != "alreadyRevoked":
                raise

    def renewal(self, certificate_der: bytes) -> Renewal | None:
        """Return when to renew, None if the server does not say (RFC 9773)."""
        base = self.directory.renewal_info
        if not base:
            return None
        answer = self._get(f"{base.rstrip('/')}/{_ari_id(certificate_der)}")
        return Renewal.of(answer, self.clock.now(), RETRY_AFTER)

    def _offered(self, name: str) -> str:
        url = str(getattr(self.directory, name))
        if not url:
            raise AgentError(f"the server's directory has no {name}")
        return url


def alternates(response: Response) -> tuple[str, ...]:
    """Return the URLs of the other chains (RFC 8555 section 7.4.2, RFC 8288)."""
    fields = response.headers.get_all("Link") or ()
    links = [link for one in fields for link in _LINK.findall(str(one))]
    found = [url for url, parameters in links if _ALTERNATE.search(parameters)]
    return tuple(dict.fromkeys(response.resolve(url, "Link") for url in found[:MAX_ALTERNATES]))


def _ari_id(certificate_der: bytes) -> str:
    """Return the id of RFC 9773 section 4.1; raise AgentError for a certificate that has none."""
    certificate = tls.load(certificate_der)
    names = tls.extension(certificate, x509.AuthorityKeyIdentifier)
    above = names.key_identifier if names is not None else None
    if above is None:
        raise AgentError("the certificate does not name its issuer's key: it has no renewal id")
    return certificate_id(above, certificate.serial_number)
